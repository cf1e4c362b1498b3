// `tarn search`: queries in every format, and re-ranking by the original
// features.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct SearchVerbTests {
  private static let dimension = FeatureSources.dimension

  private func write(_ bytes: [UInt8], _ name: String, in lake: LakeFixture) throws -> String {
    let path = lake.directory.path + "/" + name
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }

  private func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  @Test func queriesOfEveryFormatGiveTheSameAnswer() throws {
    let lake = try LakeFixture.make(.built)
    let npy = FeatureBytes.npy(3, dimension: Self.dimension, .float32, seed: 9)
    let elements = Array(npy.suffix(3 * Self.dimension * 4))
    let header = #"{"q":{"dtype":"F32","shape":[3,8],"data_offsets":[0,96]}}"#
    let rows = stride(from: 0, to: elements.count, by: 4 * Self.dimension).map {
      littleEndian(UInt32(Self.dimension)) + elements[$0..<$0 + 4 * Self.dimension]
    }
    let files = [
      try write(npy, "q.npy", in: lake),
      try write(littleEndian(UInt64(header.utf8.count)) + Array(header.utf8) + elements, "q.safetensors", in: lake),
      try write(littleEndian(UInt32(3)) + littleEndian(UInt32(Self.dimension)) + elements, "q.fbin", in: lake),
      try write(Array(rows.joined()), "q.fvecs", in: lake),
    ]
    let answers = try files.map { file in
      try lake.succeed(["search", "v@1", "--queries", file, "-k", "4", "--json"]).outputText
    }
    #expect(Set(answers).count == 1)
    let line = try #require(answers[0].split(separator: "\n").first)
    let document = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    let shards = document["shards"] as? [String]
    let places = document["rows"] as? [Int]
    for (rank, id) in try #require(document["ids"] as? [Int]).enumerated() {
      #expect(shards?[rank] == "img_\(id / FeatureSources.rowCount).npy")
      #expect(places?[rank] == id % FeatureSources.rowCount)
    }
  }

  @Test(arguments: ["search", "evaluate"]) func fewerRowsThanAreWantedAreNotLookedAtAgain(verb: String) throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(2, dimension: Self.dimension, .float32, seed: 5), "q.npy", in: lake)
    let all = [verb, "v@1", "--queries", queries, "-k", "9"]
    let refused = try lake.run(all + ["--refine", "8"])
    #expect(refused.ending == .exit(64) && refused.errorText.contains("--refine 9 or more"), "\(refused.errorText)")
    try lake.succeed(all + ["--refine", "0"])
    guard verb == "search" else { return }
    let more = try lake.run(all + ["--refine", "17", "--rerank", "2"])
    #expect(more.ending == .exit(64) && more.errorText.contains("--refine 18 or more"), "\(more.errorText)")
  }

  @Test func rerankedRowsHaveTheScoresOfTheirFeatures() throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(2, dimension: Self.dimension, .float32, seed: 5), "q.npy", in: lake)
    let result = try lake.succeed(
      ["search", "v@1", "--queries", queries, "-k", "4", "--nprobe", "3", "--rerank", "10", "--json"])
    var random = SplitMix64(seed: 5)
    let vectors = random.unitRows(2, dimension: Self.dimension)
    let images = (0..<FeatureSources.shardCount).flatMap { ordinal in
      var random = SplitMix64(seed: UInt64(1 + ordinal))
      return random.unitRows(FeatureSources.rowCount, dimension: Self.dimension).map { Double(Float16($0)) }
    }
    let rowCount = FeatureSources.shardCount * FeatureSources.rowCount
    for (query, line) in result.outputText.split(separator: "\n").enumerated() {
      let scores = (0..<rowCount).map { row in
        (0..<Self.dimension).reduce(0.0) {
          $0 + Double(vectors[query * Self.dimension + $1]) * images[row * Self.dimension + $1]
        }
      }
      // Ten times four rows are all rows there are: the answer is that of exact search.
      let expected = (0..<rowCount).sorted { scores[$0] > scores[$1] }.prefix(4)
      let document = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      #expect(document?["ids"] as? [Int] == Array(expected))
      let found = try #require(document?["scores"] as? [Double])
      #expect(zip(found, expected).allSatisfy { abs($0 - scores[$1]) < 1e-6 })
    }
  }

  @Test func rerankingWithoutTheFeaturesSaysWhatToFetch() throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(1, dimension: Self.dimension, seed: 5), "q.npy", in: lake)
    try lake.succeed(["evict", "images"])
    try lake.succeed(["search", "v@1", "--queries", queries])
    let result = try lake.run(["search", "v@1", "--queries", queries, "--rerank", "2"])
    #expect(result.ending == .exit(21))
    #expect(result.errorLines.count == 1 && result.errorText.contains("tarn sync images"))
  }

  @Test func rerankingHashesShardsThatWereTouched() throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(1, dimension: Self.dimension, seed: 5), "q.npy", in: lake)
    let search = ["search", "v@1", "--queries", queries, "-k", "4", "--nprobe", "3", "--rerank", "10", "--json"]
    let expected = try lake.succeed(search).outputText
    let shard = "\(lake.lake)/shards/" + (try lake.text("SELECT path FROM v_shard WHERE shard = 'img_0.npy'"))
    let later = [FileAttributeKey.modificationDate: Date(timeIntervalSinceNow: 60)]
    try FileManager.default.setAttributes(later, ofItemAtPath: shard)
    #expect(try lake.succeed(search).outputText == expected)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: shard))
    bytes[bytes.count - 1] ^= 1
    try bytes.write(to: URL(fileURLWithPath: shard))
    try FileManager.default.setAttributes(later, ofItemAtPath: shard)
    let result = try lake.run(search)
    #expect(result.ending == .exit(20))
    #expect(result.errorLines.count == 1 && result.errorText.contains("has changed since it was fetched"))
  }

  @Test func aQueryFileThatIsNoneIsOneLine() throws {
    let lake = try LakeFixture.make(.built)
    let system = try write([0x80, 2] + Array("cos\nsystem\n.".utf8), "q.pt", in: lake)
    let narrow = try write(FeatureBytes.npy(1, dimension: 6, seed: 5), "narrow.npy", in: lake)
    for (file, says) in [(system, "q.pt"), (narrow, "rows of 6 elements"), ("/none.fbin", "/none.fbin")] {
      let result = try lake.run(["search", "v@1", "--queries", file])
      #expect(result.ending != .exit(0))
      #expect(result.errorLines.count == 1 && result.errorText.contains(says), "\(result.errorText)")
    }
  }

  @Test func damageThatLeavesAFileInShapeIsFoundByCheck() throws {
    let lake = try LakeFixture.make(.built)
    let queries = try write(FeatureBytes.npy(2, dimension: Self.dimension, seed: 5), "q.npy", in: lake)
    let search = ["search", "v@1", "--queries", queries, "--nprobe", "3", "--json"]
    let answer = try lake.succeed(search).outputText
    #expect(try lake.succeed(search + ["--check"]).outputText == answer)
    // The last byte before the last id is one of a code or of an id: no header says what it must be.
    let digest = try lake.text("SELECT sha256 FROM v_output_shard WHERE output = 1")
    let found = try lake.files().first { $0.hasPrefix("artifacts/") && $0.hasSuffix(digest) }
    let path = try #require(found).split(separator: ":")[0]
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: "\(lake.lake)/\(path)"))
    try file.seek(toOffset: try file.seekToEnd() - 9)
    let byte = try #require(try file.read(upToCount: 1)?.first)
    try file.seek(toOffset: try file.offset() - 1)
    try file.write(contentsOf: Data([byte ^ 1]))
    try file.close()
    try lake.succeed(search)
    let result = try lake.run(search + ["--check"])
    #expect(result.ending == .exit(20))
    #expect(result.errorText.contains("is damaged; run `tarn verify --repair`") && result.errorLines.count == 1)
    #expect(result.outputText.hasPrefix(#"{"error":"#))
  }

  @Test(arguments: ["search", "evaluate"])
  func queriesThatAreNoFileAreRefusedAndNotWaitedFor(verb: String) throws {
    let lake = try LakeFixture.make(.built)
    let fifo = lake.directory.path + "/q.npy"
    try #require(mkfifo(fifo, 0o600) == 0)
    for path in [fifo, "/dev/zero", lake.directory.path] {
      let result = try lake.run([verb, "v@1", "--queries", path, "-k", "3"])
      #expect(result.ending == .exit(64), "\(path): \(result.errorText)")
      let what = path == lake.directory.path ? "is a directory" : "is not a regular file"
      #expect(result.errorText.contains(what), "\(result.errorText)")
    }
  }
}
