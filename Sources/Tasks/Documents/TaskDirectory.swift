// A directory of tasks, which planner, workers and whoever takes the results back
// share: what lies where, and what a name says of its content. Everything in it may
// be written by anybody, so everything is read as a stranger's. It may be a prefix of
// an object store: how files are read and written in either is TaskStore's to say.
//
// Invariants:
//   1. `plan.json` is written last: a directory without it is no plan yet.
//   2. A task and a receipt bear the digest of their bytes in their names.
//   3. A receipt is written after its result is durable under its final name.

package import Base
internal import Foundation

/// Where a plan, its tasks, results and receipts lie: a directory, a prefix of an object
/// store, or the one for the plan and the other for what workers make.
package struct TaskDirectory: Sendable {
  /// The most bytes of a document that are read.
  static let documentByteLimit = 1 << 28

  /// The directory, absolute, or `s3://BUCKET/PREFIX`.
  package let path: String
  /// Where results, receipts and failures lie, likewise.
  let outcomePath: String
  private let files: any TaskStore
  let outcomes: any TaskStore

  /// Names a directory that has all; nothing is looked at.
  package init(_ path: String) {
    let files = DirectoryTasks(path)
    self.init(path, files, outcomePath: path, files)
  }

  private init(_ path: String, _ files: any TaskStore, outcomePath: String, _ outcomes: any TaskStore) {
    self.path = path
    self.outcomePath = outcomePath
    self.files = files
    self.outcomes = outcomes
  }

  /// Finds a directory or a prefix, and where its plan says that results go.
  ///
  /// - Parameters:
  ///   - place: The directory, absolute, or `s3://BUCKET/PREFIX`.
  ///   - access: How stores are reached.
  ///   - results: Where a plan that is not there yet shall have its results; nil for beside
  ///     the tasks.
  /// - Returns: The tasks.
  /// - Throws: ``TarnError`` `.usage` for what is no place, `.conflict` where the plan that
  ///   is there has its results elsewhere.
  package static func open(
    _ place: String, _ access: StoreAccess, results: String? = nil
  ) throws -> TaskDirectory {
    let asked = try results.map { place in
      guard place.isStoreAddress else {
        throw TarnError(.usage, "--results \(place.printable) is no S3 address", hint: "write s3://bucket/prefix")
      }
      return try StoredTasks.normalised(place)
    }
    var directory = TaskDirectory(place)
    if place.isStoreAddress {
      let place = try StoredTasks.normalised(place)
      let files = try StoredTasks(place, access)
      directory = TaskDirectory(place, files, outcomePath: place, files)
    }
    let known = try directory.planThere()
    if let known, let asked, asked != known.results {
      throw TarnError(
        .conflict,
        "the plan in \(directory.path) has its results in \(known.results ?? directory.path), not in \(asked)",
        hint: "leave --results away, or give --tasks a directory of its own")
    }
    guard let place = known == nil ? asked : known?.results, place != directory.path else { return directory }
    return TaskDirectory(directory.path, directory.files, outcomePath: place, try StoredTasks(place, access))
  }

  /// Whether plan and tasks are in a directory, in which workers can be started.
  package var isDirectory: Bool { !path.isStoreAddress }
  /// Where results are if not beside the tasks: as the plan says it.
  package var resultsPlace: String? { outcomePath == path ? nil : outcomePath }

  private static let planName = "plan.json"
  package var planPath: String { "\(path)/\(Self.planName)" }
  /// Trained indexes, named by their digests.
  package var trained: String { path + "/trained" }
  package var tasks: String { path + "/tasks" }
  package var results: String { outcomePath + "/results" }
  package var receipts: String { outcomePath + "/receipts" }
  /// Receipts that were found wrong, out of the way.
  package var refused: String { outcomePath + "/refused" }
  package var logs: String { path + "/logs" }

  /// Where a training makes the matrices that its tasks search, named by their digests:
  /// beside the tasks, or on this machine first.
  ///
  /// - Parameter scratch: A directory of the lake's.
  /// - Returns: The directory.
  package func matrices(in scratch: String) -> String {
    isDirectory ? path + "/matrices" : "\(scratch)/rounds-\(ContentDigest.of(path).prefix(16))"
  }

  private static func matrixName(_ digest: ContentDigest) -> String { "matrices/\(digest.hex).npy" }

  private static func trainedName(_ digest: ContentDigest) -> String { "trained/\(digest.hex).faiss" }

  /// A number as it begins the names of a task's files.
  static func stem(_ task: Int) -> String { task.padded(to: 4) }

  static func name(_ task: Int, _ digest: ContentDigest, _ ending: String) -> String {
    "\(stem(task)).\(digest.hex).\(ending)"
  }

  private static func taskName(_ task: Int, _ digest: ContentDigest) -> String {
    "tasks/\(name(task, digest, "json"))"
  }

  /// Where the result of a task goes: an output shard, or rows that were found.
  static func resultName(_ number: Int, _ digest: ContentDigest, of kind: TaskPlan.Kind) -> String {
    "results/\(name(number, digest, kind == .build ? "faiss" : "rows"))"
  }

  static func receiptName(_ task: Int, _ digest: ContentDigest) -> String {
    "receipts/\(name(task, digest, "json"))"
  }

  static func failureName(_ task: Int) -> String { "failures/\(stem(task)).json" }

  package func failurePath(_ task: Int) -> String { "\(outcomePath)/\(Self.failureName(task))" }

  package func taskPath(_ task: Int, _ digest: ContentDigest) -> String { "\(path)/\(Self.taskName(task, digest))" }

  package func resultPath(_ number: Int, _ digest: ContentDigest, of kind: TaskPlan.Kind = .build) -> String {
    "\(outcomePath)/\(Self.resultName(number, digest, of: kind))"
  }

  package func receiptPath(_ task: Int, _ digest: ContentDigest) -> String {
    "\(outcomePath)/\(Self.receiptName(task, digest))"
  }

  /// The directories that a directory of tasks has in it, and the files.
  private static let ownDirectories: Set<String> = [
    "trained", "matrices", "tasks", "results", "receipts", "refused", "failures", "logs",
  ]
  private static let ownFiles: Set<String> = [
    planName, "run.txt", "slurm.sh", "k8s.yaml", "scripts.json", "jobs.json",
  ]

  /// Refuses a directory without a plan that has files of something else: they would be
  /// mixed up, or written over.
  ///
  /// - Throws: ``TarnError`` `.conflict` naming one of them.
  package func requireFree() throws {
    guard isDirectory, Disk.size(of: path) != nil || Disk.isDirectory(path) else { return }
    guard Disk.isDirectory(path) else {
      throw TarnError(.conflict, "\(path) is no directory", hint: "give --tasks a directory of its own")
    }
    let names = try Disk.names(in: path).map { String(decoding: $0, as: UTF8.self) }
    // What a run left that was ended: directories first, files once there are tasks.
    let isBegun = names.contains("tasks")
    let other = names.sorted().first { name in
      // What is being written has an ending more.
      let isOwnFile = Self.ownFiles.contains { name == $0 || name == $0 + ".tmp" }
      return Disk.isDirectory("\(path)/\(name)") ? !Self.ownDirectories.contains(name) : !(isBegun && isOwnFile)
    }
    guard let other else { return }
    throw TarnError(
      .conflict, "\(path) has \(other.printable) in it, and no plan of tasks",
      hint: "give --tasks an empty directory, or a new one")
  }

  /// The error that the plan which is there is of something else.
  package func hasPlan(_ plan: TaskPlan, notOf subject: String) -> TarnError {
    TarnError(
      .conflict, "\(path) has the plan of \(plan.subject.printable), not of \(subject)",
      hint: "give --tasks a directory of its own")
  }

  /// Makes the directories that all share; a store has none.
  package func make() throws {
    if isDirectory {
      for directory in [path, trained, tasks, logs] { try Disk.makeDirectory(directory) }
    }
    if !outcomePath.isStoreAddress {
      for name in ["results", "receipts", "failures"] { try Disk.makeDirectory("\(outcomePath)/\(name)") }
    }
  }

  /// Removes what only workers needed: receipts and logs stay.
  ///
  /// - Throws: ``TarnError`` when the disk refuses.
  package func clean() throws {
    for name in ["trained", "matrices", "tasks", "results"] where Disk.isDirectory("\(path)/\(name)") {
      do {
        try FileManager.default.removeItem(atPath: "\(path)/\(name)")
      } catch { throw Disk.systemError("remove", "\(path)/\(name)") }
    }
  }

  // MARK: Plan and tasks

  /// Reads the plan.
  ///
  /// - Throws: ``TarnError`` `.notFound` where there is none, `.integrity` for one that is
  ///   damaged.
  package func plan() throws -> TaskPlan {
    guard let plan = try planThere() else {
      let other = isDirectory ? "a line of run.txt is run in the directory that has that file; " : ""
      throw TarnError(
        .notFound, "\(path) has no plan of tasks", hint: "\(other)`tarn plan build … --tasks \(path)` writes one")
    }
    return plan
  }

  /// The plan; nil where there is none yet.
  package func planThere() throws -> TaskPlan? {
    try files.contents(Self.planName, atMost: Self.documentByteLimit).map { try TaskPlan(reading: $0, in: planPath) }
  }

  /// The plan of a piece of work; nil where there is none yet.
  ///
  /// - Parameters:
  ///   - kind: Of what.
  ///   - subject: What is planned, by its name.
  ///   - spec: Digest of its specification; nil where that is not known yet.
  ///   - lake: The lake's uuid.
  ///   - told: What the refusal calls it.
  /// - Returns: The plan.
  /// - Throws: ``TarnError`` `.conflict` for the plan of something else.
  package func planThere(
    _ kind: TaskPlan.Kind, of subject: String, _ spec: ContentDigest?, lake: String, toldAs told: String
  ) throws -> TaskPlan? {
    guard let plan = try planThere() else { return nil }
    guard plan.kind == kind, plan.lake == lake, plan.subject == subject, spec == nil || plan.spec == spec else {
      throw hasPlan(plan, notOf: told)
    }
    return plan
  }

  /// Writes the first plan of a directory: the last of what it needs.
  ///
  /// - Parameter plan: The plan.
  /// - Throws: ``TarnError`` `.conflict` where somebody has planned something else here meanwhile.
  package func create(_ plan: TaskPlan) throws {
    // Beside the tasks: what a kill leaves there is no stranger's file.
    let working = "tasks/plan.\(String(UInt64.random(in: .min ... .max), radix: 16)).part"
    guard try !files.create(Array(plan.text.utf8), as: Self.planName, by: working) else { return }
    let there = try self.plan()
    guard there == plan else {
      throw TarnError(
        .conflict,
        "\(path) has the plan of \(there.subject.printable), which was written meanwhile, not of \(plan.subject)",
        hint: "give --tasks a directory of its own; `tarn plan --again \(path)` writes the scripts of what is there")
    }
  }

  /// Writes a plan that is there already, anew.
  package func write(_ plan: TaskPlan) throws { try files.write(Array(plan.text.utf8), as: Self.planName, by: nil) }

  /// Reads one task of a plan.
  ///
  /// - Parameters:
  ///   - number: The task's number.
  ///   - plan: The plan, which says its digest.
  /// - Returns: The task.
  /// - Throws: ``TarnError`` `.usage` where the plan has no such task, `.inputsMissing`
  ///   without its file, `.integrity` where it is not the plan's.
  package func task(_ number: Int, of plan: TaskPlan) throws -> AnyTask {
    guard plan.tasks.indices.contains(number) else { throw noTask(number, of: plan) }
    let digest = plan.tasks[number]
    let place = taskPath(number, digest)
    guard let bytes = try files.contents(Self.taskName(number, digest), atMost: Self.documentByteLimit) else {
      throw TarnError(.inputsMissing, "there is no file \(place)", hint: wayToTasks)
    }
    guard ContentDigest.of(bytes) == digest else {
      throw TarnError(.integrity, "\(place) is not the task that its name and the plan say", hint: wayToTasks)
    }
    return try AnyTask(reading: bytes, in: place)
  }

  /// How the document of a task comes back.
  private var wayToTasks: String { "plan again into \(path), by the command that planned: that lays it anew" }

  /// One task of a plan, unless its document is missing or damaged.
  ///
  /// - Parameters:
  ///   - number: The task's number.
  ///   - plan: The plan, which says its digest.
  /// - Returns: The task; nil where it has to be laid anew.
  /// - Throws: ``TarnError`` where that cannot be told.
  package func taskIfWhole(_ number: Int, of plan: TaskPlan) throws -> AnyTask? {
    do {
      return try task(number, of: plan)
    } catch let error as TarnError where [.integrity, .inputsMissing].contains(error.code) {
      return nil
    }
  }

  /// What engines keep of what workers say, by its file's name.
  func logNames() throws -> Set<String> {
    guard isDirectory, Disk.isDirectory(logs) else { return [] }
    return Set(try Disk.names(in: logs).compactMap { String(validating: $0, as: UTF8.self) })
  }

  /// Writes a task's document.
  ///
  /// - Parameters:
  ///   - text: The document.
  ///   - number: The task's number.
  ///   - digest: The document's.
  /// - Throws: ``TarnError`` when the disk or the store refuses.
  package func write(task text: String, _ number: Int, _ digest: ContentDigest) throws {
    try files.keep(Array(text.utf8), as: Self.taskName(number, digest), by: nil)
  }

  private func noTask(_ number: Int, of plan: TaskPlan) -> TarnError {
    TarnError(
      .usage, "there is no task \(number): \(path) has \(plan.tasks.count), from 0", hint: "run.txt has a line for each"
    )
  }

  /// The tasks of a set, in order.
  ///
  /// - Parameter set: Numbers as the user wrote them.
  /// - Returns: Those numbers, ascending.
  /// - Throws: ``TarnError`` `.usage` for one that the plan does not have.
  package func numbers(_ set: OrdinalSet) throws -> [Int] {
    let plan = try plan()
    if let last = set.last, last >= plan.tasks.count { throw noTask(last, of: plan) }
    return plan.tasks.indices.filter(set.contains)
  }

  /// Reads a small file beside the plan; nil where there is none.
  func script(_ name: String, atMost limit: Int = 1 << 20) throws -> [UInt8]? {
    try files.contents(name, atMost: limit)
  }

  /// Writes a small file beside the plan.
  func write(script text: some Collection<UInt8>, _ name: String) throws {
    try files.write(Array(text), as: name, by: nil)
  }

  /// Lays a trained index beside the tasks, unless it is there, whole.
  ///
  /// - Parameters:
  ///   - file: Where it is; asked where it may be needed.
  ///   - digest: Its SHA-256.
  ///   - isDoubted: Whether what a store says to be it is read before it is believed.
  /// - Returns: Whether it was laid now.
  /// - Throws: ``TarnError`` when the disk or the store refuses; what `file` throws.
  @discardableResult
  package func share(
    trained file: @autoclosure () throws -> String, _ digest: ContentDigest, isDoubted: Bool = false
  ) throws -> Bool {
    try files.share(file, as: Self.trainedName(digest), digest, isDoubted: isDoubted)
  }

  /// Lays a matrix beside the tasks of a store, unless it is there; in a directory it is made there.
  package func share(matrix file: String, _ digest: ContentDigest) throws {
    if !isDirectory { _ = try files.share({ file }, as: Self.matrixName(digest), digest, isDoubted: false) }
  }

  /// Removes the matrices: nothing searches them any more.
  package func removeMatrices() throws {
    for name in try files.names(in: "matrices", from: "") { try files.remove("matrices/\(name)") }
  }

  /// Removes what workers of a training found, receipts aside: it is trained.
  ///
  /// - Throws: ``TarnError`` when the disk or the store refuses.
  package func removeRowsFound() throws {
    guard !outcomePath.isStoreAddress else {
      for name in try outcomes.names(in: "results", from: "") { try outcomes.remove("results/\(name)") }
      return
    }
    guard Disk.isDirectory(results) else { return }
    do { try FileManager.default.removeItem(atPath: results) } catch { throw Disk.systemError("remove", results) }
  }

  /// Reads a trained index.
  ///
  /// - Parameters:
  ///   - digest: Its SHA-256, for `body` to hold it against.
  ///   - body: Reads the file.
  /// - Returns: What `body` gives.
  /// - Throws: ``TarnError`` where it cannot be had; what `body` throws.
  func readingTrained<Value>(_ digest: ContentDigest, _ body: (_ path: String) throws -> Value) throws -> Value {
    try files.reading(Self.trainedName(digest), digest, body)
  }

  /// Reads a matrix, likewise.
  package func readingMatrix<Value>(_ digest: ContentDigest, _ body: (_ path: String) throws -> Value) throws -> Value {
    try files.reading(Self.matrixName(digest), digest, body)
  }
}

/// What was read of a directory's documents: their names have their digests, so that it
/// is true as long as they are there.
package final class TaskMemory {
  /// Tasks by the digests of their documents.
  var tasks: [ContentDigest: AnyTask] = [:]
  /// Names of receipts that fit their tasks.
  var fitting: Set<String> = []

  package init() {}
}
