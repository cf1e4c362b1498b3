// What a queue with patience makes of any order of events: nothing is lost, nothing is asked
// for twice at a time, and every run ends.

import Base
import Fetch
import Testing
import TestSupport

@Suite struct PatientQueueTests {
  private let start = ContinuousClock.now
  private let passing = TarnError(.temporary, "gone")

  @Test(arguments: 0..<40) func r21EveryWaitEnds(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let limit = Duration.seconds(Int.random(in: 0...300, using: &random))
    let count = Int.random(in: 1...8, using: &random)
    var queue = PatientQueue(0..<count, patience: limit)
    var now = start
    var (asked, waiting): (Set<Int>, Set<Int>) = ([], Set(0..<count))
    var since: ContinuousClock.Instant?
    // Nothing comes any more: what is asked for fails, sooner or later.
    for _ in 0..<100_000 {
      switch queue.next(at: now) {
      case .over where asked.isEmpty:
        // Each was given up, or all that were left with patience.
        #expect(waiting.isEmpty || since.map { now - $0 > limit - HostPatience.shortestPause * 4 } ?? false)
        return
      case .over: break
      case .later: break
      case .ask(let number):
        #expect(waiting.remove(number) != nil)
        #expect(asked.insert(number).inserted)
        continue
      }
      now += .milliseconds(Int.random(in: 1...10_000, using: &random))
      guard let number = asked.min() else { continue }
      asked.remove(number)
      if Bool.random(using: &random) { queue.failedForNow(number, askingFor: .seconds(30)) }
      since = since ?? now
      if queue.failed(number, passing, at: now) != nil { waiting.insert(number) }
    }
    Issue.record("it does not end")
  }

  @Test func r21TroubleIsToldOnceUntilItIsOver() {
    var queue = PatientQueue(0..<2, patience: .seconds(600))
    #expect(queue.next(at: start) == .ask(0) && queue.next(at: start) == .ask(1))
    #expect(queue.failed(0, passing, at: start)?.isFirst == true)
    #expect(queue.failed(1, passing, at: start)?.isFirst == false)
    #expect(queue.next(at: start) == .later)
    #expect(queue.next(at: start + .seconds(1)) == .ask(0))
    // One question at a time.
    #expect(queue.next(at: start + .seconds(1)) == .later)
    queue.delivered(0)
    #expect(queue.next(at: start + .seconds(1)) == .ask(1))
    #expect(queue.failed(1, passing, at: start + .seconds(2))?.isFirst == true)
  }

  @Test func r13WhatAHostAsksForHoldsWithinPatience() {
    var queue = PatientQueue(0..<1, patience: .seconds(60))
    #expect(queue.next(at: start) == .ask(0))
    queue.failedForNow(0, askingFor: .seconds(40))
    #expect(queue.failed(0, passing, at: start)?.length == .seconds(40))
    #expect(queue.next(at: start + .seconds(39)) == .later)
    #expect(queue.next(at: start + .seconds(40)) == .ask(0))
    queue.failedForNow(0, askingFor: .seconds(1_000_000))
    #expect(queue.failed(0, passing, at: start + .seconds(40))?.length == .seconds(20))
  }

  @Test func aDefiniteAnswerIsOverUnlessAPageCame() {
    var queue = PatientQueue(0..<2, patience: .seconds(60))
    #expect(queue.next(at: start) == .ask(0) && queue.next(at: start) == .ask(1))
    #expect(queue.failed(0, TarnError(.absent, "404"), at: start) == nil)
    // R22: a page instead of the file.
    queue.failedForNow(1, askingFor: nil)
    #expect(queue.failed(1, TarnError(.integrity, "a page"), at: start) != nil)
  }

  @Test func whatIsPutBackIsTheNextAndNoFailure() {
    var queue = PatientQueue(0..<3, patience: .seconds(60))
    #expect(queue.next(at: start) == .ask(0))
    #expect(queue.failed(0, passing, at: start) != nil)
    // The one question of a trouble is not taken by what nobody asked.
    #expect(queue.next(at: start + .seconds(1)) == .ask(1))
    queue.putBack(1)
    #expect(queue.next(at: start + .seconds(1)) == .ask(1))
    queue.delivered(1)
    #expect(queue.next(at: start + .seconds(1)) == .ask(2))
    #expect(queue.next(at: start + .seconds(1)) == .ask(0))
    #expect(queue.next(at: start + .seconds(1)) == .later)
  }

  @Test func withoutPatienceEveryFailureIsOver() {
    var queue = PatientQueue(0..<1, patience: .zero)
    #expect(queue.next(at: start) == .ask(0))
    #expect(queue.failed(0, passing, at: start) == nil)
    #expect(queue.next(at: start) == .over)
  }
}
