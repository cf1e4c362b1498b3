import Base
import Features
import Foundation
import Lake
import Testing
import TestSupport

/// `train --queries`.
@Suite struct ListTrialCommandTests {
  private static let train = ["--images", "images", "--captions", "captions", "--nlist", "8"]

  private func queries(_ lake: LakeFixture, dimension: Int, count: Int = 40) throws -> String {
    let path = "\(lake.directory.path)/queries-\(dimension)-\(count).npy"
    let bytes = FeatureBytes.npy(count, dimension: dimension, .float32, seed: 77)
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }

  @Test func itIsToldAndChangesNothing() throws {
    let lake = try PairedShards([300, 200], seed: 4).lake()
    let file = try queries(lake, dimension: PairedShards.dimension)
    let tried = try lake.succeed(["train", "tried", "--queries", file] + Self.train)
    #expect(tried.errorText.contains("40 queries, lists of 500 pairs (nlist "), "\(tried.errorText)")
    #expect(tried.errorText.contains("2 % of the rows lists of captions find 0."), "\(tried.errorText)")
    // It is kept.
    let shown = try lake.succeed(["show", "tried", "--json"]).outputText
    let document = try #require(try JSONSerialization.jsonObject(with: Data(shown.utf8)) as? [String: Any])
    let kept = try #require((document["lists_tried"] as? [[String: Any]])?.first)
    #expect(kept["queries"] as? String == file && kept["sampled_queries"] as? Int == 40 && kept["pairs"] as? Int == 500)
    for found in ["found_by_captions", "found_by_images", "standard_error"] {
      let told = String(format: "%.3f", try #require(kept[found] as? Double))
      #expect(tried.errorText.contains(told), "\(found): \(told)")
    }
    let again = try lake.succeed(["train", "tried", "--queries", file] + Self.train)
    #expect(again.errorText.contains("no lists are tried: tried is trained already"), "\(again.errorText)")
    let few = [
      "train", "few", "--seed", "5", "--queries", try queries(lake, dimension: PairedShards.dimension, count: 29),
    ]
    // Before the work as well as in it.
    for arguments in [few + Self.train + ["--dry-run"], few + Self.train] {
      let warned = try lake.succeed(arguments)
      #expect(warned.errorText.contains("holds 29 queries"), "\(warned.errorText)")
      #expect(warned.errorText.split(separator: "holds 29 queries").count == 2, "\(warned.errorText)")
    }
    let other = try PairedShards([300, 200], seed: 4).lake()
    try other.succeed(["train", "plain"] + Self.train + ["--quiet"])
    for what in ["sha256", "spec_sha256"] {
      let query = "SELECT \(what) FROM trained_index WHERE name IN ('tried', 'plain')"
      #expect(try lake.texts(query) == other.texts(query))
    }
  }

  /// Rows that are 0 but for some components.
  private static func rows(_ count: Int, in range: Range<Int>, seed: UInt64) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    let values = random.unitRows(count, dimension: range.count)
    var bytes = NpyHeader.bytes(descr: "<f4", rowCount: count, columns: 8)
    for row in 0..<count {
      for column in 0..<8 {
        let value = range.contains(column) ? values[row * range.count + column - range.lowerBound] : Float(0)
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += Array($0) }
      }
    }
    return bytes
  }

  @Test func nothingIsAdvisedAgainstARouter() throws {
    let lake = try LakeFixture.make(.empty)
    // Half of the images lie where no caption points, and all queries do.
    for (name, ranges) in [("images", [0..<4, 4..<8]), ("captions", [0..<4, 0..<4])] {
      let directory = "\(lake.directory.path)/\(name)"
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      for (ordinal, range) in ranges.enumerated() {
        let bytes = Self.rows(300, in: range, seed: UInt64(name.count + 10 * ordinal))
        try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/\(ordinal).npy"))
      }
      try lake.succeed([
        "source", "add", name, "--directory", directory, "--dimension", "8", "--dtype", "float32", "--modality",
        name == "images" ? "image" : "text",
      ])
    }
    try lake.succeed(["sync", "--quiet"])
    let file = "\(lake.directory.path)/queries.npy"
    try Data(Self.rows(40, in: 4..<8, seed: 5)).write(to: URL(fileURLWithPath: file))
    let train = [
      "--images", "images", "--captions", "captions", "--nlist", "16", "--iterations", "2", "--queries", file,
    ]
    let warned = try lake.succeed(["train", "plain"] + train)
    #expect(warned.errorText.contains("find more in lists of images"), "\(warned.errorText)")
    #expect(warned.errorText.contains("(nlist 16)"), "\(warned.errorText)")
    let told = try lake.succeed(["train", "routed", "--router", "caption-mean"] + train)
    #expect(told.errorText.contains("without a router"), "\(told.errorText)")
    #expect(!told.errorText.contains("find more in lists of images"), "\(told.errorText)")
  }

  @Test func refusesQueriesThatCannotBeTried() throws {
    let lake = try PairedShards([300], seed: 4).lake()
    let file = try queries(lake, dimension: PairedShards.dimension)
    func refused(_ arguments: [String], _ fragment: String) throws {
      let result = try lake.run(["train", "t"] + arguments)
      #expect(result.ending == .exit(64), "\(result.errorText)")
      #expect(result.errorText.contains(fragment), "\(result.errorText)")
    }
    try refused(Self.train + ["--queries", "\(lake.directory.path)/none.npy"], "name a file of queries")
    try refused(Self.train + ["--queries", queries(lake, dimension: 5)], "rows of 5 elements")
    let none = try queries(lake, dimension: PairedShards.dimension, count: 0)
    try refused(Self.train + ["--queries", none], "holds no query")
    try refused(Self.train + ["--queries-array", "a"], "--queries-array goes with --queries")
    try refused(
      ["--images", "images", "--nlist", "4", "--method", "kmeans", "--queries", file], "there are no captions")
    #expect(try lake.texts("SELECT count(*) FROM trained_index") == ["0"])
  }
}
