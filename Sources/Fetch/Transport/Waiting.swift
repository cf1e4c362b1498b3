// Asking on the thread that waits for the answer, and waiting there to ask again.

internal import Base
internal import Glibc

/// What came of a question.
enum Reply<Answer> {
  case answer(Answer)
  /// Not now: whoever was asked wants to be left alone for so long.
  case later(Duration?, TarnError)

  /// Asks; what fails for now is as if it had been told to come later.
  ///
  /// - Parameter ask: Asks once.
  /// - Throws: ``TarnError`` that another try would meet again.
  init(_ ask: () throws(TarnError) -> Reply) throws(TarnError) {
    do throws(TarnError) {
      self = try ask()
    } catch {
      guard error.code == .temporary else { throw error }
      self = .later(nil, error)
    }
  }
}

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
