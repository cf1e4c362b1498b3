// `abandon`, `remove` and `rename`, and what is checked before work begins: roles of
// sources, dimensions, options that exclude each other, names without a number.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct WaysBackCommandTests {
  private func expectFailure(
    _ result: ProcessResult, _ status: Int32, _ parts: String..., location: SourceLocation = #_sourceLocation
  ) {
    #expect(result.ending == .exit(status), "\(result.errorText)", sourceLocation: location)
    for part in parts {
      #expect(result.errorText.contains(part), "'\(part)' is not in \(result.errorText)", sourceLocation: location)
    }
  }

  private func queries(_ lake: LakeFixture, dimension: Int = FeatureSources.dimension) throws -> String {
    let path = lake.directory.path + "/queries-\(dimension).npy"
    try Data(FeatureBytes.npy(3, dimension: dimension, seed: 9)).write(to: URL(fileURLWithPath: path))
    return path
  }

  private func train(_ name: String, images: String, captions: String, _ options: String...) -> [String] {
    [
      "train", name, "--images", images, "--captions", captions, "--nlist", "3", "--iterations", "2", "--quiet",
    ] + options
  }

  // MARK: Ways back

  @Test func aKilledBuildIsAbandonedAndTheNextOneSucceeds() throws {
    let lake = try LakeFixture.unfinished(.built)
    let said = try lake.succeed(["doctor"]).outputText
    #expect(said.contains("`tarn build` continues it, `tarn abandon v@1` gives it up"))
    #expect(try lake.succeed(["abandon", "v@1"]).outputText == "v@1 is abandoned\n")
    #expect(try lake.succeed(["abandon", "v@1"]).outputText == "v@1 was abandoned before\n")
    #expect(try !lake.succeed(["doctor"]).outputText.contains("v@1"))
    try lake.succeed(["gc", "--apply", "--segments", "--grace", "0s"])
    let left = "SELECT count(*) FROM stored_bytes WHERE kind IN ('segment', 'output-shard') AND state = 'present'"
    #expect(try lake.text(left) == "0")
    for arguments in LakeStage.built.arguments(try LakeFixture.sources()) { try lake.succeed(arguments) }
    #expect(try lake.text("SELECT group_concat(version || ' ' || state) FROM v_version") == "v@1 abandoned,v@2 sealed")
    try lake.succeed(["verify"])
    expectFailure(try lake.run(["abandon", "v@2"]), 64, "v@2 is sealed", "tarn revoke v@2")
  }

  /// A build that failed keeps its number, which a build with other options does not go on with.
  @Test func anUnfinishedLowerNumberIsToldOnce() throws {
    var shards = PairedShards([20, 20], seed: 3)
    shards.spoil(3, of: 1, isImage: true, with: 0xFF)
    let lake = try shards.lake()
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
      "--bad-rows", "skip",
    ])
    let build = ["build", "n", "--trained", "t", "--images", "images"]
    let failed = try lake.run(build)
    #expect(failed.ending != .exit(0) && !failed.errorText.contains("unfinished"), "\(failed.errorText)")
    let before = try lake.copy()
    let skipping = try lake.succeed(build + ["--bad-rows", "skip"])
    let words = "tarn: warning: n@1 is unfinished, begun with other options, shards or excluded rows than n@2; "
    #expect(skipping.errorText.contains(words + "`tarn abandon n@1` gives it up"), "\(skipping.errorText)")
    // A version that is there, another name, and who wants no advice.
    for command in [build + ["--bad-rows", "skip"], ["build", "m"] + build.dropFirst(2) + ["--bad-rows", "skip"]] {
      let said = try lake.succeed(command).errorText
      #expect(!said.contains("unfinished"), "\(said)")
    }
    #expect(try !before.succeed(build + ["--bad-rows", "skip", "--quiet"]).errorText.contains("unfinished"))
    // As tasks, too.
    let tasks = ["--shards-per-output", "1", "--bad-rows", "skip", "--tasks", lake.directory.path + "/tasks"]
    let planned = try lake.succeed(["plan"] + build + tasks)
    #expect(planned.errorText.contains("n@1 is unfinished"), "\(planned.errorText)")
    // What is advised works.
    try lake.succeed(["abandon", "n@1"])
    try lake.succeed(["abandon", "n@3"])
    let after = try lake.succeed(build + ["--bad-rows", "skip", "--shards-per-output", "1"])
    #expect(!after.errorText.contains("unfinished"), "\(after.errorText)")
  }

  @Test func aKilledTrainingIsAbandonedAndItsNameTrainsSomethingElse() throws {
    let lake = try LakeFixture.unfinished(.trained)
    let said = try lake.succeed(["doctor"]).outputText
    #expect(said.contains("`tarn train` continues it, `tarn abandon t` gives it up"))
    #expect(try lake.succeed(["abandon", "t"]).outputText == "t is abandoned\n")
    let scratch = try FileManager.default.contentsOfDirectory(atPath: lake.lake + "/scratch")
    #expect(scratch.count == 1)
    try lake.succeed(["gc", "--apply", "--grace", "0s"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: lake.lake + "/scratch").isEmpty)
    #expect(try !lake.succeed(["doctor"]).outputText.contains("is unfinished;"))
    try lake.succeed(train("t", images: "images", captions: "captions", "--seed", "7"))
  }

  /// A slip of the hand gives no iterations up.
  @Test func aTrainingIsNotGivenUpForOtherOptions() throws {
    let lake = try LakeFixture.unfinished(.trained)
    let other = [
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
    ]
    let refused = try lake.run(other)
    expectFailure(
      refused, 64, "t was begun with --nlist 3, not --nlist 2, and 2 of 2 iterations are done", "`tarn abandon t`")
    expectFailure(try lake.run(other + ["--dry-run"]), 64, "t was begun with --nlist 3")
    let same = try #require(LakeStage.trained.arguments(LakeFixture.sources()).first)
    for (options, begun, now) in [
      (["--until-moved", "1%"], "no --until-moved", "--until-moved 1%"),
      (["--normalise"], "no --normalise", "--normalise"),
      (["--nearest", "index:7"], "--nearest exact", "--nearest index:7"),
      (["--ranges", "quantiles:0.25"], "--ranges ", "--ranges quantiles:0.25"),
    ] {
      let result = try lake.run(same + options)
      #expect(result.ending == .exit(64), "\(result.errorText)")
      #expect(result.errorText.contains("t was begun with \(begun)"), "\(result.errorText)")
      #expect(result.errorText.contains("not \(now), and 2 of 2 iterations are done"), "\(result.errorText)")
    }
    // Other shards are no slip, and what they cost is told.
    let fewer = try lake.copy().run(same.filter { $0 != "--quiet" } + ["--shards", "0"])
    #expect(fewer.errorText.contains("t was begun with other shards, or other bytes of them"), "\(fewer.errorText)")
    let copy = try lake.copy()
    // What it was begun with goes on, and what is advised works.
    try lake.succeed(same)
    try copy.succeed(["abandon", "t"])
    try copy.succeed(other)
    // One without an iteration is in nobody's way.
    let begun = try LakeFixture.unfinished(.trained)
    try begun.tamper("DELETE FROM training_iteration")
    let said = try begun.succeed(other.filter { $0 != "--quiet" })
    #expect(said.errorText.contains("t was begun with --nlist 3, and no iteration is done"), "\(said.errorText)")
  }

  @Test func doctorDoesNotAdviseToContinueWhatCannotBeFinished() throws {
    let lake = try LakeFixture.unfinished(.built)
    // The servers have other bytes since, so that the next build makes another version.
    try lake.tamper(
      """
      INSERT INTO shard_revision
        SELECT shard_id, 2, substr(sha256, 2) || 'f', byte_count, row_count, trust, mirror_id, etag, last_modified, observed_at
        FROM shard_revision WHERE shard_id = (SELECT min(id) FROM shard);
      UPDATE shard SET state = 'evicted', current_revision = 2 WHERE id = (SELECT min(id) FROM shard);
      """)
    let said = try lake.run(["doctor", "--quiet"]).outputText
    #expect(said.contains("v@1 cannot be finished: images/img_0.npy has other bytes"), "\(said)")
    #expect(said.contains("`tarn abandon v@1` gives it up"))
    #expect(!said.contains("continues it"))
    let lost = try LakeFixture.unfinished(.trained)
    try lost.tamper("UPDATE shard SET state = 'absent' WHERE name = 'img_1.npy'")
    let told = try lost.run(["doctor", "--quiet"]).outputText
    #expect(told.contains("the trained index t cannot go on: images/img_1.npy is not in the lake"), "\(told)")
    #expect(told.contains("`tarn sync images` asks again, `tarn abandon t` gives it up"))
  }

  @Test func aTrainedIndexIsRenamedAndRemoved() throws {
    let lake = try LakeFixture.make(.trained)
    #expect(try lake.succeed(["rename", "t", "u"]).outputText == "t is called u\n")
    #expect(try lake.succeed(["rename", "t", "u", "--json"]).outputText.contains("\"new\":false"))
    #expect(try !lake.succeed(["doctor", "--quiet"]).outputText.contains("problem"))
    #expect(try lake.succeed(["remove", "u"]).outputText == "u is removed\n")
    #expect(try lake.succeed(["remove", "u"]).outputText == "u was removed before\n")
    expectFailure(try lake.run(["remove", "v@1"]), 64, "tarn abandon", "tarn revoke")
    expectFailure(try lake.run(["remove", "nothing"]), 64, "nothing")
    try lake.succeed(["verify"])
    let built = try LakeFixture.make(.built)
    expectFailure(try built.run(["remove", "t"]), 64, "v@1 pins the trained index t")
    expectFailure(try built.run(["rename", "t", "u"]), 64, "v@1 pins the trained index t")
    try built.succeed(["verify"])
  }

  // MARK: Checks before work

  @Test func sourcesAreUsedAsWhatTheyAre() throws {
    let lake = try LakeFixture.make(.trained)
    expectFailure(
      try lake.run(train("x", images: "captions", captions: "images")), 64, "--images names captions, which is text",
      "--images images --captions captions")
    expectFailure(
      try lake.run(train("x", images: "images", captions: "images")), 64, "--images and --captions both name images")
    let kmeans = ["train", "x", "--nlist", "3", "--method", "kmeans", "--quiet", "--images"]
    expectFailure(
      try lake.run(["build", "x", "--trained", "t", "--images", "captions", "--quiet"]), 64,
      "--images is for image features", "captions are text")
    // No name was taken, and what is registered as something else passes.
    #expect(try lake.text("SELECT count(*) || ' ' || (SELECT count(*) FROM v_version) FROM v_trained_index") == "1 0")
    try lake.succeed([
      "source", "add", "others", "--directory", try LakeFixture.sources().directory.path + "/captions", "--dimension",
      "8", "--dtype", "float32", "--modality", "other",
    ])
    try lake.succeed(["sync", "others", "--quiet"])
    try lake.succeed(train("x", images: "images", captions: "others"))
    try lake.succeed(kmeans.map { $0 == "x" ? "y" : $0 } + ["others"])
    try lake.succeed(["build", "x", "--trained", "t", "--images", "others", "--quiet"])
  }

  @Test func passagesOfTextAloneAreNoImages() throws {
    let lake = try LakeFixture.make(.trained)
    let kmeans = ["--nlist", "3", "--method", "kmeans", "--quiet"]
    try lake.succeed(["train", "passages", "--images", "captions"] + kmeans)
    try lake.succeed(["build", "x", "--trained", "passages", "--images", "captions", "--quiet"])
    expectFailure(
      try lake.run(["build", "y", "--trained", "passages", "--images", "images", "--quiet"]), 64,
      "--images with passages is for text features", "images are image")
    try lake.succeed(["train", "pictures", "--images", "images"] + kmeans)
    expectFailure(
      try lake.run(["build", "y", "--trained", "pictures", "--images", "captions", "--quiet"]), 64,
      "--images with pictures is for image features", "captions are text")
  }

  @Test func sourcesThatAreNotPairsAreNamed() throws {
    let lake = try LakeFixture.make(.synced)
    let directory = lake.directory.path + "/short"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    for ordinal in 0..<FeatureSources.shardCount {
      try Data(FeatureBytes.npy(FeatureSources.rowCount - ordinal, dimension: 8, seed: UInt64(ordinal)))
        .write(to: URL(fileURLWithPath: "\(directory)/img_\(ordinal).npy"))
    }
    try lake.succeed(["source", "add", "short", "--directory", directory, "--dimension", "8", "--modality", "text"])
    try lake.succeed(["sync", "short", "--quiet"])
    expectFailure(
      try lake.run(train("t", images: "images", captions: "short")), 64, "images/img_1.npy has 20 rows",
      "short/img_1.npy has 19")
  }

  @Test func optionsThatExcludeEachOtherAreRefused() throws {
    let lake = try LakeFixture.make(.synced)
    for (arguments, text) in [
      (train("t", images: "images", captions: "captions", "--method", "kmeans"), "--captions goes with"),
      (train("t", images: "images", captions: "captions", "--router-epochs", "2"), "go with a --router"),
      (train("t", images: "images", captions: "captions", "--refinements", "2"), "go with a --router"),
      (
        train("t", images: "images", captions: "captions", "--router", "caption-mean", "--router-epochs", "2"),
        "learned or anchored"
      ),
      (train("t", images: "images", captions: "captions", "--codec", "fp16", "--ranges", "minmax"), "--ranges goes"),
      (
        train(
          "t", images: "images", captions: "captions", "--method", "kmeans", "--router", "anchored", "--refinements",
          "2"), "--refinements goes with --method paired-kmeans"
      ),
      (["evaluate", "v", "--queries", "q.npy", "--truth", "t.npy", "--fetch"], "with --truth no shard is read"),
      (["build", "v", "--trained", "t", "--images", "images", "--offline", "--bwlimit", "1MB/s"], "--offline"),
      (["build", "v", "--trained", "t", "--images", "images", "--offline", "--jobs", "2"], "--offline"),
      (["build", "v", "--trained", "t", "--images", "images", "--offline", "--patience", "1m"], "--offline"),
      (["search", "v", "--queries", "q.npy", "--threads", "5000"], "--threads is 1 to 4096"),
      (["evaluate", "v", "--queries", "q.npy", "--threads", "0"], "--threads is 1 to 4096"),
    ] {
      expectFailure(try lake.run(arguments), 64, text)
    }
    #expect(try lake.text("SELECT count(*) FROM v_trained_index") == "0")
  }

  @Test func rowsThatNoSourceHasAreRefusedByTheirFile() throws {
    let lake = try LakeFixture.make(.empty)
    let directory = lake.directory.path + "/wide"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Data(FeatureBytes.npy(1, dimension: 65_537, seed: 3)).write(to: URL(fileURLWithPath: directory + "/w_0.npy"))
    let refused = try lake.run(["source", "add", "wide", "--directory", directory])
    expectFailure(refused, 64, "w_0.npy", "65537", "1 to 65536")
    #expect(!refused.errorText.contains("CHECK"), "\(refused.errorText)")
  }

  @Test func moreRowsAreAdvisedOnlyWhereThereAreMore() throws {
    let lake = try LakeFixture.make(.synced)
    func refused(_ options: [String]) throws -> String {
      let result = try lake.run(
        ["train", "few", "--images", "images", "--captions", "captions", "--quiet", "--iterations", "2"] + options)
      #expect(result.ending == .exit(64), "\(result.errorText)")
      return result.errorText
    }
    for options in [["--nlist", "41"], ["--nlist", "39"]] {
      let text = try refused(options)
      #expect(text.contains("lower --nlist") && !text.contains("--pairs"), "\(text)")
    }
    #expect(try refused(["--nlist", "5", "--pairs", "4"]).contains("lower --nlist or raise --pairs"))
    #expect(try refused(["--nlist", "30", "--pairs", "31"]).contains("lower --nlist or raise --pairs"))
  }

  @Test func aNameWithoutANumberIsTheNewestVersion() throws {
    let lake = try LakeFixture.make(.built)
    let file = try queries(lake)
    for arguments in [
      ["show"], ["search", "--queries", file], ["evaluate", "--queries", file, "--nprobe", "1"], ["export"],
      ["reproduce", "--quiet"],
    ] {
      try lake.succeed([arguments[0], "v"] + arguments.dropFirst())
    }
    #expect(try lake.succeed(["locate", "v", "0"]).outputText == lake.succeed(["locate", "v@1", "0"]).outputText)
    #expect(try lake.succeed(["diff", "v", "v@1"]).outputText.contains("v@1 and v@1 are made from the same"))
    #expect(try lake.succeed(["show", "v"]).outputText == lake.succeed(["show", "v@1"]).outputText)
    #expect(try lake.succeed(["show", "t"]).outputText.contains("paired-kmeans"))
    expectFailure(try lake.run(["show", "w"]), 64, "no trained index or version named w")
    expectFailure(try lake.run(["search", "w", "--queries", file]), 64, "no index version of the name w")
    // What cannot be taken back takes a number.
    expectFailure(try lake.run(["revoke", "v", "--reason", "x"]), 64, "NAME@N")
  }

  @Test func queriesAndPlacesAreLookedAtBeforeTheWork() throws {
    let lake = try LakeFixture.make(.built)
    let (good, wide) = (try queries(lake), try queries(lake, dimension: 9))
    for output in try lake.texts("SELECT path FROM stored_bytes WHERE kind = 'output-shard'") {
      try FileManager.default.removeItem(atPath: "\(lake.lake)/artifacts/\(output)")
    }
    // Its files are gone: that is not what is told, for nothing looked for them yet.
    for verb in ["search", "evaluate"] {
      expectFailure(try lake.run([verb, "v@1", "--queries", wide]), 64, "rows of 9 elements, v@1 has 8")
      let place = verb == "search" ? "--output" : "--report"
      expectFailure(
        try lake.run([verb, "v@1", "--queries", good, place, lake.directory.path + "/nowhere/x"]), 64,
        "there is no directory")
    }
    expectFailure(try lake.run(["search", "v@1", "--queries", good, "-k", "0"]), 64, "k is 0")
  }
}
