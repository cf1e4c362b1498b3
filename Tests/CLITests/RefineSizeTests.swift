// Sizes that are told of a version with codes that refine: those of all its files.

import Base
import Foundation
import TestSupport
import Testing

@Suite struct RefineSizeTests {
  @Test func filesThatRefineAreCounted() throws {
    let lake = try PairedShards([120, 90], seed: 31).lake()
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "4", "--iterations", "2", "--quiet",
      "--refine", "sq8",
    ])
    let build = ["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1"]
    let built = try lake.succeed(build).outputText
    let directory = lake.lake + "/versions/v@1"
    let sizes = try FileManager.default.contentsOfDirectory(atPath: directory)
      .filter { $0.hasSuffix(".faiss") || $0.hasSuffix(".refine") }
      .map { try #require(Disk.size(of: "\(directory)/\($0)")) }
    try #require(sizes.count == 4)
    let byteCount = sizes.reduce(0, +)
    let said = "4 files, \(ByteSize.text(byteCount))"
    #expect(built.contains("v@1 is sealed: 210 rows in \(said), "), "\(built)")
    let json = try lake.succeed(build + ["--json"]).outputText
    let outputs = try #require(JSONValue(parsing: json)?["outputs"]).elements
    let told = outputs.map { ($0["bytes"]?.integer ?? 0) + ($0["refine"]?["bytes"]?.integer ?? 0) }.reduce(0, +)
    #expect(told == Int64(byteCount), "\(json)")
    #expect(try lake.succeed(["versions", "--json"]).outputText.contains("\"bytes\":\(byteCount)"))
    let reproduced = try lake.succeed(["reproduce", "v@1"]).outputText
    #expect(reproduced.contains("v@1 is identical: \(said), byte for byte"), "\(reproduced)")
    let document = lake.directory.path + "/v.json"
    try Data(lake.succeed(["export", "v@1"]).output).write(to: URL(fileURLWithPath: document))
    let elsewhere = try LakeFixture.nothing()
    try elsewhere.succeed(["init", elsewhere.lake])
    let replayed = try elsewhere.succeed(["reproduce", "--from", document, "--allow-inside", "--patience", "0"])
    #expect(replayed.outputText.contains("made here as v@1: \(said), byte for byte"), "\(replayed.outputText)")
  }
}
