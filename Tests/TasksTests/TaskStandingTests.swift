// How far tasks are, by what lies in their directory: names alone, of all that is done.

import Base
import Foundation
import Tasks
import Testing
import TestSupport

@Suite struct TaskStandingTests {
  private let scratch: TemporaryDirectory
  private let directory: TaskDirectory
  private let plan: TaskPlan

  init() throws {
    scratch = try TemporaryDirectory()
    directory = TaskDirectory(scratch.path)
    try directory.make()
    // No task's document is there: none is read.
    plan = TaskPlan(
      .build, lake: "lake", subject: "v@1", spec: .of("spec"), tool: "tarn",
      tasks: (0..<8).map { .of("task \($0)") })
  }

  private func write(_ text: String, to path: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
  }

  private func fail(_ number: Int, of task: ContentDigest? = nil) throws {
    let failure = TaskFailure(
      task: task ?? plan.tasks[number], host: "node7", endedAt: "2026-01-01T00:00:00.000Z", status: 21,
      message: "no such shard")
    try write(failure.text, to: directory.failurePath(number))
  }

  @Test func eachTaskIsWhatItsFilesSay() throws {
    // A receipt that nobody could read is one to ask ingest about.
    try write("no receipt at all", to: directory.receiptPath(0, .of("x")))
    try fail(1)
    try write(
      """
      [{"id": "7", "offset": 0, "tasks": [0, 1, 2, 3]}, {"id": "8", "offset": 2, "tasks": [3]},
        {"id": "", "offset": 4, "tasks": [4], "name": "tarn-v@1-1"}]
      """, to: directory.path + "/jobs.json")
    // The last is one of an array that somebody submitted by hand.
    for log in ["7_2.log", "7_3.log", "local_5.log", "9_7.log", "task_7.log"] {
      try write("", to: "\(directory.logs)/\(log)")
    }
    // Word of another plan's task says nothing of this one's.
    try fail(6, of: .of("another"))
    let standing = try directory.standing(of: plan)
    // The last array that a task was in counts: number 3 of the second one did not begin.
    #expect(standing.states == [.done, .failed, .running, .queued, .queued, .running, .open, .running])
    #expect(standing.failures.map(\.task) == [1] && standing.failures.first?.word.host == "node7")
    #expect(standing.summary == "8 tasks: 1 done, 3 running, 2 queued, 1 failed, 1 open")
    // Where receipts were read, what they came to counts.
    #expect(try directory.standing(of: plan, open: Set(0..<8)).states[0] == .queued)
  }

  /// Nobody notes the end of a worker that was killed: what is known is when it last said something.
  @Test func aTaskThatIsSilentIsToldWithWhenItWasLastHeardOf() throws {
    try write("[{\"id\": \"7\", \"offset\": 0, \"tasks\": [0, 1]}]", to: directory.path + "/jobs.json")
    for (log, hours) in [("7_0.log", 5.5), ("7_1.log", 0.5), ("local_2.log", 3.5), ("9_3.log", 2.5), ("9_4.log", 2.5)] {
      let path = "\(directory.logs)/\(log)"
      try write("encoding", to: path)
      try FileManager.default.setAttributes(
        [.modificationDate: Date.now.addingTimeInterval(-3_600 * hours)], ofItemAtPath: path)
    }
    // One that was begun again is linked to anew, though its log has no line of that yet.
    try FileManager.default.createSymbolicLink(
      atPath: "\(directory.logs)/task_3.log", withDestinationPath: "9_3.log")
    let standing = try directory.standing(of: plan)
    #expect(standing.states == [.running, .running, .running, .running, .open, .open, .open, .open])
    #expect(standing.silences.map(\.task) == [0, 2])
    #expect(standing.silences.first?.words == "was running, last heard of 5 h 30 min ago")
    #expect(
      standing.summary == "8 tasks: 2 running, 2 were running, last heard of 3 h 30 min ago or longer, 4 open")
    try Disk.remove("\(directory.logs)/local_2.log")
    #expect(
      try directory.standing(of: plan).summary
        == "8 tasks: 2 running, 1 was running, last heard of 5 h 30 min ago, 5 open")
  }

  @Test func aDirectoryOfManyIsToldByNames() throws {
    let many = TaskPlan(
      .build, lake: "lake", subject: "v@1", spec: .of("spec"), tool: "tarn",
      tasks: (0..<1900).map { .of("task \($0)") })
    for number in 0..<1900 { try write("", to: directory.receiptPath(number, .of("\(number)"))) }
    #expect(try directory.standing(of: many).summary == "1900 tasks: 1900 done")
  }
}
