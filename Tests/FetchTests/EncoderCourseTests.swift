// An encoder's program, without one: every order of events, and the time handed in.

import Base
import Fetch
import Foundation
import Testing
import TestSupport

@Suite struct EncoderCourseTests {
  private let start = ContinuousClock.now

  private func line(_ id: Int64) -> [UInt8] { Array("{\"id\":\(id),\"text\":\"x\"}\n".utf8) }

  private func answer(_ id: Int64, named: Bool = true) -> [UInt8] {
    Array("{\"embedding\":[\(id)]\(named ? ",\"id\":\(id)" : "")}\n".utf8)
  }

  /// A running program that has been given some queries.
  private func running(_ count: Int64, _ rules: EncoderRules = EncoderRules()) -> EncoderCourse {
    var course = EncoderCourse(rules)
    for id in 0..<count { course.ask(id, line(id)) }
    #expect(course.step(at: start) == .start)
    course.started(at: start)
    _ = course.step(at: start)
    course.wrote(course.toWrite.count)
    return course
  }

  private func results(_ course: inout EncoderCourse) -> [Int64: Result<[Float], EncoderFault>] {
    Dictionary(uniqueKeysWithValues: course.takeAnswers().map { ($0.id, $0.result) })
  }

  @Test func answersAreThoseOfTheQueriesInOrder() {
    var course = running(3)
    var bytes = answer(0) + answer(1, named: false)
    bytes += Array("{\"error\": \"no \\u001b picture\"}\n".utf8)
    for byte in bytes { course.received([byte], at: start) }
    #expect(results(&course) == [0: .success([0]), 1: .success([1]), 2: .failure(.said("no ? picture"))])
    #expect(course.step(at: start) == .wait(nil))
  }

  @Test func aBoundedNumberOfQueriesIsHandedOut() {
    var course = running(100)
    #expect(course.step(at: start) == .wait(.seconds(120)))
    #expect(course.toWrite.isEmpty)
    course.received(answer(0), at: start + .seconds(3))
    #expect(course.step(at: start + .seconds(3)) == .wait(.seconds(120)))
    #expect(course.toWrite == line(32))
  }

  @Test func moreThanMayWaitIsRefused() {
    var rules = EncoderRules()
    rules.mostWaiting = 2
    var course = EncoderCourse(rules)
    for id in 0..<Int64(3) { course.ask(id, line(id)) }
    #expect(results(&course) == [2: .failure(.busy)])
  }

  @Test func theTurnIsBoundedInTimeAndNotTheWait() {
    var course = running(2)
    #expect(course.step(at: start + .seconds(119)) == .wait(.seconds(1)))
    course.received(answer(0), at: start + .seconds(119))
    #expect(course.step(at: start + .seconds(238)) == .wait(.seconds(1)))
    #expect(course.step(at: start + .seconds(239)) == .kill)
    #expect(results(&course) == [0: .success([0]), 1: .failure(.timedOut)])
    course.ended(256 + 9, at: start + .seconds(240))
    #expect(course.step(at: start + .seconds(240)) == .wait(nil))
  }

  @Test(arguments: [
    ("loading weights", EncoderFault.garbage("loading weights")), ("", .garbage("")), ("[1]", .garbage("[1]")),
    ("{\"embedding\":[1],\"error\":\"x\"}", .garbage("{\"embedding\":[1],\"error\":\"x\"}")),
    ("{\"embedding\":[1],\"embedding\":[2]}", .garbage("{\"embedding\":[1],\"embedding\":[2]}")),
    ("{\"embedding\":[1],\"id\":\"0\"}", .garbage("{\"embedding\":[1],\"id\":\"0\"}")),
    ("{\"embedding\":[1],\"id\":1}", .outOfStep), ("\u{1b}[31m", .garbage("?[31m")),
  ])
  func whatIsNoAnswerEndsTheProgram(text: String, fault: EncoderFault) {
    var course = running(3)
    course.received(Array((text + "\n").utf8) + answer(1), at: start)
    #expect(results(&course) == [0: .failure(fault)])
    #expect(course.step(at: start) == .kill)
    course.received(answer(1), at: start)
    course.ended(256 + 9, at: start)
    #expect(course.takeAnswers().isEmpty, "what it wrote after that was believed")
    #expect(course.step(at: start) == .start)
    course.started(at: start)
    _ = course.step(at: start)
    #expect(course.toWrite == line(1) + line(2), "the others are asked again")
  }

  @Test(arguments: [
    "{\"embedding\":[NaN]}", "{\"embedding\":[0,-Infinity]}", "{\"embedding\":[null]}", "{\"embedding\":[\"a\"]}",
    "{\"embedding\":[[1]]}", "{\"embedding\":[1e300]}", "{\"error\":\"\"}",
  ])
  func aVectorThatIsNoneIsOneQuerysFailure(text: String) {
    var course = running(2)
    course.received(Array((text + "\n").utf8) + answer(1), at: start)
    let found = results(&course)
    #expect(found[1] == .success([1]))
    if case .failure(.said) = found[0] {} else { Issue.record("\(String(describing: found[0]))") }
  }

  @Test func anAnswerToNothingEndsTheProgram() {
    var course = running(1)
    course.received(answer(0) + answer(0), at: start)
    #expect(results(&course) == [0: .success([0])])
    #expect(course.step(at: start) == .kill)
    course.ended(256 + 9, at: start)
    course.ask(1, line(1))
    #expect(course.step(at: start) == .start)
  }

  @Test func linesAreBounded() {
    var rules = EncoderRules()
    rules.mostLineByteCount = 100
    var course = running(1, rules)
    course.received([UInt8](repeating: 0x20, count: 100), at: start)
    #expect(course.takeAnswers().isEmpty)
    course.received([0x20], at: start)
    #expect(results(&course) == [0: .failure(.longLine)])
    var other = running(1, rules)
    other.received([UInt8](repeating: 0x20, count: 101) + [0x0A], at: start)
    #expect(results(&other) == [0: .failure(.longLine)])
  }

  @Test func whoEndsIsStartedAgainAndAskedOnceMore() {
    var course = running(2)
    course.ended(3, at: start)
    #expect(course.takeAnswers().isEmpty)
    #expect(course.step(at: start) == .start)
    course.started(at: start)
    _ = course.step(at: start)
    #expect(course.toWrite == line(0) + line(1))
    course.ended(3, at: start)
    #expect(results(&course) == [0: .failure(.ended(3))])
    #expect(course.step(at: start) == .start)
  }

  @Test func whoFailsAgainAndAgainIsLeftAloneForLonger() {
    var course = running(50)
    for _ in 0..<2 {
      course.ended(1, at: start)
      #expect(course.step(at: start) == .start)
      course.started(at: start)
      _ = course.step(at: start)
    }
    course.ended(1, at: start)
    let found = results(&course)
    #expect(found.count == 50 && found.values.allSatisfy { $0 == .failure(.ended(1)) })
    var (now, pause) = (start, Duration.seconds(1))
    for id in Int64(50)..<60 {
      course.ask(id, line(id))
      #expect(course.step(at: now + pause - .milliseconds(1)) == .wait(nil))
      #expect(results(&course) == [id: .failure(.ended(1))])
      course.ask(id + 1_000, line(id))
      now += pause
      #expect(course.step(at: now) == .start)
      course.started(at: now)
      _ = course.step(at: now)
      course.ended(1, at: now)
      #expect(results(&course) == [id + 1_000: .failure(.ended(1))])
      pause = min(pause * 2, .seconds(60))
    }
    course.ask(2_000, line(2_000))
    #expect(course.step(at: now + .seconds(61)) == .start)
    course.started(at: now + .seconds(61))
    course.received(answer(2_000), at: now + .seconds(61))
    course.ended(0, at: now + .seconds(61))
    course.ask(2_001, line(2_001))
    #expect(course.step(at: now + .seconds(61)) == .start, "an answer forgives")
  }

  @Test func aProgramThatEndsBeforeItIsSpokenToIsNotStartedForEver() {
    var course = EncoderCourse(EncoderRules())
    course.ask(0, line(0))
    var startCount = 0
    while course.step(at: start) == .start, startCount < 100 {
      startCount += 1
      course.started(at: start)
      course.ended(1, at: start)
    }
    #expect(startCount == 2)
    #expect(results(&course) == [0: .failure(.ended(1))])
  }

  @Test func aProgramThatCannotBeStartedFailsEverything() {
    var course = EncoderCourse(EncoderRules())
    for id in 0..<Int64(3) { course.ask(id, line(id)) }
    #expect(course.step(at: start) == .start)
    let error = TarnError(.usage, "no such program")
    course.couldNotStart(error, at: start)
    #expect(results(&course).values.allSatisfy { $0 == .failure(.notStarted(error)) })
    #expect(course.step(at: start) == .wait(nil))
  }

  @Test func whatCannotBeKilledHoldsUpNobodyAndIsNotJoinedByAnother() {
    var course = running(3)
    #expect(course.step(at: start + .seconds(120)) == .kill)
    #expect(results(&course) == [0: .failure(.timedOut)])
    #expect(course.step(at: start + .seconds(129)) == .kill)
    #expect(course.takeAnswers().isEmpty)
    #expect(course.step(at: start + .seconds(130)) == .wait(.milliseconds(200)))
    #expect(results(&course) == [1: .failure(.unkillable), 2: .failure(.unkillable)])
    let later = start + .seconds(3_600)
    course.ask(3, line(3))
    #expect(course.step(at: later) == .wait(.milliseconds(200)))
    #expect(results(&course) == [3: .failure(.unkillable)])
    course.ended(256 + 9, at: later)
    course.ask(4, line(4))
    #expect(course.step(at: later) == .start)
  }

  /// Programs that die, hang, garble, say too much or answer, in any order: every query is
  /// answered once, by its own number or a fault, and it ends.
  @Test(arguments: 0..<300)
  func everyQueryIsAnsweredOnceWhateverHappens(seed: Int) {
    var random = SplitMix64(seed: UInt64(seed))
    var rules = EncoderRules()
    rules.mostInFlight = 1 + Int(random.next() % 5)
    var course = EncoderCourse(rules)
    let count = Int64(1 + random.next() % 40)
    for id in 0..<count { course.ask(id, line(id)) }
    var answered: [Int64: Result<[Float], EncoderFault>] = [:]
    // What the program has read and not answered.
    var before: [Int64] = []
    var now = start
    var stepCount = 0
    while answered.count < count, stepCount < 10_000 {
      stepCount += 1
      switch course.step(at: now) {
      case .start:
        before = []
        course.started(at: now)
      case .kill:
        if random.next() % 4 == 0 { now += .seconds(4) } else { course.ended(256 + 9, at: now) }
      case .wait where course.isStuck:
        if random.next() % 3 == 0 { course.ended(256 + 9, at: now) }
      case .wait(let wait):
        for line in course.toWrite.split(separator: 0x0A) {
          before.append((try? JSONValue(reading: Array(line)))?["id"]?.integer ?? -1)
        }
        course.wrote(course.toWrite.count)
        switch random.next() % 12 {
        case 0: course.ended(1, at: now)
        case 1: course.closed(at: now)
        case 2: course.received(Array("hm\n".utf8), at: now)
        case 3 where wait != nil: now += wait ?? .zero
        case 4 where before.count > 1:
          course.received(answer(before[1]), at: now)
        default:
          guard !before.isEmpty else { break }
          let id = before.removeFirst()
          course.received(answer(id), at: now)
          if random.next() % 8 == 0 { course.received(answer(id), at: now) }
        }
      }
      for (id, result) in course.takeAnswers() {
        #expect(answered.updateValue(result, forKey: id) == nil, "\(id) was answered twice")
        if case .success(let vector) = result { #expect(vector == [Float(id)], "somebody else's answer") }
      }
      now += .milliseconds(5)
    }
    #expect(answered.count == Int(count))
  }
}
