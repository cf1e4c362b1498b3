// Rows that are excluded, at the command line: whatever goes, the outputs are those of a lake
// that never had the rows in an index, no other id moves, and what has nothing to lose stays.

import Base
import Catalog
import Foundation
import Indexer
import TestSupport
import Testing

@Suite(.tags(.slow)) struct ExcludeCommandTests {
  private static let train = [
    "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
  ]
  private static let build = [
    "build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet",
  ]

  private func exclude(_ lake: LakeFixture, _ ids: [Int], _ options: String...) throws -> ProcessResult {
    let file = lake.directory.path + "/ids.txt"
    try ids.map { "\($0)\n" }.joined().write(toFile: file, atomically: true, encoding: .utf8)
    return try lake.run(["exclude", "images", "--ids", file, "--reason", "case 17"] + options)
  }

  private func outputs(_ lake: LakeFixture, _ version: String) throws -> [String] {
    try lake.texts("SELECT sha256 || ' ' || rows FROM v_output_shard WHERE version = '\(version)' ORDER BY output")
  }

  /// A version that was planned before rows were excluded has them once it is sealed: who excludes is told, and who seals.
  @Test func aVersionThatWasPlannedBeforeIsToldOf() throws {
    let lake = try PairedShards([20, 20], seed: 21).lake()
    try lake.succeed(Self.train)
    let tasks = lake.directory.path + "/tasks"
    try lake.succeed(["plan"] + Self.build + ["--tasks", tasks])
    let told = try exclude(lake, [3]).outputText
    #expect(told.contains("v@1 is not finished, and may have been planned with them: `tarn abandon v@1`"), "\(told)")
    try lake.succeed(["worker", tasks, "--task", "0", "--scratch", lake.directory.path, "--quiet"])
    let warned = try lake.succeed(["ingest", tasks]).errorText
    #expect(warned.contains("what was sealed has 1 row of v@1 that was excluded since it was planned"), "\(warned)")
    // What is begun now has none, and nobody is told anything.
    let next = try lake.succeed(Self.build).errorText
    #expect(!next.contains("excluded since"), "\(next)")
    #expect(!(try exclude(lake, [4]).outputText.contains("is not finished")))
  }

  /// A shard that is replaced by a shorter one moves the ids behind it: who builds is told, and who names ids of before.
  @Test func idsOfBeforeAreOtherRowsAndItIsSaid() throws {
    let lake = try PairedShards([20, 20], seed: 21).lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    #expect(!(try exclude(lake, [22], "--dry-run").errorText.contains("another row")))
    try Data(FeatureBytes.npy(17, dimension: PairedShards.dimension, .float16, seed: 5)).write(
      to: URL(fileURLWithPath: lake.directory.path + "/images/images_0.npy"))
    try lake.succeed(["sync", "images", "--refresh", "--replace", "--quiet"])
    let build = Self.build.filter { $0 != "--quiet" }
    let warning = "the rows of 1 shard, images_1.npy first, have other ids than in v@1"
    for arguments in [build + ["--dry-run"], build] {
      let built = try lake.succeed(arguments).errorText
      #expect(built.contains(warning), "\(built)")
    }
    let told = try exclude(lake, [22], "--dry-run").errorText
    #expect(told.contains("1 id named is of another row in sealed versions"), "\(told)")
    #expect(told.contains("22 is row 2 of images_1.npy in v@1, which is 19 now"), "\(told)")
    // Those before are what they were, and the row that is taken out is the one that the id is now.
    #expect(!(try exclude(lake, [3], "--dry-run").errorText.contains("another row")))
    let again = try exclude(lake, [22, 36], "--json").outputText
    let moved = try #require(JSONValue(parsing: again)?["moved"]?.elements, "\(again)")
    #expect(moved.compactMap { $0["id_now"]?.integer } == [19, 33])
    #expect(try lake.texts("SELECT row || '' FROM v_exclusion ORDER BY row") == ["5", "19"])
  }

  /// Rows lie beside tasks, in directories that somebody named: what is left of them there is said as long as it is.
  @Test func whatLiesBesideTasksIsNamed() throws {
    let lake = try PairedShards([20, 20], seed: 21).lake()
    let (training, building) = (lake.directory.path + "/training", lake.directory.path + "/building")
    try lake.succeed(["plan"] + Self.train + ["--tasks", training])
    func line(_ folder: String, _ subject: String) -> String {
      "\(folder) may have rows, for the tasks of \(subject): remove it when no worker needs it any more"
    }
    let drawn = line(training + "/matrices", "t")
    let told = try exclude(lake, [3]).outputText
    #expect(told.contains(drawn), "\(told)")
    let program = try exclude(lake, [3], "--json").outputText
    let named = try #require(JSONValue(parsing: program)?["tasks"]?.elements.first, "\(program)")
    #expect(named["of"]?.string == "t" && named["folders"]?.elements.map(\.string) == [training + "/matrices"])
    // Another place is kept, too, and each once.
    for _ in 0..<2 { try lake.succeed(["plan"] + Self.train + ["--tasks", lake.directory.path + "/again"]) }
    #expect(try lake.texts("SELECT verb FROM event WHERE verb = 'tasks' AND subject = 't'").count == 2)
    let abandoned = try lake.succeed(["abandon", "t"]).outputText
    #expect(abandoned.contains(drawn), "\(abandoned)")

    try lake.succeed(Self.train)
    try lake.succeed(["plan"] + Self.build + ["--tasks", building])
    try lake.succeed(["worker", building, "--task", "0", "--scratch", lake.directory.path, "--quiet"])
    try FileManager.default.removeItem(atPath: training)
    let after = try exclude(lake, [4]).outputText
    #expect(after.contains(line(building + "/results", "v@1")) && !after.contains(drawn), "\(after)")
    // What was taken in is gone from there.
    try lake.succeed(["ingest", building])
    let sealed = try exclude(lake, [5]).outputText
    #expect(!sealed.contains(building), "\(sealed)")
  }

  /// Where a shard that was not trained on is longer on one side, an id of the one source is another row of the other.
  @Test func rowsOfAPairAreNamedByTheIdsThatTheyHave() throws {
    var shards = PairedShards([20, 20], seed: 21)
    shards.captions[0] = FeatureBytes.npy(21, dimension: PairedShards.dimension, .float32, seed: 77)
    let lake = try shards.lake()
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--shards", "1", "--nlist", "2", "--iterations",
      "2", "--quiet",
    ])
    let told = try exclude(lake, [22]).outputText
    #expect(told.contains("captions still has 1 row of the same pairs, 23: they have other ids there"), "\(told)")
    let again = try exclude(lake, [22], "--json").outputText
    let named = try #require(JSONValue(parsing: again)?["paired"]?.elements.first, "\(again)")
    #expect(named["source"]?.string == "captions")
    #expect(named["ids"]?.elements.compactMap(\.integer) == [23])
    let file = lake.directory.path + "/captions.txt"
    try "23\n".write(toFile: file, atomically: true, encoding: .utf8)
    try lake.succeed(["exclude", "captions", "--ids", file, "--reason", "case 17"])
    #expect(try lake.text("SELECT row FROM v_exclusion WHERE source = 'captions'") == "2")
  }

  /// Rows of pairs that an earlier list took out are not in the file of this one, which is no way to exclude them then.
  @Test func aFileThatNamesNotAllIsNoWay() throws {
    let lake = try PairedShards([20, 20], seed: 21).lake()
    try lake.succeed(Self.train)
    #expect(
      try exclude(lake, [3]).outputText.contains(
        "captions still has 1 row of the same pairs, 3: `tarn exclude captions --ids /"))
    let told = try exclude(lake, [5]).outputText
    #expect(told.contains("captions still has 2 rows of the same pairs, 3, 5: "), "\(told)")
    #expect(told.contains("`tarn exclude captions --ids FILE --reason TEXT`, with the ids that"), "\(told)")
  }

  /// No training draws what is excluded on either side, and none that was begun goes on with it; what was trained before
  /// is what it was, and can be trained again.
  @Test func noTrainingDrawsWhatIsExcluded() throws {
    let shards = PairedShards([20, 20, 20], seed: 21)
    let lake = try shards.lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    let before = try lake.text("SELECT sha256 FROM trained_index WHERE name = 't'")
    let document = lake.directory.path + "/v.json"
    try lake.succeed(["export", "v@1"]).outputText.write(toFile: document, atomically: true, encoding: .utf8)
    // One that was killed.
    let other = Self.train.map { $0 == "t" ? "u" : $0 } + ["--seed", "5"]
    try lake.kill(other)
    let told = try exclude(lake, [7, 41]).outputText
    let paired = "captions still has 2 rows of the same pairs, 7, 41: `tarn exclude captions --ids "
    #expect(told.contains(paired) && told.contains("the training of u is not finished"), "\(told)")
    #expect(!(try exclude(lake, [8], "--dry-run").outputText.contains("captions still has")))
    let file = lake.directory.path + "/captions.txt"
    try "50\n".write(toFile: file, atomically: true, encoding: .utf8)
    try lake.succeed(["exclude", "captions", "--ids", file, "--reason", "case 17"])
    try lake.succeed(other)
    let spec = try #require(JSONValue(parsing: lake.text("SELECT spec FROM trained_index WHERE name = 'u'")))
    #expect(spec["left_out"]?.text == #"[{"rows":[7],"shard":0},{"rows":[1,10],"shard":2}]"#)
    // It has the bytes of a training on shards that never had those rows.
    let kept: [[UInt32]] = [
      (0..<20).filter { $0 != 7 }, (0..<20).filter { _ in true }, (0..<20).filter { $0 != 1 && $0 != 10 },
    ]
    let without = try shards.rows(kept).lake()
    try without.succeed(other)
    let sameBytes = "SELECT sha256 FROM trained_index WHERE name = 'u'"
    #expect(try lake.text(sameBytes) == without.text(sameBytes))
    // What is there is told, and made again from its document as it was.
    let again = try lake.run(Self.train)
    #expect(again.ending == .exit(0) && again.errorText.contains("t was trained with 3 rows of what is excluded now"))
    #expect(try lake.text("SELECT sha256 FROM trained_index WHERE name = 't'") == before)
    let elsewhere = try LakeFixture.make(.empty)
    try elsewhere.succeed(["reproduce", "--from", document, "--allow-inside", "--quiet"])
    #expect(try elsewhere.text("SELECT sha256 FROM trained_index WHERE name = 't'") == before)
  }

  /// The ids that the outputs of a version hold.
  private func ids(_ lake: LakeFixture, _ version: String) throws -> [Int64] {
    try lake.texts("SELECT file FROM v_output_shard WHERE version = '\(version)' ORDER BY output").flatMap { file in
      let output = try OutputShardFile(path: "\(lake.lake)/versions/\(version)/\(file.lastPathPart)")
      return try (0..<output.trained.nlist).flatMap { try output.contents(ofList: $0).ids }.sorted()
    }
  }

  @Test(arguments: 0..<UInt64(TestRounds.isFull ? 12 : 3)) func whatIsBuiltHasAllButTheExcluded(seed: UInt64) throws {
    var random = SplitMix64(seed: 91 + seed)
    let rowCounts = (0..<6).map { _ in 5 + Int(random.next() % 14) }
    let total = rowCounts.reduce(0, +)
    // Of the first two outputs at most, so that one has nothing to lose.
    let below = rowCounts[..<4].reduce(0, +)
    let gone = (0..<below).filter { _ in random.next() % 100 < 12 } + [Int(random.next() % UInt64(below))]
    let shards = PairedShards(rowCounts, seed: 40 + seed)
    let lake = try shards.lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    let before = try outputs(lake, "v@1")
    // Without the shards and without their segments.
    try lake.succeed(["gc", "--apply", "--segments", "--grace", "0s", "--quiet"])
    try lake.evict("images", Array(0..<6))
    let transfers = try lake.transferCount()
    let told = try exclude(lake, gone)
    #expect(told.outputText.contains("v@1 still has them"), "\(told.outputText)\(told.errorText)")
    #expect(try exclude(lake, gone).outputText == "images: the lists say that already\n")
    try lake.succeed(Self.build)
    #expect(try lake.transferCount() == transfers)

    // By brute force.
    #expect(try ids(lake, "v@1") == (0..<Int64(total)).map(\.self))
    #expect(try ids(lake, "v@2") == (0..<Int64(total)).filter { !gone.contains(Int($0)) })
    let after = try outputs(lake, "v@2")
    var start = 0
    for output in 0..<3 {
      let end = start + rowCounts[2 * output] + rowCounts[2 * output + 1]
      #expect((before[output] == after[output]) == !gone.contains { (start..<end).contains($0) })
      start = end
    }
    for id in [gone[0], (0..<total).first { !gone.contains($0) } ?? 0] {
      let located = try lake.run(["locate", "v@2", "\(id)"])
      #expect(
        gone.contains(id) ? located.errorText.contains("is excluded (case 17)") : located.ending == .exit(0),
        "\(located.errorText)")
    }
    #expect(
      try lake.texts("SELECT DISTINCT live_versions FROM v_exclusion") == ["1"], "v@1 alone has them")
    try lake.succeed(["verify", "--quiet"])
    try lake.succeed(["doctor"])

    // From the originals, in a lake that never built with them: here, and as tasks.
    for asTasks in [false, true] {
      let other = try shards.lake()
      try other.succeed(["sync", "--quiet"])
      // A training does not draw what is excluded: this one is the other lake's.
      try other.succeed(Self.train)
      _ = try exclude(other, gone)
      if asTasks {
        try other.succeed(["plan"] + Self.build + ["--tasks", other.lake + "/tasks"])
        for task in 0..<3 {
          try other.succeed([
            "worker", other.lake + "/tasks", "--task", "\(task)", "--scratch", other.directory.path, "--patience", "0",
          ])
        }
        try other.succeed(["ingest", other.lake + "/tasks", "--quiet"])
      } else {
        try other.succeed(Self.build)
      }
      #expect(try outputs(other, "v@1") == after)
      #expect(try other.texts("SELECT DISTINCT live_versions FROM v_exclusion") == ["0"])
    }

    // Elsewhere, and after the catalog was lost.
    let document = lake.directory.path + "/v.json"
    try lake.succeed(["export", "v@2"]).outputText.write(toFile: document, atomically: true, encoding: .utf8)
    let elsewhere = try LakeFixture.nothing()
    try elsewhere.succeed(["init", elsewhere.lake])
    try elsewhere.succeed(["reproduce", "--from", document, "--allow-inside", "--patience", "0"])
    #expect(try outputs(elsewhere, "v@1") == after)
    #expect(try elsewhere.text("SELECT count(*) FROM v_exclusion") == "\(Set(gone).count)")
    let digests = try lake.texts("SELECT sha256 FROM v_version ORDER BY version")
    try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite")
    try lake.succeed(["rebuild-catalog", "--quiet"])
    #expect(try lake.texts("SELECT sha256 FROM v_version ORDER BY version") == digests)
    #expect(try lake.text("SELECT count(*) FROM v_exclusion WHERE kind = 'exclude'") == "\(Set(gone).count)")

    // A mistake is answered; what comes of it is what there was.
    #expect(try exclude(lake, gone, "--undo").outputText.contains("may be found again"))
    // The newest is what a name means: the old one is not left behind one without the rows.
    try lake.succeed(Self.build)
    #expect(try outputs(lake, "v@3") == before)
    try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite")
    try lake.succeed(["rebuild-catalog", "--quiet"])
    #expect(try lake.text("SELECT count(*) FROM v_exclusion WHERE kind = 'exclude'") == "0")
    try lake.succeed(Self.build)
    #expect(try lake.text("SELECT count(*) FROM v_version") == "3")
    try lake.succeed(["verify", "--quiet"])
  }

  @Test func otherBytesWantAWordAndNoCodeStays() throws {
    var shards = PairedShards([9, 8, 7, 6], seed: 5)
    let lake = try shards.lake()
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    _ = try exclude(lake, [3, 20])
    try lake.succeed(Self.build)
    // What holds the rows is named with what takes it away, until nothing does.
    #expect(
      Set(try lake.texts("SELECT DISTINCT kind FROM v_exclusion_holder")) == ["version", "segment", "shard"])
    try lake.succeed(["revoke", "v@1", "--reason", "case 17"])
    try lake.succeed(["gc", "--apply", "--segments", "--grace", "0s", "--quiet"])
    try lake.succeed(["evict", "images"])
    #expect(try lake.texts("SELECT DISTINCT kind FROM v_exclusion_holder") == [])
    try lake.succeed(["verify", "--quiet"])

    // Other bytes under the same name.
    shards.images[0] = FeatureBytes.npy(9, dimension: PairedShards.dimension, .float16, seed: 999)
    try Data(shards.images[0]).write(to: URL(fileURLWithPath: lake.directory.path + "/images/images_0.npy"))
    try lake.succeed(["sync", "images", "--quiet"])
    let refused = try lake.run(Self.build)
    #expect(
      refused.ending == .exit(64) && refused.errorText.contains("tarn exclude images --confirm"),
      "\(refused.errorText)")
    let confirmed = try lake.succeed(["exclude", "images", "--confirm", "--reason", "the same picture"])
    #expect(confirmed.outputText.contains("1 row excluded"), "\(confirmed.outputText)")
    try lake.succeed(Self.build)
    #expect(try ids(lake, "v@3") == (0..<30).filter { $0 != 3 && $0 != 20 })
    // Nothing but these two rows, and the history says why.
    #expect(
      try lake.texts("SELECT json_extract(detail, '$.reason') FROM v_event WHERE verb = 'excluded' ORDER BY seq")
        == ["case 17", "the same picture"])
    // A mistake is answered whichever bytes it was of.
    #expect(try exclude(lake, [3], "--undo").outputText.contains("2 rows may be found again"))
    try lake.succeed(Self.build)
    #expect(try ids(lake, "v@4") == (0..<30).filter { $0 != 20 })
  }

  @Test func whatIsNoRowIsRefused() throws {
    let lake = try PairedShards([9, 8], seed: 5).lake(synced: false)
    let unseen = try exclude(lake, [3])
    #expect(unseen.ending == .exit(64), "\(unseen.errorText)")
    try lake.succeed(["sync", "--quiet"])
    for ids in [[17], []] {
      let refused = try exclude(lake, ids)
      #expect(refused.ending == .exit(64), "\(refused.errorText)")
    }
    for arguments in [
      ["--ids", "x", "--confirm", "--reason", "r"], ["--reason", "r"], ["--ids", "-", "--reason", " "],
    ] {
      #expect(try lake.run(["exclude", "images"] + arguments).ending == .exit(64))
    }
    #expect(try lake.text("SELECT count(*) FROM v_exclusion") == "0")
  }
}
