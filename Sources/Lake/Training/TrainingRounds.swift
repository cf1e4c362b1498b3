// A training whose searches others make: round by round. A training that needs rows
// found asks here; what is found already is given, what is not is written as tasks, and
// the training stops. Run again when the receipts are there it comes to the same place
// and goes on: every step of it is resumed, and what a round is asked follows from the
// digests of what goes in.

internal import Base
package import Catalog
internal import Features
internal import Foundation
internal import Indexer
internal import Synchronization
package import Tasks

/// What stops a training until others have found rows.
package struct RoundNeeded: Error, Sendable {
  /// What is being looked for.
  package let step: String
  /// Tasks that have no receipt that holds.
  package let tasks: [Int]
  /// Receipts that were not believed.
  package let refused: [IngestSummary.Refusal]
}

/// Asks other processes for the rows that a training needs.
package final class TrainingRounds: Sendable {
  private let directory: TaskDirectory
  private let catalog: LakeCatalog
  private let lake: String
  private let scripts: TaskScripts
  /// Where matrices are made, and rows found are fetched to.
  private let matrices: String
  /// Those that this command has read, and found to be what their names say.
  private let whole = Mutex<Set<ContentDigest>>([])

  /// The fewest vectors of a task.
  private static let leastVectorCount = 256
  /// Vectors of each task whose scores are computed again.
  private static let checkedCount = 64

  /// Prepares to ask.
  ///
  /// - Parameters:
  ///   - directory: Where the tasks go.
  ///   - catalog: The lake.
  ///   - scripts: What is written beside them, and how many tasks a search is cut into.
  /// - Throws: ``TarnError`` where the lake does not say its uuid.
  package init(_ directory: TaskDirectory, of catalog: LakeCatalog, _ scripts: TaskScripts) throws {
    self.directory = directory
    self.catalog = catalog
    self.scripts = scripts
    lake = try catalog.uuid()
    matrices = directory.matrices(in: catalog.layout.scratch)
  }

  /// Keeps in the history where rows that a training drew will lie, before any do.
  func note(_ training: TrainedIndexRecord) throws {
    try catalog.noteTasks(
      at: directory.path, results: directory.resultsPlace, of: training.name, training.specDigest,
      from: [training.imageSourceID, training.captionSourceID].compactMap(\.self))
  }

  private func path(_ digest: ContentDigest) -> String { "\(matrices)/\(digest.hex).npy" }

  /// Whether a matrix is there that is what its name says; it is read once by each command.
  private func isWhole(_ digest: ContentDigest) -> Bool {
    let path = path(digest)
    guard Disk.size(of: path) != nil else { return false }
    if whole.withLock({ $0.contains(digest) }) { return true }
    guard (try? Disk.digest(of: path)) == digest else { return false }
    whole.withLock { _ = $0.insert(digest) }
    return true
  }

  /// Has workers find a matrix that was made.
  private func shared(_ path: String, _ digest: ContentDigest) throws -> Shared {
    try directory.share(matrix: path, digest)
    return try Shared(path, digest)
  }

  /// A matrix as tasks name it, put where workers find it.
  struct Shared {
    let file: TaskMatrix
    let matrix: FeatureMatrix
  }

  /// Shares a file of rows.
  ///
  /// - Parameters:
  ///   - path: An `.npy` file.
  ///   - digest: Its SHA-256.
  /// - Returns: It, as tasks name it.
  /// - Throws: ``TarnError`` when the disk refuses.
  func share(_ path: String, digest: ContentDigest) throws -> Shared {
    guard directory.isDirectory else { return try shared(path, digest) }
    try Disk.makeDirectory(matrices)
    let target = self.path(digest)
    // The gathered rows were read when this command began; another name of them is these bytes.
    let isSame = Disk.size(of: target) != nil && Disk.identity(of: target) == Disk.identity(of: path)
    if !isSame, !isWhole(digest) {
      try Disk.linkOrCopy(path, to: target)
      whole.withLock { _ = $0.insert(digest) }
    }
    return try shared(target, digest)
  }

  /// Shares centroids.
  func share(_ centroids: [Float], dimension: Int) throws -> Shared {
    try Disk.makeDirectory(matrices)
    var file = try DurableFile(creating: "\(matrices)/centroids.tmp")
    let header = NpyHeader.bytes(descr: "<f4", rowCount: centroids.count / dimension, columns: dimension)
    unsafe try file.write(header.span.bytes)
    unsafe try file.write(centroids.span.bytes)
    let digest = try file.finish { path($0) }
    return try shared(path(digest), digest)
  }

  /// Shares some rows of a matrix, packed.
  ///
  /// - Parameters:
  ///   - rows: Which, in the order in which they are found for.
  ///   - path: The `.npy` file that has them.
  ///   - digest: Its SHA-256.
  /// - Returns: They, as tasks name them.
  /// - Throws: ``TarnError`` when the disk refuses.
  func share(_ rows: [UInt32], of path: String, digest: ContentDigest) throws -> Shared {
    let whole = try FeatureFile(path)
    guard rows.count != whole.rowCount else { return try share(path, digest: digest) }
    try Disk.makeDirectory(matrices)
    // Found again by what it is made of: to pack it reads the whole.
    var key = Sha256()
    unsafe key.update(Array("packed-1 \(digest.hex)\n".utf8).span.bytes)
    unsafe key.update(rows.span.bytes)
    let note = "\(matrices)/\(key.finalize().hex).packed"
    if let known = Disk.text(of: note).flatMap({ ContentDigest(hex: $0) }), isWhole(known),
      let matrix = try? Shared(self.path(known), known).matrix, matrix.rowCount == rows.count
    {
      return try shared(self.path(known), known)
    }
    var writer = try TrainingMatrixWriter(
      creating: "\(matrices)/packed.tmp", elementType: whole.elementType, rowCount: rows.count,
      dimension: whole.dimension)
    try writer.append(rows, of: whole)
    let working = "\(matrices)/packed.npy"
    let packed = try writer.finish(as: working)
    try Disk.moveIntoPlace(working, self.path(packed))
    try Disk.writeAtomically(Array(packed.hex.utf8), to: note)
    return try shared(self.path(packed), packed)
  }

  /// The best rows of every vector.
  ///
  /// - Parameters:
  ///   - step: What is looked for, for people.
  ///   - training: The trained index.
  ///   - vectors: What rows are found for.
  ///   - rows: The rows.
  ///   - k: How many for each.
  ///   - cancellation: Asked between tasks.
  /// - Returns: What one search over all vectors finds.
  /// - Throws: ``RoundNeeded`` where others have to find it first; ``TarnError``.
  func find(
    _ step: String, of training: TrainedIndexRecord, vectors: Shared, among rows: Shared, k: Int,
    _ cancellation: Cancellation
  ) throws -> RowsFound {
    var plan = try plan(of: training)
    let known = Dictionary(uniqueKeysWithValues: plan.tasks.enumerated().map { ($1, $0) })
    let tasks = try cut(step, training, vectors, rows, k, cancellation)
    let added = tasks.filter { known[$0.digest] == nil }
    if !added.isEmpty {
      try directory.make()
      for (place, task) in added.enumerated() {
        try directory.write(task: task.text, plan.tasks.count + place, task.digest)
      }
      let isFirst = plan.tasks.isEmpty
      plan.tasks += added.map(\.digest)
      if isFirst { try directory.create(plan) } else { try directory.write(plan) }
    }
    let numbers = Dictionary(uniqueKeysWithValues: plan.tasks.enumerated().map { ($1, $0) })
    let names = try directory.receiptNames()
    var found: [RowsFound] = []
    var open: [Int] = []
    var refused: [IngestSummary.Refusal] = []
    for task in tasks {
      try cancellation.check()
      guard let number = numbers[task.digest] else { preconditionFailure("the plan has the tasks of the round") }
      if let part = try take(number, task, names[number] ?? [], vectors, rows, &refused) {
        found.append(part)
      } else {
        open.append(number)
      }
    }
    guard open.isEmpty else {
      // Anybody may write where they lie, and disks change bytes. In a store those are read that a worker gave up.
      let doubted = directory.isDirectory ? Set(open) : try directory.failedTasks().intersection(open)
      for task in tasks {
        guard let number = numbers[task.digest], doubted.contains(number),
          try directory.taskIfWhole(number, of: plan) == nil
        else { continue }
        try directory.write(task: task.text, number, task.digest)
        try directory.forgetFailure(of: number)
      }
      try scripts.write(open, of: plan, in: directory)
      throw RoundNeeded(step: step, tasks: open, refused: refused)
    }
    let width = min(k, rows.matrix.rowCount)
    return RowsFound(k: width, rows: found.flatMap(\.rows), scores: found.flatMap(\.scores))
  }

  /// The tasks of a search, in order of the vectors.
  private func cut(
    _ step: String, _ training: TrainedIndexRecord, _ vectors: Shared, _ rows: Shared, _ k: Int,
    _ cancellation: Cancellation
  ) throws -> [AssignTask] {
    let count = vectors.matrix.rowCount
    let width = max(Self.leastVectorCount, (count + scripts.partCount - 1) / scripts.partCount)
    return try stride(from: 0, to: count, by: width).map { first in
      try cancellation.check()
      let range = first..<min(first + width, count)
      return AssignTask(
        training: training.name, step: step, vectors: vectors.file, first: first, count: range.count,
        vectorsDigest: vectors.matrix.digest(ofRows: range), rows: rows.file, dimension: rows.matrix.dimension, k: k)
    }
  }

  /// What a task found, if a receipt and its result hold.
  private func take(
    _ number: Int, _ task: AssignTask, _ names: [String], _ vectors: Shared, _ rows: Shared,
    _ refused: inout [IngestSummary.Refusal]
  ) throws -> RowsFound? {
    for name in names {
      do {
        let receipt = try directory.receipt(name)
        if let objection = receipt.objection(to: task) { throw TarnError(.integrity, objection) }
        // Before it is copied: whoever wrote it may fill this disk with nothing.
        let most = RowsFound.byteCount(of: task.count.multipliedSaturated(by: task.k))
        guard receipt.result.byteCount <= most else {
          throw TarnError(
            .integrity,
            "its result has \(receipt.result.byteCount) bytes, what the task asks for comes to \(most) at most")
        }
        let found = try read(receipt.result, of: number) { path in
          try RowsFound(
            reading: path, task: task.digest, count: task.count, k: task.k, rowCount: rows.matrix.rowCount)
        }
        // Which ones a worker cannot know beforehand.
        var random = SplitMix64(seed: UInt64.random(in: .min ... .max))
        let places = (0..<min(Self.checkedCount, task.count)).map { _ in random.next(below: task.count) }
        if let lie = found.firstLie(at: places, ofVectors: vectors.matrix, from: task.first, among: rows.matrix) {
          throw TarnError(.integrity, "its result has a wrong score for vector \(task.first + lie)")
        }
        return found
      } catch let error as TarnError where [.integrity, .schemaNewer].contains(error.code) {
        // A disk or a store that fails for now says nothing of the receipt.
        refused.append(IngestSummary.Refusal(task: number, file: name, reason: error.message))
        // Where the directory does not let it, it is refused again by whoever looks next.
        try? directory.refuse(name)
      }
    }
    return nil
  }

  /// Reads a result that is what its receipt says: where it lies, or a copy of it.
  private func read(
    _ result: TaskReceipt.Result, of number: Int, _ body: (_ path: String) throws -> RowsFound
  ) throws -> RowsFound {
    let place = directory.resultPath(number, result.digest, of: .train)
    guard try directory.byteCount(ofResult: result.digest, number, .train) == result.byteCount else {
      throw TarnError(.integrity, "its result \(place) is not what it says")
    }
    let own = directory.ownPath(ofResult: result.digest, number, .train)
    let path = own ?? "\(matrices)/\(result.digest.hex).rows"
    if own == nil {
      try Disk.makeDirectory(matrices)
      try directory.take(result, of: number, .train, to: path)
    }
    defer { if own == nil { try? Disk.remove(path) } }
    guard try Disk.digest(of: path) == result.digest else {
      throw TarnError(.integrity, "its result \(place) is not what it says")
    }
    return try body(path)
  }

  private func plan(of training: TrainedIndexRecord) throws -> TaskPlan {
    try Self.planThere(in: directory, of: training.name, training.specDigest, lake)
      ?? TaskPlan(
        .train, lake: lake, subject: training.name, spec: training.specDigest, tool: "tarn \(Tool.version)", tasks: [],
        results: directory.resultsPlace)
  }

  /// The plan of a training that a directory has.
  ///
  /// - Parameters:
  ///   - directory: Where the tasks go.
  ///   - name: The trained index's.
  ///   - spec: Digest of its specification; nil where that is not known yet.
  ///   - lake: The lake's uuid.
  /// - Returns: The plan; nil where there is none.
  /// - Throws: ``TarnError`` `.conflict` for another one.
  static func planThere(
    in directory: TaskDirectory, of name: String, _ spec: ContentDigest?, _ lake: String
  ) throws -> TaskPlan? {
    try directory.planThere(.train, of: name, spec, lake: lake, toldAs: "\(name) as it is now")
  }

  /// Removes what the training needs no more: it is done.
  func clean() {
    try? FileManager.default.removeItem(atPath: matrices)
    if !directory.isDirectory { try? directory.removeMatrices() }
    try? directory.removeRowsFound()
  }

  /// Removes likewise what a run left that was ended when the training was done; nothing of a directory that has the plan
  /// of something else.
  func clean(after trained: TrainedIndexRecord) {
    guard (try? Self.planThere(in: directory, of: trained.name, trained.specDigest, lake)) != nil else { return }
    clean()
  }
}

extension TrainingRounds.Shared {
  fileprivate init(_ path: String, _ digest: ContentDigest) throws {
    let matrix = try FeatureFile(path).matrix
    self.init(
      file: TaskMatrix(digest: digest, rowCount: matrix.rowCount, elementType: matrix.elementType), matrix: matrix)
  }
}
