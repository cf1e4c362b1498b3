// The codec and its ranges, chosen on the command line.

import Foundation
import Testing
import TestSupport

@Suite struct CodecCommandTests {
  @Test(arguments: [
    (["--codec", "sq4"], "quantiles:0.005"), (["--codec", "sq4", "--ranges", "minmax"], "minmax"),
    (["--codec", "sq8"], "minmax"), (["--codec", "sq8", "--ranges", "quantiles:1e-2"], "quantiles:0.01"),
    (["--codec", "fp16"], "none"),
  ])
  func rangesAreRecordedAndMadeAgainFromADocument(arguments: [String], ranges: String) throws {
    let lake = try LakeFixture.make(.synced)
    try lake.succeed(
      ["train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--quiet"] + arguments)
    #expect(try lake.text("SELECT coalesce(ranges, 'none') FROM v_trained_index") == ranges)
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    #expect(try lake.succeed(["reproduce", "v@1"]).outputText.contains("identical"))
    let document = lake.directory.path + "/v.json"
    try Data(try lake.succeed(["export", "v@1"]).output).write(to: URL(fileURLWithPath: document))
    let empty = try LakeFixture.nothing()
    try empty.succeed(["init", empty.lake])
    #expect(try empty.succeed(["reproduce", "--from", document, "--allow-inside"]).outputText.contains("identical"))
  }

  @Test func otherRangesAreAnotherTrainedIndex() throws {
    let lake = try LakeFixture.make(.synced)
    let train = ["--images", "images", "--captions", "captions", "--nlist", "3", "--quiet"]
    try lake.succeed(["train", "a"] + train)
    try lake.succeed(["train", "b", "--ranges", "minmax"] + train)
    #expect(try lake.text("SELECT count(DISTINCT sha256) FROM v_trained_index") == "2")
    #expect(try lake.run(["train", "a", "--ranges", "minmax"] + train).ending == .exit(64))
  }

  @Test(arguments: [
    "best", "quantiles", "quantiles:", "quantiles:0.5", "quantiles:-0.01", "quantiles:-0.0", "quantiles:nan",
  ])
  func rangesThatAreNoneAreAUsageError(ranges: String) throws {
    let lake = try LakeFixture.make(.synced)
    let result = try lake.run([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--ranges", ranges,
    ])
    #expect(result.ending == .exit(64))
    #expect(result.errorText.contains("--ranges"))
  }
}
