// Adoption under a trained index whose versions have codes that refine: adopted ones have none.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct AdoptedRefineTests {
  /// A lake with a version that has codes that refine, and the files of that one's outputs.
  private func makeLake() throws -> (lake: LakeFixture, outputs: [String]) {
    let lake = try LakeFixture.make(.synced)
    try lake.succeed([
      "train", "r", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2", "--refine",
      "sq8", "--quiet",
    ])
    try lake.succeed(["build", "v", "--trained", "r", "--images", "images", "--shards-per-output", "1", "--quiet"])
    return (lake, (0..<FeatureSources.shardCount).map { "\(lake.lake)/versions/v@1/v.00\($0).faiss" })
  }

  @Test(arguments: ["none", "caption-mean"]) func aTrainedIndexKeepsThem(router: String) throws {
    let lake = try LakeFixture.make(.synced)
    try lake.succeed([
      "train", "r", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2", "--refine",
      "sq8", "--router", router, "--quiet",
    ])
    let file = lake.lake + "/artifacts/" + (try lake.text("SELECT path FROM stored_bytes WHERE kind = 'trained-index'"))
    let other = try LakeFixture.make(.synced)
    try other.succeed(["adopt", "trained", "r", file, "--quiet"])
    #expect(
      try other.text("SELECT sha256 FROM v_trained_index") == lake.text("SELECT sha256 FROM v_trained_index"))
    #expect(try other.text("SELECT refine FROM v_trained_index") == "sq8")
    for each in [lake, other] { try each.succeed(["build", "v", "--trained", "r", "--images", "images", "--quiet"]) }
    let outputs = "SELECT sha256 || refine_sha256 FROM v_output_shard"
    #expect(try other.text(outputs) == lake.text(outputs))
    try other.succeed(["verify"])
    try other.succeed(["export", "v@1"])
    try lose(other)
    let said = try other.succeed(["rebuild-catalog"]).outputText
    #expect(said.contains("1 trained indexes, 1 version,"), "\(said)")
  }

  /// What was adopted before what refines was taken over is as it was, and is put back when it is lost.
  @Test func anOlderAdoptionIsPutBack() throws {
    let lake = try LakeFixture.make(.synced)
    let train = ["--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2", "--quiet"]
    try lake.succeed(["train", "r", "--refine", "sq8"] + train)
    try lake.succeed(["train", "p"] + train)
    func artifact(_ name: String, _ lake: LakeFixture) throws -> String {
      let path = "SELECT b.path FROM trained_index t JOIN stored_bytes b ON b.sha256 = t.sha256 WHERE t.name = "
      return lake.lake + "/artifacts/" + (try lake.text(path + "'\(name)'"))
    }
    let file = try artifact("r", lake)
    let now = try LakeFixture.make(.empty)
    try now.succeed(["adopt", "trained", "r", file, "--quiet"])
    try now.succeed(["adopt", "trained", "p", try artifact("p", lake), "--quiet"])
    let plain = try artifact("p", now)
    let known = try now.text("SELECT spec FROM trained_index WHERE name = 'r'")
    guard case .object(var spec)? = JSONValue(parsing: known) else {
      throw TarnError(.integrity, "a specification is an object")
    }
    #expect(spec.removeValue(forKey: "refine") != nil)
    let other = try LakeFixture.make(.empty)
    do {
      let catalog = try LakeCatalog.open(root: other.lake, writing: "a test")
      let adopted = AdoptedFile(
        name: file.lastPathPart, digest: try Disk.digest(of: file), byteCount: try #require(Disk.size(of: file)),
        rowCount: 0)
      let (source, pinned) = try catalog.register([adopted], dimension: 8)
      let record = try catalog.planTraining(
        TrainingDefinition(
          name: "r", method: TrainedIndexRecord.adoptedMethod, codec: "sq4", nlist: 3, dimension: 8, iterations: 1,
          seed: 0, pairCount: 3, images: source, captions: nil, spec: JSONValue.object(spec).text,
          inputs: pinned.map { .init(role: "image", revision: $0) }))
      try catalog.finishTraining(
        record, digest: try Disk.digest(of: plain), byteCount: try #require(Disk.size(of: plain)))
    }
    for _ in 0..<2 { try other.succeed(["adopt", "trained", "r", file, "--quiet"]) }
    #expect(try other.text("SELECT sha256 FROM v_trained_index") == Disk.digest(of: plain).hex)
    #expect(try other.text("SELECT coalesce(refine, 'none') FROM v_trained_index") == "none")
    try other.succeed(["verify"])
  }

  private func lose(_ lake: LakeFixture) throws {
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
  }

  @Test func anAdoptedVersionIsWholeWithoutThem() throws {
    let (lake, outputs) = try makeLake()
    try lake.succeed(["adopt", "version", "a"] + outputs + ["--trained", "r", "--source", "images", "--quiet"])
    try lake.succeed(["verify"])
    try lake.succeed(["export", "a@1"])
    let place = lake.directory.path + "/published"
    try lake.succeed(["push", "a@1", place, "--quiet"])
    try LakeFixture.make(.empty).succeed(["pull", place, "--quiet"])
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    try lake.succeed(["search", "a@1", "--queries", queries])
    try lake.succeed(["evaluate", "a@1", "--queries", queries, "-k", "3"])
    let refused = try lake.run(["search", "a@1", "--queries", queries, "--refine", "20"])
    #expect(refused.ending == .exit(64) && refused.errorText.contains("no codes that refine"))
    try lose(lake)
    let said = try lake.succeed(["rebuild-catalog"]).outputText
    #expect(said.contains("1 trained indexes, 2 versions"), "\(said)")
  }
}
