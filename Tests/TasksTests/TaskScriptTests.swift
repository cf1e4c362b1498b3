// What engines are handed: arrays within a scheduler's limit, and scripts that a real
// shell reads as they are meant.

import Base
import Foundation
import Lake
import Tasks
import Testing
import TestSupport

@Suite struct TaskScriptTests {
  /// The numbers that ranges as `--array` takes them mean.
  private func numbers(_ text: String) -> [Int] {
    text.prefix { $0 != "%" }.split(separator: ",").flatMap { part in
      let ends = part.split(separator: "-").compactMap { Int($0) }
      return ends.isEmpty ? [] : Array(ends[0]...ends[ends.count - 1])
    }
  }

  @Test func twelveTasksAreTwoArraysOfTen() {
    let chunks = TaskScripts.chunks(Array(0..<12), arraySize: 10)
    #expect(chunks.map(\.offset) == [0, 10])
    #expect(chunks.map { $0.indexes(atATime: nil) } == ["0-9", "0-1"])
    #expect(chunks.map { $0.indexes(atATime: 4) } == ["0-9%4", "0-1%4"])
    #expect(TaskScripts.chunks([0, 1, 2, 7, 9], arraySize: 1001).map { $0.indexes(atATime: nil) } == ["0-2,7,9"])
    #expect(TaskScripts.chunks([], arraySize: 10).isEmpty)
  }

  @Test func everyTaskIsInOneArrayAndNoIndexIsTooLarge() {
    var random = SplitMix64(seed: 16)
    for _ in 0..<500 {
      let size = Int(random.next() % 12) + 1
      let tasks = (0..<40).filter { _ in random.next() % 3 == 0 }
      let chunks = TaskScripts.chunks(tasks, arraySize: size)
      #expect(chunks.flatMap(\.tasks) == tasks)
      for chunk in chunks {
        let indexes = numbers(chunk.indexes(atATime: 2))
        #expect(indexes.map { $0 + chunk.offset } == chunk.tasks)
        #expect(indexes.allSatisfy { (0..<size).contains($0) })
      }
    }
  }

  /// Names that a shell would read as something else.
  static let names = [
    "tarn", "it's", "a b", "$HOME", "`id`", "a\"b", "a\\b", "a;b", "a&b", "a#b", "#a", "~", "*", "a\u{e9}b", "-x",
    "a\tb",
  ]

  @Test(arguments: names) func aShellRunsTheToolByItsName(name: String) throws {
    let scratch = try TemporaryDirectory()
    let tool = "\(scratch.path)/\(name)"
    try FileManager.default.createDirectory(atPath: tool, withIntermediateDirectories: true)
    let path = tool + "/" + name
    // Written by a process that has ended: a child that another test forks meanwhile may hold
    // what this one writes, and then the file is no program ("text file busy").
    let text = "#!/bin/sh\nprintf '%s|' \"$TARN_TASK_OFFSET\" \"$@\" >> ../said\necho >> ../said\n"
    let written = try RunningProcess(
      "/bin/sh", ["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", text, path],
      environment: ["PATH": "/usr/bin:/bin"]
    ).finish()
    #expect(written.ending == .exit(0))
    let directory = TaskDirectory(scratch.path + "/tasks")
    let plan = try TaskFixture.plan(12, in: directory)
    let scripts = TaskScripts(tarn: path, workerOptions: ["--patience", "1h"], arraySize: 10)
    try scripts.write(Array(0..<12), of: plan, in: directory)
    func run(_ arguments: [String]) throws -> [Substring] {
      try? FileManager.default.removeItem(atPath: scratch.path + "/said")
      let ran = try RunningProcess(
        "/bin/sh", arguments, environment: ["PATH": "/usr/bin:/bin"], directory: directory.path
      ).finish()
      #expect(ran.ending == .exit(0), "\(ran.errorText)")
      return try String(contentsOfFile: scratch.path + "/said", encoding: .utf8).split(separator: "\n")
    }
    #expect(try run(["-e", "run.txt"]) == (0..<12).map { "|worker|.|--patience|1h|--task|\($0)|" })
    #expect(try run(["slurm.sh"]) == ["0|worker|.|--patience|1h|"])
    // The tasks of one array alone, so that it is submitted as it is.
    try scripts.write([10, 11], of: plan, in: directory)
    #expect(try run(["slurm.sh"]) == ["10|worker|.|--patience|1h|"])
    let slurm = try String(contentsOfFile: directory.path + "/slurm.sh", encoding: .utf8)
    #expect(slurm.contains("#SBATCH --array=0-1\n"))
    // Of none there is nothing to submit.
    try scripts.write([], of: plan, in: directory)
    let none = try RunningProcess("/bin/sh", ["slurm.sh"], environment: [:], directory: directory.path).finish()
    #expect(none.ending == .exit(0) && none.outputText.contains("is open"))
    #expect(try !String(contentsOfFile: directory.path + "/slurm.sh", encoding: .utf8).contains("SBATCH"))
    #expect(try !String(contentsOfFile: directory.path + "/k8s.yaml", encoding: .utf8).contains("kind:"))
  }

  /// An array that was submitted by hand has no number that anybody noted.
  @Test func aTaskThatBeganIsKnownByItsNumber() throws {
    let scratch = try TemporaryDirectory()
    let directory = TaskDirectory(scratch.path)
    try directory.make()
    let plan = try TaskFixture.plan(12, in: directory)
    try TaskScripts(tarn: "/bin/true", arraySize: 10).write([10, 11], of: plan, in: directory)
    let ran = try RunningProcess(
      "/bin/sh", ["slurm.sh"],
      environment: ["PATH": "/usr/bin:/bin", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "1"],
      directory: directory.path
    ).finish()
    #expect(ran.ending == .exit(0) && ran.errors.isEmpty, "\(ran.errorText)")
    let link = directory.logs + "/task_11.log"
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "77_1.log")
    #expect(try directory.standing(of: plan, open: [10, 11]).states[10...] == [.open, .running])
  }

  @Test func whatIsThereAlreadyIsNotWrittenAgain() throws {
    let scratch = try TemporaryDirectory()
    let directory = TaskDirectory(scratch.path)
    let plan = try TaskFixture.plan(3, in: directory)
    let files = ["scripts.json", "run.txt", "slurm.sh", "k8s.yaml"].map { "\(directory.path)/\($0)" }
    let scripts = TaskScripts(tarn: "/tarn", workerOptions: ["--patience", "1h"], atATime: 4)
    try scripts.write([0, 1, 2], of: plan, in: directory)
    let before = files.map(Disk.identity)
    try scripts.write([0, 1, 2], of: plan, in: directory)
    #expect(files.map(Disk.identity) == before)
    try scripts.write([0, 2], of: plan, in: directory)
    let after = files.map(Disk.identity)
    #expect(after[0] == before[0] && after[1] != before[1] && after[2] != before[2])
  }

  @Test func everyWorkerTakesItsShareOfWhatAllMayDo() throws {
    let scratch = try TemporaryDirectory()
    let directory = TaskDirectory(scratch.path)
    let plan = try TaskFixture.plan(2, in: directory)
    var scripts = TaskScripts(tarn: "/tarn", workerOptions: ["--patience", "1h"], atATime: 4)
    scripts.limits = try SharedLimits(perHost: 10, bandwidth: "08:00,1MB/s 19:00,off", amongWorkers: 4)
    try scripts.write([0, 1], of: plan, in: directory)
    let words = "--per-host 10 --bwlimit '08:00,1MB/s 19:00,off' --at-a-time 4"
    for file in ["run.txt", "slurm.sh"] {
      let text = try String(contentsOfFile: "\(directory.path)/\(file)", encoding: .utf8)
      #expect(text.contains("/tarn worker . --patience 1h \(words)"), "\(text)")
    }
    let job = try String(contentsOfFile: directory.path + "/k8s.yaml", encoding: .utf8)
    #expect(job.contains(#""--per-host", "10", "--bwlimit", "08:00,1MB/s 19:00,off", "--at-a-time", "4""#), "\(job)")
    // As the next `plan --again` finds them.
    #expect(try TaskScripts(keptIn: directory)?.limits == scripts.limits)
    // What somebody else wrote there is no reason to count beyond all numbers.
    let kept = directory.path + "/scripts.json"
    let text = try String(contentsOfFile: kept, encoding: .utf8)
    for (member, number) in [("partCount", "64"), ("arraySize", "1001"), ("atATime", "4")] {
      for wrong in ["0", "-1", "\(Int.max)"] {
        let changed = text.replacing("\"\(member)\":\(number)", with: "\"\(member)\":\(wrong)")
        #expect(changed != text, "\(text)")
        try changed.write(toFile: kept, atomically: true, encoding: .utf8)
        #expect(try TaskScripts(keptIn: directory) == nil, "\(member) \(wrong)")
      }
    }

    for (perHost, count, share) in [(10, 4, 2), (4, 4, 1), (8, 1, 8), (1, 3, 1)] {
      var fetch = FetchConfiguration()
      fetch.share(perHost: perHost, bandwidth: RateTimetable(bytesPerSecond: 1000), amongWorkers: count)
      #expect(fetch.transfersPerHost == share)
      #expect(fetch.bandwidth == RateTimetable(bytesPerSecond: 1000 / count))
      // All together are within the limit, where each has one.
      if perHost >= count { #expect(share * count <= perHost) }
    }
    var untouched = FetchConfiguration()
    untouched.share(perHost: nil, bandwidth: nil, amongWorkers: 4)
    #expect(untouched.transfersPerHost == FetchConfiguration().transfersPerHost)
  }

  /// What a task takes is for people to say: what is known of it stands there as a comment.
  @Test func whatATaskTakesStandsInTheScriptsAsFarAsItIsKnown() throws {
    let scratch = try TemporaryDirectory()
    let directory = TaskDirectory(scratch.path)
    let plan = try TaskFixture.plan(2, in: directory)
    var scripts = TaskScripts(tarn: "/tarn")
    for (bytes, memory) in [(2_000_000_000, "2000"), (100 << 20, "200"), (nil, nil)] as [(Int?, String?)] {
      scripts.memoryByteCount = bytes
      try scripts.write([0, 1], of: plan, in: directory)
      let slurm = try String(contentsOfFile: directory.path + "/slurm.sh", encoding: .utf8)
      let job = try String(contentsOfFile: directory.path + "/k8s.yaml", encoding: .utf8)
      #expect(slurm.contains("\n##SBATCH --mem=\(memory.map { "\($0)M" } ?? "4G")\n"), "\(slurm)")
      #expect(slurm.contains("\n##SBATCH --cpus-per-task=") && slurm.contains("\n##SBATCH --time="))
      #expect(job.contains("\n          #   limits: {memory: \(memory.map { "\($0)Mi" } ?? "4Gi")}\n"), "\(job)")
      for text in [slurm, job] {
        #expect(text.contains(memory.map { "takes \($0) MiB of memory at most" } ?? "`tarn train … --dry-run`"))
      }
      // As the next `plan --again` finds it.
      #expect(try TaskScripts(keptIn: directory)?.memoryByteCount == bytes)
    }
  }

  @Test func aLimitThatCannotBeDividedIsRefused() {
    for (perHost, count) in [(8, nil), (3, 4)] as [(Int, Int?)] {
      let error = #expect(throws: TarnError.self) {
        _ = try SharedLimits(perHost: perHost, bandwidth: nil, amongWorkers: count)
      }
      #expect(error?.code == .usage)
    }
  }

  @Test func namesOfJobsAreWhatKubernetesTakes() throws {
    let scratch = try TemporaryDirectory()
    let long = [String(repeating: "a.", count: 32) + "@1", String(repeating: "x", count: 64) + "@9"]
    for version in ["v@1", "A_b.C-@12"] + long {
      let directory = TaskDirectory(scratch.path + "/\(version.utf8.count)")
      let plan = try TaskFixture.plan(120, in: directory, version: version)
      try TaskScripts(tarn: "/tarn").write(Array(0..<120), of: plan, in: directory)
      let text = try String(contentsOfFile: directory.path + "/k8s.yaml", encoding: .utf8)
      let name = try #require(text.firstMatch(of: /\n  name: (.*)\n/)?.1)
      #expect("\(name)-119".utf8.count <= 63)
      #expect(name.wholeMatch(of: /[a-z0-9][-a-z0-9]*[a-z0-9]/) != nil, "\(name)")
    }
  }
}
