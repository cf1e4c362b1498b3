// A fault of this machine, in the middle of work that may leave shards out: it leaves none out.

import Base
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite struct LocalFaultTests {
  /// A lake with a trained index, and a source of which nothing was ever fetched.
  private func lake(_ sources: FeatureSources) throws -> LakeFixture {
    let lake = try LakeFixture.nothing()
    try lake.succeed(["init", lake.lake])
    for stage in [LakeStage.registered, .synced] {
      for arguments in stage.arguments(sources) { try lake.succeed(arguments) }
    }
    try lake.succeed(["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
    try lake.succeed([
      "source", "add", "later", "--url", sources.server.url("/images/img_{ordinal}.npy"), "--count",
      "\(FeatureSources.shardCount)",
    ])
    return lake
  }

  @Test(arguments: ["ENOSPC", "EIO"]) func makesNoHole(fault: String) throws {
    let sources = try FeatureSources()
    let before = try lake(sources)
    let build = [
      "build", "v", "--trained", "t", "--images", "later", "--missing", "skip", "--jobs", "1", "--patience", "0",
      "--quiet",
    ]
    let whole = try before.copy()
    let log = whole.directory.path + "/steps"
    #expect(try whole.run(build, environment: ["TARN_FAULT_LOG": log]).ending == .exit(0))
    let steps = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
    let part = try #require(steps.firstIndex { $0.contains(" create ") && $0.hasSuffix(".part") }, "\(steps)")
    let lake = try before.copy()
    let failed = try lake.run(build, environment: ["TARN_FAULT": "\(fault)@\(part + 1)"])
    #expect(failed.ending == .exit(fault == "EIO" ? 1 : 28), "\(failed.errorText)")
    #expect(try lake.texts("SELECT 'x' FROM version_input WHERE is_hole").isEmpty)
    try lake.succeed(build)
    let digest = "SELECT version_sha256 FROM index_version"
    #expect(try lake.text(digest) == whole.text(digest))
  }

  /// Nor does an address that was not asked, as a document brought it and nobody said that it is meant.
  @Test func anAddressThatNobodyTrustsMakesNoHole() throws {
    let sources = try FeatureSources()
    let lake = try lake(sources)
    try lake.succeed(["source", "probe", "later"])
    try lake.tamper(
      "UPDATE mirror SET is_of_document = 1 WHERE source_id = (SELECT id FROM source WHERE name = 'later')")
    let build = [
      "build", "v", "--trained", "t", "--images", "later", "--missing", "skip", "--patience", "0", "--quiet",
    ]
    let failed = try lake.run(build)
    #expect(failed.ending == .exit(64), "\(failed.errorText)")
    #expect(failed.errorText.contains("`tarn sync later --allow-inside`"), "\(failed.errorText)")
    #expect(try lake.texts("SELECT 'x' FROM version_input WHERE is_hole").isEmpty)
  }

  /// Nor does a host that may come back, in the run that met it or in the next one.
  @Test func aServerThatIsDownMakesNoHole() throws {
    let isDown = Mutex(false)
    let sources = try FeatureSources(interfering: { request in
      isDown.withLock { $0 } && request.target.hasSuffix("img_1.npy") ? .answer(503) : nil
    })
    let lake = try lake(sources)
    let build = [
      "build", "v", "--trained", "t", "--images", "later", "--missing", "skip", "--patience", "0", "--quiet",
    ]
    // The ids of what follows are known, whoever is down.
    try lake.succeed(["source", "probe", "later"])
    isDown.withLock { $0 = true }
    for _ in 0..<2 {
      let failed = try lake.run(build)
      #expect(failed.ending == .exit(75), "\(failed.errorText)")
    }
    isDown.withLock { $0 = false }
    try lake.succeed(build)
    #expect(try lake.texts("SELECT 'x' FROM version_input WHERE is_hole").isEmpty)
    #expect(try lake.texts("SELECT name || '@' || number FROM index_version") == ["v@1"])
  }
}
