// The worker of an assignment: matrices beside the tasks are read where they lie, or from
// copies of this machine; the rows found are written under the name of their digest. It
// keeps nothing in scratch but those: what is lost with it is one range.

internal import Base
internal import Features
internal import Indexer

extension TaskWorker {
  /// Finds the rows of a range of vectors.
  ///
  /// - Parameters:
  ///   - task: The task.
  ///   - scratch: This worker's.
  /// - Returns: Its receipt; the result is durable.
  /// - Throws: ``TarnError`` `.integrity` where a matrix is not what the task says, `.diskFull` where the result does
  ///   not fit.
  func find(_ task: AssignTask, in scratch: WorkerScratch) throws -> TaskReceipt {
    let startedAt = Timestamp.now()
    try take(TaskRoom(task), in: scratch)
    let way = "`tarn ingest \(directory.path)` where its lake is, or the `tarn train` that began it, lays it anew"
    let found = try laidAnew(by: way) {
      try directory.readingMatrix(task.rows.digest) { rows in
        try directory.readingMatrix(task.vectors.digest) { vectors in try search(task, vectors, among: rows) }
      }
    }
    let working = try directory.workingPath(number, by: name, in: scratch.path)
    let digest = try found.write(task.digest, to: working)
    guard let byteCount = Disk.size(of: working) else {
      throw TarnError(.io, "\(working) is gone", hint: "run the worker again")
    }
    try directory.put(result: working, of: number, digest, .train, by: scratch.path)
    return TaskReceipt(
      task: task.digest, tool: options.tool, host: HostName.current, startedAt: startedAt, endedAt: Timestamp.now(),
      segmentFormat: segmentFormatVersion, inputs: [],
      result: TaskReceipt.Result(digest: digest, byteCount: byteCount, rowCount: task.count, listsDigest: nil))
  }

  /// Searches, holding both files against what the task says of them.
  private func search(_ task: AssignTask, _ vectorsPath: String, among rowsPath: String) throws -> RowsFound {
    let vectors = try matrix(vectorsPath, task.vectors, task)
    // Rows are opened to be hashed, and to be mapped.
    let (bytes, rows) = try Disk.openTwice(rowsPath) {
      try InputFile(path: rowsPath)
    } _: {
      try matrix(rowsPath, task.rows, task)
    }
    let range = task.first..<(task.first + task.count)
    // Rows are read from end to end anyway: they are hashed meanwhile.
    let hash = ThreadedWork("tarn-hash") { try bytes.digest() }
    try hash.requireNoFailure()
    guard vectors.digest(ofRows: range) == task.vectorsDigest else {
      throw TarnError(.integrity, "\(vectorsPath) has other bytes than the task says")
    }
    let found = try RowsFound.find(task.k, ofVectors: vectors, in: range, among: rows, logger: logger) { share in
      try cancellation.check()
      report(.encoding(shard: task.step, rowsDone: Int(share * Double(task.count)), rows: task.count))
    }
    guard try hash.wait() == task.rows.digest else {
      throw TarnError(.integrity, "\(rowsPath) has other bytes than its name says")
    }
    return found
  }

  private func matrix(_ path: String, _ matrix: TaskMatrix, _ task: AssignTask) throws -> FeatureMatrix {
    let file = try FeatureFile(path, dimension: task.dimension, elementType: matrix.elementType)
    guard file.rowCount == matrix.rowCount else {
      throw TarnError(.integrity, "\(file.path) has \(file.rowCount) rows, the task says \(matrix.rowCount)")
    }
    return file.matrix
  }
}
