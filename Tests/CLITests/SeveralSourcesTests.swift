// Verbs that work on a source, told several: each by itself, and nothing before all names are known.

import Base
import Foundation
import TestSupport
import Testing

@Suite struct SeveralSourcesTests {
  /// Sources of files in directories of their own: features, and two companions.
  private func lake() throws -> LakeFixture {
    let lake = try LakeFixture.make(.empty)
    for (name, seed) in [("images", 3), ("captions", 5)] {
      let directory = "\(lake.directory.path)/\(name)"
      try Disk.makeDirectory(directory)
      try Data(FeatureBytes.npy(20, dimension: 8, seed: UInt64(seed))).write(
        to: URL(fileURLWithPath: directory + "/a.npy"))
      try lake.succeed(["source", "add", name, "--directory", directory])
    }
    for name in ["meta", "tags"] {
      let directory = "\(lake.directory.path)/\(name)"
      try Disk.makeDirectory(directory)
      let lines = (0..<20).map { "{\"n\":\($0)}\n" }.joined()
      try Disk.writeAtomically(Array(lines.utf8), to: directory + "/a.jsonl")
      try lake.succeed(["source", "add", name, "--companion-of", "images", "--directory", directory])
    }
    try lake.succeed(["sync", "--quiet"])
    return lake
  }

  private func lines(_ result: ProcessResult) -> [String] {
    result.outputText.split(separator: "\n").map(String.init)
  }

  @Test func severalAreEvictedInTurn() throws {
    let lake = try lake()
    let refused = try lake.run(["evict", "images", "none"])
    #expect(refused.ending == .exit(64) && refused.output.isEmpty, "\(refused.outputText)\(refused.errorText)")
    #expect(try lake.run(["evict"]).ending == .exit(64))
    let gone = lines(try lake.succeed(["evict", "images", "meta"]))
    #expect(gone.count == 2 && gone[0].hasPrefix("images: 1 shard evicted ("), "\(gone)")
    #expect(gone.count == 2 && gone[1].hasPrefix("meta: 1 shard evicted ("), "\(gone)")
    #expect(lines(try lake.succeed(["evict", "tags"])).first?.hasPrefix("1 shard evicted (") == true)
    // For programs one is as it was, and of several each says which it is.
    #expect(try JSONValue(parsing: lake.succeed(["evict", "captions", "--json"]).outputText)?["source"] == nil)
    let told = lines(try lake.succeed(["evict", "captions", "images", "--json"]))
    #expect(told.map { JSONValue(parsing: $0)?["source"]?.string } == ["captions", "images"], "\(told)")
  }

  @Test func severalAreLookedAtAgainInTurn() throws {
    let lake = try lake()
    let added = "\(lake.directory.path)/captions/b.npy"
    try Data(FeatureBytes.npy(20, dimension: 8, seed: 4)).write(to: URL(fileURLWithPath: added))
    let told = lines(try lake.succeed(["source", "refresh", "images", "captions", "--dry-run"]))
    #expect(
      told == ["images would have 1 shard, 0 more", "captions would have 2 shards, 1 more", "b.npy is new"], "\(told)")
    #expect(
      lines(try lake.succeed(["source", "refresh", "images", "captions"])).last == "captions has 2 shards, 1 more")
    let list = try lake.run(["source", "refresh", "images", "captions", "--order-of", "images"])
    #expect(list.ending == .exit(64) && list.errorText.contains("are of one source"), "\(list.errorText)")
  }

  /// What one lacks keeps the others from nothing, and the gravest is what the command ends with.
  @Test func severalArePackedInTurn() throws {
    let lake = try lake()
    try lake.succeed(["evict", "meta"])
    let short = try lake.run(["pack", "meta", "tags"])
    #expect(
      short.ending == .exit(3) && short.errorText.contains("1 shard of meta not in the lake"), "\(short.errorText)")
    let told = lines(short)
    #expect(told.count == 2 && told[0].hasPrefix("meta: 0 shards packed ("), "\(told)")
    #expect(told.count == 2 && told[1].hasPrefix("tags: 1 shard packed ("), "\(told)")
    #expect(try lake.run(["pack", "tags", "images"]).ending == .exit(64))
  }
}
