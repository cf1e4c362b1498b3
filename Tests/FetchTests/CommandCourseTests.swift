// The course of a command under a clock of its own, with the numbers that ship.

import Base
import Fetch
import Testing

@Suite struct CommandCourseTests {
  private typealias Look = CommandCourse.Look
  private let start = ContinuousClock.now
  private let rules = CommandRules()
  private let wrote = TarnError(.integrity, "too much")

  /// What is done until it is over, and when.
  private func play(
    endsAt: Duration?, stopAt: Duration? = nil, faultAt: Duration? = nil, diesOfSIGTERM: Bool = true,
    diesOfKill: Bool = true
  ) -> (signals: [(Duration, CommandCourse.Step)], over: (Duration, CommandCourse.Step)) {
    var course = CommandCourse(rules, at: start)
    var (now, end): (Duration, CommandCourse.End?) = (.zero, nil)
    var signals: [(Duration, CommandCourse.Step)] = []
    while true {
      if let endsAt, now >= endsAt, end == nil { end = 0 }
      let look = Look(
        end: end, isStopped: stopAt.map { now >= $0 } ?? false, fault: faultAt.flatMap { now >= $0 ? wrote : nil })
      let step = course.step(look, at: start + now)
      switch step {
      case .wait(let wait):
        precondition(wait > .zero, "a course that spins")
        now += wait
      case .terminate:
        signals.append((now, step))
        if diesOfSIGTERM { end = 256 + 15 }
      case .kill:
        signals.append((now, step))
        if diesOfKill { end = 256 + 9 }
      case .over: return (signals, (now, step))
      }
    }
  }

  @Test func aCommandThatEndsIsLeftAlone() {
    let (signals, over) = play(endsAt: .seconds(3_600))
    #expect(signals.isEmpty)
    #expect(over.1 == .over(end: 0, cause: nil))
  }

  @Test func oneThatHangsIsAskedAndEnds() {
    let (signals, over) = play(endsAt: nil)
    #expect(signals.map(\.1) == [.terminate])
    #expect(signals.first?.0 == rules.timeout)
    #expect(over.1 == .over(end: 256 + 15, cause: .timedOut))
  }

  @Test func oneThatHearsNothingIsKilledAfterItsGrace() {
    let (signals, over) = play(endsAt: nil, diesOfSIGTERM: false)
    #expect(signals.map(\.1) == [.terminate, .kill])
    #expect(signals.last?.0 == rules.timeout + rules.grace)
    #expect(over.1 == .over(end: 256 + 9, cause: .timedOut))
  }

  @Test func oneThatNoKillEndsIsGivenUp() {
    let (_, over) = play(endsAt: nil, diesOfSIGTERM: false, diesOfKill: false)
    #expect(over.0 >= rules.timeout + rules.grace + rules.patienceWithKilled)
    #expect(over.1 == .over(end: nil, cause: .timedOut))
  }

  /// Ctrl-C leaves tarn 1.5 s, and the command less.
  @Test(arguments: [Duration.zero, .seconds(5), .seconds(6 * 3_600 + 1)])
  func aStopIsQuickWheneverItComes(at time: Duration) {
    let (_, over) = play(endsAt: nil, stopAt: time, diesOfSIGTERM: false)
    #expect(over.0 <= time + .seconds(1))
    #expect(over.1 == .over(end: 256 + 9, cause: time > rules.timeout ? .timedOut : .stopped))
  }

  @Test func whatItWroteTooMuchIsTheReasonThatIsTold() {
    let (signals, over) = play(endsAt: nil, stopAt: .seconds(12), faultAt: .seconds(10), diesOfSIGTERM: false)
    #expect(signals.first?.0 == .seconds(10))
    #expect(over.1 == .over(end: 256 + 9, cause: .wrote(wrote)))
  }

  /// Whatever happens when, it ends, and in an order that makes sense.
  @Test func noOrderOfEventsGoesOnForEver() {
    var generator = SplitMix64(seed: 7)
    for _ in 0..<40 {
      func time(_ most: Int) -> Duration? {
        Bool.random(using: &generator) ? .seconds(Int.random(in: 0...most, using: &generator)) : nil
      }
      let (ends, stops, faults) = (time(30_000), time(30_000), time(30_000))
      let (signals, over) = play(
        endsAt: ends, stopAt: stops, faultAt: faults, diesOfSIGTERM: .random(using: &generator),
        diesOfKill: .random(using: &generator))
      #expect(over.0 <= rules.timeout + rules.grace + rules.patienceWithKilled + .seconds(1))
      #expect(
        signals.count <= 2
          && signals.map(\.1) == Array([CommandCourse.Step.terminate, .kill][..<min(2, signals.count)]))
    }
  }

  // MARK: Verdicts

  @Test(
    arguments: [
      (0, nil), (1, .refused), (75, .temporary), (127, .refused), (256 + 9, .refused), (256 + 24, .refused),
    ] as [(CommandCourse.End, TarnError.Code?)])
  func howItEndedDecidesWhetherItIsTriedAgain(end: CommandCourse.End, code: TarnError.Code?) {
    var record = CommandRecord(line: "e {output}")
    record.take(end)
    #expect(record.failure(nil, rules)?.code == code)
  }

  @Test func theLastLineThatItPrintedIsSaid() {
    var record = CommandRecord(line: "e {output}")
    record.tail = "first\nthe model is missing\n\n"
    record.take(3)
    #expect(
      record.failure(nil, rules)?.message == "the command failed with exit status 3, saying 'the model is missing'")
    #expect(record.failure(.timedOut, rules)?.message.hasPrefix("the command did not end within 6 h") ?? false)
    #expect(record.failure(.stopped, rules)?.code == .interrupted)
  }
}
