// How fast one transfer may take bytes. libcurl's own limit lets several
// seconds' worth pass before it begins to count; this one is exact.

internal import Base

/// An allowance of bytes that grows with time; pure, the time is handed in.
package struct Pacer: Sendable {
  /// Bytes per second; nil for no limit.
  package var bytesPerSecond: Int?
  private var allowance = 0.0
  private var countedAt: ContinuousClock.Instant?

  package init() {}

  /// Takes bytes if any may be taken now.
  ///
  /// A piece is taken whole; what it exceeds the allowance by is waited for
  /// afterwards, so that the mean is exact.
  ///
  /// - Returns: Whether they are taken; if not, ``wait(at:)`` says for how long.
  package mutating func take(_ byteCount: Int, at now: @autoclosure () -> ContinuousClock.Instant) -> Bool {
    // Without a limit not even the clock is read.
    guard let rate = bytesPerSecond else { return true }
    let now = now()
    allowance = allowance(at: now, Double(rate))
    countedAt = now
    guard allowance > 0 else { return false }
    allowance -= Double(byteCount)
    return true
  }

  /// What would be allowed by then: what was not used is lost after a while.
  private func allowance(at now: ContinuousClock.Instant, _ rate: Double) -> Double {
    guard let countedAt else { return min(1, rate) }
    return min(allowance + rate * (now - countedAt).seconds, max(1, 0.1 * rate))
  }

  /// How long until bytes may be taken again; zero when they may be now.
  package func wait(at now: ContinuousClock.Instant) -> Duration {
    guard let rate = bytesPerSecond else { return .zero }
    let missing = 1 - allowance(at: now, Double(rate))
    return missing <= 0 ? .zero : .milliseconds(Int(1_000 * missing / Double(max(1, rate))) + 1)
  }
}
