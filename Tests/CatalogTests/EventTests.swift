import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct EventTests {
  @Test func theHistoryTellsWhatHappened() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 2)
    try fixture.fetch(0, of: images, "zero")
    try fixture.fetch(1, of: images, "one")
    let version = try fixture.build("laion", fixture.train("clip", images), images)
    #expect(try lake.catalog.pin(version.name, reason: "paper"))
    #expect(try lake.catalog.revoke(version.name, reason: "wrong"))
    #expect(try lake.catalog.unpin(version.name))
    try lake.catalog.evict(lake.catalog.shards(of: images)[0])
    try lake.catalog.recordReproduction(
      of: version, startedAt: Timestamp.now(), outcome: .differs, detail: "{}", environment: "{}")
    let options = GarbageOptions(grace: .zero)
    try lake.catalog.collect(lake.catalog.garbage(options), options)
    let events = try lake.catalog.events()
    #expect(
      events.map(\.verb) == [
        "source-add", "fetched", "fetched", "trained", "planned", "output", "sealed", "pin", "revoked", "unpin",
        "evicted", "reproduction", "gc",
      ])
    #expect(
      events.map(\.subject).prefix(7) == [
        "images", "images/0.npy", "images/1.npy", "clip", "laion@1", "laion@1", "laion@1",
      ])
    #expect(events.map(\.number) == Array(1...13))
    #expect(try lake.catalog.firstBrokenEvent() == nil)
  }

  @Test func doingNothingLeavesNoEvent() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 1)
    try fixture.fetch(0, of: images, "zero")
    let version = try fixture.build("laion", fixture.train("clip", images), images)
    #expect(try lake.catalog.pin(version.name, reason: "a"))
    let count = try lake.catalog.events().count
    #expect(try !lake.catalog.pin(version.name, reason: "b"))
    try fixture.build("laion", fixture.train("clip", images), images)
    try lake.catalog.seal(version, lock: "lock")
    #expect(try lake.catalog.events().count == count)
    #expect(try lake.catalog.unpin(version.name))
    #expect(try !lake.catalog.unpin(version.name))
  }

  @Test(arguments: ["actor = 'nobody'", "detail = '{}'", "at = '2000'", "subject = 'x'", "verb = 'gc'"])
  func aChangeThatGotAroundTheTriggersShows(change: String) throws {
    let lake = try TemporaryLake(inMemory: true)
    _ = try lake.addSource("a", count: 1)
    _ = try lake.addSource("b", count: 1)
    _ = try lake.addSource("c", count: 1)
    try Tampering.run(lake.root + "/catalog.sqlite", ["UPDATE event SET \(change) WHERE seq = 2"])
    #expect(try lake.catalog.firstBrokenEvent() == 2)
    let report = try lake.catalog.verify()
    #expect(report.damages.map(\.problem) == [.brokenChain(event: 2)])
  }

  @Test func anEventTakenOutShows() throws {
    let lake = try TemporaryLake(inMemory: true)
    for name in ["a", "b", "c"] { _ = try lake.addSource(name, count: 1) }
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.write { try $0.execute(sql: "DROP TRIGGER event_is_kept; DELETE FROM event WHERE seq = 2") }
    #expect(try lake.catalog.firstBrokenEvent() == 2)
  }

  @Test func theHashIsThatOfItsLines() throws {
    let lake = try TemporaryLake(inMemory: true)
    _ = try lake.addSource("images", count: 1)
    let event = try #require(try lake.catalog.events().first)
    #expect(event.previous == String(repeating: "0", count: 64))
    let lines = "1\n\(event.at)\n\(event.actor)\nsource-add\nimages\n\(event.detail)\n\(event.previous)\n"
    #expect(ContentDigest.of(lines).hex == event.hash)
  }

  @Test func onlyWhatIsSealedIsPinnedOrRevoked() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 1)
    try fixture.fetch(0, of: images, "zero")
    let version = try fixture.plan("laion", fixture.train("clip", images), images)
    for attempt in [
      { try lake.catalog.pin(version.name, reason: "") }, { try lake.catalog.revoke(version.name, reason: "") },
    ] {
      let error = #expect(throws: TarnError.self) { _ = try attempt() }
      #expect(error?.code == .conflict)
    }
    let missing = #expect(throws: TarnError.self) {
      try lake.catalog.pin(VersionName(name: "laion", number: 9), reason: "")
    }
    #expect(missing?.code == .notFound)
  }

  @Test func whatIsGoneCannotBePinned() throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let error = #expect(throws: TarnError.self) {
      try lake.catalog.pin(VersionName(name: "gone", number: 1), reason: "")
    }
    #expect(error?.code == .inputsMissing)
  }
}
