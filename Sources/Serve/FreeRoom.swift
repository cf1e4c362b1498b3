// What is free on the file systems of a lake. One that a network brings may not answer for hours, and nobody who
// asks what else there is waits for it.

internal import Base
internal import Synchronization

/// The last answers of file systems, for as long as they count.
package final class FreeRoom: Sendable {
  private struct Answer: Sendable {
    let freeByteCount: Int?
    let at: ContinuousClock.Instant
  }

  /// How long whoever looks waits for those that were just asked.
  private static let waitTime = Duration.milliseconds(500)
  /// How long an answer counts.
  private static let keepTime = Duration.seconds(60)

  private let questions = BoundedQuestions<String>("tarn-room")
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
    // An answer that comes too late for this look is there for the next.
    _ = questions.ask(directories.map { $0.path }, within: Self.waitTime) { [self] path in
      let answer = Answer(freeByteCount: measure(path), at: .now)
      answers.withLock { $0[path] = answer }
    }
    let known = answers.withLock { $0 }
    let now = ContinuousClock.now
    return directories.compactMap { place, path -> (place: String, freeByteCount: Int)? in
      guard let answer = known[path], let count = answer.freeByteCount, now - answer.at <= Self.keepTime else {
        return nil
      }
      return (place, count)
    }
  }
}
