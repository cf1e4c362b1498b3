// `search --text`, `--image`, `--like` and `--unique`: what is printed, refused and left behind.

import Base
import Features
import Foundation
import Testing
import TestSupport

@Suite struct SearchWordsTests {
  private static let dimension = FeatureSources.dimension

  /// A program that answers every question with one vector.
  private func program(_ vector: [Float], in lake: LakeFixture, named name: String = "encoder") throws -> String {
    let path = "\(lake.directory.path)/\(name).sh"
    let text = vector.map { "\($0)" }.joined(separator: ",")
    try "while read -r line; do echo \"$line\" >> '\(path).asked'; echo '{\"embedding\": [\(text)]}'; done"
      .write(toFile: path, atomically: true, encoding: .utf8)
    return "sh \(path)"
  }

  private func documents(_ result: ProcessResult) throws -> [[String: Any]] {
    try result.outputText.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
  }

  /// The queries of a file, and the search with them.
  private func queries(_ count: Int, in lake: LakeFixture) throws -> (vectors: [[Float]], search: [String]) {
    let path = lake.directory.path + "/q.npy"
    try Data(FeatureBytes.npy(count, dimension: Self.dimension, .float32, seed: 9)).write(
      to: URL(fileURLWithPath: path))
    var random = SplitMix64(seed: 9)
    let values = random.unitRows(count, dimension: Self.dimension)
    let vectors = (0..<count).map { Array(values[$0 * Self.dimension..<($0 + 1) * Self.dimension]) }
    return (vectors, ["search", "v@1", "--queries", path])
  }

  @Test func wordsFindWhatTheirVectorsFind() throws {
    let lake = try LakeFixture.make(.built)
    let (vectors, byFile) = try queries(1, in: lake)
    let encoder = try program(vectors[0], in: lake)
    let options = ["-k", "4", "--nprobe", "2", "--json"]
    let expected = try documents(lake.succeed(byFile + options))[0]
    let picture = lake.directory.path + "/cat.jpg"
    try Data([1]).write(to: URL(fileURLWithPath: picture))
    let texts = try documents(
      lake.succeed(["search", "v@1", "--text", "a \"red\" bicycle", "--text", "ü", "--encoder", encoder] + options))
    let image = try documents(
      lake.run(["search", "v@1", "--image", picture] + options, environment: ["TARN_ENCODER": encoder]))
    #expect(
      texts.map { $0["text"] as? String } == ["a \"red\" bicycle", "ü"] && texts.map { $0["query"] as? Int } == [0, 1])
    #expect(image.map { $0["image"] as? String } == [picture])
    for document in texts + image {
      #expect(document["ids"] as? [Int] == expected["ids"] as? [Int])
      #expect(document["scores"] as? [Double] == expected["scores"] as? [Double])
      #expect(document.count == 6 && expected.count == 5)
    }
    let asked = try String(contentsOfFile: lake.directory.path + "/encoder.sh.asked", encoding: .utf8)
    let lines = try asked.split(separator: "\n").map { try JSONValue(reading: Array($0.utf8)) }
    #expect(lines.map { $0["text"]?.string } == ["a \"red\" bicycle", "ü", nil])
    #expect(lines[2]["image"]?.string == picture)
  }

  @Test func vectorsAreHeldToTheirLength() throws {
    let lake = try LakeFixture.make(.built)
    let (vectors, byFile) = try queries(1, in: lake)
    let long = try program(vectors[0].map { $0 * 4 }, in: lake)
    let search = ["search", "v@1", "--text", "x", "--encoder", long, "--json"]
    let refused = try lake.run(search)
    #expect(refused.ending == .exit(1) && refused.errorLines.count == 1 && refused.errorText.contains("--normalise"))
    let found = try documents(lake.succeed(search + ["--normalise"]))[0]
    #expect(found["ids"] as? [Int] == (try documents(lake.succeed(byFile + ["--json"]))[0]["ids"] as? [Int]))
    let narrow = try lake.run(["search", "v@1", "--text", "x", "--encoder", program([1], in: lake, named: "narrow")])
    #expect(narrow.ending == .exit(1) && narrow.errorText.contains("1 element, 8 are wanted"))
  }

  @Test func aRowIsFoundByItsOwnVector() throws {
    let lake = try LakeFixture.make(.built)
    let search = ["search", "v@1", "--like", "3", "--like", "27", "-k", "3", "--nprobe", "3"]
    func both(_ origin: String) throws -> [[String: Any]] {
      let result = try lake.succeed(search + ["--json"])
      let found = try documents(result)
      #expect(found.map { $0["like"] as? Int } == [3, 27])
      #expect(found.map { $0["vector"] as? String } == [origin, origin])
      #expect(result.errorLines.count == 2, "it is not said where the vectors came from")
      return found
    }
    for (id, document) in zip([3, 27], try both("shard")) {
      #expect((document["ids"] as? [Int])?.first == id)
    }
    // The scores of a search with the very features.
    var random = SplitMix64(seed: 1)
    let row = random.unitRows(FeatureSources.rowCount, dimension: Self.dimension)[
      3 * Self.dimension..<4 * Self.dimension]
    let path = lake.directory.path + "/row.npy"
    let bytes =
      NpyHeader.bytes(descr: "<f4", rowCount: 1, columns: Self.dimension)
      + row.flatMap { value in
        let bits = Float(Float16(value)).bitPattern
        return (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
      }
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let options = ["-k", "3", "--nprobe", "3", "--json"]
    let expected = try documents(lake.succeed(["search", "v@1", "--queries", path] + options))[0]
    #expect(try both("shard")[0]["scores"] as? [Double] == expected["scores"] as? [Double])
    try lake.succeed(["evict", "images"])
    for (id, document) in zip([3, 27], try both("index")) { #expect((document["ids"] as? [Int])?.first == id) }
    for id in ["40", "-1", "4000000000000000000"] {
      for words in [["--like=\(id)"], ["--like", id]] {
        let result = try lake.run(["search", "v@1"] + words)
        #expect(result.ending == .exit(64) && result.errorLines.count == 1, "\(result.errorText)")
        #expect(result.errorText.contains("v@1 has no row \(id)"), "\(result.errorText)")
      }
    }
  }

  @Test func nearDuplicatesAreShownOnce() throws {
    let lake = try LakeFixture.make(.built)
    let (_, search) = try queries(3, in: lake)
    let options = ["-k", "3", "--nprobe", "3", "--json"]
    let all = try documents(lake.succeed(search + ["-k", "40", "--nprobe", "3", "--json"]))
    for rerank in [[], ["--rerank", "13"]] {
      let found = try documents(lake.succeed(search + options + ["--unique", "0.5"] + rerank))
      for (some, every) in zip(found, all) {
        let ids = try #require(some["ids"] as? [Int])
        #expect(!ids.isEmpty && Set(ids).count == ids.count)
        if rerank.isEmpty { #expect(ids.first == (every["ids"] as? [Int])?.first) }
      }
    }
    // No cosine of these is 1: everything stays.
    let same = try documents(lake.succeed(search + options + ["--unique", "1"]))
    for (some, every) in zip(same, all) {
      #expect(some["ids"] as? [Int] == (every["ids"] as? [Int]).map { Array($0.prefix(3)) })
    }
    let short = try lake.succeed(search + ["-k", "40", "--nprobe", "3", "--json", "--unique", "0.3"])
    #expect(short.errorText.contains("fewer than 40 rows"))
  }

  @Test func whatDoesNotGoTogetherIsRefusedBeforeAnyWork() throws {
    let lake = try LakeFixture.make(.built)
    let (_, search) = try queries(1, in: lake)
    let marker = lake.directory.path + "/started"
    let encoder = "touch \(marker)"
    let wrong: [[String]] = [
      ["search", "v@1"], search + ["--text", "x"], ["search", "v@1", "--text", "x", "--like", "1"],
      search + ["--encoder", encoder], search + ["--normalise"], search + ["--unique", "0"],
      search + ["--encoder-timeout", "5s"],
      search + ["--unique", "1.5"],
      ["search", "v@1", "--text", "x"], ["search", "v@1", "--text", "", "--encoder", encoder],
      ["search", "v@1", "--image", "/none.jpg", "--encoder", encoder],
      ["search", "v@1", "--text", "x", "--encoder", "/no/such/program"],
      ["search", "v@1", "--text", "x", "--encoder", encoder, "--encoder-model", "m"],
      ["search", "v@1", "--text", "x", "--encoder", encoder, "-k", "0"],
      ["search", "v@9", "--text", "x", "--encoder", encoder],
      ["search", "v@1", "--text", "x", "--encoder", "http://u:secret@127.0.0.1/"],
    ]
    for arguments in wrong {
      let result = try lake.run(arguments)
      #expect(result.ending == .exit(64) && result.errorLines.count == 1, "\(arguments): \(result.errorText)")
      #expect(!result.errorText.contains("secret"))
    }
    #expect(!FileManager.default.fileExists(atPath: marker), "an encoder was started for nothing")
  }

  @Test func aHangIsEndedAndNothingStays() throws {
    let lake = try LakeFixture.make(.built)
    let path = lake.directory.path + "/self"
    let search = ["search", "v@1", "--text", "x", "--encoder", "sh -c 'sleep 600 & echo $! > \(path); wait'"]
    let result = try lake.run(search + ["--encoder-timeout", "1s"])
    #expect(result.ending == .exit(1) && result.errorText.contains("no answer within 1 s"))
    let running = try ProcessRunner.start(search + ["--lake", lake.lake])
    try FileManager.default.removeItem(atPath: path)
    while !FileManager.default.fileExists(atPath: path) { usleep(10_000) }
    running.signal(SIGINT)
    #expect(running.finish().ending == .exit(130))
    let text = try String(contentsOfFile: path, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
    // Gone, or on the list only until somebody takes it off.
    let standing = (try? String(contentsOfFile: "/proc/\(text)/stat", encoding: .utf8)) ?? ") Z "
    #expect(standing.contains(") Z "), "what it started lives")
  }
}
