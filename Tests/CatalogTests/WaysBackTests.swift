// Trainings and builds end: given up, removed, renamed; what a sealed version pins
// stays, and the history tells of all of it.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct WaysBackTests {
  private let now = GarbageOptions(grace: .zero, includesSegments: true, now: Date().addingTimeInterval(60))

  /// A source of two shards and a trained index `clip`.
  private func trainedLake() throws -> (lake: TemporaryLake, fixture: CatalogFixture, images: Source) {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 2)
    try fixture.fetch(0, of: images, "zero")
    try fixture.fetch(1, of: images, "one")
    _ = try fixture.train("clip", images)
    return (lake, fixture, images)
  }

  /// Whether everything that the catalog states is borne out by the history.
  private func isBorneOut(_ catalog: LakeCatalog) throws -> Bool {
    let facts = try catalog.facts()
    return try facts.others.allSatisfy { $0.verdict.isClean } && facts.sealed.allSatisfy { $0.catalog.isClean }
      && catalog.firstBrokenEvent() == nil
  }

  private func verbs(_ catalog: LakeCatalog, about subject: String) throws -> [String] {
    try catalog.events().filter { $0.subject == subject }.map(\.verb)
  }

  @Test func anUnfinishedVersionIsAbandonedOnceAndItsNumberStaysTaken() throws {
    let (lake, fixture, images) = try trainedLake()
    let clip = try lake.catalog.trainedIndex(named: "clip")
    let half = try fixture.plan("laion", clip, images, perOutput: 1)
    try fixture.encode(half, output: 0)
    try fixture.merge(half, output: 0)
    #expect(try lake.catalog.garbage(now).due.map(\.kind) == [.segment])
    #expect(try lake.catalog.abandon(half.name))
    #expect(try !lake.catalog.abandon(half.name))
    #expect(try lake.catalog.version(half.name).state == .abandoned)
    #expect(try verbs(lake.catalog, about: "laion@1") == ["planned", "output", "abandoned"])
    #expect(Set(try lake.catalog.garbage(now).due.map(\.kind)) == [.segment, .outputShard])
    try lake.catalog.collect(lake.catalog.garbage(now), now)
    #expect(try lake.catalog.strangers().isEmpty)
    #expect(try fixture.build("laion", clip, images, perOutput: 1).name.number == 2)
    #expect(try isBorneOut(lake.catalog))
  }

  @Test func aVersionThatDiedBeforeItsSealIsNoStrangerOnceItIsAbandoned() throws {
    let (lake, fixture, images) = try trainedLake()
    let version = try fixture.plan("laion", lake.catalog.trainedIndex(named: "clip"), images)
    try fixture.encode(version, output: 0)
    try fixture.merge(version, output: 0)
    let lock = try lake.catalog.lockContent(of: version, segmentFormat: 1).text + "\n"
    let paths = [lake.catalog.layout.lockFilePath(version.name), lake.catalog.layout.documentPath(version.name)]
    for path in paths { try Disk.writeAtomically(Array(lock.utf8), to: path) }
    #expect(try lake.catalog.abandon(version.name))
    #expect(paths.allSatisfy { Disk.size(of: $0) == nil })
    try lake.catalog.collect(lake.catalog.garbage(now), now)
    #expect(try lake.catalog.strangers().isEmpty)
  }

  @Test func aVersionThatIsSupersededIsTakenForASealedOneByNobody() throws {
    let (lake, fixture, images) = try trainedLake()
    let clip = try lake.catalog.trainedIndex(named: "clip")
    let version = try fixture.plan("laion", clip, images)
    try fixture.encode(version, output: 0)
    try fixture.merge(version, output: 0)
    let lock = try lake.catalog.lockContent(of: version, segmentFormat: 1).text + "\n"
    let paths = [lake.catalog.layout.lockFilePath(version.name), lake.catalog.layout.documentPath(version.name)]
    func die() throws { for path in paths { try Disk.writeAtomically(Array(lock.utf8), to: path) } }
    try die()
    // The same plan goes on with it, and takes nothing away.
    #expect(try fixture.plan("laion", clip, images).name == version.name)
    #expect(paths.allSatisfy { Disk.size(of: $0) != nil })
    // Its inputs change.
    try fixture.fetch(1, of: images, "other")
    let next = try fixture.plan("laion", clip, images)
    #expect(next.name.number == 2 && paths.allSatisfy { Disk.size(of: $0) == nil })
    #expect(try lake.catalog.version(version.name).state == .abandoned)
    // A run that was killed before they were gone.
    try die()
    #expect(try fixture.plan("laion", clip, images).name == next.name)
    #expect(paths.allSatisfy { Disk.size(of: $0) == nil })
    #expect(try lake.catalog.strangers().isEmpty)
  }

  @Test func whatWasSealedIsNotAbandoned() throws {
    let (lake, fixture, images) = try trainedLake()
    let version = try fixture.build("laion", lake.catalog.trainedIndex(named: "clip"), images)
    let sealed = #expect(throws: TarnError.self) { try lake.catalog.abandon(version.name) }
    #expect(sealed?.code == .conflict && sealed?.description.contains("tarn revoke laion@1") == true)
    _ = try lake.catalog.revoke(version.name, reason: "test")
    let revoked = #expect(throws: TarnError.self) { try lake.catalog.abandon(version.name) }
    #expect(revoked?.code == .conflict)
    #expect(throws: TarnError.self) { try lake.catalog.abandon(VersionName(name: "laion", number: 2)) }
  }

  @Test func anUnfinishedTrainingIsAbandonedWithAllThatIsKnownOfIt() throws {
    let (lake, fixture, images) = try trainedLake()
    let planned = try fixture.planTraining("next", images, seed: 3)
    try lake.catalog.recordIteration(
      TrainingIteration(iteration: 1, objective: 0, movedShare: 0, imbalance: 1, emptyCount: 0, largestCount: 4),
      of: planned)
    let scratch = lake.catalog.layout.trainingScratch(planned.specDigest)
    try Disk.makeDirectory(scratch)
    try Disk.writeAtomically([1, 2, 3], to: scratch + "/kmeans.state")
    try Disk.writeAtomically([1], to: lake.catalog.layout.scratch + "/older")
    #expect(try lake.catalog.garbage(now).leftovers.map(\.path) == [lake.catalog.layout.scratch + "/older"])
    #expect(try lake.catalog.abandonTraining(named: "next"))
    #expect(try !lake.catalog.abandonTraining(named: "next"))
    #expect(try !lake.catalog.removeTrainedIndex(named: "next"))
    #expect(try lake.catalog.findTrainedIndex(named: "next") == nil)
    #expect(try verbs(lake.catalog, about: "next") == ["abandoned"])
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    let left = try queue.read { try String.fetchAll($0, sql: "PRAGMA foreign_key_check") }
    #expect(left.isEmpty)
    // Within the grace period the same training goes on where it was.
    #expect(try lake.catalog.garbage(GarbageOptions()).leftovers.isEmpty)
    try lake.catalog.collect(lake.catalog.garbage(now), now)
    #expect(!FileManager.default.fileExists(atPath: scratch))
    #expect(FileManager.default.fileExists(atPath: lake.catalog.layout.scratch))
    #expect(try isBorneOut(lake.catalog))
  }

  @Test func aFinishedTrainingIsNotAbandoned() throws {
    let (lake, fixture, images) = try trainedLake()
    let ready = #expect(throws: TarnError.self) { try lake.catalog.abandonTraining(named: "clip") }
    #expect(ready?.description.contains("tarn remove clip") == true)
    _ = try fixture.plan("laion", lake.catalog.trainedIndex(named: "clip"), images)
    let version = #expect(throws: TarnError.self) { try lake.catalog.abandonTraining(named: "laion") }
    #expect(version?.code == .notFound && version?.description.contains("tarn abandon laion@1") == true)
    let unknown = #expect(throws: TarnError.self) { try lake.catalog.abandonTraining(named: "nothing") }
    #expect(unknown?.code == .notFound)
  }

  @Test func anUnusedTrainedIndexIsRemovedAndMayBeTrainedAgain() throws {
    let (lake, fixture, images) = try trainedLake()
    let clip = try lake.catalog.trainedIndex(named: "clip")
    let path = try lake.catalog.path(of: .trainedIndex, try #require(clip.digest))
    #expect(try lake.catalog.removeTrainedIndex(named: "clip"))
    #expect(try !lake.catalog.removeTrainedIndex(named: "clip"))
    #expect(try verbs(lake.catalog, about: "clip") == ["trained", "trained-remove"])
    #expect(try isBorneOut(lake.catalog))
    #expect(try lake.catalog.garbage(now).due.map(\.kind) == [.trainedIndex])
    try lake.catalog.collect(lake.catalog.garbage(now), now)
    #expect(Disk.size(of: path) == nil)
    let again = try fixture.train("clip", images)
    #expect(again.digest == clip.digest && Disk.size(of: path) != nil)
    try fixture.build("laion", again, images)
    #expect(try isBorneOut(lake.catalog))
    #expect(try lake.catalog.verify().damages.isEmpty)
  }

  @Test func whatAVersionUsesIsNotRemovedAndTheVersionIsNamed() throws {
    let (lake, fixture, images) = try trainedLake()
    let clip = try lake.catalog.trainedIndex(named: "clip")
    let half = try fixture.plan("half", clip, images, perOutput: 1)
    let used = #expect(throws: TarnError.self) { try lake.catalog.removeTrainedIndex(named: "clip") }
    #expect(used?.code == .conflict && used?.message.contains("half@1") == true)
    #expect(used?.hint?.contains("tarn rename clip") == true)
    // What it advises works, and the version goes on.
    #expect(try lake.catalog.renameTrainedIndex(named: "clip", to: "old"))
    try fixture.build("half", lake.catalog.trainedIndex(named: "old"), images, perOutput: 1)
    #expect(try lake.catalog.version(half.name).state == .sealed)
    let pinned = #expect(throws: TarnError.self) { try lake.catalog.removeTrainedIndex(named: "old") }
    #expect(pinned?.message.contains("half@1 pins") == true)
    let named = #expect(throws: TarnError.self) { try lake.catalog.renameTrainedIndex(named: "old", to: "other") }
    #expect(named?.code == .conflict && named?.message.contains("half@1") == true)
    #expect(try isBorneOut(lake.catalog))
  }

  @Test func aTrainedIndexIsCalledSomethingElseAndItsNameIsFree() throws {
    let (lake, fixture, images) = try trainedLake()
    let clip = try lake.catalog.trainedIndex(named: "clip")
    #expect(try lake.catalog.renameTrainedIndex(named: "clip", to: "first"))
    #expect(try !lake.catalog.renameTrainedIndex(named: "clip", to: "first"))
    #expect(try lake.catalog.trainedIndex(named: "first").id == clip.id)
    #expect(try lake.catalog.findTrainedIndex(named: "clip") == nil)
    #expect(try isBorneOut(lake.catalog))
    _ = try fixture.train("clip", images, seed: 2)
    let taken = #expect(throws: TarnError.self) { try lake.catalog.renameTrainedIndex(named: "clip", to: "first") }
    #expect(taken?.code == .conflict)
    for name in ["", "a/b", ".x", String(repeating: "x", count: 65)] {
      let odd = #expect(throws: TarnError.self) { try lake.catalog.renameTrainedIndex(named: "clip", to: name) }
      #expect(odd?.code == .usage)
    }
    let planned = try fixture.planTraining("next", images, seed: 3)
    #expect(try lake.catalog.renameTrainedIndex(named: "next", to: "later"))
    #expect(try fixture.planTraining("later", images, seed: 3).id == planned.id)
    #expect(try isBorneOut(lake.catalog))
    #expect(try lake.catalog.verify().damages.isEmpty)
  }

  @Test func whatWentBehindTarnsBackIsMissedAllTheSame() throws {
    let (lake, _, _) = try trainedLake()
    try Tampering.run(
      lake.root + "/catalog.sqlite",
      [
        "DELETE FROM trained_input", "DELETE FROM training_iteration", "DELETE FROM trained_index WHERE name = 'clip'",
      ])
    let history = try #require(try lake.catalog.facts().others.first { $0.subject == "the history" })
    #expect(history.verdict.differences.map(\.field) == ["clip"])
  }

  @Test func aBareNameIsItsNewestVersion() throws {
    let (lake, fixture, images) = try trainedLake()
    let clip = try lake.catalog.trainedIndex(named: "clip")
    func newest() throws -> Int { try lake.catalog.versionName("laion").number }
    let none = #expect(throws: TarnError.self) { try newest() }
    #expect(none?.code == .notFound && none?.message.contains("laion") == true)
    let half = try fixture.plan("laion", clip, images, perOutput: 1)
    #expect(try newest() == 1)
    _ = try lake.catalog.abandon(half.name)
    try fixture.build("laion", clip, images)
    #expect(try newest() == 2)
    _ = try fixture.plan("laion", clip, images, perOutput: 1)
    #expect(try newest() == 2)
    #expect(try lake.catalog.versionName("laion@3").number == 3)
    #expect(throws: TarnError.self) { try lake.catalog.versionName("laion@x") }
  }
}
