// How long a probe goes on asking for one place: a few times, and never beyond
// a minute in all. Pure: the time and the randomness are handed in.

package import Base

/// The course of one question, over all its requests.
///
/// One question has no patience: a wait that would not end in time is not begun. Who asks
/// again later is the run.
package struct ProbeCourse: Sendable {
  /// What to do after a request without a usable answer.
  package enum Step: Sendable, Equatable {
    case again(at: ContinuousClock.Instant)
    case giveUp
  }

  private var walk: MirrorWalk
  private let deadline: ContinuousClock.Instant

  /// Begins with the first request.
  package init(_ configuration: FetchConfiguration, at now: ContinuousClock.Instant) {
    walk = MirrorWalk(mirrorCount: 1, configuration: configuration)
    walk.begin()
    deadline = now + configuration.probeTimeout
  }

  /// How long a request may take that is sent now.
  package func timeLeft(at now: ContinuousClock.Instant) -> Duration { max(.zero, deadline - now) }

  /// When to ask a host that wants to be left alone until `notBefore`.
  package func step(notBefore: ContinuousClock.Instant) -> Step {
    notBefore < deadline ? .again(at: notBefore) : .giveUp
  }

  /// Decides after a request that failed for now.
  ///
  /// - Parameters:
  ///   - wait: What the server asked for, if it did.
  ///   - error: How it failed.
  ///   - now: The time.
  ///   - generator: For the jitter.
  /// - Returns: When to ask again, or that this was it.
  package mutating func step(
    after wait: Duration?, _ error: TarnError, at now: ContinuousClock.Instant,
    using generator: inout some RandomNumberGenerator
  ) -> Step {
    guard case .again(let wait) = walk.step(after: .temporary(after: wait, error), heldByteCount: 0, using: &generator)
    else { return .giveUp }
    walk.begin()
    return step(notBefore: now + wait)
  }
}
