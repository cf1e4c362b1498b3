// R21: how long a host that fails for now is waited for, and when it is asked
// again. Pure: the time is handed in.
//
// Invariants:
// 1. Only net progress ends a trouble: nothing else moves its end.
// 2. While there is trouble one question at a time is out, and none within a
//    pause.

internal import Base

/// Patience with one scheme, host and port.
///
/// ```
/// well ──failed──► pausing ──(pause over)──► asked ──failed──► pausing … exhausted
///   ▲                 └──────── progressed ────┴──────────────────────────┘
/// ```
package struct HostPatience: Sendable, Equatable {
  /// What may be done with the host now.
  package enum Standing: Sendable, Equatable {
    /// Nothing is known against it.
    case well
    /// It is left alone until then, or until who asks it now comes back.
    case pausing(until: ContinuousClock.Instant)
    /// One may ask.
    case askable
    /// It was waited for as long as was said.
    case exhausted
  }

  /// What a failure comes to.
  package struct Pause: Sendable, Equatable {
    package let length: Duration
    /// How long it will still be waited for, from now.
    package let left: Duration
    /// Whether there was no trouble before it.
    package let isFirst: Bool
  }

  /// Kept bytes that count as progress; fewer do not, so that a trickle proves
  /// nothing.
  package static let progressByteCount = 1 << 20
  package static let firstPause = Duration.seconds(1)
  /// With less left than this a pause is none.
  package static let shortestPause = Duration.milliseconds(50)

  private struct Trouble: Equatable {
    /// When the last question that failed first was over.
    var since: ContinuousClock.Instant
    var failureCount = 0
    var until: ContinuousClock.Instant
    var isAsked = false
    var isExhausted = false
    var keptByteCount = 0
  }

  /// How long trouble may last; zero for no patience.
  package let limit: Duration
  private var trouble: Trouble?

  package init(limit: Duration) { self.limit = limit }

  /// The pause after so many failures in a row: 1, 2, 4 s …, never over a quarter
  /// of what is left.
  package static func pause(afterFailures count: Int, left: Duration) -> Duration {
    min(firstPause.doubled(afterFailures: count), max(.zero, left) / 4)
  }

  /// How the host stands.
  package func standing(at now: ContinuousClock.Instant) -> Standing {
    guard let trouble else { return .well }
    if trouble.isExhausted { return .exhausted }
    return trouble.isAsked || now < trouble.until ? .pausing(until: trouble.until) : .askable
  }

  /// How long it will still be waited for; all of it while it is well.
  package func left(at now: ContinuousClock.Instant) -> Duration {
    trouble.map { max(.zero, limit - (now - $0.since)) } ?? limit
  }

  /// A question goes out.
  package mutating func asks() { trouble?.isAsked = true }

  /// Whoever asked came back, with whatever.
  package mutating func cameBack() { trouble?.isAsked = false }

  /// It failed in a way that may pass.
  ///
  /// - Parameters:
  ///   - wait: What it asked for itself (R13); obeyed as far as patience lasts.
  ///   - now: The time.
  /// - Returns: The pause before it may be asked again; nil once it was waited for as long as was said.
  @discardableResult
  package mutating func failed(askingFor wait: Duration? = nil, at now: ContinuousClock.Instant) -> Pause? {
    let isFirst = trouble == nil
    var trouble = trouble ?? Trouble(since: now, until: now)
    defer { self.trouble = trouble }
    let left = max(.zero, limit - (now - trouble.since))
    // Questions that were out together and fail together are one failure.
    let isNew = trouble.failureCount == 0 || now >= trouble.until
    if isNew { trouble.failureCount += 1 }
    let pause = Self.pause(afterFailures: trouble.failureCount, left: left)
    guard pause >= Self.shortestPause else {
      trouble.isExhausted = true
      return nil
    }
    if isNew { trouble.until = now + pause }
    if let wait { trouble.until = max(trouble.until, now + min(wait, left)) }
    return Pause(length: trouble.until - now, left: left, isFirst: isFirst)
  }

  /// Bytes were kept that were never held before.
  package mutating func kept(_ byteCount: Int) {
    trouble?.keptByteCount += byteCount
    if trouble?.keptByteCount ?? 0 >= Self.progressByteCount { trouble = nil }
  }

  /// A shard came whole.
  package mutating func delivered() { trouble = nil }
}
