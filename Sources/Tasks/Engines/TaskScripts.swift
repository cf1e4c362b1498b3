// What engines that run tasks are handed: a command a line, a Slurm script, a
// Kubernetes job. Text that a user may read, change and submit; which tasks are done
// is said by receipts alone.

internal import Base
internal import Foundation

/// Limits of all workers of a plan together.
package struct SharedLimits: Sendable, Codable, Equatable {
  /// Most transfers at a time from one host; nil for what a worker does by itself.
  package let perHost: Int?
  /// Most bytes a second, as `--bwlimit` takes it; nil for no limit.
  package let bandwidth: String?
  /// Among so many workers.
  package let count: Int

  /// Takes limits that each worker can keep.
  ///
  /// - Throws: ``TarnError`` `.usage` where it is not said among how many they are divided,
  ///   or one has no transfer.
  package init(perHost: Int?, bandwidth: String?, amongWorkers count: Int?) throws {
    guard let count else {
      throw TarnError(
        .usage, "--per-host and --bwlimit are of all workers together, and how many there are is not said",
        hint: "give --at-a-time N")
    }
    guard perHost ?? count >= count else {
      throw TarnError(
        .usage,
        "--per-host \(perHost ?? 0) is less than the \(count) workers at a time, of which each has one transfer",
        hint: "give a smaller --at-a-time")
    }
    self.perHost = perHost
    self.bandwidth = bandwidth
    self.count = count
  }

  /// As `tarn worker` takes them.
  fileprivate var options: [String] {
    (perHost.map { ["--per-host", "\($0)"] } ?? []) + (bandwidth.map { ["--bwlimit", $0] } ?? [])
      + ["--at-a-time", "\(count)"]
  }
}

/// The scripts of a plan.
package struct TaskScripts: Sendable, Codable {
  /// How the tool is called: its absolute path.
  package var tarn: String
  /// Options of every worker.
  package var workerOptions: [String]
  /// Most tasks at a time; nil for as many as there is room for.
  package var atATime: Int?
  /// What all workers together may take of a host, and of the network: each takes its share.
  package var limits: SharedLimits?
  /// The largest number of an array's tasks, and one more.
  package var arraySize: Int
  /// Tasks of one search of a training at most.
  package var partCount: Int
  /// Image of a container with the tool in it.
  package var image: String
  /// The claim that the directory lies on, in a cluster of containers.
  package var claim: String
  /// Bytes of memory that a task takes at most, as far as the plan knows; nil where it does not.
  package var memoryByteCount: Int?

  package init(
    tarn: String, workerOptions: [String] = [], atATime: Int? = nil, arraySize: Int = 1001, partCount: Int = 64,
    image: String = "tarn:latest",
    claim: String = "tarn"
  ) {
    self.tarn = tarn
    self.workerOptions = workerOptions
    self.atATime = atATime
    self.arraySize = arraySize
    self.partCount = partCount
    self.image = image
    self.claim = claim
  }

  private static let keptName = "scripts.json"
  /// More tasks than any scheduler has.
  private static let mostCount = 1 << 30

  /// What scripts in a directory were last written with; nil where there are none.
  ///
  /// - Throws: ``TarnError`` where that cannot be read.
  package init?(keptIn directory: TaskDirectory) throws {
    guard let text = try directory.script(Self.keptName),
      let kept = try? JSONDecoder().decode(TaskScripts.self, from: Data(text)),
      [kept.arraySize, kept.partCount, kept.atATime ?? 1].allSatisfy({ (1...Self.mostCount).contains($0) })
    else { return nil }
    self = kept
  }

  /// Tasks that one array holds: its indexes are theirs less an offset.
  package struct Chunk: Sendable, Equatable {
    package let offset: Int
    /// In order.
    package let tasks: [Int]

    /// As `--array` takes it: ranges of the indexes, and how many run at a time.
    package func indexes(atATime: Int?) -> String {
      OrdinalSet(ascending: tasks.map { $0 - offset }).text + (atATime.map { "%\($0)" } ?? "")
    }
  }

  /// Cuts tasks into arrays that a scheduler takes.
  ///
  /// - Parameters:
  ///   - tasks: Their numbers, in order.
  ///   - arraySize: The largest index of an array, and one more: `MaxArraySize`.
  /// - Returns: The arrays, in order.
  package static func chunks(_ tasks: [Int], arraySize: Int) -> [Chunk] {
    let size = max(1, arraySize)
    return Dictionary(grouping: tasks) { $0 / size }.sorted { $0.key < $1.key }.map { number, tasks in
      Chunk(offset: number * size, tasks: tasks.sorted())
    }
  }

  /// What a task's log is called besides, whoever submitted it, from when it begins.
  static func logName(_ task: Int) -> String { "task_\(task).log" }

  /// Writes the scripts for some tasks of a plan, as far as they are not there like that.
  ///
  /// - Parameters:
  ///   - tasks: Their numbers, in order.
  ///   - plan: The plan.
  ///   - directory: Where it lies.
  /// - Throws: ``TarnError`` when the disk refuses.
  package func write(_ tasks: [Int], of plan: TaskPlan, in directory: TaskDirectory) throws {
    let encoder = JSONEncoder()
    // The same each time.
    encoder.outputFormatting = .sortedKeys
    let files = [
      (Self.keptName, Array(try encoder.encode(self))), ("run.txt", Array(lines(tasks, directory).utf8)),
      ("slurm.sh", Array(slurm(tasks, plan, directory).utf8)),
      ("k8s.yaml", Array(kubernetes(tasks, plan, directory).utf8)),
    ]
    for (name, text) in files where (try? directory.script(name, atMost: text.count)) != text {
      try directory.write(script: text, name)
    }
  }

  /// The words that a worker is called with, its task left out: a directory is the one that it runs in, so that it may be
  /// moved.
  package func workerArguments(in directory: TaskDirectory) -> [String] {
    ["worker", directory.isDirectory ? "." : directory.path] + workerOptions + (limits?.options ?? [])
  }

  private func command(_ directory: TaskDirectory) -> String {
    ([tarn] + workerArguments(in: directory)).map(QuotedWords.quoted).joined(separator: " ")
  }

  /// One command a line, to be run in the directory.
  private func lines(_ tasks: [Int], _ directory: TaskDirectory) -> String {
    let command = command(directory)
    return tasks.map { "\(command) --task \($0)\n" }.joined()
  }

  private func slurm(_ tasks: [Int], _ plan: TaskPlan, _ directory: TaskDirectory) -> String {
    let chunks = Self.chunks(tasks, arraySize: arraySize)
    guard let first = chunks.first?.indexes(atATime: atATime) else {
      return "#!/bin/sh\n# \(plan.subject): no task is open.\necho 'no task of \(plan.subject) is open'\n"
    }
    let submit = chunks.map { chunk in
      "#   sbatch --array=\(chunk.indexes(atATime: atATime)) --export=ALL,TARN_TASK_OFFSET=\(chunk.offset) slurm.sh\n"
    }
    let isDirectory = directory.isDirectory
    let task = "$((SLURM_ARRAY_TASK_ID + TARN_TASK_OFFSET))"
    let begun = """
      # Its log by the task's number: so it is known to have begun, whoever submitted it.
      [ -z "$SLURM_ARRAY_JOB_ID" ] || ln -sf "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}.log" "logs/task_\(task).log"

      """
    let place = isDirectory ? "DIR" : QuotedWords.quoted(directory.path)
    let there = isDirectory ? "in this directory" : "in a directory of yours"
    let way =
      chunks.count == 1
      ? "whole, or in arrays that your Slurm takes\n# (scontrol show config | grep MaxArraySize):"
      : "array by array: one is not larger than\n# MaxArraySize (--array-size):"
    return """
      #!/bin/sh
      # \(plan.subject): \(tasks.count.counted("task")). Submit it \(there), \(way)
      \(submit.joined())# Which tasks are done is said by receipts/: `tarn ingest \(place) --lake LAKE` on the lake's host takes them in,
      # and `tarn plan --again \(place)` writes this file anew for those that have none.
      #SBATCH --job-name=\(QuotedWords.quoted("tarn-\(plan.subject)"))
      #SBATCH --array=\(first)
      #SBATCH --requeue
      #SBATCH --signal=B:TERM@120
      #SBATCH --output=\(isDirectory ? "logs/" : "tarn-")%A_%a.log
      #SBATCH --open-mode=append
      # What a task takes is yours to say, here without the first # or to sbatch. \(memoryWords)
      # It works with as many threads as it has processors.
      ##SBATCH --cpus-per-task=16
      ##SBATCH --mem=\(memoryMebibytes.map { "\($0)M" } ?? "4G")
      ##SBATCH --time=12:00:00
      # Tasks are numbered as the indexes of the array, and so many more.
      export TARN_TASK_OFFSET="${TARN_TASK_OFFSET:-\(chunks.first?.offset ?? 0)}"
      \(isDirectory ? begun : "")# No shell between Slurm and the worker: it gets the signals, and its exit status is the task's.
      exec \(command(directory))

      """
  }

  /// Memory of a task in mebibytes, rounded up to hundreds.
  private var memoryMebibytes: Int? { memoryByteCount.map { ($0 >> 20) / 100 * 100 + 100 } }

  /// What is known of the memory that a task takes, a sentence.
  private var memoryWords: String {
    memoryMebibytes.map { "By the plan it takes \($0) MiB of memory at most, mapped files aside." }
      ?? "`tarn train … --dry-run` tells the memory of each step, mapped files aside."
  }

  /// What a version's job is called: its pods' hosts bear its name and their index, which
  /// together are at most 63 characters.
  private static func name(_ version: String, count: Int) -> String {
    let plain = version.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? String($0) : "-" }.joined()
    var name = String("tarn-\(plain)".prefix(63 - 1 - String(count).count))
    while name.hasSuffix("-") { name.removeLast() }
    return name
  }

  private func kubernetes(_ tasks: [Int], _ plan: TaskPlan, _ directory: TaskDirectory) -> String {
    guard let last = tasks.last else { return "# \(plan.subject): no task is open.\n" }
    // Indexes of a job are all from 0 on: tasks that are done end at once.
    let count = last + 1
    let name = Self.name(plan.subject, count: count)
    let arguments = workerArguments(in: directory).map { JSONValue.string($0).text }.joined(separator: ", ")
    let isDirectory = directory.isDirectory
    let mount = isDirectory ? "            - name: tasks\n              mountPath: /tasks\n" : ""
    let claim = "persistentVolumeClaim:\n            claimName: \(JSONValue.string(claim).text)"
    let volume = isDirectory ? "        - name: tasks\n          \(claim)\n" : ""
    // Who asks a store, and where it is, is in the environment and in no document.
    let isStore = !isDirectory || directory.resultsPlace != nil
    let keys = isStore ? "          envFrom:\n            - secretRef:\n                name: tarn\n" : ""
    let memory = memoryMebibytes.map { "\($0)Mi" } ?? "4Gi"
    let place = isDirectory ? " The claim holds this directory at its root." : ""
    let secret = isStore ? " The secret tarn holds AWS_ACCESS_KEY_ID and its like." : ""
    return """
      # \(plan.subject): \(tasks.count.counted("task")).\(place)\(secret)
      apiVersion: batch/v1
      kind: Job
      metadata:
        name: \(name)
      spec:
        completionMode: Indexed
        completions: \(count)
        parallelism: \(min(count, atATime ?? count))
        backoffLimitPerIndex: 5
        maxFailedIndexes: \(count)
        podFailurePolicy:
          rules:
            - action: Ignore
              onPodConditions:
                - type: DisruptionTarget
            # What another try would meet again: another tarn's tasks, wrong bytes, missing inputs, a command that is wrong.
            - action: FailIndex
              onExitCodes:
                containerName: worker
                operator: In
                values: [\(TaskFailure.finalStatuses.sorted().map(String.init).joined(separator: ", "))]
        template:
          spec:
            restartPolicy: Never
            terminationGracePeriodSeconds: 120
            containers:
              - name: worker
                image: \(JSONValue.string(image).text)
                command: ["tarn"]
                args: [\(arguments)]
                workingDir: \(isDirectory ? "/tasks" : "/scratch")
                # What a pod takes is yours to say. \(memoryWords)
                # resources:
                #   requests: {cpu: "16", memory: \(memory)}
                #   limits: {memory: \(memory)}
      \(keys)          env:
                  - name: TMPDIR
                    value: /scratch
                  # A worker does not see a limit of CPU, and begins a thread for each processor of the node.
                  # - name: TARN_THREADS
                  #   value: "16"
                volumeMounts:
      \(mount)            - name: scratch
                    mountPath: /scratch
            volumes:
      \(volume)        - name: scratch
                emptyDir: {}

      """
  }
}
