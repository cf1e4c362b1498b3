// What a server says of its lake: the figures of `/metrics`, and which version is meant where none is named.

import Base
import Catalog
import Foundation
import Lake
import TestSupport
import Testing

@Suite struct ServedFactsTests {
  /// Every shard is in one state, and what was given up is no build that anybody waits for.
  @Test func theMetricsTellStatesThatAddUp() throws {
    let lake = try LakeFixture.unfinished(.built)
    try lake.succeed(["abandon", "v@1"])
    for arguments in LakeStage.built.arguments(try LakeFixture.sources()) { try lake.succeed(arguments) }
    try lake.succeed(["evict", "images", "--shards", "0", "--quiet"])
    try lake.succeed([
      "source", "add", "extra", "--url", "http://127.0.0.1:1/{ordinal}.npy", "--count", "3", "--dimension", "8",
    ])
    // One that is dropped is that, whether its bytes are here or not.
    try FileManager.default.createDirectory(
      atPath: lake.directory.path + "/more", withIntermediateDirectories: true)
    for name in ["a", "b", "c"] {
      try Data(FeatureBytes.npy(10, dimension: 8, seed: 5)).write(
        to: URL(fileURLWithPath: "\(lake.directory.path)/more/\(name).npy"))
    }
    try lake.succeed(["source", "add", "more", "--directory", lake.directory.path + "/more", "--dimension", "8"])
    try lake.succeed(["sync", "more", "--quiet"])
    try lake.succeed(["source", "drop-shards", "more", "--shards", "1"])
    let look = try LakeLook(LakeCatalog.open(root: lake.lake, writing: nil)).items.first { $0.name == "more" }
    #expect(look?.done == 2 && look?.total == 2)
    let served = try ServedLake(lake)
    defer {
      served.process.signal(SIGTERM)
      _ = served.process.finish()
    }
    let page = try #require(served.ask("GET", "/metrics")).body
    let lines = page.split(separator: "\n").filter { !$0.hasPrefix("#") }
    func value(_ sample: String) -> Double? {
      lines.first { $0.hasPrefix("\(sample) ") }.flatMap { Double($0.dropFirst(sample.count + 1)) }
    }
    func shards(_ source: String) -> [String: Double] {
      let states = ["registered", "fetching", "present", "evicted", "failed", "dropped"]
      let found = states.compactMap { state in
        value("tarn_source_shards{source=\"\(source)\",state=\"\(state)\"}").map { (state, $0) }
      }
      return Dictionary(uniqueKeysWithValues: found).filter { $0.value != 0 }
    }
    #expect(shards("images") == ["present": 1, "evicted": 1])
    #expect(shards("captions") == ["present": 2] && shards("extra") == ["registered": 3])
    #expect(shards("more") == ["present": 2, "dropped": 1])
    #expect(lines.count { $0.hasPrefix("tarn_source_shards{") } == 24)
    #expect(lines.count { $0.hasPrefix("tarn_build_shards{") } == 2, "\(page)")
    #expect(value("tarn_build_shards{version=\"v@2\",state=\"encoded\"}") == 2)
    #expect(value("tarn_build_shards{version=\"v@2\",state=\"open\"}") == 0)
    #expect(value("tarn_versions{state=\"abandoned\"}") == 1 && value("tarn_versions{state=\"sealed\"}") == 1)
    for place in ["catalog", "shards", "artifacts"] {
      #expect(try #require(value("tarn_free_bytes{place=\"\(place)\"}")) > 0)
    }
    #expect(value("tarn_commands_at_work") == 0)
    let now = Date().timeIntervalSince1970
    for name in ["last_transfer", "last_sealed", "last_event", "oldest_check"] {
      let time = try #require(value("tarn_\(name)_timestamp_seconds"), "\(name)")
      #expect(time > now - 3_600 && time < now + 60, "\(name)")
    }
  }

  /// What was sealed last is searched where no version is named, and the page shows which one was.
  @Test func theNewestVersionIsTheDefault() throws {
    let lake = try LakeFixture.make(.built)
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--shards-per-output", "1", "--quiet"])
    let vector = "%5B0.5,0.5,0.5,0.5,0,0,0,0%5D"
    for (words, first, second) in [([String](), "w@1", "v@1"), (["v", "w"], "v@1", "w@1")] {
      let served = try ServedLake(lake, words)
      defer {
        served.process.signal(SIGTERM)
        _ = served.process.finish()
      }
      let config = try #require(served.ask("GET", "/config.json"))
      #expect(JSONValue(parsing: config.body)?["defaultIndex"]?.string == first)
      for (asked, meant) in [("", first), ("&version=\(second.prefix(1))", second), ("&version=\(first)", first)] {
        let page = try #require(served.ask("GET", "/search?q=\(vector)\(asked)")).body
        #expect(page.contains("<caption>Rows of \(meant), "), "\(page)")
        #expect(page.contains("value=\"\(meant)\" selected"), "\(page)")
      }
    }
  }
}
