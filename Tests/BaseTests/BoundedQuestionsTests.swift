// Who does not answer is not waited for, nor asked again meanwhile.

import Base
import Dispatch
import Synchronization
import Testing

@Suite struct BoundedQuestionsTests {
  private static let longTime = Duration.seconds(600)

  /// The others are asked as ever, and it is asked again once it has answered what it was asked first.
  @Test func whoIsSilentHasOneQuestion() {
    let goesOn = DispatchSemaphore(value: 0)
    let asked = Mutex<[String]>([])
    let answer: @Sendable (String) -> Int = { name in
      asked.withLock { $0.append(name) }
      if name == "silent" { goesOn.wait() }
      return name.utf8.count
    }
    let questions = BoundedQuestions<String>("test")
    #expect(questions.ask(["silent"], within: .milliseconds(1), answer) == [:])
    // Were it asked again it would be waited for.
    for _ in 0..<3 { #expect(questions.ask(["silent", "well"], within: Self.longTime, answer) == ["well": 4]) }
    for _ in 0..<2 { goesOn.signal() }
    var answers: [String: Int] = [:]
    while answers.isEmpty { answers = questions.ask(["silent"], within: Self.longTime, answer) }
    #expect(answers == ["silent": 6])
    let askedCount = asked.withLock { names in names.count { $0 == "silent" } }
    #expect(askedCount == 2)
  }

  /// Two who ask at a time are both answered: only who let a wait end is silent.
  @Test func whoIsAskedByAnotherIsNotSilent() throws {
    let questions = BoundedQuestions<Int>("test")
    let (isAsked, goesOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    let first = ThreadedWork("test") {
      questions.ask([1], within: Self.longTime) { _ in
        isAsked.signal()
        goesOn.wait()
        return "first"
      }
    }
    isAsked.wait()
    #expect(questions.ask([1], within: Self.longTime) { _ in "second" } == [1: "second"])
    goesOn.signal()
    #expect(try first.wait() == [1: "first"])
  }

  @Test func whoIsNamedTwiceIsAskedOnce() {
    let count = Mutex(0)
    let answers = BoundedQuestions<Int>("test").ask([1, 2, 1], within: Self.longTime) { number in
      count.withLock { $0 += 1 }
      return number * 10
    }
    #expect(answers == [1: 10, 2: 20] && count.withLock(\.self) == 2)
  }

  /// Work that goes on when the wait is over has no outcome yet, and has one later.
  @Test func aBoundedWaitEndsNoWork() throws {
    let goesOn = DispatchSemaphore(value: 0)
    let work = ThreadedWork("test") {
      goesOn.wait()
      return 42
    }
    for time in [Duration.milliseconds(1), .seconds(-1)] {
      let isUnderWay = work.outcome(within: time) == nil
      #expect(isUnderWay)
    }
    goesOn.signal()
    #expect(try work.outcome(within: Self.longTime)?.get() == 42)
  }
}
