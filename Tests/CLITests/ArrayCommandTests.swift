// Sources that read arrays of one set of files, through every command that moves bytes:
// each file is asked for once, and what is said of rows is said of digest and array.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct ArrayCommandTests {
  private static let once = [Int](repeating: 1, count: ArraySources.shardCount)

  private func present(_ lake: LakeFixture) throws -> [String] {
    try lake.texts("SELECT source || ' ' || present FROM v_source ORDER BY source")
  }

  private func outputs(_ lake: LakeFixture, _ version: String) throws -> [String] {
    try lake.texts("SELECT sha256 FROM v_output_shard WHERE version = '\(version)' ORDER BY output")
  }

  private func build(_ name: String, from source: String, _ lake: LakeFixture, _ more: String...) throws {
    try lake.succeed(
      ["build", name, "--trained", "t", "--images", source, "--shards-per-output", "2", "--quiet"] + more)
  }

  @Test func eachFileIsFetchedOnceForAllWhoReadIt() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    let plan = try lake.succeed(["sync", "--dry-run", "--json"]).outputText
    #expect(plan.contains("\"shards\":\(ArraySources.shardCount)"), "\(plan)")
    try lake.succeed(["sync", "texts", "--quiet"])
    #expect(try present(lake) == ["images 3", "texts 3"])
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["sync", "images", "texts", "--quiet"])
    #expect(sources.requestCounts == Self.once)
    #expect(try lake.text("SELECT CAST(sum(present_bytes) AS TEXT) FROM v_source") == "\(sources.byteCount)")
    #expect(try lake.text("SELECT CAST(bytes AS TEXT) FROM v_storage WHERE kind = 'shard'") == "\(sources.byteCount)")
    let shown = try lake.succeed(["source", "show", "texts"]).outputText
    #expect(shown.contains("array l14_txt of the files of images") && shown.contains("0.npz"), "\(shown)")
    let evicted = try lake.succeed(["evict", "texts"]).outputText
    #expect(evicted.contains("they are the files of images, which texts read, too"), "\(evicted)")
    #expect(try present(lake) == ["images 0", "texts 0"])
    try lake.succeed(["doctor", "--quiet"])
  }

  @Test func aBudgetHoldsTheFilesOfASyncOfBothOnce() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    // Sizes are known from the first time.
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["evict", "images"])
    try lake.succeed(["sync", "images", "texts", "--budget", "\(sources.byteCount)", "--quiet"])
    #expect(sources.requestCounts == Self.once.map { 2 * $0 })
    #expect(try present(lake) == ["images 3", "texts 3"])
  }

  @Test func pairsAreTrainedOnWhileEachFileComesAndGoesOnce() throws {
    let sources = try ArraySources()
    let (lake, other) = (try sources.lake(), try sources.lake())
    try other.succeed(["sync", "--quiet"])
    try other.succeed(ArraySources.training)
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["evict", "images"])
    let before = sources.requestCounts
    let largest = sources.files.values.map(\.count).max() ?? 0
    try lake.succeed(ArraySources.training + ["--budget", "\(largest + 100)", "--patience", "0"])
    #expect(zip(sources.requestCounts, before).map { $0 - $1 } == Self.once)
    let digest = "SELECT sha256 FROM v_trained_index"
    #expect(try lake.text(digest) == other.text(digest))
    let spec = try lake.text("SELECT spec FROM trained_index")
    #expect(spec.contains("\"arrays\":{\"captions\":\"l14_txt\",\"images\":\"l14_img\"}"), "\(spec)")
    // A build within it, too, of one array.
    try build("v", from: "images", lake, "--budget", "\(largest + 100)")
    try build("v", from: "images", other)
    #expect(try outputs(lake, "v@1") == outputs(other, "v@1"))
  }

  /// What a companion says is said of both sides of a pair, where they are of the same files.
  @Test func aRuleOfOneSideIsMadeOfTheOtherByTheSameValues() throws {
    let lake = try ArraySources.lake()
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(ArraySources.training)
    let (folder, values) = (lake.directory.path + "/said", lake.directory.path + "/values")
    try Disk.makeDirectory(folder)
    for ordinal in 0..<ArraySources.shardCount {
      let lines = (0..<ArraySources.rowCount).map { "{\"key\":\"\(ordinal)-\($0)\"}\n" }.joined()
      try Disk.writeAtomically(Array(lines.utf8), to: "\(folder)/\(ordinal).jsonl")
    }
    try Disk.writeAtomically(Array("1-3\n".utf8), to: values)
    try lake.succeed(["source", "add", "said", "--companion-of", "images", "--directory", folder])
    try lake.succeed(["sync", "said", "--quiet"])
    func exclude(_ source: String, _ more: String...) throws -> String {
      try lake.succeed(
        ["exclude", source, "--match", "key", "--values", values, "--reason", "case 1"] + more
      ).outputText
    }
    let told = try exclude("images")
    #expect(told.contains("`tarn exclude texts --match key --values \(values) --reason TEXT`"), "\(told)")
    #expect(try !exclude("texts").contains("still has"))
    #expect(try exclude("images", "--json").contains("\"paired\":[]"))
  }

  /// Both sides of a pair may be rows of one file, which is missing once.
  @Test func filesOfBothSidesThatAreMissingAreCountedOnce() throws {
    let lake = try ArraySources.lake()
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["evict", "images", "--shards", "1-2"])
    let some = try lake.run(ArraySources.training)
    #expect(some.ending == .exit(21), "\(some.errorText)")
    #expect(
      some.errorText.contains("2 of 3 shards of source images are not in the lake: 1.npz, 2.npz;"),
      "\(some.errorText)")
    // There is a pair without them.
    #expect(some.errorText.contains("--missing skip"), "\(some.errorText)")
    try lake.succeed(["evict", "images"])
    let all = try lake.run(ArraySources.training)
    #expect(all.ending == .exit(21) && all.errorText.contains("3 of 3 shards"), "\(all.errorText)")
  }

  @Test func versionsOfTwoArraysHaveEachTheirOwnRows() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(ArraySources.training)
    try build("v", from: "images", lake)
    try build("w", from: "texts", lake)
    #expect(try Set(outputs(lake, "v@1")).isDisjoint(with: outputs(lake, "w@1")))
    #expect(
      try lake.texts("SELECT array_name || ' ' || count(*) FROM segment GROUP BY array_name") == [
        "l14_img 3", "l14_txt 3",
      ])
    #expect(
      try lake.texts("SELECT DISTINCT source || ' ' || array_name FROM v_version_input ORDER BY 1")
        == ["images l14_img", "texts l14_txt"])
    let lock = try lake.text(
      "SELECT text FROM lock_text l JOIN index_version v ON v.id = l.version_id WHERE v.name = 'w'")
    #expect(lock.contains("\"array\":\"l14_txt\""))
    for version in ["v", "w"] { try lake.succeed(["reproduce", version, "--quiet"]) }
    try lake.succeed(["verify", "--quiet"])
    let place = try lake.succeed(["locate", "w", "25", "--json"]).outputText
    #expect(place.contains("\"source\":\"texts\"") && place.contains("1.npz"), "\(place)")
    // Nothing of it is said with another array.
    try lake.tamper("UPDATE source SET array_name = 'b32_img' WHERE name = 'texts'")
    #expect(try lake.run(["verify", "--quiet"]).ending == .exit(20))
  }

  @Test func aVersionIsMadeAgainInAnEmptyLakeOfEachFileOnce() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(ArraySources.training)
    try build("v", from: "texts", lake)
    let document = try lake.succeed(["export", "v"]).outputText
    let path = lake.directory.path + "/v.json"
    try Data(document.utf8).write(to: URL(fileURLWithPath: path))
    for budget in [[], ["--budget", "1MB"]] {
      let before = sources.requestCounts
      let empty = try LakeFixture.make(.empty)
      // Rows of files that only their end tells are in the document.
      try empty.succeed(["reproduce", "--from", path, "--allow-inside", "--patience", "0", "--quiet"] + budget)
      #expect(zip(sources.requestCounts, before).map { $0 - $1 } == Self.once, "\(budget)")
      #expect(try outputs(empty, "v@1") == outputs(lake, "v@1"))
      #expect(
        try empty.texts("SELECT source || ' ' || files_of FROM v_source WHERE files_of <> ''") == ["texts images"])
      try empty.succeed(["verify", "--quiet"])
    }
  }

  @Test func aCatalogThatIsMadeAgainKnowsWhoseFilesAreRead() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(ArraySources.training)
    // The first document has one of the sources alone.
    try lake.succeed(
      ["train", "u", "--images", "texts", "--method", "kmeans", "--nlist", "3", "--iterations", "2", "--quiet"])
    try lake.succeed(["build", "a", "--trained", "u", "--images", "texts", "--quiet"])
    try build("v", from: "images", lake)
    try build("w", from: "texts", lake)
    let query =
      "SELECT source || ' ' || array_name || ' ' || coalesce(files_of, '') || ' ' || present FROM v_source ORDER BY 1"
    let before = try lake.texts(query)
    let segments = "SELECT shard_sha256 || array_name || sha256 FROM segment ORDER BY 1"
    let encoded = try lake.texts(segments)
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try lake.succeed(["rebuild-catalog", "--allow-inside", "--quiet"])
    #expect(try lake.texts(query) == before)
    #expect(try lake.texts(segments) == encoded)
    for version in ["a", "v", "w"] { try lake.succeed(["reproduce", version, "--quiet"]) }
    try lake.succeed(["verify", "--quiet"])
    try lake.succeed(["sync", "--quiet"])
    #expect(sources.requestCounts == Self.once)
  }

  @Test func aPublishedVersionKeepsWhoseFilesItReads() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(ArraySources.training)
    try build("v", from: "images", lake)
    let place = lake.directory.path + "/published"
    try lake.succeed(["push", "v", place, "--quiet"])
    let other = try LakeFixture.make(.empty)
    try other.succeed(["pull", place, "--allow-inside", "--quiet"])
    #expect(try other.texts("SELECT source || ' ' || files_of FROM v_source WHERE files_of <> ''") == ["texts images"])
    try other.succeed(["verify", "--quiet"])
    let before = sources.requestCounts
    try other.succeed(["sync", "--quiet"])
    #expect(zip(sources.requestCounts, before).map { $0 - $1 } == Self.once)
    try other.succeed(["reproduce", "v", "--quiet"])
  }

  @Test func aBuildAsTasksReadsItsArray() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(ArraySources.training)
    try build("v", from: "texts", lake)
    try lake.succeed(["evict", "texts"])
    // What a sealed version has would be no task.
    try lake.succeed(["revoke", "v@1", "--reason", "a test"])
    let tasks = lake.directory.path + "/tasks"
    let before = sources.requestCounts
    let plan = ["plan", "build", "w", "--trained", "t", "--images", "texts", "--shards-per-output", "2"]
    // Segments are here already, and a task knows none.
    try lake.succeed(plan + ["--tasks", tasks, "--patience", "0", "--quiet"])
    for number in 0..<2 {
      try lake.succeed(
        ["worker", tasks, "--task", "\(number)", "--scratch", lake.directory.path, "--patience", "0", "--quiet"])
    }
    try lake.succeed(["ingest", tasks, "--quiet"])
    #expect(try outputs(lake, "w@1") == outputs(lake, "v@1"))
    #expect(zip(sources.requestCounts, before).map { $0 - $1 } == Self.once)
  }

  @Test func aDamagedFileIsOneDamageAndMendedForAll() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    try lake.succeed(["sync", "--quiet"])
    let path = try lake.text("SELECT path FROM v_shard WHERE source = 'images' AND ordinal = 1")
    let file = lake.lake + "/shards/" + path
    var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: URL(fileURLWithPath: file))
    let report = try lake.run(["verify", "--json"])
    #expect(report.ending == .exit(20) && report.outputText.components(separatedBy: "images/1.npz").count == 2)
    let repaired = try lake.run(["verify", "--repair", "--quiet"])
    #expect(repaired.errorText.contains("1 of them restored"), "\(repaired.errorText)")
    #expect(try present(lake) == ["images 3", "texts 3"])
    try lake.succeed(["verify", "--quiet"])
  }

  @Test func aFileIsImportedForAllWhoReadIt() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    let file = lake.directory.path + "/1.npz"
    try Data(sources.files["/shards/1.npz"] ?? []).write(to: URL(fileURLWithPath: file))
    try lake.succeed(["import", "texts", file])
    #expect(try present(lake) == ["images 1", "texts 1"])
    // Dimension and dtype are those of a file that is here.
    try lake.succeed(["source", "add", "small", "--files-of", "images", "--array", "b32_img"])
    #expect(try lake.text("SELECT dimension || dtype FROM v_source WHERE source = 'small'") == "4float16")
    let absent = try lake.run(["source", "add", "none", "--files-of", "images", "--array", "l15"])
    #expect(absent.ending != .exit(0) && absent.errorText.contains("no array 'l15'"), "\(absent.errorText)")
  }

  /// Who registered files without saying an array is told what can be done, with options that there are.
  @Test func aSourceWithoutAnArrayIsAddedAgainWithOne() throws {
    let two = FeatureFiles.npz([("emb", FeatureFiles.npy()), ("label", FeatureFiles.npy())])
    let one = FeatureFiles.npz()
    let server = try HostileServer { request in .file(request.target == "/0.npz" ? one : two, for: request) }
    func add(_ name: String, count: Int) -> [String] {
      ["source", "add", name, "--url", server.url("/{ordinal}.npz"), "--count", "\(count)", "--dimension", "3"]
        + ["--dtype", "float32"]
    }
    let lake = try LakeFixture.make(.empty)
    try lake.succeed(add("images", count: 2))
    let fresh = try lake.run(["sync", "--shards", "1", "--quiet"])
    #expect(fresh.ending == .exit(20), "\(fresh.errorText)")
    let way = "`tarn source remove images`, and add it again with `tarn source add images --array NAME`"
    let advice = "\(way): it has emb, label"
    #expect(fresh.errorText.contains(advice), "\(fresh.errorText)")
    #expect(!fresh.errorText.contains("compare with another one"), "\(fresh.errorText)")
    let file = lake.directory.path + "/1.npz"
    try Data(two).write(to: URL(fileURLWithPath: file))
    let given = try lake.run(["import", "images", file])
    #expect(given.ending != .exit(0) && given.errorText.contains(advice), "\(given.errorText)")
    let again = try lake.run(add("images", count: 2) + ["--array", "emb"])
    #expect(again.ending == .exit(64) && !again.errorText.contains("`set`"), "\(again.errorText)")
    #expect(again.errorText.contains("`tarn source remove images` and add it again"), "\(again.errorText)")
    // What is kept for good stays; another name is free.
    try lake.succeed(["sync", "--shards", "0", "--quiet"])
    let kept = try lake.run(["sync", "--quiet"])
    let another = "under another name, with `tarn source add … --array NAME`: it has emb, label"
    #expect(kept.errorText.contains(another), "\(kept.errorText)")
    try lake.succeed(add("named", count: 2) + ["--array", "emb"])
    try lake.succeed(["sync", "named", "--quiet"])
    let other = try LakeFixture.make(.empty)
    try other.succeed(add("images", count: 2))
    try other.succeed(["source", "remove", "images"])
    try other.succeed(add("images", count: 2) + ["--array", "emb"])
    try other.succeed(["sync", "--quiet"])
  }

  /// What a source is registered as is wrong, and not its mirror: nothing is fetched twice, nor all of it to learn that.
  @Test func aWrongArrayIsLearntOfTwoFiles() throws {
    let again = "`tarn source remove images`, and add it again with `tarn source add images --array NAME`: it has "
    let wrong = [
      ("l14image", ArraySources.dimension, again),
      ("l14_img", 512, "`tarn source set images --dimension \(ArraySources.dimension)`"),
    ]
    for (array, dimension, way) in wrong {
      let sources = try ArraySources()
      let lake = try LakeFixture.make(.empty)
      let added = try lake.succeed(
        ["source", "add", "images", "--url", sources.server.url("/shards/{ordinal}.npz"), "--count", "3"]
          + ["--array", array, "--dimension", "\(dimension)"])
      #expect(added.outputText.contains("not held against any file"), "\(added.outputText)")
      let failed = try lake.run(["sync", "--jobs", "1", "--patience", "1m"])
      #expect(failed.ending == .exit(20) && failed.errorText.contains(way), "\(failed.errorText)")
      #expect(!failed.errorText.contains("compare with another one"), "\(failed.errorText)")
      #expect(failed.outputText.contains("1 more shard of images was not asked for"), "\(failed.outputText)")
      #expect(sources.requestCounts.reduce(0, +) == 2)
    }
  }

  private static func npy(_ request: HostileServer.Request, _ type: ElementType) -> [UInt8] {
    let number = request.target.compactMap(\.wholeNumberValue).last ?? 9
    return FeatureBytes.npy(10, dimension: 8, type, seed: UInt64(1 + number))
  }

  /// A single odd file says nothing of the others, in whatever order they are asked for.
  @Test func oneOddFileStopsNoOthers() throws {
    let server = try HostileServer { request in
      .file(Self.npy(request, request.target == "/0.npy" ? .float32 : .float16), for: request)
    }
    let lake = try LakeFixture.make(.empty)
    try lake.succeed(
      ["source", "add", "images", "--url", server.url("/{ordinal}.npy"), "--count", "4", "--dimension", "8"]
        + ["--dtype", "float16"])
    let failed = try lake.run(["sync", "--jobs", "1", "--patience", "1m", "--json"])
    #expect(failed.ending == .exit(20) && failed.outputText.contains("\"not_asked_for\":0"), "\(failed.outputText)")
    #expect(try present(lake) == ["images 3"])
  }

  /// Where another mirror answered otherwise, the shard has its last round like any.
  @Test func anOddFileOfOneMirrorIsAskedOfTheOtherAgain() throws {
    let server = try HostileServer { request in
      guard request.target.hasPrefix("/b/") else { return .file(Self.npy(request, .float32), for: request) }
      return request.precedingCount == 0 ? .answer(404) : .file(Self.npy(request, .float16), for: request)
    }
    let lake = try LakeFixture.make(.empty)
    try lake.succeed(
      ["source", "add", "images", "--url", server.url("/a/{ordinal}.npy"), "--mirror", server.url("/b/{ordinal}.npy")]
        + ["--count", "1", "--dimension", "8", "--dtype", "float16"])
    try lake.succeed(["sync", "--patience", "1m", "--quiet"])
    #expect(try present(lake) == ["images 1"])
  }

  @Test func arraysOfOtherRowsAreNoneOfOneSetOfFiles() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    try lake.succeed(
      ["source", "add", "few", "--files-of", "texts", "--array", "few", "--dimension", "\(ArraySources.dimension)"])
    let failed = try lake.run(["sync", "--quiet"])
    #expect(failed.ending != .exit(0) && failed.errorText.contains("array few has 19 rows"), "\(failed.errorText)")
    #expect(try present(lake) == ["few 0", "images 0", "texts 0"])
    try lake.succeed(["source", "remove", "few"])
    try lake.succeed(["sync", "--quiet"])
  }

  @Test func whatIsSaidOfFilesIsSaidOfTheSourceThatHasThem() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    for arguments in [
      ["source", "extend", "texts", "--count", "4"], ["source", "refresh", "texts"],
      ["source", "drop-shards", "texts", "--shards", "0"], ["source", "mirror", "remove", "texts", "0"],
      ["source", "mirror", "add", "texts", "http://a/{ordinal}.npz"], ["source", "mirror", "order", "texts", "0"],
    ] {
      let refused = try lake.run(arguments)
      #expect(refused.ending == .exit(64) && refused.errorText.contains("files of images"), "\(refused.errorText)")
    }
    let kept = try lake.run(["source", "remove", "images"])
    #expect(kept.ending != .exit(0) && kept.errorText.contains("texts reads its files"), "\(kept.errorText)")
    try lake.succeed(["source", "extend", "images", "--count", "4"])
    #expect(try lake.text("SELECT CAST(shards AS TEXT) FROM v_source WHERE source = 'texts'") == "4")
    try lake.succeed(["source", "rename", "images", "pictures"])
    #expect(try lake.text("SELECT files_of FROM v_source WHERE source = 'texts'") == "pictures")
    try lake.succeed(["doctor", "--quiet"])
    // Registered again it is known.
    #expect(try lake.succeed(ArraySources.adding(texts: "pictures")).outputText.contains("registered already"))
  }

  /// Its document names the files, with those that nobody has asked for.
  @Test func aVersionOfOneArrayKeepsTheListOfFiles() throws {
    let sources = try ArraySources()
    let lake = try sources.lake()
    try lake.succeed(["source", "extend", "images", "--count", "4"])
    try lake.succeed(["sync", "images", "--shards", "0-2", "--quiet"])
    try lake.succeed(["source", "add", "small", "--files-of", "images", "--array", "b32_img"])
    try lake.succeed([
      "train", "t", "--images", "small", "--method", "kmeans", "--nlist", "2", "--iterations", "1", "--shards", "0-2",
      "--normalise", "--quiet",
    ])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "small", "--shards", "0-2", "--quiet"])
    // It may be refused, as nobody knows the rows that keep its place; the list is as it was.
    let dropped = try lake.run(["source", "drop-shards", "images", "--shards", "3"])
    #expect([.exit(0), .exit(64)].contains(dropped.ending), "\(dropped.errorText)")
    #expect(try lake.text("SELECT CAST(shards AS TEXT) FROM v_source WHERE source = 'images'") == "4")
    try lake.succeed(["verify", "--quiet"])
  }

  @Test func arraysAreForFilesThatHaveThem() throws {
    let lake = try LakeFixture.make(.registered)
    let npy = ["source", "add", "a", "--url", "http://127.0.0.1:1/{ordinal}.npy", "--count", "2", "--dimension", "8"]
    for (arguments, words) in [
      (npy + ["--array", "emb"], "holds one matrix"),
      (["source", "add", "a", "--files-of", "images", "--array", "emb", "--dimension", "8"], "says no array"),
      (["source", "add", "a", "--files-of", "images"], "--files-of goes with --array"),
      (["source", "add", "a", "--files-of", "images", "--array", "e", "--sizes", "x"], "the source that has them"),
      (npy + ["--files-of", "images", "--array", "e"], "Name one of"),
    ] {
      let refused = try lake.run(arguments)
      #expect(refused.ending == .exit(64) && refused.errorText.contains(words), "\(refused.errorText)")
    }
  }

  @Test func packedArraysGiveTheSameOutputs() throws {
    var digests: [[String]] = []
    for deflated in [false, true] {
      let sources = try ArraySources(deflated: deflated)
      let lake = try sources.lake()
      try lake.succeed(["sync", "--quiet"])
      try lake.succeed(ArraySources.training)
      try build("v", from: "images", lake)
      digests.append(try outputs(lake, "v@1") + [lake.text("SELECT sha256 FROM v_trained_index")])
      digests[digests.count - 1] += try lake.texts("SELECT lists_sha256 FROM v_output_shard ORDER BY output")
    }
    #expect(digests[0] == digests[1])
  }
}
