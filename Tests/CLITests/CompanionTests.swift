// Companions from end to end: what is known of rows is shown beside them, whatever came
// when, and what is not aligned, not here or not there is told and never shown.

import Base
import Catalog
import Foundation
import TestSupport
import Testing

@Suite struct CompanionTests {
  /// Lines of a companion's shard: what a row of an ordinal has.
  static func lines(_ ordinal: Int, _ count: Int = FeatureSources.rowCount, edition: Int = 1) -> String {
    (0..<count).map { row in
      row == 4
        ? "\n"
        : "{\"url\":\"https://h/\(ordinal)/\(row)\",\"caption\":\"picture\\n\(row)\",\"n\":\(row * edition)}\n"
    }.joined()
  }

  /// Puts files of a companion beside a lake and registers it.
  private static func add(_ name: String = "meta", to lake: LakeFixture, _ files: [String: String]) throws {
    let directory = "\(lake.directory.path)/\(name)"
    try Disk.makeDirectory(directory)
    for (file, text) in files { try Disk.writeAtomically(Array(text.utf8), to: "\(directory)/\(file)") }
    try lake.succeed(["source", "add", name, "--companion-of", "images", "--directory", directory])
  }

  private func write(_ text: String, to file: String, of lake: LakeFixture) throws {
    try Disk.writeAtomically(Array(text.utf8), to: "\(lake.directory.path)/\(file)")
  }

  /// The columns of rows as `locate` shows them, and what it said.
  private func located(_ lake: LakeFixture, _ ids: [Int], _ columns: String) throws -> ([[String: JSONValue]], String) {
    let result = try lake.succeed(
      ["locate", "v@1"] + ids.map(String.init) + ["--columns", columns, "--format", "jsonl"])
    let rows = try result.outputText.split(separator: "\n").map { line in
      guard case .object(let values)? = JSONValue(parsing: String(line))?["columns"] else {
        throw TarnError(.integrity, String(line))
      }
      return values
    }
    return (rows, result.errorText)
  }

  private let both = ["m_0.jsonl": lines(0), "m_1.jsonl": lines(1)]

  @Test func columnsAreThoseOfTheRowsWithAndWithoutPacks() throws {
    let lake = try LakeFixture.make(.built)
    let digest = try lake.text("SELECT version_sha256 FROM index_version")
    try Self.add(to: lake, both)
    try lake.succeed(["sync", "meta"])
    let ids = [39, 0, 4, 21]
    let expected: [[String: JSONValue]] = [
      ["url": .string("https://h/1/19"), "n": .integer(19)], ["url": .string("https://h/0/0"), "n": .integer(0)],
      ["url": .null, "n": .null], ["url": .string("https://h/1/1"), "n": .integer(1)],
    ]
    let (before, said) = try located(lake, ids, "url,n")
    #expect(before == expected)
    #expect(said.contains("has no pack of m_0.jsonl") && said.contains("1 other shard likewise"), "\(said)")
    let packed = try lake.succeed(["pack", "meta"])
    #expect(packed.outputText.contains("2 shards packed"))
    // The packs answer alone: the shards themselves may go.
    try lake.succeed(["evict", "meta"])
    let (after, quiet) = try located(lake, ids, "url,n")
    #expect(after == expected && quiet.isEmpty, "\(quiet)")
    #expect(try lake.succeed(["sync", "meta"]).errorText.isEmpty)
    #expect(try lake.succeed(["pack", "meta"]).outputText.contains("0 shards packed (0 B), 2 had packs already"))
    // Nothing of it is in what is sealed.
    #expect(try lake.text("SELECT version_sha256 FROM index_version") == digest)
    try lake.succeed(["verify"])
    try lake.succeed(["reproduce", "v@1"])
  }

  @Test func searchShowsThemCutAndCleanAndWholeForPrograms() throws {
    let lake = try LakeFixture.make(.built)
    let long = String(repeating: "x", count: 200)
    let rows = (0..<20).map { "{\"caption\":\"a\\u001b[31m \($0)\\n\(long)\",\"n\":\($0)}\n" }.joined()
    try Self.add(to: lake, ["m_0.jsonl": rows, "m_1.jsonl": rows])
    try lake.succeed(["sync", "meta"])
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(2, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    let search = ["search", "v@1", "--queries", queries, "-k", "3", "--columns", "caption,n"]
    let table = try lake.succeed(search).outputText
    #expect(table.contains("caption") && table.contains("…") && !table.contains(long) && !table.contains("\u{1B}"))
    let lines = try lake.succeed(search + ["--json"]).outputText.split(separator: "\n")
    let line = try #require(JSONValue(parsing: String(lines[0])))
    let (shown, places) = (line["columns"]?.elements ?? [], line["rows"]?.elements ?? [])
    #expect(shown.count == 3 && zip(shown, places).allSatisfy { $0["n"] == $1 })
    #expect(shown[0]["caption"]?.string?.hasSuffix(long) == true)
    let plain = try lake.succeed(search + ["--format", "csv"]).outputText
    #expect(plain.contains(long))
    #expect(try lake.run(search + ["--output", lake.directory.path + "/out"]).ending == .exit(64))
  }

  @Test func programsGetNumbersAndObjectsAndEachNameOnce() throws {
    let lake = try LakeFixture.make(.built)
    try Self.add(to: lake, both)
    try lake.succeed(["sync", "meta"])
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(2, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    let search = ["search", "v@1", "--queries", queries, "-k", "3", "--nprobe", "3", "--columns", "url,n"]
    let lines = try lake.succeed(search + ["--json"]).outputText.split(separator: "\n").map {
      try #require(JSONValue(parsing: String($0)))
    }
    let rows = try lake.succeed(search + ["--format", "jsonl"]).outputText.split(separator: "\n").map {
      try #require(JSONValue(parsing: String($0)))
    }
    #expect(rows.compactMap { $0["score"] } == lines.flatMap { $0["scores"]?.elements ?? [] })
    #expect(rows.compactMap { $0["id"] } == lines.flatMap { $0["ids"]?.elements ?? [] })
    #expect(rows.compactMap { $0["columns"] } == lines.flatMap { $0["columns"]?.elements ?? [] })
    let all = try #require(JSONValue(parsing: lake.succeed(search + ["--format", "json"]).outputText))
    #expect(all.elements == rows)
    guard case .number? = rows.first?["score"] else {
      Issue.record("\(rows)")
      return
    }
    // A column that is called as one of the verb's own.
    let locate = ["locate", "v@1", "0", "--columns", "url,n"]
    let csv = try lake.succeed(locate + ["--format", "csv"]).outputText.split(separator: "\n")
    #expect(csv[0] == "id,source,shard,row,sha256,url,columns.url,n" && csv[1].hasSuffix(",https://h/0/0,0"), "\(csv)")
    #expect(try lake.succeed(locate).outputText.contains("columns.url"))
    let located = try #require(JSONValue(parsing: lake.succeed(locate + ["--json"]).outputText))
    #expect(located.elements.first?["columns"]?["url"] == .string("https://h/0/0"))
    #expect(located.elements.first?["url"]?.string?.contains("img_0.npy") == true)
  }

  @Test func aWrongNameIsToldWithThoseThereAre() throws {
    let lake = try LakeFixture.make(.built)
    let none = try lake.run(["locate", "v@1", "0", "--columns", "url"])
    #expect(none.ending == .exit(64) && none.errorText.contains("--companion-of images"), "\(none.errorText)")
    try Self.add(to: lake, both)
    try lake.succeed(["sync", "meta"])
    for isPacked in [false, true] {
      if isPacked { try lake.succeed(["pack", "meta"]) }
      let result = try lake.run(["locate", "v@1", "0", "--columns", "url,uri"])
      #expect(result.ending == .exit(64))
      #expect(result.errorText.contains("'uri'") && result.errorText.contains("caption, n, url"), "\(result.errorText)")
    }
    #expect(try lake.run(["locate", "v@1", "0", "--columns", "url,,n"]).ending == .exit(64))
  }

  /// A column is a companion's where one of its shards has it, whichever comes first.
  @Test(arguments: ["jsonl", "csv"]) func aColumnThatTheFirstShardLacksIsThere(kind: String) throws {
    let lake = try LakeFixture.make(.built)
    let count = FeatureSources.rowCount
    let isCSV = kind == "csv"
    let plain = (isCSV ? "a\n" : "") + (0..<count).map { isCSV ? "\($0)\n" : "{\"a\":\"\($0)\"}\n" }.joined()
    let tagged =
      (isCSV ? "a,tag\n" : "")
      + (0..<count).map { isCSV ? "\($0),t\($0)\n" : "{\"a\":\"\($0)\",\"tag\":\"t\($0)\"}\n" }.joined()
    try Self.add(to: lake, ["m_0.\(kind)": plain, "m_1.\(kind)": tagged])
    try lake.succeed(["sync", "meta"])
    let expected: [[String: JSONValue]] = [
      ["a": .string("3"), "tag": .null], ["a": .string("5"), "tag": .string("t5")],
    ]
    for state in ["files", "packs", "packs alone"] {
      if state == "packs" { try lake.succeed(["pack", "meta", "--columns", "a,tag"]) }
      if state == "packs alone" { try lake.succeed(["evict", "meta"]) }
      #expect(try located(lake, [3, 25], "a,tag").0 == expected, "\(state)")
      #expect(try located(lake, [3], "tag").0 == [["tag": .null]], "\(state)")
      let search = ["search", "v@1", "--like", "1", "-k", "40", "--nprobe", "3", "--json"]
      let found = try lake.succeed(search + ["--where", "tag = 't5'", "--columns", "tag"]).outputText
      #expect(found.contains("[25]") && found.contains("t5"), "\(state): \(found)")
      let wrong = try lake.run(["locate", "v@1", "3", "--columns", "gat"])
      #expect(wrong.ending == .exit(64) && wrong.errorText.contains("a, tag"), "\(state): \(wrong.errorText)")
    }
    try lake.succeed(["sync", "meta"])
    let refused = try lake.run(["pack", "meta", "--columns", "a,gat"])
    #expect(refused.ending == .exit(64), "\(refused.errorText)")
    #expect(refused.errorText.contains("'gat'; there are a, tag"), "\(refused.errorText)")
    #expect(try lake.succeed(["pack", "meta", "--columns", "a,tag"]).outputText.contains("2 had packs already"))
    guard !isCSV else { return }
    // A rule can be made of it, too.
    let values = lake.directory.path + "/values.txt"
    try Disk.writeAtomically(Array("t5\n".utf8), to: values)
    let exclude = ["exclude", "images", "--values", values, "--reason", "case 3", "--dry-run", "--match"]
    for name in ["tag", "meta.tag"] {
      #expect(try lake.succeed(exclude + [name]).outputText.contains("1 row excluded"), "\(name)")
    }
    #expect(try lake.run(exclude + ["meta.gat"]).ending == .exit(64))
  }

  @Test func misalignedShardsAreToldAndNeverShown() throws {
    let lake = try LakeFixture.make(.built)
    try Self.add(to: lake, ["m_0.jsonl": Self.lines(0), "m_1.jsonl": Self.lines(1, 19)])
    let synced = try lake.succeed(["sync", "meta"])
    let fault = "m_1.jsonl of meta has 19 rows where img_1.npy of images has 20"
    #expect(synced.errorText.contains(fault), "\(synced.errorText)")
    let (rows, said) = try located(lake, [1, 21], "n")
    #expect(rows == [["n": .integer(1)], ["n": .null]])
    #expect(said.contains(fault), "\(said)")
    let packed = try lake.run(["pack", "meta"])
    #expect(packed.ending == .exit(20) && packed.errorText.contains(fault), "\(packed.ending) \(packed.errorText)")
    #expect(
      try lake.texts("SELECT shard || ' ' || is_aligned || ' ' || is_packed FROM v_companion") == [
        "m_0.jsonl 1 1", "m_1.jsonl 0 0",
      ])
    // What is right comes later, and is bound to the version that is sealed.
    try write(Self.lines(1), to: "meta/m_1.jsonl", of: lake)
    let again = try lake.succeed(["sync", "meta", "--refresh"])
    #expect(!again.errorText.contains("has 19 rows"), "\(again.errorText)")
    #expect(try located(lake, [1, 21], "n").0 == [["n": .integer(1)], ["n": .integer(1)]])
    try lake.succeed(["pack", "meta"])
  }

  @Test func whatComesLaterIsNullAndToldUntilThen() throws {
    let lake = try LakeFixture.make(.built)
    try Self.add(to: lake, both)
    let (none, said) = try located(lake, [0, 20], "n,url")
    #expect(none.allSatisfy { $0 == ["n": .null, "url": .null] })
    #expect(said.contains("m_0.jsonl of meta is not in the lake") && said.contains("1 other shard likewise"), "\(said)")
    #expect(said.split(separator: "\n").count == 1)
    try lake.succeed(["sync", "meta", "--shards", "1"])
    let (some, still) = try located(lake, [0, 20], "n")
    #expect(some == [["n": .null], ["n": .integer(0)]] && still.contains("m_0.jsonl"))
    let packed = try lake.run(["pack", "meta"])
    #expect(
      packed.ending == .exit(3) && packed.errorText.contains("1 shard of meta not in the lake"), "\(packed.errorText)")
    try lake.succeed(["sync", "meta"])
    try lake.succeed(["pack", "meta"])
    #expect(try located(lake, [0, 20], "n").0 == [["n": .integer(0)], ["n": .integer(0)]])
    // A version that is sealed later has them at once.
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--quiet"])
    #expect(try lake.texts("SELECT version || ' ' || shard FROM v_version_companion WHERE version = 'w@1'").count == 2)
  }

  /// No file of a lake tells of companions: what lies there is no leftover of a command, and is known again in the end.
  @Test func aRebuiltCatalogSaysHowACompanionComesBack() throws {
    let lake = try LakeFixture.make(.built)
    try Self.add(to: lake, both)
    try lake.succeed(["sync", "meta"])
    let files = try lake.files().filter { $0.hasPrefix("shards/") }
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try lake.succeed(["rebuild-catalog", "--allow-inside", "--quiet"])
    let said = try lake.run(["doctor"]).outputText
    #expect(said.components(separatedBy: "`tarn source add meta`").count == 2, "\(said)")
    #expect(said.contains("--companion-of") && !said.contains("interrupted command again, or delete it"), "\(said)")
    try Self.add(to: lake, both)
    try lake.succeed(["sync", "meta"])
    #expect(try !lake.run(["doctor"]).outputText.contains("does not know, as of a companion"))
    #expect(try lake.files().filter { $0.hasPrefix("shards/") } == files)
  }

  @Test func aVersionKeepsItsRowsUntilItIsToldToTakeNewerOnes() throws {
    let lake = try LakeFixture.make(.built)
    try Self.add(to: lake, both)
    try lake.succeed(["sync", "meta"])
    try lake.succeed(["pack", "meta"])
    try write(Self.lines(1, edition: 10), to: "meta/m_1.jsonl", of: lake)
    try lake.succeed(["sync", "meta", "--refresh"])
    try lake.succeed(["pack", "meta"])
    #expect(try located(lake, [21], "n").0 == [["n": .integer(1)]])
    #expect(try lake.texts("SELECT sha256 FROM v_garbage WHERE kind = 'pack'").isEmpty)
    try lake.succeed(["pack", "meta", "--rebind"])
    #expect(try located(lake, [21], "n").0 == [["n": .integer(10)]])
    #expect(
      try lake.texts("SELECT revision || ' ' || is_newest FROM v_version_companion ORDER BY ordinal") == ["1 1", "2 1"])
  }

  @Test func aDamagedPackIsToldAndMadeAgain() throws {
    let lake = try LakeFixture.make(.built)
    try Self.add(to: lake, both)
    try lake.succeed(["sync", "meta"])
    try lake.succeed(["pack", "meta"])
    let path = try lake.text("SELECT path FROM stored_bytes WHERE kind = 'pack' ORDER BY path")
    let file = URL(fileURLWithPath: "\(lake.lake)/artifacts/\(path)")
    let digest = try Disk.digest(of: file.path)
    var bytes = try Data(contentsOf: file)
    bytes[40] ^= 1
    try bytes.write(to: file)
    let result = try lake.run(["locate", "v@1", "0", "20", "--columns", "n"])
    #expect(result.ending == .exit(20) && result.errorText.contains("no good pack"), "\(result.errorText)")
    #expect(try lake.run(["verify"]).ending != .exit(0))
    _ = try lake.run(["verify", "--repair"])
    try lake.succeed(["pack", "meta"])
    try #require(Disk.size(of: file.path) != nil)
    #expect(try Disk.digest(of: file.path) == digest)
    #expect(try located(lake, [0, 20], "n").0 == [["n": .integer(0)], ["n": .integer(0)]])
    try lake.succeed(["verify"])
  }

  /// The others are packed, and versions bound, whatever one of them is.
  @Test func aShardThatCannotBeReadIsInNoOthersWay() throws {
    let lake = try LakeFixture.make(.built)
    let bad = Self.lines(0).replacing("{\"url\":\"https://h/0/7\"", with: "{url:7")
    try Self.add(to: lake, ["m_0.jsonl": bad, "m_1.jsonl": Self.lines(1)])
    try lake.succeed(["sync", "meta"])
    let packed = try lake.run(["pack", "meta", "--rebind"])
    #expect(packed.ending == .exit(20) && packed.outputText.contains("1 shard packed"), "\(packed.outputText)")
    #expect(
      packed.errorText.contains("m_0") && packed.errorText.contains("row 7 is no JSON")
        && packed.errorText.contains("1 shard of meta cannot be read"), "\(packed.errorText)")
    #expect(try located(lake, [21], "n").0 == [["n": .integer(1)]])
    let again = try lake.run(["pack", "meta", "--json"])
    // What was done, and after it the error.
    let line = String(again.outputText.prefix { $0 != "\n" })
    let summary = try #require(JSONValue(parsing: line))
    #expect(summary["kept"] == .integer(1) && summary["failed"]?.elements.first?["shard"] == .string("m_0.jsonl"))
  }

  @Test func nothingIsMadeOfACompanion() throws {
    let lake = try LakeFixture.make(.trained)
    try Self.add(to: lake, both)
    try lake.succeed(["sync", "meta"])
    for arguments in [
      ["train", "u", "--images", "meta", "--method", "kmeans", "--nlist", "2"],
      ["build", "w", "--trained", "t", "--images", "meta"], ["source", "set", "meta", "--dimension", "8"],
      ["source", "add", "more", "--companion-of", "meta", "--directory", lake.directory.path + "/meta"],
      [
        "source", "add", "more", "--companion-of", "images", "--directory", lake.directory.path + "/meta",
        "--dimension", "8",
      ],
      ["source", "add", "more", "--companion-of", "images", "--url", "https://h.example/{ordinal}.npy"],
      ["pack", "images"],
    ] {
      let result = try lake.run(arguments)
      #expect(result.ending == .exit(64), "\(arguments): \(result.ending) \(result.errorText)")
      #expect(
        result.errorText.contains("companion") || result.errorText.contains("source of features"), "\(result.errorText)"
      )
    }
    let spare = try LakeFixture.make(.registered)
    try Self.add(to: spare, both)
    let kept = try spare.run(["source", "remove", "images"])
    #expect(kept.errorText.contains("its companion meta stands beside it"), "\(kept.errorText)")
    try spare.succeed(["source", "remove", "meta"])
    try spare.succeed(["source", "remove", "images"])
  }

  @Test func itIsRegisteredOnceAndCountedLikeItsOwner() throws {
    let lake = try LakeFixture.make(.registered)
    let server = try LakeFixture.sources().server
    let add = ["source", "add", "meta", "--companion-of", "images", "--url", server.url("/meta/m_{ordinal}.jsonl")]
    #expect(try lake.succeed(add).outputText.contains("2 shards on 1 mirror, beside images"))
    #expect(try lake.succeed(add).outputText.contains("registered already"))
    #expect(try lake.succeed(["source", "show", "images"]).outputText.contains("companion: meta"))
    #expect(try lake.succeed(["source", "show", "meta"]).outputText.contains("meta: beside images"))
    let other = try lake.run(["source", "add", "meta", "--companion-of", "captions"] + add.dropFirst(5))
    #expect(other.ending != .exit(0) && other.errorText.contains("owner"), "\(other.errorText)")
  }

  /// One of another source is most likely of another length, and can be taken back before anything of it is fetched.
  @Test func anotherNumberOfShardsThanItsOwnersIsTold() throws {
    let lake = try LakeFixture.make(.registered)
    let folder = lake.directory.path + "/said"
    try Disk.makeDirectory(folder)
    for ordinal in 0..<3 { try Disk.writeAtomically(Array("{}\n".utf8), to: "\(folder)/m_\(ordinal).jsonl") }
    let add = ["source", "add", "said", "--companion-of", "images", "--directory", folder]
    let more = try lake.succeed(add)
    #expect(
      more.errorText.contains("images has 2 shards and said 3: files beside none of its shards are used for no row"),
      "\(more.errorText)")
    #expect(!(try lake.succeed(add).errorText.contains("warning")))
    try lake.succeed(["source", "remove", "said"])
    for ordinal in 1..<3 { try FileManager.default.removeItem(atPath: "\(folder)/m_\(ordinal).jsonl") }
    let fewer = try lake.succeed(add)
    #expect(fewer.errorText.contains("nothing is said of rows of the shards beside none"), "\(fewer.errorText)")
  }

  @Test func ofManyMisalignedShardsTheFirstAreNamed() throws {
    let lake = try LakeFixture.make(.synced)
    let folder = lake.directory.path + "/said"
    try Disk.makeDirectory(folder)
    for ordinal in 0..<9 { try Disk.writeAtomically(Array("{}\n".utf8), to: "\(folder)/m_\(ordinal).jsonl") }
    try lake.succeed(["source", "add", "said", "--companion-of", "images", "--directory", folder, "--quiet"])
    let said = try lake.succeed(["sync", "said", "--quiet"])
    #expect(said.errorLines.count { $0.hasPrefix("tarn: warning: ") } == 6, "\(said.errorText)")
    #expect(said.errorText.contains("and 4 more shards of said likewise"), "\(said.errorText)")
  }

  @Test func aPageInPlaceOfAFileIsRefused() throws {
    let page = Array("<!DOCTYPE html><html><body>Sign in to go on to what you wanted to see</body></html>\n".utf8)
    let good = Array(Self.lines(0).utf8)
    let server = try HostileServer { request in
      request.target.hasSuffix("0.jsonl") ? .file(page, for: request) : .file(good, for: request)
    }
    let lake = try LakeFixture.make(.synced)
    try lake.succeed(
      ["source", "add", "meta", "--companion-of", "images", "--url", server.url("/m_{ordinal}.jsonl"), "--count", "2"])
    let result = try lake.run(["sync", "meta"])
    #expect(
      result.ending == .exit(20) && result.errorText.contains("no JSON object"), "\(result.ending) \(result.errorText)")
    #expect(
      try lake.texts("SELECT state FROM v_shard WHERE source = 'meta' ORDER BY ordinal") == ["failed", "present"])
  }
}
