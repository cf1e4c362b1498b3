// Whose rows an adopted version's ids are: said once, and not said otherwise later.

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
}
