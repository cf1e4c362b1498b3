// A lake on a disk without a byte left, on a medium that cannot be written, and files
// that are none: read what can be read, say what cannot be done.

import Base
import Foundation
import GRDB
import Synchronization
import Testing
import TestSupport

@Suite struct FullDiskTests {
  private static let readers: [[String]] = [
    ["status"], ["versions"], ["show", "v@1"], ["show", "t"], ["source", "list"], ["source", "show", "images"],
    ["sql", "SELECT count(*) FROM v_shard"], ["schema"], ["locate", "v@1", "0"], ["export", "v@1"], ["doctor"], ["gc"],
    ["source", "export", "images"], ["sync", "--dry-run"], ["diff", "v@1", "v@1"],
  ]

  /// Runs tarn where no file can grow by a byte: what a full disk is to it.
  private func runFull(_ lake: LakeFixture, _ arguments: [String]) throws -> ProcessResult {
    let environment = ProcessRunner.environment.merging(["TARN_LAKE": lake.lake]) { $1 }
    return try RunningProcess(
      "/bin/sh", ["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh", ProcessRunner.tarn] + arguments,
      environment: environment
    ).finish()
  }

  /// Brings what the log holds into the catalog, and leaves none.
  private func removeLog(_ lake: LakeFixture) throws {
    let queue = try DatabaseQueue(path: lake.lake + "/catalog.sqlite")
    try queue.inDatabase { try $0.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)") }
    try queue.close()
    for suffix in ["-wal", "-shm"] { try Disk.remove(lake.lake + "/catalog.sqlite" + suffix) }
  }

  @Test func aFullDiskIsRead() throws {
    let lake = try LakeFixture.make(.built)
    try removeLog(lake)
    for command in Self.readers {
      let result = try runFull(lake, command)
      #expect(result.ending == .exit(0), "\(command): \(result.errorText)")
    }
    for command in [["sync"], ["pin", "v@1"], ["evict", "images"]] {
      let result = try runFull(lake, command)
      #expect([.exit(28), .exit(1)].contains(result.ending), "\(command): \(result.errorText)")
      #expect(result.errorLines.count == 1 && result.errorText.contains("; "), "\(result.errorText)")
    }
  }

  /// What its log alone holds is not passed over.
  @Test func aLogThatCannotBeReadIsAnError() throws {
    let lake = try LakeFixture.make(.built)
    let queue = try DatabaseQueue(path: lake.lake + "/catalog.sqlite")
    try queue.write { try $0.execute(sql: "INSERT INTO setting VALUES ('bwlimit', '1MB', '2026-01-01')") }
    let other = try lake.copy()
    try queue.close()
    try Disk.remove(other.lake + "/catalog.sqlite-shm")
    #expect((Disk.size(of: other.lake + "/catalog.sqlite-wal") ?? 0) > 0)
    for command in [["status"], ["sql", "SELECT * FROM v_setting"]] {
      let result = try runFull(other, command)
      #expect(result.ending == .exit(28), "\(command): \(result.errorText)")
      #expect(result.errorText.contains("free some space") && result.errorLines.count == 1, "\(result.errorText)")
    }
    #expect(try other.succeed(["sql", "SELECT value FROM v_setting"]).outputText.contains("1MB"))
  }

  /// Pipes and devices are refused wherever a file is named, and nobody waits for them.
  @Test func pipesAndDevicesAreRefused() throws {
    let lake = try LakeFixture.make(.built)
    let directory = lake.directory.path + "/pipes"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let pipe = directory + "/img_0.npy"
    #expect(mkfifo(pipe, 0o644) == 0)
    let device = directory + "/img_1.npy"
    #expect(symlink("/dev/zero", device) == 0)
    try lake.succeed(["source", "add", "piped", "--directory", directory, "--dimension", "8"])
    for file in [pipe, device] {
      let commands = [
        ["import", "images", file], ["search", "v@1", "--queries", file], ["evaluate", "v@1", "--queries", file],
        ["reproduce", "--from", file], ["source", "add", "x", "--url-list", file, "--dimension", "8"],
        ["source", "add", "x", "--directory", directory, "--dimension", "8", "--sizes", file],
        ["source", "add", "x", "--directory", directory, "--dimension", "8", "--sha256", file],
        ["source", "add", "x", "--directory", directory, "--dimension", "8", "--hf-tree", file],
        ["backup", file],
      ]
      for command in commands {
        let result = try lake.run(command)
        #expect(result.ending != .overdue && result.ending != .exit(0), "\(command)")
        #expect(result.errorLines.count == 1, "\(command): \(result.errorText)")
      }
    }
    let synced = try lake.run(["sync", "piped", "--quiet"])
    #expect(synced.ending == .exit(20) && synced.errorText.contains("not a regular file"), "\(synced.errorText)")
    #expect(try lake.run(["source", "probe", "piped"]).ending == .exit(3))
    #expect(try lake.texts("SELECT DISTINCT state FROM v_shard WHERE source = 'piped'") == ["failed"])
  }

  /// B7: what is checked is what is copied.
  @Test func aFileThatGrowsWhileItIsImportedIsRefused() throws {
    let lake = try LakeFixture.make(.registered)
    let file = lake.directory.path + "/img_0.npy"
    let bytes = FeatureBytes.npy(200_000, dimension: FeatureSources.dimension, .float16, seed: 1)
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    let writer = try #require(FileHandle(forWritingAtPath: file))
    try writer.seekToEnd()
    let isDone = Flag()
    let thread = Thread {
      while !isDone.isSet { try? writer.write(contentsOf: Data(count: 16)) }
    }
    thread.start()
    let result = try lake.run(["import", "images", file, "--quiet"])
    isDone.set()
    #expect(result.ending == .exit(20), "\(result.errorText)")
    #expect(try lake.text("SELECT CAST(count(*) AS TEXT) FROM shard_revision") == "0")
    #expect(
      try FileManager.default.subpathsOfDirectory(atPath: lake.lake + "/shards").filter { $0.contains("img_0") } == [])
  }

  private final class Flag: Sendable {
    private let value = Mutex(false)
    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
  }

  /// Parts of transfers are shown, and given back.
  @Test func partsAreListedAndGivenBack() throws {
    let lake = try LakeFixture.make(.registered)
    try Disk.makeDirectory(lake.lake + "/shards/images")
    let part = lake.lake + "/shards/images/img_0.npy.part"
    try Data(count: 5_000).write(to: URL(fileURLWithPath: part))
    try Data(count: 100).write(to: URL(fileURLWithPath: part + ".resume"))
    #expect(
      try lake.succeed(["status", "--json"]).outputText.contains("{\"bytes\":5000,\"files\":2,\"kind\":\"part\"}"))
    #expect(try lake.succeed(["status"]).outputText.contains("part"))
    #expect(try lake.succeed(["gc", "--grace", "0s"]).outputText.contains("images/img_0.npy  5.00 kB  part of"))
    #expect(try lake.run(["evict", "captions", "--json"]).outputText.contains("\"parts\":0"))
    let evicted = try lake.succeed(["evict", "images", "--json"]).outputText
    #expect(evicted == "{\"bytes\":5000,\"evicted\":0,\"kept_old_revisions\":0,\"old_revisions\":0,\"parts\":1}\n")
    #expect(Disk.size(of: part) == nil && Disk.size(of: part + ".resume") == nil)
    try Data(count: 5_000).write(to: URL(fileURLWithPath: part))
    try lake.succeed(["gc", "--grace", "0s", "--apply"])
    #expect(Disk.size(of: part) == nil)
    try lake.succeed(["sync", "--quiet"])
  }
}
