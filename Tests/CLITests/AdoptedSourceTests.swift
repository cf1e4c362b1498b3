// Whose rows an adopted version's ids are: said once, and not said otherwise later.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct AdoptedSourceTests {
  @Test func anotherSourceUnderTheSameNameIsRefused() throws {
    let lake = try LakeFixture.make(.trained)
    let adopt = ["adopt", "version", "a"] + (try LakeFixture.publishedOutputs()) + ["--trained", "t", "--quiet"]
    try lake.succeed(adopt + ["--source", "images"])
    let before = try lake.contents()
    let refused = try lake.run(adopt + ["--source", "captions"])
    #expect(refused.ending == .exit(64), "\(refused.errorText)")
    for part in ["a@1", "--source images", "--source captions", "another name"] {
      #expect(refused.errorText.contains(part), "\(refused.errorText)")
    }
    #expect(try lake.contents() == before)
    // Who says nothing, or the same, gets what there is.
    try lake.succeed(adopt)
    try lake.succeed(adopt + ["--source", "images"])
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM index_version") == "1")
    try lake.succeed(["adopt", "version", "b"] + adopt.dropFirst(3) + ["--source", "captions"])
    // One without a source is none of a source either.
    try lake.succeed(["adopt", "version", "c"] + adopt.dropFirst(3))
    let late = try lake.run(["adopt", "version", "c"] + adopt.dropFirst(3) + ["--source", "images"])
    #expect(late.ending == .exit(64) && late.errorText.contains("no --source"), "\(late.errorText)")
  }

  /// What a companion of the adopted files says of a row goes with the row of the source that its id counts.
  @Test func nothingIsSaidOfRowsThatAreExcludedOfItsSource() throws {
    let lake = try LakeFixture.make(.trained)
    try lake.succeed(
      ["adopt", "version", "a"] + (try LakeFixture.publishedOutputs())
        + ["--trained", "t", "--source", "images", "--quiet"])
    let files = try lake.text("SELECT source FROM v_version WHERE version = 'a@1'")
    // Where nobody said whose rows its ids count, the files themselves are all that there is.
    try lake.succeed(["adopt", "version", "b"] + (try LakeFixture.publishedOutputs()) + ["--trained", "t", "--quiet"])
    let none = try lake.run(["locate", "b", "3", "--columns", "link"])
    #expect(
      none.errorText.contains("`tarn source add NAME --companion-of \(files) --directory …`"), "\(none.errorText)")
    let folder = lake.directory.path + "/said"
    try Disk.makeDirectory(folder)
    for ordinal in 0..<FeatureSources.shardCount {
      let lines = (0..<FeatureSources.rowCount).map { "{\"link\":\"https://h/\(ordinal)/\($0)\"}\n" }.joined()
      try Disk.writeAtomically(Array(lines.utf8), to: "\(folder)/v.00\(ordinal).jsonl")
    }
    try lake.succeed(["source", "add", "said", "--companion-of", files, "--directory", folder])
    try lake.succeed(["sync", "said", "--quiet"])
    let (ids, values) = (lake.directory.path + "/ids", lake.directory.path + "/values")
    try Disk.writeAtomically(Array("23\n".utf8), to: ids)
    try Disk.writeAtomically(Array("https://h/1/2\nhttps://h/1/3\n".utf8), to: values)
    let locate = ["locate", "a", "22", "23", "--columns", "link", "--json"]
    #expect(try lake.succeed(locate).outputText.contains("\"https://h/1/3\""))
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "case 17"])
    for isPacked in [false, true] {
      if isPacked { try lake.succeed(["pack", "said", "--quiet"]) }
      let located = try lake.succeed(locate)
      #expect(
        located.outputText.contains("\"https://h/1/2\"") && !located.outputText.contains("\"https://h/1/3\""),
        "\(located.outputText)")
      #expect(located.errorText.contains("row 23 of a@1 is excluded"), "\(located.errorText)")
      let matched = try lake.succeed(["locate", "a", "--match", "link", "--values", values, "--json"])
      #expect(
        matched.outputText.contains("\"id\":22") && !matched.outputText.contains("\"id\":23"),
        "\(matched.outputText)")
    }
  }

  /// Nothing is known to make its outputs again, so that its files are adopted once more.
  @Test func whatWasRevokedAndCollectedIsAdoptedAgain() throws {
    let lake = try LakeFixture.make(.trained)
    let adopt = ["adopt", "version", "a"] + (try LakeFixture.publishedOutputs()) + ["--trained", "t", "--quiet"]
    try lake.succeed(adopt)
    try lake.succeed(["revoke", "a@1", "--reason", "a test"])
    try lake.succeed(["gc", "--apply", "--grace", "0", "--quiet"])
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: FeatureSources.dimension, seed: 9)).write(to: URL(fileURLWithPath: queries))
    let refused = try lake.run(["search", "a@1", "--queries", queries])
    #expect(
      refused.ending == .exit(21) && refused.errorText.contains("`tarn adopt version a FILE… --trained t`")
        && !refused.errorText.contains("tarn reproduce"), "\(refused.errorText)")
    try lake.succeed(adopt)
    try lake.succeed(["search", "a@2", "--queries", queries])
  }
}
