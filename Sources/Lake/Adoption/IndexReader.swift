// The helper that reads foreign indexes, started and watched: libfaiss believes what a file says,
// so it runs in a process whose memory, CPU time and output are bounded by those who start it,
// and whose every end but an answer is one error.

internal import Base
internal import Foundation
internal import Indexer

/// Asks `tarn-adopt` about index files.
struct IndexReader {
  /// The helper's file.
  let helper: String
  /// A directory for answers, on a file system with room for a trained index.
  let scratch: String
  /// How long one file may take.
  let patience: Duration
  let cancellation: Cancellation

  /// Finds the helper beside this tool's file.
  ///
  /// - Parameters:
  ///   - scratch: A directory for answers.
  ///   - patience: How long one file may take.
  ///   - cancellation: Ends the helper too.
  /// - Throws: ``TarnError`` `.io` when the helper is not there, with where it was looked for.
  init(scratch: String, patience: Duration, cancellation: Cancellation) throws {
    helper = try Tool.executablePath().parentPath + "/tarn-adopt"
    guard FileManager.default.isExecutableFile(atPath: helper) else {
      throw TarnError(
        .io, "tarn-adopt, which reads FAISS's files, is not at \(helper)",
        hint: "it is built with tarn and goes where tarn's file goes: `swift build -c release --product tarn-adopt`")
    }
    self.scratch = scratch
    self.patience = patience
    self.cancellation = cancellation
  }

  /// Reads what tarn needs of an index.
  ///
  /// - Parameter path: The index's file, absolute.
  /// - Returns: The index; its lists stay in the file.
  /// - Throws: ``TarnError`` `.usage` for one that tarn cannot hold, `.integrity`, `.engine`.
  func read(_ path: String) throws -> ForeignIndex {
    let file = try InputFile(path: path)
    try ForeignHead.check(file)
    try Disk.makeDirectory(scratch)
    let answer = scratch + "/answer"
    defer { try? FileManager.default.removeItem(atPath: scratch) }
    try Disk.remove(answer)
    try run(path, answer: answer, byteCount: file.byteCount)
    return try ForeignIndex(answer: answer, about: file)
  }

  /// The helper in its bounds: they are set by a shell that becomes it, so that none of its
  /// own steps comes before them.
  private func run(_ path: String, answer: String, byteCount: Int) throws {
    // A true file is mapped once, and its centroids are read; the rest is the program and its libraries.
    let memory = (1 << 30) + 2 * byteCount
    // Centroids are in the file; a list's place is less than a centroid.
    let output = 2 * byteCount + (1 << 20)
    let seconds = max(1, Int(patience.seconds.rounded(.up)))
    let child = ChildRun(
      [
        "/bin/sh", "-c",
        "ulimit -c 0; ulimit -v \"$1\" && ulimit -f \"$2\" && ulimit -t \"$3\" && shift 3 && exec \"$@\"", "sh",
        "\(memory / 1024)", "\(output / 512)", "\(seconds)", helper, path, answer,
      ], environment: ["OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"],
      heard: [.errors], time: patience)
    var complaint: [UInt8] = []
    // Who is asked to stop has the helper end first.
    cancellation.listen()
    let ended = try child.run(refusal: .io, isStopped: { cancellation.isCancelled }) { _, piece in
      complaint += piece.prefix((1 << 16) - complaint.count)
      return true
    }
    switch ended.cause {
    case .overdue:
      throw TarnError(
        .engine,
        "tarn-adopt gave no answer about \(path) in \(TimeSpan.text(seconds: patience.seconds)) and was ended",
        hint: "the file is likely damaged; for a very slow disk there is --patience")
    case .stopped: throw TarnError.interrupted
    case .enough, nil: break
    }
    if let signal = ended.signal {
      let why =
        switch signal {
        case SIGXCPU: "it needed more than \(seconds) s of CPU time"
        case SIGXFSZ: "it wrote more than any answer is"
        default: "signal \(signal)"
        }
      throw TarnError(
        .engine, "tarn-adopt died on \(path): \(why)", hint: "the file is likely damaged; get it again, whole")
    }
    guard ended.end == 0 else {
      throw ForeignIndex.failure(
        status: Int(ended.end), complaint: String(decoding: complaint, as: UTF8.self), of: path)
    }
  }
}
