// A directory as a mirror: what a source whose files moved is told, and what is read there.

import Foundation
import Testing
import TestSupport

@Suite struct DirectoryMirrorTests {
  private func write(_ name: String, _ seed: UInt64, in directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Data(FeatureBytes.npy(20, dimension: 8, seed: seed)).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
  }

  /// A lake with a version over three files whose names fit no template.
  private func lake(_ options: [String] = []) throws -> (lake: LakeFixture, directory: String) {
    let lake = try LakeFixture.make(.empty)
    let directory = lake.directory.path + "/some data/img"
    for part in 0..<3 { try write("part \(part).npy", UInt64(1 + part), in: directory) }
    try lake.succeed(["source", "add", "images", "--directory", directory] + options)
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    return (lake, directory)
  }

  private func addresses(_ lake: LakeFixture, _ mirror: Int) throws -> [String] {
    try lake.texts("SELECT url FROM v_location WHERE mirror = \(mirror) ORDER BY ordinal")
  }

  @Test func aDirectoryThatMovedIsNamedAndReadFromThenOn() throws {
    let (lake, directory) = try lake()
    let moved = lake.directory.path + "/data 2"
    try FileManager.default.moveItem(atPath: lake.directory.path + "/some data", toPath: moved)
    let away = try lake.run(["source", "refresh", "images"])
    #expect(away.ending == .exit(64), "\(away.errorText)")
    #expect(away.errorText.contains("\(directory) is not a directory that can be read"), "\(away.errorText)")
    #expect(away.errorText.contains("`tarn source mirror add images DIR`"), "\(away.errorText)")
    // A relative path counts from where the command runs.
    let added = try ProcessRunner.run(
      ["source", "mirror", "add", "images", "../data 2/img"], environment: ["TARN_LAKE": lake.lake],
      directory: lake.lake)
    #expect(added.ending == .exit(0), "\(added.errorText)")
    #expect(added.outputText == "images has it as mirror 1\n")
    let base = "file://" + moved.replacingOccurrences(of: " ", with: "%20")
    #expect(try addresses(lake, 1) == (0..<3).map { "\(base)/img/part%20\($0).npy" })
    for again in [moved + "/img", "file://\(moved)/img/", base + "/img"] {
      #expect(
        try lake.succeed(["source", "mirror", "add", "images", again]).outputText == "images had that mirror before\n")
    }
    // It is fetched from there, and what came is taken in, whichever is asked first.
    try lake.succeed(["evict", "images"])
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["verify"])
    try write("part 10.npy", 11, in: moved + "/img")
    #expect(try lake.succeed(["source", "refresh", "images"]).outputText == "images has 4 shards, 1 more\n")
    #expect(try addresses(lake, 1).last == "\(base)/img/part%2010.npy")
    #expect(try addresses(lake, 0).last?.hasSuffix("/some%20data/img/part%2010.npy") == true)
    try lake.succeed(["source", "mirror", "order", "images", "1", "0"])
    #expect(try lake.succeed(["source", "refresh", "images"]).outputText == "images has 4 shards, 0 more\n")
    try write("part 11.npy", 12, in: moved + "/img")
    #expect(try lake.succeed(["source", "refresh", "images"]).outputText == "images has 5 shards, 1 more\n")
    try lake.succeed(["sync", "--quiet"])
    for arguments in [["verify"], ["doctor"], ["reproduce", "v@1", "--quiet"]] { try lake.succeed(arguments) }
    // Documents of both times make one catalog.
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--quiet"])
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try lake.succeed(["rebuild-catalog", "--allow-inside", "--quiet"])
    try lake.succeed(["verify"])
    try lake.succeed(["source", "refresh", "images"])
  }

  @Test func whatADirectoryLacksIsSaid() throws {
    let (lake, directory) = try lake()
    let other = lake.directory.path + "/other"
    try FileManager.default.copyItem(atPath: directory, toPath: other)
    try FileManager.default.removeItem(atPath: other + "/part 1.npy")
    let added = try lake.succeed(["source", "mirror", "add", "images", other, "--json"]).outputText
    #expect(added.contains(#""mirror":1"#) && added.contains(#""missing":["part 1.npy"]"#), "\(added)")
    try lake.succeed(["source", "mirror", "remove", "images", "1"])
    #expect(
      try lake.succeed(["source", "mirror", "add", "images", other]).outputText
        == "images has it as mirror 1\n1 shard is not there: part 1.npy\n")
    try lake.succeed(["evict", "images"])
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["verify"])
    // A directory of something else, and one that is not there.
    let before = try lake.texts("SELECT template FROM mirror ORDER BY priority")
    let empty = lake.directory.path + "/empty"
    try write("x.npy", 7, in: empty)
    let none = try lake.run(["source", "mirror", "add", "images", empty])
    #expect(none.ending == .exit(64) && none.errorText.contains("no file of images, such as part 0.npy"))
    for text in [lake.directory.path + "/nowhere", "file://\(lake.directory.path)/nowhere"] {
      let refused = try lake.run(["source", "mirror", "add", "images", text])
      #expect(refused.ending == .exit(64) && refused.errorLines.count == 1, "\(refused.errorText)")
      #expect(refused.errorText.contains("director"), "\(refused.errorText)")
    }
    #expect(try lake.texts("SELECT template FROM mirror ORDER BY priority") == before)
  }

  /// Shards that are called otherwise than their files are found by these.
  @Test func filesAreFoundByTheirOwnNames() throws {
    let (lake, directory) = try lake(["--shard-names", "img_{ordinal:04}.npy"])
    let moved = lake.directory.path + "/moved"
    try FileManager.default.moveItem(atPath: directory, toPath: moved)
    try lake.succeed(["source", "mirror", "add", "images", moved])
    #expect(try addresses(lake, 1) == (0..<3).map { "file://\(moved)/part%20\($0).npy" })
    try lake.succeed(["evict", "images"])
    try lake.succeed(["sync", "--quiet"])
    // And files that are called as the shards are.
    let named = lake.directory.path + "/named"
    for part in 0..<3 { try write("img_000\(part).npy", UInt64(1 + part), in: named) }
    try lake.succeed(["source", "mirror", "add", "images", named])
    #expect(try addresses(lake, 2) == (0..<3).map { "file://\(named)/img_000\($0).npy" })
  }
}
