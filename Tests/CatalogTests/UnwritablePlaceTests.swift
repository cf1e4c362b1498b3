// A catalog where a reader can leave nothing beside it: what it reads is of one moment.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct UnwritablePlaceTests {
  private struct CannotOpen: Error {}

  /// A file that was written a while ago.
  private func file(_ text: String, in directory: TemporaryDirectory) throws -> String {
    let path = directory.path + "/catalog.sqlite"
    try write(text, to: path, age: 3_600)
    return path
  }

  private func write(_ text: String, to path: String, age: TimeInterval) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    try FileManager.default.setAttributes(
      [.modificationDate: Date.now.addingTimeInterval(-age)], ofItemAtPath: path)
  }

  /// Reads as SQLite does where the log's index cannot be made.
  private func reading(
    _ path: String, open: (String) throws -> String = { _ in throw CannotOpen() }, copy: (String, Bool) throws -> String
  ) throws -> String {
    try LakeCatalog.reading(path, open, copy: copy) { _ in 14 }
  }

  @Test func itIsCopiedWithoutALog() throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let path = try file("a", in: directory)
    let read = try reading(path) { path, isAlone in
      #expect(path.hasSuffix("/catalog.sqlite?immutable=1") && !isAlone)
      return "copied"
    }
    #expect(read == "copied")
  }

  @Test func whatChangesMeanwhileIsCopiedAgain() throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let path = try file("a", in: directory)
    var copyCount = 0
    let read = try reading(path) { _, _ in
      copyCount += 1
      let text = try String(contentsOfFile: path, encoding: .utf8)
      if copyCount < 3 { try write("b\(copyCount)", to: path, age: 1_000 - Double(copyCount)) }
      return text
    }
    #expect(read == "b2" && copyCount == 3)
  }

  @Test func whatChangedJustNowIsWaitedFor() throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let path = try file("a", in: directory)
    try write("b", to: path, age: 0)
    let changed = try #require(Disk.modifiedAt(path))
    // A change within the clock's grain would leave the time as it is.
    var (age, copyCount) = (Duration.zero, 0)
    _ = try reading(path) { _, _ in
      copyCount += 1
      age = Duration.seconds(Date.now.timeIntervalSince1970) - changed
      return "copied"
    }
    #expect(age >= .milliseconds(20) && copyCount == 1)
  }

  @Test func aWriterWhoCameIsReadBesideItsLog() throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let path = try file("a", in: directory)
    var openCount = 0
    let read = try reading(path) { opened in
      openCount += 1
      #expect(opened == path)
      if openCount == 1 { throw CannotOpen() }
      return "by the log"
    } copy: { _, _ in
      try Data([1]).write(to: URL(fileURLWithPath: path + "-wal"))
      return "torn"
    }
    #expect(read == "by the log")
  }

  @Test func whoWritesWithoutEndIsAnError() throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let path = try file("a", in: directory)
    var copyCount = 0
    #expect(throws: CannotOpen.self) {
      try reading(path) { _, _ in
        copyCount += 1
        try write("b", to: path, age: 10_000 - Double(copyCount))
        return "torn"
      }
    }
    #expect(copyCount == 50)
  }

  /// Who looks again and again copies when there is something new.
  @Test func aCopyServesAsLongAsNothingChanges() throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let (path, other) = (try file("a", in: directory), directory.path + "/other.sqlite")
    let copies = CatalogCopies<Int>()
    var count = 0
    func copy(_ path: String) throws -> Int {
      try copies.copy(of: path) {
        count += 1
        return count
      }
    }
    for _ in 0..<3 { #expect(try copy(path) == 1) }
    try write("b", to: path, age: 1_000)
    for _ in 0..<3 { #expect(try copy(path) == 2) }
    try write("log", to: path + "-wal", age: 900)
    for _ in 0..<3 { #expect(try copy(path) == 3) }
    // Written over in place, as long as before.
    try write("gol", to: path + "-wal", age: 800)
    for _ in 0..<3 { #expect(try copy(path) == 4) }
    try Disk.remove(path + "-wal")
    for _ in 0..<3 { #expect(try copy(path) == 5) }
    try write("b", to: other, age: 1_000)
    #expect(try copy(other) == 6)
    #expect(try copy(path) == 7)
    // One that is written while it is copied is no copy of what is there.
    try write("c", to: path, age: 700)
    _ = try copies.copy(of: path) {
      try write("d", to: path, age: 600)
      return 0
    }
    #expect(try copy(path) == 8)
  }
}
