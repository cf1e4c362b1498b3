// Rules of exclusions, at the command line: rows go by what their companion says, whatever
// arrives when, and nothing is planned past what cannot be looked at.

import Base
import Catalog
import Foundation
import Indexer
import TestSupport
import Testing

@Suite struct ExcludeRuleTests {
  private static let train = [
    "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
  ]
  private static let build = [
    "build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1", "--quiet",
  ]

  /// Writes a companion's shard: rows have the urls of their places but for some.
  private func write(_ lake: LakeFixture, _ ordinal: Int, _ count: Int, _ urls: [Int: String] = [:]) throws {
    let lines = (0..<count).map { row in
      "{\"url\":\(JSONValue.string(urls[row] ?? "https://h/\(ordinal)/\(row)").text),\"n\":\(row),\"flag\":\(row == 1)}\n"
    }
    try Disk.makeDirectory(lake.directory.path + "/meta")
    try Disk.writeAtomically(Array(lines.joined().utf8), to: "\(lake.directory.path)/meta/m_\(ordinal).jsonl")
  }

  /// A lake with three shards and a companion of them, trained.
  private func lake(_ counts: [Int] = [9, 8, 7]) throws -> LakeFixture {
    let lake = try PairedShards(counts, seed: 5).lake()
    for (ordinal, count) in counts.enumerated() { try write(lake, ordinal, count) }
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed([
      "source", "add", "meta", "--companion-of", "images", "--directory", lake.directory.path + "/meta",
    ])
    try lake.succeed(Self.train)
    return lake
  }

  private func exclude(
    _ lake: LakeFixture, _ values: [String], column: String = "url", _ options: String...
  ) throws -> ProcessResult {
    let file = lake.directory.path + "/values.txt"
    try Disk.writeAtomically(Array(values.map { $0 + "\n" }.joined().utf8), to: file)
    return try lake.run(
      ["exclude", "images", "--match", column, "--values", file, "--reason", "case 19"] + options)
  }

  private func ids(_ lake: LakeFixture, _ version: String) throws -> [Int64] {
    try lake.texts("SELECT file FROM v_output_shard WHERE version = '\(version)' ORDER BY output").flatMap { file in
      let output = try OutputShardFile(path: "\(lake.lake)/versions/\(version)/\(file.lastPathPart)")
      return try (0..<output.trained.nlist).flatMap { try output.contents(ofList: $0).ids }.sorted()
    }
  }

  /// A place of a companion that stayed empty, as the shard beside it was dropped, is filled when that is back.
  @Test func aPlaceThatStayedEmptyIsTakenBack() throws {
    let counts = [9, 8, 7, 6]
    let lake = try PairedShards(counts, seed: 5).lake()
    for ordinal in [0, 2, 3] { try write(lake, ordinal, counts[ordinal]) }
    let place = ["source", "drop-shards", "images", "--shards", "1"]
    try lake.succeed(place)
    try lake.succeed([
      "source", "add", "meta", "--companion-of", "images", "--directory", lake.directory.path + "/meta",
    ])
    try lake.succeed(["sync", "meta", "--quiet"])
    try lake.succeed(place + ["--undo"])
    try lake.succeed(Self.train)
    #expect(try exclude(lake, ["https://h/2/4"]).ending == .exit(0))
    let refused = try lake.run(Self.build)
    let way = "`tarn source drop-shards meta --shards 1 --undo` takes it back"
    #expect(refused.ending == .exit(21) && refused.errorText.contains(way), "\(refused.errorText)")
    try lake.succeed(["source", "drop-shards", "meta", "--shards", "1", "--undo"])
    try write(lake, 1, counts[1])
    try lake.succeed(["sync", "meta", "--quiet"])
    try lake.succeed(Self.build)
    #expect(try ids(lake, "v@1").count == 29)
  }

  /// From what somebody knows of a row to its id: in a version, and of what a rule would take out.
  @Test func rowsAreFoundByWhatIsSaidOfThem() throws {
    let lake = try lake()
    try lake.succeed(["sync", "meta", "--quiet"])
    try lake.succeed(Self.build)
    let file = lake.directory.path + "/wanted.txt"
    func locate(_ values: [String], _ options: String..., column: String = "url") throws -> ProcessResult {
      try Disk.writeAtomically(Array(values.map { $0 + "\n" }.joined().utf8), to: file)
      return try lake.run(["locate", "v@1", "--match", column, "--values", file] + options)
    }
    func ids(_ result: ProcessResult) -> [Int64] {
      (JSONValue(parsing: result.outputText)?.elements ?? []).compactMap { $0["id"]?.integer }
    }
    for isPacked in [false, true] {
      if isPacked { try lake.succeed(["pack", "meta", "--quiet"]) }
      let found = try locate(["https://h/2/4", "https://h/none", "https://h/0/3"], "--json")
      #expect(found.ending == .exit(0) && ids(found) == [3, 21], "\(found.outputText)\(found.errorText)")
      #expect(found.errorText.contains("1 of 3 values is in no row: https://h/none"), "\(found.errorText)")
      // Numbers and flags are compared as JSON writes them.
      #expect(ids(try locate(["4"], "--json", column: "meta.n")) == [4, 13, 21])
      #expect(ids(try locate(["true"], "--json", column: "flag")) == [1, 10, 18])
    }
    let table = try locate(["https://h/1/0"], "--columns", "url")
    #expect(table.outputText.contains("https://h/1/0") && table.outputText.contains("images_1"), "\(table.outputText)")
    for (result, needle) in [
      (try locate(["https://h/none"]), "no row of v@1 has one of these values in 'url': https://h/none"),
      (try locate(["x"], column: "ghost"), "'ghost'"), (try locate(["x"], "7"), "--match finds ids"),
      (try lake.run(["locate", "v@1", "--match", "url"]), "--values FILE"), (try locate([]), "has no value"),
    ] {
      #expect(result.ending == .exit(64) && result.errorText.contains(needle), "\(result.errorText)")
      #expect(result.outputText.isEmpty)
    }

    let dry = try exclude(lake, ["https://h/2/4", "https://h/0/3"], "--dry-run", "--json")
    let rows = JSONValue(parsing: dry.outputText)?["found"]?.elements ?? []
    #expect(rows.map { $0["id"]?.integer } == [3, 21], "\(dry.outputText)")
    #expect(rows.map { $0["row"]?.integer } == [3, 4])
    #expect(rows.last?["shard"]?.string == "images_2.npy")
    // Of a row that must go nothing is said.
    #expect(try exclude(lake, ["https://h/0/3"]).ending == .exit(0))
    #expect(ids(try locate(["https://h/2/4", "https://h/0/3"], "--json")) == [21])
  }

  @Test func itHoldsForShardsRevisionsAndCompanionsThatComeLater() throws {
    let lake = try lake()
    try lake.succeed(["sync", "meta", "--shards", "0-1", "--quiet"])
    try lake.succeed(Self.build + ["--shards", "0-1"])
    let values = ["https://h/0/3", "https://h/2/4", "https://h/new"]
    let dry = try exclude(lake, values, "--dry-run")
    #expect(dry.ending == .exit(0) && dry.outputText.contains("3 values of meta.url would be a rule, 1 row excluded"))
    #expect(
      dry.errorText.contains("m_2.jsonl") && dry.errorText.contains("tarn sync meta --shards 2"), "\(dry.errorText)")
    #expect(try lake.text("SELECT count(*) FROM v_exclusion_rule") == "0")
    let made = try exclude(lake, values)
    #expect(
      made.outputText.contains("rule 1 of images: 3 values of meta.url, 1 row excluded")
        && made.outputText.contains("v@1 still has them"), "\(made.outputText)\(made.errorText)")
    #expect(try exclude(lake, values).outputText.contains("the rules say that already"))

    // The third shard is wanted, and what is known of it is not here: nothing is built past that.
    let refused = try lake.run(Self.build)
    #expect(
      refused.ending == .exit(21) && refused.errorText.contains("rule 1 of images has to look at the column 'url'")
        && refused.errorText.contains("tarn sync meta --shards 2"), "\(refused.ending) \(refused.errorText)")
    #expect(try lake.text("SELECT count(*) FROM v_version") == "1")
    try lake.succeed(["sync", "meta", "--quiet"])
    let built = try lake.succeed(Self.build.filter { $0 != "--quiet" })
    #expect(
      built.errorText.contains("rule 1 of images found 1 row in what came since: excluded"), "\(built.errorText)")
    #expect(try ids(lake, "v@2") == (0..<24).filter { $0 != 3 && $0 != 21 })
    #expect(
      try lake.texts(
        "SELECT row || ' ' || rule || ' ' || live_versions || ' ' || reason FROM v_exclusion ORDER BY ordinal")
        == ["3 1 1 case 19", "4 1 0 case 19"])
    // What was looked at needs no companion any more, and a sealed version never did.
    try lake.succeed(["evict", "meta", "--quiet"])
    try lake.succeed(Self.build)
    try lake.succeed(["reproduce", "v@2"])
    #expect(try lake.text("SELECT count(*) FROM v_version") == "2")

    // The companion says more of the second shard, and the first has other bytes.
    try write(lake, 1, 8, [5: "https://h/new"])
    try Data(FeatureBytes.npy(9, dimension: PairedShards.dimension, .float16, seed: 999)).write(
      to: URL(fileURLWithPath: lake.directory.path + "/images/images_0.npy"))
    try lake.evict("images", [0])
    try lake.succeed(["sync", "images", "--quiet"])
    try lake.succeed(["sync", "meta", "--refresh", "--quiet"])
    try lake.succeed(Self.build)
    #expect(try ids(lake, "v@3") == (0..<24).filter { $0 != 3 && $0 != 14 && $0 != 21 })

    // Taken back: that value's rows, of whatever bytes, and no other's.
    let undo = try exclude(lake, ["https://h/0/3", "https://h/never"], "--undo")
    #expect(
      undo.outputText.contains("rule 2 of images: 1 value of meta.url, 2 rows may be found again"), "\(undo.outputText)"
    )
    try lake.succeed(Self.build)
    #expect(try ids(lake, "v@4") == (0..<24).filter { $0 != 14 && $0 != 21 })
    let again = try exclude(lake, ["https://h/0/3"])
    #expect(again.ending == .exit(0), "\(again.errorText)")
    try lake.succeed(Self.build)
    #expect(try ids(lake, "v@5") == (0..<24).filter { $0 != 3 && $0 != 14 && $0 != 21 })
    try lake.succeed(["verify", "--quiet"])
    try lake.succeed(["doctor"])
    let diff = try lake.succeed(["diff", "v@4", "v@5"])
    #expect(diff.outputText.contains("v@5 alone leaves out 1 row of images_0.npy: 3"), "\(diff.outputText)")

    // Who searches among excluded rows alone is told, and not to visit more lists.
    let rows = lake.directory.path + "/rows.txt"
    try Disk.writeAtomically(Array("3\n14\n".utf8), to: rows)
    let none = try lake.run(["search", "v@5", "--like", "0", "--ids", rows])
    #expect(none.ending == .exit(64) && none.errorText.contains("all are excluded or in holes"), "\(none.errorText)")
    let like = try lake.run(["search", "v@5", "--like", "3"])
    #expect(like.ending == .exit(64) && like.errorText.contains("is excluded (case 19)"), "\(like.errorText)")

    // No value of a rule is in the catalog, and its loss is told.
    #expect(!(try lake.succeed(["sql", "SELECT * FROM v_event"]).outputText.contains("https://h/new")))
    let count = "SELECT count(*) || '' FROM v_exclusion WHERE kind = 'exclude'"
    let before = try lake.text(count)
    try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite")
    let rebuilt = try lake.succeed(["rebuild-catalog"])
    #expect(rebuilt.outputText.contains("rules of exclusions"), "\(rebuilt.outputText)")
    // Of the two bytes of the first shard each has its row.
    #expect(try before == "4" && lake.text(count) == before)
  }

  /// Who names a row and a rule that finds it do not take back what the other says.
  @Test func rulesAndNamesHoldEachForThemselves() throws {
    let lake = try lake()
    try lake.succeed(["sync", "meta", "--quiet"])
    let ids = lake.directory.path + "/ids.txt"
    try Disk.writeAtomically(Array("3\n5\n".utf8), to: ids)
    func name(_ options: String...) throws -> String {
      try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "case 17"] + options).outputText
    }
    func excluded() throws -> [String] {
      try lake.texts("SELECT CAST(row AS TEXT) FROM v_exclusion WHERE kind = 'exclude' ORDER BY row")
    }
    let url = ["https://h/0/3", "https://h/0/7"]
    #expect(try exclude(lake, url).ending == .exit(0))
    #expect(try excluded() == ["3", "7"])
    #expect(try name("--dry-run").contains("2 rows of 2 named would be excluded"))
    #expect(try name().contains("2 rows excluded"))
    #expect(try excluded() == ["3", "5", "7"])
    // The rule goes; who named row 3 still means it.
    let undo = try exclude(lake, url, "--undo", "--dry-run")
    #expect(
      undo.outputText.contains("2 values of meta.url would be taken back, 1 row found again"), "\(undo.outputText)")
    _ = try exclude(lake, url, "--undo")
    #expect(try excluded() == ["3", "5"])
    _ = try exclude(lake, url)
    #expect(try excluded() == ["3", "5", "7"])
    // The names go; the rule still finds row 3, and that is told.
    let said = try name("--undo")
    #expect(
      said.contains("2 rows may be found again") && said.contains("1 row of these stays excluded by a rule"), "\(said)")
    #expect(try excluded() == ["3", "7"])
    // A column of numbers and one of flags are compared as JSON has them.
    _ = try exclude(lake, ["5"], column: "meta.n")
    _ = try exclude(lake, ["true"], column: "flag")
    #expect(try lake.text("SELECT count(*) FROM v_exclusion WHERE kind = 'exclude'") == "8")
    try lake.succeed(Self.build)
    #expect(try self.ids(lake, "v@1") == (0..<24).filter { ![1, 3, 5, 7, 10, 14, 18, 22].contains($0) })
    // The companion stays, as its rules do.
    let kept = try lake.run(["source", "remove", "meta"])
    #expect(kept.ending == .exit(64), "\(kept.ending) \(kept.errorText)")
  }

  /// One command brings all that is not here, and more shards come as the companion was registered.
  @Test func whatIsNotHereIsFetchedAtOnce() throws {
    let lake = try lake()
    try lake.succeed(["sync", "meta", "--shards", "0", "--quiet"])
    let made = try exclude(lake, ["https://h/2/4"])
    #expect(made.errorText.contains("`tarn sync meta --shards 1-2` fetches them"), "\(made.errorText)")
    let refused = try lake.run(Self.build)
    #expect(
      refused.ending == .exit(21) && refused.errorText.contains("(and 1 other shard likewise)")
        && refused.errorText.contains("`tarn sync meta --shards 1-2` fetches them"), "\(refused.errorText)")
    try lake.succeed(["sync", "meta", "--shards", "1-2", "--quiet"])
    try lake.succeed(Self.build)
    #expect(try ids(lake, "v@1") == (0..<24).filter { $0 != 21 })
  }

  /// Who reads a rule's answer learns which captions are of the same pairs, also by asking again.
  @Test func allRowsOfTheSamePairsAreTold() throws {
    let lake = try lake()
    try lake.succeed(["sync", "meta", "--quiet"])
    let values = (0..<5).map { "https://h/0/\($0)" }
    let told = try exclude(lake, values).outputText
    #expect(told.contains("captions still has 5 rows of the same pairs, 0, 1, 2 and 2 more: "), "\(told)")
    #expect(
      told.contains("`tarn exclude captions --ids FILE ")
        && told.contains("the same command tells with --json, as `paired`"), "\(told)")
    let again = try #require(JSONValue(parsing: exclude(lake, values, "--json").outputText))
    #expect(again["paired"]?.text == #"[{"ids":[0,1,2,3,4],"source":"captions"}]"#)
  }

  /// Rows with a misaligned companion, and shards that nobody has seen.
  @Test func whatCannotBeLookedAtIsNeverPassedOver() throws {
    let lake = try PairedShards([9, 8], seed: 5).lake(synced: false)
    try write(lake, 0, 9)
    try write(lake, 1, 7)
    try lake.succeed([
      "source", "add", "meta", "--companion-of", "images", "--directory", lake.directory.path + "/meta",
    ])
    try lake.succeed(["sync", "captions", "meta", "--quiet"])
    try lake.succeed(["sync", "images", "--quiet"])
    try lake.succeed(Self.train)
    #expect(try exclude(lake, ["https://h/1/1"]).errorText.contains("7 rows where images_1.npy has 8"))
    let misaligned = try lake.run(Self.build)
    #expect(
      misaligned.ending == .exit(64) && misaligned.errorText.contains("7 rows where images_1.npy has 8"),
      "\(misaligned.ending) \(misaligned.errorText)")
    // A hole needs nothing of its companion.
    try lake.succeed(Self.build + ["--shards", "0"])
    try write(lake, 1, 8)
    try lake.succeed(["sync", "meta", "--refresh", "--quiet"])
    try lake.succeed(Self.build)
    #expect(try ids(lake, "v@2") == (0..<17).filter { $0 != 10 })
    // A companion that is damaged ends it, and says where.
    try Disk.writeAtomically(
      Array("{".utf8), to: lake.lake + "/shards/" + lake.text("SELECT path FROM v_shard WHERE shard = 'm_0.jsonl'"))
    let damaged = try exclude(lake, ["https://h/0/1"])
    #expect(
      damaged.ending == .exit(20) && damaged.errorText.contains("/m_0."), "\(damaged.ending) \(damaged.errorText)")
  }

  /// A member that a file of JSON lines has not is in no row of it, which its pack says, too.
  @Test func aPackOfAllColumnsAnswersForAMemberThatItHasNot() throws {
    let lake = try PairedShards([9, 8], seed: 5).lake()
    try write(lake, 0, 9)
    try write(lake, 1, 8)
    let tagged = (0..<9).map { "{\"n\":\($0),\"tag\":\"t\($0)\"}\n" }.joined()
    try Disk.writeAtomically(Array(tagged.utf8), to: lake.directory.path + "/meta/m_0.jsonl")
    try lake.succeed([
      "source", "add", "meta", "--companion-of", "images", "--directory", lake.directory.path + "/meta",
    ])
    try lake.succeed(["sync", "meta", "--quiet"])
    try lake.succeed(Self.train)
    try lake.succeed(["pack", "meta", "--quiet"])
    try lake.succeed(["evict", "meta", "--quiet"])
    let made = try exclude(lake, ["t3"], column: "tag")
    #expect(made.ending == .exit(0) && made.outputText.contains("1 row excluded"), "\(made.outputText)")
    #expect(!made.errorText.contains("not looked at"), "\(made.errorText)")
    try lake.succeed(Self.build)
    #expect(try ids(lake, "v@1") == (0..<17).filter { $0 != 3 })
  }

  /// The rule is made: who holds the rows is named, and what could not be looked at holds up plans.
  @Test func aCompanionThatIsDamagedHidesNothingOfTheOthers() throws {
    let lake = try lake()
    try lake.succeed(["sync", "meta", "--quiet"])
    try lake.succeed(Self.build)
    try Disk.writeAtomically(
      Array("{".utf8), to: lake.lake + "/shards/" + lake.text("SELECT path FROM v_shard WHERE shard = 'm_1.jsonl'"))
    let made = try exclude(lake, ["https://h/0/3", "https://h/2/4"])
    #expect(
      made.ending == .exit(0) && made.outputText.contains("2 rows excluded")
        && made.outputText.contains("v@1 still has them"), "\(made.outputText)\(made.errorText)")
    #expect(
      made.errorText.contains("1 shard was not looked at yet") && made.errorText.contains("/m_1."), "\(made.errorText)")
    let refused = try lake.run(Self.build)
    #expect(refused.ending == .exit(20) && refused.errorText.contains("/m_1."), "\(refused.errorText)")
  }

  @Test func whatIsNoListOfValuesIsRefused() throws {
    let lake = try lake()
    let file = lake.directory.path + "/values.txt"
    func run(_ bytes: [UInt8], _ column: String = "url") throws -> ProcessResult {
      try Disk.writeAtomically(bytes, to: file)
      return try lake.run(["exclude", "images", "--match", column, "--values", file, "--reason", "r"])
    }
    // Nothing of the only companion is here: the column is believed, and looked at when it comes.
    #expect(try run(Array("a\n".utf8), "typo").ending == .exit(0))
    try lake.succeed(["sync", "meta", "--quiet"])
    for (bytes, said) in [
      ([], "has no value"), (Array("\n \n\r\n".utf8), "has no value"),
      ([0xFF, 0xFE, 0x61, 0], "line 1 is no text of UTF-8"),
      (Array("a\nb".utf8) + [0x0A, 0x61, 0, 0x62], "line 3 is no text of UTF-8"),
      ([UInt8](repeating: 0x61, count: 3 << 20), "line 1 is longer than 1 MiB"),
    ] as [([UInt8], String)] {
      let refused = try run(bytes)
      #expect(refused.ending == .exit(64) && refused.errorText.contains(said), "\(refused.ending) \(refused.errorText)")
    }
    for column in ["uri", "meta.uri", "meta.", "", "other.url"] {
      let refused = try run(Array("a\n".utf8), column)
      #expect(
        refused.ending == .exit(64) && refused.errorText.contains("flag, n, url"), "\(column): \(refused.errorText)")
    }
    let odd = try run([0xEF, 0xBB, 0xBF] + Array("https://h/0/1\r\n\nhttps://h/0/1\n https://h/0/2\n".utf8))
    #expect(odd.outputText.contains("2 values of meta.url, 1 row excluded"), "\(odd.outputText)")
    #expect(
      odd.errorText.contains(
        "1 blank line left out, 1 line said what one before did, 1 value with white space at an end"),
      "\(odd.errorText)")
    for arguments in [
      ["--match", "url", "--reason", "r"], ["--values", file, "--reason", "r"],
      ["--match", "url", "--values", file, "--ids", file, "--reason", "r"],
      ["--match", "url", "--values", file, "--confirm", "--reason", "r"],
      ["--match", "url", "--values", lake.directory.path + "/nothing", "--reason", "r"],
      ["--match", "url", "--values", lake.directory.path, "--reason", "r"],
    ] {
      let refused = try lake.run(["exclude", "images"] + arguments)
      #expect(refused.ending != .exit(0) && !refused.errorText.isEmpty, "\(arguments): \(refused.outputText)")
    }
    // Two companions with a column of that name: which one is said.
    try Disk.makeDirectory(lake.directory.path + "/more")
    for (ordinal, count) in [9, 8, 7].enumerated() {
      try Disk.writeAtomically(
        Array(String(repeating: "{\"url\":\"x\"}\n", count: count).utf8),
        to: "\(lake.directory.path)/more/m_\(ordinal).jsonl")
    }
    try lake.succeed([
      "source", "add", "more", "--companion-of", "images", "--directory", lake.directory.path + "/more",
    ])
    let two = try run(Array("x\n".utf8))
    #expect(two.ending == .exit(64) && two.errorText.contains("meta and more"), "\(two.errorText)")
    // Lines of JSON may lack any member; a rule about one that none has finds nothing.
    #expect(try run(Array("x\n".utf8), "more.url").ending == .exit(0))
  }

  /// Packs and files that say what an excluded row is are holders; what is made from then on says nothing of it.
  @Test func nothingIsSaidOfExcludedRows() throws {
    let lake = try lake()
    try lake.succeed(["sync", "meta", "--quiet"])
    try lake.succeed(["pack", "meta", "--quiet"])
    try lake.succeed(Self.build)
    #expect(try exclude(lake, ["https://h/0/3"]).ending == .exit(0))
    func columns(_ id: Int, _ version: String = "v@1") throws -> (text: String, told: String) {
      let found = try lake.run(["locate", version, "\(id)", "--columns", "url", "--format", "jsonl"])
      return (found.outputText, found.errorText)
    }
    let before = try columns(3)
    #expect(!before.text.contains("https://h/0/3") && before.told.contains("row 3 of v@1 is excluded"), "\(before)")
    #expect(try columns(2).text.contains("https:") && columns(3 + 9).text.contains("https:"))
    let holders = {
      try lake.texts(
        "SELECT kind || ' ' || removed_by FROM v_exclusion_holder WHERE kind IN ('pack', 'companion') ORDER BY kind")
    }
    #expect(try holders() == ["companion tarn evict meta", "pack tarn gc --apply; tarn pack meta"])
    let packed = try lake.succeed(["pack", "meta"])
    #expect(
      packed.outputText.contains("1 shard packed")
        && packed.outputText.contains("nothing is said of 1 row that is excluded"),
      "\(packed.outputText)")
    let old = try lake.texts("SELECT path FROM v_garbage WHERE kind = 'pack'")
    #expect(old.count == 1)
    try lake.succeed(["gc", "--apply", "--grace", "0s", "--quiet"])
    try lake.succeed(["evict", "meta", "--quiet"])
    #expect(try holders().isEmpty)
    #expect(try columns(2).text.contains("https:") && columns(3).text.contains("null"))
    try lake.succeed(["verify", "--quiet"])
    // Taken back, it is null until the companion is here again, and that is told.
    #expect(try exclude(lake, ["https://h/0/3"], "--undo").ending == .exit(0))
    #expect(try columns(3).told.contains("without rows that were excluded then"))
    try lake.succeed(["sync", "meta", "--quiet"])
    #expect(try columns(3).text.contains("https:"))
    try lake.succeed(["pack", "meta", "--quiet"])
    try lake.succeed(["evict", "meta", "--quiet"])
    #expect(try columns(3).text.contains("https:"))
  }

  /// Values that do nothing are named, whether anything was looked at now or before.
  @Test func valuesThatAreInNoRowAreNamed() throws {
    let lake = try lake()
    try lake.succeed(["sync", "meta", "--shards", "0-1", "--quiet"])
    let mistyped = (0..<12).map { "https://h/mistyped/\($0)" }
    let values = ["https://h/0/3", mistyped[0], "https://h/1/4"] + mistyped.dropFirst()
    func unmatched(_ values: [String], _ options: String...) throws -> JSONValue? {
      let file = lake.directory.path + "/values.txt"
      try Disk.writeAtomically(Array(values.map { $0 + "\n" }.joined().utf8), to: file)
      return JSONValue(
        parsing: try lake.succeed(
          ["exclude", "images", "--match", "url", "--values", file, "--reason", "r", "--json"] + options
        ).outputText)?["unmatched"]
    }
    #expect(try unmatched(values, "--dry-run") == .array(mistyped.map { .string($0) }))
    // A shard is not here yet, and may have them.
    let named = mistyped.prefix(10).joined(separator: ", ")
    let told = "12 values are in no row that was looked at: \(named) and 2 more\n"
    #expect(try exclude(lake, values, "--dry-run").outputText.contains(told))
    let made = try exclude(lake, values)
    #expect(made.outputText.contains("14 values of meta.url, 2 rows excluded\n\(told)"), "\(made.outputText)")
    // The rule says it already, and nothing is looked at again.
    let again = try exclude(lake, ["https://h/0/3", mistyped[3], mistyped[3]])
    #expect(
      again.outputText.contains("1 value is in no row that was looked at: \(mistyped[3])\n"), "\(again.outputText)")
    try lake.succeed(["sync", "meta", "--quiet"])
    try lake.succeed(Self.build)
    #expect(try unmatched(values) == .array(mistyped.map { .string($0) }))
    #expect(try !exclude(lake, ["https://h/0/3"]).outputText.contains("in no row"))
    #expect(try exclude(lake, [mistyped[3]]).outputText.contains("1 value is in no row: \(mistyped[3])\n"))
    // Taken back: what no rule says.
    let undo = try exclude(lake, ["https://h/0/3", "https://h/never"], "--undo")
    #expect(undo.outputText.contains("1 value is of no rule: https://h/never\n"), "\(undo.outputText)")
    #expect(try unmatched(["https://h/0/3"], "--undo") == .array([.string("https://h/0/3")]))
  }

  /// Two sources that read arrays of the same files have lists of their own.
  @Test func listsOfOneSourceSayNothingOfAnother() throws {
    let lake = try ArraySources.lake()
    try lake.succeed(["sync", "images", "texts", "--quiet"])
    let file = lake.directory.path + "/ids.txt"
    func exclude(_ source: String, _ id: Int, _ options: String...) throws {
      try Disk.writeAtomically(Array("\(id)\n".utf8), to: file)
      try lake.succeed(["exclude", source, "--ids", file, "--reason", "r"] + options)
    }
    try exclude("images", 3)
    try exclude("texts", 5)
    try exclude("texts", 3)
    try exclude("texts", 3, "--undo")
    #expect(
      try lake.texts("SELECT source || ' ' || row || ' ' || kind FROM v_exclusion ORDER BY source, row")
        == ["images 3 exclude", "texts 3 readmit", "texts 5 exclude"])
  }
}
