// Whatever waits, retries or gives up, with the constants that ship and a clock
// of the test's own: a shortened timeout once hid that the real one never fired.

import Base
import Fetch
import Foundation
import Testing

/// The shipped behaviour; nothing here changes it.
private let shipped = FetchConfiguration()

/// A time that passes as the test says.
private struct FakeClock {
  private let start = ContinuousClock.now
  private(set) var elapsed = Duration.zero
  var now: ContinuousClock.Instant { start + elapsed }

  mutating func pass(_ time: Duration) { elapsed += time }
}

/// How a loop looks at a request: four times a second.
private let turn = Duration.milliseconds(250)

@Suite struct RequestWatchTests {
  private var clock = FakeClock()

  /// Looks at a request until it is given up.
  ///
  /// - Parameters:
  ///   - limit: When to stop looking.
  ///   - answeredAfter: When the head was whole; nil for never.
  ///   - heard: Bytes that came by a time since the request was sent.
  /// - Returns: Why and when it was; nil if it was not.
  private mutating func givenUp(
    within limit: Duration = .seconds(3_600), answeredAfter: Duration?, heard: (_ seconds: Double) -> Int
  ) -> (reason: RequestWatch.Reason, after: Duration)? {
    var watch = RequestWatch(shipped.watch, at: clock.now)
    let start = clock.elapsed
    var isAnswered = false
    while clock.elapsed - start < limit {
      clock.pass(turn)
      let passed = clock.elapsed - start
      let byteCount = heard(passed / .seconds(1))
      if let answeredAfter, passed >= answeredAfter, !isAnswered {
        watch.answered(heard: byteCount, at: clock.now)
        isAnswered = true
      }
      if let reason = watch.look(heard: byteCount, isReading: true, at: clock.now) { return (reason, passed) }
    }
    return nil
  }

  @Test mutating func r14AServerThatNeverAnswersIsGivenUpAfterHalfAMinute() throws {
    let end = try #require(givenUp(answeredAfter: nil) { _ in 0 })
    #expect(end.reason == .unanswered && end.after == .seconds(30))
  }

  @Test mutating func r14AHeadThatDripsIsNoAnswer() throws {
    let end = try #require(givenUp(answeredAfter: nil) { Int($0 * 10_000) })
    #expect(end.reason == .unanswered && end.after == .seconds(30))
  }

  @Test(arguments: [0, 9_000, 100_000_000])
  mutating func r14ABodyThatFallsSilentIsGivenUpWithinAMinute(byteCount: Int) throws {
    let end = try #require(givenUp(answeredAfter: .seconds(1)) { $0 < 2 ? 0 : byteCount })
    #expect(end.reason == .stalled)
    #expect(end.after >= .seconds(30) && end.after < .seconds(60))
  }

  @Test mutating func r14ABodyThatDripsIsGivenUp() throws {
    let end = try #require(givenUp(answeredAfter: .zero) { Int($0 * 200) })
    #expect(end.reason == .stalled && end.after < .seconds(60))
  }

  @Test mutating func aSlowServerThatGoesOnIsLeftAlone() {
    #expect(givenUp(within: .seconds(7_200), answeredAfter: .seconds(29)) { Int($0 * 1_100) } == nil)
  }

  @Test mutating func bytesInBurstsCountOverTheWholeWindow() {
    // Silent for 25 s, then 40 kB, again and again.
    #expect(givenUp(answeredAfter: .zero) { 40_000 * (1 + Int($0) / 25) } == nil)
  }

  @Test mutating func r14WhoMayTakeItsTimeMaySendBlanksMeanwhile() {
    var rules = shipped.watch
    rules.allow(.seconds(600))
    var watch = RequestWatch(rules, at: clock.now)
    watch.answered(heard: 100, at: clock.now)
    for look in 0..<(4 * 590) {
      clock.pass(turn)
      #expect(watch.look(heard: 100 + look / 40, isReading: true, at: clock.now) == nil)
    }
    for _ in 0..<(4 * 60) where watch.look(heard: 200, isReading: true, at: clock.now) == nil { clock.pass(turn) }
    #expect(watch.look(heard: 200, isReading: true, at: clock.now) == .stalled)
  }

  /// What is sent at a limited rate goes out in blocks, and nothing between them.
  @Test(arguments: [200, 1_000, 2_000, 4_000, 100_000]) mutating func r14ALowLimitIsNoStall(rate: Int) {
    let rules = shipped.watch.sending(atMost: rate)
    var watch = RequestWatch(rules, at: clock.now)
    watch.answered(heard: 0, at: clock.now)
    var sent = 0
    while clock.elapsed < .seconds(1_500) {
      clock.pass(turn)
      sent = (1 + Int(clock.elapsed / .seconds(1) * Double(rate)) / 65_536) * 65_536
      #expect(watch.look(heard: sent, isReading: true, at: clock.now) == nil, "after \(clock.elapsed)")
    }
    // One that stands still for good is given up all the same.
    let end = clock.elapsed + rules.stallTimeout * 2
    while watch.look(heard: sent, isReading: true, at: clock.now) == nil, clock.elapsed < end { clock.pass(turn) }
    #expect(watch.look(heard: sent, isReading: true, at: clock.now) == .stalled)
    #expect(shipped.watch.sending(atMost: nil) == shipped.watch)
  }

  @Test mutating func timeInWhichNobodyReadIsNotTheServers() {
    var watch = RequestWatch(shipped.watch, at: clock.now)
    watch.answered(heard: 100, at: clock.now)
    // Behind on the disk, or under a limit of ours, for an hour.
    for _ in 0..<(4 * 3_600) {
      clock.pass(turn)
      #expect(watch.look(heard: 100, isReading: false, at: clock.now) == nil)
    }
    for _ in 0..<(4 * 29) {
      clock.pass(turn)
      #expect(watch.look(heard: 100, isReading: true, at: clock.now) == nil)
    }
    clock.pass(.seconds(2))
    #expect(watch.look(heard: 100, isReading: true, at: clock.now) == .stalled)
  }

  @Test mutating func aMachineThatSleptBlamesNoServer() {
    var watch = RequestWatch(shipped.watch, at: clock.now)
    watch.answered(heard: 100, at: clock.now)
    clock.pass(turn)
    #expect(watch.look(heard: 50_000, isReading: true, at: clock.now) == nil)
    clock.pass(.seconds(8 * 3_600))
    #expect(watch.look(heard: 50_000, isReading: true, at: clock.now) == nil)
    // Whoever looks seldom gives up all the same, if later.
    var looks = 0
    while watch.look(heard: 50_000, isReading: true, at: clock.now) == nil, looks < 20 {
      clock.pass(.seconds(600))
      looks += 1
    }
    #expect((4...8).contains(looks))
  }

  @Test mutating func aRequestWithAnEndOfItsOwnEndsThenWhateverComes() {
    var rules = shipped.watch
    rules.wholeTimeout = .seconds(20)
    var watch = RequestWatch(rules, at: clock.now)
    var byteCount = 0
    var reason: RequestWatch.Reason?
    while reason == nil, clock.elapsed < .seconds(60) {
      clock.pass(turn)
      byteCount += 1_000_000
      watch.answered(heard: byteCount, at: clock.now)
      reason = watch.look(heard: byteCount, isReading: true, at: clock.now)
    }
    #expect(reason == .outOfTime && clock.elapsed == .seconds(20))
  }
}

@Suite struct RerollTests {
  private var clock = FakeClock()

  /// A host whose transfers reach 10 MB/s.
  private var host: HostPace {
    mutating get {
      var host = HostPace()
      for _ in 0..<3 {
        var other = Reroll(shipped.reroll, at: clock.now)
        clock.pass(.seconds(10))
        _ = other.look(heard: 100_000_000, host: &host, at: clock.now)
      }
      return host
    }
  }

  @Test mutating func aTransferFarBelowTheMedianIsBegunAgainAFewTimes() {
    var host = host
    var reroll = Reroll(shipped.reroll, at: clock.now)
    var times: [Duration] = []
    let start = clock.elapsed
    var heard = 0
    while clock.elapsed - start < .seconds(300) {
      clock.pass(turn)
      heard += 50_000
      guard reroll.look(heard: heard, host: &host, at: clock.now) else { continue }
      times.append(clock.elapsed - start)
      heard = 0
      reroll.restart(heard: 0, at: clock.now)
    }
    #expect(times == [.seconds(10), .seconds(20), .seconds(30)])
  }

  @Test mutating func othersAndTheFirstOnesAreLeftAlone() {
    var host = host
    #expect(host.median == 10_000_000)
    var usual = Reroll(shipped.reroll, at: clock.now)
    clock.pass(.seconds(10))
    let isBegunAgain = usual.look(heard: 26_000_000, host: &host, at: clock.now)
    #expect(!isBegunAgain)
    var unknown = HostPace()
    var first = Reroll(shipped.reroll, at: clock.now)
    for _ in 0..<3 {
      clock.pass(.seconds(10))
      let isBegunAgain = first.look(heard: 1, host: &unknown, at: clock.now)
      #expect(!isBegunAgain)
    }
  }

  /// The fault that this file is about: both rules at work on one transfer.
  @Test mutating func r14LookingForSlowTransfersPutsNoStallOff() throws {
    var watch = RequestWatch(shipped.watch, at: clock.now)
    var reroll = Reroll(shipped.reroll, at: clock.now)
    var host = HostPace()
    watch.answered(heard: 200, at: clock.now)
    var reason: RequestWatch.Reason?
    while reason == nil, clock.elapsed < .seconds(3_600) {
      clock.pass(turn)
      reason = watch.look(heard: 9_200, isReading: true, at: clock.now)
      _ = reroll.look(heard: 9_200, host: &host, at: clock.now)
    }
    #expect(reason == .stalled && clock.elapsed < .seconds(60))
  }
}

@Suite struct BackoffTests {
  @Test func waitsDoubleUpToACapAndAreDrawnInFull() {
    let backoff = shipped.backoff
    let ceilings = (1...9).map { backoff.ceiling(afterFailures: $0) }
    #expect(ceilings == [0.5, 1, 2, 4, 8, 16, 32, 60, 60].map { .seconds($0) })
    for count in [0, 1, 5, 1_000_000] {
      var waits: [Duration] = []
      for seed in 0..<200 {
        var jitter = SplitMix64(seed: UInt64(seed))
        waits.append(backoff.wait(afterFailures: count, using: &jitter))
      }
      let ceiling = backoff.ceiling(afterFailures: count)
      #expect(waits.allSatisfy { $0 >= .zero && $0 <= ceiling })
      #expect(waits.contains { $0 < ceiling * 0.1 } && waits.contains { $0 > ceiling * 0.9 })
    }
  }
}

@Suite struct HostStandingTests {
  private var clock = FakeClock()

  @Test mutating func r13TheLongestWaitAHostAskedForHolds() {
    var host = HostStanding()
    #expect(host.notBefore == nil)
    host.asked(toWait: .seconds(300), at: clock.now)
    clock.pass(.seconds(1))
    host.asked(toWait: .seconds(2), at: clock.now)
    clock.pass(.seconds(299))
    #expect(host.notBefore == clock.now)
    host.asked(toWait: .seconds(2), at: clock.now)
    #expect(host.notBefore == clock.now + .seconds(2))
  }

  @Test func r12AHostThatRefusesInARowIsLeftAlone() {
    var host = HostStanding()
    for isServed in [false, false, true, false, false] {
      isServed ? host.served() : host.refused()
      #expect(!host.isRefusing(shipped.refusalsPerHost))
    }
    host.refused()
    #expect(host.isRefusing(shipped.refusalsPerHost))
  }

  @Test mutating func aHostIsSilentIfItAnsweredNothingAtAll() {
    var host = HostStanding()
    let start = clock.now
    clock.pass(.seconds(30))
    host.wasSilent(since: start)
    #expect(!host.isSilent(for: shipped.probeTimeout, at: clock.now))
    clock.pass(.seconds(30))
    #expect(host.isSilent(for: shipped.probeTimeout, at: clock.now))
    host.answered(at: clock.now)
    // An older question that fails now says nothing of the time before.
    host.wasSilent(since: start)
    clock.pass(.seconds(59))
    #expect(!host.isSilent(for: shipped.probeTimeout, at: clock.now))
    clock.pass(.seconds(1))
    #expect(host.isSilent(for: shipped.probeTimeout, at: clock.now))
  }
}

@Suite struct RetryAfterTests {
  @Test(
    arguments: [
      ("0", 0), ("120", 120), ("300", 300), ("301", 300), ("100000000", 300), ("999999999999999999", 300),
      ("Sun, 06 Nov 1994 08:49:37 GMT", 0), ("Sun, 06 Nov 1994 08:51:37 GMT", 60),
      ("Sun, 06 Nov 2094 08:49:37 GMT", 300), ("soon", nil), ("-5", nil), ("1e3", nil), ("", nil),
    ] as [(String, Int?)])
  func r13IsASecondCountOrADateAndNeverLongerThanTheCap(text: String, seconds: Int?) throws {
    let now = try #require(HTTPDate.parse("Sun, 06 Nov 1994 08:50:37 GMT"))
    let head = ResponseHead(statusCode: 503, fields: [("Retry-After", text)])
    let wait = ResponseClassifier.retryAfter(head, at: now, cap: shipped.retryAfterCap)
    #expect(wait == seconds.map { .seconds($0) })
  }
}

@Suite struct ProbeCourseTests {
  private var clock = FakeClock()
  private var jitter = SplitMix64(seed: 3)

  private let failure = TarnError(.temporary, "no answer")

  @Test mutating func asksASilentPlaceForAMinuteAtMost() {
    for seed in 0..<100 {
      jitter = SplitMix64(seed: UInt64(seed))
      let start = clock.elapsed
      var course = ProbeCourse(shipped, at: clock.now)
      var count = 0
      while true {
        // Each request is watched, and for no longer than there is time.
        count += 1
        clock.pass(min(shipped.watch.answerTimeout, course.timeLeft(at: clock.now)))
        let step = course.step(after: nil, failure, at: clock.now, using: &jitter)
        guard case .again(let time) = step else { break }
        clock.pass(time - clock.now)
      }
      #expect(count == 2)
      #expect(clock.elapsed - start <= shipped.probeTimeout)
    }
  }

  @Test mutating func asksAPlaceInTroubleAFewTimes() {
    var course = ProbeCourse(shipped, at: clock.now)
    var count = 1
    while case .again(let time) = course.step(after: nil, failure, at: clock.now, using: &jitter) {
      #expect(time >= clock.now && time - clock.now <= shipped.backoff.ceiling(afterFailures: count))
      clock.pass(time - clock.now)
      count += 1
    }
    #expect(count == shipped.attemptsPerMirror)
  }

  @Test mutating func hasNoPatienceWithAHostThatAsksForIt() {
    var course = ProbeCourse(shipped, at: clock.now)
    let soon = course.step(after: .seconds(7), failure, at: clock.now, using: &jitter)
    #expect(soon == .again(at: clock.now + .seconds(7)))
    let late = course.step(after: .seconds(61), failure, at: clock.now, using: &jitter)
    #expect(late == .giveUp)
    #expect(course.step(notBefore: clock.now + .seconds(60)) == .giveUp)
    #expect(course.step(notBefore: clock.now + .seconds(59)) == .again(at: clock.now + .seconds(59)))
  }
}

@Suite struct ShippedWalkTests {
  /// A server that is always silent, as a transfer meets it.
  @Test func everyWalkOverSilentMirrorsEnds() {
    var clock = FakeClock()
    var jitter = SplitMix64(seed: 1)
    var walk = MirrorWalk(mirrorCount: 2, configuration: shipped)
    var asked = [0]
    let silence = AttemptFailure.temporary(after: nil, TarnError(.temporary, "no answer"))
    while clock.elapsed < .seconds(3_600) {
      walk.begin()
      clock.pass(shipped.watch.answerTimeout)
      switch walk.step(after: silence, heldByteCount: 0, using: &jitter) {
      case .again(let wait):
        clock.pass(wait)
        asked[asked.count - 1] += 1
      case .mirror: asked.append(0)
      case .failed(let error):
        #expect(error.code == .temporary)
        #expect(asked == [4, 4])
        #expect(clock.elapsed < .seconds(330))
        return
      }
    }
    Issue.record("no end")
  }
}
