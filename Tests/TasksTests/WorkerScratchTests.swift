// Where a worker works: found again by the next, shared by no two.

import Base
import Foundation
import Synchronization
import Tasks
import Testing
import TestSupport

@Suite struct WorkerScratchTests {
  private let parent: TemporaryDirectory
  private let task = ContentDigest.sample("task")

  init() throws { parent = try TemporaryDirectory() }

  private func take() throws -> WorkerScratch { try WorkerScratch(in: parent.path, for: task) }

  @Test func isFoundAgainAndSharedByNobody() throws {
    var first: WorkerScratch? = try take()
    let path = try #require(first?.path)
    try Data("x".utf8).write(to: URL(fileURLWithPath: path + "/segments/kept"))
    let second = try take()
    #expect(second.path == path + "-1")
    first = nil
    let third = try take()
    #expect(third.path == path)
    #expect(Disk.size(of: path + "/segments/kept") == 1)
    #expect(try WorkerScratch(in: parent.path, for: .sample("other")).path != path)
  }

  @Test func whatIsNoOwnDirectoryIsPassedOver() throws {
    let path = try take().path
    let elsewhere = try TemporaryDirectory()
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: elsewhere.path)
    try FileManager.default.createSymbolicLink(atPath: path + "-1", withDestinationPath: elsewhere.path + "/nothing")
    try Data().write(to: URL(fileURLWithPath: path + "-2"))
    var next = 3
    if geteuid() == 0 {
      try FileManager.default.createDirectory(atPath: path + "-3", withIntermediateDirectories: false)
      chown(path + "-3", 4711, 4711)
      next = 4
    }
    #expect(try take().path == "\(path)-\(next)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: elsewhere.path).isEmpty)
  }

  @Test func whatIsLeftIsKnownByItsName() throws {
    let user = getuid()
    let digits = task.prefix(16)
    let own = ["tarn-\(user)-\(digits)", "tarn-\(user)-\(digits)-1", "tarn-\(user)-\(digits)-63"]
    let others = [
      "tarn-\(user)-cache", "tarn-\(user)-\(digits)-64", "tarn-\(user)-\(digits)-01", "tarn-\(user)-\(digits)x",
      "tarn-\(user)-\(digits.uppercased())", "tarn-\(user)-\(digits.dropLast())", "tarn-\(user + 1)-\(digits)",
      "tarn-x",
    ]
    for name in own + others { try Disk.makeDirectory("\(parent.path)/\(name)") }
    let left = try WorkerScratch.left(in: parent.path)
    #expect(left.map(\.path) == own.map { "\(parent.path)/\($0)" })
    #expect(left.allSatisfy { $0.task == digits })
    #expect(try WorkerScratch.left(in: parent.path + "/none").isEmpty)
  }

  @Test func whatIsLeftGoesWhereNobodyWorksInIt() throws {
    let elsewhere = try TemporaryDirectory()
    try Data("x".utf8).write(to: URL(fileURLWithPath: elsewhere.path + "/kept"))
    let held = try take()
    let free = held.path + "-1"
    for name in ["shards", "segments"] { try Disk.makeDirectory("\(free)/\(name)") }
    try Data("x".utf8).write(to: URL(fileURLWithPath: free + "/segments/x"))
    // A link within is removed, and not what it leads to.
    try FileManager.default.createSymbolicLink(atPath: free + "/link", withDestinationPath: elsewhere.path)
    let link = held.path + "-2"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: elsewhere.path)

    try WorkerScratch.removeLeft(free, untouchedFor: .seconds(3600))
    #expect(Disk.isDirectory(free))
    let yesterday = [FileAttributeKey.modificationDate: Date(timeIntervalSinceNow: -86_400)]
    for path in [free + "/shards", free] { try FileManager.default.setAttributes(yesterday, ofItemAtPath: path) }
    // A segment is newer.
    try WorkerScratch.removeLeft(free, untouchedFor: .seconds(3600))
    #expect(Disk.isDirectory(free))
    try FileManager.default.setAttributes(yesterday, ofItemAtPath: free + "/segments")
    for path in [free, held.path, link, held.path + "-3"] {
      try WorkerScratch.removeLeft(path, untouchedFor: .seconds(3600))
      try WorkerScratch.removeLeft(path)
    }
    #expect(!Disk.isDirectory(free) && Disk.isDirectory(held.path) && Disk.isDirectory(link))
    #expect(Disk.size(of: elsewhere.path + "/kept") == 1)
  }

  @Test func whoWorksInItHasIt() async throws {
    // One ends and removes it while others ask for it, over and over.
    let inUse = Mutex<Set<String>>([])
    let wrong = Mutex(0)
    let scratch = parent.path
    let task = task
    let threads = (0..<4).map { _ in
      ThreadedWork("test") {
        for _ in 0..<200 {
          let mine = try WorkerScratch(in: scratch, for: task)
          if !inUse.withLock({ $0.insert(mine.path).inserted }) { wrong.withLock { $0 += 1 } }
          try Data().write(to: URL(fileURLWithPath: mine.path + "/shards/x"))
          if Disk.size(of: mine.path + "/shards/x") == nil { wrong.withLock { $0 += 1 } }
          _ = inUse.withLock { $0.remove(mine.path) }
          try mine.remove()
        }
      }
    }
    for thread in threads { try await thread.value() }
    #expect(wrong.withLock { $0 } == 0)
  }
}
