// Questions to what may not answer for hours, as a file system that a network brings: nobody waits for it for long.

internal import Synchronization

/// Asks each of some respondents on a thread of its own, and waits for their answers no longer than was said.
///
/// A question is under way from when it is asked to when it is answered, and overdue once its asker has stopped waiting.
/// A respondent with an overdue question is silent.
///
/// Invariants:
/// 1. A silent respondent is asked nothing, and counts as one that gave no answer: it keeps no more threads than asked it
///    before the first of them stopped waiting.
/// 2. Whoever asks is back within the time.
/// 3. An answer that comes too late ends the silence and is given to nobody: a question that is to be of use
///    nevertheless keeps its answer itself.
package final class BoundedQuestions<Respondent: Hashable & Sendable>: Sendable {
  private struct Questions {
    var last = 0
    var underWay: [Int: Respondent] = [:]
    var overdue: Set<Int> = []

    /// Begins a question; nil where the respondent is silent.
    mutating func begin(to respondent: Respondent) -> Int? {
      guard !overdue.contains(where: { underWay[$0] == respondent }) else { return nil }
      last += 1
      underWay[last] = respondent
      return last
    }

    mutating func stopWaiting(for number: Int) {
      if underWay[number] != nil { overdue.insert(number) }
    }

    mutating func end(_ number: Int) {
      underWay[number] = nil
      overdue.remove(number)
    }
  }

  private let name: String
  private let questions = Mutex(Questions())

  /// Has asked nobody yet.
  ///
  /// - Parameter name: Of the threads, at most 15 bytes as the kernel shows it.
  package init(_ name: String) { self.name = name }

  /// Asks those that are not silent, all at once.
  ///
  /// - Parameters:
  ///   - respondents: Who is asked; each once, however often it is named.
  ///   - time: How long is waited for all of them together.
  ///   - question: Gives a respondent's answer; may block as long as it likes.
  /// - Returns: The answers that came in time; none of a respondent that the system gave no thread for.
  package func ask<Answer: Sendable>(
    _ respondents: [Respondent], within time: Duration, _ question: @escaping @Sendable (Respondent) -> Answer
  ) -> [Respondent: Answer] {
    let end = ContinuousClock.now + time
    let begun = Set(respondents).compactMap {
      respondent -> (number: Int, respondent: Respondent, work: ThreadedWork<Answer>)? in
      guard let number = questions.withLock({ $0.begin(to: respondent) }) else { return nil }
      let work = ThreadedWork(name, ending: { [self] in questions.withLock { $0.end(number) } }) {
        question(respondent)
      }
      return (number, respondent, work)
    }
    var answers: [Respondent: Answer] = [:]
    for (number, respondent, work) in begun {
      if case .success(let answer)? = work.outcome(within: end - ContinuousClock.now) {
        answers[respondent] = answer
      } else {
        questions.withLock { $0.stopWaiting(for: number) }
      }
    }
    return answers
  }
}
