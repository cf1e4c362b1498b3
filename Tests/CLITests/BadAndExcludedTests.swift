// Rows that are excluded, some of which were bad before: what sets the versions apart is said.

import Base
import Foundation
import TestSupport
import Testing

@Suite struct BadAndExcludedTests {
  private func exclude(_ lake: LakeFixture, _ ids: [Int]) throws -> ProcessResult {
    let file = lake.directory.path + "/ids.txt"
    try Disk.writeAtomically(Array(ids.map { "\($0)\n" }.joined().utf8), to: file)
    return try lake.succeed(["exclude", "images", "--ids", file, "--reason", "case 21"])
  }

  @Test func diffNamesTheRowsThatOneVersionAloneLeavesOut() throws {
    var shards = PairedShards([600, 8], seed: 5)
    shards.spoil(10, of: 0, isImage: true, with: 0)
    let lake = try shards.lake()
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
      "--bad-rows", "skip",
    ])
    let build = ["build", "v", "--trained", "t", "--images", "images", "--bad-rows", "skip", "--quiet"]
    try lake.succeed(build)
    _ = try exclude(lake, [10])
    try lake.succeed(build)
    _ = try exclude(lake, Array(100..<500))
    try lake.succeed(build)
    let one = try lake.succeed(["diff", "v@1", "v@2"]).outputText
    #expect(one.contains("v@2 alone leaves out 1 row of images_0.npy: 10") && !one.contains("same inputs"), "\(one)")
    let many = try lake.succeed(["diff", "v@2", "v@3"]).outputText
    #expect(many.contains("v@3 alone leaves out 400 rows of images_0.npy: 100, 101"), "\(many)")
    let back = try lake.succeed(["diff", "v@3", "v@2", "--json"]).outputText
    #expect(JSONValue(parsing: back)?["same"] == .bool(false))
    #expect(
      JSONValue(parsing: back)?["excluded_only_in_first"]?.elements.first?["rows"]?.elements.count == 400, "\(back)")
  }
}
