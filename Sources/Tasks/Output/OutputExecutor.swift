// How an output task is carried out: encode what has no segment, merge, read
// back. A local build, a rebuild and a repair are this executor with other
// providers; what it writes depends on the task and the terms alone
// (invariant 3).

package import Base
package import Indexer
package import Logging
internal import Synchronization

/// How far an output is.
package enum OutputProgress: Sendable {
  /// Rows of one input encoded so far.
  case encoding(OutputTask.Input, rowsDone: Int)
  case merging
}

/// Where the time of outputs went.
package struct OutputTimes: Sendable {
  package var waiting: Duration = .zero
  package var hashing: Duration = .zero
  package var encoding: Duration = .zero
  package var merging: Duration = .zero

  package init() {}
}

/// Makes output shards of one version.
///
/// Used from one thread; the work inside it is spread over the pool.
package final class OutputExecutor {
  package let terms: EncodingTerms
  private let shards: any ShardProvider
  private let segments: any SegmentKeeper
  private let rowCount: Int
  private let cancellation: Cancellation
  private let logger: Logger
  /// Its encoder is made when the first shard is encoded: to prepare it takes time and
  /// memory that a merge of kept segments does not need.
  private let encoders: EncoderCache
  package private(set) var times = OutputTimes()

  /// Prepares to make outputs.
  ///
  /// - Parameters:
  ///   - terms: What the version's outputs are made with.
  ///   - shards: Where shards come from.
  ///   - segments: Where segments are kept.
  ///   - rowCount: About how many rows will be encoded.
  ///   - encoders: Shared by executors of one process.
  ///   - cancellation: Asked between blocks of rows and lists; what is kept
  ///     then stays.
  ///   - logger: Gets warnings.
  package init(
    _ terms: EncodingTerms, shards: any ShardProvider, segments: any SegmentKeeper, rowCount: Int,
    encoders: EncoderCache = EncoderCache(), cancellation: Cancellation, logger: Logger
  ) {
    self.terms = terms
    self.shards = shards
    self.segments = segments
    self.rowCount = rowCount
    self.encoders = encoders
    self.cancellation = cancellation
    self.logger = logger
  }

  /// Makes the segment of an input, unless it is kept already.
  ///
  /// - Parameters:
  ///   - input: An input with bytes.
  ///   - report: Told the rows done, on the calling thread.
  /// - Throws: ``TarnError`` `.inputsMissing`, `.integrity`, `.badFeatures`,
  ///   `.interrupted`.
  package func encode(_ input: OutputTask.Input, report: (OutputProgress) -> Void = { _ in }) throws {
    guard let digest = input.digest else { preconditionFailure("a hole has nothing to encode") }
    try cancellation.check()
    // A shard may have the bytes of one that was encoded before.
    guard try segments.segment(ofShard: digest) == nil else { return }
    let reading = try shards.shard(of: input).read()
    let encoder = try encoders.encoder(of: terms, rowCount: rowCount, logger: logger)
    let working = try segments.workingPath(ofShard: digest)
    let started = ContinuousClock.now
    let result = try encoder.encode(reading, to: working) { rows in
      try cancellation.check()
      report(.encoding(input, rowsDone: rows))
    }
    times.encoding += ContinuousClock.now - started - result.hashing
    times.hashing += result.hashing
    _ = try segments.keep(result, ofShard: digest, at: working)
  }

  /// Merges an output whose segments are all kept, and reads it back.
  ///
  /// - Parameters:
  ///   - task: The output.
  ///   - path: Where its file goes.
  ///   - report: Told that it begins.
  /// - Returns: What was written.
  /// - Throws: ``TarnError`` `.integrity` when a segment is gone or damaged.
  package func merge(
    _ task: OutputTask, to path: String, report: (OutputProgress) -> Void = { _ in }
  ) throws -> OutputShardSummary {
    report(.merging)
    let inputs = try inputs(of: task)
    let started = ContinuousClock.now
    defer { times.merging += ContinuousClock.now - started }
    let ids = task.bound.flatMap(\.ids)
    let excludes = task.bound.contains { !$0.excluded.isEmpty }
    let whole = excludes ? path + ".whole" : path
    var summary = try OutputShardMerge.write(
      inputs, trained: terms.trained, trainedDigest: terms.trainedDigest, to: whole, temporaryPath: whole + ".tmp",
      checkpoint: { try cancellation.check() })
    if excludes {
      // What an output without some rows is is said once: this is how an old output becomes a new one, too.
      defer { try? Disk.remove(whole) }
      summary = try OutputShardFile(path: whole).write(idsIn: ids, to: path) { try cancellation.check() }
    }
    try OutputShardFile.verify(path, trained: terms.trained, summary: summary, idsIn: ids)
    return summary
  }
}

extension OutputExecutor {
  /// Writes the codes that refine an output whose segments are all kept, and reads them back.
  ///
  /// - Parameters:
  ///   - task: The output.
  ///   - path: Where the file goes.
  /// - Returns: What was written; nil where the trained index does not refine.
  /// - Throws: ``TarnError`` `.integrity` when a segment is gone or damaged.
  package func refine(_ task: OutputTask, to path: String) throws -> RefineSummary? {
    guard terms.trained.refine != nil else { return nil }
    let started = ContinuousClock.now
    defer { times.merging += ContinuousClock.now - started }
    let summary = try RefineFile.write(
      inputs(of: task), trained: terms.trained, ids: task.ids, keeping: task.bound.flatMap(\.ids), to: path,
      checkpoint: { try cancellation.check() })
    try RefineFile.verify(path, summary)
    return summary
  }

  /// The kept segments of a task.
  private func inputs(of task: OutputTask) throws -> [MergeInput] {
    try task.bound.map { input in
      guard let digest = input.digest, let file = try segments.segment(ofShard: digest) else {
        throw TarnError(
          .integrity, "the segment of \(input.name) is gone since this run began",
          hint: "run the same command again to make it anew")
      }
      let segment = try SegmentFile(path: file)
      guard segment.description.shard == digest, segment.description.arrayMark == terms.array.map(ContentDigest.of)
      else {
        throw TarnError(
          .integrity, "\(file) is recorded as the segment of \(input.name) and holds another shard's rows",
          hint: "restore a backup of the catalog")
      }
      return MergeInput(segment: segment, firstRowID: input.firstID)
    }
  }
}

/// Segments in a directory of their own, for outputs that are made once: gone
/// with the directory.
package final class ScratchSegments: SegmentKeeper {
  private let directory: String
  private let resumes: Bool
  private let files = Mutex<[ContentDigest: String]>([:])

  /// Keeps segments in a directory, which must exist.
  ///
  /// - Parameters:
  ///   - directory: For one trained index and one policy for bad rows.
  ///   - resumes: Whether those count that an interrupted run left there whole.
  package init(directory: String, resumes: Bool = false) {
    self.directory = directory
    self.resumes = resumes
  }

  package func segment(ofShard digest: ContentDigest) -> String? {
    if let file = files.withLock({ $0[digest] }) { return file }
    let path = workingPath(ofShard: digest)
    guard resumes, let note = Disk.text(of: path + ".sha256"), Disk.size(of: path) != nil,
      let found = try? Disk.digest(of: path), note == Self.note(found)
    else { return nil }
    files.withLock { $0[digest] = path }
    return path
  }

  package func workingPath(ofShard digest: ContentDigest) -> String { "\(directory)/\(digest.hex).segment" }

  package func keep(
    _ segment: ShardEncoder.Result, ofShard digest: ContentDigest, at workingPath: String
  ) throws -> String {
    if resumes {
      try Disk.writeAtomically(Array(Self.note(segment.segment.digest).utf8), to: workingPath + ".sha256")
    }
    files.withLock { $0[digest] = workingPath }
    return workingPath
  }

  /// What vouches for a segment: its digest, of this format.
  private static func note(_ digest: ContentDigest) -> String { "\(segmentFormatVersion) \(digest.hex)" }

  /// Removes segments.
  ///
  /// - Parameter digests: Those of the shards.
  /// - Throws: ``TarnError`` when the disk refuses.
  package func remove(ofShards digests: [ContentDigest]) throws {
    for path in files.withLock({ files in digests.compactMap { files.removeValue(forKey: $0) } }) {
      try Disk.remove(path)
      if resumes { try Disk.remove(path + ".sha256") }
    }
  }
}
