// The worker of an assignment: matrices beside the tasks are read where they lie, the
// rows found are written under the name of their digest. It takes no scratch: what is
// lost with it is one range.

internal import Base
internal import Features
internal import Indexer

extension TaskWorker {
  /// Finds the rows of a range of vectors.
  ///
  /// - Parameter task: The task.
  /// - Returns: Its receipt; the result is durable.
  /// - Throws: ``TarnError`` `.integrity` where a matrix is not what the task says.
  func find(_ task: AssignTask) throws -> TaskReceipt {
    let startedAt = Timestamp.now()
    let vectors = try matrix(task.vectors, task)
    let rows = try matrix(task.rows, task)
    let range = task.first..<(task.first + task.count)
    // Rows are read from end to end anyway: they are hashed meanwhile.
    let path = directory.matrixPath(task.rows.digest)
    let hash = ThreadedWork("tarn-hash") { try Disk.digest(of: path) }
    try hash.requireNoFailure()
    guard vectors.digest(ofRows: range) == task.vectorsDigest else {
      throw TarnError(
        .integrity, "\(directory.matrixPath(task.vectors.digest)) has other bytes than the task says",
        hint: "remove it, and run the coordinator again")
    }
    let found = try RowsFound.find(task.k, ofVectors: vectors, in: range, among: rows, logger: logger) { share in
      try cancellation.check()
      report(.encoding(shard: task.step, rowsDone: Int(share * Double(task.count)), rows: task.count))
    }
    guard try hash.wait() == task.rows.digest else {
      throw TarnError(
        .integrity, "\(path) has other bytes than its name says", hint: "remove it, and run the coordinator again")
    }
    try Disk.makeDirectory(directory.results)
    let working = directory.workingPath(number, by: name)
    let digest = try found.write(task.digest, to: working)
    guard let byteCount = Disk.size(of: working) else {
      throw TarnError(.io, "\(working) is gone", hint: "run the worker again")
    }
    try Disk.moveIntoPlace(working, directory.resultPath(number, digest, of: .train))
    return TaskReceipt(
      task: task.digest, tool: options.tool, host: HostName.current, startedAt: startedAt, endedAt: Timestamp.now(),
      segmentFormat: segmentFormatVersion, inputs: [],
      result: TaskReceipt.Result(digest: digest, byteCount: byteCount, rowCount: task.count, listsDigest: nil))
  }

  private func matrix(_ matrix: TaskMatrix, _ task: AssignTask) throws -> FeatureMatrix {
    let file = try FeatureFile(
      directory.matrixPath(matrix.digest), dimension: task.dimension, elementType: matrix.elementType)
    guard file.rowCount == matrix.rowCount else {
      throw TarnError(.integrity, "\(file.path) has \(file.rowCount) rows, the task says \(matrix.rowCount)")
    }
    return file.matrix
  }
}
