// `tarn train` over what is there: some shards, pairs that are missing or bad left
// out, and shards that come and go within a budget. What is trained is what a lake of
// those shards and rows alone is trained to.

import Base
import Catalog
import Features
import Foundation
import Indexer
import Lake
import Logging
import Synchronization
import TestSupport
import Testing

extension LakeFixture {
  fileprivate func train(_ options: [String], location: SourceLocation = #_sourceLocation) throws {
    try succeed(
      ["train", "t", "--images", "images", "--iterations", "2", "--quiet"] + options, location: location)
  }

  fileprivate func trainedDigest() throws -> String {
    try text("SELECT sha256 FROM trained_index WHERE name = 't' AND state = 'ready'")
  }

  fileprivate func trainedSpec() throws -> String { try text("SELECT spec FROM trained_index WHERE name = 't'") }

}

@Suite(.tags(.slow)) struct PartialTrainingTests {
  private static let kinds: [[String]] = [
    ["--captions", "captions", "--nlist", "3"],
    ["--method", "kmeans", "--nlist", "4", "--normalise"],
    ["--captions", "captions", "--nlist", "2", "--pairs", "23", "--seed", "9"],
    ["--captions", "captions", "--nlist", "2", "--router", "learned", "--router-epochs", "1"],
  ]

  @Test(arguments: kinds) func shardsOfALakeTrainAsALakeOfThoseAlone(kind: [String]) throws {
    let shards = PairedShards([12, 9, 17, 5, 14], seed: 3)
    for (ranges, ordinals) in [("1-3", [1, 2, 3]), ("0,2,4", [0, 2, 4]), ("0-2", [0, 1, 2])] {
      let whole = try shards.lake()
      try whole.train(kind + ["--shards", ranges])
      let part = try shards.shards(ordinals).lake()
      try part.train(kind)
      #expect(try whole.trainedDigest() == part.trainedDigest())
      // The first shards of a source need no naming: it is one specification.
      let (spec, plain) = (try whole.trainedSpec(), try part.trainedSpec())
      #expect((spec == plain) == (ordinals == [0, 1, 2]))
      #expect(spec.contains("\"shards\":[\(ordinals.map { "\($0)" }.joined(separator: ","))]") == (spec != plain))
    }
  }

  @Test func pairsOfWhichAShardIsMissingAreLeftOutOrRefused() throws {
    let shards = PairedShards([12, 9, 17, 5, 14], seed: 5)
    let lake = try shards.lake()
    try lake.evict("images", [1])
    try lake.evict("captions", [1, 4])
    let kind = ["--captions", "captions", "--nlist", "3"]
    let refused = try lake.run(["train", "t", "--images", "images"] + kind)
    #expect(refused.ending == .exit(21) && refused.errorLines.count == 1)
    for option in ["--shards", "--missing skip", "--fetch", "--budget"] { #expect(refused.errorText.contains(option)) }
    let said = try lake.succeed(["train", "t", "--images", "images", "--iterations", "2", "--missing", "skip"] + kind)
    #expect(said.outputText.contains("left out as missing: 2 of 5 pairs of shards (1,4)"), "\(said.outputText)")
    let part = try shards.shards([0, 2, 3]).lake()
    try part.train(kind)
    #expect(try lake.trainedDigest() == part.trainedDigest())
    #expect(try lake.trainedSpec().contains("\"shards\":[0,2,3]"))
    // With nothing missing it is the plain training.
    try part.train(kind + ["--missing", "skip", "--bad-rows", "skip"])
    #expect(try !part.trainedSpec().contains("\"shards\"") && !part.trainedSpec().contains("left_out"))
    // Nothing that is there, nothing to train on.
    try lake.succeed(["remove", "t"])
    try lake.evict("captions", [0, 2, 3])
    let nothing = try lake.run(["train", "t", "--images", "images"] + kind + ["--missing", "skip"])
    #expect(nothing.ending == .exit(21) && nothing.errorText.contains("--fetch"))
    for option in ["--missing", "--shards"] { #expect(!nothing.errorText.contains(option), "\(nothing.errorText)") }
    #expect(try lake.run(["train", "t", "--images", "images"] + kind + ["--shards", "7"]).ending == .exit(64))
  }

  @Test(arguments: [nil, 31]) func badPairsAreLeftOutOrRefused(pairs: Int?) throws {
    var shards = PairedShards([12, 9, 17, 5, 14], seed: 7)
    // Zeros and NaNs (a pattern of ones is one), on either side and on both, and a shard of them alone.
    let bad: [(shard: Int, row: Int, isImage: Bool, byte: UInt8)] =
      [(0, 3, true, 0), (0, 11, false, 0xFF), (2, 0, true, 0xFF), (2, 0, false, 0), (2, 16, false, 0)]
      + (0..<5).map { (3, $0, true, 0) }
    for (shard, row, isImage, byte) in bad { shards.spoil(row, of: shard, isImage: isImage, with: byte) }
    let kind = ["--captions", "captions", "--nlist", "3"]
    let drawn = kind + (pairs.map { ["--pairs", "\($0)"] } ?? [])
    let lake = try shards.lake()
    let refused = try lake.run(["train", "t", "--images", "images"] + drawn)
    #expect(refused.ending == .exit(20) && refused.errorText.contains("--bad-rows skip"))
    #expect(!refused.errorText.contains("--seed"))
    try lake.train(drawn + ["--bad-rows", "skip"])
    let sample = try TrainingSample(count: pairs ?? 57, rowCounts: shards.rowCounts, seed: 1)
    let good = sample.rows.enumerated().map { shard, rows in
      rows.filter { row in !bad.contains { $0.shard == shard && $0.row == Int(row) } }
    }
    #expect(good.joined().count < sample.count)
    let part = try shards.rows(good).lake()
    try part.train(kind)
    #expect(try lake.trainedDigest() == part.trainedDigest())
    for (shard, rows) in sample.rows.enumerated() {
      let out = rows.filter { !good[shard].contains($0) }.map { "\($0)" }.joined(separator: ",")
      #expect(try lake.trainedSpec().contains("{\"rows\":[\(out)],\"shard\":\(shard)}") == !out.isEmpty)
    }
    // It was trained before; and without leave to skip it is another training.
    let again = try lake.succeed(
      ["train", "t", "--images", "images"] + drawn + ["--iterations", "2", "--bad-rows", "skip"])
    #expect(again.outputText.contains("was trained before") && again.outputText.contains("that are bad"))
    #expect(try lake.run(["train", "t", "--images", "images"] + drawn + ["--iterations", "2"]).ending == .exit(64))
    #expect(
      try lake.run(["train", "u", "--images", "images"] + kind + ["--nlist", "50", "--bad-rows", "skip"]).ending
        == .exit(64))
  }

  /// Nothing is to be continued of what can never be trained, and what was left out of a
  /// training fits a screen.
  @Test func aTrainingOfBadRowsAloneEnds() throws {
    var shards = PairedShards([40], seed: 9)
    let train = ["train", "t", "--images", "images", "--captions", "captions", "--bad-rows", "skip", "--nlist"]
    for row in 0..<30 { shards.spoil(row, of: 0, isImage: true, with: 0) }
    let some = try shards.lake()
    try some.succeed(train + ["2"])
    let shown = try some.succeed(["show", "t"]).outputText
    #expect(shown.contains("0, 1, 2, 3, 4, 5, 6, 7, 8, 9") && !shown.contains("9, 10"), "\(shown)")
    let refused = try some.run(["train", "u"] + train.dropFirst(2) + ["20"])
    #expect(refused.ending == .exit(64), "\(refused.errorText)")
    for row in 30..<40 { shards.spoil(row, of: 0, isImage: true, with: 0) }
    let all = try shards.lake()
    #expect(try all.run(train + ["2"]).ending == .exit(64))
    for lake in [some, all] {
      #expect(try lake.texts("SELECT name FROM trained_index WHERE state <> 'ready'").isEmpty)
      #expect(try !lake.succeed(["doctor"]).outputText.contains("continues it"))
    }
  }

  /// The same bytes under another name, and those of a rebuilt catalog, have no record of
  /// their iterations; they are done all the same.
  @Test func aFinishedTrainingHasAllItsIterations() throws {
    let lake = try LakeFixture.make(.trained)
    try lake.succeed([
      "train", "twin", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2", "--quiet",
    ])
    let status = try lake.succeed(["status", "--json"]).outputText
    #expect(!status.contains("\"iterations_done\":0"), "\(status)")
    #expect(status.components(separatedBy: "\"iterations_done\":2").count == 3, "\(status)")
  }

  /// The index has the bytes that as many iterations give, its record says how many there
  /// were, and it comes again of its document and of its record alone.
  @Test func kMeansEndsWhenLittleMoves() throws {
    let shards = PairedShards([300], seed: 4)
    let lake = try shards.lake()
    let train = ["--images", "images", "--captions", "captions", "--nlist", "8", "--quiet"]
    try lake.succeed(["train", "t"] + train + ["--iterations", "60", "--until-moved", "0%"])
    let done = try lake.texts("SELECT iterations_done FROM v_trained_index WHERE trained_index = 't'")
    let count = try #require(done.first.flatMap { Int($0) })
    #expect((2..<60).contains(count), "k-means was to end by itself")
    #expect(try lake.succeed(["status", "--json"]).outputText.contains("\"iterations_done\":\(count)"))
    #expect(try lake.trainedSpec().contains(#""until_moved":"0%""#))
    let digest = try lake.trainedDigest()
    try lake.succeed(["train", "fixed"] + train + ["--iterations", "\(count)"])
    #expect(try lake.texts("SELECT DISTINCT sha256 FROM v_trained_index") == [digest])
    try lake.succeed(["train", "sooner"] + train + ["--iterations", "60", "--until-moved", "20%"])
    let sooner = try lake.texts("SELECT iterations_done FROM v_trained_index WHERE trained_index = 'sooner'")
    #expect(sooner.first.flatMap { Int($0) } ?? count < count)
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    // Trained again of its record alone.
    let path = try LakeCatalog.open(root: lake.lake, writing: nil).path(
      of: .trainedIndex, #require(ContentDigest(hex: digest)))
    try FileManager.default.removeItem(atPath: path)
    #expect(try lake.run(["verify", "--repair"]).errorText.contains("1 of them restored"))
    #expect(try Disk.digest(of: path).hex == digest)
    #expect(try lake.succeed(["reproduce", "v@1"]).outputText.contains("identical"))
  }

  /// Rows that are excluded while a training gathers are not drawn by it, as its specification says.
  @Test func whatIsExcludedWhileItGathersIsNotDrawn() throws {
    let lake = try PairedShards([20, 20, 20], seed: 21).lake()
    let catalog = try LakeCatalog.open(root: lake.lake, writing: "a test")
    let options = TrainingOptions(name: "t", images: "images", captions: "captions", nlist: 2, iterations: 2)
    let run = TrainingRun(catalog, options, logger: Logger(label: "test"), cancellation: Cancellation()) { progress in
      guard case .gathering = progress else { return }
      // The lists say it already from the second time on.
      _ = try? ExcludeRun(catalog, of: "images", reason: "case 17", cancellation: Cancellation()).run(
        .standardInput(Array("7\n41\n".utf8)), .exclude, dry: false)
    }
    let (trained, isNew) = try run.run()
    let leftOut = JSONValue(parsing: trained.spec)?["left_out"]?.text
    #expect(isNew && leftOut == #"[{"rows":[7],"shard":0},{"rows":[1],"shard":2}]"#)
  }

  @Test func shardsComeAndGoWithinABudget() async throws {
    let shards = PairedShards([120, 90, 170, 50, 140], seed: 11)
    let expected = try shards.lake()
    let kind = ["--captions", "captions", "--nlist", "3", "--pairs", "40"]
    try expected.train(kind)
    let lake = try shards.lake(synced: false)
    // Room for the largest shard and a bit: 170 rows of 32 bytes and a header.
    let budget = 6_000
    let catalog = try LakeCatalog.open(root: lake.lake, writing: "a test")
    let options = TrainingOptions(
      name: "t", images: "images", captions: "captions", nlist: 3, pairs: 40, iterations: 2)
    var fetch = SyncOptions()
    fetch.budget = budget
    let peak = PeakOfShards()
    let run = TrainingRun(catalog, options, logger: Logger(label: "test"), cancellation: Cancellation()) { _ in
      try? peak.look(catalog)
    }
    let (trained, isNew) = try await run.run(fetching: fetch) { _ in try? peak.look(catalog) }
    #expect(isNew && trained.state == .ready)
    #expect(try trained.digest?.hex == expected.trainedDigest())
    #expect(try trained.spec == expected.trainedSpec())
    let most = peak.most.withLock { $0 }
    #expect(most <= budget && most > 0)
    #expect(try catalog.cachedByteCount() <= budget)
    // Nothing but the result is left of it.
    #expect(try FileManager.default.contentsOfDirectory(atPath: catalog.layout.scratch).isEmpty)
    // It is known to be done, with hardly a shard in the lake.
    let again = try await TrainingRun(
      catalog, options, logger: Logger(label: "test"), cancellation: Cancellation(), report: { _ in }
    ).run(fetching: nil) { _ in }
    #expect(!again.isNew)
  }

  @Test func killedAtAnyStepItGoesOnWithinItsBudget() throws {
    var shards = PairedShards([120, 90, 170], seed: 17)
    shards.spoil(5, of: 1, isImage: false, with: 0)
    let kind = ["--captions", "captions", "--nlist", "3", "--pairs", "370", "--bad-rows", "skip"]
    let expected = try shards.lake()
    try expected.train(kind)
    let budget = 6_000
    let command =
      ["train", "t", "--images", "images", "--iterations", "2", "--quiet"] + kind
      + ["--budget", "\(budget)", "--jobs", "1", "--patience", "0"]
    let before = try shards.lake(synced: false)
    var step = 1
    while step < 1000 {
      let lake = try before.copy()
      let killed = try lake.run(command, environment: ["TARN_FAULT": "kill@\(step)"])
      guard killed.ending == .signal(SIGKILL) else {
        #expect(killed.ending == .exit(0), "\(killed.errorText)")
        break
      }
      #expect(LakeFixture.byteCount(below: lake.lake + "/shards") <= budget)
      let received = try lake.transferCount()
      try lake.succeed(command)
      #expect(try lake.trainedDigest() == expected.trainedDigest(), "after kill@\(step)")
      #expect(LakeFixture.byteCount(below: lake.lake + "/shards") <= budget)
      // A shard is fetched once, but for the one whose work was cut.
      #expect(try lake.transferCount() <= 6 + 1, "after kill@\(step): \(received) before")
      step += TestRounds.isFull ? 1 : 7
    }
    #expect(step > 40)
  }

  /// Copies a row over others of its side.
  private func copies(_ shards: PairedShards, of distinct: Int, isImage: Bool) -> PairedShards {
    var shards = shards
    let rows = shards.rowCounts[0]
    let one = shards.rows([(0..<rows).map { UInt32($0 % distinct) }])
    if isImage { shards.images = one.images } else { shards.captions = one.captions }
    return shards
  }

  @Test(arguments: [true, false]) func fewerDistinctRowsThanListsAreToldBeforeTheSearch(isImage: Bool) throws {
    let lake = try copies(PairedShards([200], seed: 19), of: 7, isImage: isImage).lake()
    let train = ["train", "t", "--images", "images", "--captions", "captions", "--iterations", "1", "--nlist"]
    let refused = try lake.run(train + ["8"])
    #expect(refused.ending == .exit(64) && refused.errorLines.count == 1)
    #expect(refused.errorText.contains("no more than 7 distinct \(isImage ? "images" : "captions")"))
    #expect(try lake.text("SELECT count(*) || '' FROM nearest_images") == "0")
    // Seven captions have up to seven images, seven images up to seven captions.
    if isImage { try lake.succeed(train + ["7"]) }
  }

  @Test func fewDistinctNearestImagesAreExpectedBeforeTheSearch() throws {
    // Captions near ten images: of 16,384 images all but those are nearest to none.
    var shards = PairedShards([DistinctImages.leastPairs], seed: 23)
    var random = SplitMix64(seed: 29)
    let captions = copies(shards, of: 10, isImage: true).rows([(0..<UInt32(DistinctImages.leastPairs)).map { $0 }])
    shards.captions = captions.images.map { FeatureBytes.near($0, PairedShards.dimension, &random) }
    let lake = try shards.lake()
    let train = ["train", "t", "--images", "images", "--captions", "captions", "--iterations", "1", "--nlist"]
    let failed = try lake.run(train + ["64"])
    #expect(failed.ending == .exit(64), "\(failed.errorText)")
    #expect(failed.errorText.contains("warning: of 128 captions, 10 have"), "\(failed.errorText)")
    let fine = try lake.run(train + ["4"])
    #expect(fine.ending == .exit(0) && !fine.errorText.contains("warning"), "\(fine.errorText)")
  }

  @Test func aShardThatNobodyHasIsLeftOutOnBothSides() throws {
    let shards = PairedShards([12, 9, 17, 5, 14], seed: 13)
    let kind = ["--captions", "captions", "--nlist", "3", "--pairs", "20"]
    let lake = try shards.lake(synced: false)
    try FileManager.default.removeItem(atPath: lake.directory.path + "/captions/captions_2.npy")
    let fetching = ["--fetch", "--patience", "0"]
    let refused = try lake.run(["train", "t", "--images", "images"] + kind + fetching)
    #expect(refused.ending == .exit(21), "\(refused.errorText)")
    try lake.train(kind + fetching + ["--missing", "skip"])
    let part = try shards.shards([0, 1, 3, 4]).lake()
    try part.train(kind)
    #expect(try lake.trainedDigest() == part.trainedDigest())
    #expect(try lake.run(["train", "u", "--images", "images", "--nlist", "2", "--jobs", "3"]).ending == .exit(64))
  }
}

extension FeatureBytes {
  /// A float32 file of unit rows near those of a float16 file.
  fileprivate static func near(_ bytes: [UInt8], _ dimension: Int, _ random: inout SplitMix64) -> [UInt8] {
    let header = NpyHeader.bytes(descr: "<f2", rowCount: DistinctImages.leastPairs, columns: dimension).count
    let values = stride(from: header, to: bytes.count, by: 2).map {
      Float(Float16(bitPattern: UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8))
    }
    let noise = random.unitRows(values.count / dimension, dimension: dimension)
    let rows = stride(from: 0, to: values.count, by: dimension).flatMap { start in
      let row = (start..<(start + dimension)).map { values[$0] + 0.001 * noise[$0] }
      let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return row.map { $0 / length }
    }
    return NpyHeader.bytes(descr: "<f4", rowCount: values.count / dimension, columns: dimension)
      + rows.flatMap { row in (0..<4).map { UInt8(truncatingIfNeeded: row.bitPattern >> (8 * $0)) } }
  }
}
