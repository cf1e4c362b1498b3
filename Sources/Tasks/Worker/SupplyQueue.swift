// Which input a worker asks for next, and what becomes of one for which there is no room. Pure: the
// time and what the disk says are handed in.
//
// Invariants:
// 1. One more input than are fetched at a time is held at most: under way, or on the disk.
// 2. A lack of room is waited for while another input is held: that one is used up, or given up, and
//    its room comes back (D11). It is an error once nothing is held that could give any.

package import Base
package import Fetch

/// Inputs of a task, by their places in it.
package struct SupplyQueue: Sendable {
  /// What is to be done now.
  package enum Turn: Sendable, Equatable {
    case ask(Int)
    /// Nothing for now.
    case later
    /// Nothing ever again.
    case over
    /// There is no room, and nothing of this task gives any back.
    case full(TarnError)
  }

  private var queue: PatientQueue
  private let jobs: Int
  /// Inputs under way or on the disk.
  private var heldCount = 0
  /// Inputs under way.
  package private(set) var underWay: Set<Int> = []
  /// Sizes that first bytes told (D12).
  private var sizes: [Int: Int] = [:]
  /// Whether one found no room, so that none is asked for until another gives some back.
  private var awaitsRoom = false

  /// Inputs to ask for, in this order.
  ///
  /// - Parameters:
  ///   - places: Their places.
  ///   - jobs: How many are fetched at a time.
  ///   - patience: How long hosts that fail for now are waited for; zero for none.
  package init(_ places: [Int], jobs: Int, patience: Duration) {
    queue = PatientQueue(places, patience: patience)
    self.jobs = jobs
  }

  /// The size of an input as its first bytes told it; nil where they did not.
  package func learntByteCount(of place: Int) -> Int? { sizes[place] }

  /// Gives the next input to ask for.
  ///
  /// - Parameters:
  ///   - now: The time.
  ///   - comesBack: Whether something besides these inputs gives room back.
  ///   - lack: Why there is no room for an input; nil where there is some.
  /// - Returns: What is to be done.
  package mutating func next(
    at now: ContinuousClock.Instant, comesBack: Bool = false, lack: (_ place: Int, SupplyQueue) -> TarnError?
  ) -> Turn {
    guard heldCount <= jobs, !(awaitsRoom && heldCount > 0) else { return .later }
    switch queue.next(at: now) {
    case .over: return .over
    case .later: return .later
    case .ask(let place):
      if let error = lack(place, self) {
        queue.putBack(place)
        return heldCount > 0 || comesBack ? .later : .full(error)
      }
      awaitsRoom = false
      heldCount += 1
      underWay.insert(place)
      return .ask(place)
    }
  }

  /// So many bytes of an input are held.
  package mutating func holds(_ place: Int, byteCount: Int) { queue.holds(place, byteCount: byteCount) }

  /// The first bytes of an input told its size.
  package mutating func learnt(_ place: Int, byteCount: Int) { sizes[place] = byteCount }

  /// An attempt at an input failed in a way that may pass; see ``PatientQueue/failedForNow(_:askingFor:)``.
  package mutating func failedForNow(_ place: Int, askingFor wait: Duration?) {
    queue.failedForNow(place, askingFor: wait)
  }

  /// An input came whole; it is held until it is released.
  package mutating func delivered(_ place: Int) {
    underWay.remove(place)
    queue.delivered(place)
  }

  /// An input is used up, and its room free.
  package mutating func released() {
    heldCount -= 1
    awaitsRoom = false
  }

  /// There was no room for an input that was asked for.
  ///
  /// - Parameters:
  ///   - place: The input.
  ///   - comesBack: Whether something besides these inputs gives room back, and its size is known.
  /// - Returns: Whether it waits for room; else nothing gives any back, and it failed.
  package mutating func lackedRoom(_ place: Int, comesBack: Bool = false) -> Bool {
    guard heldCount > 1 || comesBack else { return false }
    leave(place)
    queue.putBack(place)
    awaitsRoom = true
    return true
  }

  /// An input could not be had; see ``PatientQueue/failed(_:_:at:)``.
  package mutating func failed(
    _ place: Int, _ error: TarnError, at now: ContinuousClock.Instant
  ) -> HostPatience.Pause? {
    leave(place)
    return queue.failed(place, error, at: now)
  }

  private mutating func leave(_ place: Int) {
    underWay.remove(place)
    heldCount -= 1
  }
}
