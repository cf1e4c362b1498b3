// A lake that lost its catalog: what its files still tell.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct RebuildTests {
  /// A lake with two versions, its links kept, and what it said of them.
  private func makeLake() throws -> (lake: LakeFixture, shown: [String]) {
    let lake = try LakeFixture.make(.trained)
    for arguments in LakeStage.built.arguments(try LakeFixture.sources()) { try lake.succeed(arguments) }
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--quiet"])
    return (lake, try shown(lake))
  }

  /// What does not depend on times: exports, inputs, outputs.
  private func shown(_ lake: LakeFixture) throws -> [String] {
    try [
      ["export", "v@1"], ["export", "w@1"],
      ["sql", "SELECT * FROM v_version_input ORDER BY version, input", "--format", "csv"],
      [
        "sql",
        "SELECT version, output, file, first_input, last_input, first_id, end_id, rows, bytes, sha256, lists_sha256 FROM v_output_shard ORDER BY 1, 2",
        "--format", "csv",
      ],
      [
        "sql", "SELECT version, state, inputs, holes, outputs, rows, bytes, sha256 FROM v_version ORDER BY 1",
        "--format", "csv",
      ],
      [
        "sql",
        "SELECT source, ordinal, shard, state, revision, sha256, bytes, rows, path, url FROM v_shard ORDER BY 1, 2",
        "--format", "csv",
      ],
      ["locate", "v@1", "0", "39"],
    ].map { try lake.succeed($0).outputText }
  }

  private func lose(_ lake: LakeFixture) throws {
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
  }

  @Test func aLostCatalogIsMadeAgain() throws {
    let (lake, before) = try makeLake()
    try lose(lake)
    let said = try lake.succeed(["rebuild-catalog"]).outputText
    #expect(
      said.hasPrefix("2 sources, 4 shards (4 in the lake), 1 trained indexes, 2 versions, 3 outputs, 2 segments\n"))
    #expect(said.contains("not known any more: the history"))
    #expect(try shown(lake) == before)
    // Everything works on it.
    try lake.succeed(["verify"])
    let remarks = try LakeExamination(LakeCatalog.open(root: lake.lake, writing: nil)).findings().filter {
      $0.level == .problem || $0.check == "totals" && $0.level != .ok
    }
    #expect(remarks.isEmpty, "\(remarks)")
    // What all of them lack is one note, which names each once.
    let notes = try lake.succeed(["doctor"]).outputText
    #expect(notes.contains("history of v@1, w@1") && !notes.contains("of v@1 of"), "\(notes)")
    #expect(try lake.succeed(["reproduce", "v@1"]).outputText.contains("identical"))
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    try lake.succeed(["search", "v@1", "--queries", queries])
    #expect(try lake.text("SELECT verb FROM event ORDER BY seq LIMIT 1") == "rebuilt")
    // The same build is the same version, and nothing is fetched again.
    for stage in [LakeStage.synced, .trained, .built] {
      for arguments in stage.arguments(try LakeFixture.sources()) { try lake.succeed(arguments) }
    }
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM index_version") == "2")
  }

  /// Plain, paired, caption-mean and learned; one with its segments dropped, one
  /// revoked, an evaluation and a pin: everything is whole again or said to be
  /// lost, and no file is orphaned.
  @Test func aLakeOfEveryKindIsMadeAgain() throws {
    let lake = try LakeFixture.make(.trained)
    let kinds = [
      ("plain", ["--method", "kmeans"]), ("paired", ["--captions", "captions", "--seed", "3"]),
      ("mean", ["--captions", "captions", "--method", "kmeans", "--router", "caption-mean"]),
      ("anchored", ["--captions", "captions", "--router", "anchored", "--router-epochs", "2", "--seed", "7"]),
      ("learned", ["--captions", "captions", "--router", "learned", "--router-epochs", "2", "--seed", "5"]),
    ]
    for (name, options) in kinds {
      try lake.succeed(["train", name, "--images", "images", "--nlist", "3", "--iterations", "2", "--quiet"] + options)
      try lake.succeed(["build", "v-\(name)", "--trained", name, "--images", "images", "--quiet"])
    }
    let versions = kinds.map { "v-\($0.0)@1" }
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    try lake.succeed(["evaluate", "v-paired@1", "--queries", queries, "--nprobe", "3", "--quiet"])
    try lake.succeed(["pin", "v-plain@1", "--reason", "paper"])
    let questions =
      versions.map { ["export", $0] } + [
        [
          "sql",
          "SELECT trained_index, state, method, codec, nlist, dimension, iterations, seed, pairs, images, captions, sha256, bytes, path, router, router_epochs, ranges FROM v_trained_index WHERE trained_index <> 't' ORDER BY 1",
          "--format", "csv",
        ],
        ["sql", "SELECT kind, files, bytes FROM v_storage ORDER BY 1", "--format", "csv"],
      ]
    let before = try questions.map { try lake.succeed($0).outputText }
    let files = try lake.files()
    try lose(lake)
    let said = try lake.succeed(["rebuild-catalog"]).outputText
    #expect(
      said.hasPrefix("2 sources, 4 shards (4 in the lake), 5 trained indexes, 5 versions, 5 outputs, 10 segments\n"))
    #expect(said.contains("whole files"))
    #expect(said.contains("evaluations"))
    #expect(try questions.map { try lake.succeed($0).outputText } == before)
    // Nothing is orphaned: every file has its row.
    #expect(try lake.files() == files)
    let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
    #expect(try catalog.unknownFiles().isEmpty)
    try lake.succeed(["verify"])
    let findings = try LakeExamination(catalog).findings().filter { $0.level == .problem || $0.level == .warning }
    #expect(findings.allSatisfy { $0.check == "space" }, "\(findings)")
    for version in versions {
      #expect(try lake.succeed(["reproduce", version]).outputText.contains("identical"), "\(version)")
    }
    // What no version refers to can be collected, and the rest works without it.
    try lake.succeed(["gc", "--segments", "--grace", "0s", "--apply"])
    #expect(
      try Set(lake.texts("SELECT kind FROM stored_bytes WHERE state = 'deleted'")) == [
        "trained-index", "nearest-images", "router-labels", "evaluation-truth", "segment",
      ])
    try lake.succeed(["verify"])
    for version in versions { try lake.succeed(["search", version, "--queries", queries]) }
    try lake.succeed(["evaluate", "v-paired@1", "--queries", queries, "--nprobe", "3", "--quiet"])
    // The same commands give the same files again.
    try lake.succeed(["build", "v-plain", "--trained", "plain", "--images", "images", "--quiet"])
    #expect(try lake.texts("SELECT version FROM v_version ORDER BY 1") == versions.sorted())
  }

  /// What is kept for somebody is not collected because a catalog was lost, though it was revoked.
  @Test func whatIsPinnedStaysSo() throws {
    let (lake, _) = try makeLake()
    let mark = lake.lake + "/versions/v@1/v.pinned"
    try lake.succeed(["pin", "v@1", "--reason", "paper"])
    // As an older tarn left it, which wrote no such file.
    try FileManager.default.removeItem(atPath: mark)
    try lake.succeed(["gc", "--apply", "--grace", "0s"])
    let text = try String(contentsOfFile: mark, encoding: .utf8)
    #expect(text.contains("\"reason\":\"paper\""), "\(text)")
    try lake.succeed(["revoke", "v@1", "--reason", "test"])
    let pins = "SELECT version || ' ' || reason || ' ' || pinned_at FROM v_pin WHERE unpinned_at IS NULL"
    let before = try lake.texts(pins)
    try lose(lake)
    let said = try lake.succeed(["rebuild-catalog"]).outputText
    #expect(said.contains("revoked as before: v@1") && said.contains("pinned as before: v@1"), "\(said)")
    #expect(try lake.texts(pins) == before)
    try lake.succeed(["gc", "--apply", "--segments", "--grace", "0s"])
    for output in 0..<2 { #expect(Disk.size(of: lake.lake + "/versions/v@1/v.00\(output).faiss") != nil) }
    try lake.succeed(["verify"])
    // A catalog that was put back does not know of a pin; the lake does, until it is taken back.
    try FileManager.default.copyItem(atPath: mark, toPath: lake.lake + "/versions/w@1/w.pinned")
    #expect(try lake.run(["doctor"]).outputText.contains("w@1 was pinned at "))
    for version in ["v@1", "w@1"] { try lake.succeed(["unpin", version]) }
    #expect(Disk.size(of: mark) == nil && Disk.size(of: lake.lake + "/versions/w@1/w.pinned") == nil)
    #expect(!(try lake.run(["doctor"]).outputText.contains("was pinned at")))
  }

  /// Two sources that share their bytes share the files after it, too.
  @Test func sharedBytesAreFoundUnderTheOtherShardsName() throws {
    let lake = try LakeFixture.make(.synced)
    let again = [
      "source", "add", "same", "--directory", try LakeFixture.sources().directory.path + "/captions", "--dimension",
      "8", "--dtype", "float32", "--modality", "other",
    ]
    try lake.succeed(again)
    try lake.succeed(["sync", "--quiet"])
    let shards = try lake.texts("SELECT path FROM v_shard WHERE source = 'same' ORDER BY ordinal")
    #expect(try shards == lake.texts("SELECT path FROM v_shard WHERE source = 'captions' ORDER BY ordinal"))
    try lake.succeed(["train", "s", "--images", "same", "--method", "kmeans", "--nlist", "3", "--quiet"])
    try lake.succeed(["build", "s", "--trained", "s", "--images", "same", "--quiet"])
    try lose(lake)
    try lake.succeed(["rebuild-catalog"])
    #expect(try lake.texts("SELECT path FROM v_shard ORDER BY source, ordinal") == shards)
    try lake.succeed(["verify"])
    #expect(try lake.succeed(["reproduce", "s@1"]).outputText.contains("identical"))
  }

  @Test func shardsThatAreGoneAreKnownAndFetchedAgain() throws {
    let (lake, before) = try makeLake()
    try lose(lake)
    try FileManager.default.removeItem(atPath: lake.lake + "/shards/images")
    try lake.succeed(["rebuild-catalog"])
    #expect(try lake.texts("SELECT state FROM shard ORDER BY id") == ["evicted", "evicted", "present", "present"])
    // The document's addresses are on this machine: nobody but the user can say that
    // it is meant.
    let refused = try lake.run(["sync", "--quiet"])
    #expect(refused.ending == .exit(3))
    #expect(refused.errorText.contains("`tarn sync images --allow-inside`"), "\(refused.errorText)")
    // Where one shard ends the work, what is lacking is a word of the user's.
    let queries = lake.directory.path + "/q.npy"
    try Disk.writeAtomically(FeatureBytes.npy(3, dimension: FeatureSources.dimension, seed: 5), to: queries)
    for words in [["reproduce", "w@1"], ["evaluate", "w@1", "--queries", queries]] {
      let ended = try lake.run(words + ["--fetch", "--patience", "0", "--quiet"])
      #expect(ended.ending == .exit(64), "\(ended.errorText)")
      #expect(ended.errorText.contains("`tarn sync images --allow-inside`"), "\(ended.errorText)")
    }
    try lake.succeed(["sync", "--quiet", "--allow-inside"])
    #expect(try shown(lake) == before)
    #expect(try lake.succeed(["reproduce", "w@1"]).outputText.contains("identical"))
  }

  @Test func aGoodCatalogStays() throws {
    let (lake, before) = try makeLake()
    let result = try lake.run(["rebuild-catalog"])
    #expect(result.ending == .exit(64))
    #expect(result.errorText.contains("is whole and stays as it is"))
    #expect(try shown(lake) == before)
  }

  @Test(arguments: ["garbage", "empty", "a page"]) func aDamagedCatalogIsSetAside(kind: String) throws {
    let (lake, before) = try makeLake()
    let path = lake.lake + "/catalog.sqlite"
    let url = URL(fileURLWithPath: path)
    var bytes = try Data(contentsOf: url)
    switch kind {
    case "garbage": bytes = Data(repeating: 0x5A, count: bytes.count)
    case "empty": bytes = Data()
    default: bytes.replaceSubrange(4096..<3 * 4096, with: Data(repeating: 0xA5, count: 2 * 4096))
    }
    try lose(lake)
    try bytes.write(to: url)
    #expect(try lake.succeed(["rebuild-catalog"]).outputText.contains("the damaged catalog is \(path).damaged-1"))
    #expect(try Data(contentsOf: URL(fileURLWithPath: path + ".damaged-1")) == bytes)
    #expect(try shown(lake) == before)
  }

  @Test func whatIsMissingOrDamagedIsSaid() throws {
    let (lake, before) = try makeLake()
    let output =
      lake.lake + "/artifacts/"
      + (try lake.text(
        "SELECT path FROM stored_bytes WHERE sha256 = (SELECT sha256 FROM v_output_shard WHERE version = 'v@1' AND output = 1)"
      ))
    try lose(lake)
    try FileManager.default.removeItem(atPath: output)
    try Data("{}".utf8).write(to: URL(fileURLWithPath: lake.lake + "/versions/w@1/w.lock.json"))
    let result = try lake.run(["rebuild-catalog"])
    #expect(result.ending == .exit(20))
    #expect(result.outputText.contains("v@1, output 1: \(output) is missing"))
    #expect(result.outputText.contains("w@1: its lock file is damaged"))
    #expect(try lake.run(["verify", "--repair"]).ending == .exit(20))
    // What could not be made again stays where it is, and is named until somebody moves it.
    let verify = try lake.run(["verify"])
    #expect(verify.ending == .exit(20))
    #expect(
      verify.errorText.contains("move that directory out of the lake (no catalog can be made from it: w@1: its lock"))
    try FileManager.default.moveItem(atPath: lake.lake + "/versions/w@1", toPath: lake.directory.path + "/w@1")
    try lake.succeed(["verify"])
    #expect(try lake.succeed(["export", "v@1"]).outputText == before[0])
    #expect(try lake.run(["show", "w@1"]).ending == .exit(64))
  }

  @Test func aDocumentThatTheLockFileDoesNotBearOutIsNotBelieved() throws {
    let (lake, _) = try makeLake()
    try lose(lake)
    for version in ["v", "w"] {
      let path = "\(lake.lake)/versions/\(version)@1/\(version).export.json"
      let text = try String(contentsOfFile: path, encoding: .utf8)
      try text.replacing("\"img_0.npy\"", with: "\"img_9.npy\"").write(toFile: path, atomically: true, encoding: .utf8)
    }
    let result = try lake.run(["rebuild-catalog"])
    #expect(result.ending == .exit(10))
    #expect(result.errorText.contains("its document says what its lock file does not bear out"))
    #expect(Disk.size(of: lake.lake + "/catalog.sqlite") == nil)
  }

  @Test func aDirectoryThatIsNoLakeIsRefused() throws {
    let nothing = try LakeFixture.nothing()
    #expect(try nothing.run(["rebuild-catalog", "--lake", nothing.directory.path]).ending == .exit(10))
    let empty = try LakeFixture.make(.synced)
    try lose(empty)
    #expect(try empty.run(["rebuild-catalog"]).ending == .exit(10))
  }
}

/// Segments of a lake that lost its catalog.
@Suite struct RebuildSegmentTests {
  private func lose(_ lake: LakeFixture) throws {
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
  }

  /// A version was made without some of their rows.
  @Test func segmentsOfExcludedRowsAreBorneOutByTheOthers() throws {
    let lake = try LakeFixture.make(.trained)
    let ids = lake.directory.path + "/ids"
    try "1\n\(FeatureSources.rowCount + 2)\n".write(toFile: ids, atomically: true, encoding: .utf8)
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "a test"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1", "--quiet"])
    let segments = "SELECT trained_sha256 || shard_sha256 || sha256 || row_count FROM segment ORDER BY 1"
    let before = try lake.texts(segments)
    try #require(before.count == FeatureSources.shardCount)
    try lose(lake)
    try lake.succeed(["rebuild-catalog", "--quiet"])
    #expect(try lake.texts(segments) == before)
  }

  /// The shards are gone: what the next version is merged from are the old segments.
  @Test func segmentsThatAnOutputBearsOutAreUsedAgain() throws {
    let lake = try LakeFixture.make(.built)
    let before = try lake.texts("SELECT trained_sha256 || shard_sha256 || sha256 || row_count FROM segment ORDER BY 1")
    try lose(lake)
    let said = try lake.succeed(["rebuild-catalog", "--json"]).outputText
    #expect(said.contains("\"segments\":2"), "\(said)")
    #expect(
      try lake.texts("SELECT trained_sha256 || shard_sha256 || sha256 || row_count FROM segment ORDER BY 1") == before)
    try lake.succeed(["evict", "images"])
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--offline", "--quiet"])
    try lake.succeed(["verify"])
    try lake.succeed(["doctor"])
    #expect(!(try lake.succeed(["gc", "--grace", "0s"]).outputText.contains("segments/")))
  }

  /// A segment of an unfinished build, which no output bears out: `gc` has it, and
  /// nothing is left over.
  @Test func othersAreOfferedToGC() throws {
    let lake = try LakeFixture.make(.built)
    try lake.succeed(["train", "u", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
    try lake.kill(["build", "w", "--trained", "u", "--images", "images", "--quiet"])
    let segments = try lake.texts("SELECT path FROM stored_bytes WHERE kind = 'segment'").count
    #expect(segments == 4)
    // It was killed when its files were whole; without them it was never finished.
    try FileManager.default.removeItem(atPath: lake.lake + "/versions/w@1")
    try lose(lake)
    let said = try lake.succeed(["rebuild-catalog", "--json"]).outputText
    #expect(said.contains("\"segments\":2"), "\(said)")
    let offered = try lake.succeed(["gc", "--grace", "0s"]).outputText
    #expect(offered.components(separatedBy: "segments/").count == 3, "\(offered)")
    try lake.succeed(["gc", "--grace", "0s", "--apply"])
    #expect(try lake.files().filter { $0.contains("artifacts/segments/") }.count == 2)
    try lake.succeed(["verify"])
    try lake.succeed(["doctor"])
  }
}
