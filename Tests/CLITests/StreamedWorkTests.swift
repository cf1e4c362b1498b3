// `tarn evaluate` and `tarn reproduce` over shards that are not in the lake: told
// before the work, fetched within a budget, or done without and said so.

import Base
import Catalog
import Foundation
import Lake
import Logging
import Synchronization
import Testing
import TestSupport

@Suite(.tags(.slow)) struct StreamedWorkTests {
  private static let rowCounts = [120, 90, 170, 50, 140]
  /// Room for the largest shard of images, and a bit.
  private static let budget = 4_000
  private static let within = ["--budget", "\(budget)", "--jobs", "1", "--patience", "0"]

  private func makeLake(_ build: [String] = [], spoiling: Bool = false) throws -> LakeFixture {
    var shards = PairedShards(Self.rowCounts, seed: 31)
    if spoiling { for row in [0, 7, 89] { shards.spoil(row, of: 1, isImage: true, with: 0) } }
    let lake = try shards.lake()
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "4", "--iterations", "2", "--quiet",
      "--bad-rows", "skip",
    ])
    try lake.succeed(
      ["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet"] + build)
    try Data(FeatureBytes.npy(30, dimension: PairedShards.dimension, seed: 77)).write(
      to: URL(fileURLWithPath: lake.directory.path + "/queries.npy"))
    return lake
  }

  private func evaluate(_ version: String, in lake: LakeFixture) -> [String] {
    ["evaluate", version, "--queries", lake.directory.path + "/queries.npy", "--nprobe", "1,2,4", "-k", "20"]
  }

  /// What the last evaluation of a version found.
  private func found(_ version: String, in lake: LakeFixture) throws -> [String] {
    try lake.texts(
      """
      SELECT nprobe || ' ' || k || ' ' || recall || ' ' || routing_recall || ' ' || vectors_scanned || ' ' || imbalance
        || ' ' || list_sizes
      FROM v_evaluation WHERE evaluation = (SELECT max(evaluation) FROM v_evaluation WHERE version = '\(version)')
      ORDER BY nprobe, k
      """)
  }

  private func truth(_ lake: LakeFixture) throws -> String {
    try lake.text("SELECT truth_sha256 FROM evaluation ORDER BY id DESC LIMIT 1")
  }

  // MARK: Evaluation

  @Test func whatIsMissingIsToldBeforeTheWork() throws {
    let lake = try makeLake()
    try lake.evict("images", [1, 3])
    let refused = try lake.run(evaluate("v@1", in: lake))
    #expect(refused.ending == .exit(21) && refused.errorLines.count == 1)
    #expect(refused.errorText.contains("2 of 5 shards of source images"))
    for option in ["--fetch", "--budget", "--missing skip"] { #expect(refused.errorText.contains(option)) }
    #expect(try lake.run(evaluate("v@1", in: lake) + ["--missing", "skip", "--fetch"]).ending == .exit(64))
    // With nothing there, doing without what is missing is no way.
    let empty = try lake.copy()
    try empty.succeed(["evict", "images"])
    for policy in [[], ["--missing", "skip"]] {
      let nothing = try empty.run(evaluate("v@1", in: lake) + policy)
      #expect(nothing.ending == .exit(21) && nothing.errorText.contains("--fetch"), "\(nothing.errorText)")
      #expect(!nothing.errorText.contains("--missing"), "\(nothing.errorText)")
    }
    #expect(try lake.text("SELECT count(*) || '' FROM evaluation") == "0")
  }

  @Test func anEvaluationFetchesWithinItsBudget() async throws {
    let lake = try makeLake()
    try lake.succeed(evaluate("v@1", in: lake))
    let (expected, digest) = (try found("v@1", in: lake), try truth(lake))
    let other = try makeLake()
    try other.succeed(["evict", "images"])
    try other.succeed(["evict", "captions"])
    let catalog = try LakeCatalog.open(root: other.lake, writing: "a test")
    let options = EvaluationOptions(
      queries: other.directory.path + "/queries.npy", k: 20, nprobes: [1, 2, 4], threads: 1, environment: "{}")
    let peak = PeakOfShards()
    let run = try EvaluationRun(catalog, options, cancellation: Cancellation()) { _ in try? peak.look(catalog) }
    var fetch = SyncOptions()
    fetch.budget = Self.budget
    let name = VersionName(name: "v", number: 1)
    try run.check(name, fetches: true)
    _ = try await run.run(name, fetching: fetch) { _ in try? peak.look(catalog) }
    #expect(try found("v@1", in: other) == expected)
    #expect(try truth(other) == digest)
    #expect(peak.most.withLock { $0 > 0 && $0 <= Self.budget })
    #expect(try FileManager.default.contentsOfDirectory(atPath: catalog.layout.scratch).isEmpty)
  }

  @Test func anEvaluationThatIsKilledGoesOn() throws {
    let before = try makeLake()
    let whole = try before.copy()
    try whole.succeed(evaluate("v@1", in: before))
    let digest = try truth(whole)
    try before.succeed(["evict", "images"])
    try before.succeed(["evict", "captions"])
    let transfers = try before.transferCount()
    try killing(evaluate("v@1", in: before) + Self.within, before) { lake, place in
      #expect(try truth(lake) == digest, "\(place)")
      let fetched = try lake.transferCount() - transfers
      #expect(fetched <= Self.rowCounts.count + 1, "\(place)")
    }
  }

  @Test(arguments: [false, true]) func aSampleIsAVersionOfItsShardsAlone(spoiling: Bool) throws {
    let lake = try makeLake(["--bad-rows", "skip"], spoiling: spoiling)
    try lake.succeed([
      "build", "w", "--trained", "t", "--images", "images", "--shards", "1-2,4", "--bad-rows", "skip", "--quiet",
    ])
    try lake.succeed(evaluate("w@1", in: lake))
    let (expected, digest) = (try found("w@1", in: lake), try truth(lake))
    try lake.evict("images", [0, 3])
    let report = lake.directory.path + "/report.html"
    let sampled = try lake.succeed(evaluate("v@1", in: lake) + ["--missing", "skip", "--report", report])
    #expect(sampled.outputText.contains("measured over shards 1-2,4 alone"))
    let rows = sampled.outputText.split(separator: "\n").filter { $0.hasPrefix("v@1 ") }
    #expect(rows.count == 3 && rows.allSatisfy { $0.hasSuffix("1-2,4") }, "\(sampled.outputText)")
    let shown = try lake.succeed(["show", "v@1", "--json"]).outputText
    #expect(shown.contains("\"sample_shards\":3"), "\(shown)")
    let page = try String(contentsOfFile: report, encoding: .utf8)
    #expect(page.contains("measured over shards 1-2,4 alone"))
    #expect(try found("v@1", in: lake) == expected)
    #expect(try truth(lake) == digest)
    // The record says it, and is held against it.
    let json = try lake.succeed(evaluate("v@1", in: lake) + ["--missing", "skip", "--json"])
    #expect(json.outputText.contains("\"sample_shards\":[1,2,4]"))
    try lake.succeed(["verify", "--quiet"])
    try lake.tamper("UPDATE evaluation SET environment = replace(environment, '[1,2,4]', '[1,2]')")
    #expect(try lake.run(["verify", "--quiet"]).ending == .exit(20))
  }

  // MARK: Reproduction

  @Test func aReproductionFetchesWithinItsBudget() async throws {
    let lake = try makeLake(["--bad-rows", "skip"], spoiling: true)
    try lake.succeed(["evict", "images"])
    try lake.succeed(["evict", "captions"])
    let refused = try lake.run(["reproduce", "v@1"])
    #expect(refused.ending == .exit(21) && refused.errorText.contains("--budget"))
    let catalog = try LakeCatalog.open(root: lake.lake, writing: "a test")
    let peak = PeakOfShards()
    let run = try ReproductionRun(
      catalog, VersionName(name: "v", number: 1), environment: "{}", logger: Logger(label: "test"),
      cancellation: Cancellation()
    ) { _ in try? peak.look(catalog) }
    var fetch = SyncOptions()
    fetch.budget = Self.budget
    let report = try await run.run(into: nil, fetching: fetch) { _ in try? peak.look(catalog) }
    #expect(report.outcome == .identical && report.outputCount == 3 && report.verdict.isClean)
    #expect(peak.most.withLock { $0 > 0 && $0 <= Self.budget })
    #expect(try FileManager.default.contentsOfDirectory(atPath: catalog.layout.scratch).isEmpty)
  }

  @Test func aReproductionThatIsKilledGoesOn() throws {
    let before = try makeLake()
    try before.succeed(["evict", "images"])
    try before.succeed(["evict", "captions"])
    let transfers = try before.transferCount()
    try killing(["reproduce", "v@1"] + Self.within, before) { lake, place in
      #expect(
        try lake.text("SELECT outcome FROM reproduction ORDER BY id DESC LIMIT 1") == "identical", "\(place)")
      let fetched = try lake.transferCount() - transfers
      #expect(fetched <= Self.rowCounts.count + 1, "\(place)")
    }
  }

  @Test func otherBytesAreNotTakenForPinnedOnes() throws {
    let lake = try makeLake()
    try lake.succeed(["evict", "images"])
    try lake.succeed(["evict", "captions"])
    let other = FeatureBytes.npy(Self.rowCounts[2], dimension: PairedShards.dimension, seed: 999)
    try Data(other).write(to: URL(fileURLWithPath: lake.directory.path + "/images/images_2.npy"))
    for command in [["reproduce", "v@1"], evaluate("v@1", in: lake)] {
      let failed = try lake.run(command + Self.within)
      #expect(failed.ending == .exit(20) && failed.errorText.contains("is expected"), "\(failed.errorText)")
      // Bytes that no mirror has any more come from a copy alone.
      #expect(
        failed.errorText.contains("no mirror gives the pinned bytes: `tarn import images FILE --keep-old`"),
        "\(failed.errorText)")
    }
    #expect(try lake.text("SELECT count(*) || '' FROM reproduction") == "0")
    // What the lake has in their place stays.
    try lake.succeed(["sync", "images", "--quiet"])
    for command in [["reproduce", "v@1"], evaluate("v@1", in: lake)] {
      let refused = try lake.run(command + Self.within)
      #expect(refused.ending == .exit(21), "\(refused.errorText)")
      #expect(refused.errorText.contains("`tarn import images FILE --keep-old`"), "\(refused.errorText)")
      #expect(!refused.errorText.contains("evict"), "\(refused.errorText)")
    }
    // And what is advised works.
    let copy = lake.directory.path + "/old"
    try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
    try Data(PairedShards(Self.rowCounts, seed: 31).images[2]).write(to: URL(fileURLWithPath: copy + "/images_2.npy"))
    try lake.succeed(["import", "images", copy + "/images_2.npy", "--keep-old"])
    for command in [["reproduce", "v@1"], evaluate("v@1", in: lake)] { try lake.succeed(command) }
  }

  /// Nobody gave other bytes of a shard that is merely gone.
  @Test func aShardThatNobodyHasIsSaidToBeGone() throws {
    let lake = try makeLake()
    for source in ["images", "captions"] { try lake.succeed(["evict", source]) }
    try FileManager.default.removeItem(atPath: lake.directory.path + "/images/images_2.npy")
    for command in [["reproduce", "v@1"], evaluate("v@1", in: lake)] {
      let failed = try lake.run(command + Self.within)
      #expect(
        failed.errorText.contains("no mirror has it: `tarn import images FILE --keep-old`")
          && !failed.errorText.contains("other bytes") && failed.ending != .exit(0), "\(failed.errorText)")
    }
  }

  /// Room comes from what was worked on, whatever newer bytes lie beside it: those nobody else
  /// may have.
  @Test(arguments: [true, false]) func newerBytesOfAShardAreNotDropped(isReproduction: Bool) throws {
    let lake = try makeLake()
    let other = lake.directory.path + "/images_0.npy"
    try Data(FeatureBytes.npy(Self.rowCounts[0], dimension: PairedShards.dimension, seed: 998)).write(
      to: URL(fileURLWithPath: other))
    try lake.succeed(["import", "images", other, "--keep-old"])
    try lake.succeed(["evict", "captions"])
    try lake.evict("images", [4])
    // Whatever comes, something has to go.
    let budget = LakeFixture.byteCount(below: lake.lake + "/shards")
    let command = isReproduction ? ["reproduce", "v@1"] : evaluate("v@1", in: lake)
    let limits = ["--budget", "\(budget)", "--jobs", "1", "--patience", "0"]
    try killing(command + limits, lake, within: budget, least: 10) { lake, place in
      let first = try lake.text("SELECT state || ' ' || current_revision FROM shard WHERE name = 'images_0.npy'")
      #expect(first == "present 2", "\(place)")
      #expect(try lake.text("SELECT state FROM shard WHERE name = 'images_4.npy'") == "present", "\(place)")
      try lake.succeed(["verify", "--quiet"])
    }
  }

  /// A version of a training on a part, with a hole, made again from its document.
  @Test func aPartIsMadeAgainFromADocument() throws {
    var shards = PairedShards(Self.rowCounts, seed: 37)
    for row in 3..<9 { shards.spoil(row, of: 1, isImage: false, with: 0xFF) }
    let lake = try shards.lake()
    try lake.evict("images", [0])
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "4", "--iterations", "2", "--shards",
      "0-3", "--missing", "skip", "--bad-rows", "skip", "--pairs", "200", "--seed", "3", "--router", "caption-mean",
      "--quiet",
    ])
    try lake.succeed([
      "build", "v", "--trained", "t", "--images", "images", "--missing", "skip", "--offline", "--shards-per-output",
      "2", "--quiet",
    ])
    let spec = try lake.text("SELECT spec FROM trained_index")
    #expect(spec.contains("\"shards\":[1,2,3]") && spec.contains("\"left_out\""))
    let document = lake.directory.path + "/v.json"
    try Data(lake.succeed(["export", "v@1"]).output).write(to: URL(fileURLWithPath: document))
    for options in [[], ["--budget", "9000", "--jobs", "1"]] {
      let fresh = try LakeFixture.nothing()
      try fresh.succeed(["init", fresh.lake])
      let made = try fresh.succeed(
        ["reproduce", "--from", document, "--allow-inside", "--patience", "0"] + options)
      #expect(made.outputText.contains("v@1 is identical"), "\(made.errorText)")
      #expect(try fresh.text("SELECT spec FROM trained_index") == spec)
      if !options.isEmpty { #expect(LakeFixture.byteCount(below: fresh.lake + "/shards") <= 9_000) }
    }
    // And from the lake's own files, when the catalog is lost.
    try lake.damageCatalog()
    try lake.succeed(["rebuild-catalog", "--quiet"])
    #expect(try lake.text("SELECT spec FROM trained_index") == spec)
    try lake.succeed(["verify", "--quiet"])
  }

  /// Kills a command at its steps, runs it again and looks.
  private func killing(
    _ command: [String], _ before: LakeFixture, within budget: Int = StreamedWorkTests.budget, least: Int = 30,
    look: (LakeFixture, String) throws -> Void
  ) throws {
    var step = 1
    while step < 1000 {
      let lake = try before.copy()
      let killed = try lake.run(command, environment: ["TARN_FAULT": "kill@\(step)"])
      guard killed.ending == .signal(SIGKILL) else {
        #expect(killed.ending == .exit(0), "\(killed.errorText)")
        break
      }
      #expect(LakeFixture.byteCount(below: lake.lake + "/shards") <= budget)
      try lake.succeed(command)
      #expect(LakeFixture.byteCount(below: lake.lake + "/shards") <= budget)
      try look(lake, "after kill@\(step)")
      step += TestRounds.isFull ? 1 : 6
    }
    #expect(step > least)
  }
}
