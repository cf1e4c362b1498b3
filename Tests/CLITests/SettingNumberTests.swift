// Numbers that somebody chose: what is sealed with them can be read again, and others are refused.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct SettingNumberTests {
  /// Far more than is meant, as people write it for "all" and "until it stands still".
  private static let many = "20000000"

  @Test func whatIsSealedWithLargeNumbersIsReadAgain() throws {
    let lake = try LakeFixture.make(.synced)
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", Self.many,
      "--until-moved", "50%", "--quiet",
    ])
    try lake.succeed([
      "build", "v", "--trained", "t", "--images", "images", "--shards-per-output", Self.many, "--quiet",
    ])
    try lake.succeed(["verify"])
    let place = lake.directory.path + "/published"
    try lake.succeed(["push", "v@1", place, "--quiet"])
    let other = try LakeFixture.make(.empty)
    try other.succeed(["pull", place, "--quiet"])
    #expect(try lake.succeed(["reproduce", "v@1"]).outputText.contains("identical"))
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    let said = try lake.succeed(["rebuild-catalog"]).outputText
    #expect(said.contains("1 trained indexes, 1 version,"), "\(said)")
  }

  @Test func whatNoDocumentMaySayIsRefused() throws {
    let lake = try LakeFixture.make(.trained)
    let train = ["train", "u", "--images", "images", "--captions", "captions", "--quiet"]
    let build = ["build", "v", "--trained", "t", "--images", "images", "--quiet"]
    for (arguments, option) in [
      (train + ["--nlist", "3", "--iterations", "999999999999"], "--iterations: 999999999999"),
      (train + ["--nlist", "3", "--iterations", "0"], "--iterations: 0 "),
      (train + ["--nlist", Self.many], "--nlist: \(Self.many)"), (train + ["--nlist", "0"], "--nlist: 0 "),
      (build + ["--shards-per-output", "999999999999"], "--shards-per-output: 999999999999"),
      (build + ["--shards-per-output", "0"], "--shards-per-output: 0 "),
    ] {
      let result = try lake.run(arguments)
      #expect(result.ending == .exit(64) && result.errorText.contains(option), "\(result.errorText)")
    }
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM index_version") == "0")
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM trained_index") == "1")
  }
}
