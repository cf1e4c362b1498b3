// Versions pushed to a place and pulled from it: what moves, what is refused, and that a
// version which was taken in is one like any other.

import Base
import Catalog
import Foundation
import Synchronization
import Testing
import TestSupport

@Suite struct PublishTests {
  private static let files = [
    "index.json", "v@1", "v@1/trained.faiss", "v@1/v.000.faiss", "v@1/v.001.faiss", "v@1/v.export.json",
    "v@1/v.lock.json",
  ]

  /// A place of a test's own.
  private static func place(_ lake: LakeFixture) throws -> String {
    let place = lake.directory.path + "/place"
    try FileManager.default.copyItem(atPath: LakeFixture.published(), toPath: place)
    return place
  }

  private static func pull(_ lake: LakeFixture, _ source: String, _ more: String...) throws -> ProcessResult {
    try lake.run(["pull", source, "--patience", "0"] + more)
  }

  @Test func aPlaceHoldsTheVersionsFilesAndNothingElse() throws {
    #expect(try FileManager.default.subpathsOfDirectory(atPath: LakeFixture.published()).sorted() == Self.files)
  }

  @Test func whatWasPulledIsAVersionLikeAnyOther() throws {
    let built = try LakeFixture.make(.built)
    let lake = try LakeFixture.make(.empty)
    try lake.succeed(["pull", LakeFixture.published(), "v@1", "--allow-inside"])
    let own = { (lines: [String]) in
      lines.filter {
        $0.hasPrefix("artifacts/outputs") || $0.hasPrefix("artifacts/trained") || $0.hasPrefix("versions/")
      }
    }
    // But for a file that says where it is from.
    let origin = lake.lake + "/versions/v@1/v.pulled"
    #expect(try String(contentsOfFile: origin, encoding: .utf8).contains("/published/v@1/"))
    #expect(own(try lake.files()).filter { !$0.hasPrefix("versions/v@1/v.pulled") } == own(try built.files()))
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    for arguments in [["search", "v@1", "--queries", queries], ["export", "v@1"], ["locate", "v@1", "0", "39"]] {
      #expect(try lake.succeed(arguments).output == built.succeed(arguments).output, "\(arguments)")
    }
    try lake.succeed(["verify"])
    try lake.succeed(["doctor", "--quiet"])
    #expect(try lake.succeed(["reproduce", "v@1", "--fetch", "--patience", "0"]).outputText.contains("identical"))
    try lake.succeed(["evaluate", "v@1", "--queries", queries, "-k", "5"])
    // What is built here from it is what was built there.
    #expect(
      try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1"]).outputText
        .contains("was sealed before"))
    // Its layout is no word of this lake's.
    try lake.succeed(["sync", "images", "--quiet"])
    let dry = try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--dry-run"])
    #expect(!dry.errorText.contains("as the last version of v has"), "\(dry.errorText)")
    // And it is published again as it was.
    let again = lake.directory.path + "/again"
    try lake.succeed(["push", "v@1", again])
    for file in Self.files where file.contains(".") {
      #expect(
        try Disk.digest(of: "\(again)/\(file)") == Disk.digest(of: "\(LakeFixture.published())/\(file)"), "\(file)")
    }
  }

  /// A publisher knows of no takedown here.
  @Test func rowsThatAreExcludedHereAreTold() throws {
    let lake = try LakeFixture.make(.synced)
    let ids = lake.directory.path + "/ids"
    try Disk.writeAtomically(Array("3\n21\n".utf8), to: ids)
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "a test"])
    let pulled = try Self.pull(lake, LakeFixture.published(), "v@1", "--allow-inside")
    #expect(
      pulled.ending == .exit(0) && pulled.errorText.contains("warning: v@1 has 2 rows that are excluded here"),
      "\(pulled.errorText)")
    let again = try Self.pull(lake, LakeFixture.published(), "v@1", "--allow-inside")
    #expect(again.ending == .exit(0) && !again.errorText.contains("excluded"), "\(again.errorText)")
    let adopt = ["adopt", "version", "a"] + (try LakeFixture.publishedOutputs()) + ["--trained", "t"]
    let adopted = try lake.succeed(adopt + ["--source", "images"])
    #expect(adopted.errorText.contains("warning: a@1 has 2 rows that are excluded here"), "\(adopted.errorText)")
  }

  /// Who pulled an earlier version learns with the next one what its publisher took out.
  @Test func rowsThatThePublisherTookOutAreTold() throws {
    let (built, lake) = (try LakeFixture.make(.built), try LakeFixture.make(.empty))
    let (place, ids) = (built.directory.path + "/place", built.directory.path + "/ids")
    try built.succeed(["push", "v@1", place, "--quiet"])
    let first = try Self.pull(lake, place, "v@1", "--allow-inside", "--quiet")
    #expect(first.ending == .exit(0) && !first.errorText.contains("made without"), "\(first.errorText)")
    try Disk.writeAtomically(Array("3\n21\n".utf8), to: ids)
    try built.succeed(["exclude", "images", "--ids", ids, "--reason", "a test"])
    for arguments in LakeStage.built.arguments(try LakeFixture.sources()) { try built.succeed(arguments) }
    try built.succeed(["push", "v@2", place, "--quiet"])
    let second = try Self.pull(lake, place, "v@2", "--allow-inside", "--quiet")
    #expect(
      second.ending == .exit(0)
        && second.errorText.contains("v@2 was made without 2 rows that v@1 has: `tarn diff v@1 v@2` tells which"),
      "\(second.errorText)")
  }

  @Test func aSecondTimeMovesNothing() throws {
    let lake = try LakeFixture.make(.built)
    let place = lake.directory.path + "/place"
    try lake.succeed(["push", "v@1", place])
    let before = try Self.files.map {
      try FileManager.default.attributesOfItem(atPath: "\(place)/\($0)")[.modificationDate] as? Date
    }
    #expect(try lake.succeed(["push", "v@1", place]).outputText.contains("0 files written"))
    // And tells nothing new, but where it is.
    #expect(try lake.texts("SELECT kind || ' ' || place FROM v_publication") == ["pushed \(place)"])
    #expect(try lake.text("SELECT (p.sha256 = v.sha256) || '' FROM v_publication p, v_version v") == "1")
    let after = try Self.files.map {
      try FileManager.default.attributesOfItem(atPath: "\(place)/\($0)")[.modificationDate] as? Date
    }
    #expect(before == after)
    let contents = try lake.contents()
    #expect(try lake.succeed(["pull", place]).outputText.contains("already"))
    #expect(try lake.contents().filter { !$0.hasPrefix("scratch") } == contents.filter { !$0.hasPrefix("scratch") })
  }

  /// A push that ends on its way has left files, and whoever withdraws the version is told where.
  @Test func whatIsPushedInPartIsToldOf() throws {
    let lake = try LakeFixture.make(.built)
    let place = lake.directory.path + "/place"
    try Disk.makeDirectory(place + "/v@1")
    try Data("mine".utf8).write(to: URL(fileURLWithPath: place + "/v@1/v.001.faiss"))
    #expect(try lake.run(["push", "v@1", place, "--jobs", "1"]).ending == .exit(64))
    #expect(Disk.size(of: place + "/v@1/v.000.faiss") != nil)
    #expect(try lake.texts("SELECT kind || ' ' || place FROM v_publication") == ["pushed \(place)"])
    // One that goes on is one more, as it writes; one that finds all there is none.
    try FileManager.default.removeItem(atPath: place + "/v@1/v.001.faiss")
    for _ in 0..<2 {
      try lake.succeed(["push", "v@1", place])
      #expect(try lake.text("SELECT count(*) || '' FROM v_publication") == "2")
    }
    #expect(try lake.succeed(["revoke", "v@1", "--reason", "test"]).outputText.contains("was pushed to \(place)"))
  }

  @Test func nothingAtAPlaceIsReplaced() throws {
    let lake = try LakeFixture.make(.built)
    for (number, file) in ["v@1/v.000.faiss", "v@1/v.lock.json", "v@1/v.export.json"].enumerated() {
      let place = lake.directory.path + "/place-\(number)"
      try FileManager.default.copyItem(atPath: LakeFixture.published(), toPath: place)
      try Data("mine".utf8).write(to: URL(fileURLWithPath: "\(place)/\(file)"))
      let result = try lake.run(["push", "v@1", place])
      #expect(result.ending == .exit(64), "\(file): \(result.errorText)")
      #expect(try String(contentsOfFile: "\(place)/\(file)", encoding: .utf8) == "mine")
    }
  }

  @Test func aPlaceInALakeIsRefused() throws {
    let lake = try LakeFixture.make(.built)
    for place in [lake.lake, lake.lake + "/versions", lake.lake + "/artifacts/outputs"] {
      #expect(try lake.run(["push", "v@1", place]).ending == .exit(64))
    }
    #expect(try lake.run(["push", "v@1", "https://host.example/x"]).ending == .exit(64))
  }

  @Test func wrongBytesChangeNothingAndRightOnesGoOn() throws {
    let lake = try LakeFixture.make(.empty)
    let place = try Self.place(lake)
    let before = try lake.contents(lasting: true).filter { !$0.hasPrefix("stored_bytes") && !$0.hasPrefix("artifacts") }
    let file = URL(fileURLWithPath: place + "/v@1/v.001.faiss")
    let whole = try Data(contentsOf: file)
    var damaged = whole
    damaged[damaged.count - 1] ^= 1
    try damaged.write(to: file)
    let result = try Self.pull(lake, place)
    #expect(result.ending == .exit(20), "\(result.errorText)")
    #expect(
      try lake.contents(lasting: true).filter {
        !$0.hasPrefix("stored_bytes") && !$0.hasPrefix("artifacts") && !$0.contains("total")
      } == before.filter { !$0.contains("total") })
    try whole.write(to: file)
    #expect(try lake.succeed(["pull", place]).outputText.contains("already"))
    try lake.succeed(["verify"])
  }

  @Test func aDocumentThatDoesNotHoldIsRefusedBeforeAnythingIsFetched() throws {
    let lake = try LakeFixture.make(.empty)
    let before = try lake.contents()
    let place = try Self.place(lake)
    let file = URL(fileURLWithPath: place + "/v@1/v.export.json")
    let text = try String(contentsOf: file, encoding: .utf8)
    let output = try #require(text.range(of: #""rows" : 20"#))
    let changes: [(String, String)] = [
      ("rows", text.replacingCharacters(in: output, with: #""rows" : 21"#)),
      ("version", text.replacing("\"v@1\"", with: "\"../../x@1\"")),
      ("source", text.replacing("\"images\"", with: "\"../images\"")),
      ("shard", text.replacing("img_0.npy\"", with: "../img_0.npy\"")),
      ("number", text.replacing(#""shards_per_output" : 1"#, with: #""shards_per_output" : 9223372036854775807"#)),
      ("more", text.replacing(#""format" :"#, with: #""other" : 1, "format" :"#)),
      ("nothing", ""), ("half", String(text.prefix(text.count / 2))),
    ]
    for (name, changed) in changes {
      #expect(changed != text, "\(name) is not changed")
      try Data(changed.utf8).write(to: file)
      let result = try Self.pull(lake, place, "v@1")
      #expect(result.ending == .exit(20), "\(name): \(result.ending) \(result.errorText)")
      #expect(result.errorLines.count == 1)
    }
    try Data(text.utf8).write(to: file)
    // Another sealing's lock file.
    let lock = URL(fileURLWithPath: place + "/v@1/v.lock.json")
    let sealed = try String(contentsOf: lock, encoding: .utf8)
    for changed in [sealed + " ", sealed.replacing("\"rows\":20", with: "\"rows\":19"), ""] {
      try Data(changed.utf8).write(to: lock)
      #expect(try Self.pull(lake, place, "v@1").ending == .exit(20))
    }
    #expect(try lake.contents() == before)
  }

  @Test func aNameMeansOneThing() throws {
    // Another version of that name; another source and another training under the names.
    let other = try LakeFixture.make(.trained)
    try other.succeed(["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2"])
    let before = try other.contents(lasting: true)
    let result = try Self.pull(other, LakeFixture.published())
    #expect(result.ending == .exit(64) && result.errorText.contains("another v@1"), "\(result.errorText)")
    #expect(try other.contents(lasting: true) == before)
    let strange = try LakeFixture.make(.empty)
    try strange.succeed(
      ["source", "add", "images", "--url", "https://host.example/{ordinal}.npy", "--count", "3", "--dimension", "8"])
    let refused = try Self.pull(strange, LakeFixture.published())
    #expect(
      refused.ending == .exit(64) && refused.errorText.contains("another source named images"), "\(refused.errorText)")
    #expect(try strange.texts("SELECT name FROM trained_index").isEmpty)
  }

  /// Rows go from what was pulled without its shards, and without a word about its layout.
  @Test func rowsGoFromWhatWasPulledWithoutItsShards() throws {
    let lake = try LakeFixture.make(.empty)
    try lake.succeed(["pull", LakeFixture.published(), "v@1", "--allow-inside"])
    let ids = lake.directory.path + "/gone"
    try Data("3\n".utf8).write(to: URL(fileURLWithPath: ids))
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "test"])
    let built = try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--offline"])
    #expect(built.outputText.contains("v@2 is sealed"), "\(built.outputText)")
    #expect(
      try lake.texts("SELECT rows || '' FROM v_output_shard WHERE version = 'v@2' ORDER BY output") == ["19", "20"])
    #expect(try lake.texts("SELECT state FROM shard WHERE state = 'present'").isEmpty)
  }

  /// What was withdrawn does not come back by a pull, under no name.
  @Test func whatWasRevokedHereIsNotTakenInAgain() throws {
    let lake = try LakeFixture.make(.built)
    try lake.succeed(["push", "v@1", lake.directory.path + "/place", "--quiet"])
    try lake.succeed(["revoke", "v@1", "--reason", "withdrawn"])
    // Once as its files are there, and once as they are gone.
    for _ in 0..<2 {
      for more in [[], ["--as", "other"]] {
        let result = try lake.run(["pull", lake.directory.path + "/place", "v@1", "--patience", "0"] + more)
        let told = result.errorText
        #expect(result.ending == .exit(64) && told.contains("v@1 was revoked in this lake"), "\(told)")
        #expect(told.contains("`tarn reproduce v@1 --into DIR`"), "\(told)")
      }
      try lake.succeed(["gc", "--apply", "--grace", "0s"])
      #expect(Disk.size(of: lake.lake + "/versions/v@1/v.000.faiss") == nil)
    }
    #expect(try lake.texts("SELECT name FROM index_version") == ["v"])
  }

  /// What was pulled is no proof of how it is made.
  @Test(arguments: [[], ["--as", "w"]] as [[String]]) func whatWasPulledIsNotSaidToBeMadeHere(alias: [String]) throws {
    let lake = try LakeFixture.make(.empty)
    try lake.succeed(["pull", LakeFixture.published(), "v@1", "--allow-inside"] + alias)
    let document = try LakeFixture.published() + "/v@1/v.export.json"
    let replay = try lake.run(["reproduce", "--from", document, "--allow-inside", "--patience", "0"])
    let name = alias.isEmpty ? "v@1" : "w@1"
    #expect(
      replay.ending == .exit(64) && replay.errorText.contains("has v@1 already, pulled as \(name)")
        && replay.errorText.contains("`tarn reproduce \(name)`"), "\(replay.errorText)")
    #expect(try lake.texts("SELECT version FROM v_version") == [name])
  }

  /// Nor is its trained index, with which another version is made.
  @Test func aTrainedIndexThatWasPulledIsNotSaidToBeTrainedHere() throws {
    let (built, lake) = (try LakeFixture.make(.built), try LakeFixture.make(.empty))
    try built.succeed(["build", "x", "--trained", "t", "--images", "images", "--quiet"])
    let document = built.directory.path + "/x.json"
    try Data(built.succeed(["export", "x@1"]).output).write(to: URL(fileURLWithPath: document))
    try lake.succeed(["pull", LakeFixture.published(), "v@1", "--allow-inside"])
    let replay = ["reproduce", "--from", document, "--allow-inside", "--patience", "0"]
    let reason = "this lake has no record of having trained it"
    let told = try lake.succeed(replay)
    #expect(told.outputText.contains("x@1 is identical"), "\(told.outputText)")
    #expect((told.outputText + told.errorText).contains(reason), "\(told.outputText) \(told.errorText)")
    let new = try LakeFixture.make(.empty)
    let proven = try new.succeed(replay)
    #expect(!(proven.outputText + proven.errorText).contains(reason), "\(proven.outputText) \(proven.errorText)")
  }

  @Test func theSameSourceIsTheSame() throws {
    let lake = try LakeFixture.make(.synced)
    try lake.succeed(["pull", LakeFixture.published()])
    #expect(try lake.texts("SELECT name FROM source ORDER BY name") == ["captions", "images"])
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM shard_revision") == "4")
    #expect(try lake.succeed(["reproduce", "v@1"]).outputText.contains("identical"))
    try lake.succeed(["verify"])
  }

  /// Shards that this lake has left out, fetched before or not, are named with the way back.
  @Test(arguments: [LakeStage.registered, .synced]) func whatRestsOnDroppedShardsIsRefused(stage: LakeStage) throws {
    let lake = try LakeFixture.make(stage)
    // Of unknown length none is dropped, and what was never fetched goes off the end alone.
    try lake.succeed(["source", "probe", "images", "--quiet"])
    let ordinal = stage == .synced ? 1 : 0
    try lake.succeed(["source", "drop-shards", "images", "--shards", "\(ordinal)"])
    let before = try lake.contents(lasting: true)
    let refused = try Self.pull(lake, LakeFixture.published())
    #expect(
      refused.ending == .exit(64)
        && refused.errorText.contains("img_\(ordinal).npy of images was dropped in this lake, and v@1 rests on it"),
      "\(refused.errorText)")
    #expect(
      refused.errorText.contains("`tarn source drop-shards images --shards \(ordinal) --undo` takes it back"),
      "\(refused.errorText)")
    #expect(refused.errorLines.count == 1)
    #expect(try lake.contents(lasting: true) == before)
    try lake.succeed(["source", "drop-shards", "images", "--shards", "\(ordinal)", "--undo"])
    try lake.succeed(["pull", LakeFixture.published(), "--quiet"])
  }

  @Test func ofSeveralVersionsOneIsNamed() throws {
    let lake = try LakeFixture.make(.built)
    let place = try Self.place(lake)
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images"])
    try lake.succeed(["push", "w", place])
    let asked = try Self.pull(lake, place)
    #expect(asked.ending == .exit(64) && asked.errorText.contains("v@1, w@1"), "\(asked.errorText)")
    #expect(try Self.pull(lake, place, "x@1").ending == .exit(21))
    // A lost index is made again of what is there.
    try FileManager.default.removeItem(atPath: place + "/index.json")
    try lake.succeed(["push", "v@1", place])
    #expect(try Self.pull(lake, place).errorText.contains("v@1, w@1"))
  }

  @Test func twoPushesAtATimeLoseNoEntry() throws {
    let lake = try LakeFixture.make(.built)
    for name in ["w", "x", "y"] { try lake.succeed(["build", name, "--trained", "t", "--images", "images"]) }
    let place = lake.directory.path + "/place"
    let running = try ["v", "w", "x", "y"].map { try lake.start(["push", $0, place, "--quiet"]) }
    for process in running { #expect(process.finish().ending == .exit(0)) }
    let index = try String(contentsOfFile: place + "/index.json", encoding: .utf8)
    for name in ["v", "w", "x", "y"] { #expect(index.contains("\"\(name)@1\"")) }
  }

  /// Nor are they taken for damage of the store's: whoever comes second reads the index and writes it again.
  @Test func anIndexThatAnotherPushReplacesIsNoDamage() throws {
    let lake = try LakeFixture.make(.built)
    let store = try FakeStore()
    let writes = Mutex(0)
    store.writing { request in
      guard request.hasPrefix("PUT /bucket/pub/index.json") else { return nil }
      let count = writes.withLock { writes in
        writes += 1
        return writes
      }
      return count == 1 ? (key: "pub/index.json", bytes: Array("{}".utf8)) : nil
    }
    let result = try lake.run(
      ["push", "v@1", "s3://bucket/pub", "--quiet", "--patience", "0"], environment: store.environment)
    #expect(result.ending == .exit(0), "\(result.errorText)")
    #expect(String(decoding: store.objects["pub/index.json"] ?? [], as: UTF8.self).contains("\"v@1\""))
    #expect(writes.withLock(\.self) == 2)
  }

  @Test func aLimitHoldsForDirectoriesToo() throws {
    let lake = try LakeFixture.make(.built)
    let place = lake.directory.path + "/place"
    let sizes = try lake.texts("SELECT byte_count FROM stored_bytes WHERE kind IN ('output-shard', 'trained-index')")
      .compactMap { Int($0) }
    let least = try #require(sizes.min())
    let began = ContinuousClock.now
    try lake.succeed(["push", "v@1", place, "--jobs", "1", "--bwlimit", "\(least)B/s"])
    // The last piece is waited for by nobody.
    #expect(began.duration(to: .now) > .milliseconds(800 * (sizes.count - 1)))
    #expect(try FileManager.default.subpathsOfDirectory(atPath: place).sorted() == Self.files)
  }

  @Test func aWebSiteIsAPlaceAndWhatCameIsNotAskedForAgain() throws {
    let lake = try LakeFixture.make(.empty)
    let root = try LakeFixture.published()
    let isCutting = Mutex(true)
    let server = try HostileServer { request in
      let path = root + request.target.dropFirst("/pub".count).replacing("%40", with: "@")
      guard let data = FileManager.default.contents(atPath: path) else { return .answer(404) }
      if request.target.hasSuffix("v.001.faiss"), isCutting.withLock(\.self) {
        return .answer(503)
      }
      return .file(Array(data), for: request)
    }
    let cut = try Self.pull(lake, server.url("/pub"), "--jobs", "1")
    #expect(cut.ending == .exit(75), "\(cut.errorText)")
    isCutting.withLock { $0 = false }
    try lake.succeed(["pull", server.url("/pub/"), "v@1", "--patience", "0"])
    let asked = Dictionary(grouping: server.requests.filter { $0.method == "GET" }, by: \.target).mapValues(\.count)
    // What had come before the second run was not asked for again.
    #expect(asked["/pub/v@1/v.000.faiss"] == 1)
    #expect(asked["/pub/v@1/trained.faiss"] == 1)
    #expect(asked["/pub/index.json"] == 1)
    try lake.succeed(["verify"])
  }

  @Test func singleFilesAreWrittenWithoutALake() throws {
    let lake = try LakeFixture.nothing()
    let into = lake.directory.path + "/one"
    // One that is named twice is one.
    let pull = [
      "pull", try LakeFixture.published(), "v@1", "--file", "v.001.faiss", "--file", "v.001.faiss", "--into", into,
      "--patience", "0",
    ]
    try lake.succeed(pull)
    #expect(try FileManager.default.contentsOfDirectory(atPath: into) == ["v.001.faiss"])
    try lake.succeed(pull)
    try Data("mine".utf8).write(to: URL(fileURLWithPath: into + "/v.001.faiss"))
    #expect(try lake.run(pull).ending == .exit(64))
    #expect(try String(contentsOfFile: into + "/v.001.faiss", encoding: .utf8) == "mine")
    #expect(
      try lake.run(["pull", LakeFixture.published(), "v@1", "--file", "../v.lock.json", "--into", into]).ending
        == .exit(64))
    let useless = try lake.run(pull + ["--allow-inside"])
    #expect(
      useless.ending == .exit(64) && useless.errorText.contains("--file follows none of them"), "\(useless.errorText)")
    #expect(!FileManager.default.fileExists(atPath: lake.lake))
  }

  @Test func aDocumentLeadsNowhereIntoThisMachineUnlessTheUserSaysSo() throws {
    let lake = try LakeFixture.make(.empty)
    try lake.succeed(["pull", LakeFixture.published()])
    let refused = try lake.run(["sync", "images"])
    #expect(refused.ending == .exit(3) && refused.errorText.contains("--allow-inside"), "\(refused.errorText)")
  }
}
