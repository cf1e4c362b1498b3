// Files that are gone from their addresses, found again under others.

import Base
import Lake
import Testing

@Suite struct GoneFilesTests {
  private func file(_ name: String, _ bytes: String?, _ byteCount: Int? = 10) -> GoneFiles.File {
    GoneFiles.File(name: name, byteCount: byteCount, digest: bytes.map { ContentDigest.of($0) })
  }

  @Test func eachIsFoundByItsNameOrByItsBytesOnce() {
    var files = GoneFiles([file("a", "A"), file("b", "B"), file("c", "B"), file("d", nil), file("e", "E", nil)])
    let byName = ["a", "a", "x"].map { files.find(named: $0) }
    #expect(byName == [0, 0, nil])
    // What is found by its name is not found by its bytes once more.
    let byBytes = ["A", "B", "B", "B"].map { files.find(byteCount: 10, digest: .of($0)) }
    #expect(byBytes == [nil, 1, 2, nil])
    // Nor is what has another size, or one that nobody knows; a look at bytes is of use as long as one of the size lacks.
    let other = files.find(byteCount: 10, digest: .of("E"))
    #expect(other == nil)
    #expect(files.lacks(byteCount: 10) && !files.lacks(byteCount: 11))
    #expect(files.found == [0, 1, 2])
    let last = files.find(named: "d")
    #expect(last == 3)
    #expect(!files.lacks(byteCount: 10))
  }

  /// A list that tells all of a great source elsewhere takes no minutes.
  @Test(.timeLimit(.minutes(1))) func aHundredThousandMayMoveTogether() {
    let names = (0..<100_000).map { "\($0).npy" }
    var files = GoneFiles(names.map { file($0, "same") })
    let byName = names.prefix(50_000).compactMap { files.find(named: $0) }
    let byBytes = names.dropFirst(50_000).compactMap { _ in files.find(byteCount: 10, digest: .of("same")) }
    #expect(byName == Array(0..<50_000) && byBytes == Array(50_000..<100_000))
    #expect(files.found.count == 100_000 && !files.lacks(byteCount: 10))
  }
}
