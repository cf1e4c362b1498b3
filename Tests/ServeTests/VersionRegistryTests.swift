// Which versions are served as a catalog changes, and when it is looked at: without a lake and without a clock.

import Base
import Dispatch
import Foundation
import Lake
import Serve
import Synchronization
import Testing
import TestSupport

@Suite struct VersionRegistryTests {
  private func fact(_ name: String, _ number: Int, _ state: VersionState) -> ServingFacts.Version {
    ServingFacts.Version(VersionName(name: name, number: number), state)
  }

  private func names(_ asked: [String], _ versions: [ServingFacts.Version]) throws -> [String] {
    ServingPlan(try ServedName.all(asked), among: versions).names.map { "\($0)" }
  }

  @Test func theNewestSealedOfEachNameIsServed() throws {
    let versions = [
      fact("b", 1, .sealed), fact("b", 2, .sealed), fact("b", 3, .building), fact("a", 10, .sealed),
      fact("a", 9, .sealed),
      fact("c", 1, .planned), fact("d", 1, .revoked), fact("e", 1, .abandoned), fact("f", 1, .sealed),
      fact("f", 2, .revoked),
    ]
    #expect(try names([], versions) == ["a@10", "b@2", "f@1"])
    #expect(try names(["b", "a@9", "f@2", "b@2", "c", "none"], versions) == ["b@2", "a@9"])
    #expect(ServingPlan([.newestOfEach], among: versions).revoked.map { "\($0)" }.sorted() == ["d@1", "f@2"])
    // What was named and has nothing behind it is not forgotten; without names there is nothing to miss.
    func unmet(_ asked: [String]) throws -> [ServedName] {
      ServingPlan(try ServedName.all(asked), among: versions).unmet
    }
    #expect(try unmet([]) == [] && unmet(["a", "a@9", "b@2", "f"]) == [])
    let revoked = VersionName(name: "f", number: 2)
    #expect(try unmet(["f@2", "d", "a", "none"]) == [.version(revoked), .newest("d"), .newest("none")])
    #expect(throws: TarnError.self) { try ServedName.all(["--help"]) }
  }

  /// Who names no version is answered from what was made last, not from what comes first in the alphabet.
  @Test func whatWasSealedLastComesFirst() throws {
    func fact(_ name: String, _ number: Int, _ sealedAt: String) -> ServingFacts.Version {
      ServingFacts.Version(VersionName(name: name, number: number), .sealed, sealedAt: sealedAt)
    }
    let versions = [
      fact("big", 1, "2026-01-01T00:00:00.000Z"), fact("routed", 2, "2026-03-01T00:00:00.000Z"),
      fact("routed", 3, "2026-02-01T00:00:00.000Z"), fact("small", 1, "2026-02-01T00:00:00.001Z"),
      fact("tie", 1, "2026-01-01T00:00:00.000Z"),
    ]
    #expect(try names([], versions) == ["small@1", "routed@3", "big@1", "tie@1"])
    #expect(try names(["tie", "small", "routed@2"], versions) == ["tie@1", "small@1", "routed@2"])
  }

  @Test func whatComesAndGoesIsSaid() throws {
    func said(_ before: [String], _ after: [String], revoked: [String] = []) throws -> [String] {
      func names(_ texts: [String]) throws -> [VersionName] { try texts.map { try VersionName(parsing: $0) } }
      return ServeNews.changes(from: try names(before), to: try names(after), revoked: Set(try names(revoked))).map {
        if case .changed(let text) = $0 { text } else { "no change" }
      }
    }
    #expect(try said(["a@1", "b@1"], ["a@1", "b@1"]) == [])
    #expect(try said(["a@1", "b@1"], ["a@2", "b@1"]) == ["a@2 is served in place of a@1"])
    #expect(try said(["a@1"], ["a@1", "b@1"]) == ["b@1 is served"])
    #expect(try said(["a@2"], [], revoked: ["a@2"]) == ["a@2 was revoked and is not served any more"])
    #expect(
      try said(["a@2"], ["a@1"], revoked: ["a@2"]) == [
        "a@2 was revoked and is not served any more", "a@1 is served",
      ])
    #expect(try said(["a@1"], []) == ["a@1 is not served any more"])
  }

  /// Every order of sealing and revoking: what is served is what a look at all of it says.
  @Test func onlySealedVersionsAreServedAndNoneTwice() throws {
    var random = SplitMix64(seed: 5)
    let states: [VersionState] = [.planned, .building, .sealed, .sealed, .revoked, .abandoned]
    for _ in 0..<500 {
      let versions = ["a", "b", "c"].flatMap { name in
        (1...3).map { fact(name, $0, states[Int(random.next() % 6)]) }
      }
      let sealed = versions.filter { $0.state == .sealed }.map(\.name)
      let newest = ["a", "b", "c"].compactMap { name in
        sealed.filter { $0.name == name }.max { $0.number < $1.number }
      }
      #expect(ServingPlan([.newestOfEach], among: versions).names == newest)
      let asked: [ServedName] = [.newest("b"), .version(VersionName(name: "b", number: 2)), .newestOfEach]
      let served = ServingPlan(asked, among: versions).names
      #expect(Set(served).count == served.count && served.allSatisfy(sealed.contains))
      #expect(Set(served).isSuperset(of: newest))
    }
  }

  @Test func theCatalogIsLookedAtOnceASecondAndReadOnlyWhereSomebodyWrote() {
    let start = ContinuousClock.now
    var polling = CatalogPolling()
    var (looks, reads) = (0, 0)
    for tick in 0..<10_000 {
      let now = start + .milliseconds(10 * tick)
      guard polling.isLookDue(at: now) else { continue }
      looks += 1
      // Somebody writes three times, and many times between two looks.
      let version = tick < 3000 ? 1 : tick < 3050 ? tick : 7
      if polling.isReadDue(version, at: now) { reads += 1 }
    }
    #expect(looks == 100)
    #expect(reads == 3)
  }

  @Test func aTenthOfTheTimeGoesIntoWhatTakesLong() {
    let start = ContinuousClock.now
    // A look takes so many seconds; somebody asks ten times a second for a quarter of an hour.
    for (cost, most) in [(0.0, 900), (0.01, 900), (1.0, 90), (20.0, 5)] {
      var kept = PacedValue<Int>()
      var (now, looks, spent) = (start, 0, Duration.zero)
      while now < start + .seconds(900) {
        if kept.fresh(at: now) == nil {
          let end = now + .seconds(cost)
          looks += 1
          spent += end - now
          kept.keep(looks, madeFrom: now, to: end)
          now = end
        }
        now += .milliseconds(100)
      }
      #expect((most / 2...most).contains(looks), "\(cost) s: \(looks)")
      #expect(spent <= .seconds(90 + 20), "\(cost) s: \(spent)")
    }
  }

  /// Who waits for it has what was made, nobody waits for another value, and what failed is made again.
  @Test func aValueIsMadeByOneAtATime() throws {
    struct Refusal: Error {}
    let shared = SharedValue<Int>()
    #expect(throws: Refusal.self) { try shared.value { throw Refusal() } }
    let makers = Mutex((now: 0, most: 0))
    let (isMaking, goesOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    let first = ThreadedWork("test") {
      try shared.value {
        makers.withLock { $0 = (1, 1) }
        isMaking.signal()
        goesOn.wait()
        makers.withLock { $0.now -= 1 }
        return 1
      }
    }
    isMaking.wait()
    let others = (0..<4).map { _ in
      ThreadedWork("test") {
        try shared.value {
          makers.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
          makers.withLock { $0.now -= 1 }
          return 2
        }
      }
    }
    let another = try SharedValue<Int>().value { 3 }
    #expect(another == 3)
    goesOn.signal()
    let made = try first.wait()
    #expect(made == 1)
    for other in others {
      let value = try other.wait()
      #expect([1, 2].contains(value))
    }
    let most = makers.withLock { $0.most }
    #expect(most == 1)
  }

  @Test func whatFailedIsTriedAgainThoughNobodyWrote() {
    let start = ContinuousClock.now
    var polling = CatalogPolling()
    // Seconds, what the look gave, whether the catalog is read, and whether that fails.
    for (second, version, isRead, fails) in [
      (0, 1, true, true), (29, 1, false, false), (30, 1, true, false), (90, 1, false, false), (91, 2, true, true),
      (92, 3, true, false), (200, 3, false, false),
    ] {
      let now = start + .seconds(second)
      let got = polling.isReadDue(version, at: now)
      #expect(got == isRead, "after \(second) s")
      #expect(polling.isUpToDate(version) && !polling.isUpToDate(version + 1))
      if fails { polling.fail(at: now) }
    }
  }

  @Test func whatIsServedIsStaleWhenTheCatalogWasNotReadForAMinute() {
    let start = ContinuousClock.now
    var freshness = CatalogFreshness(at: start)
    for (second, isConfirmed, isStale) in [
      (1, true, false), (61, false, false), (62, false, true), (63, true, false), (123, false, false),
      (124, false, true),
    ] {
      let now = start + .seconds(second)
      if isConfirmed { freshness.confirm(at: now) }
      #expect(freshness.isStale(at: now) == isStale, "after \(second) s")
    }
  }
}
