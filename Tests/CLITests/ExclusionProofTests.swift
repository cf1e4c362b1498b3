// The proof that rows are gone: three rows of a version of twelve outputs, at the width of
// CLIP's features, and every byte of the lake searched for what stood for them.

import Base
import Catalog
import Features
import Foundation
import Indexer
import TestSupport
import Testing

@Suite(.tags(.slow)) struct ExclusionProofTests {
  private static let dimension = 512
  private static let rowCount = 12
  private static let outputCount = 12
  private static let total = rowCount * outputCount
  private static let width = 2 * dimension

  /// Two sources of twelve shards each, with a companion of the images.
  private func lake() throws -> LakeFixture {
    let lake = try LakeFixture.nothing()
    for name in ["images", "captions", "meta"] { try Disk.makeDirectory("\(lake.directory.path)/\(name)") }
    for ordinal in 0..<Self.outputCount {
      for (name, element, seed) in [("images", ElementType.float16, 300), ("captions", .float32, 700)] {
        try Disk.writeAtomically(
          FeatureBytes.npy(Self.rowCount, dimension: Self.dimension, element, seed: UInt64(seed + ordinal)),
          to: "\(lake.directory.path)/\(name)/\(String(format: "s_%02d.npy", ordinal))")
      }
      let lines = (0..<Self.rowCount).map { "{\"url\":\"https://h/\(ordinal)/\($0)\"}\n" }.joined()
      try Disk.writeAtomically(
        Array(lines.utf8), to: "\(lake.directory.path)/meta/\(String(format: "s_%02d.jsonl", ordinal))")
    }
    try lake.succeed(["init", lake.lake])
    let common = ["--dimension", "\(Self.dimension)", "--directory"]
    try lake.succeed(["source", "add", "images"] + common + [lake.directory.path + "/images"])
    try lake.succeed(
      ["source", "add", "captions", "--dtype", "float32", "--modality", "text"] + common
        + [lake.directory.path + "/captions"])
    try lake.succeed([
      "source", "add", "meta", "--companion-of", "images", "--directory", lake.directory.path + "/meta",
    ])
    try lake.succeed(["sync", "--quiet"])
    return lake
  }

  private static let train = [
    "train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2", "--quiet",
  ]
  private static let build = [
    "build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1", "--quiet",
  ]

  private func outputs(_ lake: LakeFixture, _ version: String) throws -> [String] {
    try lake.texts("SELECT sha256 FROM v_output_shard WHERE version = '\(version)' ORDER BY output")
  }

  /// The code of each id that a version holds.
  private func codes(_ lake: LakeFixture, _ version: String) throws -> [Int64: [UInt8]] {
    var found: [Int64: [UInt8]] = [:]
    for file in try lake.texts("SELECT file FROM v_output_shard WHERE version = '\(version)' ORDER BY output") {
      let output = try OutputShardFile(path: "\(lake.lake)/versions/\(version)/\(file.lastPathPart)")
      let width = output.trained.quantizer.codeByteCount
      for list in 0..<output.trained.nlist {
        let (codes, ids) = try output.contents(ofList: list)
        for (place, id) in ids.enumerated() { found[id] = Array(codes[(place * width)..<((place + 1) * width)]) }
      }
    }
    return found
  }

  /// The files below a directory in which one of some byte strings lies, each file once.
  private func files(below directory: String, with needles: [[UInt8]]) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: directory).sorted().filter { path in
      let file = "\(directory)/\(path)"
      guard Disk.size(of: file) != nil else { return false }
      let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
      return needles.contains { bytes.range(of: Data($0)) != nil }
    }
  }

  @Test func nothingOfThreeRowsStays() throws {
    let lake = try lake()
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    try lake.succeed(["pack", "meta", "--quiet"])
    let before = try outputs(lake, "v@1")
    let held = try codes(lake, "v@1")
    try #require(before.count == Self.outputCount && held.count == Self.total)
    // Two of one output and one of another.
    let gone: [Int64] = [15, 21, 100]
    let touched: Set<Int> = [1, 8]
    // Four bits an element.
    let needles = gone.compactMap { held[$0] }
    try #require(needles.count == 3 && needles.allSatisfy { $0.count == Self.dimension / 2 })
    let features = try gone.map { id in
      let bytes = try [UInt8](
        Data(contentsOf: URL(fileURLWithPath: "\(lake.directory.path)/images/\(String(format: "s_%02d.npy", id / 12))"))
      )
      let start = bytes.count - (Self.rowCount - Int(id % 12)) * Self.width
      return Array(bytes[start..<(start + Self.width)])
    }
    // What is searched for is found while it is there: in outputs, their links, segments.
    let everywhere = try files(below: lake.lake, with: needles)
    #expect(everywhere.count { $0.hasPrefix("versions/") } == 2 && everywhere.count { $0.hasPrefix("artifacts/") } >= 4)

    // A rule and ids: two of the rows by what the companion says of them.
    let values = lake.directory.path + "/values.txt"
    try Disk.writeAtomically(Array("https://h/1/3\nhttps://h/8/4\n".utf8), to: values)
    try lake.succeed(["exclude", "images", "--match", "url", "--values", values, "--reason", "case 20"])
    let ids = lake.directory.path + "/ids.txt"
    try Disk.writeAtomically(Array("21\n".utf8), to: ids)
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "case 21"])
    #expect(
      try lake.texts(
        "SELECT 12 * ordinal + row || '' FROM v_exclusion WHERE kind = 'exclude' AND live_versions = 1 ORDER BY ordinal, row"
      )
        == gone.map { "\($0)" })
    try lake.succeed(Self.build)

    // Exactly the outputs that held them are written anew, and no id moved.
    let after = try outputs(lake, "v@2")
    #expect(Set((0..<Self.outputCount).filter { before[$0] != after[$0] }) == touched)
    #expect(try codes(lake, "v@2") == held.filter { !gone.contains($0.key) })
    #expect(try files(below: lake.lake + "/versions/v@2", with: needles).isEmpty)
    #expect(try lake.text("SELECT max(live_versions) || '' FROM v_exclusion") == "1")

    // From the originals, in a lake whose outputs never had them.
    let other = try self.lake()
    try other.succeed(Self.train)
    try other.succeed(["exclude", "images", "--match", "meta.url", "--values", values, "--reason", "x"])
    try other.succeed(["exclude", "images", "--ids", ids, "--reason", "x"])
    try other.succeed(Self.build)
    #expect(try outputs(other, "v@1") == after)

    // Once the old version is revoked and gc has run, the features alone have the rows.
    try lake.succeed(["revoke", "v@1", "--reason", "case 20"])
    #expect(
      Set(try lake.texts("SELECT DISTINCT kind FROM v_exclusion_holder"))
        == ["output", "segment", "shard", "pack", "companion"])
    try lake.succeed(["gc", "--apply", "--segments", "--grace", "0s", "--quiet"])
    #expect(try files(below: lake.lake, with: needles).isEmpty)
    #expect(Set(try lake.texts("SELECT DISTINCT live_versions || '' FROM v_exclusion")) == ["0"])
    #expect(
      try lake.texts("SELECT DISTINCT kind || ': ' || removed_by FROM v_exclusion_holder ORDER BY 1")
        == ["companion: tarn evict meta", "shard: tarn evict images"])
    let shards = try files(below: lake.lake, with: features)
    #expect(shards.count == 2 && shards.allSatisfy { $0.hasPrefix("shards/images/") }, "\(shards)")

    // What the view says removes these does.
    try lake.succeed(["pack", "meta", "--quiet"])
    try lake.succeed(["evict", "images", "--quiet"])
    try lake.succeed(["evict", "meta", "--quiet"])
    #expect(try files(below: lake.lake, with: features + needles + [Array("https://h/1/3".utf8)]).isEmpty)
    #expect(try lake.texts("SELECT holder FROM v_exclusion_holder").isEmpty)
    let columns = try lake.succeed(["locate", "v@2", "14", "16", "--columns", "url", "--format", "jsonl"]).outputText
    #expect(columns.contains("https://h/1/2") || columns.contains("https:\\/\\/h\\/1\\/2"), "\(columns)")
    try lake.succeed(["verify", "--quiet"])
    try lake.succeed(["reproduce", "v@2", "--fetch", "--quiet"])
  }
}
