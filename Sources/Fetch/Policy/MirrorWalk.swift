// Which mirror to ask next and when: retries, backoff and the final verdict
// over all mirrors. Pure: no clock, and the randomness is handed in.
//
// Every walk ends: an attempt that brings no new byte is counted against its
// mirror, one that does is counted against the request.

package import Base

/// How an attempt failed, as far as the next step depends on it.
package enum AttemptFailure: Sendable, Equatable {
  /// Ask the same mirror again, now, for the whole shard.
  case restart(TarnError)
  /// Ask the same mirror again, now, with a bare range.
  case bareRange
  /// Ask the same mirror again, now, for the whole; what is held stays until it
  /// comes.
  case whole(TarnError)
  /// Ask the same mirror again, now, for what is left.
  case reroll(TarnError)
  /// Ask the same mirror again after a wait.
  case temporary(after: Duration?, TarnError)
  /// This mirror will not do.
  case mirrorFault(TarnError)
  /// Nothing will do.
  case fatal(TarnError)
}

/// The walk of one request over its mirrors.
package struct MirrorWalk: Sendable {
  /// What to do next.
  package enum Step: Sendable, Equatable {
    case again(after: Duration)
    /// The next mirror, at `index`.
    case mirror(Int)
    case failed(TarnError)
  }

  private let mirrorCount: Int
  private let configuration: FetchConfiguration
  /// The mirror that is asked, or was asked last; always one of them, whatever came of the walk.
  package private(set) var mirrorIndex = 0
  /// Attempts so far, over all mirrors.
  package private(set) var attemptCount = 0
  private var fruitlessCount = 0
  private var restartCount = 0
  private var highWater = 0
  private var worst: TarnError?

  package init(mirrorCount: Int, configuration: FetchConfiguration) {
    precondition(mirrorCount > 0, "a request without a mirror")
    self.mirrorCount = mirrorCount
    self.configuration = configuration
  }

  /// Counts an attempt that begins.
  package mutating func begin() { attemptCount += 1 }

  /// Decides after a failed attempt.
  ///
  /// - Parameters:
  ///   - failure: How it failed.
  ///   - heldByteCount: Bytes of the shard that were held at its end, the most
  ///     that were if they were dropped.
  ///   - generator: For the jitter.
  /// - Returns: When to ask the same mirror again, or whom to ask instead.
  package mutating func step(
    after failure: AttemptFailure, heldByteCount: Int, using generator: inout some RandomNumberGenerator
  ) -> Step {
    // R12: bytes that were never held before show that retrying helps.
    if heldByteCount > highWater {
      highWater = heldByteCount
      fruitlessCount = 0
    }
    let error: TarnError
    switch failure {
    case .fatal(let error): return .failed(error)
    case .bareRange:
      error = TarnError(.integrity, "ranges are ignored")
      if isWithinLimits { return .again(after: .zero) }
    case .reroll(let cause), .whole(let cause):
      error = cause
      if isWithinLimits { return .again(after: .zero) }
    case .restart(let cause):
      error = cause
      restartCount += 1
      // R6: start over once, and once more for a file that changed meanwhile.
      if restartCount <= 2, isWithinLimits { return .again(after: .zero) }
    case .temporary(let wait, let cause):
      error = cause
      fruitlessCount += 1
      // R23: who asks for a long wait holds no place meanwhile.
      let isHeld = wait.flatMap { wait in configuration.longestHeldWait.map { wait <= $0 } } ?? true
      if fruitlessCount < configuration.attemptsPerMirror, isWithinLimits, isHeld {
        return .again(after: wait ?? configuration.backoff.wait(afterFailures: fruitlessCount, using: &generator))
      }
    case .mirrorFault(let cause): error = cause
    }
    if worst.map({ Self.rank(error.code) > Self.rank($0.code) }) ?? true { worst = error }
    fruitlessCount = 0
    restartCount = 0
    highWater = 0
    // Who gave up stands where it gave up: it may still be stopped, and names a mirror then.
    guard mirrorIndex + 1 < mirrorCount, isWithinLimits else { return .failed(worst ?? error) }
    mirrorIndex += 1
    return .mirror(mirrorIndex)
  }

  private var isWithinLimits: Bool { attemptCount < configuration.attemptsPerRequest }

  /// Which failure to report when every mirror failed: the one that leaves most
  /// hope, as that is what the user can act on.
  private static func rank(_ code: TarnError.Code) -> Int {
    switch code {
    case .temporary, .interrupted: 6
    case .integrity: 5
    case .tls: 4
    case .untrusted: 3
    case .refused: 2
    case .usage: 1
    case .absent: 0
    // This machine is at fault, not a mirror.
    default: 7
    }
  }
}
