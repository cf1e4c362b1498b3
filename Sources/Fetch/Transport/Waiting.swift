// Waiting on the thread that asks, until a time or a wish to stop.

internal import Base
internal import Glibc

/// Waits until a time.
///
/// - Parameters:
///   - end: When.
///   - clock: What tells the time; a test's own goes on by being looked at.
///   - isCancelled: Asked many times a second; true ends the wait.
/// - Throws: ``TarnError`` `.interrupted`.
func waitOut(
  until end: ContinuousClock.Instant, by clock: () -> ContinuousClock.Instant, isCancelled: () -> Bool
) throws(TarnError) {
  while true {
    if isCancelled() { throw .interrupted }
    let left = end - clock()
    guard left > .zero else { return }
    usleep(UInt32(min(10_000, max(1_000, left.milliseconds * 1_000))))
  }
}
