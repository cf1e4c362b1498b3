// What passes between the fetcher and the indexer while one process does both:
// which shards are in the lake, which are used up, which cannot be had.

internal import Foundation

/// The shards of one build on their way from fetcher to indexer.
///
/// ```
/// wanted ──► ready ──► taken ──► released     (its room may be had back)
///    └─────► lost ───► taken                  (no mirror has it)
/// ```
/// The fetcher marks shards ready or lost; the indexer takes them, in the order
/// of the plan where it can, and releases each when its result is recorded. Room
/// is bounded by the budget in the catalog, so nothing here needs a bound.
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
  }

  private let condition = NSCondition()
  private let order: [Int64]
  private var states: [Int64: State] = [:]
  /// Shards before this place in `order` are taken or released.
  private var firstOpen = 0
  private var failure: (any Error)?
  private var waited: Duration = .zero

  /// Starts with every shard wanted.
  ///
  /// - Parameters:
  ///   - shardIDs: The shards, in the order of the plan.
  ///   - ready: Those that are in the lake already.
  package init(shardIDs: [Int64], ready: Set<Int64>) {
    order = shardIDs
    for id in shardIDs { states[id] = ready.contains(id) ? .ready : .wanted }
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
    if case .wanted = states[shardID] { states[shardID] = state }
    condition.broadcast()
    condition.unlock()
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
      while firstOpen < order.count, isTaken(order[firstOpen]) { firstOpen += 1 }
      if firstOpen == order.count { return nil }
      for id in order[firstOpen...] {
        switch states[id] {
        case .ready:
          states[id] = .taken
          return .ready(shardID: id)
        case .lost(let error):
          states[id] = .taken
          return .lost(shardID: id, error)
        default: continue
        }
      }
      if let failure { throw failure }
      condition.wait()
    }
  }

  private func isTaken(_ id: Int64) -> Bool {
    switch states[id] {
    case .taken, .released: true
    default: false
    }
  }

  /// Gives a shard's room back: its result is recorded.
  package func release(_ shardID: Int64) {
    condition.lock()
    states[shardID] = .released
    condition.broadcast()
    condition.unlock()
  }

  /// Where room may come from.
  package struct Standing: Sendable {
    /// The released shards, in the order of the plan.
    package let released: [Int64]
    /// Whether a shard is ready or being worked on, so that room will come back.
    package let isBusy: Bool
  }

  /// What is released and whether more will be, at one moment: a shard that is
  /// released between two questions would be in neither answer.
  package var standing: Standing {
    condition.lock()
    defer { condition.unlock() }
    return Standing(
      released: order.filter { if case .released = states[$0] { true } else { false } },
      isBusy: states.values.contains {
        switch $0 {
        case .ready, .taken: true
        case .wanted, .lost, .released: false
        }
      })
  }
}
