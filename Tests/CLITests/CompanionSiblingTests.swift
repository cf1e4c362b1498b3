// Several companions beside one source, and several sources of the files beside which one
// stands: each is asked for what it has, and none is in another's way.

import Base
import Catalog
import Foundation
import TestSupport
import Testing

@Suite struct CompanionSiblingTests {
  /// Registers a companion of files with these texts and fetches it.
  @discardableResult
  private func add(
    _ name: String, of owner: String, to lake: LakeFixture, _ kind: String, _ texts: [String]
  ) throws -> ProcessResult {
    let directory = "\(lake.directory.path)/\(name)"
    try Disk.makeDirectory(directory)
    for (ordinal, text) in texts.enumerated() {
      try Disk.writeAtomically(Array(text.utf8), to: "\(directory)/\(name)_\(ordinal).\(kind)")
    }
    let added = try lake.succeed(["source", "add", name, "--companion-of", owner, "--directory", directory])
    try lake.succeed(["sync", name])
    return added
  }

  /// Lines of CSV for 20 rows of a shard: their numbers below each column.
  private func csv(_ header: String, _ ordinal: Int) -> String {
    let count = header.split(separator: ",").count
    return header + "\n"
      + (0..<FeatureSources.rowCount).map { row in
        (0..<count).map { "\(ordinal):\(row):\($0)" }.joined(separator: ",") + "\n"
      }.joined()
  }

  private func locate(_ lake: LakeFixture, _ version: String, _ id: Int, _ columns: String) throws -> ProcessResult {
    try lake.run(["locate", version, "\(id)", "--columns", columns, "--format", "csv"])
  }

  /// A column of lists is there and not read: who asks for it asked for what cannot be, and is told of which companion.
  @Test func aColumnThatIsNotReadIsNoDamage() throws {
    let lake = try LakeFixture.make(.built)
    let directory = lake.directory.path + "/faces"
    try Disk.makeDirectory(directory)
    for ordinal in 0..<FeatureSources.shardCount {
      let boxes = ParquetMaker.lists([Float](repeating: 0.5, count: 2 * FeatureSources.rowCount), dimension: 2)
      try Disk.writeAtomically(boxes.file(), to: "\(directory)/faces_\(ordinal).parquet")
    }
    try lake.succeed(["source", "add", "faces", "--companion-of", "images", "--directory", directory])
    try lake.succeed(["sync", "faces", "--quiet"])
    for arguments in [
      ["locate", "v@1", "3", "--columns", "emb"], ["locate", "v@1", "3", "--columns", "faces.emb"],
      ["search", "v@1", "--like", "3", "--columns", "emb"], ["search", "v@1", "--like", "3", "--where", "emb = 1"],
      ["serve", "--listen", "127.0.0.1:0", "--columns", "emb"],
    ] {
      let result = try lake.run(arguments)
      #expect(result.ending == .exit(64), "\(arguments): \(result.errorText)")
      let line = result.errorLines.last ?? ""
      #expect(line.contains("of faces is not read: it is a list"), "\(arguments): \(line)")
      #expect(line.contains("a flat column of numbers or texts") && !line.contains(lake.lake), "\(line)")
    }
  }

  @Test(arguments: [
    ["--files-of", "images", "--array", "l14_txt"], ["--dimension", "8"], ["--dtype", "float16"], ["--array", "x"],
    ["--modality", "text"], ["--modality", "other"],
  ])
  func aCompanionHasNothingOfFeatures(options: [String]) throws {
    let lake = try ArraySources.lake()
    let place = options[0] == "--files-of" ? [] : ["--url", "file:///nowhere/m_{ordinal}.csv"]
    let result = try lake.run(["source", "add", "m", "--companion-of", "images"] + place + options)
    #expect(result.ending == .exit(64) && result.errorText.contains("companion"), "\(result.errorText)")
    #expect(try lake.texts("SELECT source FROM v_source WHERE source = 'm'").isEmpty)
  }

  @Test func itBelongsToTheFilesAndEverySourceOfThemShowsIt() throws {
    let lake = try ArraySources.lake()
    try lake.succeed(["sync", "--quiet"])
    let texts = (0..<3).map { csv("a,b", $0) }
    let added = try add("mj", of: "texts", to: lake, "csv", texts)
    #expect(added.outputText.contains("beside images, whose files texts reads"), "\(added.outputText)")
    try lake.succeed(ArraySources.training)
    for (name, source) in [("v", "images"), ("w", "texts")] {
      try lake.succeed(["build", name, "--trained", "t", "--images", source, "--quiet"])
      let found = try locate(lake, "\(name)@1", 25, "a,mj.b")
      #expect(found.ending == .exit(0) && found.outputText.contains("1:5:0,1:5:1"), "\(found.errorText)")
      let searched = try lake.succeed(["search", "\(name)@1", "--like", "5", "-k", "1", "--columns", "a", "--json"])
      #expect(searched.outputText.contains("\"a\":\"0:"), "\(searched.outputText)")
      let asked = try lake.succeed([
        "search", "\(name)@1", "--like", "5", "-k", "1", "--where", "a = '2:3:0'", "--json",
      ])
      #expect(asked.outputText.contains("[43]"), "\(asked.outputText)")
      #expect(try lake.succeed(["source", "show", source]).outputText.contains("companion: mj"))
    }
    try lake.succeed(["pack", "mj"])

    // What must go of one reader's rows is said of no reader's, and who still says it is named.
    let rows = lake.directory.path + "/rows.txt"
    try Disk.writeAtomically(Array("25\n".utf8), to: rows)
    try lake.succeed(["exclude", "texts", "--ids", rows, "--reason", "case 20"])
    for name in ["v@1", "w@1"] {
      let found = try locate(lake, name, 25, "a")
      #expect(!found.outputText.contains("1:5:0") && found.errorText.contains("is excluded"), "\(found.outputText)")
    }
    let holders =
      "SELECT kind FROM v_exclusion_holder WHERE source = 'texts' AND kind IN ('pack', 'companion') ORDER BY kind"
    #expect(try lake.texts(holders) == ["companion", "pack"])
    try lake.succeed(["gc", "--apply", "--grace", "0s"])
    try lake.succeed(["pack", "mj"])
    try lake.succeed(["evict", "mj"])
    #expect(try lake.texts(holders).isEmpty)

  }

  /// A rule is about the rows of the source that it was made of, whichever has the files.
  @Test func aRuleOfOneReaderIsNoOthers() throws {
    let lake = try ArraySources.lake()
    try lake.succeed(["sync", "--quiet"])
    try add("mj", of: "texts", to: lake, "csv", (0..<3).map { csv("a,b", $0) })
    try lake.succeed(ArraySources.training)
    let values = lake.directory.path + "/values.txt"
    try Disk.writeAtomically(Array("0:1:0\n".utf8), to: values)
    func exclude(_ source: String, _ more: String...) throws -> String {
      try lake.succeed(["exclude", source, "--match", "a", "--values", values, "--reason", "case 20"] + more).outputText
    }
    func build(_ name: String, _ source: String) throws -> String {
      try lake.succeed(["build", name, "--trained", "t", "--images", source]).outputText
    }
    func inForce(_ source: String) throws -> [String] {
      try lake.texts("SELECT DISTINCT row || '' FROM v_exclusion_entry WHERE source = '\(source)' AND is_in_force = 1")
    }
    for (name, source) in [("v", "images"), ("w", "texts")] { _ = try build(name, source) }
    #expect(try exclude("texts", "--dry-run").contains("1 row"))
    #expect(try exclude("texts").contains("1 row"))
    #expect(try lake.texts("SELECT source FROM v_exclusion_rule") == ["texts"])
    // Nothing is said of the row any more, and it is left out of the one source's next version alone.
    for name in ["v@1", "w@1"] { #expect(!(try locate(lake, name, 1, "a").outputText.contains("0:1:0"))) }
    #expect(try build("v", "images").contains("v@1 was sealed before"))
    #expect(try build("w", "texts").contains("w@2 is sealed"))
    #expect(try lake.run(["locate", "w@2", "1"]).errorText.contains("is excluded (case 20)"))
    #expect(try inForce("texts") == ["1"] && inForce("images").isEmpty)
    // The owner's own rule of the same value, and either taken back, change nothing of the other.
    #expect(try exclude("images").contains("1 row"))
    #expect(try inForce("texts") == ["1"] && inForce("images") == ["1"])
    _ = try exclude("texts", "--undo")
    #expect(try inForce("texts").isEmpty && inForce("images") == ["1"])
    #expect(try build("v", "images").contains("v@2 is sealed"))
    #expect(try build("w", "texts").contains("w@3 is sealed"))
    #expect(try lake.run(["locate", "w@3", "1"]).ending == .exit(0))
    _ = try exclude("texts")
    _ = try exclude("images", "--undo")
    #expect(try inForce("texts") == ["1"] && inForce("images").isEmpty)
    try lake.succeed(["doctor"])
  }

  @Test func oneThatCannotBeReadIsInNobodysWay() throws {
    let lake = try LakeFixture.make(.built)
    let good = (0..<2).map { csv("a,x", $0) }
    let bad = (0..<2).map { csv("a,\"a\"a", $0) }
    try add("bad", of: "images", to: lake, "csv", bad)
    try add("other", of: "images", to: lake, "csv", good)
    // By the name of the companion no other one is needed, nor spoken of.
    let named = try locate(lake, "v@1", 1, "other.a,other.x")
    #expect(named.ending == .exit(0) && named.outputText.contains("0:1:0,0:1:1"), "\(named.errorText)")
    #expect(!named.errorText.contains("bad"), "\(named.errorText)")
    // Without one the others are told of.
    let any = try locate(lake, "v@1", 1, "x")
    #expect(any.ending == .exit(0) && any.outputText.contains("0:1:1"), "\(any.errorText)")
    #expect(any.errorText.contains("bad is passed over"), "\(any.errorText)")
    // What it alone may have is refused.
    for columns in ["bad.a", "y", "x,y"] {
      let refused = try locate(lake, "v@1", 1, columns)
      #expect(refused.ending == .exit(20), "\(columns): \(refused.errorText)")
      #expect(
        refused.errorText.contains("quote within a field") && !refused.errorText.contains("passed over"),
        "\(refused.errorText)")
    }
    let none = try locate(lake, "v@1", 1, "other.y")
    #expect(none.ending == .exit(64) && none.errorText.contains("'other.y'"), "\(none.errorText)")

    func search(_ condition: String) throws -> ProcessResult {
      try lake.run(["search", "v@1", "--like", "5", "-k", "1", "--where", condition, "--json"])
    }
    let one = try search("other.x = '1:2:1'")
    #expect(one.outputText.contains("[22]") && !one.errorText.contains("bad"), "\(one.outputText)\(one.errorText)")
    let unnamed = try search("x = '1:2:1'")
    #expect(unnamed.outputText.contains("[22]") && unnamed.errorText.contains("bad is passed over"))
    #expect(try search("bad.a = '1'").ending == .exit(20))

    try lake.succeed(["pack", "other"])
    #expect(try locate(lake, "v@1", 1, "other.a").outputText.contains("0:1:0"))
    let values = lake.directory.path + "/values.txt"
    try Disk.writeAtomically(Array("0:3:1\n".utf8), to: values)
    func exclude(_ column: String) throws -> ProcessResult {
      try lake.run(["exclude", "images", "--match", column, "--values", values, "--reason", "case 20", "--dry-run"])
    }
    #expect(try exclude("other.x").outputText.contains("1 row excluded"))
    let unsure = try exclude("x")
    #expect(unsure.ending == .exit(64) && unsure.errorText.contains("--match other.x"), "\(unsure.errorText)")
    #expect(try exclude("bad.a").ending == .exit(20))
  }

  /// What is named as a companion's is asked of that one, and of others where it says that it has not.
  @Test func nobodyIsOpenedForWhatIsAnothers() throws {
    let lake = try LakeFixture.make(.built)
    try add("meta", of: "images", to: lake, "csv", (0..<2).map { csv("a,b", $0) })
    try add("other", of: "images", to: lake, "csv", (0..<2).map { csv("c,meta.z", $0) })
    let search = ["search", "v@1", "--like", "5", "-k", "1", "--json", "--where"]
    #expect(try locate(lake, "v@1", 1, "meta.z").outputText.contains("0:1:1"))
    #expect(try lake.succeed(search + ["meta.z = '1:2:1'"]).outputText.contains("[22]"))
    try lake.succeed(["evict", "meta"])
    let absent = try locate(lake, "v@1", 1, "meta.z,meta.a")
    #expect(absent.ending == .exit(0) && absent.errorText.contains("of meta is not in the lake"), "\(absent.errorText)")
    #expect(!absent.errorText.contains("other has") && !absent.outputText.contains("0:1:1"), "\(absent.errorText)")
    let none = try lake.succeed(search + ["meta.z IS NOT NULL"])
    #expect(none.errorText.contains("of meta is not in the lake"), "\(none.errorText)")
    #expect(!none.errorText.contains("other has"), "\(none.errorText)")
  }

  @Test func aNameWithACommaIsWrittenInQuotes() throws {
    let lake = try LakeFixture.make(.built)
    let texts = (0..<2).map { ordinal in
      "\"c,d\",\"q\"\"r\",\"\"\"s\",url,caption\n"
        + (0..<FeatureSources.rowCount).map { "\(ordinal)-\($0),q\($0),s\($0),u,w\n" }.joined()
    }
    try add("meta", of: "images", to: lake, "csv", texts)
    for isPacked in [false, true] {
      if isPacked { try lake.succeed(["pack", "meta", "--columns", "\"c,d\",q\"r,\"\"\"s\""]) }
      let found = try locate(lake, "v@1", 21, "\"c,d\",q\"r,\"meta.\"\"s\"")
      #expect(found.ending == .exit(0) && found.outputText.contains("1-1,q1,"), "\(found.errorText)")
    }
    let unknown = try locate(lake, "v@1", 21, "zz")
    #expect(unknown.ending == .exit(64) && unknown.errorText.contains("\"c,d\""), "\(unknown.errorText)")
    let asked = ["search", "v@1", "--like", "21", "-k", "2", "--columns", "\"c,d\"", "--json"]
    #expect(try lake.succeed(asked).outputText.contains("\"c,d\":\""))
    try lake.succeed([
      "export", "v@1", "--format", "clip-retrieval", "--into", lake.directory.path + "/clip", "--columns",
      "\"c,d\",url",
    ])
    for columns in ["\"c,d", "\"c,d\"x", "c,d,c"] {
      let refused = try locate(lake, "v@1", 21, columns)
      #expect(refused.ending == .exit(64) && refused.errorText.contains("--columns"), "\(refused.errorText)")
    }
    #expect(try lake.run(["pack", "meta", "--columns", "a,,b"]).ending == .exit(64))
  }

  @Test func shardsOfEqualBytesArePackedAsMany() throws {
    let lake = try LakeFixture.make(.built)
    try add("same", of: "images", to: lake, "csv", [csv("a", 0), csv("a", 0)])
    #expect(try lake.succeed(["pack", "same"]).outputText.hasPrefix("2 shards packed"))
    let again = try lake.succeed(["pack", "same"])
    #expect(again.outputText.contains("0 shards packed (0 B), 2 had packs already"), "\(again.outputText)")
  }
}
