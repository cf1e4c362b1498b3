// Sources that pair and grow: new files come to their partners' places or wait, whatever order they arrive in, and
// what stands elsewhere all the same says nothing of a row.

import Base
import Foundation
import Lake
import Testing
import TestSupport

@Suite struct PartnerGrowthTests {
  /// Directories of features (`.npy`) and of rows (`.jsonl`), with files of any names.
  private struct Folders {
    let lake: LakeFixture

    init() throws { lake = try LakeFixture.make(.empty) }

    private func path(_ folder: String) throws -> String {
      let path = "\(lake.directory.path)/data/\(folder)"
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      return path
    }

    func features(_ folder: String, _ names: String...) throws {
      for name in names {
        // Of the name alone, so that no two files are the same.
        let seed = "\(folder)/\(name)".utf8.reduce(UInt64(7)) { ($0 &* 31) &+ UInt64($1) }
        let bytes = FeatureBytes.npy(20, dimension: 8, seed: seed)
        try Data(bytes).write(to: URL(fileURLWithPath: "\(path(folder))/\(name).npy"))
      }
    }

    func rows(_ folder: String, _ names: String...) throws {
      for name in names {
        let text = (0..<20).map { "{\"key\": \"\(name)-\($0)\"}\n" }.joined()
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path(folder))/\(name).jsonl"))
      }
    }

    func add(_ name: String, _ more: String...) throws {
      try lake.succeed(["source", "add", name, "--directory", path(name)] + more)
    }

    @discardableResult
    func refresh(_ name: String, _ more: String...) throws -> String {
      let run = try lake.succeed(["source", "refresh", name] + more)
      return run.outputText + run.errorText
    }

    func shards(_ source: String) throws -> [String] {
      try lake.texts("SELECT shard FROM v_shard WHERE source = '\(source)' ORDER BY ordinal")
    }

    /// Trains on the images, and builds `v@1` of them.
    func build() throws {
      try lake.succeed(["sync", "--quiet"])
      try lake.succeed(["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
      try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    }
  }

  /// The numbers of both names are the same, their letters are not.
  @Test func rowsBesideAnotherLetterAreNotShown() throws {
    let folders = try Folders()
    try folders.features("images", "part1_aa", "part1_ab")
    try folders.rows("meta", "part1_aa", "part1_ab", "part1_ad", "part1_az")
    try folders.add("images")
    try folders.add("meta", "--companion-of", "images")
    try folders.features("images", "part1_ac", "part1_ad")
    let told = try folders.refresh("images")
    #expect(told.contains("part1_ad.jsonl of meta stands beside part1_ac.npy"), "\(told)")
    try folders.build()
    let rows = try folders.lake.succeed(["locate", "v@1", "0", "40", "--columns", "key"])
    #expect(rows.outputText.contains("part1_aa-0") && !rows.outputText.contains("part1_ad-0"), "\(rows.outputText)")
    #expect(rows.errorText.contains("it is used for no row"), "\(rows.errorText)")
    // Each that tells of it says what helps.
    let way = "`tarn source add … --companion-of images --url-list LIST`"
    let sync = try folders.lake.succeed(["sync", "--quiet"]).errorText
    for text in [told, rows.errorText, sync] { #expect(text.contains(way), "\(text)") }
  }

  /// The companion counts from 1, its owner from 0 and has more by now.
  @Test func aCountFromOneStaysWhenTheOwnerGrows() throws {
    let folders = try Folders()
    try folders.features("images", "img_0", "img_1", "img_2")
    try folders.rows("meta", "m_1", "m_2", "m_3")
    try folders.add("images")
    try folders.add("meta", "--companion-of", "images")
    try folders.features("images", "img_3", "img_4")
    try folders.refresh("images")
    try folders.build()
    let rows = try folders.lake.succeed(["locate", "v@1", "0", "40", "--columns", "key"])
    #expect(rows.outputText.contains("m_1-0") && rows.outputText.contains("m_3-0"), "\(rows.outputText)")
  }

  @Test func captionsWithoutTheFirstAreNotTrainedOn() throws {
    let folders = try Folders()
    try folders.features("images", "img_0", "img_1", "img_2", "img_3")
    try folders.features("captions", "cap_1", "cap_2", "cap_3")
    try folders.add("images")
    try folders.add("captions", "--modality", "text")
    try folders.lake.succeed(["sync", "--quiet"])
    let refused = try folders.lake.run([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "1", "--shards",
      "0-2", "--quiet",
    ])
    #expect(refused.ending == .exit(64))
    let reason = "cap_1.npy of captions stands beside img_0.npy of images"
    #expect(refused.errorText.contains(reason), "\(refused.errorText)")
  }

  @Test func numbersOfOtherThingsArePaired() throws {
    let folders = try Folders()
    try folders.features("images", "img_0", "img_2", "img_4", "img_6")
    try folders.features("captions", "cap_0", "cap_1", "cap_2", "cap_3")
    try folders.add("images")
    try folders.add("captions", "--modality", "text", "--order-of", "images")
    try folders.lake.succeed(["sync", "--quiet"])
    try folders.lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "1", "--quiet",
    ])
  }

  /// Nobody says it a second time: the names of the captions follow those of the images.
  @Test func captionsGoOnInTheOrderOfTheirImages() throws {
    let folders = try Folders()
    try folders.features("images", "img_0", "img_1", "img_2", "img_3")
    try folders.features("captions", "cap_0", "cap_1")
    try folders.add("images")
    try folders.add("captions", "--modality", "text", "--order-of", "images")
    try folders.features("captions", "cap_3")
    let waits = try folders.refresh("captions")
    #expect(waits.contains("captions has 2 shards, 0 more"), "\(waits)")
    #expect(waits.contains("new files come in the order of images"), "\(waits)")
    #expect(
      waits.contains("cap_3.npy will be added once the file is there that belongs to img_2.npy, before it"), "\(waits)")
    #expect(waits.contains("`tarn source add … --order-of images --url-list LIST`"), "\(waits)")
    try folders.features("captions", "cap_2", "cap_4")
    let told = try folders.refresh("captions")
    #expect(told.contains("cap_4.npy will be added once images has a file of such a name"), "\(told)")
    #expect(try folders.shards("captions") == ["cap_0.npy", "cap_1.npy", "cap_2.npy", "cap_3.npy"])
    // Who wants it takes them as they come.
    try folders.refresh("captions", "--order-of", "captions")
    #expect(try folders.shards("captions").last == "cap_4.npy")
  }

  @Test func aCompanionWaitsForItsOwner() throws {
    let folders = try Folders()
    try folders.features("images", "img_0", "img_1")
    try folders.rows("meta", "m_0", "m_1")
    try folders.add("images")
    try folders.add("meta", "--companion-of", "images")
    try folders.rows("meta", "m_3", "m_7")
    let told = try folders.refresh("meta")
    #expect(told.contains("meta has 2 shards, 0 more"), "\(told)")
    #expect(
      told.contains("m_3.jsonl and 1 other will be added once images has a file of such a name"), "\(told)")
    try folders.features("images", "img_2", "img_3")
    try folders.refresh("images")
    #expect(try folders.refresh("meta").contains("m_3.jsonl will be added once the file is there"))
    try folders.rows("meta", "m_2")
    try folders.refresh("meta")
    #expect(try folders.shards("meta") == ["m_0.jsonl", "m_1.jsonl", "m_2.jsonl", "m_3.jsonl"])
    // As they come, one would stand beside nothing of its own.
    try folders.rows("meta", "m_5", "m_6")
    try folders.features("images", "img_5", "img_4")
    try folders.refresh("images")
    let refused = try folders.lake.run(["source", "refresh", "meta", "--order-of", "meta"])
    #expect(refused.ending == .exit(64))
    let reason = "m_5.jsonl of meta would stand beside img_4.npy of images"
    #expect(refused.errorText.contains(reason), "\(refused.errorText)")
  }

  @Test func aFileThatComesEarlyWaitsWhateverItsCount() throws {
    let folders = try Folders()
    try folders.features("images", "img_0", "img_1", "img_2")
    try folders.rows("meta", "m_1", "m_2", "m_3")
    try folders.add("images")
    try folders.add("meta", "--companion-of", "images")
    try folders.features("images", "img_3", "img_4")
    try folders.refresh("images")
    try folders.rows("meta", "m_5")
    let told = try folders.refresh("meta")
    #expect(
      told.contains("m_5.jsonl will be added once the file is there that belongs to img_3.npy, before it"), "\(told)")
    try folders.rows("meta", "m_4")
    #expect(try !folders.refresh("meta").contains("is used for no row"))
    #expect(try folders.shards("meta").suffix(2) == ["m_4.jsonl", "m_5.jsonl"])
  }

  /// What many files wait for alike is said once, and in no time.
  @Test(.timeLimit(.minutes(1))) func whatManyWaitForIsSaidOnce() {
    let taken = (0..<100_000).map {
      WaitingFile(name: "n\($0)", reason: .taken(by: "o\($0)", partner: "p\($0)"))
    }
    let unknown = ["x", "y"].map { WaitingFile(name: $0, reason: .unknown(source: "images")) }
    let lines = WaitingFile.lines(taken + unknown, of: "meta", way: "a way", companion: true)
    #expect(
      lines == [
        "n0 is not added: it belongs beside p0 by its name, where o0 stands, and so it is with 99999 others",
        "x and 1 other will be added once images has a file of such a name: `tarn source refresh images` takes in what "
          + "came there",
        "a way",
      ])
    let one = WaitingFile.lines(Array(taken.prefix(1)), of: "meta", way: nil, companion: true)
    #expect(one == ["n0 is not added: it belongs beside p0 by its name, where o0 stands"])
  }

  /// A shard that was dropped needs no partner: its place stays empty.
  @Test func aDroppedPartnerIsNotWaitedFor() throws {
    let folders = try Folders()
    try folders.features("images", "img_00", "img_01", "img_02", "img_03")
    try folders.add("images")
    try folders.lake.succeed(["sync", "--quiet"])
    try folders.lake.succeed(["source", "drop-shards", "images", "--shards", "2"])
    try folders.rows("meta", "m_00", "m_01", "m_03")
    try folders.add("meta", "--companion-of", "images")
    // A second time it is what is there.
    try folders.add("meta", "--companion-of", "images")
    #expect(try folders.shards("meta") == ["m_00.jsonl", "m_01.jsonl", "m_02.jsonl", "m_03.jsonl"])
    let places = "SELECT ordinal || ' ' || state FROM v_companion WHERE companion = 'meta' ORDER BY ordinal"
    #expect(try folders.lake.texts(places).contains("2 dropped"))
    try folders.lake.succeed(["sync", "--quiet"])
    try folders.features("images", "img_04", "img_05")
    try folders.refresh("images")
    try folders.lake.succeed(["sync", "--quiet"])
    try folders.lake.succeed(["source", "drop-shards", "images", "--shards", "4"])
    try folders.rows("meta", "m_05")
    let told = try folders.refresh("meta")
    #expect(told.contains("m_04.jsonl is left out, as img_04.npy of images was dropped"), "\(told)")
    #expect(try folders.lake.texts(places).contains("4 dropped"))
    #expect(try folders.lake.succeed(["sync"]).outputText.contains("1 shard fetched"))
  }

  /// The way that an error names works.
  @Test func aListTakesTheOthersWhereOneNeverComes() throws {
    let folders = try Folders()
    try folders.features("images", "img_0", "img_1", "img_2")
    try folders.rows("meta", "m_0", "m_2")
    try folders.add("images")
    let directory = folders.lake.directory.path + "/data/meta"
    let refused = try folders.lake.run([
      "source", "add", "meta", "--companion-of", "images", "--directory", directory,
    ])
    #expect(refused.ending == .exit(64))
    for part in ["`tarn source add … --companion-of images --url-list LIST`", "`tarn sync --missing skip`"] {
      #expect(refused.errorText.contains(part), "\(refused.errorText)")
    }
    let list = folders.lake.directory.path + "/list"
    let lines = (0..<3).map { "file://\(directory)/m_\($0).jsonl\n" }.joined()
    try Data(lines.utf8).write(to: URL(fileURLWithPath: list))
    try folders.lake.succeed([
      "source", "add", "meta", "--companion-of", "images", "--url-list", list, "--allow-inside",
    ])
    try folders.lake.succeed(["sync", "meta", "--missing", "skip", "--quiet"])
    #expect(try folders.shards("meta") == ["m_0.jsonl", "m_1.jsonl", "m_2.jsonl"])
  }

  @Test func aSyncSaysWhatAFileWaitsFor() throws {
    let folders = try Folders()
    try folders.features("images", "img_0", "img_1", "img_2")
    try folders.rows("meta", "m_0")
    try folders.rows("meta", "m_1")
    try folders.add("images")
    try folders.add("meta", "--companion-of", "images")
    try folders.features("images", "img_3")
    try folders.refresh("images")
    try folders.lake.succeed(["sync", "--quiet"])
    try folders.rows("meta", "m_3")
    let told = try folders.lake.succeed(["sync"]).outputText
    #expect(!told.contains("new file"), "\(told)")
    #expect(
      told.contains("meta: m_3.jsonl will be added once the file is there that belongs to img_2.npy, before it"),
      "\(told)")
    try folders.rows("meta", "m_2")
    #expect(
      try folders.lake.succeed(["sync"]).outputText.contains("meta: 2 new files in"), "both may come now")
  }
}
