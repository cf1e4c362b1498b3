// `build --executor slurm` killed around its submissions, with a cluster of three scripts
// in Slurm's place: no task is ever handed over twice.

import Base
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

/// Slurm's commands as scripts: what is submitted waits until its job is asked for, is then
/// carried out, and is forgotten.
private struct ScriptedSlurm {
  let directory: LakeDirectory

  init() throws {
    directory = try LakeDirectory()
    try Data().write(to: URL(fileURLWithPath: directory.path + "/jobs"))
    try command("scontrol", #"echo "MaxArraySize = 2""#)
    try command(
      "sbatch",
      #"""
      for word in "$@"; do case "$word" in
        --array=*) array=${word#--array=} ;;
        --export=*) offset=${word##*=} ;;
        --job-name=*) name=${word#--job-name=} ;;
        --chdir=*) place=${word#--chdir=} ;;
      esac; done
      id=$((101 + $(wc -l < "$here/jobs")))
      echo "$id|$name|$offset|$array|$place" >> "$here/jobs"
      echo $id
      """#)
    try command(
      "squeue",
      #"""
      for word in "$@"; do case "$word" in
        --name=*) grep "|${word#--name=}|" "$here/jobs" | cut -d'|' -f1; exit 0 ;;
        --jobs=*) id=${word#--jobs=} ;;
      esac; done
      test -e "$here/over-$id" && { echo "Invalid job id specified" >&2; exit 1; }
      line=$(grep "^$id|" "$here/jobs")
      offset=$(echo "$line" | cut -d'|' -f3)
      cd "$(echo "$line" | cut -d'|' -f5)"
      for part in $(echo "$line" | cut -d'|' -f4 | tr , ' '); do
        for index in $(seq ${part%-*} ${part#*-}); do
          SLURM_ARRAY_TASK_ID=$index TARN_TASK_OFFSET=$offset sh slurm.sh > logs/${id}_$index.log 2>&1
        done
      done
      touch "$here/over-$id"
      """#)
  }

  private func command(_ name: String, _ body: String) throws {
    // A fault is the coordinator's alone.
    try ExecutableFile.write(
      "\(directory.path)/\(name)", "#!/bin/sh\nunset TARN_FAULT TARN_FAULT_LOG\nhere='\(directory.path)'\n\(body)\n")
  }

  var environment: [String: String] {
    ["PATH": "\(directory.path):\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")"]
  }

  /// The tasks that were handed over, in order.
  func submitted() throws -> [Int] {
    try String(contentsOfFile: directory.path + "/jobs", encoding: .utf8).split(separator: "\n").flatMap { line in
      let parts = line.split(separator: "|", omittingEmptySubsequences: false)
      let offset = try #require(Int(parts[2]))
      return try parts[3].split(separator: ",").flatMap { range in
        let ends = try range.split(separator: "-").map { try #require(Int($0)) }
        return ends[0] + offset...ends[ends.count - 1] + offset
      }
    }
  }
}

@Suite(.tags(.slow)) struct SlurmCommandTests {
  private static let build = ["build"] + PlannedLake.arguments + ["--executor", "slurm"]

  private static func lake() throws -> LakeFixture {
    let lake = try LakeFixture.make(.trained)
    try PlannedLake.addUnseen(to: lake)
    return lake
  }

  @Test func statusSaysHowFarTasksAreWithoutAScheduler() throws {
    let lake = try LakeFixture.make(.trained)
    let isGone = Mutex(false)
    let server = try HostileServer { request in
      request.target.hasSuffix("1.npy") && isGone.withLock(\.self)
        ? .answer(404) : .file(FeatureBytes.npy(20, dimension: 8, .float16, seed: 1), for: request)
    }
    try lake.succeed([
      "source", "add", "unseen", "--url", server.url("/img_{ordinal}.npy"), "--count", "2", "--dimension", "8",
    ])
    let directory = lake.lake + "/tasks/v@1"
    try lake.succeed(["plan", "build"] + PlannedLake.arguments + ["--tasks", directory])
    isGone.withLock { $0 = true }
    let cut = try lake.run(["build"] + PlannedLake.arguments + ["--executor", "local:1"])
    #expect(cut.ending == .exit(3), "\(cut.errorText)")
    let text = try lake.succeed(["status"]).outputText
    #expect(text.contains("tasks_of") && text.contains("v@1") && text.contains("img_1.npy"), "\(text)")
    let told = try #require(
      JSONValue(parsing: lake.succeed(["status", "--json"]).outputText)?["tasks"]?.elements.first)
    #expect(told["of"]?.string == "v@1" && told["directory"]?.string?.hasSuffix("/tasks/v@1") ?? false)
    let failure = told["failures"]?.elements.first
    #expect(failure?["task"]?.integer == 1 && failure?["host"]?.string == HostName.current, "\(told.text)")
    // The first is recorded, and its receipt is there.
    #expect(["done", "failed", "open"].map { told[$0]?.integer } == [1, 1, 0], "\(told.text)")
    let again = try lake.succeed(["plan", "--again", directory]).outputText
    #expect(again.contains("2 tasks: 1 done, 1 failed") && again.contains("img_1.npy"), "\(again)")
    let other = try #require(JSONValue(parsing: lake.succeed(["plan", "--again", directory, "--json"]).outputText))
    for member in ["tasks", "done", "running", "queued", "failed", "open", "failures"] {
      #expect(other[member] == told[member], "\(member)")
    }
    // A plan that cannot be read is named, and hides nothing.
    try FileManager.default.createDirectory(atPath: lake.lake + "/tasks/x@1", withIntermediateDirectories: true)
    try Data("{}".utf8).write(to: URL(fileURLWithPath: lake.lake + "/tasks/x@1/plan.json"))
    let beside = try lake.succeed(["status"])
    #expect(beside.errorText.contains("tasks/x@1/plan.json") && beside.outputText.contains("img_1.npy"))
    // What is finished is no work under way.
    try lake.succeed(["abandon", "v@1"])
    #expect(try !lake.succeed(["status"]).outputText.contains("tasks_of"))
  }

  @Test func aKillAtAnyStepOfASubmissionHandsNothingOverTwice() throws {
    let lake = try Self.lake()
    let undisturbed = try lake.copy()
    let slurm = try ScriptedSlurm()
    let log = undisturbed.directory.path + "/steps"
    let whole = try undisturbed.run(
      Self.build, environment: slurm.environment.merging(["TARN_FAULT_LOG": log]) { $1 })
    #expect(whole.ending == .exit(0), "\(whole.errorText)")
    #expect(try slurm.submitted() == [0, 1])
    let digest = try undisturbed.text("SELECT version_sha256 FROM index_version")
    let steps = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
    // From the note of what is about to be submitted to the one of its number.
    let first = try #require(steps.firstIndex { $0.contains("jobs.json") })
    let last = try #require(steps.lastIndex { $0.contains("jobs.json") })
    #expect(last - first >= 4)
    for step in first...min(last + 1, steps.count - 1) {
      let (lake, slurm) = (try lake.copy(), try ScriptedSlurm())
      let cut = try lake.run(
        Self.build, environment: slurm.environment.merging(["TARN_FAULT": "kill@\(step + 1)"]) { $1 })
      #expect(cut.ending == .signal(SIGKILL))
      let again = try lake.run(Self.build, environment: slurm.environment)
      #expect(again.ending == .exit(0), "before '\(steps[step])': \(again.errorText)")
      #expect(try slurm.submitted() == [0, 1], "before '\(steps[step])'")
      #expect(try lake.text("SELECT version_sha256 FROM index_version") == digest)
    }
  }
}
