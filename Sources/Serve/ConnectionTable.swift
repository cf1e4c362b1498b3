// Which connections are open, and which idle one is closed when there are too many.

/// The open connections, by number.
///
/// Pure; the server keeps it on its loop.
package struct ConnectionTable: Sendable {
  private enum State: Sendable {
    /// For a request; `since` is the value of `clock` when it began to.
    case waiting(since: Int)
    case working
  }

  private let limit: Int
  private var states: [Int: State] = [:]
  /// Counts admissions and waits, which puts them in order.
  private var clock = 0

  package init(limit: Int) { self.limit = limit }

  package var count: Int { states.count }

  /// Whether a connection has a request that is not answered yet.
  package var isBusy: Bool {
    states.values.contains { if case .working = $0 { true } else { false } }
  }

  /// What becomes of a new connection.
  package enum Admission: Sendable, Equatable {
    case admitted
    /// It is admitted; the connection that has waited longest is to be closed.
    case instead(of: Int)
    case refused
  }

  /// Takes a new connection in, if there is room or can be.
  package mutating func admit(_ number: Int) -> Admission {
    var admission = Admission.admitted
    if states.count >= limit {
      let waiting = states.compactMap { number, state -> (number: Int, since: Int)? in
        guard case .waiting(let since) = state else { return nil }
        return (number, since)
      }
      guard let oldest = waiting.min(by: { $0.since < $1.since }) else { return .refused }
      states.removeValue(forKey: oldest.number)
      admission = .instead(of: oldest.number)
    }
    clock += 1
    states[number] = .waiting(since: clock)
    return admission
  }

  /// Notes that a connection waits for its next request.
  package mutating func wait(_ number: Int) {
    clock += 1
    if states[number] != nil { states[number] = .waiting(since: clock) }
  }

  /// Notes that a connection has a request.
  package mutating func work(_ number: Int) {
    if states[number] != nil { states[number] = .working }
  }

  /// Notes that a connection is closed.
  package mutating func leave(_ number: Int) { states.removeValue(forKey: number) }
}
