// Routers on the command line: trained, built with, searched with, reproduced.

import Foundation
import Testing
import TestSupport

@Suite struct RouterCommandTests {
  @Test(arguments: [
    ("learned", "paired-kmeans"), ("learned", "kmeans"), ("anchored", "paired-kmeans"), ("anchored", "kmeans"),
    ("caption-mean", "kmeans"),
  ])
  func aVersionWithARouterIsBuiltSearchedAndReproduced(router: String, method: String) throws {
    let lake = try LakeFixture.make(.synced)
    let train =
      [
        "train", "r", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2", "--quiet",
        "--method", method, "--router", router,
      ] + (router == "caption-mean" ? [] : ["--router-epochs", "2"])
    try lake.succeed(train)
    try lake.succeed(["build", "w", "--trained", "r", "--images", "images", "--shards-per-output", "1", "--quiet"])
    #expect(try lake.succeed(["reproduce", "w@1"]).outputText.contains("identical"))
    try lake.succeed(["verify"])
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(9, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    try lake.succeed(["search", "w@1", "--queries", queries, "--nprobe", "2"])
    try lake.succeed(["evaluate", "w@1", "--queries", queries, "--nprobe", "3", "--require", "recall@100=1"])
    #expect(try lake.text("SELECT router || ' ' || captions FROM v_trained_index") == "\(router) captions")
    let epochs = try lake.text("SELECT count(*) FROM router_epoch")
    #expect(epochs == (router == "caption-mean" ? "0" : "2"))
    #expect(try lake.succeed(["show", "r"]).outputText.contains(router))
    let lock = try String(contentsOfFile: lake.lake + "/versions/w@1/w.lock.json", encoding: .utf8)
    #expect(lock.contains("\"router\":\"\(router)\""))

    // The same training elsewhere, on more threads, is the same file; without the router it is another.
    let digest = try lake.text("SELECT sha256 FROM v_trained_index")
    let other = try LakeFixture.make(.synced)
    let result = try other.run(train, environment: ["TARN_THREADS": "3", "TARN_SIMD": "avx2"])
    #expect(result.ending == .exit(0))
    #expect(try other.text("SELECT sha256 FROM v_trained_index") == digest)
    #expect(try lake.run(Array(train.dropLast(4)) + ["--router", "none"]).ending == .exit(64))
  }

  @Test(arguments: [[], ["--router-candidates", "1"]])
  func aRouterIsMadeAgainFromADocumentAlone(candidates: [String]) throws {
    let lake = try LakeFixture.make(.synced)
    try lake.succeed(
      [
        "train", "r", "--images", "images", "--captions", "captions", "--nlist", "3", "--method", "kmeans", "--router",
        "learned", "--router-epochs", "2", "--router-captions", "30", "--quiet",
      ] + candidates)
    let spec = try lake.text("SELECT spec FROM trained_index")
    #expect(spec.contains("\"candidates\":1") == !candidates.isEmpty)
    try lake.succeed(["build", "w", "--trained", "r", "--images", "images", "--quiet"])
    let document = lake.directory.path + "/w.json"
    try Data(try lake.succeed(["export", "w@1"]).output).write(to: URL(fileURLWithPath: document))
    let empty = try LakeFixture.nothing()
    try empty.succeed(["init", empty.lake])
    let result = try empty.succeed(["reproduce", "--from", document, "--allow-inside"])
    #expect(result.outputText.contains("identical"))
  }

  @Test(arguments: [
    ["--router-epochs", "0"], ["--refinements", "-1"], ["--router-captions", "0"], ["--router-candidates", "0"],
    ["--router", "guess"],
  ])
  func aRouterThatCannotBeTrainedIsAUsageError(arguments: [String]) throws {
    let lake = try LakeFixture.make(.synced)
    let train = ["train", "r", "--images", "images", "--captions", "captions", "--nlist", "3"]
    #expect(try lake.run(train + arguments).ending == .exit(64))
    let without = try lake.run([
      "train", "r", "--images", "images", "--nlist", "3", "--method", "kmeans", "--router", "learned",
    ])
    #expect(without.ending == .exit(64))
    #expect(without.errorText.contains("a router needs caption features"))
  }
}
