// What people do who registered a source wrongly, at the command line: what its first
// shard says, and every way back from a mistake.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct SourceKindTests {
  private static let wide = FeatureBytes.npy(5, dimension: 6, .float32, seed: 3)

  private func directory(_ lake: LakeFixture, _ bytes: [UInt8] = wide) throws -> String {
    let path = lake.directory.path + "/features"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try Data(bytes).write(to: URL(fileURLWithPath: path + "/a.npy"))
    return path
  }

  private func kind(_ lake: LakeFixture) throws -> String {
    try lake.text("SELECT dimension || ' ' || dtype FROM source")
  }

  @Test func aDirectoryIsLookedIntoAtOnce() throws {
    let lake = try LakeFixture.make(.empty)
    let added = try lake.succeed(["source", "add", "images", "--directory", directory(lake)])
    #expect(added.outputText.contains("6 x float32 as a.npy says"), "\(added.outputText)")
    #expect(try kind(lake) == "6 float32")
    try lake.succeed(["sync", "--quiet"])
  }

  @Test(arguments: [
    (["--dtype", "float16"], "--dtype float16 is wrong"), (["--dimension", "8"], "--dimension 8 is wrong"),
    (["--dimension", "6", "--dtype", "float16"], "--dtype float16 is wrong"),
  ])
  func theOptionThatIsWrongIsNamed(options: [String], words: String) throws {
    let lake = try LakeFixture.make(.empty)
    let result = try lake.run(["source", "add", "images", "--directory", directory(lake)] + options)
    #expect(result.ending == .exit(64))
    #expect(result.errorText.contains(words) && result.errorText.contains("a.npy"), "\(result.errorText)")
    #expect(try lake.texts("SELECT name FROM source").isEmpty)
  }

  @Test func mirrorsAreAskedForTheFirstBytesOfTheFirstShard() throws {
    let lake = try LakeFixture.make(.empty)
    let server = try HostileServer { request in
      request.target == "/there/0.npy" ? .file(Self.wide, for: request) : .answer(404)
    }
    let add = [
      "source", "add", "images", "--url", server.url("/gone/{ordinal}.npy"), "--mirror",
      server.url("/there/{ordinal}.npy"), "--count", "3",
    ]
    let wrong = try lake.run(add + ["--dtype", "float16"])
    #expect(wrong.ending == .exit(64) && wrong.errorText.contains("--dtype float16 is wrong"), "\(wrong.errorText)")
    try lake.succeed(add)
    #expect(try kind(lake) == "6 float32")
    #expect(Set(server.requests.map(\.target)) == ["/gone/0.npy", "/there/0.npy"])
    // A second time nobody is asked.
    let count = server.requests.count
    #expect(try lake.succeed(add).outputText.contains("is registered already"))
    #expect(server.requests.count == count)
  }

  /// A column of three floats in two rows, or in none.
  private func table(rows: Bool) -> [UInt8] {
    var maker = ParquetMaker.lists(FeatureFiles.values, dimension: 3)
    if !rows { maker.rowGroupCount = 0 }
    return maker.file()
  }

  /// Who writes in parallel begins with a file without rows: the next one tells, or the user does.
  @Test func aFirstShardWithoutRowsIsPassedOver() throws {
    let cases: [(hasMore: Bool, options: [String])] = [
      (true, []), (false, ["--dimension", "3"]), (true, ["--dimension", "3"]),
    ]
    for (hasMore, options) in cases {
      let lake = try LakeFixture.make(.empty)
      let path = lake.directory.path + "/tables"
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      try Data(table(rows: false)).write(to: URL(fileURLWithPath: path + "/part-00000.parquet"))
      let add = ["source", "add", "images", "--directory", path]
      if hasMore {
        try Data(table(rows: true)).write(to: URL(fileURLWithPath: path + "/part-00001.parquet"))
      } else {
        let result = try lake.run(add)
        #expect(result.ending != .exit(0))
        #expect(result.errorText.contains("has no rows") && result.errorText.contains("say --dimension"))
      }
      let added = try lake.succeed(add + options).outputText
      #expect(added.contains("3 x float32 as part-0000\(options.isEmpty ? 1 : 0).parquet says"), "\(added)")
      #expect(try kind(lake) == "3 float32")
      try lake.succeed(["sync", "--quiet"])
    }
  }

  /// A format that has one type says it where nobody is asked.
  @Test(arguments: [("fvecs", "float32"), ("u8bin", "uint8"), ("parquet", "float16")])
  func theFormatTellsTheTypeWhereItHasOne(name: String, type: String) throws {
    let lake = try LakeFixture.make(.empty)
    try lake.succeed([
      "source", "add", "images", "--url", "http://127.0.0.1:9/{ordinal}.\(name)", "--count", "3", "--dimension", "6",
    ])
    #expect(try kind(lake) == "6 \(type)")
  }

  /// What only the end of a file tells is advised on like what its beginning tells.
  @Test func aFileWhoseEndTellsAnotherKindIsAdvisedOn() throws {
    let lake = try LakeFixture.make(.empty)
    let file = table(rows: true)
    let server = try HostileServer { .file(file, for: $0) }
    try lake.succeed([
      "source", "add", "images", "--url", server.url("/{ordinal}.parquet"), "--count", "1", "--dimension", "3",
    ])
    let refused = try lake.run(["sync", "--quiet"])
    #expect(refused.errorText.contains("its elements are float32 where the source has float16"), "\(refused.errorText)")
    #expect(refused.errorText.contains("`tarn source set images --dtype float32`"), "\(refused.errorText)")
    try lake.succeed(["source", "set", "images", "--dtype", "float32"])
    try lake.succeed(["sync", "--quiet"])
  }

  @Test func whereNobodyTellsTheOptionsAreAskedFor() throws {
    let lake = try LakeFixture.make(.empty)
    let server = try HostileServer { _ in .answer(404) }
    let add = ["source", "add", "images", "--url", server.url("/{ordinal}.npy"), "--count", "3"]
    let result = try lake.run(add)
    #expect(
      result.ending == .exit(21) && result.errorText.contains("say --dimension and --dtype"), "\(result.errorText)")
    // Whoever says it needs no server.
    let count = server.requests.count
    try lake.succeed(add + ["--dimension", "6"])
    #expect(server.requests.count == count)
    #expect(try kind(lake) == "6 float16")
  }
}

@Suite struct SourceChangeCommandTests {
  private func source(_ lake: LakeFixture, _ more: [String] = []) throws -> ([String], HostileServer) {
    let shard = FeatureBytes.npy(5, dimension: 8, seed: 3)
    let server = try HostileServer { request in
      ["/0.npy", "/1.npy"].contains(request.target) ? .file(shard, for: request) : .answer(404)
    }
    let add =
      ["source", "add", "images", "--url", server.url("/{ordinal}.npy"), "--count", "3", "--dimension", "8"] + more
    try lake.succeed(add)
    return (add, server)
  }

  @Test func addingASourceAgainDoesNothingAndAnotherIsRefused() throws {
    let lake = try LakeFixture.make(.empty)
    let (add, server) = try source(lake)
    defer { withExtendedLifetime(server) {} }
    let before = try lake.contents()
    #expect(try lake.succeed(add).outputText.contains("nothing changed"))
    #expect(try lake.succeed(add + ["--json"]).outputText.contains("\"new\":false"))
    for (more, field) in [
      (["--modality", "text"], "modality"), (["--dtype", "float32"], "dtype"),
      (["--mirror", "http://other.example/{ordinal}.npy"], "number of mirrors"),
    ] {
      let result = try lake.run(add + more)
      #expect(result.ending == .exit(64) && result.errorText.contains("its \(field) is"), "\(result.errorText)")
    }
    #expect(try lake.contents() == before)
  }

  @Test func makingALakeAgainDoesNothing() throws {
    let lake = try LakeFixture.make(.registered)
    let before = try lake.contents()
    #expect(try lake.succeed(["init", lake.lake]).outputText.contains("nothing changed"))
    let other = try lake.run(["init", lake.lake, "--shards", lake.directory.path + "/else"])
    #expect(other.ending == .exit(64) && other.errorText.contains("there is a lake in"), "\(other.errorText)")
    #expect(try lake.contents() == before)
  }

  /// A shard too many: what sync fails for is dropped, and training goes on.
  @Test func aShardTooManyIsDropped() throws {
    let lake = try LakeFixture.make(.empty)
    let (_, server) = try source(lake)
    defer { withExtendedLifetime(server) {} }
    #expect(try lake.run(["sync", "--quiet"]).ending == .exit(3))
    let train = ["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"]
    #expect(try lake.run(train).ending != .exit(0))
    // Of nobody known how many rows it has: its place is the last one alone.
    let dropped = try lake.succeed(["source", "drop-shards", "images", "--shards", "2"])
    #expect(dropped.outputText == "images has 2 shards, 1 fewer\n")
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(train)
    try lake.succeed(["verify"])
  }

  @Test func mirrorsChangeUnderASealedVersion() throws {
    let lake = try LakeFixture.make(.built)
    let sources = try LakeFixture.sources()
    let url = sources.server.url("/images/img_{ordinal}.npy") + "?v=2"
    try lake.succeed(["source", "mirror", "add", "images", url, "--keep-query", "v"])
    #expect(try lake.succeed(["source", "mirror", "add", "images", url]).outputText.contains("had that mirror"))
    try lake.succeed(["source", "mirror", "order", "images", "1", "0"])
    #expect(try lake.succeed(["source", "mirror", "list", "images", "--json"]).outputText.contains("\"mirror\":1"))
    try lake.succeed(["verify"])
    #expect(try lake.run(["source", "mirror", "remove", "images", "1"]).errorText.contains("were recorded from it"))
    try lake.succeed(["source", "mirror", "remove", "images", url])
    for arguments in [
      ["verify"], ["doctor"], ["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1"],
      ["reproduce", "v@1", "--quiet"],
    ] {
      try lake.succeed(arguments)
    }
    for arguments in [["rename", "images", "x"], ["remove", "images"], ["set", "images", "--modality", "text"]] {
      let result = try lake.run(["source"] + arguments)
      #expect(result.ending == .exit(64) && result.errorText.contains("v@1"), "\(result.errorText)")
    }
  }

  /// What the user declared to be harmless is shown, wherever an address is; what else an
  /// address has is not.
  @Test func keptQueryItemsAreShown() throws {
    let lake = try LakeFixture.make(.built)
    let url = try LakeFixture.sources().server.url("/gone/{ordinal}.npy") + "?v=2"
    try lake.succeed(["source", "mirror", "add", "images", url, "--keep-query", "v"])
    try lake.succeed(["source", "mirror", "order", "images", "1", "0"])
    let list = try lake.succeed(["source", "mirror", "list", "images"]).outputText
    #expect(list.contains("?v=2") && !list.contains("REDACTED"), "\(list)")
    try lake.succeed(["source", "add", "lost", "--url", url, "--count", "1", "--dimension", "8", "--keep-query", "v"])
    let failed = try lake.run(["sync", "lost"])
    #expect(
      failed.errorText.contains("/gone/0.npy?v=2") && !failed.errorText.contains("REDACTED"), "\(failed.errorText)")
    let probed = try lake.run(["source", "probe", "lost"]).outputText
    #expect(probed.contains("?v=2") && !probed.contains("REDACTED"), "\(probed)")
    #expect(try lake.text("SELECT url FROM transfer ORDER BY id DESC LIMIT 1").hasSuffix("?v=2"))
  }

  /// Documents of two times name two lists of mirrors; both hold in a catalog that
  /// was made again from them.
  @Test func aCatalogIsMadeAgainFromDocumentsOfTwoTimes() throws {
    let lake = try LakeFixture.make(.built)
    let url = try LakeFixture.sources().server.url("/images/img_{ordinal}.npy") + "?v=2"
    try lake.succeed(["source", "mirror", "add", "images", url, "--keep-query", "v"])
    try lake.succeed(["source", "mirror", "order", "images", "1", "0"])
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet"])
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try lake.succeed(["rebuild-catalog"])
    try lake.succeed(["verify"])
    #expect(
      try lake.texts("SELECT template FROM mirror ORDER BY template").filter { $0.contains("/images/") }.count == 2)
  }

  @Test func aSourceOfTheWrongKindIsCorrectedOrRemoved() throws {
    let lake = try LakeFixture.make(.empty)
    let (add, server) = try source(lake, ["--dtype", "float32"])
    defer { withExtendedLifetime(server) {} }
    let wrong = try lake.run(["sync", "--quiet"])
    #expect(wrong.ending == .exit(20))
    #expect(wrong.errorText.contains("`tarn source set images --dtype float16`"), "\(wrong.errorText)")
    let said = try lake.text("SELECT last_error FROM shard WHERE ordinal = 0")
    #expect(said.hasSuffix("its elements are float16 where the source has float32"), "\(said)")
    #expect(try lake.succeed(["source", "set", "images", "--dtype", "float16"]).outputText.contains("8 x float16"))
    try lake.succeed(["source", "rename", "images", "pictures"])
    try lake.succeed(["source", "remove", "pictures"])
    #expect(try lake.texts("SELECT name FROM source").isEmpty)
    try lake.succeed(add)
    try lake.succeed(["verify"])
  }

  /// Advice on files of another kind is of what is there and of what would be taken.
  @Test func filesOfAnotherKindAreConvertedOrPutElsewhere() throws {
    let lake = try LakeFixture.make(.empty)
    let directory = lake.directory.path + "/mixed features"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    func write(_ name: String, _ bytes: [UInt8]) throws {
      try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }
    try write("a.npy", FeatureBytes.npy(5, dimension: 8, .float32, seed: 1))
    try write("b.npy", FeatureBytes.npy(6, dimension: 8, .float16, seed: 2))
    try write("c.npy", FeatureBytes.npy(7, dimension: 6, .float32, seed: 3))
    try lake.succeed(["source", "add", "images", "--directory", directory])
    let mixed = try lake.run(["sync", "--quiet"])
    #expect(mixed.ending == .exit(20), "\(mixed.errorText)")
    let convert = "tarn convert '\(directory)/b.npy' b-float32.npy --dtype float32"
    #expect(mixed.errorText.contains("`\(convert)` writes it as its source has it"), "\(mixed.errorText)")
    #expect(mixed.errorText.contains("are a source of their own, from a directory of theirs"), "\(mixed.errorText)")
    for word in ["NAME", "source set", "compare with another"] {
      #expect(!mixed.errorText.contains(word), "\(mixed.errorText)")
    }
    // What is said works.
    let words = try QuotedWords.split(convert).dropFirst()
    let converted = try ProcessRunner.run(Array(words), directory: lake.directory.path)
    #expect(converted.ending == .exit(0), "\(converted.errorText)")
    try FileManager.default.removeItem(atPath: directory + "/b.npy")
    try FileManager.default.moveItem(
      atPath: lake.directory.path + "/b-float32.npy", toPath: directory + "/b.npy")
    try write("c.npy", FeatureBytes.npy(7, dimension: 8, .float32, seed: 3))
    try lake.succeed(["sync", "--quiet"])
    #expect(try lake.text("SELECT CAST(sum(rows) AS TEXT) FROM v_shard") == "18")
  }

  /// A directory without a file that is read is answered with what is read.
  @Test func aDirectoryWithoutShardsIsToldWhatIsRead() throws {
    let lake = try LakeFixture.make(.registered)
    let directory = lake.directory.path + "/others"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    func write(_ name: String) throws { try Data("x".utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)")) }
    for name in ["a.tar", "a.json", "a.tsv", "LICENSE"] { try write(name) }
    let companion = try lake.run(["source", "add", "meta", "--companion-of", "images", "--directory", directory])
    #expect(companion.ending == .exit(64), "\(companion.errorText)")
    #expect(
      companion.errorText.contains("no file that can be a shard; a companion's is .parquet, .jsonl, .csv or .txt"),
      "\(companion.errorText)")
    let features = try lake.run(["source", "add", "more", "--directory", directory])
    #expect(features.errorText.contains("tarn does not read .json files (a.json)"), "\(features.errorText)")
    for name in ["a.tar", "a.json", "a.tsv"] { try FileManager.default.removeItem(atPath: "\(directory)/\(name)") }
    let none = try lake.run(["source", "add", "more", "--directory", directory])
    #expect(none.errorText.contains("a shard is a .npy,"), "\(none.errorText)")
  }

  /// A bad file of this machine is the user's to mend: no mirror serves it.
  @Test func aBadFileOfThisMachineIsNoMirrors() throws {
    let lake = try LakeFixture.make(.empty)
    let directory = lake.directory.path + "/features"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Data(FeatureBytes.npy(5, dimension: 8, seed: 1)).write(to: URL(fileURLWithPath: directory + "/a.npy"))
    try Data(count: 200).write(to: URL(fileURLWithPath: directory + "/b.npy"))
    try lake.succeed(["source", "add", "images", "--directory", directory])
    let bad = try lake.run(["sync", "--quiet"])
    #expect(bad.ending == .exit(20) && bad.errorText.contains("it is a file of this machine"), "\(bad.errorText)")
    #expect(!bad.errorText.contains("mirror serves"), "\(bad.errorText)")
    try lake.succeed(["source", "drop-shards", "images", "--shards", "1"])
    try lake.succeed(["sync", "--quiet"])
  }

  /// Once a shard was fetched its source keeps its kind: nobody is told to change it.
  @Test func nobodyIsToldToCorrectASourceThatWasFetched() throws {
    let lake = try LakeFixture.make(.empty)
    let server = try HostileServer { request in
      .file(
        FeatureBytes.npy(5, dimension: 8, request.target == "/0.npy" ? .float16 : .float32, seed: 3), for: request)
    }
    let add = ["source", "add", "images", "--url", server.url("/{ordinal}.npy"), "--count", "2", "--dimension", "8"]
    try lake.succeed(add)
    try lake.succeed(["sync", "--shards", "0", "--quiet"])
    let wrong = try lake.run(["sync", "--quiet"])
    #expect(wrong.ending == .exit(20) && !wrong.errorText.contains("source set"), "\(wrong.errorText)")
    #expect(wrong.errorText.contains("compare with another one"), "\(wrong.errorText)")
  }

  /// What was fetched under another name is fetched, mended and dropped under the new one.
  @Test func aSourceThatWasFetchedIsRenamed() throws {
    let lake = try LakeFixture.make(.trained)
    try lake.succeed(["source", "rename", "images", "pictures"])
    try lake.succeed(["source", "set", "captions", "--modality", "other"])
    for arguments in [
      ["verify"], ["doctor"], ["evict", "pictures"], ["sync", "--quiet"], ["verify"],
      ["build", "v", "--trained", "t", "--images", "pictures", "--quiet"], ["verify"],
    ] {
      try lake.succeed(arguments)
    }
    let result = try lake.run(["source", "rename", "pictures", "images"])
    #expect(result.ending == .exit(64) && result.errorText.contains("v@1"), "\(result.errorText)")
  }

  /// Files of one name in two folders get names of their own.
  @Test func equalNamesInTwoFoldersAreToldApart() throws {
    let lake = try LakeFixture.make(.empty)
    let list = lake.directory.path + "/urls"
    try "https://h.example/a/0.npy\nhttps://h.example/b/0.npy\n".write(toFile: list, atomically: true, encoding: .utf8)
    let add = ["source", "add", "images", "--url-list", list, "--dimension", "8"]
    let result = try lake.run(add)
    #expect(result.ending == .exit(64) && result.errorText.contains("--shard-names"), "\(result.errorText)")
    try lake.succeed(add + ["--shard-names", "img_{ordinal}.npy"])
  }
}
