// Names of shards and of what people make: the rule in Swift, the guards of the
// schema and a real file system have one verdict.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct NameTests {
  private static let pieces = [
    "a", "x", "0", ".", "..", "-", " ", "/", "\\", "_", ".npy", ".part", ".resume", ".tmp", ".link", ".PART", "\u{0}",
    "\n",
    "\t", "\u{1B}", "\u{7F}", "\u{9B}", "\u{202E}", "\u{200B}", "\u{FEFF}", "\u{301}", ".\u{301}", "-\u{301}", "é",
    "e\u{301}", "漢", "😀", "[", "]", "*", "?", "^", "%", "'", "\"", "\u{A0}", "\u{AC}", "\u{AE}", "\u{E0FFF}",
    "\u{E1000}",
    String(repeating: "y", count: 60), String(repeating: "é", count: 50),
  ]

  /// Thousands of names that somebody might have, most of them odd.
  private static func names() -> [String] {
    var random = SplitMix64(seed: 8)
    var names = [
      "", "img_emb_0000.npy", "b..x.npy", "a b.npy", "a.", ".a", "..", ".", "x.part", "x.npy.part", "part", ".part",
      String(repeating: "a", count: 200), String(repeating: "a", count: 201), String(repeating: "é", count: 100),
      String(repeating: "é", count: 101), "%2e%2e", "a%2Fb",
    ]
    names += (0..<1_500).map { _ in
      (0..<1 + Int(random.next() % 4)).map { _ in pieces[Int(random.next() % UInt64(pieces.count))] }.joined()
    }
    // Each border of each range of what is hidden, and scalars from everywhere.
    let borders = HiddenText.ranges.flatMap { [$0.lowerBound &- 1, $0.lowerBound, $0.upperBound, $0.upperBound + 1] }
    let anywhere = (0..<1_500).map { _ in UInt32(random.next() % 0x11_0000) }
    names += (borders + anywhere).compactMap { Unicode.Scalar($0).map { "a\($0)b" } }
    return names
  }

  /// Whether the database takes a row; it is not kept.
  private static func takes(_ sql: String, _ arguments: StatementArguments, _ database: Database) -> Bool {
    var isTaken = false
    try? database.inSavepoint {
      isTaken = (try? database.execute(sql: sql, arguments: arguments)) != nil
      return .rollback
    }
    return isTaken
  }

  @Test func theSchemaTakesTheNamesOfShardsThatTheRuleTakes() throws {
    let lake = try TemporaryLake(inMemory: true)
    let source = try lake.addSource("images", count: 1)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    var accepted = 0
    queue.writeWithoutTransaction { database in
      for name in Self.names() {
        let isTaken = Self.takes(
          "INSERT INTO shard (source_id, ordinal, name, changed_at) VALUES (?, 77, CAST(? AS TEXT), '')",
          [source.id, Data(name.utf8)], database)
        let fault = LakeName.fault(ofShard: name)
        #expect(isTaken == (fault == nil), "\(name.debugDescription): \(fault ?? "can be")")
        accepted += fault == nil ? 1 : 0
      }
    }
    #expect(accepted > 500 && accepted < Self.names().count - 500)
  }

  @Test func whatIsRegisteredCanBeStored() throws {
    let lake = try TemporaryLake(inMemory: true)
    var seen: Set<String> = []
    let names = Self.names().filter { LakeName.fault(ofShard: $0) == nil && seen.insert($0).inserted }.prefix(600)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    let directory = lake.catalog.layout.shards + "/images"
    try Disk.makeDirectory(directory)
    queue.writeWithoutTransaction { database in
      for name in names {
        let digest = ContentDigest.of(name)
        let path = LakeLayout.shardPath(source: "images", shard: name, digest: digest)
        #expect(
          Self.takes(
            "INSERT INTO stored_bytes (sha256, place, kind, byte_count, path, created_at) VALUES (?, 'shards', 'shard', 1, ?, '')",
            [digest.hex, path], database), "\(path.debugDescription)")
        #expect(LakeLayout.digestPrefix(ofShardPath: path) == digest.prefix(16), "\(path.debugDescription)")
        let part = lake.catalog.layout.partPath(source: "images", shard: name)
        for file in [part, part + ".resume.tmp", lake.catalog.layout.shards + "/" + path] {
          let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL, 0o600)
          #expect(descriptor >= 0, "\(file.debugDescription): errno \(errno)")
          close(descriptor)
          unlink(file)
          #expect(file.parentPath == directory)
        }
        let ending = part.lastPathPart
        #expect(LakeLayout.shard(ofPart: ending) == name && LakeLayout.shard(ofPart: ending + ".resume.tmp") == name)
        #expect(LakeLayout.shard(ofPart: path.lastPathPart) == nil)
      }
    }
  }

  @Test func aNameIsRegisteredAndFetchedOrRefused() throws {
    let lake = try TemporaryLake(inMemory: true)
    var seen: Set<String> = []
    let names = Self.names().filter { seen.insert($0).inserted }
    let good = names.filter { LakeName.fault(ofShard: $0) == nil }.prefix(100)
    func definition(_ names: [String]) -> SourceDefinition {
      SourceDefinition(
        name: "odd", modality: .image, dimension: 4, elementType: .float16, mirrors: ["http://localhost/x"],
        shards: names.map { .init(name: $0, urls: ["http://localhost/x"]) })
    }
    for name in names.filter({ LakeName.fault(ofShard: $0) != nil }).prefix(300) {
      let error = #expect(throws: TarnError.self) { try lake.catalog.addSource(definition([name])) }
      #expect(error?.code == .usage, "\(name.debugDescription): \(error?.message ?? "")")
    }
    let source = try lake.catalog.addSource(definition(Array(good)))
    let fixture = CatalogFixture(lake.catalog)
    for ordinal in good.indices.map({ good.distance(from: good.startIndex, to: $0) }) {
      #expect(try fixture.fetch(ordinal, of: source, "bytes \(ordinal)").state == .present)
    }
  }

  @Test func theSchemaTakesTheNamesThatPeopleMayGive() throws {
    let lake = try TemporaryLake(inMemory: true)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    let names =
      Self.names() + ["a..b", "a.b", "A-b_c.9", String(repeating: "n", count: 64), String(repeating: "n", count: 65)]
    var accepted = 0
    try queue.writeWithoutTransaction { database in
      for name in names {
        let isTaken = Self.takes(
          "INSERT INTO source (name, modality, dimension, dtype, created_at) VALUES (CAST(? AS TEXT), 'image', 4, 'float16', '')",
          [Data(name.utf8)], database)
        #expect(isTaken == LakeName.isValid(name, isSource: true), "\(name.debugDescription)")
        accepted += isTaken ? 1 : 0
        let isNamed = (try? LakeCatalog.validate(name: name, of: "source")) != nil
        #expect(isNamed == isTaken)
        // A version's name and a trained index's are held to the CHECK alone.
        let isChecked = try Bool.fetchOne(
          database,
          sql: "SELECT length(?1) BETWEEN 1 AND 64 AND ?1 NOT GLOB '*[^A-Za-z0-9._-]*' AND ?1 NOT GLOB '[.-]*'",
          arguments: [name])
        // SQL's length ends at a NUL, which no argument of a command can hold.
        if !name.unicodeScalars.contains("\u{0}") {
          #expect(isChecked == LakeName.isValid(name), "\(name.debugDescription)")
        }
        #expect(((try? VersionName(parsing: name + "@1")) != nil) == LakeName.isValid(name))
      }
    }
    #expect(accepted > 10)
  }

  /// A version has one spelling: what is typed wrongly is not another one's name.
  @Test(arguments: ["v@01", "v@+1", "v@-1", "v@0", "v@ 1", "v@1 ", "v@1@1", "v@", "v@9223372036854775808"])
  func aVersionHasOneSpelling(text: String) {
    #expect(throws: TarnError.self) { try VersionName(parsing: text) }
  }
}
