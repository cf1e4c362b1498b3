// What a plan may be written into, what of it is said anew, and what those who wait for
// workers are told.

import Base
import Catalog
import Foundation
import Lake
import Logging
import Synchronization
import Testing
import TestSupport

@Suite(.tags(.slow)) struct PlanAgainTests {
  @Test(arguments: ["run.txt", "notes.txt", "plan.json/a"]) func aDirectoryOfSomethingElseIsLeftAlone(name: String)
    throws
  {
    let lake = try LakeFixture.make(.trained)
    try PlannedLake.addUnseen(to: lake)
    let place = lake.directory.path + "/mine"
    let file = "\(place)/\(name)"
    try FileManager.default.createDirectory(atPath: file.parentPath, withIntermediateDirectories: true)
    try Disk.writeAtomically(Array("mine".utf8), to: file)
    let result = try lake.run(["plan", "build"] + PlannedLake.arguments + ["--tasks", place])
    #expect(result.ending == .exit(name.contains("/") ? 20 : 64), "\(result.errorText)")
    #expect(try String(contentsOfFile: file, encoding: .utf8) == "mine")
    #expect(try FileManager.default.contentsOfDirectory(atPath: place).count == 1)
    // Nothing was planned in the catalog, either.
    #expect(try lake.texts("SELECT name FROM index_version").isEmpty)
  }

  @Test func aPlanOfAnotherVersionIsRefusedBeforeOneIsPlanned() throws {
    let planned = try PlannedLake.make(done: false)
    let arguments = PlannedLake.arguments.map { $0 == "v" ? "other" : $0 }
    let result = try planned.lake.run(["plan", "build"] + arguments + ["--tasks", planned.tasks.path])
    #expect(result.ending == .exit(64) && result.errorText.contains("has the plan of v@1"), "\(result.errorText)")
    #expect(try planned.lake.texts("SELECT name FROM index_version") == ["v"])
  }

  @Test func aTaskThatWasGivenUpIsSaidAnewWithTheAddressesOfNow() throws {
    let lake = try LakeFixture.make(.trained)
    try lake.succeed([
      "source", "add", "unseen", "--url", LakeFixture.sources().server.url("/nowhere/img_{ordinal}.npy"), "--count",
      "\(FeatureSources.shardCount)", "--dimension", "\(FeatureSources.dimension)", "--sizes",
      try sizes(in: lake),
    ])
    let tasks = TaskDirectory(lake.directory.path + "/tasks")
    let plan = ["plan", "build"] + PlannedLake.arguments + ["--tasks", tasks.path]
    try lake.succeed(plan)
    let before = try tasks.plan()
    func work(_ number: Int) throws -> ProcessResult {
      try lake.run([
        "worker", tasks.path, "--task", "\(number)", "--scratch", lake.directory.path, "--patience", "0", "--quiet",
      ])
    }
    #expect(try work(0).ending == .exit(21))
    try lake.succeed([
      "source", "mirror", "add", "unseen", LakeFixture.sources().server.url("/images/img_{ordinal}.npy"),
    ])
    try lake.succeed(plan)
    let after = try tasks.plan()
    // The other one may be under way: it stays what it is.
    #expect(after.tasks[0] != before.tasks[0] && after.tasks[1] == before.tasks[1])
    #expect(try work(0).ending == .exit(0))
    #expect(try work(1).ending == .exit(21))
    try lake.succeed(plan)
    #expect(try work(1).ending == .exit(0))
    let taken = try lake.run(["ingest", tasks.path])
    #expect(taken.ending == .exit(0), "\(taken.errorText)")
  }

  /// What the shards of `images` are said to be: nobody has to be asked.
  private func sizes(in lake: LakeFixture) throws -> String {
    let lines = try lake.texts(
      "SELECT shard || ', ' || bytes || ', ' || rows FROM v_shard WHERE source = 'images' ORDER BY ordinal"
    )
    let path = lake.directory.path + "/sizes.txt"
    try Disk.writeAtomically(Array((lines.joined(separator: "\n") + "\n").utf8), to: path)
    return path
  }

  @Test func aReceiptThatCannotBePutAwayKeepsNobodyElseOut() throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0) { $0["result"] = .null }
    try? FileManager.default.removeItem(atPath: planned.tasks.refused)
    try Disk.writeAtomically([], to: planned.tasks.refused)
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(20))
    #expect(answer["recorded"]?.elements == [.integer(1)])
    #expect(errors.contains("stays in \(planned.tasks.path)"), "\(errors)")
  }

  @Test func whoWaitsIsToldOnceOfATaskThatWasGivenUp() throws {
    let planned = try PlannedLake.make(done: false)
    try planned.work(1)
    let plan = try planned.tasks.plan()
    let word = TaskFailure(
      task: plan.tasks[0], host: "h", endedAt: "2026-01-01T00:00:00.000Z", status: 21, message: "it is nowhere")
    try Disk.writeAtomically(Array(word.text.utf8), to: planned.tasks.failurePath(0))
    let catalog = try LakeCatalog.open(root: planned.lake.lake, command: "a test") {
      try TaskIngest.leases(in: $0, of: plan)
    }
    defer { catalog.closing() }
    let cancellation = Cancellation()
    let told = Mutex<[TaskFailure]>([])
    let looks = Mutex(0)
    let ingest = TaskIngest(
      catalog, planned.tasks, recheckCount: 0, logger: Logger(label: "test"), cancellation: cancellation
    ) { event in
      switch event {
      case .failed(_, let failure): told.withLock { $0.append(failure) }
      case .reading(0, _):
        if looks.withLock({
          $0 += 1; return $0
        }) == 4 {
          cancellation.cancel()
        }
      default: break
      }
    }
    #expect(throws: TarnError.self) { try ingest.follow(wait: .zero) }
    #expect(told.withLock { $0 } == [word])
  }
}
