// `verify --repair` and shards whose files are gone: those on which something rests come
// back, with the bytes that they had or not at all.

import Base
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite struct MissingShardTests {
  private func lake(_ script: @escaping @Sendable (HostileServer.Request) -> ScriptedAnswer?) throws -> (
    LakeFixture, FeatureSources
  ) {
    let sources = try FeatureSources(interfering: script)
    let lake = try LakeFixture.nothing()
    try lake.succeed(["init", lake.lake])
    for stage in [LakeStage.registered, .synced] {
      for arguments in stage.arguments(sources) { try lake.succeed(arguments) }
    }
    return (lake, sources)
  }

  private func removeImages(_ lake: LakeFixture) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: lake.lake + "/shards/images") {
      try FileManager.default.removeItem(atPath: lake.lake + "/shards/images/" + name)
    }
  }

  private let train = ["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"]

  @Test func whatATrainingNeedsComesBack() throws {
    let (lake, sources) = try lake { _ in nil }
    try lake.succeed(train + ["--shards", "0"])
    try removeImages(lake)
    let before = sources.server.requests.count
    let result = try lake.run(["verify", "--repair"])
    #expect(result.ending == .exit(20) && result.errorText.contains("1 of them restored"), "\(result.outputText)")
    // The other one nobody needs: it is given up, and not asked for.
    #expect(sources.server.requests.dropFirst(before).allSatisfy { $0.target == "/images/img_0.npy" })
    #expect(
      try lake.texts("SELECT state FROM v_shard WHERE source = 'images' ORDER BY ordinal") == ["present", "evicted"])
    try lake.succeed(["verify"])
    #expect(try lake.texts("SELECT max(revision) || '' FROM v_shard WHERE source = 'images'") == ["1"])
  }

  @Test func otherBytesDoNotComeInTheirPlace() throws {
    let isOther = Mutex(false)
    let (lake, _) = try lake { request in
      guard isOther.withLock({ $0 }), request.target.hasPrefix("/images") else { return nil }
      return .file(FeatureBytes.npy(20, dimension: FeatureSources.dimension, .float16, seed: 99), for: request)
    }
    try lake.succeed(train)
    try removeImages(lake)
    isOther.withLock { $0 = true }
    let result = try lake.run(["verify", "--repair"])
    #expect(result.ending == .exit(20) && result.errorText.contains("0 of them restored"), "\(result.errorText)")
    #expect(try lake.texts("SELECT max(revision) || '' FROM v_shard WHERE source = 'images'") == ["1"])
    #expect(result.outputText.contains("not replaced; it stays where it is"), "\(result.outputText)")
    // It is named again, for as long as nobody gave it.
    #expect(try lake.run(["verify"]).ending == .exit(20))
  }

  @Test func aDroppedShardIsNotFetched() throws {
    let (lake, sources) = try lake { _ in nil }
    try lake.succeed(["source", "drop-shards", "images", "--shards", "0"])
    try removeImages(lake)
    let before = sources.server.requests.count
    let result = try lake.run(["verify", "--repair"])
    #expect(result.ending == .exit(20))
    #expect(sources.server.requests.count == before)
    let lines = result.outputText.split(separator: "\n").filter { $0.contains("img_0") }
    #expect(lines.count == 1 && lines.allSatisfy { !$0.contains("tarn sync") })
  }

  /// What ended because only patience ran out says so by its code.
  @Test func patienceThatRanOutIsATemporaryFailure() throws {
    let isAway = Mutex(false)
    let (lake, sources) = try lake { _ in isAway.withLock { $0 } ? ScriptedAnswer([.reset]) : nil }
    isAway.withLock { $0 = true }
    let probe = try lake.run(["source", "probe", "images", "--patience", "1s"])
    #expect(probe.ending == .exit(75) && probe.errorText.contains("waiting for"), "\(probe.errorText)")
    let add = try lake.run([
      "source", "add", "more", "--url", sources.server.url("/images/img_{ordinal}.npy"), "--count", "2", "--patience",
      "1s",
    ])
    #expect(add.ending == .exit(75) && add.errorText.contains("patience ends at"), "\(add.errorText)")
    #expect(try lake.run(["verify", "--patience", "1s"]).ending == .exit(64))
  }
}
