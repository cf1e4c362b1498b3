// What passes between the fetcher and the indexer while one process does both:
// which shards are in the lake, which are used up, which cannot be had.

internal import Base
internal import Foundation

/// The shards of one build on their way from fetcher to indexer.
///
/// ```
/// wanted ──► ready ──► taken ──► released     (its room may be had back)
///    └─────► lost ───► taken                  (no mirror has it)
/// ```
/// The fetcher marks shards ready or lost; the indexer takes them, in the order
/// of the plan where it can, and releases each when its result is recorded. Room
/// is bounded by the budget in the catalog, so nothing here needs a bound. Nothing
/// here looks through all shards: a plan has tens of thousands, and both sides ask
/// for each.
///
/// `@unchecked Sendable`: every mutable property is read and written under
/// `condition`.
package final class ShardHandoff: @unchecked Sendable {
  /// What the indexer gets.
  package enum Item: Sendable {
    case ready(shardID: Int64)
    /// No mirror gave the shard; the error says why.
    case lost(shardID: Int64, any Error)
  }

  private enum State {
    case wanted, ready, taken, released
    case lost(any Error)

    /// Whether it has bytes here that are still to be used up.
    var isBusy: Bool {
      switch self {
      case .ready, .taken: true
      case .wanted, .lost, .released: false
      }
    }

    /// Whether the indexer had it.
    var isTaken: Bool {
      switch self {
      case .taken, .released: true
      case .wanted, .ready, .lost: false
      }
    }
  }

  private let condition = NSCondition()
  private let order: [Int64]
  private var states: [Int64: State] = [:]
  /// Places of the shards in `order`.
  private let places: [Int64: Int]
  /// Places of those that may be taken now, ascending.
  private var available: ArraySlice<Int>
  private var takenCount = 0
  private var busyCount = 0
  /// The released ones, the last at the end.
  private var released: [Int64] = []
  private var failure: (any Error)?
  private var waited: Duration = .zero

  /// Starts with every shard wanted.
  ///
  /// - Parameters:
  ///   - shardIDs: The shards, in the order of the plan.
  ///   - ready: Those that are in the lake already.
  package init(shardIDs: [Int64], ready: Set<Int64>) {
    order = shardIDs
    places = Dictionary(shardIDs.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
    available = shardIDs.indices.filter { ready.contains(shardIDs[$0]) }[...]
    for id in shardIDs { states[id] = ready.contains(id) ? .ready : .wanted }
    busyCount = states.values.count(where: \.isBusy)
  }

  /// How long ``next()`` has waited for shards.
  package var waitedTime: Duration {
    condition.lock()
    defer { condition.unlock() }
    return waited
  }

  /// Says that a shard's bytes are in the lake.
  package func markReady(_ shardID: Int64) { move(shardID, to: .ready) }

  /// Says that a shard cannot be had.
  package func markLost(_ shardID: Int64, _ error: any Error) { move(shardID, to: .lost(error)) }

  /// Ends the supply: whoever waits for a shard gets the error.
  package func fail(_ error: any Error) {
    condition.lock()
    if failure == nil { failure = error }
    condition.broadcast()
    condition.unlock()
  }

  private func move(_ shardID: Int64, to state: State) {
    condition.lock()
    if case .wanted = states[shardID], let place = places[shardID] {
      set(shardID, state)
      available.insert(place, at: available.partitioningIndex { $0 > place })
    }
    condition.broadcast()
    condition.unlock()
  }

  /// Moves a shard, and counts: the one place where a state changes.
  private func set(_ shardID: Int64, _ state: State) {
    let before = states[shardID] ?? .wanted
    busyCount += (state.isBusy ? 1 : 0) - (before.isBusy ? 1 : 0)
    takenCount += (state.isTaken ? 1 : 0) - (before.isTaken ? 1 : 0)
    states[shardID] = state
  }

  /// The next shard to work on: the first of the plan that is ready or lost.
  ///
  /// Blocks until there is one.
  ///
  /// - Returns: A shard, or nil when all were taken.
  /// - Throws: What ``fail(_:)`` was told, once nothing is ready.
  package func next() throws -> Item? {
    condition.lock()
    defer { condition.unlock() }
    let start = ContinuousClock.now
    defer { waited += ContinuousClock.now - start }
    while true {
      while let place = available.popFirst() {
        let id = order[place]
        switch states[id] {
        case .ready:
          set(id, .taken)
          return .ready(shardID: id)
        case .lost(let error):
          set(id, .taken)
          return .lost(shardID: id, error)
        default: continue
        }
      }
      if takenCount == states.count { return nil }
      if let failure { throw failure }
      condition.wait()
    }
  }

  /// Gives a shard's room back: its result is recorded.
  package func release(_ shardID: Int64) {
    condition.lock()
    if case .released = states[shardID] {
      // Once is enough.
    } else {
      released.append(shardID)
    }
    set(shardID, .released)
    condition.broadcast()
    condition.unlock()
  }

  /// Where room may come from.
  package struct Standing: Sendable {
    /// The released shards, as they were released: what was told once stays where it is.
    package let released: [Int64]
    /// Whether a shard is ready or being worked on, so that room will come back.
    package let isBusy: Bool
  }

  /// What is released and whether more will be, at one moment: a shard that is
  /// released between two questions would be in neither answer.
  package var standing: Standing {
    condition.lock()
    defer { condition.unlock() }
    return Standing(released: released, isBusy: busyCount > 0)
  }
}
