// Engines: what is asked of Slurm and what its answers mean, a cluster in a few lines in
// its place; and when a task is submitted again.

import Base
import Foundation
import Lake
import Synchronization
import Tasks
import Testing
import TestSupport

/// A scheduler that answers as it is told.
private final class FakeSlurm: Sendable {
  struct State {
    var commands: [[String]] = []
    var nextID = 100
    /// Answers of `sbatch` in turn, before it takes everything.
    var refusals: [Ran?] = []
    /// The answer for a job, where it is not that it has nothing of it.
    var queue: [String: Ran] = [:]
    var cluster = ""
    /// Numbers of what was taken, by name.
    var names: [String: Int] = [:]
    /// Whether its answers get lost, once it has heard what they are to.
    var isMute = false
  }
  let state = Mutex(State())

  func run(_ command: [String]) -> Ran {
    state.withLock { state in
      state.commands.append(command)
      switch command[0] {
      case "scontrol":
        return Ran(status: 0, output: "A = 1\nMaxArraySize            = 10\nB = 2\n", errors: "")
      case "sbatch":
        if !state.refusals.isEmpty, let refusal = state.refusals.removeFirst() { return refusal }
        state.nextID += 1
        if let name = command.first(where: { $0.hasPrefix("--job-name=") }) {
          state.names[String(name.dropFirst("--job-name=".count))] = state.nextID
        }
        if state.isMute { return Ran(status: 1, output: "", errors: "sbatch: error: Socket timed out on send/recv") }
        return Ran(status: 0, output: "\(state.nextID)\(state.cluster)\n", errors: "")
      case "squeue":
        if let name = command.first(where: { $0.hasPrefix("--name=") })?.dropFirst("--name=".count) {
          if state.isMute { return Ran(status: 1, output: "", errors: "slurm_load_jobs error: Unable to contact") }
          let id = state.names[String(name)].map { "\($0)\n\($0)\n" } ?? ""
          let cluster = command.contains { $0.hasPrefix("--clusters=") } ? "CLUSTER: big\n" : ""
          return Ran(status: 0, output: cluster + id, errors: "")
        }
        let id = command.first { $0.hasPrefix("--jobs=") }?.dropFirst("--jobs=".count) ?? ""
        return state.queue[String(id)] ?? Ran(status: 0, output: "", errors: "")
      default: return Ran(status: 127, output: "", errors: "")
      }
    }
  }

  func commands(_ name: String) -> [[String]] { state.withLock { $0.commands.filter { $0[0] == name } } }

  func engine(_ directory: TaskDirectory, atATime: Int? = nil, arguments: [String] = []) -> SlurmEngine {
    SlurmEngine(directory, atATime: atATime, arguments: arguments) { self.run($0) }
  }
}

@Suite struct EngineTests {
  private let slurm = FakeSlurm()
  private let scratch: TemporaryDirectory
  private let directory: TaskDirectory

  init() throws {
    scratch = try TemporaryDirectory()
    directory = TaskDirectory(scratch.path)
    try directory.make()
  }

  private func answer(_ job: String, _ lines: String) {
    slurm.state.withLock { $0.queue[job] = Ran(status: 0, output: lines, errors: "") }
  }

  private func failure(_ job: String, _ errors: String) {
    slurm.state.withLock { $0.queue[job] = Ran(status: 1, output: "", errors: errors) }
  }

  @Test func tasksAreSubmittedInArraysAndKnownAgain() throws {
    try slurm.engine(directory, atATime: 3, arguments: ["--partition=cpu"]).submit(Array(0..<12))
    let submitted = slurm.commands("sbatch")
    #expect(
      submitted.map { $0.dropFirst(3).filter { !$0.hasPrefix("--job-name=") } } == [
        ["--array=0-9%3", "--export=ALL,TARN_TASK_OFFSET=0", "--partition=cpu", "slurm.sh"],
        ["--array=0-1%3", "--export=ALL,TARN_TASK_OFFSET=10", "--partition=cpu", "slurm.sh"],
      ])
    let names = submitted.compactMap { $0.first { $0.hasPrefix("--job-name=tarn-") } }
    #expect(Set(names).count == 2, "each array has a name of its own")
    #expect(submitted.allSatisfy { $0[1...2] == ["--parsable", "--chdir=\(directory.path)"] })
    answer("101", "101_0|RUNNING\n101_1|PENDING\n")
    answer("102", "102_1|PENDING\n")
    // By a process that was not there when they were submitted.
    let standing = try slurm.engine(directory).standing()
    #expect((standing.running, standing.queued, standing.isKnown) == ([0], [1, 11], true))
    #expect(standing.submitted == Set(0..<12))
  }

  @Test func whatWasRefusedAloneIsSubmittedAgain() throws {
    let refusal = Ran(status: 1, output: "", errors: "sbatch: error: Invalid account\n")
    slurm.state.withLock { $0.refusals = [nil, refusal] }
    let error = #expect(throws: TarnError.self) { try slurm.engine(directory).submit(Array(0..<12)) }
    #expect(error?.code == .refused && error?.message.contains("Invalid account") ?? false)
    let known = try slurm.engine(directory).standing().submitted
    #expect(known == Set(0..<10))
    try slurm.engine(directory).submit(Array(0..<12).filter { !known.contains($0) })
    #expect(slurm.commands("sbatch").last?.contains("--array=0-1") ?? false)
    #expect(try slurm.engine(directory).standing().submitted == Set(0..<12))
  }

  @Test(
    arguments: [
      "Unable to contact slurm controller (connect failure)", "Socket timed out on send/recv operation",
      "Slurm temporarily unable to accept job, sleeping and retrying",
    ])
  func aControllerThatIsSilentRefusesNothing(errors: String) throws {
    slurm.state.withLock { $0.refusals = [Ran(status: 1, output: "", errors: "sbatch: error: \(errors)\n")] }
    let error = #expect(throws: TarnError.self) { try slurm.engine(directory).submit([0]) }
    #expect(error?.code == .temporary)
    try slurm.engine(directory).submit([0])
    failure("101", "slurm_load_jobs error: \(errors)")
    #expect(try !slurm.engine(directory).standing().isKnown)
  }

  @Test func aJobThatIsForgottenIsOver() throws {
    try slurm.engine(directory).submit(Array(0..<12))
    failure("101", "slurm_load_jobs error: Invalid job id specified")
    answer("102", "102_0|RUNNING\n")
    let standing = try slurm.engine(directory).standing()
    #expect(standing.isKnown && standing.running == [10] && standing.queued.isEmpty)
  }

  @Test func statesThatATaskComesBackFromAreNoEnd() throws {
    try slurm.engine(directory).submit([0])
    let out = ["PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING"]
    let running = ["RUNNING", "COMPLETING", "SUSPENDED", "STAGE_OUT"]
    let over = [
      "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "CANCELLED", "REVOKED",
      "PREEMPTED",
    ]
    for state in out + running + over {
      answer("101", "CLUSTER: other\n101_0|\(state)\nnonsense\n|\n101_x|RUNNING\n")
      let standing = try slurm.engine(directory).standing()
      #expect(standing.has(0) == !over.contains(state), "\(state)")
      #expect(standing.running.contains(0) == running.contains(state), "\(state)")
    }
  }

  /// What Slurm holds starts by nothing that time brings.
  @Test(arguments: [
    ("PENDING", "launch failed requeued held", true), ("PENDING", "JobHeldAdmin", true),
    ("PENDING", "JobHeldUser", true), ("REQUEUE_HOLD", "", true), ("SPECIAL_EXIT", "None", true),
    ("PENDING", "Resources", false), ("RUNNING", "None", false),
  ])
  func aTaskThatIsHeldIsTold(state: String, reason: String, isHeld: Bool) throws {
    try slurm.engine(directory).submit(Array(0..<12))
    answer("102", "102_1|\(state)|\(reason)\n")
    let standing = try slurm.engine(directory).standing()
    #expect(standing.has(11) && Array(standing.held.keys) == (isHeld ? [11] : []))
    guard isHeld else { return }
    #expect(standing.held[11]?.reason == (["", "None"].contains(reason) ? state : reason))
    #expect(standing.held[11]?.way.hasPrefix("`scontrol release 102_1` lets it go on, `scancel 102_1`") == true)
  }

  @Test func anotherClustersJobIsAskedThere() throws {
    slurm.state.withLock { $0.cluster = ";big" }
    try slurm.engine(directory).submit([0])
    _ = try slurm.engine(directory).standing()
    #expect(slurm.commands("squeue").last?.contains("--clusters=big") ?? false)
    #expect(slurm.commands("squeue").last?.contains("--jobs=101") ?? false)
  }

  // MARK: A submission that is cut

  private struct Kill: Error {}

  /// An engine whose process dies as it hands tasks over, before or after Slurm has them.
  private func dying(afterwards: Bool, arguments: [String] = []) -> SlurmEngine {
    SlurmEngine(directory, atATime: nil, arguments: arguments) { [slurm, directory] command in
      guard command[0] == "sbatch" else { return slurm.run(command) }
      if afterwards { _ = slurm.run(command) }
      // What it writes from here on is not written.
      try Data(contentsOf: URL(fileURLWithPath: directory.path + "/jobs.json")).write(
        to: URL(fileURLWithPath: directory.path + "/as-it-was"))
      throw Kill()
    }
  }

  private func die(afterwards: Bool, arguments: [String] = []) throws {
    #expect(throws: Kill.self) { try dying(afterwards: afterwards, arguments: arguments).submit([0, 1]) }
    let jobs = directory.path + "/jobs.json"
    try FileManager.default.removeItem(atPath: jobs)
    try FileManager.default.moveItem(atPath: directory.path + "/as-it-was", toPath: jobs)
  }

  @Test func whatWasSubmittedBeforeAKillIsKnownByItsName() throws {
    try die(afterwards: true)
    answer("101", "101_0|RUNNING\n101_1|PENDING\n")
    let standing = try slurm.engine(directory).standing()
    #expect((standing.running, standing.queued, standing.submitted) == ([0], [1], [0, 1]))
    #expect(standing.isKnown)
    // From then on by its number.
    let asked = slurm.commands("squeue").count
    #expect(try slurm.engine(directory).standing() == standing)
    #expect(slurm.commands("squeue").count == asked + 1)
  }

  @Test func whatNoQueueKnowsWasNotSubmitted() throws {
    try die(afterwards: false)
    let standing = try slurm.engine(directory).standing()
    // Known as handed over, so that it is looked for a few times: `sbatch` may be at it still.
    #expect(standing.isKnown && standing.submitted == [0, 1] && !standing.has(0) && !standing.has(1))
    try slurm.engine(directory).submit([0, 1])
    #expect(slurm.commands("sbatch").count == 1)
    // The note of the first is gone with it.
    let asked = slurm.commands("squeue").count
    _ = try slurm.engine(directory).standing()
    #expect(slurm.commands("squeue").count == asked + 1)
  }

  @Test func aControllerWhoseAnswerGotLostHasTheTasks() throws {
    slurm.state.withLock { $0.isMute = true }
    let error = #expect(throws: TarnError.self) { try slurm.engine(directory).submit([0]) }
    #expect(error?.code == .temporary)
    #expect(try !slurm.engine(directory).standing().isKnown)
    slurm.state.withLock { $0.isMute = false }
    answer("101", "101_0|PENDING\n")
    let standing = try slurm.engine(directory).standing()
    #expect(standing.isKnown && standing.queued == [0])
  }

  @Test func anotherClusterIsAskedByTheNameToo() throws {
    try die(afterwards: true, arguments: ["--clusters=big,small"])
    _ = try slurm.engine(directory, arguments: ["--clusters=big,small"]).standing()
    let asked = slurm.commands("squeue")
    #expect(asked.first?.contains("--clusters=big,small") ?? false)
    #expect(asked.last?.contains("--clusters=big") ?? false && asked.last?.contains("--jobs=101") ?? false)
  }

  static let wrongLists = [
    #"[{"id": "", "offset": 0, "tasks": []}]"#, #"[{"id": "", "offset": 0, "tasks": [], "name": "a,b"}]"#,
    "", "[]x", #"[{"id": "1; rm", "offset": 0, "tasks": []}]"#, #"[{"id": "1", "offset": -1, "tasks": []}]"#,
  ]

  @Test(arguments: wrongLists)
  func aListOfJobsThatIsDamagedIsNamed(text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: directory.path + "/jobs.json"))
    let error = #expect(throws: TarnError.self) { try slurm.engine(directory).standing() }
    #expect(error?.code == .integrity && error?.message.contains("jobs.json") ?? false)
  }

  @Test func aSystemWithoutSlurmIsTold() throws {
    let error = #expect(throws: TarnError.self) { try SlurmEngine.run(["tarn-test-no-such-command"]) }
    #expect(error?.code == .usage)
    let ran = try SlurmEngine.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    #expect((ran.status, ran.output, ran.errors) == (3, "out\n", "err\n"))
  }

  @Test func enginesAreNamed() {
    #expect(EngineChoice(parsing: "slurm") == .slurm)
    #expect(EngineChoice(parsing: "local:4") == .local(4))
    for wrong in ["", "Slurm", "local", "local:", "local:0", "local:-1", "local:1025", "local:x", "pbs"] {
      #expect(EngineChoice(parsing: wrong) == nil)
    }
  }

  // MARK: Processes of this machine

  @Test func aFewProcessesAtATime() async throws {
    let tool = scratch.path + "/tool"
    try ExecutableFile.write(tool, "#!/bin/sh\nwhile [ ! -e go ]; do sleep 0.01; done\necho \"$@\" >> said\n")
    let engine = LocalEngine(directory, command: [tool, "worker", "."], atATime: 2)
    try engine.submit([0, 1, 2])
    let standing = try engine.standing()
    #expect((standing.running, standing.queued, standing.submitted) == ([0, 1], [2], [0, 1, 2]))
    try Data().write(to: URL(fileURLWithPath: scratch.path + "/go"))
    while try !engine.standing().running.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
    let said = try String(contentsOfFile: scratch.path + "/said", encoding: .utf8)
    #expect(
      Set(said.split(separator: "\n")) == Set((0..<3).map { "worker . --task \($0) --quiet" }))
  }

  /// That a worker ended may be told when its task is with the next one.
  @Test func aWorkerThatEndedTakesNoOtherAway() async throws {
    let tool = scratch.path + "/tool"
    try ExecutableFile.write(tool, "#!/bin/sh\nwhile [ ! -e go ]; do sleep 0.01; done\n")
    let engine = LocalEngine(directory, command: [tool], atATime: 1)
    try engine.submit([0, 1])
    let other = try ChildProcess(["true"], environment: nil, streams: [-1, -1, -1], refusal: .io)
    other.waitForEnd()
    engine.ended(0, other)
    other.reap()
    let standing = try engine.standing()
    #expect(standing.running == [0] && standing.queued == [1])
    try Data().write(to: URL(fileURLWithPath: scratch.path + "/go"))
    while try !engine.standing().running.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
  }

  // MARK: Again or not

  @Test func whenATaskIsSubmitted() {
    let policy = FollowPolicy()
    typealias Verdict = FollowPolicy.Verdict
    let rows: [(isOut: Bool?, wasOut: Bool, looks: Int, submissions: Int, status: Int?, Verdict)] = [
      // Never submitted.
      (false, false, 1, 0, nil, .submit), (nil, false, 0, 0, nil, .wait),
      // By an earlier run: it may have ended just now, and is tried again whatever ended it.
      (true, true, 0, 0, nil, .wait), (false, true, 1, 0, nil, .wait), (false, true, 3, 0, 21, .submit),
      // By this one.
      (true, true, 0, 1, nil, .wait), (nil, true, 9, 1, nil, .wait), (false, true, 2, 1, nil, .wait),
      (false, true, 3, 1, nil, .submit), (false, true, 3, 2, nil, .submit), (false, true, 3, 3, nil, .giveUp),
      // It left word of what another try would meet, or would not.
      (false, true, 1, 1, 12, .giveUp),
      (false, true, 1, 1, 20, .giveUp), (false, true, 1, 1, 21, .giveUp), (false, true, 1, 1, 64, .giveUp),
      (true, true, 0, 1, 21, .wait), (false, true, 1, 1, 75, .submit), (false, true, 1, 3, 75, .giveUp),
    ]
    for row in rows {
      let verdict = policy.verdict(
        isOut: row.isOut, wasOut: row.wasOut, looks: row.looks, submissions: row.submissions, status: row.status)
      #expect(verdict == row.5, "\(row)")
    }
  }

  // MARK: Which task

  @Test func theEnvironmentSaysWhichTask() throws {
    #expect(try TaskNumber.inEnvironment(["SLURM_ARRAY_TASK_ID": "7"]) == 7)
    #expect(try TaskNumber.inEnvironment(["SLURM_ARRAY_TASK_ID": "7", "TARN_TASK_OFFSET": "10"]) == 17)
    #expect(try TaskNumber.inEnvironment(["JOB_COMPLETION_INDEX": "3", "AWS_BATCH_JOB_ARRAY_INDEX": "4"]) == 3)
    #expect(try TaskNumber.inEnvironment(["AWS_BATCH_JOB_ARRAY_INDEX": "0", "SLURM_ARRAY_TASK_ID": ""]) == 0)
    let wrong: [[String: String]] = [
      [:], ["TARN_TASK_OFFSET": "1"], ["SLURM_ARRAY_TASK_ID": "-1"], ["SLURM_ARRAY_TASK_ID": "x"],
      ["SLURM_ARRAY_TASK_ID": "9223372036854775807"], ["SLURM_ARRAY_TASK_ID": "1", "TARN_TASK_OFFSET": "-1"],
    ]
    for environment in wrong {
      let error = #expect(throws: TarnError.self) { try TaskNumber.inEnvironment(environment) }
      #expect(error?.code == .usage, "\(environment)")
    }
  }
}
