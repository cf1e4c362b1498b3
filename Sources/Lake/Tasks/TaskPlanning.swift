// `plan build`: a version planned in the catalog as a build plans it, what sealed
// versions have of its outputs taken over, and a document for each output that it still
// lacks, in a directory that workers share. Nothing is encoded and nothing fetched but
// the numbers of rows.
//
// The plan is written last (invariant 1 of TaskDirectory): a directory that has one is
// not planned again, so that receipts which came meanwhile still fit; but tasks that
// workers gave up are, as the lake may know of other addresses now, and what lies beside
// the plan, tasks and trained index, is read, and laid anew where it is not what it was.

package import Base
package import Catalog
internal import Foundation
internal import Indexer
package import Logging
package import Tasks

/// What came of planning.
package struct PlannedTasks: Sendable {
  package let version: IndexVersion
  package let plan: TaskPlan
  package let directory: TaskDirectory
  package let scripts: TaskScripts
  /// Whether this run wrote it.
  package let isNew: Bool
  /// Whether a task or the trained index was missing or damaged, and was laid anew.
  package var isMended = false
  /// Outputs that this run took from sealed versions, so that they are no tasks.
  package var takenCount = 0
}

/// Plans a version's outputs as tasks.
package final class TaskPlanning: Sendable {
  private let catalog: LakeCatalog
  private let options: BuildOptions
  private let place: @Sendable (VersionName) throws -> (TaskDirectory, TaskScripts)
  private let logger: Logger
  private let cancellation: Cancellation

  /// Prepares to plan.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - options: What to build.
  ///   - logger: Gets warnings.
  ///   - cancellation: Stops it; without its last file the directory is no plan.
  ///   - place: Where the tasks of a version go, and what is written beside them, for
  ///     engines that run them.
  package init(
    _ catalog: LakeCatalog, _ options: BuildOptions, logger: Logger, cancellation: Cancellation,
    into place: @escaping @Sendable (VersionName) throws -> (TaskDirectory, TaskScripts)
  ) {
    self.logger = logger
    self.catalog = catalog
    self.options = options
    self.place = place
    self.cancellation = cancellation
  }

  /// Plans, or finds that it was planned.
  ///
  /// - Parameters:
  ///   - fetch: How to ask for numbers of rows.
  ///   - follow: Told of each wait.
  /// - Returns: The version and its plan; a sealed version's has no tasks, and one of which sealed versions have all.
  /// - Throws: ``TarnError``; `.conflict` where the directory has another plan.
  package func run(
    asking fetch: SyncOptions, follow: @escaping @Sendable (SyncProgress) -> Void
  ) async throws -> PlannedTasks {
    cancellation.listen()
    let build = self.build
    try await build.learnRows(fetch, follow: follow)
    return try await ThreadedWork("tarn-plan") { [self] in
      let planned = try build.planVersion()
      let taken = try build.takeFromOthers(planned, among: catalog.shardsByID(of: planned.source))
      var tasks = try write(planned)
      tasks.takenCount = taken.count
      return tasks
    }.value()
  }

  private var build: BuildRun {
    BuildRun(catalog, options, logger: logger, cancellation: cancellation, report: { _ in })
  }

  /// What the tasks would cost in one process here, with the checks of a plan; nothing is written.
  ///
  /// - Returns: The sizes.
  /// - Throws: ``TarnError``, as ``run(asking:follow:)`` before it writes.
  package func cost() throws -> BuildCost {
    let dry = try build.dryRun(asksRoom: false)
    let (directory, _) = try place(dry.name)
    guard try planThere(in: directory, of: dry.name, dry.specDigest) == nil else { return dry.cost }
    try directory.requireFree()
    let shards = try catalog.shardsByID(of: catalog.source(named: options.images))
    for input in dry.open {
      guard let shard = shards[input.shardID] else { continue }
      let revision: ShardRevision?
      switch input.content {
      case .bytes(let bound): revision = bound
      case .toFetch, .hole: revision = nil
      }
      _ = try places(of: shard, digest: revision?.digest ?? shard.expectedDigest)
    }
    return dry.cost
  }

  /// Refuses a directory in which a version of a name cannot be planned, before anything is
  /// written anywhere.
  ///
  /// - Parameters:
  ///   - directory: The directory.
  ///   - name: The version's name, without its number.
  /// - Throws: ``TarnError`` `.conflict` where something else is in it.
  package func require(_ directory: TaskDirectory, for name: String) throws {
    guard let there = try directory.planThere() else { return try directory.requireFree() }
    guard try there.lake == catalog.uuid(), (try? VersionName(parsing: there.subject))?.name == name else {
      throw directory.hasPlan(there, notOf: name)
    }
  }

  private func planThere(
    in directory: TaskDirectory, of version: VersionName, _ spec: ContentDigest
  ) throws -> TaskPlan? {
    try directory.planThere(.build, of: "\(version)", spec, lake: catalog.uuid(), toldAs: "\(version)")
  }

  private func write(_ planned: BuildRun.Subject) throws -> PlannedTasks {
    let version = planned.version
    let (directory, written) = try place(version.name)
    var scripts = written
    let lake = try catalog.uuid()
    let known = try planThere(in: directory, of: version.name, version.specDigest)
    if known == nil { try directory.requireFree() }
    if version.state != .sealed {
      try catalog.noteTasks(
        at: directory.path, results: directory.resultsPlace, of: "\(version.name)", version.specDigest,
        from: [version.sourceID])
    }
    if var there = known {
      var isMended = false
      if version.state != .sealed {
        isMended = try layAnew(&there, planned, in: directory)
        try renew(&there, planned, in: directory)
        if try directory.share(
          trained: ArtifactStore(catalog).verified(.trainedIndex, planned.digest), planned.digest, isDoubted: true)
        {
          isMended = true
        }
      }
      return PlannedTasks(
        version: version, plan: there, directory: directory, scripts: scripts, isNew: false, isMended: isMended)
    }
    let tasks = try version.state == .sealed ? [] : documents(planned, but: recorded(version))
    try directory.make()
    if !tasks.isEmpty {
      try directory.share(trained: ArtifactStore(catalog).verified(.trainedIndex, planned.digest), planned.digest)
    }
    for (number, task) in tasks.enumerated() {
      try cancellation.check()
      try directory.write(task: task.text, number, task.digest)
    }
    let plan = TaskPlan(
      .build, lake: lake, subject: "\(version.name)", spec: version.specDigest, tool: "tarn \(Tool.version)",
      tasks: tasks.map(\.digest), results: directory.resultsPlace)
    let largest = tasks.flatMap(\.inputs).lazy.filter { !$0.isHole }.map(\.rowCount).max() ?? 0
    scripts.memoryByteCount = BuildCost.memoryByteCount(with: planned.record, shardRowCount: largest)
    try scripts.write(Array(tasks.indices), of: plan, in: directory)
    try directory.create(plan)
    return PlannedTasks(version: version, plan: plan, directory: directory, scripts: scripts, isNew: true)
  }

  /// Says a task anew that has no receipt and that a worker gave up, where the lake has
  /// other addresses or bytes for it by now.
  private func renew(_ plan: inout TaskPlan, _ planned: BuildRun.Subject, in directory: TaskDirectory) throws {
    let failed = try directory.failedTasks().filter(plan.tasks.indices.contains)
    guard !failed.isEmpty else { return }
    let open = try Set(directory.openTasks(of: plan, among: failed).map(\.task))
    let now = Dictionary(try documents(planned, but: recorded(planned.version)).map { ($0.output, $0) }) { first, _ in
      first
    }
    var renewed: [Int] = []
    for number in open.sorted() {
      guard case .output(let task) = try directory.task(number, of: plan), let new = now[task.output],
        new.digest != task.digest
      else { continue }
      try directory.write(task: new.text, number, new.digest)
      plan.tasks[number] = new.digest
      renewed.append(number)
    }
    guard !renewed.isEmpty else { return }
    try directory.write(plan)
    // It was said of another task.
    for number in renewed { try directory.forgetFailure(of: number) }
  }

  /// Lays documents of tasks anew that are missing or damaged.
  ///
  /// What the lake says of an output as it did then is the same document, which what was made fits. Of another it says
  /// what it knows by now, and what was made of the old one is made again.
  ///
  /// - Returns: Whether one was.
  private func layAnew(
    _ plan: inout TaskPlan, _ planned: BuildRun.Subject, in directory: TaskDirectory
  ) throws -> Bool {
    var lost: [Int] = []
    var whole: Set<Int> = []
    for number in plan.tasks.indices {
      try cancellation.check()
      switch try directory.taskIfWhole(number, of: plan) {
      case .output(let task)?: whole.insert(task.output)
      case .assign?, nil: lost.append(number)
      }
    }
    guard !lost.isEmpty else { return false }
    let tasks = try documents(planned, but: whole)
    let same = Dictionary(tasks.map { ($0.digest, $0) }) { first, _ in first }
    for number in lost {
      if let task = same[plan.tasks[number]] { try directory.write(task: task.text, number, task.digest) }
    }
    let left = lost.filter { same[plan.tasks[$0]] == nil }
    if !left.isEmpty {
      let laid = Set(lost.map { plan.tasks[$0] })
      let others = tasks.filter { !laid.contains($0.digest) }
      let done = try recorded(planned.version)
      // Every output that is not recorded has a task; of those that are, some had none.
      let open = others.filter { !done.contains($0.output) } + others.filter { done.contains($0.output) }
      let chosen = open.prefix(left.count).sorted { $0.output < $1.output }
      guard chosen.count == left.count else {
        throw TarnError(
          .conflict, "\(directory.path) has more tasks than \(planned.version.name) has outputs",
          hint: "plan again into an empty directory")
      }
      for (number, task) in zip(left, chosen) {
        try directory.write(task: task.text, number, task.digest)
        plan.tasks[number] = task.digest
      }
      try directory.write(plan)
    }
    // What workers said of it is over.
    for number in lost { try directory.forgetFailure(of: number) }
    return true
  }

  private func recorded(_ version: IndexVersion) throws -> Set<Int> {
    Set(try catalog.outputs(of: version).map(\.ordinal))
  }

  /// A task for every output but some.
  private func documents(_ planned: BuildRun.Subject, but done: Set<Int>) throws -> [TaskDocument] {
    let version = planned.version
    let shards = try catalog.shardsByID(of: planned.source)
    let inputs = try catalog.inputs(of: version)
    let normalisation = try planned.record.specification().normalisation
    let open = Dictionary(grouping: inputs.filter { !done.contains($0.outputOrdinal) }, by: \.outputOrdinal)
    return try open.sorted { $0.key < $1.key }.map { output, inputs in
      TaskDocument(
        version: "\(version.name)", spec: version.specDigest, output: output, trained: planned.digest,
        dimension: planned.source.dimension, elementType: planned.source.elementType, array: planned.source.array,
        badRows: version.badRowsPolicy, missing: version.missingPolicy, normalisation: normalisation,
        segmentFormat: segmentFormatVersion,
        inputs: try inputs.map { try input($0, shards[$0.shardID]) })
    }
  }

  private func input(_ input: VersionInput, _ shard: Shard?) throws -> TaskDocument.Input {
    guard let shard else { preconditionFailure("an input of a version is a shard of its source") }
    guard !input.isHole else {
      return TaskDocument.Input(
        ordinal: input.ordinal, shard: input.shardName, firstID: input.firstID, rowCount: input.rowCount, isHole: true,
        byteCount: nil, digest: nil, path: nil, places: [])
    }
    let digest = input.revision?.digest ?? shard.expectedDigest
    let (path, places) = try places(of: shard, digest: digest)
    return TaskDocument.Input(
      ordinal: input.ordinal, shard: input.shardName, firstID: input.firstID, rowCount: input.rowCount, isHole: false,
      byteCount: input.revision?.byteCount ?? shard.expectedByteCount, digest: digest, path: path, places: places,
      excluded: input.excludedRows)
  }

  /// Where a worker has a shard's bytes from: the lake, and who serves them.
  ///
  /// - Throws: ``TarnError`` `.inputsMissing` where that is nowhere.
  private func places(
    of shard: Shard, digest: ContentDigest?
  ) throws -> (path: String?, places: [TaskDocument.Place]) {
    let path = try digest.flatMap { try catalog.shardPath(holding: $0) }.map { catalog.layout.path($0, in: .shards) }
    let places = try catalog.locations(of: shard.id).map {
      TaskDocument.Place(url: $0.url, isOfDocument: $0.isOfDocument)
    }
    guard path != nil || !places.isEmpty else {
      throw TarnError(
        .inputsMissing, "\(shard.name) is not in the lake and its source has no mirror, so that no worker can have it",
        hint: "`tarn source mirror add \(shard.sourceName)` gives it one")
    }
    return (path, places)
  }
}

extension TaskDirectory {
  /// Lays what the tasks of a build rely on anew, where it is missing or damaged.
  ///
  /// - Parameters:
  ///   - open: Tasks that are to be done.
  ///   - plan: Their plan.
  ///   - catalog: The lake that planned; reading is enough.
  /// - Returns: Whether something was.
  /// - Throws: ``TarnError`` where the lake does not have it either.
  package func layAnew(_ open: [Int], of plan: TaskPlan, from catalog: LakeCatalog) throws -> Bool {
    guard let first = open.first, case .output(let task) = try self.task(first, of: plan) else { return false }
    return try share(
      trained: ArtifactStore(catalog).verified(.trainedIndex, task.trained), task.trained, isDoubted: true)
  }
}
