// How fast a file of this machine is copied. It may lie on a file system that a network
// brings, so a limit is for it as for any other transfer.

internal import Synchronization

/// The pace of one copy: the loop says it, the copy's disk queue keeps it.
final class CopyPace: Sendable {
  private let pacer = Mutex(Pacer())
  private let clock: @Sendable () -> ContinuousClock.Instant
  private let pause: @Sendable (Duration) -> Void
  /// The longest that a copy waits before it looks at what it was told meanwhile.
  private static let longestPause = Duration.milliseconds(100)

  init(_ configuration: FetchConfiguration) {
    (clock, pause) = (configuration.copyClock, configuration.copyPause)
  }

  /// Limits the rate from now on, in bytes per second; nil lifts the limit.
  func limit(to bytesPerSecond: Int?) { pacer.withLock { $0.bytesPerSecond = bytesPerSecond } }

  /// Begins with bytes that other transfers took beyond what was allowed.
  func owe(_ byteCount: Double) {
    let now = clock()
    pacer.withLock { $0.owe(byteCount, at: now) }
  }

  /// Bytes that were taken beyond what is allowed by now.
  var debt: Double {
    let now = clock()
    return pacer.withLock { $0.debt(at: now) }
  }

  /// How much to read at a time: a tenth of a second's worth, within bounds.
  func pieceByteCount(atMost most: Int) -> Int {
    guard let rate = pacer.withLock({ $0.bytesPerSecond }) else { return most }
    return min(most, max(16 << 10, rate / 10))
  }

  /// Waits until bytes that were read may count.
  ///
  /// - Parameters:
  ///   - byteCount: How many.
  ///   - isStopped: Asked now and then; true ends the wait.
  func take(_ byteCount: Int, unless isStopped: () -> Bool) {
    while !isStopped() {
      let now = clock()
      let wait: Duration? = pacer.withLock { $0.take(byteCount, at: now) ? nil : $0.wait(at: now) }
      guard let wait else { return }
      pause(min(wait, Self.longestPause))
    }
  }
}
