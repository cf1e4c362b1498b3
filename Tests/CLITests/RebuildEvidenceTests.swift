// What `rebuild-catalog` believes of documents and lock files, what it can make
// again of a catalog, column by column, and of a trained index that was lost.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct RebuildEvidenceTests {
  private func lose(_ lake: LakeFixture) throws {
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
  }

  // MARK: Lies

  /// Values that a version's files get, by path: `inputs.0.rows`.
  private struct Lie {
    let inLock: [String: Any]
    let inDocument: [String: Any]

    /// Told by the document alone.
    static func document(_ path: String, _ value: Any) -> Lie { Lie(inLock: [:], inDocument: [path: value]) }
    /// Told by both, so that no digest shows it.
    static func both(_ path: String, _ value: Any) -> Lie { Lie(inLock: [path: value], inDocument: [path: value]) }
  }

  private static func set(_ value: Any, at path: [Substring], in tree: Any) throws -> Any {
    guard let first = path.first else { return value }
    if let index = Int(first) {
      var list = try #require(tree as? [Any])
      list[index] = try set(value, at: Array(path.dropFirst()), in: list[index])
      return list
    }
    var object = try #require(tree as? [String: Any])
    object[String(first)] = try set(value, at: Array(path.dropFirst()), in: object[String(first)] ?? NSNull())
    return object
  }

  /// Writes the files of a version with a lie in them, the document naming the
  /// digest of the lock file.
  private func tell(_ lie: Lie, of name: String, in lake: LakeFixture) throws {
    let lock = "\(lake.lake)/versions/\(name)@1/\(name).lock.json"
    let document = "\(lake.lake)/versions/\(name)@1/\(name).export.json"
    func rewrite(_ path: String, _ values: [String: Any]) throws {
      var tree = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path)))
      for (place, value) in values { tree = try Self.set(value, at: place.split(separator: "."), in: tree) }
      try JSONSerialization.data(withJSONObject: tree, options: [.sortedKeys]).write(to: URL(fileURLWithPath: path))
    }
    if !lie.inLock.isEmpty { try rewrite(lock, lie.inLock) }
    let digest = try Disk.digest(of: lock).hex
    try rewrite(document, lie.inDocument.merging(["version_sha256": digest]) { given, _ in given })
  }

  private static let huge = 4_611_686_018_427_387_904

  private static var lies: [Lie] {
    let document: [(String, Any)] = [
      ("sources.0.dimension", 9), ("sources.0.dimension", -1), ("sources.0.dimension", 1e300),
      ("sources.0.dtype", "float32"), ("sources.0.dtype", "int8"), ("sources.0.modality", "smell"),
      ("sources.0.name", "../images"), ("sources.0.shards.0.name", "../x.npy"),
      ("sources.0.shards.0.name", "img_1.npy"),
      ("sources.0.shards.0.urls.0", "ftp://host/x"), ("sources.0.shards.0.urls.0", "https://u:p@host/x"),
      ("sources.0.shards.0.urls.0", "nowhere"), ("sources.0.mirrors", []), ("sources.0.mirrors.0", "a\u{1B}[2J"),
      ("sources.0.shards.0.bytes", 1), ("sources.0.shards.0.bytes", -5), ("sources.0.shards.0.bytes", huge),
      ("sources.0.shards", []), ("sources", []), ("spec", "{}"), ("shards_per_output", 3), ("missing", "skip"),
      ("bad_rows", "maybe"), ("trained.nlist", 4), ("trained.codec", "sq8"), ("trained.method", "kmeans"),
      ("trained.seed", 2), ("trained.iterations", 3), ("trained.pairs", 39), ("trained.images", "captions"),
      ("trained.spec", "{}"), ("source", "captions"), ("inputs.0.rows", 19), ("inputs.1.first_id", 0),
      ("inputs.0.ordinal", 1), ("inputs.0.bytes", 1), ("inputs.1.output", 1), ("outputs.0.rows", 1),
      ("outputs.0.bytes", 1), ("outputs.0.lists_sha256", String(repeating: "0", count: 64)), ("version", "w@2"),
      ("version_sha256", String(repeating: "0", count: 64)),
    ]
    let both: [(String, Any)] = [
      ("inputs.0.rows", -1), ("inputs.0.rows", huge), ("inputs.0.first_id", -1), ("inputs.1.first_id", huge),
      ("inputs.1.first_id", 3), ("inputs.0.bytes", 0), ("inputs.0.ordinal", -1), ("inputs.1.ordinal", 0),
      ("inputs.1.output", 7), ("inputs.0.shard", "img_1.npy"), ("outputs.0.rows", 41), ("outputs.0.bytes", -1),
      ("outputs.0.output", 1), ("shards_per_output", 0), ("shards_per_output", 1), ("missing", "perhaps"),
      ("trained.nlist", 0), ("trained.seed", 99),
    ]
    let shards = ["sources.0.shards.1.name": "img_7.npy", "inputs.1.shard": "img_7.npy"]
    return document.map { Lie.document($0.0, $0.1) } + both.map { Lie.both($0.0, $0.1) } + [
      // Whole in itself, and not the source that an earlier version has.
      Lie(inLock: ["inputs.1.shard": "img_7.npy"], inDocument: shards),
      Lie(inLock: ["outputs.0.end_id": 41], inDocument: [:]),
      Lie(inLock: ["format": "tarn-version-2"], inDocument: [:]),
    ]
  }

  @Test func whatOneVersionSaysWrongCostsThatOneAlone() throws {
    let whole = try LakeFixture.make(.built)
    try whole.succeed(["build", "w", "--trained", "t", "--images", "images", "--quiet"])
    try lose(whole)
    #expect(Self.lies.count > 60)
    for lie in Self.lies {
      let lake = try whole.copy()
      try tell(lie, of: "w", in: lake)
      let result = try lake.run(["rebuild-catalog"])
      #expect(result.ending == .exit(20), "\(lie): \(result.errorText)")
      let remarks = result.outputText.split(separator: "\n").filter { $0.hasPrefix("w@1: ") }
      #expect(!remarks.isEmpty, "\(lie): \(result.outputText)")
      #expect(!remarks.contains { $0.contains("constraint") || $0.contains("\u{1B}") }, "\(lie): \(remarks)")
      guard Disk.size(of: lake.lake + "/catalog.sqlite") != nil else { continue }
      #expect(try lake.texts("SELECT version FROM v_version") == ["v@1"], "\(lie)")
    }
  }

  /// The first version, too, and without a document, or with a shard that is another one.
  @Test func theOthersAreMadeAgainWhicheverIsLost() throws {
    let whole = try LakeFixture.make(.built)
    for arguments in [["--shards-per-output", "2"], ["--bad-rows", "skip"]] {
      try whole.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"] + arguments)
    }
    try lose(whole)
    for lost in 1...3 {
      let lake = try whole.copy()
      try FileManager.default.removeItem(atPath: "\(lake.lake)/versions/v@\(lost)/v.export.json")
      let result = try lake.run(["rebuild-catalog"])
      #expect(result.ending == .exit(20))
      #expect(result.outputText.contains("v@\(lost): it has no document beside its lock file"))
      #expect(
        try lake.texts("SELECT version FROM v_version ORDER BY 1") == (1...3).filter { $0 != lost }.map { "v@\($0)" })
      // Its number is taken still.
      #expect(try lake.run(["verify"]).ending == .exit(20))
      try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--missing", "skip", "--quiet"])
      #expect(try lake.texts("SELECT version FROM v_version ORDER BY 1").last == "v@4")
    }
  }

  /// Documents and lock files of the first tarn say all that is asked of them.
  @Test func theFilesOfAnOldLakeAreBelieved() throws {
    let lake = try LakeFixture.nothing()
    try Disk.makeDirectory(lake.lake)
    let archive = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appending(path: "../Fixtures/lake-schema9.tar.gz").path
    let process = try RunningProcess(
      "/bin/tar", ["xzf", archive, "-C", lake.lake], environment: ProcessRunner.environment)
    try #require(process.finish().ending == .exit(0))
    try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite")
    let result = try lake.run(["rebuild-catalog"])
    #expect(result.outputText.contains("5 trained indexes, 5 versions, 15 outputs"))
  }

  // MARK: Columns

  /// Values of each column in order, by `table.column`.
  private func columns(_ lake: LakeFixture) throws -> [String: [String]] {
    let queue = try CatalogFile.open(lake.lake + "/catalog.sqlite")
    defer { try? queue.close() }
    return try queue.read { database in
      var found: [String: [String]] = [:]
      let tables = try String.fetchAll(
        database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
      for table in tables {
        for column in try database.columns(in: table).map(\.name) {
          found["\(table).\(column)"] = try Row.fetchAll(database, sql: "SELECT \(column) FROM \(table)").map {
            "\($0[0] as DatabaseValue)"
          }.sorted()
        }
      }
      return found
    }
  }

  /// Each column of the schema comes back with its values, or is listed as lost:
  /// one that is added must be the one or the other.
  @Test func eachColumnComesBackOrIsListedAsLost() throws {
    let lake = try LakeFixture.make(.synced)
    let train = ["train", "r", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2"]
    try lake.succeed(train + ["--router", "learned", "--router-epochs", "2", "--quiet"])
    let build = ["build", "v", "--trained", "r", "--images", "images", "--shards-per-output", "1", "--quiet"]
    try lake.succeed(build)
    // A second version leaves a row out. Segments come back from the first one's outputs, which have all their rows.
    let taken = lake.directory.path + "/taken.txt"
    try Data("3\n".utf8).write(to: URL(fileURLWithPath: taken))
    try lake.succeed(["exclude", "images", "--ids", taken, "--reason", "a test"])
    try lake.succeed(build)
    try lake.succeed(["pin", "v@1", "--reason", "a test"])
    let before = try columns(lake)
    try lose(lake)
    try lake.succeed(["rebuild-catalog"])
    let after = try columns(lake)
    #expect(before.keys.sorted() == after.keys.sorted())
    var lost: Set<String> = []
    for loss in RebuildLoss.all {
      let names = before.keys.filter { $0.hasPrefix(loss.table + ".") }.map {
        String($0.dropFirst(loss.table.count + 1))
      }
      #expect(!names.isEmpty, "there is no table \(loss.table)")
      for column in loss.columns ?? names {
        #expect(names.contains(column), "there is no column \(loss.table).\(column)")
        #expect(lost.insert("\(loss.table).\(column)").inserted, "\(loss.table).\(column) is listed twice")
      }
      if loss.columns == nil, loss.table != "event" {
        #expect(names.allSatisfy { after["\(loss.table).\($0)"] == [] }, "\(loss.table) is not lost")
      }
      #expect(RebuildSummary.unknowable.contains(loss.what))
    }
    for (column, values) in before.sorted(by: { $0.key < $1.key }) where !lost.contains(column) {
      #expect(after[column] == values, "\(column) is neither made again nor listed as lost")
      #expect(!values.isEmpty, "\(column) has no value to be seen")
    }
  }

  // MARK: Trained indexes

  private static let kinds = [
    ["--method", "kmeans"], ["--captions", "captions"], ["--method", "kmeans", "--codec", "flat"],
    ["--method", "kmeans", "--captions", "captions", "--router", "learned", "--router-epochs", "2"],
    ["--captions", "captions", "--router", "caption-mean"],
  ]

  /// A lake with a version of each kind of trained index, and the files of these.
  private func makeLake(_ kind: [String]) throws -> (lake: LakeFixture, trained: String) {
    let lake = try LakeFixture.make(.synced)
    try lake.succeed(["train", "k", "--images", "images", "--nlist", "3", "--iterations", "2", "--quiet"] + kind)
    try lake.succeed(["build", "v", "--trained", "k", "--images", "images", "--shards-per-output", "1", "--quiet"])
    return (
      lake, lake.lake + "/artifacts/" + (try lake.text("SELECT path FROM stored_bytes WHERE kind = 'trained-index'"))
    )
  }

  @Test(arguments: kinds) func aLostTrainedIndexIsMadeAgain(kind: [String]) throws {
    let (lake, trained) = try makeLake(kind)
    let isRouted = kind.contains("--router")
    let digest = try Disk.digest(of: trained)
    // By verify, with an output that is lost beside it, and without the segments it is merged from.
    try lake.succeed(["gc", "--segments", "--apply", "--grace", "0s"])
    let output = try lake.text("SELECT path FROM stored_bytes WHERE kind = 'output-shard' ORDER BY path LIMIT 1")
    try FileManager.default.removeItem(atPath: trained)
    try FileManager.default.removeItem(atPath: "\(lake.lake)/artifacts/\(output)")
    for name in try FileManager.default.contentsOfDirectory(atPath: lake.lake + "/versions/v@1")
    where name.hasSuffix(".faiss") {
      try FileManager.default.removeItem(atPath: lake.lake + "/versions/v@1/" + name)
    }
    #expect(try lake.run(["doctor"]).outputText.contains("`tarn verify --repair` takes it from an output of a version"))
    let repair = try lake.run(["verify", "--repair"])
    #expect(repair.ending == .exit(20))
    #expect(!repair.outputText.contains("lost"), "\(repair.outputText) \(repair.errorText)")
    #expect(try Disk.digest(of: trained) == digest)
    try lake.succeed(["verify"])
    #expect(try lake.succeed(["reproduce", "v@1"]).outputText.contains("identical"))
    // By rebuild-catalog where an output has it, by verify after it where not.
    try Data("damaged".utf8).write(to: URL(fileURLWithPath: trained), options: .atomic)
    try lose(lake)
    let rebuilt = try lake.run(["rebuild-catalog"])
    #expect(rebuilt.ending == .exit(isRouted ? 20 : 0), "\(rebuilt.outputText)")
    #expect(rebuilt.outputText.contains("`tarn verify --repair` may bring it back") == isRouted)
    if isRouted { #expect(try lake.run(["verify", "--repair"]).outputText.contains("restored")) }
    #expect(try Disk.digest(of: trained) == digest)
    try lake.succeed(["verify"])
    let left = try FileManager.default.subpathsOfDirectory(atPath: lake.lake).filter { $0.hasSuffix(".tmp") }
    #expect(left.isEmpty)
  }

  /// No output has it, and its shards are gone: it is lost, and said to be.
  @Test func whatCannotBeMadeAgainIsSaid() throws {
    let (lake, trained) = try makeLake(["--captions", "captions", "--router", "caption-mean"])
    try lake.evictImages()
    try FileManager.default.removeItem(atPath: trained)
    let repair = try lake.run(["verify", "--repair"])
    #expect(repair.ending == .exit(20))
    #expect(repair.outputText.contains("lost; run its `tarn train` again"))
    #expect(repair.errorText.contains("run `tarn sync images`"))
    try lake.succeed(["sync", "--quiet"])
    #expect(try lake.run(["verify", "--repair"]).outputText.contains("restored"))
    try lake.succeed(["verify"])
  }
}
