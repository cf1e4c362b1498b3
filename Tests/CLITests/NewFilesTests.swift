// New files in the directory of a source: a sync names them and leaves them.

import Foundation
import Lake
import Testing
import TestSupport

@Suite struct NewFilesTests {
  private func write(_ name: String, _ rows: Int, _ seed: UInt64, in directory: String) throws {
    try Data(FeatureBytes.npy(rows, dimension: 8, seed: seed)).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
  }

  private func lake() throws -> (lake: LakeFixture, directory: String) {
    let lake = try LakeFixture.make(.empty)
    let directory = lake.directory.path + "/some data"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    for part in 0..<2 { try write("part \(part).npy", 10 + part, UInt64(part), in: directory) }
    try lake.succeed(["source", "add", "images", "--directory", directory])
    try lake.succeed(["sync", "--quiet"])
    return (lake, directory)
  }

  @Test func whatCameIsNamedUntilItIsTakenIn() throws {
    let (lake, directory) = try lake()
    let nothing = "0 shards fetched (0 B), 2 were here already, 0 failed\n"
    #expect(try lake.succeed(["sync"]).outputText == nothing)
    for part in 2..<4 { try write("part \(part).npy", 10 + part, UInt64(part), in: directory) }
    // What is no shard is not counted.
    try Data("words".utf8).write(to: URL(fileURLWithPath: directory + "/notes.txt"))
    try write(".hidden.npy", 10, 9, in: directory)
    let told = "images: 2 new files in \(directory); `tarn source refresh images` takes them in\n"
    #expect(try lake.succeed(["sync"]).outputText == nothing + told)
    #expect(try lake.succeed(["sync", "images", "--shards", "0"]).outputText.hasSuffix(told))
    #expect(try lake.succeed(["sync", "--quiet"]).outputText.isEmpty)
    let json = try lake.succeed(["sync", "--json"]).outputText
    #expect(json.contains(#""new_files":[{"count":2,"directory":""#), "\(json)")
    try lake.succeed(["source", "refresh", "images"])
    #expect(try lake.succeed(["sync"]).outputText.hasPrefix("2 shards fetched"))
    #expect(try !lake.succeed(["sync"]).outputText.contains("new file"))
  }

  /// A file under another name is not new, and a directory that is away is nothing to tell.
  @Test func whatWasThereIsNotNew() throws {
    let (lake, directory) = try lake()
    try FileManager.default.moveItem(atPath: directory + "/part 1.npy", toPath: directory + "/renamed.npy")
    #expect(try !lake.succeed(["sync"]).outputText.contains("new file"))
    try write("part 5.npy", 15, 5, in: directory)
    #expect(try lake.succeed(["sync"]).outputText.contains("images: 1 new file in"))
    try write("odd\u{7}.npy", 15, 5, in: directory)
    #expect(try !lake.succeed(["sync"]).outputText.contains("new file"))
    try FileManager.default.moveItem(atPath: directory, toPath: directory + " away")
    #expect(try !lake.succeed(["sync"]).outputText.contains("new file"))
  }

  /// What a refresh would take is named, of the source's own format and no other.
  @Test func filesOfAnotherFormatAreNotNew() throws {
    let (lake, directory) = try lake()
    try Data("PK".utf8).write(to: URL(fileURLWithPath: directory + "/b.npz"))
    #expect(try !lake.succeed(["sync"]).outputText.contains("new file"))
    try write("part 2.npy", 12, 2, in: directory)
    #expect(try lake.succeed(["sync"]).outputText.contains("images: 1 new file in"))
    try lake.succeed(["source", "refresh", "images"])
  }

  @Test(arguments: [
    ([Int](), [Int](), 0), ([5, 5], [], 2), ([5, 5], [5], 1), ([5, 6], [7], 2), ([5], [5, 5], 0),
    ([5, 6, 5], [5, 6], 1),
  ])
  func eachThatIsGoneMayBeOne(new: [Int], gone: [Int], count: Int) {
    #expect(NewFiles.count(ofSizes: new, gone: gone) == count)
  }
}
