// A lake on a disk without a byte left, on a medium that cannot be written, and files
// that are none: read what can be read, say what cannot be done.

import Base
import Catalog
import Foundation
import GRDB
import Lake
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
    let queue = try CatalogFile.open(lake.lake + "/catalog.sqlite")
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
    for command in [["pin", "v@1"], ["evict", "images"], ["backup", lake.lake + "/copy.sqlite"]] {
      let result = try runFull(lake, command)
      #expect(result.ending == .exit(28), "\(command): \(result.errorText)")
      #expect(result.errorLines.count == 1 && result.errorText.contains("the disk is full: "), "\(result.errorText)")
      #expect(result.errorText.contains("ulimit -f") && result.errorText.contains("what can go: `tarn evict captions`"))
    }
  }

  /// Every verb that writes much asks for room first, and says what is missing.
  @Test func nothingIsBegunForWhichThereIsNoRoom() throws {
    let lake = try LakeFixture.make(.built)
    let queries = lake.directory.path + "/queries.npy"
    try Data(FeatureBytes.npy(3, dimension: FeatureSources.dimension, seed: 9)).write(to: URL(fileURLWithPath: queries))
    let file = lake.directory.path + "/img_0.npy"
    try Data(FeatureBytes.npy(20, dimension: FeatureSources.dimension, seed: 1)).write(to: URL(fileURLWithPath: file))
    let sources = ["--images", "images", "--captions", "captions"]
    let before = try lake.contents(lasting: true)
    let commands = [
      ["import", "images", file], ["train", "u"] + sources + ["--nlist", "3"],
      ["evaluate", "v@1", "--queries", queries], ["reproduce", "v@1"],
    ]
    for command in commands {
      let result = try lake.run(command + ["--keep-free", "1000TB"])
      #expect(result.ending == .exit(28), "\(command): \(result.errorText)")
      // What the command itself works with is no advice.
      let needsCaptions = command.contains("captions")
      let way = needsCaptions ? "what can go: `tarn gc" : "what can go: `tarn evict captions`"
      let parts = ["the disk is full: ", " stay free on the file system at /", " are missing; \(way)"]
      #expect(result.errorText.contains("tarn evict") != needsCaptions, "\(command): \(result.errorText)")
      for part in parts { #expect(result.errorText.contains(part), "\(command): \(result.errorText)") }
      #expect(result.errorLines.count == 1)
    }
    #expect(try lake.contents(lasting: true) == before)
    let build = ["build", "w", "--trained", "t", "--images", "images", "--shards-per-output", "2"]
    #expect(try lake.run(build + ["--keep-free", "1000TB"]).ending == .exit(28))
    try lake.succeed(build + ["--keep-free", "1B"])
    try lake.evictImages()
    let sync = try lake.run(["sync", "--keep-free", "1000TB"])
    #expect(sync.ending == .exit(28) && sync.errorText.contains("img_0.npy of images takes"), "\(sync.errorText)")
    #expect(sync.errorText.contains("2 shards have none"))
    try lake.succeed(["sync", "--quiet"])
  }

  /// A worker knows from its task and its trained index what it will write.
  @Test func d11ATaskWithoutRoomBeginsNothing() throws {
    let planned = try PlannedLake.make(done: false)
    var plan = try planned.tasks.plan()
    guard case .output(let task) = try planned.tasks.task(0, of: plan) else {
      Issue.record("a build has outputs")
      return
    }
    // More rows than any disk has room for.
    let rowCount = 1 << 46
    let inputs = (0..<4).map { place in
      TaskDocument.Input(
        ordinal: place, shard: "img_\(place).npy", firstID: Int64(place * rowCount), rowCount: rowCount, isHole: false,
        byteCount: nil, digest: nil, path: nil, places: task.inputs[0].places)
    }
    let huge = TaskDocument(
      version: task.version, spec: task.spec, output: task.output, trained: task.trained, dimension: task.dimension,
      elementType: task.elementType, badRows: task.badRows, missing: task.missing, normalisation: task.normalisation,
      segmentFormat: task.segmentFormat, inputs: inputs)
    try planned.tasks.write(task: huge.text, 0, huge.digest)
    plan.tasks[0] = huge.digest
    try planned.tasks.write(plan)
    let result = try planned.work(0, exits: 28)
    #expect(result.errorText.contains("the disk is full: task 0 takes "), "\(result.errorText)")
    let left = try #require(FileManager.default.enumerator(atPath: planned.scratch)).compactMap { $0 as? String }
    #expect(left.allSatisfy { Disk.isDirectory("\(planned.scratch)/\($0)") }, "\(left)")
    #expect(try planned.tasks.receiptNames().isEmpty && planned.tasks.resultNames().isEmpty)
  }

  /// Who holds a budget is named, and what to do about it.
  @Test func aFullBudgetNamesWhoHoldsIt() throws {
    let lake = try LakeFixture.make(.trained)
    try lake.evictImages()
    let held = try #require(Int(try lake.text("SELECT sum(bytes) FROM v_shard WHERE state = 'present'")))
    let build = try lake.run(["build", "v", "--trained", "t", "--images", "images", "--budget", "\(held + 1)"])
    #expect(build.ending == .exit(28))
    let message =
      "of images (448 B): captions holds \(ByteSize.text(held)); evict what is not needed of captions "
      + "(`tarn evict captions`), or raise --budget"
    #expect(build.errorText.contains(message), "\(build.errorText)")
    let sync = try lake.run(["sync", "images", "--budget", "\(held + 1)"])
    #expect(sync.ending == .exit(28) && sync.errorText.contains("captions holds"), "\(sync.errorText)")
    let small = try lake.run(["sync", "images", "--budget", "100"])
    #expect(small.ending == .exit(28) && small.errorText.contains("raise --budget"), "\(small.errorText)")
    #expect(!small.errorText.contains("evict"))
    // What would still be too little is not advised.
    try lake.succeed(["sync", "images", "--shards", "0", "--quiet"])
    let most = try lake.run(["sync", "images", "--budget", "448"])
    #expect(most.ending == .exit(28) && most.errorText.contains("captions holds"), "\(most.errorText)")
    #expect(!most.errorText.contains("evict") && most.errorText.contains("raise --budget"), "\(most.errorText)")
    try lake.evictImages()
    try lake.succeed(["evict", "captions"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--budget", "\(held + 1)", "--quiet"])
  }

  @Test func bytesOfTwoSourcesGoWithBoth() throws {
    let lake = try LakeFixture.make(.synced)
    let captions = try LakeFixture.sources().directory.path + "/captions"
    try lake.succeed([
      "source", "add", "twins", "--directory", captions, "--dimension", "8", "--dtype", "float32", "--modality", "text",
    ])
    try lake.succeed(["sync", "twins", "--quiet"])
    let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
    let (stored, shared) = (try catalog.storedShardByteCount(), try byteCount(of: "captions", lake))
    let held = try catalog.holders()
    #expect(held.map(\.way.sources) == [["captions", "twins"], ["images"]])
    #expect(held.map(\.byteCount) == [shared, stored - shared])
    #expect(held.first?.command == "`tarn evict captions` and `tarn evict twins`")
    let full = try lake.run(["sync", "images", "--refresh", "--budget", "\(stored + 1)"])
    #expect(full.ending == .exit(28), "\(full.errorText)")
    let message = "captions and twins share \(ByteSize.text(shared)), images holds"
    #expect(full.errorText.contains(message), "\(full.errorText)")
    #expect(
      full.errorText.contains(
        "evict what is not needed of captions and twins (`tarn evict captions` and `tarn evict twins`), or raise --budget"
      ))
    // What is told of an eviction is what became free.
    #expect(try lake.succeed(["evict", "captions"]).outputText == "2 shards evicted (0 B)\n")
    let second = try lake.succeed(["evict", "twins"]).outputText
    #expect(second == "2 shards evicted (\(ByteSize.text(shared)))\n")
    #expect(try LakeCatalog.open(root: lake.lake, writing: nil).storedShardByteCount() == stored - shared)
  }

  private func byteCount(of source: String, _ lake: LakeFixture) throws -> Int {
    try #require(Int(try lake.text("SELECT CAST(sum(bytes) AS TEXT) FROM v_shard WHERE source = '\(source)'")))
  }

  @Test func olderRevisionsAreAmongWhatCanGo() throws {
    let lake = try LakeFixture.make(.built)
    let file = lake.directory.path + "/img_0.npy"
    try Data(FeatureBytes.npy(20, dimension: FeatureSources.dimension, seed: 77)).write(to: URL(fileURLWithPath: file))
    try lake.succeed(["import", "images", file, "--keep-old"])
    try lake.succeed(["evict", "captions"])
    try lake.succeed(["evict", "images"])
    let held = try LakeCatalog.open(root: lake.lake, writing: nil).holders()
    #expect(held.map(\.command) == ["`tarn evict images --old`"])
    let size = try #require(held.first?.byteCount)
    // The same for a budget and for a disk; not where a version that rests on them is made again.
    let full = try lake.run(["sync", "images", "--budget", "\(size + 1)"])
    #expect(full.ending == .exit(28))
    #expect(full.errorText.contains("older revisions of images hold \(ByteSize.text(size)); "))
    // What others may not have any more is given up last, and who rests on it is said.
    let last =
      "; raise --budget, take fewer shards with --shards, or `tarn evict images --old`, though v@1, the trained index t "
      + "rest on those"
    #expect(full.errorText.contains(last), "\(full.errorText)")
    let again = try lake.run(["reproduce", "v@1", "--budget", "\(size + 1)", "--patience", "0"])
    #expect(again.ending == .exit(28), "\(again.errorText)")
    #expect(!again.errorText.contains("evict") && !again.errorText.contains("--shards"), "\(again.errorText)")
    let caption = try LakeFixture.sources().directory.path + "/captions/txt_0.npy"
    let disk = try lake.run(["import", "captions", caption, "--keep-free", "1000TB"])
    let old =
      ", `tarn evict images --old` (\(ByteSize.text(size)), though v@1, the trained index t rest on those); then"
    #expect(disk.errorText.contains("what can go: `tarn gc"), "\(disk.errorText)")
    #expect(disk.errorText.contains(old), "\(disk.errorText)")
    try lake.succeed(["evict", "images", "--old"])
    #expect(try LakeCatalog.open(root: lake.lake, writing: nil).holders().isEmpty)
  }

  /// What its log alone holds is not passed over: it is read with its index in memory,
  /// and where that cannot be it is an error.
  @Test func aLogIsReadWithoutRoomForItsIndex() throws {
    let lake = try LakeFixture.make(.built)
    let queue = try CatalogFile.open(lake.lake + "/catalog.sqlite")
    try queue.write { try $0.execute(sql: "INSERT INTO setting VALUES ('bwlimit', '1MB', '2026-01-01')") }
    let other = try lake.copy()
    try queue.close()
    try Disk.remove(other.lake + "/catalog.sqlite-shm")
    #expect((Disk.size(of: other.lake + "/catalog.sqlite-wal") ?? 0) > 0)
    let status = try runFull(other, ["status"])
    #expect(status.ending == .exit(0), "\(status.errorText)")
    let found = try runFull(other, ["sql", "SELECT value FROM v_setting"])
    #expect(found.ending == .exit(0) && found.outputText.contains("1MB"), "\(found.errorText)")
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
    #expect(
      evicted == "{\"bytes\":5000,\"evicted\":0,\"kept_last_copies\":[],\"kept_old_revisions\":0,\"lost\":[],"
        + "\"of\":[],\"old_revisions\":0,\"on_no_mirror\":[],\"parts\":1}\n")
    #expect(Disk.size(of: part) == nil && Disk.size(of: part + ".resume") == nil)
    try Data(count: 5_000).write(to: URL(fileURLWithPath: part))
    try lake.succeed(["gc", "--grace", "0s", "--apply"])
    #expect(Disk.size(of: part) == nil)
    try lake.succeed(["sync", "--quiet"])
  }
}
