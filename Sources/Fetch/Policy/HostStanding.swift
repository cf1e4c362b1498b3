// What is known of one scheme, host and port in a run: when it wants to be
// asked again, whether it refuses, whether it is there at all. Pure: the time
// is handed in.

/// How a host stands.
package struct HostStanding: Sendable {
  /// R13: what one answer asks of us holds for all requests to the host.
  package private(set) var notBefore: ContinuousClock.Instant?
  private var refusalsInARow = 0
  private var answeredAt: ContinuousClock.Instant?
  private var silentSince: ContinuousClock.Instant?

  package init() {}

  /// The host asked for time (`Retry-After`); no answer shortens another's.
  package mutating func asked(toWait wait: Duration, at now: ContinuousClock.Instant) {
    notBefore = max(notBefore ?? now, now + wait)
  }

  /// The host refused to serve something.
  package mutating func refused() { refusalsInARow += 1 }

  /// The host served something.
  package mutating func served() { refusalsInARow = 0 }

  /// R12: whether it refused so often that it is left alone.
  package func isRefusing(_ limit: Int) -> Bool { refusalsInARow >= limit }

  /// The host answered, whatever it said.
  package mutating func answered(at now: ContinuousClock.Instant) {
    answeredAt = now
    silentSince = nil
  }

  /// A question that was sent at `start` got no answer.
  package mutating func wasSilent(since start: ContinuousClock.Instant) {
    let start = max(start, answeredAt ?? start)
    silentSince = min(silentSince ?? start, start)
  }

  /// Whether it has answered nothing at all for so long, though it was asked.
  package func isSilent(for limit: Duration, at now: ContinuousClock.Instant) -> Bool {
    silentSince.map { now - $0 >= limit } ?? false
  }
}
