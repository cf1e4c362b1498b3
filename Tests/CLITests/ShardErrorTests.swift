// Where many shards fail, a few are told and a query is advised for the others: it lists every
// one, whatever it failed for, and none that is well again.

import Foundation
import Testing
import TestSupport

@Suite struct ShardErrorTests {
  /// The query that an error advises.
  private func advised(_ text: String) throws -> String {
    let start = try #require(text.range(of: "`tarn sql \""))
    let end = try #require(text.range(of: "\"`", range: start.upperBound..<text.endIndex))
    return String(text[start.upperBound..<end.lowerBound])
  }

  /// The shards that the query lists, as the tool answers it.
  private func listed(_ query: String, _ lake: LakeFixture) throws -> [String] {
    let answer = try lake.succeed(["sql", query, "--format", "csv"]).outputText
    return answer.split(separator: "\n").dropFirst().map { String($0.split(separator: ",")[1]) }.sorted()
  }

  private static let names = (0..<7).map { "images_\($0).npy" }

  @Test func shardsThatAreHereAndFailedAreListed() throws {
    let shards = PairedShards([Int](repeating: 10, count: 7), seed: 25)
    let lake = try shards.lake()
    try lake.succeed(["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
    let directory = lake.directory.path + "/images"
    for (number, name) in Self.names.enumerated() {
      let other = FeatureBytes.npy(10, dimension: PairedShards.dimension, seed: 900 + UInt64(number))
      try Data(other).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }
    let failed = try lake.run(["sync", "images", "--refresh", "--quiet"])
    #expect(failed.ending == .exit(3) && failed.errorText.contains("and 2 more shards like these"))
    let query = try advised(failed.errorText)
    #expect(try listed(query, lake) == Self.names)
    // What comes, and what is found as it was, has none any more.
    try lake.succeed(["sync", "images", "--refresh", "--keep-old", "--shards", "0-3", "--quiet"])
    #expect(try listed(query, lake) == Array(Self.names.dropFirst(4)))
    for (number, name) in Self.names.enumerated() {
      try Data(shards.images[number]).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }
    try lake.succeed(["sync", "images", "--refresh", "--shards", "4-6", "--quiet"])
    #expect(try listed(query, lake).isEmpty)
  }

  /// Of what was not asked for at all there is an error, too; a shard that is dropped has none.
  @Test func shardsThatWereNotAskedForAreListed() throws {
    let lake = try PairedShards([10], seed: 26).lake(synced: false)
    try lake.succeed([
      "source", "add", "far", "--url", "http://127.0.0.1:9/images_{ordinal}.npy", "--count", "7", "--dimension", "8",
    ])
    let failed = try lake.run(["sync", "--budget", "1MB", "--quiet"])
    #expect(failed.ending != .exit(0) && failed.errorText.contains("and 2 more shards like these"))
    let query = try advised(failed.errorText)
    #expect(try listed(query, lake) == Self.names)
    try lake.succeed(["source", "drop-shards", "far", "--shards", "6"])
    #expect(try listed(query, lake) == Array(Self.names.dropLast()))
  }
}
