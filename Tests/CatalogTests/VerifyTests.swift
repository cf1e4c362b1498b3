import Base
import Catalog
import Foundation
import Glibc
import GRDB
import Testing
import TestSupport

@Suite struct VerifyTests {
  /// What happens to a file.
  enum Harm: CaseIterable, Sendable {
    case flip, truncate, grow, swap, delete

    func inflict(on path: String) throws {
      let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      switch self {
      case .flip:
        // In place: every name of the file shows it.
        var flipped = bytes
        flipped[bytes.count / 2] ^= 0x10
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.write(contentsOf: flipped)
        try handle.close()
      case .truncate: #expect(Glibc.truncate(path, off_t(bytes.count - 1)) == 0)
      case .grow: #expect(Glibc.truncate(path, off_t(bytes.count + 1)) == 0)
      case .swap:
        // Another file of the same size under the name.
        try Data(repeating: 0x41, count: bytes.count).write(to: URL(fileURLWithPath: path + ".swap"))
        #expect(rename(path + ".swap", path) == 0)
      case .delete: try FileManager.default.removeItem(atPath: path)
      }
    }
  }

  /// The classes of files, and one of each.
  enum FileClass: String, CaseIterable, Sendable {
    case shard, segment
    case trainedIndex = "trained-index"
    case nearestImages = "nearest-images"
    case outputShard = "output-shard"
    case lockFile = "lock-file"
    case outputName = "output-name"
  }

  private struct Lake {
    let lake: TemporaryLake
    let fixture: CatalogFixture
    let version: IndexVersion
    let paths: [FileClass: String]
    var catalog: LakeCatalog { lake.catalog }
  }

  private func makeLake() throws -> Lake {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 2)
    let shard = try fixture.fetch(0, of: images, "zero")
    try fixture.fetch(1, of: images, "one!")
    let clip = try fixture.train("clip", images)
    let version = try fixture.build("laion", clip, images)
    let nearest = try fixture.write("nearest", as: .nearestImages)
    try lake.catalog.recordNearest(.nearestImages, of: .of("x"), digest: nearest, byteCount: 7, pairCount: 4)
    let input = try #require(try lake.catalog.inputs(of: version).first)
    let output = try #require(try lake.catalog.outputs(of: version).first)
    return Lake(
      lake: lake, fixture: fixture, version: version,
      paths: [
        .shard: lake.catalog.layout.shards + "/" + (shard.path ?? ""),
        .segment: try lake.catalog.path(of: .segment, .of(fixture.segmentText(version, input))),
        .trainedIndex: try lake.catalog.path(of: .trainedIndex, clip.digest ?? .of("")),
        .nearestImages: try lake.catalog.path(of: .nearestImages, nearest),
        .outputShard: try lake.catalog.path(of: .outputShard, output.digest),
        .lockFile: lake.catalog.layout.lockFilePath(version.name),
        .outputName: lake.catalog.layout.outputPath(version.name, ordinal: 0),
      ])
  }

  @Test func aWholeLakeRaisesNoAlarm() throws {
    let lake = try makeLake()
    let report = try lake.catalog.verify()
    #expect(report.damages.isEmpty)
    #expect(report.checkedCount == 7)
    #expect(report.leftCount == 0)
  }

  @Test(arguments: FileClass.allCases, Harm.allCases)
  func exactlyTheDamagedFileIsNamed(file: FileClass, harm: Harm) throws {
    let lake = try makeLake()
    let path = try #require(lake.paths[file])
    // Names are links: what happens to their bytes happens to the artifact's.
    if file == .outputName, harm != .swap, harm != .delete {
      let copy = try Data(contentsOf: URL(fileURLWithPath: path))
      try copy.write(to: URL(fileURLWithPath: path), options: .atomic)
    }
    try harm.inflict(on: path)
    let damages = try lake.catalog.verify().damages
    #expect(damages.map(\.file.path) == [path])
    #expect(damages.map(\.file.kind.word) == [file.rawValue])
    let problem = try #require(damages.first?.problem)
    switch harm {
    case .delete: #expect(problem == .missing)
    case .flip, .swap:
      guard case .content = problem else {
        Issue.record("\(problem)")
        return
      }
    case .truncate, .grow:
      // The catalog has no size of a lock file, only its digest.
      guard file != .lockFile else { return }
      guard case .size = problem else {
        Issue.record("\(problem)")
        return
      }
    }
  }

  @Test(arguments: FileClass.allCases, Harm.allCases)
  func repairRestoresOrGivesUpAndSaysWhich(file: FileClass, harm: Harm) throws {
    let lake = try makeLake()
    let path = try #require(lake.paths[file])
    if file == .outputName, harm != .swap, harm != .delete {
      let copy = try Data(contentsOf: URL(fileURLWithPath: path))
      try copy.write(to: URL(fileURLWithPath: path), options: .atomic)
    }
    try harm.inflict(on: path)
    let damage = try #require(try lake.catalog.verify().damages.first)
    let outcome = try lake.catalog.repair(damage)
    let after = try lake.catalog.verify().damages.map(\.file.path)
    switch file {
    case .shard, .segment, .nearestImages:
      #expect(outcome == .givenUp)
      #expect(after == [])
      #expect(Disk.size(of: path) == nil)
    case .outputName:
      #expect(outcome == .restored)
      #expect(after == [])
    case .outputShard:
      // Its other name has the bytes unless they were changed in place.
      let isInPlace = harm == .flip || harm == .truncate || harm == .grow
      #expect(outcome == (isInPlace ? .lost : .restored))
      #expect(after == (isInPlace ? [path] : []))
    case .trainedIndex, .lockFile:
      #expect(outcome == .lost)
      #expect(after == [path])
    }
    #expect(try lake.catalog.firstBrokenEvent() == nil)
  }

  @Test func aShardThatWasGivenUpIsFetchedAgain() throws {
    let lake = try makeLake()
    try Harm.flip.inflict(on: try #require(lake.paths[.shard]))
    let damage = try #require(try lake.catalog.verify().damages.first)
    #expect(try lake.catalog.repair(damage) == .givenUp)
    let source = try lake.catalog.source(named: "images")
    #expect(try lake.catalog.shards(of: source)[0].state == .evicted)
    try lake.fixture.fetch(0, of: source, "zero")
    #expect(try lake.catalog.verify().damages.isEmpty)
    #expect(try lake.catalog.shards(of: source)[0].revision?.number == 1)
  }

  @Test func budgetsAddUpToAWholeVerification() throws {
    let lake = try makeLake()
    let queue = try CatalogFile.open(lake.lake.root + "/catalog.sqlite")
    // All were last read at one time long ago.
    try queue.write {
      try $0.execute(sql: "UPDATE stored_bytes SET verified_at = '2020'")
    }
    var runs = 0
    while try queue.read({
      try Bool.fetchOne(
        $0,
        sql: """
          SELECT EXISTS (SELECT 1 FROM stored_bytes WHERE verified_at = '2020')
          """) ?? false
    }) {
      let report = try lake.catalog.verify(VerifyBudget(byteCount: 1))
      #expect(report.checkedCount == 1)
      #expect(report.leftCount == 6)
      runs += 1
      try #require(runs <= 7)
    }
    #expect(runs == 7)
  }

  @Test func damageIsNotRecordedAsVerified() throws {
    let lake = try makeLake()
    let queue = try CatalogFile.open(lake.lake.root + "/catalog.sqlite")
    try queue.write { try $0.execute(sql: "UPDATE stored_bytes SET verified_at = '2020' WHERE place = 'shards'") }
    try Harm.flip.inflict(on: try #require(lake.paths[.shard]))
    _ = try lake.catalog.verify()
    let old = try queue.read {
      try Int.fetchAll(
        $0,
        sql: "SELECT ordinal FROM v_shard WHERE sha256 IN (SELECT sha256 FROM stored_bytes WHERE verified_at = '2020')")
    }
    #expect(old == [0])
  }

  @Test func manyDamagesAreAllNamed() throws {
    let lake = try makeLake()
    let harmed: [FileClass] = [.shard, .segment, .trainedIndex, .lockFile]
    for file in harmed { try Harm.flip.inflict(on: try #require(lake.paths[file])) }
    let named = try lake.catalog.verify().damages.map(\.file.path)
    #expect(Set(named) == Set(harmed.compactMap { lake.paths[$0] }))
    #expect(named.count == harmed.count)
  }
}
