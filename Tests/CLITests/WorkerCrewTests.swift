// Several tasks in one process: what they make is what each alone makes, and which of
// them are begun after one that failed.

import Base
import Foundation
import Lake
import Testing
import TestSupport

@Suite(.tags(.slow)) struct WorkerCrewTests {
  private func worker(_ planned: PlannedLake, _ tasks: String) throws -> ProcessResult {
    try planned.lake.run([
      "worker", planned.tasks.path, "--task", tasks, "--scratch", planned.lake.directory.path, "--patience", "0",
      "--json",
    ])
  }

  @Test func tasksOfOneProcessMakeTheVersionOfOneMachine() throws {
    let planned = try PlannedLake.make(done: false)
    let result = try worker(planned, "0-1")
    #expect(result.ending == .exit(0), "\(result.errorText)")
    let done = result.outputText.split(separator: "\n").compactMap { JSONValue(parsing: String($0)) }
    #expect(done.compactMap { $0["task"]?.text }.sorted() == ["0", "1"])
    #expect(try planned.ingest().ending == .exit(0))
    #expect(try planned.sealedDigest() == PlannedLake.digest())
    // Nothing of the tasks is left in scratch.
    let left = try FileManager.default.contentsOfDirectory(atPath: planned.lake.directory.path)
    #expect(left.allSatisfy { !$0.hasPrefix("tarn-") })
  }

  /// A merge reads a file of each shard: a worker that may not open so many says so before it fetches one.
  @Test func aWorkerThatMayOpenTooFewFilesSaysSoAtOnce() throws {
    let planned = try PlannedLake.make(done: false)
    let scratch = planned.lake.directory.path
    let command = [
      "-c", "ulimit -n 256; exec \"$@\"", "sh", ProcessRunner.tarn, "worker", planned.tasks.path, "--task", "0",
      "--scratch",
      scratch, "--patience", "0", "--quiet",
    ]
    let result = try RunningProcess("/bin/sh", command, environment: ProcessRunner.environment).finish()
    #expect(result.ending == .exit(64), "\(result.errorText)")
    #expect(result.errorText.contains("this process may open 256; run this worker where more"), "\(result.errorText)")
    #expect(try planned.tasks.receiptNames().isEmpty)
    #expect(planned.tasks.failure(of: 0)?.status == 64)
  }

  @Test func oneThatIsHopelessDoesNotKeepTheOthers() throws {
    let planned = try PlannedLake.make(done: false)
    let plan = try planned.tasks.plan()
    try Disk.writeAtomically(Array("{}".utf8), to: planned.tasks.taskPath(0, plan.tasks[0]))
    let result = try worker(planned, "0-1")
    #expect(result.ending == .exit(20))
    #expect(result.errorText.contains("task 0:"))
    #expect(try planned.tasks.receiptNames().keys.sorted() == [1])
    #expect(planned.tasks.failure(of: 0)?.status == 20)
  }

  @Test func afterAFailureOfTheHostNoneIsBegun() throws {
    let planned = try PlannedLake.make(done: false)
    try FileManager.default.removeItem(atPath: planned.tasks.results)
    try Disk.writeAtomically([], to: planned.tasks.results)
    let result = try worker(planned, "0-1")
    #expect(result.ending == .exit(1))
    #expect(planned.tasks.failure(of: 0) != nil)
    // The second was fetched for while the first was merged, or was not begun.
    #expect(try planned.tasks.receiptNames().isEmpty)
  }

  @Test func whatIsLeftOfTasksThatAreDoneGoes() throws {
    let planned = try PlannedLake.make(done: false)
    let plan = try planned.tasks.plan()
    try planned.work(0)
    func leave(_ digest: ContentDigest, _ ending: String = "", age: TimeInterval = 0) throws -> String {
      let path = "\(planned.scratch)/tarn-\(getuid())-\(digest.prefix(16))\(ending)"
      for name in ["segments", "shards"] { try Disk.makeDirectory("\(path)/\(name)") }
      try Disk.writeAtomically([1], to: path + "/segments/x")
      for path in [path + "/segments", path + "/shards", path] {
        try FileManager.default.setAttributes(
          [.modificationDate: Date(timeIntervalSinceNow: -age)], ofItemAtPath: path)
      }
      return path
    }
    let done = [try leave(plan.tasks[0]), try leave(plan.tasks[0], "-2")]
    let old = try leave(.of("another plan's, of last month"), age: 30 * 86_400)
    let open = try leave(plan.tasks[1], age: 30 * 86_400)
    let others = try leave(.of("another plan's"), age: 86_400)
    #expect(
      try planned.lake.run(["worker", planned.tasks.path, "--task", "0", "--scratch", planned.scratch])
        .outputText.contains("was done before"))
    for path in done + [old] { #expect(!Disk.isDirectory(path)) }
    for path in [open, others] { #expect(Disk.isDirectory(path)) }
    // Its own worker goes on there, and removes it.
    try planned.work(1)
    #expect(!Disk.isDirectory(open))
  }

  @Test func aTaskThatThePlanDoesNotHave() throws {
    let planned = try PlannedLake.make(done: false)
    for (text, words) in [("0-2", "there is no task 2"), ("x", "'x' is no list of numbers")] {
      let result = try worker(planned, text)
      #expect(result.ending == .exit(64))
      #expect(result.errorText.contains(words))
    }
    #expect(try planned.tasks.receiptNames().isEmpty)
  }
}
