// `--dry-run` of what builds and trains: it refuses what the verb refuses, in the verb's words, and writes nothing.

import Base
import Foundation
import Testing
import TestSupport

@Suite(.tags(.slow)) struct DryRunTests {
  private static let build = ["build", "w", "--trained", "t", "--images", "images"]
  private static let train = ["train", "u", "--images", "images", "--captions", "captions", "--nlist", "2"]

  /// Holds a dry run against the run: they end alike, with the same line, and the dry one leaves everything as it was.
  private func refuse(_ arguments: [String], _ lake: LakeFixture, _ status: Int32) throws {
    let before = try lake.contents()
    let dry = try lake.run(arguments + ["--dry-run"])
    #expect(try lake.contents() == before, "\(arguments)")
    let wet = try lake.run(arguments)
    #expect(
      dry.ending == .exit(status) && wet.ending == .exit(status), "\(arguments): \(dry.errorText) \(wet.errorText)")
    #expect(dry.errorLines == wet.errorLines && dry.outputText.isEmpty, "\(arguments): \(dry.errorText)")
  }

  /// Lets a dry run tell, and leave everything as it was.
  @discardableResult private func tell(_ arguments: [String], _ lake: LakeFixture) throws -> JSONValue {
    let before = try lake.contents()
    let text = try lake.succeed(arguments + ["--dry-run"]).outputText
    let told = try #require(JSONValue(parsing: lake.succeed(arguments + ["--dry-run", "--json"]).outputText))
    #expect(try lake.contents() == before, "\(arguments)")
    #expect(text.hasPrefix("step ") && text.contains("measured here: "), "\(text)")
    #expect(text.contains("not known") == (told["shards_of_unknown_rows"]?.integer != 0), "\(text)")
    return told
  }

  private func steps(_ told: JSONValue) -> [String] {
    (told["steps"]?.elements ?? []).compactMap { $0["step"]?.string }
  }

  @Test func aBuildThatIsRefusedIsRefusedDry() throws {
    let lake = try LakeFixture.make(.trained)
    try refuse(Self.build + ["--shards-per-output", "0"], lake, 64)
    try refuse(Self.build + ["--shards", "7"], lake, 64)
    try refuse(["build", "w@1", "--trained", "t", "--images", "images"], lake, 64)
    try refuse(["build", "w", "--trained", "none", "--images", "images"], lake, 64)
    try refuse(["build", "w", "--trained", "t", "--images", "captions"], lake, 64)
    // The line says what is free, which others change.
    let full = try lake.run(Self.build + ["--keep-free", "1000TB", "--dry-run"])
    #expect(full.ending == .exit(28) && full.errorText.contains("what is left of w@1"), "\(full.errorText)")
    #expect(try lake.run(Self.build + ["--keep-free", "1000TB"]).ending == .exit(28))
    try lake.succeed(["evict", "images"])
    try refuse(Self.build + ["--offline"], lake, 21)
    // No shard fits.
    try refuse(Self.build + ["--budget", "100"], lake, 28)
  }

  @Test func aTrainingThatIsRefusedIsRefusedDry() throws {
    let lake = try LakeFixture.make(.trained)
    // The name has another training.
    try refuse(Self.train.map { $0 == "u" ? "t" : $0 }, lake, 64)
    try refuse(Self.train + ["--pairs", "1000"], lake, 64)
    try refuse(Self.train.map { $0 == "images" ? "captions" : $0 }, lake, 64)
    #expect(try lake.run(Self.train + ["--keep-free", "1000TB", "--dry-run"]).ending == .exit(28))
    try tell(Self.train, lake)
    try lake.succeed(["evict", "images"])
    try refuse(Self.train, lake, 21)
    try tell(Self.train + ["--fetch"], lake)
    try refuse(Self.train + ["--budget", "100"], lake, 28)
    let fresh = try LakeFixture.make(.registered)
    try refuse(Self.train, fresh, 21)
    try refuse(Self.train + ["--missing", "skip"], fresh, 21)
  }

  /// A source of which nobody has said how many rows its shards have.
  private func addUnseen(_ lake: LakeFixture) throws {
    try lake.succeed([
      "source", "add", "unseen", "--url", LakeFixture.sources().server.url("/images/img_{ordinal}.npy"), "--count",
      "\(FeatureSources.shardCount)", "--dimension", "\(FeatureSources.dimension)",
    ])
  }

  @Test func whatWouldBeFetchedIsNoRefusal() throws {
    let lake = try LakeFixture.make(.trained)
    try addUnseen(lake)
    let build = ["build", "w", "--trained", "t", "--images", "unseen"]
    let none = try tell(build, lake)
    #expect(none["shards_of_unknown_rows"]?.integer == 2 && none["seconds"] == .null)
    #expect((none["steps"]?.elements ?? []).allSatisfy { $0["disk_bytes"] == .null })
    try refuse(build + ["--offline"], lake, 21)
    // One that is known is told.
    try lake.succeed(["sync", "unseen", "--shards", "1"])
    let some = try tell(build, lake)
    #expect(some["shards_of_unknown_rows"]?.integer == 1)
    #expect(steps(some) == ["assigning", "encoding", "segments", "outputs"])
    let train = ["train", "u", "--images", "unseen", "--method", "kmeans", "--nlist", "2", "--budget", "1MB"]
    let told = try tell(train, lake)
    #expect(told["shards_of_unknown_rows"]?.integer == 1 && steps(told) == ["gathering", "k-means", "ranges"])
    // As many are drawn as are asked for: two rows of eight float16, twice.
    let few = try tell(train + ["--pairs", "2"], lake)
    #expect(few["steps"]?.elements.first?["disk_bytes"]?.integer == 64)
    #expect(try lake.run(train + ["--pairs", "1", "--dry-run"]).ending == .exit(64))
    #expect(try lake.run(train + ["--pairs", "\(Int.max)", "--dry-run"]).ending == .exit(64))
    // What is asked for is there.
    try lake.succeed(["source", "probe", "unseen"])
    #expect(try tell(build, lake)["shards_of_unknown_rows"]?.integer == 0)
    try lake.succeed(build)
  }

  /// Servers that give out no parts of files tell no rows of an archive: nothing that was asked is advised again.
  @Test func rowsThatNoServerTellsEndADryRunToo() throws {
    let files = try ArraySources().files
    let server = try HostileServer { request in
      guard let bytes = files[request.target] else { return .answer(404) }
      guard request.method != "HEAD" else {
        return .answer(200, headers: ["Content-Length: \(bytes.count)"], framing: .none)
      }
      return .answer(200, body: bytes)
    }
    let lake = try LakeFixture.make(.trained)
    try lake.succeed([
      "source", "add", "packed", "--url", server.url("/shards/{ordinal}.npz"), "--count", "3", "--array", "l14_img",
      "--dimension", "\(ArraySources.dimension)",
    ])
    let train = [
      "train", "u", "--images", "packed", "--method", "kmeans", "--nlist", "2", "--budget", "1MB", "--patience", "0",
    ]
    // Nobody was asked yet.
    #expect(try tell(train, lake)["shards_of_unknown_rows"]?.integer == 3)
    let probed = try lake.succeed(["source", "probe", "packed"]).outputText
    #expect(probed.contains("the rows of 3 shards are told by nobody"), "\(probed)")
    #expect(probed.contains("`tarn sync packed` learns them"), "\(probed)")
    let counted = try lake.succeed(["source", "probe", "packed", "--json"]).outputText
    #expect(counted.contains("\"rows_untold\":3"), "\(counted)")
    try refuse(train, lake, 21)
    try refuse(["build", "w", "--trained", "t", "--images", "packed"], lake, 21)
    #expect(try !lake.run(train).errorText.contains("source probe"))
    // What is advised works, and what was learnt stays.
    try lake.succeed(["sync", "packed", "--quiet"])
    try lake.succeed(["evict", "packed"])
    try tell(train, lake)
    #expect(try !lake.succeed(["source", "probe", "packed"]).outputText.contains("told by nobody"))
  }

  @Test func whatWasMadeCostsNothing() throws {
    let lake = try LakeFixture.make(.built)
    for arguments in [LakeStage.trained, .built].flatMap({ (try? $0.arguments(LakeFixture.sources())) ?? [] }) {
      let told = try tell(arguments, lake)
      #expect(steps(told).isEmpty && ["0", "0.0"].contains(told["seconds"]?.text), "\(arguments)")
      #expect(try lake.succeed(arguments + ["--dry-run"]).outputText.contains("nothing to do"))
    }
  }

  @Test func aRuleThatCannotBeHeldIsTold() throws {
    let lake = try LakeFixture.make(.trained)
    let lines = lake.directory.path + "/lines"
    try Disk.makeDirectory(lines)
    for ordinal in 0..<FeatureSources.shardCount {
      let text = (0..<FeatureSources.rowCount).map { "line \($0)\n" }.joined()
      try Disk.writeAtomically(Array(text.utf8), to: "\(lines)/m_\(ordinal).txt")
    }
    let values = lake.directory.path + "/values"
    try Disk.writeAtomically(Array("line 3\n".utf8), to: values)
    try lake.succeed(["source", "add", "meta", "--companion-of", "images", "--directory", lines])
    try lake.succeed(["sync", "meta", "--shards", "0"])
    try lake.succeed(["exclude", "images", "--match", "text", "--values", values, "--reason", "a test"])
    try refuse(Self.build, lake, 21)
    try lake.succeed(["sync", "meta"])
    try tell(Self.build, lake)
    // Nothing was found for good: the build itself says what its rules found.
    #expect(try lake.succeed(Self.build).errorText.contains("found 1 row"))
  }

  @Test func plansTellTheSame() throws {
    let lake = try LakeFixture.make(.trained)
    let place = ["--tasks", lake.directory.path + "/tasks"]
    #expect(try steps(tell(["plan"] + Self.build + place, lake)) == steps(tell(Self.build, lake)))
    #expect(try steps(tell(["plan"] + Self.train + place, lake)) == steps(tell(Self.train, lake)))
    #expect(try steps(tell(Self.build + ["--executor", "local:1"] + place, lake)) == steps(tell(Self.build, lake)))
    #expect(try steps(tell(Self.train + ["--executor", "local:1"] + place, lake)) == steps(tell(Self.train, lake)))
    #expect(Disk.size(of: place[1]) == nil)
    try refuse(["plan"] + Self.build + place + ["--shards-per-output", "0"], lake, 64)
    try refuse(["plan"] + Self.train.map { $0 == "u" ? "t" : $0 } + place, lake, 64)
    // A directory of something else, and one that has the plan of another version.
    try Disk.makeDirectory(place[1])
    try Disk.writeAtomically(Array("mine".utf8), to: place[1] + "/notes.txt")
    try refuse(["plan"] + Self.build + place, lake, 64)
    try FileManager.default.removeItem(atPath: place[1])
    try lake.succeed(["plan"] + Self.build + place)
    try refuse(["plan"] + Self.build.map { $0 == "w" ? "other" : $0 } + place, lake, 64)
    try refuse(["plan"] + Self.train + place, lake, 64)
    try tell(["plan"] + Self.build + place, lake)
  }
}
