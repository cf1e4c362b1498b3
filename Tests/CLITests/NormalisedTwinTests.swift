// Trainings with and without --normalise that come to the same bytes: what is encoded for one is not the other's.

import Features
import Foundation
import Testing
import TestSupport

@Suite struct NormalisedTwinTests {
  /// Rows along the axes, of which those of the second shard are not of unit length.
  private func makeLake() throws -> LakeFixture {
    let lake = try LakeFixture.make(.empty)
    let directory = lake.directory.path + "/axes"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    for (ordinal, length) in [Float(1), 3].enumerated() {
      var bytes = NpyHeader.bytes(descr: "<f4", rowCount: 16, columns: 8)
      for row in 0..<16 {
        for column in 0..<8 {
          let value = column == row % 8 ? (row < 8 ? length : -length) : 0
          withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += Array($0) }
        }
      }
      try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/axes_\(ordinal).npy"))
    }
    try lake.succeed(["source", "add", "axes", "--directory", directory, "--dimension", "8", "--dtype", "float32"])
    try lake.succeed(["sync", "--quiet"])
    for (name, options) in [("plain", []), ("scaled", ["--normalise"])] as [(String, [String])] {
      try lake.succeed(
        [
          "train", name, "--images", "axes", "--shards", "0", "--nlist", "3", "--method", "kmeans", "--iterations", "2",
          "--quiet",
        ] + options)
    }
    return lake
  }

  @Test func noneTakesWhatWasEncodedForTheOther() throws {
    let lake = try makeLake()
    // Of rows of unit length both trainings are the same.
    let digests = try lake.texts("SELECT DISTINCT sha256 FROM trained_index")
    try #require(digests.count == 1)
    try lake.succeed(["build", "v", "--trained", "scaled", "--images", "axes", "--quiet"])
    for arguments in [["build", "w"], ["build", "w", "--dry-run"]] {
      let refused = try lake.run(arguments + ["--trained", "plain", "--images", "axes", "--quiet"])
      #expect(refused.ending == .exit(64), "\(refused.errorText)")
      #expect(refused.errorText.contains("plain has the same bytes as scaled"), "\(refused.errorText)")
    }
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM index_version") == "1")
    // Nor what is there under the name that it would have.
    #expect(try lake.run(["build", "v", "--trained", "plain", "--images", "axes", "--quiet"]).ending == .exit(64))
    // Its own versions go on.
    try lake.succeed(["build", "x", "--trained", "scaled", "--images", "axes", "--shards-per-output", "1", "--quiet"])
  }

  /// What was given up stands in nobody's way.
  @Test func anAbandonedVersionIsNoHindrance() throws {
    let lake = try makeLake()
    let build = ["build", "v", "--trained", "scaled", "--images", "axes", "--quiet"]
    // Rows of another length end it, and it stays as it is.
    #expect(try lake.run(["build", "w", "--trained", "plain", "--images", "axes", "--quiet"]).ending != .exit(0))
    #expect(try lake.run(build).errorText.contains("scaled has the same bytes as plain"))
    try lake.succeed(["abandon", "w@1"])
    try lake.succeed(build)
  }
}
