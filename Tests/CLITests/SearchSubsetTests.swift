// `search --ids` and `--exclude-ids`: what the files may hold, and what they do.

import Base
import Features
import Foundation
import Testing
import TestSupport

@Suite struct SearchSubsetTests {
  private func lake() throws -> (lake: LakeFixture, search: [String]) {
    let lake = try LakeFixture.make(.built)
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(4, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    return (lake, ["search", "v@1", "--queries", queries, "-k", "40", "--nprobe", "3", "--json"])
  }

  private func file(_ lake: LakeFixture, _ bytes: [UInt8]) throws -> String {
    let path = lake.directory.path + "/ids"
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }

  private func array(_ ids: [Int64], descr: String = "<i8", rowCount: Int? = nil, columns: Int = 1) -> [UInt8] {
    NpyHeader.bytes(descr: descr, rowCount: rowCount ?? ids.count, columns: columns)
      + ids.flatMap { id in (0..<8).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) } }
  }

  private func ids(_ result: ProcessResult) throws -> [[Int]] {
    try result.outputText.split(separator: "\n").map { line in
      let document = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      return try #require(document["ids"] as? [Int])
    }
  }

  @Test func theAnswerIsThatOfTheRowsAlone() throws {
    let (lake, search) = try lake()
    let all = try ids(lake.succeed(search))
    let chosen: [Int64] = [0, 3, 19, 20, 39, 7]
    let text = Array("# some\n 0 \n3\r\n\n19\n20\n39\n7\n7\n".utf8)
    for bytes in [text, array(chosen), array(chosen, rowCount: 1, columns: 6), array([7, 7] + chosen)] {
      let path = try file(lake, bytes)
      #expect(try ids(lake.succeed(search + ["--ids", path])) == all.map { $0.filter { chosen.contains(Int64($0)) } })
      #expect(
        try ids(lake.succeed(search + ["--exclude-ids", path])) == all.map { $0.filter { !chosen.contains(Int64($0)) } }
      )
    }
    let only = try file(lake, text)
    let not = lake.directory.path + "/not"
    try "3\n38\n".write(toFile: not, atomically: true, encoding: .utf8)
    #expect(
      try ids(lake.succeed(search + ["--ids", only, "--exclude-ids", not]))
        == all.map { $0.filter { chosen.contains(Int64($0)) && $0 != 3 } })
    try lake.succeed(["sync", "--quiet"])
    #expect(
      try ids(lake.succeed(search + ["--ids", only, "-k", "2", "--rerank", "4"])).allSatisfy {
        $0.count == 2 && $0.allSatisfy { chosen.contains(Int64($0)) }
      })
    // Nothing is left out.
    #expect(try ids(lake.succeed(search + ["--exclude-ids", file(lake, [])])) == all)
  }

  /// At both ends of holes that are first, in the middle and last, and of what is between.
  @Test func rowsOfHolesAreNoRows() throws {
    let lake = try PairedShards([5, 6, 7, 4, 3], seed: 5).lake()
    try lake.succeed([
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
    ])
    try lake.evict("images", [0, 2, 4])
    try lake.succeed([
      "build", "v", "--trained", "t", "--images", "images", "--missing", "skip", "--offline", "--quiet",
    ])
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(1, dimension: 8, seed: 9)).write(to: URL(fileURLWithPath: queries))
    let search = ["search", "v@1", "--queries", queries, "-k", "1", "--nprobe", "2", "--json", "--ids"]
    for id in [5, 10, 18, 21] {
      #expect(try ids(lake.succeed(search + [file(lake, Array("\(id)\n".utf8))])) == [[id]], "\(id)")
    }
    // Their shards are here, so that none is taken from its code.
    let likes = [5, 10, 18, 21].flatMap { ["--like", "\($0)"] }
    let like = try lake.succeed(["search", "v@1", "-k", "1", "--json"] + likes)
    #expect(like.outputText.components(separatedBy: #""vector":"shard""#).count == 5, "\(like.outputText)")
    for id in [0, 4, 11, 17, 22, 24] {
      let none = try lake.run(search + [file(lake, Array("\(id)\n".utf8))])
      #expect(none.ending == .exit(64) && none.errorText.contains("excluded or in holes"), "\(id): \(none.errorText)")
    }
  }

  @Test func idsArePipedIn() throws {
    let (lake, search) = try lake()
    let path = try file(lake, Array("1\n5\n".utf8))
    let expected = try lake.succeed(search + ["--ids", path]).output
    let words = (search + ["--ids", "-", "--lake", lake.lake]).joined(separator: " ")
    let command = "\(ProcessRunner.tarn) \(words) < \(path)"
    let piped = try RunningProcess("/bin/sh", ["-c", command], environment: ProcessRunner.environment).finish()
    #expect(piped.output == expected, "\(piped.errorText)")
    #expect(try lake.run(search + ["--ids", "-", "--exclude-ids", "-"]).ending == .exit(64))
  }

  /// Rows whose lists are not visited are not found, which is said.
  @Test func rowsOfOtherListsAreSaidToBeThere() throws {
    let (lake, search) = try lake()
    var (silent, told) = (0, 0)
    for id in 0..<40 {
      let alone = search.filter { $0 != "--nprobe" && $0 != "3" } + ["--ids", try file(lake, Array("\(id)\n".utf8))]
      let few = try lake.succeed(alone + ["--nprobe", "1"])
      let isMissing = try ids(few).contains([])
      #expect(few.errorText.contains("raise --nprobe") == isMissing, "\(few.errorText)")
      if isMissing { told += 1 } else { silent += 1 }
      guard told == 0 || silent == 0 else { break }
    }
    #expect(told > 0)
    #expect(try lake.succeed(search).errorText.isEmpty)
  }

  @Test func whatIsNoRowIDIsRefused() throws {
    let (lake, search) = try lake()
    let huge = String(repeating: "9", count: 400)
    let texts = [
      "-1", "40", "0\n9223372036854775807", "9223372036854775808", "1.5", "+1", "0x1", "a", "1 2", huge, "\u{0}", "",
      "# nothing\n", "1\n\u{1B}[2J",
    ]
    for text in texts {
      let result = try lake.run(search + ["--ids", file(lake, Array(text.utf8))])
      #expect(result.ending == .exit(64) && result.errorLines.count == 1, "\(text): \(result.errorText)")
      #expect(!result.errorText.contains("\u{1B}"))
    }
    #expect(try lake.run(search + ["--ids", file(lake, Array("1\n2\n41\n".utf8))]).errorText.contains("line 3: 41"))
    let arrays = [
      array([1, 40]), array([-1]), array([.max]), array([.min]), array([1, 2], descr: "<i4"), array([1], descr: "<f4"),
      array([1, 2], rowCount: 1), array([1, 2], rowCount: 3), array([1, 2, 3, 40], rowCount: 2, columns: 2), array([]),
      array([1], rowCount: 1 << 60), Array(array([1, 2]).prefix(20)), NpyHeader.magic,
    ]
    for (number, bytes) in arrays.enumerated() {
      let result = try lake.run(search + ["--ids", file(lake, bytes)])
      #expect(result.ending == .exit(64) && result.errorLines.count == 1, "array \(number): \(result.errorText)")
    }
    // As a search fills up what it writes.
    try lake.succeed(search + ["--ids", file(lake, array([1, -1, 3, 4], rowCount: 2, columns: 2))])
    let none = try lake.run(search + ["--ids", lake.directory.path + "/none"])
    #expect(none.ending == .exit(64) && none.errorText.contains("- for standard input"), "\(none.errorText)")
    #expect(try lake.run(search + ["--exclude-ids", lake.directory.path]).ending != .exit(0))
  }
}
