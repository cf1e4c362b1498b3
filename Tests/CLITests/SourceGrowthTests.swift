// Sources that grow: what is new comes behind what is there, which never moves.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct SourceGrowthTests {
  private func write(_ name: String, _ seed: UInt64, in directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Data(FeatureBytes.npy(20, dimension: 8, seed: seed)).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
  }

  private func shards(_ lake: LakeFixture) throws -> [String] {
    try lake.texts("SELECT ordinal || ' ' || name FROM shard ORDER BY ordinal")
  }

  private func train(_ lake: LakeFixture) throws {
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
  }

  /// A lake with a version over a directory of two files.
  private func lakeOfDirectory() throws -> (lake: LakeFixture, directory: String) {
    let lake = try LakeFixture.make(.empty)
    let directory = lake.directory.path + "/some features"
    try write("f2.npy", 1, in: directory)
    try write("f10.npy", 2, in: directory)
    try lake.succeed(["source", "add", "images", "--directory", directory])
    try train(lake)
    return (lake, directory)
  }

  @Test func whatIsNewInADirectoryIsEncodedAlone() throws {
    let (lake, directory) = try lakeOfDirectory()
    let document = try lake.succeed(["export", "v@1"]).outputText
    // Between the others by its name, and behind them all the same.
    try write("f3.npy", 3, in: directory)
    try write("f4.npy", 4, in: directory)
    let said = try lake.succeed(["source", "refresh", "images"]).outputText
    #expect(said == "images has 4 shards, 2 more\n")
    #expect(try shards(lake) == ["0 f2.npy", "1 f10.npy", "2 f3.npy", "3 f4.npy"])
    #expect(try lake.succeed(["source", "refresh", "images"]).outputText == "images has 4 shards, 0 more\n")
    try lake.succeed(["sync", "--quiet"])
    // Without the old shards: their segments are used again.
    try lake.succeed(["evict", "images", "--shards", "0-1"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--offline", "--quiet"])
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM segment") == "4")
    for id in ["0", "25", "39"] {
      #expect(
        try lake.succeed(["locate", "v@1", id, "--format", "csv"]).outputText
          == lake.succeed(["locate", "v@2", id, "--format", "csv"]).outputText)
    }
    // The version of before is what it was, for whoever looks.
    try lake.succeed(["sync", "--quiet"])
    for arguments in [
      ["verify"], ["doctor"], ["reproduce", "v@1", "--quiet"], ["reproduce", "v@2", "--quiet"], ["show", "v@1"],
    ] {
      try lake.succeed(arguments)
    }
    #expect(document.contains("f10.npy"))
    try lake.succeed(["backup", lake.directory.path + "/backup"])
    // Documents of two times make one catalog.
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try lake.succeed(["rebuild-catalog", "--allow-inside"])
    #expect(try shards(lake) == ["0 f2.npy", "1 f10.npy", "2 f3.npy", "3 f4.npy"])
    for arguments in [["verify"], ["reproduce", "v@1", "--quiet"], ["reproduce", "v@2", "--quiet"], ["doctor"]] {
      try lake.succeed(arguments)
    }
  }

  /// A dry run promises nothing that the run refuses: a new address whose name is taken.
  @Test func aDryRunRefusesWhatTheRunDoes() throws {
    let lake = try LakeFixture.make(.empty)
    let list = lake.directory.path + "/urls"
    func write(_ lines: [String]) throws {
      try lines.map { "https://h.example/\($0)\n" }.joined().write(toFile: list, atomically: true, encoding: .utf8)
    }
    try write(["a.npy", "b.npy"])
    try lake.succeed(["source", "add", "images", "--url-list", list, "--dimension", "8"])
    try write(["a.npy", "b.npy", "c.npy", "sub/b.npy"])
    let arguments = ["source", "refresh", "images", "--url-list", list]
    let (dry, wet) = (try lake.run(arguments + ["--dry-run"]), try lake.run(arguments))
    #expect(wet.ending == .exit(64) && wet.errorText.contains("has a shard named b.npy already"), "\(wet.errorText)")
    #expect(dry.ending == wet.ending && dry.errorText == wet.errorText, "\(dry.outputText)\(dry.errorText)")
    try write(["a.npy", "b.npy", "c.npy"])
    #expect(try lake.succeed(arguments + ["--dry-run"]).outputText.contains("would have 3 shards, 1 more"))
    #expect(try shards(lake) == ["0 a.npy", "1 b.npy"])
  }

  @Test func whatIsGoneOrHasAnotherNameIsSaidAndMovesNothing() throws {
    let (lake, directory) = try lakeOfDirectory()
    let before = try shards(lake)
    try FileManager.default.moveItem(atPath: directory + "/f2.npy", toPath: directory + "/renamed.npy")
    let said = try lake.succeed(["source", "refresh", "images"]).outputText
    #expect(said.contains("0 more") && said.contains("f2.npy is at renamed.npy now"), "\(said)")
    #expect(said.contains("rests on it; `tarn import images '\(directory)/renamed.npy'` takes it in"), "\(said)")
    try FileManager.default.removeItem(atPath: directory + "/renamed.npy")
    try write("f11.npy", 5, in: directory)
    let gone = try lake.succeed(["source", "refresh", "images", "--json"]).outputText
    #expect(gone.contains("\"gone\":[\"f2.npy\"]") && gone.contains("\"added\":[\"f11.npy\"]"), "\(gone)")
    #expect(try shards(lake) == before + ["2 f11.npy"])
    try lake.succeed(["verify"])
    try FileManager.default.removeItem(atPath: directory)
    let away = try lake.run(["source", "refresh", "images"])
    #expect(
      away.ending == .exit(64) && away.errorText.contains("not a directory that can be read"), "\(away.errorText)")
  }

  @Test func ordinalsAreAddedAndDroppedAgain() throws {
    let lake = try LakeFixture.make(.empty)
    let server = try HostileServer { request in
      let number = request.target.split(separator: "/").last?.prefix { $0 != "." }.first?.wholeNumberValue
      return number.map { .file(FeatureBytes.npy(20, dimension: 8, seed: UInt64($0 + 1)), for: request) }
        ?? .answer(404)
    }
    let add = { (count: Int) in
      [
        "source", "add", "images", "--url", server.url("/a/{ordinal}.npy"), "--mirror", server.url("/b/{ordinal}.npy"),
        "--count", "\(count)", "--dimension", "8",
      ]
    }
    try lake.succeed(add(2))
    try train(lake)
    #expect(
      try lake.succeed(["source", "extend", "images", "--count", "4"]).outputText == "images has 4 shards, 2 more\n")
    #expect(try lake.succeed(["source", "extend", "images", "--count", "4"]).outputText.contains("0 more"))
    #expect(try lake.run(["source", "extend", "images", "--count", "3"]).ending == .exit(64))
    #expect(try lake.succeed(add(4)).outputText.contains("nothing changed"))
    #expect(
      try lake.texts(
        "SELECT url FROM shard_location l JOIN shard h ON h.id = l.shard_id WHERE ordinal = 3 ORDER BY url")
        == [server.url("/a/3.npy"), server.url("/b/3.npy")])
    try lake.succeed(["verify"])
    // A number too many: those that no document names go again.
    #expect(try lake.run(["source", "drop-shards", "images", "--shards", "1-3"]).ending == .exit(64))
    try lake.succeed(["source", "drop-shards", "images", "--shards", "3"])
    try lake.succeed(["verify"])
    try lake.succeed(["doctor"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    #expect(try lake.texts("SELECT version || ' ' || inputs FROM v_version ORDER BY 1") == ["v@1 2", "v@2 3"])
    let kept = try lake.run(["source", "drop-shards", "images", "--shards", "2"])
    #expect(kept.ending == .exit(64), "\(kept.errorText)")
    try lake.succeed(["verify"])
  }

  @Test func linesAreAdded() throws {
    let lake = try LakeFixture.make(.empty)
    let list = lake.directory.path + "/urls"
    func write(_ lines: [String]) throws {
      try lines.map { "https://h.example/\($0)\n" }.joined().write(toFile: list, atomically: true, encoding: .utf8)
    }
    try write(["a.npy", "b.npy"])
    try lake.succeed(["source", "add", "images", "--url-list", list, "--dimension", "8"])
    try write(["c.npy", "a.npy", "b.npy", "d.npy"])
    let sizes = lake.directory.path + "/sizes"
    try "c.npy, 448\nd.npy, 512, 24\n".write(toFile: sizes, atomically: true, encoding: .utf8)
    try lake.succeed(["source", "extend", "images", "--url-list", list, "--sizes", sizes])
    #expect(try shards(lake) == ["0 a.npy", "1 b.npy", "2 c.npy", "3 d.npy"])
    #expect(try lake.text("SELECT CAST(expected_row_count AS TEXT) FROM shard WHERE name = 'd.npy'") == "24")
    // The new ones alone do as well.
    try write(["e.npy"])
    #expect(
      try lake.succeed(["source", "extend", "images", "--url-list", list]).outputText.contains("5 shards, 1 more"))
    try write(["a.npy", "c.npy", "d.npy", "new/e.npy", "f.npy"])
    let said = try lake.succeed(["source", "refresh", "images", "--url-list", list]).outputText
    #expect(said.contains("6 shards, 1 more"), "\(said)")
    #expect(said.contains("b.npy is not there any more"))
    #expect(said.contains("e.npy is at https://h.example/new/e.npy now"))
    try write(["other/a.npy"])
    let clash = try lake.run(["source", "extend", "images", "--url-list", list])
    #expect(clash.ending == .exit(64) && clash.errorText.contains("--shard-names"), "\(clash.errorText)")
    try lake.succeed(["source", "extend", "images", "--url-list", list, "--shard-names", "more_{ordinal}.npy"])
    #expect(try shards(lake).last == "6 more_6.npy")
    let inside = lake.directory.path + "/inside"
    try "http://127.0.0.1:1/x.npy\n".write(toFile: inside, atomically: true, encoding: .utf8)
    #expect(try lake.run(["source", "extend", "images", "--url-list", inside]).ending != .exit(0))
    try write(["y.npy", "y.npy"])
    #expect(try lake.run(["source", "extend", "images", "--url-list", list]).ending == .exit(64))
    try lake.succeed(["verify"])
  }

  /// A list is told by its path, and is somewhere else once its lake has moved.
  @Test func aListThatMovedIsNamedWhereItIs() throws {
    let lake = try LakeFixture.make(.empty)
    let (list, moved) = (lake.directory.path + "/urls", lake.lake + "/urls")
    try "https://h.example/a.npy\n".write(toFile: list, atomically: true, encoding: .utf8)
    try lake.succeed(["source", "add", "images", "--url-list", list, "--dimension", "8"])
    try FileManager.default.moveItem(atPath: list, toPath: moved)
    let lost = try lake.run(["source", "refresh", "images"])
    #expect(
      lost.ending == .exit(21) && lost.errorText.contains("there is no file \(list)")
        && lost.errorText.contains("`tarn source refresh images --url-list \(moved)`"), "\(lost.errorText)")
    try lake.succeed(["source", "refresh", "images", "--url-list", moved])
    // It is known from then on, until it goes as well.
    try lake.succeed(["source", "refresh", "images"])
    try FileManager.default.removeItem(atPath: moved)
    let gone = try lake.run(["source", "refresh", "images"])
    #expect(gone.errorText.contains("`tarn source refresh images --url-list FILE`"), "\(gone.errorText)")
  }

  /// A shard too many at the end, whose rows nobody can know, is left out like any other.
  @Test func aLastShardThatIsNowhereIsLeftOut() throws {
    let lake = try LakeFixture.make(.trained)
    try lake.succeed(["source", "extend", "images", "--count", "3"])
    let build = ["build", "v", "--trained", "t", "--images", "images"]
    #expect(try lake.run(build).ending == .exit(21))
    let said = try lake.succeed(build + ["--missing", "skip"])
    #expect(said.errorText.contains("img_2.npy at the end of images"), "\(said.errorText)")
    #expect(try lake.texts("SELECT shard FROM v_version_input ORDER BY input") == ["img_0.npy", "img_1.npy"])
    try lake.succeed(["verify"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
  }

  @Test func anotherWayThanItWasRegisteredIsRefused() throws {
    let lake = try LakeFixture.make(.registered)
    let list = lake.directory.path + "/urls"
    try "https://h.example/a.npy\n".write(toFile: list, atomically: true, encoding: .utf8)
    let before = try lake.contents()
    for arguments in [
      ["extend", "images", "--url-list", list], ["refresh", "images"], ["refresh", "images", "--url-list", list],
      ["extend", "captions", "--count", "3"], ["extend", "images"], ["extend", "images", "--count", "0"],
      ["extend", "none", "--count", "3"],
    ] {
      let result = try lake.run(["source"] + arguments)
      #expect(result.ending == .exit(64) && result.errorLines.count <= 4, "\(arguments): \(result.errorText)")
    }
    #expect(try lake.contents() == before)
  }
}
