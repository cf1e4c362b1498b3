// Rows pair by place. Files that arrived in another order than their partners are put in
// theirs, wait, or are refused: never taken for each other's.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct PartnerOrderTests {
  private struct Folders {
    let lake: LakeFixture
    var root: String { lake.directory.path + "/data" }

    func images(_ numbers: Int...) throws { try write("img", numbers) }
    func captions(_ numbers: Int...) throws { try write("txt", numbers) }

    private func write(_ folder: String, _ numbers: [Int]) throws {
      try make(folder)
      for number in numbers {
        let bytes = FeatureBytes.npy(20, dimension: 8, seed: UInt64(number + (folder == "img" ? 1 : 100)))
        try Data(bytes).write(to: URL(fileURLWithPath: "\(root)/\(folder)/s\(number).npy"))
      }
    }

    func texts(_ numbers: Int...) throws {
      try make("meta")
      for number in numbers {
        let text = (0..<20).map { "{\"key\": \"s\(number)-\($0)\"}\n" }.joined()
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(root)/meta/s\(number).jsonl"))
      }
    }

    private func make(_ folder: String) throws {
      try FileManager.default.createDirectory(atPath: "\(root)/\(folder)", withIntermediateDirectories: true)
    }

    func add(_ name: String, _ folder: String, _ more: String...) throws {
      try lake.succeed(["source", "add", name, "--directory", "\(root)/\(folder)"] + more)
    }

    func shards(_ source: String) throws -> [String] {
      try lake.texts("SELECT shard FROM v_shard WHERE source = '\(source)' ORDER BY ordinal")
    }
  }

  /// Images, of which the third came before its neighbour.
  private func folders() throws -> Folders {
    let folders = Folders(lake: try LakeFixture.make(.empty))
    try folders.images(0, 1, 3)
    try folders.add("images", "img")
    try folders.images(2)
    try folders.lake.succeed(["source", "refresh", "images"])
    #expect(try folders.shards("images") == ["s0.npy", "s1.npy", "s3.npy", "s2.npy"])
    return folders
  }

  private let train = [
    "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "1", "--quiet",
  ]

  /// A list has the order that is meant: one of a companion that is in another is refused, and what is advised puts it right.
  @Test func aListOfACompanionIsPutInOrderWhereThatIsAsked() throws {
    let folders = try folders()
    try folders.texts(0, 1, 2, 3)
    let list = folders.root + "/meta.txt"
    let lines = (0...3).map { "file://\(folders.root)/meta/s\($0).jsonl\n" }.joined()
    try Data(lines.utf8).write(to: URL(fileURLWithPath: list))
    let add = ["source", "add", "meta", "--companion-of", "images", "--url-list", list, "--allow-inside"]
    let refused = try folders.lake.run(add)
    #expect(refused.ending == .exit(64) && refused.errorText.contains("by --order-of images"), "\(refused.errorText)")
    try folders.lake.succeed(add + ["--order-of", "images"])
    #expect(try folders.shards("meta") == ["s0.jsonl", "s1.jsonl", "s3.jsonl", "s2.jsonl"])
  }

  @Test func captionsInAnotherOrderAreNotTrainedOn() throws {
    let folders = try folders()
    let lake = folders.lake
    try folders.captions(0, 1, 2, 3)
    try folders.add("captions", "txt", "--modality", "text")
    try lake.succeed(["sync", "--quiet"])
    let refused = try lake.run(train)
    #expect(refused.ending == .exit(64))
    for part in [
      "s2.npy of captions stands beside s3.npy of images, and belongs beside s2.npy by its name", "--order-of images",
    ] {
      #expect(refused.errorText.contains(part), "\(refused.errorText)")
    }
    #expect(try lake.run(train + ["--dry-run"]).ending == .exit(64))
    // Those that agree may be trained on.
    try lake.succeed(train + ["--shards", "0-1"])
    try folders.add("ordered", "txt", "--modality", "text", "--order-of", "images")
    #expect(try folders.shards("ordered") == folders.shards("images"))
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed([
      "train", "u", "--images", "images", "--captions", "ordered", "--nlist", "2", "--iterations", "1", "--quiet",
    ])
  }

  @Test func aCompanionHasTheOrderOfItsOwner() throws {
    let folders = try folders()
    let lake = folders.lake
    try folders.texts(0, 1, 2, 3)
    try folders.add("meta", "meta", "--companion-of", "images")
    #expect(try folders.shards("meta") == ["s0.jsonl", "s1.jsonl", "s3.jsonl", "s2.jsonl"])
    // A second time it is what is there.
    try folders.add("meta", "meta", "--companion-of", "images")
    try lake.succeed(["sync", "--quiet"])
    let values = lake.directory.path + "/values"
    try Data("s2-0\n".utf8).write(to: URL(fileURLWithPath: values))
    try lake.succeed(["exclude", "images", "--match", "meta.key", "--values", values, "--reason", "case 20"])
    #expect(
      try lake.texts("SELECT shard || ' ' || row FROM v_exclusion_entry WHERE is_in_force = 1") == ["s2.npy 0"])
  }

  @Test func aFileWaitsForTheOneBeforeIt() throws {
    let folders = try folders()
    let lake = folders.lake
    try folders.texts(0, 1)
    try folders.add("meta", "meta", "--companion-of", "images")
    try folders.texts(2)
    let waits = try lake.succeed(["source", "refresh", "meta"]).outputText
    #expect(waits.contains("meta has 2 shards, 0 more"), "\(waits)")
    #expect(
      waits.contains("s2.jsonl will be added once the file is there that belongs to s3.npy, before it"), "\(waits)")
    try folders.texts(3)
    try lake.succeed(["source", "refresh", "meta"])
    #expect(try folders.shards("meta") == ["s0.jsonl", "s1.jsonl", "s3.jsonl", "s2.jsonl"])
    // What lacks one in the middle is not registered at all.
    try FileManager.default.removeItem(atPath: folders.root + "/meta/s3.jsonl")
    let add = ["source", "add", "again", "--companion-of", "images", "--directory", folders.root + "/meta"]
    let refused = try lake.run(add)
    #expect(refused.ending == .exit(64))
    #expect(
      refused.errorText.contains("no file of again has the name of s3.npy, which is shard 2 of images"),
      "\(refused.errorText)")
  }

  /// As a lake may be that was filled before anybody looked.
  @Test func whatStandsBesideAnotherSaysNothingOfIt() throws {
    let folders = Folders(lake: try LakeFixture.make(.empty))
    let lake = folders.lake
    try folders.images(0, 1)
    try folders.texts(0, 1, 2, 3)
    try folders.add("images", "img")
    try folders.add("meta", "meta", "--companion-of", "images")
    try folders.images(3)
    let told = try lake.succeed(["source", "refresh", "images"]).errorText
    #expect(
      told.contains("s2.jsonl of meta stands beside s3.npy, beside which s3.jsonl belongs by its name"), "\(told)")
    let sync = try lake.succeed(["sync", "--quiet"]).errorText
    #expect(sync.contains("s2.jsonl of meta stands beside s3.npy of images, beside which s3.jsonl belongs"), "\(sync)")
    try lake.succeed(["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    let rows = try lake.succeed(["locate", "v@1", "0", "40", "--columns", "key"])
    #expect(rows.outputText.contains("s0-0") && !rows.outputText.contains("s2-0"), "\(rows.outputText)")
    #expect(rows.errorText.contains("it is used for no row"), "\(rows.errorText)")
    let values = lake.directory.path + "/values"
    try Data("s2-0\n".utf8).write(to: URL(fileURLWithPath: values))
    let excluded = try lake.run([
      "exclude", "images", "--match", "meta.key", "--values", values, "--reason", "case 20",
    ])
    let said = excluded.outputText + excluded.errorText
    #expect(said.contains("which stands beside s3.npy, beside which s3.jsonl"), "\(said)")
    #expect(try lake.texts("SELECT shard FROM v_exclusion_entry WHERE is_in_force = 1").isEmpty)
    let build = try lake.run(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    #expect(build.ending != .exit(0), "a rule that nobody can tell the rows of holds a build up")
  }
}
