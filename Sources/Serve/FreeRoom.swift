// What is free on the file systems of a lake. One that a network brings may not answer for hours, and nobody who
// asks what else there is waits for it.

internal import Base
internal import Dispatch
internal import Synchronization

/// The last answers of file systems, each asked on a thread of its own.
package final class FreeRoom: Sendable {
  private struct Answer {
    var freeByteCount: Int?
    var at: ContinuousClock.Instant?
    /// Whether somebody waits for the next one.
    var isAsked = false
  }

  /// How long whoever looks waits for those that were just asked.
  private static let waitTime = Duration.milliseconds(500)
  /// How long an answer counts.
  private static let keepTime = Duration.seconds(60)

  private let answers = Mutex<[String: Answer]>([:])
  private let measure: @Sendable (String) -> Int?

  /// Remembers no answer yet.
  ///
  /// - Parameter measure: Gives what is free where a path leads; nil where nobody says. May block.
  package init(_ measure: @escaping @Sendable (String) -> Int?) { self.measure = measure }

  /// Asks, and gives what is known by then.
  ///
  /// - Parameter directories: Names and paths.
  /// - Returns: Those that answered lately.
  package func look(
    at directories: [(place: String, path: String)]
  ) -> [(place: String, freeByteCount: Int)] {
    let isAnswered = DispatchSemaphore(value: 0)
    let end = DispatchTime.now() + Self.waitTime.seconds
    var askedCount = 0
    for (_, path) in directories where ask(path, isAnswered) { askedCount += 1 }
    for _ in 0..<askedCount where isAnswered.wait(timeout: end) == .timedOut { break }
    let now = ContinuousClock.now
    return directories.compactMap { place, path -> (place: String, freeByteCount: Int)? in
      let answer = answers.withLock { $0[path] }
      guard let answer, let count = answer.freeByteCount, let at = answer.at, now - at <= Self.keepTime else {
        return nil
      }
      return (place, count)
    }
  }

  /// Asks a file system that nobody waits for.
  ///
  /// - Returns: Whether it was asked; whoever waits is told of its answer.
  private func ask(_ path: String, _ isAnswered: DispatchSemaphore) -> Bool {
    let isFree = answers.withLock { answers in
      let isAsked = answers[path]?.isAsked ?? false
      answers[path, default: Answer()].isAsked = true
      return !isAsked
    }
    guard isFree else { return false }
    do {
      try NamedThread.start("tarn-room") { [self] in
        let count = measure(path)
        answers.withLock { $0[path] = Answer(freeByteCount: count, at: .now) }
        isAnswered.signal()
      }
      return true
    } catch {
      answers.withLock { $0[path]?.isAsked = false }
      return false
    }
  }
}
