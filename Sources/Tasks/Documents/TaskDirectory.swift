// A directory of tasks, which planner, workers and whoever takes the results back
// share: what lies where, and what a name says of its content. Everything in it may
// be written by anybody, so everything is read as a stranger's.
//
// Invariants:
//   1. `plan.json` is written last: a directory without it is no plan yet.
//   2. A task and a receipt bear the digest of their bytes in their names.
//   3. A receipt is written after its result is durable under its final name.

package import Base
internal import Foundation

/// Where a plan, its tasks, results and receipts lie.
package struct TaskDirectory: Sendable {
  /// The most bytes of a document that are read.
  private static let documentByteLimit = 1 << 28

  /// The directory, absolute.
  package let path: String

  /// Names a directory; nothing is looked at.
  package init(_ path: String) { self.path = path }

  package var planPath: String { path + "/plan.json" }
  /// Trained indexes, named by their digests.
  package var trained: String { path + "/trained" }
  package var tasks: String { path + "/tasks" }
  package var results: String { path + "/results" }
  package var receipts: String { path + "/receipts" }
  /// Receipts that were found wrong, out of the way.
  package var refused: String { path + "/refused" }
  /// What ended tasks that have no receipt.
  package var failures: String { path + "/failures" }
  package var logs: String { path + "/logs" }

  /// Matrices that trainings search, named by their digests.
  package var matrices: String { path + "/matrices" }

  package func matrixPath(_ digest: ContentDigest) -> String { "\(matrices)/\(digest.hex).npy" }

  package func trainedPath(_ digest: ContentDigest) -> String { "\(trained)/\(digest.hex).faiss" }

  /// A number as it begins the names of a task's files.
  private static func stem(_ task: Int) -> String {
    let digits = String(task)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }

  private static func name(_ task: Int, _ digest: ContentDigest, _ ending: String) -> String {
    "\(stem(task)).\(digest.hex).\(ending)"
  }

  package func taskPath(_ task: Int, _ digest: ContentDigest) -> String {
    "\(tasks)/\(Self.name(task, digest, "json"))"
  }

  /// Where the result of a task goes: an output shard, or rows that were found.
  package func resultPath(_ number: Int, _ digest: ContentDigest, of kind: TaskPlan.Kind = .build) -> String {
    "\(results)/\(Self.name(number, digest, kind == .build ? "faiss" : "rows"))"
  }

  package func receiptPath(_ task: Int, _ digest: ContentDigest) -> String {
    "\(receipts)/\(Self.name(task, digest, "json"))"
  }

  package func failurePath(_ task: Int) -> String { "\(failures)/\(Self.stem(task)).json" }

  /// Where a result grows before its digest is known; the names of two workers differ.
  package func workingPath(_ task: Int, by worker: String) -> String {
    "\(results)/\(Self.stem(task)).\(worker).part"
  }

  /// Makes the directories that all share.
  package func make() throws {
    for directory in [path, trained, tasks, results, receipts, failures, logs] { try Disk.makeDirectory(directory) }
  }

  /// Removes what only workers needed: receipts and logs stay.
  ///
  /// - Throws: ``TarnError`` when the disk refuses.
  package func clean() throws {
    for directory in [trained, matrices, tasks, results] where Disk.isDirectory(directory) {
      do { try FileManager.default.removeItem(atPath: directory) } catch { throw Disk.systemError("remove", directory) }
    }
  }

  // MARK: Reading

  /// Reads the plan.
  ///
  /// - Throws: ``TarnError`` `.notFound` where there is none, `.integrity` for one that is
  ///   damaged.
  package func plan() throws -> TaskPlan {
    guard Disk.size(of: planPath) != nil else {
      throw TarnError(
        .notFound, "\(path) has no plan of tasks", hint: "`tarn plan build … --tasks \(path)` writes one")
    }
    return try TaskPlan(reading: try Disk.contents(of: planPath, atMost: Self.documentByteLimit), in: planPath)
  }

  /// Reads one task of a plan.
  ///
  /// - Parameters:
  ///   - number: The task's number.
  ///   - plan: The plan, which says its digest.
  /// - Returns: The task.
  /// - Throws: ``TarnError`` `.usage` where the plan has no such task, `.inputsMissing`
  ///   without its file, `.integrity` where it is not the plan's.
  package func task(_ number: Int, of plan: TaskPlan) throws -> AnyTask {
    guard plan.tasks.indices.contains(number) else {
      throw TarnError(
        .usage, "there is no task \(number): \(path) has \(plan.tasks.count), from 0",
        hint: "run.txt has a line for each")
    }
    let digest = plan.tasks[number]
    let path = taskPath(number, digest)
    let bytes = try Disk.contents(of: path, atMost: Self.documentByteLimit)
    guard ContentDigest.of(bytes) == digest else {
      throw TarnError(
        .integrity, "\(path) is not the task that its name and the plan say",
        hint: "the same `tarn plan` in an empty directory writes it again")
    }
    return try AnyTask(reading: bytes, in: path)
  }

  /// The receipts there are, by task, each by its file's name; no content is read.
  ///
  /// - Returns: Names in order; files that cannot be a receipt's are left out.
  /// - Throws: ``TarnError`` when the directory cannot be read.
  package func receiptNames() throws -> [Int: [String]] { try names(in: receipts) { $0.hasSuffix(".json") } }

  /// Results and what grows into such, by task, each by its file's name.
  ///
  /// - Returns: Names in order.
  /// - Throws: ``TarnError`` when the directory cannot be read.
  package func resultNames() throws -> [Int: [String]] { try names(in: results) { _ in true } }

  /// Tasks whose last worker left word of what ended it.
  func failureNumbers() throws -> Set<Int> { Set(try names(in: failures) { $0.hasSuffix(".json") }.keys) }

  /// What engines keep of what workers say, by its file's name.
  func logNames() throws -> Set<String> {
    guard Disk.isDirectory(logs) else { return [] }
    return Set(try Disk.names(in: logs).compactMap { String(validating: $0, as: UTF8.self) })
  }

  private func names(in directory: String, where fits: (String) -> Bool) throws -> [Int: [String]] {
    guard Disk.isDirectory(directory) else { return [:] }
    var found: [Int: [String]] = [:]
    for bytes in try Disk.names(in: directory) {
      guard let name = String(validating: bytes, as: UTF8.self), fits(name),
        let number = name.split(separator: ".").first.flatMap({ Int($0) }), number >= 0
      else { continue }
      found[number, default: []].append(name)
    }
    return found.mapValues { $0.sorted() }
  }

  /// Reads a receipt whose name says its digest.
  ///
  /// - Parameter name: Its file's name.
  /// - Returns: The receipt.
  /// - Throws: ``TarnError`` `.integrity` for one that is cut, changed or malformed.
  package func receipt(_ name: String) throws -> TaskReceipt {
    let path = "\(receipts)/\(name)"
    let bytes = try Disk.contents(of: path, atMost: Self.documentByteLimit)
    guard name.split(separator: ".").dropFirst().first.flatMap({ ContentDigest(hex: String($0)) }) == .of(bytes) else {
      throw TarnError(.integrity, "\(path) is cut or changed: its SHA-256 is not in its name")
    }
    return try TaskReceipt(reading: bytes, in: path)
  }

  /// The receipts of a task that may be right, as far as documents alone tell.
  ///
  /// - Parameters:
  ///   - number: The task's number.
  ///   - task: The task.
  ///   - names: Its receipts' names.
  /// - Returns: Those that fit the task.
  package func likelyReceipts(of number: Int, _ task: AnyTask, _ names: [String]) -> [TaskReceipt] {
    names.compactMap { name in
      guard let receipt = try? receipt(name), receipt.objection(to: task) == nil else { return nil }
      return receipt
    }
  }

  /// The tasks that have no receipt that fits, as far as documents alone tell.
  ///
  /// - Parameters:
  ///   - plan: The plan.
  ///   - wanted: Which tasks to look at; nil for all.
  ///   - memory: What was read at earlier looks, for who looks often.
  /// - Returns: Their numbers, with what their last workers said.
  /// - Throws: ``TarnError`` where a task cannot be read.
  package func openTasks(
    of plan: TaskPlan, among wanted: Set<Int>? = nil, remembering memory: TaskMemory = TaskMemory()
  ) throws -> [(task: Int, failure: TaskFailure?)] {
    let names = try receiptNames()
    return try plan.tasks.indices.filter { wanted?.contains($0) ?? true }.compactMap { number in
      let names = names[number] ?? []
      guard !names.contains(where: memory.fitting.contains) else { return nil }
      // A task without a receipt has nothing to be held against.
      if let name = try names.first(where: { try fits($0, number, of: plan, memory) }) {
        memory.fitting.insert(name)
        return nil
      }
      return (number, failure(of: number))
    }
  }

  private func fits(_ name: String, _ number: Int, of plan: TaskPlan, _ memory: TaskMemory) throws -> Bool {
    let digest = plan.tasks[number]
    let task = try memory.tasks[digest] ?? task(number, of: plan)
    memory.tasks[digest] = task
    return !likelyReceipts(of: number, task, [name]).isEmpty
  }

  /// Why a task's last worker gave up, where it said so.
  package func failure(of number: Int) -> TaskFailure? {
    guard let bytes = try? Disk.contents(of: failurePath(number), atMost: 1 << 20) else { return nil }
    return try? TaskFailure(reading: bytes, in: failurePath(number))
  }

  // MARK: Writing

  /// Writes a receipt, durably; its result is.
  ///
  /// - Returns: Where it is.
  /// - Throws: ``TarnError`` when the disk refuses.
  package func write(_ receipt: TaskReceipt, of number: Int, by worker: String) throws -> String {
    let bytes = Array(receipt.text.utf8)
    let path = receiptPath(number, .of(bytes))
    try Disk.makeDirectory(receipts)
    // Two workers may be at the same task: neither touches what the other is writing.
    let working = "\(path).\(worker)"
    try Disk.writeAtomically(bytes, to: working)
    try Disk.moveIntoPlace(working, path)
    return path
  }
}

/// What was read of a directory's documents: their names have their digests, so that it
/// is true as long as they are there.
package final class TaskMemory {
  /// Tasks by the digests of their documents.
  fileprivate var tasks: [ContentDigest: AnyTask] = [:]
  /// Names of receipts that fit their tasks.
  fileprivate var fitting: Set<String> = []

  package init() {}
}

/// A plan: which tasks there are, and of which version.
package struct TaskPlan: Sendable, Equatable {
  package static let format = "tarn-plan-1"

  /// What the tasks are parts of.
  package enum Kind: String, Sendable, CaseIterable {
    case build, train
  }

  package let kind: Kind
  /// The lake that planned.
  package let lake: String
  /// The version, `NAME@N`, or the trained index.
  package let subject: String
  package let spec: ContentDigest
  package let tool: String
  /// Digest of each task's document, by its number.
  ///
  /// Those of a training are added to round by round.
  package var tasks: [ContentDigest]

  package init(
    _ kind: Kind, lake: String, subject: String, spec: ContentDigest, tool: String, tasks: [ContentDigest]
  ) {
    self.kind = kind
    self.lake = lake
    self.subject = subject
    self.spec = spec
    self.tool = tool
    self.tasks = tasks
  }

  package var text: String {
    JSONValue.object([
      "format": .string(Self.format), "kind": .string(kind.rawValue), "lake": .string(lake),
      "subject": .string(subject),
      "spec_sha256": .string(spec.hex), "tool": .string(tool), "tasks": .array(tasks.map { .string($0.hex) }),
    ]).indentedText + "\n"
  }

  /// Reads a plan that lies in a directory anybody may write to.
  ///
  /// - Throws: ``TarnError`` `.integrity`, `.schemaNewer`.
  package init(reading bytes: [UInt8], in place: String) throws {
    let fields = try DocumentFields(reading: bytes, in: place)
    try fields.requireFormat(Self.format)
    self.init(
      try fields.word("kind", Kind.self), lake: try fields.string("lake"), subject: try fields.string("subject"),
      spec: try fields.digest("spec_sha256"),
      tool: try fields.string("tool"), tasks: try fields.digests("tasks"))
  }
}

/// What ended a worker without a receipt.
package struct TaskFailure: Sendable, Equatable {
  package static let format = "tarn-failure-1"

  package let task: ContentDigest
  package let host: String
  package let endedAt: String
  /// The worker's exit status.
  package let status: Int
  package let message: String

  package init(task: ContentDigest, host: String, endedAt: String, status: Int, message: String) {
    self.task = task
    self.host = host
    self.endedAt = endedAt
    self.status = status
    self.message = message
  }

  package var text: String {
    JSONValue.object([
      "format": .string(Self.format), "task_sha256": .string(task.hex), "host": .string(host),
      "ended_at": .string(endedAt), "status": .count(status), "message": .string(message),
    ]).text
  }

  /// Reads what a worker left, or anybody else.
  ///
  /// - Throws: ``TarnError`` `.integrity`, `.schemaNewer`.
  package init(reading bytes: [UInt8], in place: String) throws {
    let fields = try DocumentFields(reading: bytes, in: place)
    try fields.requireFormat(Self.format)
    self.init(
      task: try fields.digest("task_sha256"), host: try fields.string("host"), endedAt: try fields.string("ended_at"),
      status: try fields.number("status", .rowCount), message: try fields.string("message"))
  }
}
