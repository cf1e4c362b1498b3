// How fast one transfer may take bytes, and what those that ended leave to the next ones.
// libcurl's own limit lets several seconds' worth pass before it begins to count; this one is exact.

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

  /// Begins with bytes that somebody else took beyond what was allowed; nothing without a limit.
  ///
  /// - Parameters:
  ///   - byteCount: How many.
  ///   - now: The time.
  package mutating func owe(_ byteCount: Double, at now: ContinuousClock.Instant) {
    guard let rate = bytesPerSecond else { return }
    allowance = allowance(at: now, Double(rate)) - byteCount
    countedAt = now
  }

  /// Bytes that were taken beyond what is allowed by now.
  package func debt(at now: ContinuousClock.Instant) -> Double {
    bytesPerSecond.map { max(0, -allowance(at: now, Double($0))) } ?? 0
  }
}

/// What transfers that ended took beyond what they were allowed, which those that begin pay: else each small file would
/// come at once, whatever the limit.
///
/// Each that begins pays what one of those that ended owes in the mean: nobody took more beyond what was allowed than a
/// piece, so nobody waits longer than who takes a piece of a large file. All of it would be a stop of many minutes for
/// whoever begins first behind many that ended at once, in which its server hangs up.
///
/// Pure: times are handed in.
package struct BandwidthDebt: Sendable {
  private var byteCount = 0.0
  /// How many owe that.
  private var debtorCount = 0
  private var endedAt: ContinuousClock.Instant?

  package init() {}

  /// Takes over what a transfer that ends owes.
  package mutating func add(_ byteCount: Double, at now: ContinuousClock.Instant) {
    endedAt = now
    guard byteCount > 0 else { return }
    self.byteCount += byteCount
    debtorCount += 1
  }

  /// Hands what is owed on to a transfer that begins.
  ///
  /// - Parameters:
  ///   - count: How many run with it. Where it is alone the line was free since the last one ended.
  ///   - rate: Bytes per second of all.
  ///   - now: The time.
  /// - Returns: What one that ended owes in the mean; the rest is for those that begin later.
  package mutating func handOn(toOneAmong count: Int, rate: Int, at now: ContinuousClock.Instant) -> Double {
    if count <= 1, let free = endedAt {
      byteCount -= Double(rate) * max(0, (now - free).seconds)
      // No time is counted twice.
      endedAt = now
    }
    guard byteCount > 0, debtorCount > 0 else {
      (byteCount, debtorCount) = (0, 0)
      return 0
    }
    let own = byteCount / Double(debtorCount)
    byteCount -= own
    debtorCount -= 1
    return own
  }
}
