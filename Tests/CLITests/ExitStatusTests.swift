// Every exit code that a user can meet is met, with its one line.

import Base
import Catalog
import Dispatch
import Foundation
import Testing
import TestSupport

/// Checks how a command ended and that it said why in one line.
private func expectFailure(
  _ result: ProcessResult, _ status: Int32, _ fragments: String..., location: SourceLocation = #_sourceLocation
) {
  #expect(result.ending == .exit(status), "\(result.errorText)", sourceLocation: location)
  #expect(result.errorLines.count == 1, "\(result.errorText)", sourceLocation: location)
  #expect(result.errorText.hasPrefix("tarn: "), "\(result.errorText)", sourceLocation: location)
  for fragment in fragments {
    #expect(result.errorText.contains(fragment), "\(result.errorText)", sourceLocation: location)
  }
}

@Suite struct ExitStatusTests {
  /// A lake with a source of two shards on a server that answers as scripted.
  private func lake(
    sizes: String? = nil, _ script: @escaping @Sendable (HostileServer.Request) -> ScriptedAnswer
  ) throws -> (lake: LakeFixture, server: HostileServer) {
    let server = try HostileServer(script)
    let lake = try LakeFixture.make(.empty)
    var arguments = [
      "source", "add", "images", "--url", server.url("/{ordinal}.npy"), "--count", "2", "--dimension", "8",
    ]
    if let sizes {
      let path = lake.directory.path + "/sizes"
      try sizes.write(toFile: path, atomically: true, encoding: .utf8)
      arguments += ["--sizes", path]
    }
    try lake.succeed(arguments)
    return (lake, server)
  }

  private static let shard = FeatureBytes.npy(5, dimension: 8, seed: 3)

  @Test func isZeroWhenAllIsDone() throws {
    let result = try LakeFixture.make(.registered).run(["sync", "--quiet"])
    #expect(result.ending == .exit(0))
    #expect(result.errors.isEmpty)
    #expect(result.outputText.hasPrefix("4 shards fetched"))
  }

  @Test func isOneWhenASystemCallFails() throws {
    let lake = try LakeFixture.make(.synced)
    let arguments = try #require(LakeStage.trained.arguments(LakeFixture.sources()).first)
    expectFailure(try lake.run(arguments, environment: ["TARN_FAULT": "EIO@3"]), 1, "Input/output error")
  }

  @Test func isUsageWhenRebuiltFilesWouldMeetOthers() throws {
    let lake = try LakeFixture.make(.built)
    let before = try lake.contents()
    for directory in [lake.lake, lake.lake + "/versions/v@1", lake.lake + "/artifacts/new"] {
      expectFailure(try lake.run(["reproduce", "v@1", "--into", directory, "--quiet"]), 64, "is in the lake")
    }
    let other = lake.directory.path + "/rebuilt"
    try lake.succeed(["reproduce", "v@1", "--into", other, "--quiet"])
    expectFailure(try lake.run(["reproduce", "v@1", "--into", other, "--quiet"]), 64, "holds other files")
    let changed = try lake.contents().filter { !$0.hasPrefix("event:") && !$0.hasPrefix("reproduction:") }
    #expect(changed == before.filter { !$0.hasPrefix("event:") })
  }

  @Test func isThreeWhenSomeShardsAreNowhere() throws {
    let (lake, server) = try lake { $0.target == "/0.npy" ? .file(Self.shard, for: $0) : .answer(404) }
    defer { server.stop() }
    expectFailure(try lake.run(["sync", "--quiet"]), 3, "1.npy")
    #expect(try lake.text("SELECT group_concat(state) FROM (SELECT state FROM shard ORDER BY id)") == "present,absent")
  }

  @Test func isTenWithoutALake() throws {
    let empty = try LakeFixture.nothing()
    let named = try ProcessRunner.run(["status", "--lake", empty.directory.path])
    expectFailure(named, 10, "no lake", "tarn init")
    let here = try ProcessRunner.run(["status"], directory: empty.directory.path)
    expectFailure(here, 10, "no lake", empty.directory.path)
    #expect(try FileManager.default.contentsOfDirectory(atPath: empty.directory.path).isEmpty)
  }

  @Test func isElevenWhileAnotherWrites() throws {
    let lake = try LakeFixture.make(.built)
    let before = try lake.contents()
    let lock = try WriterLock(path: lake.lake + "/tarn.lock", command: "a test")
    try withExtendedLifetime(lock) {
      expectFailure(try lake.run(["sync"]), 11, "another tarn", "a test", "--wait")
      for reader in [["status"], ["doctor"], ["versions"]] { try lake.succeed(reader) }
    }
    #expect(try lake.contents() == before)
  }

  @Test func isTwelveForACatalogOfTheFuture() throws {
    let lake = try LakeFixture.make(.empty)
    try lake.tamper("PRAGMA user_version = 9999")
    for verb in ["status", "sync", "doctor"] { expectFailure(try lake.run([verb]), 12, "9999", "newer tarn") }
  }

  @Test func isTwelveForACatalogOfThePastUntilItIsMigrated() throws {
    let lake = try LakeFixture.make(.built)
    try OldCatalog.age(lake.lake, toSchema: 9)
    let readers = [["status"], ["versions"], ["doctor"], ["schema"], ["limit"], ["sql", "SELECT 1"], ["show", "v@1"]]
    for reader in readers {
      expectFailure(try lake.run(reader), 12, "schema 9", "tarn schema --migrate", "a copy")
    }
    #expect(try lake.succeed(["backup", lake.lake + "/copy.sqlite"]).outputText.contains("schema 9"))
    let answer = try lake.succeed(["schema", "--migrate", "--json"]).outputText
    #expect(answer == "{\"schema\":\(LakeCatalog.schemaNumber)}\n")
    for reader in readers { try lake.succeed(reader) }
    #expect(
      try lake.succeed(["schema", "--migrate"]).outputText == "the catalog has schema \(LakeCatalog.schemaNumber)\n")
    #expect(try lake.run(["schema", "--migrate", "v_shard"]).ending == .exit(64))
  }

  @Test func isTwentyForBytesThatChanged() throws {
    let lake = try LakeFixture.make(.synced)
    let path = lake.lake + "/shards/" + (try lake.text("SELECT path FROM v_shard WHERE shard = 'img_1.npy'"))
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    bytes[bytes.count - 1] ^= 1
    try bytes.write(to: URL(fileURLWithPath: path))
    let arguments = try #require(LakeStage.trained.arguments(LakeFixture.sources()).first)
    expectFailure(try lake.run(arguments), 20, path, "tarn sync images")
  }

  @Test func isTwentyOneWithoutTheInputs() throws {
    let lake = try LakeFixture.make(.registered)
    let arguments = try #require(LakeStage.trained.arguments(LakeFixture.sources()).first)
    expectFailure(try lake.run(arguments), 21, "2 of 2 shards", "img_0.npy", "tarn sync images")
    let built = try LakeFixture.make(.built)
    try built.evictImages()
    expectFailure(try built.run(["reproduce", "v@1", "--quiet"]), 21, "2 inputs of v@1", "img_0.npy")
  }

  @Test func isTwentyFourWhenARebuildDiffers() throws {
    let lake = try LakeFixture.make(.built)
    // The catalog is made to say, throughout, that output 0 has the bytes of output 1.
    try lake.tamper(
      """
      UPDATE output_shard SET (sha256, lists_sha256) =
        (SELECT sha256, lists_sha256 FROM output_shard WHERE ordinal = 1) WHERE ordinal = 0
      """)
    let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
    let lock =
      try catalog.lockContent(of: catalog.version(VersionName(name: "v", number: 1)), segmentFormat: 1).text + "\n"
    let digest = ContentDigest.of(lock)
    try lake.tamper(
      """
      UPDATE lock_text SET text = '\(lock)'; UPDATE index_version SET version_sha256 = '\(digest)';
      UPDATE event SET detail = json_set(detail, '$.sha256', '\(digest)') WHERE verb = 'sealed'
      """)
    expectFailure(try lake.run(["reproduce", "v@1", "--quiet"]), 24, "v@1 differs", "output 0", "list 0", "row id")
    #expect(try lake.text("SELECT outcome FROM reproduction") == "differs")
  }

  @Test func aBudgetWantsSizesBeforehand() throws {
    let (lake, server) = try lake { .file(Self.shard, for: $0) }
    defer { server.stop() }
    let refused = try lake.run(["sync", "--quiet", "--budget", "1GB"])
    expectFailure(refused, 64, "sizes of 2 shards", "tarn source probe images")
    #expect(try lake.text("SELECT group_concat(state) FROM shard") == "registered,registered")
    try lake.succeed(["source", "probe", "images", "--quiet"])
    try lake.succeed(["sync", "--quiet", "--budget", "1GB"])
  }

  @Test func isTwentyEightWhenTheDiskOrTheBudgetIsFull() throws {
    let size = Self.shard.count
    let (lake, server) = try lake(sizes: "0.npy \(size)\n1.npy \(size)\n") { .file(Self.shard, for: $0) }
    defer { server.stop() }
    let full = try lake.run(["sync", "--quiet"], environment: ["TARN_FAULT": "ENOSPC@3+"])
    #expect(full.ending == .exit(28), "\(full.errorText)")
    expectFailure(try lake.run(["sync", "--quiet", "--budget", "\(size)"]), 28, "budget", "images holds")
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM shard WHERE state = 'present'") == "1")
    try lake.succeed(["sync", "--quiet", "--budget", "\(2 * size)"])
  }

  /// As some supervisors leave it to whom they start: then the system tells nobody how a child ended.
  @Test func howAChildEndedIsHeardWhereThatWasIgnored() throws {
    let lake = try LakeFixture.make(.empty)
    let captions = try LakeFixture.sources().directory.path + "/captions/txt_{ordinal}.npy"
    try lake.succeed([
      "source", "add", "made", "--url", "command:cp {input} {output}", "--input", captions, "--count", "2",
      "--shard-names", "made_{ordinal}.npy", "--dimension", "\(FeatureSources.dimension)", "--dtype", "float32",
    ])
    let words = ["--ignore-signal=CHLD", ProcessRunner.tarn, "sync", "--allow-commands", "--patience", "0", "--quiet"]
    let environment = ProcessRunner.environment.merging(["TARN_LAKE": lake.lake]) { $1 }
    let result = try RunningProcess("/usr/bin/env", words, environment: environment).finish()
    #expect(result.ending == .exit(0), "\(result.errorText)")
  }

  @Test(arguments: [
    ["sync", "nowhere"], ["train", "t", "--images", "images", "--captions", "captions", "--nlist", "1000"],
    ["build", "v", "--trained", "none", "--images", "images"], ["show", "none@1"], ["show", "none"],
    ["sql", "DELETE FROM shard"], ["source", "show", "none"], ["reproduce", "none"],
  ])
  func isSixtyFourForWhatCannotBeMeant(arguments: [String]) throws {
    let lake = try LakeFixture.make(.synced)
    let before = try lake.contents()
    expectFailure(try lake.run(arguments), 64)
    #expect(try lake.contents() == before)
  }

  @Test(arguments: [
    ["frobnicate"], ["sync", "--jobs", "0"], ["sync", "--budget", "much"], ["sync", "--budget=-1e300"], ["train"],
    ["status", "--nonsense"],
  ])
  func isSixtyFourForArgumentsThatDoNotParse(arguments: [String]) throws {
    let result = try LakeFixture.make(.empty).run(arguments)
    #expect(result.ending == .exit(64))
    #expect(result.output.isEmpty)
    #expect(result.errorLines.count == 1 && result.errorText.hasPrefix("tarn: "), "\(result.errorText)")
    #expect(result.errorText.contains("--help`"), "\(result.errorText)")
  }

  @Test func isSeventyFiveWhenTheServerIsDownForNow() throws {
    let (lake, server) = try lake { _ in .answer(503, headers: ["Retry-After: 0"]) }
    defer { server.stop() }
    let result = try lake.run(["sync", "--quiet"])
    #expect(result.ending == .exit(75), "\(result.errorText)")
    #expect(result.errorLines.allSatisfy { $0.hasPrefix("tarn: ") })
    #expect(result.errorText.contains("503"))
  }

  @Test(arguments: [(SIGINT, Int32(130)), (SIGTERM, Int32(143))])
  func isTheSignalsWhenInterrupted(signal: Int32, status: Int32) throws {
    let asked = DispatchSemaphore(value: 0)
    let (lake, server) = try lake { _ in
      ScriptedAnswer([
        .send(Array("HTTP/1.1 200 OK\r\nContent-Length: \(Self.shard.count)\r\n\r\n".utf8) + Self.shard.prefix(200)),
        .run { asked.signal() }, .stall,
      ])
    }
    defer { server.stop() }
    let process = try lake.start(["sync", "--quiet"])
    #expect(asked.wait(timeout: .now() + 30) == .success)
    process.signal(signal)
    expectFailure(process.finish(), status, "interrupted", "again")
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM shard WHERE reserved_byte_count IS NOT NULL") == "0")
  }
}
