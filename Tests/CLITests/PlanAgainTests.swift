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

  /// A line of run.txt names the directory that it is run in: who runs it elsewhere is told where.
  @Test func itIsSaidWhereTheLinesAreRun() throws {
    let lake = try LakeFixture.make(.trained)
    try PlannedLake.addUnseen(to: lake)
    let place = lake.directory.path + "/tasks"
    let planned = try lake.succeed(["plan", "build"] + PlannedLake.arguments + ["--tasks", place])
    #expect(
      planned.outputText.contains("run them there, by run.txt, slurm.sh or k8s.yaml; then"), "\(planned.outputText)")
    let elsewhere = try lake.run(["worker", lake.directory.path, "--task", "0"])
    #expect(elsewhere.ending == .exit(64), "\(elsewhere.errorText)")
    let way = "has no plan of tasks; a line of run.txt is run in the directory that has that file; `tarn plan build"
    #expect(elsewhere.errorText.contains(way), "\(elsewhere.errorText)")
  }

  @Test func aPlanOfAnotherVersionIsRefusedBeforeOneIsPlanned() throws {
    let planned = try PlannedLake.make(done: false)
    // Three lists of eight elements are next to nothing beside what a build takes anyway.
    let slurm = try String(contentsOfFile: planned.tasks.path + "/slurm.sh", encoding: .utf8)
    #expect(slurm.contains("\n##SBATCH --mem=700M\n"), "\(slurm)")
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
    // What was said of the task that it was.
    #expect(tasks.failure(of: 0) == nil)
    // The other one may be under way: it stays what it is.
    #expect(after.tasks[0] != before.tasks[0] && after.tasks[1] == before.tasks[1])
    #expect(try work(0).ending == .exit(0))
    #expect(try work(1).ending == .exit(21))
    try lake.succeed(plan)
    #expect(try work(1).ending == .exit(0))
    let taken = try lake.run(["ingest", tasks.path])
    #expect(taken.ending == .exit(0), "\(taken.errorText)")
  }

  /// Whoever plans again: the copy beside the tasks had no way back.
  @Test(arguments: [true, false], ["plan build", "plan --again", "build"])
  func aTrainedIndexThatIsNotWholeIsLaidAnew(isLost: Bool, again: String) throws {
    let planned = try PlannedLake.make(done: false)
    let name = try #require(try FileManager.default.contentsOfDirectory(atPath: planned.tasks.trained).first)
    let path = "\(planned.tasks.trained)/\(name)"
    if isLost {
      try FileManager.default.removeItem(atPath: path)
    } else {
      var bytes = try Disk.contents(of: path)
      bytes[bytes.count - 1] ^= 1
      try Data(bytes).write(to: URL(fileURLWithPath: path))
    }
    let refused = try planned.work(0, exits: isLost ? 21 : 20)
    #expect(refused.errorText.contains("; plan again into \(planned.tasks.path), "), "\(refused.errorText)")
    let place = ["--tasks", planned.tasks.path]
    switch again {
    case "plan build": try planned.lake.succeed(["plan", "build"] + PlannedLake.arguments + place)
    case "plan --again":
      let told = try planned.lake.succeed(["plan", "--again", planned.tasks.path])
      #expect(told.errorText.contains("laid anew"), "\(told.errorText)")
    default: try planned.lake.succeed(["build"] + PlannedLake.arguments + ["--executor", "local:2"] + place)
    }
    #expect(try Disk.digest(of: path).hex == name.prefix(64))
    if again != "build" { try planned.work(0) }
    let plan = try planned.lake.succeed(["plan", "--again", planned.tasks.path])
    #expect(plan.errors.isEmpty, "\(plan.errorText)")
  }

  private func spoil(_ path: String, isLost: Bool) throws {
    if isLost {
      try FileManager.default.removeItem(atPath: path)
    } else {
      try Data("{}".utf8).write(to: URL(fileURLWithPath: path))
    }
  }

  /// One of very many that a disk lost must not cost what all workers made.
  @Test(arguments: [true, false], ["plan build", "build"])
  func aTaskThatIsNotWholeIsLaidAnew(isLost: Bool, again: String) throws {
    let planned = try PlannedLake.make()
    let plan = try planned.tasks.plan()
    try spoil(planned.tasks.taskPath(0, plan.tasks[0]), isLost: isLost)
    let refused = try planned.ingest()
    #expect(refused.ending == .exit(isLost ? 21 : 20), "\(refused.errors)")
    #expect(refused.errors.contains("; plan again into \(planned.tasks.path), "), "\(refused.errors)")
    let place = ["--tasks", planned.tasks.path]
    if again == "plan build" {
      let told = try planned.lake.succeed(["plan", "build"] + PlannedLake.arguments + place)
      #expect(told.errorText.contains("laid anew"), "\(told.errorText)")
      #expect(try planned.ingest().ending == .exit(0))
    } else {
      try planned.lake.succeed(["build"] + PlannedLake.arguments + ["--executor", "local:1"] + place)
    }
    // The same one: what was made of it is taken.
    #expect(try planned.tasks.plan() == plan)
    #expect(try planned.tasks.receiptNames().values.map(\.count) == [1, 1])
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }

  /// Where the lake knows of other addresses by now, the task that was lost says those, and the other stays.
  @Test func aTaskThatIsLostIsSaidAsItIsNow() throws {
    let planned = try PlannedLake.make(done: false)
    let plan = try planned.tasks.plan()
    try spoil(planned.tasks.taskPath(1, plan.tasks[1]), isLost: true)
    try planned.lake.succeed([
      "source", "mirror", "add", "unseen", LakeFixture.sources().server.url("/elsewhere/img_{ordinal}.npy"),
    ])
    try planned.lake.succeed(["plan", "build"] + PlannedLake.arguments + ["--tasks", planned.tasks.path])
    let after = try planned.tasks.plan()
    #expect(after.tasks[0] == plan.tasks[0] && after.tasks[1] != plan.tasks[1])
    guard case .output(let task) = try planned.tasks.task(1, of: after) else {
      Issue.record("a plan of a build has outputs")
      return
    }
    #expect(task.output == 1)
    for number in 0..<2 { try planned.work(number) }
    #expect(try planned.ingest().ending == .exit(0))
  }

  @Test(arguments: [true, false]) func aSearchThatIsNotWholeIsLaidAnew(isLost: Bool) throws {
    let lake = try LakeFixture.make(.synced)
    let tasks = TaskDirectory(lake.directory.path + "/training")
    let plan = [
      "plan", "train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2",
      "--tasks", tasks.path, "--quiet",
    ]
    try lake.succeed(plan)
    let before = try tasks.plan()
    try spoil(tasks.taskPath(0, before.tasks[0]), isLost: isLost)
    let work = ["worker", tasks.path, "--task", "0", "--scratch", lake.directory.path, "--quiet"]
    let refused = try lake.run(work)
    #expect(refused.ending == .exit(isLost ? 21 : 20), "\(refused.errorText)")
    #expect(refused.errorText.contains("; plan again into \(tasks.path), "), "\(refused.errorText)")
    #expect(tasks.failure(of: 0) != nil)
    try lake.succeed(plan)
    #expect(try tasks.plan() == before)
    #expect(tasks.failure(of: 0) == nil)
    try lake.succeed(work)
  }

  /// What workers alone needed goes when it is trained; what a kill left then, when somebody looks again.
  @Test func whatWorkersFoundGoesWhenItIsTrained() throws {
    let lake = try LakeFixture.make(.synced)
    let tasks = TaskDirectory(lake.directory.path + "/training")
    try lake.succeed([
      "plan", "train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "1",
      "--tasks", tasks.path, "--quiet",
    ])
    var ending = ProcessResult.Ending.exit(3)
    while ending == .exit(3) {
      let open = try tasks.openTasks(of: tasks.plan()).map { "\($0.task)" }
      try #require(!open.isEmpty)
      try lake.succeed([
        "worker", tasks.path, "--task", open.joined(separator: ","), "--scratch", lake.directory.path, "--quiet",
      ])
      ending = try lake.run(["ingest", tasks.path, "--quiet"]).ending
    }
    #expect(ending == .exit(0))
    for path in [tasks.results, tasks.path + "/matrices"] {
      #expect(!Disk.isDirectory(path))
      try Disk.makeDirectory(path)
      try Disk.writeAtomically([], to: path + "/left")
    }
    try lake.succeed(["ingest", tasks.path, "--quiet"])
    for path in [tasks.results, tasks.path + "/matrices"] { #expect(!Disk.isDirectory(path)) }
    #expect(try !tasks.receiptNames().isEmpty)
  }

  /// In place, where the lake's own rows may be the same file; by another file; or not there.
  @Test(arguments: ["changed", "replaced", "lost"]) func aMatrixThatIsNotWholeIsLaidAnew(fault: String) throws {
    let lake = try LakeFixture.make(.synced)
    let tasks = TaskDirectory(lake.directory.path + "/training")
    let plan = [
      "plan", "train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2",
      "--tasks", tasks.path, "--quiet",
    ]
    try lake.succeed(plan)
    let names = try FileManager.default.contentsOfDirectory(atPath: tasks.path + "/matrices").filter {
      $0.hasSuffix(".npy")
    }
    let paths = names.map { "\(tasks.path)/matrices/\($0)" }
    #expect(paths.count == 2)
    for path in paths {
      var bytes = try Disk.contents(of: path)
      bytes[bytes.count - 4] ^= 1
      if fault != "changed" { try FileManager.default.removeItem(atPath: path) }
      if fault != "lost" { try Data(bytes).write(to: URL(fileURLWithPath: path)) }
    }
    let work = ["worker", tasks.path, "--task", "0", "--scratch", lake.directory.path, "--quiet"]
    let refused = try lake.run(work)
    #expect(refused.ending == .exit(fault == "lost" ? 21 : 20), "\(refused.errorText)")
    #expect(refused.errorText.contains("; `tarn ingest \(tasks.path)`"), "\(refused.errorText)")
    try lake.succeed(plan)
    for (name, path) in zip(names, paths) { #expect(try Disk.digest(of: path).hex == name.prefix(64)) }
    try lake.succeed(work)
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

  /// What a host could not have is no part of the version from then on: who seals it hears of it.
  @Test func whatAWorkerLeavesOutIsNamed() throws {
    let lake = try LakeFixture.make(.trained)
    let server = try LakeFixture.sources().server
    let (sizes, absent) = (try sizes(in: lake), "img_\(FeatureSources.shardCount).npy")
    let one = try #require(try String(contentsOfFile: sizes, encoding: .utf8).split(separator: "\n").first)
    try Disk.writeAtomically(
      try Disk.contents(of: sizes) + Array("\(one.replacing("img_0.npy", with: absent))\n".utf8), to: sizes)
    try lake.succeed([
      "source", "add", "partly", "--url", server.url("/images/img_{ordinal}.npy"), "--count",
      "\(FeatureSources.shardCount + 1)", "--dimension", "\(FeatureSources.dimension)", "--sizes", sizes,
    ])
    let tasks = lake.directory.path + "/tasks"
    try lake.succeed([
      "plan", "build", "v", "--trained", "t", "--images", "partly", "--shards-per-output",
      "\(FeatureSources.shardCount + 1)", "--missing", "skip", "--tasks", tasks,
    ])
    try lake.succeed([
      "worker", tasks, "--task", "0", "--scratch", lake.directory.path, "--patience", "0", "--quiet",
    ])
    let told = try lake.succeed(["ingest", tasks, "--json"]).outputText
    let left = try #require(JSONValue(parsing: told)?["left_out"]?.elements)
    #expect(left.count == 1 && left.first?["shard"]?.string == absent, "\(told)")
    #expect(left.first?["reason"]?.string?.contains("404") ?? false, "\(told)")
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
