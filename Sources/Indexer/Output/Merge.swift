// Segments to an output shard: a streaming merge, list by list, written front
// to back. Memory is the trained index, a BufferPlan (32 MiB) and 4 bytes a list
// of each segment, whatever the size of the output.
//
// FAISS's own merge compares neither codec ranges nor by_residual nor ids
// (check_compatible_for_merge). Guards here:
//   1. Every segment was made against this trained index (its SHA-256), so
//      ranges, centroids, metric and by_residual are one.
//   2. Codec, dimension and nlist of every segment are the trained index's.
//   3. Id ranges [first, first + rows of the shard) ascend and are disjoint.
//   4. Every list is read against its digest; rows written = rows stored.

package import Base

/// A segment and where its rows stand in a version.
package struct MergeInput: Sendable {
  package let segment: SegmentFile
  /// The row id of the shard's row 0.
  package let firstRowID: Int64
  /// Rows of the shard that an output was made without; a merge takes all.
  let excluded: Set<UInt32>

  package init(segment: SegmentFile, firstRowID: Int64, excluded: [Int] = []) {
    self.segment = segment
    self.firstRowID = firstRowID
    // No segment has a row of another number, whatever a document says.
    self.excluded = Set(excluded.compactMap { UInt32(exactly: $0) })
  }

  /// The ids of the shard's rows, holes included.
  package var ids: Range<Int64> { firstRowID..<(firstRowID + Int64(segment.rowCount)) }
}

/// Writes output shards.
package enum OutputShardMerge {
  /// Merges segments into one output shard, durably.
  ///
  /// - Parameters:
  ///   - inputs: Segments in ascending order of their ids; none gives an empty
  ///     output shard.
  ///   - trained: The trained index.
  ///   - trainedDigest: The SHA-256 of the trained index's file.
  ///   - path: The final name; what is there is replaced.
  ///   - temporaryPath: A name on the same file system for the time before.
  ///   - expectedRowCount: How many rows the result must hold; nil for what
  ///     the segments hold.
  ///   - buffers: How much memory to take; the bytes do not depend on it.
  ///   - checkpoint: Called once a list; what it throws ends the merge and
  ///     leaves nothing.
  /// - Returns: Digest, sizes and list digests of what was written; read it
  ///   back with ``OutputShardFile/verify(_:trained:summary:idsIn:)``.
  /// - Throws: ``TarnError`` `.integrity` when a guard fails or a segment is
  ///   damaged; ``TarnError`` when the disk refuses.
  package static func write(
    _ inputs: [MergeInput], trained: TrainedIndex, trainedDigest: ContentDigest, to path: String,
    temporaryPath: String, expectedRowCount: Int? = nil, buffers: BufferPlan = BufferPlan(),
    checkpoint: () throws -> Void = {}
  ) throws -> OutputShardSummary {
    try guardInputs(inputs, trained: trained, trainedDigest: trainedDigest)
    var sizes = [UInt64](repeating: 0, count: trained.nlist)
    for input in inputs {
      for list in 0..<trained.nlist { sizes[list] += UInt64(input.segment.size(ofList: list)) }
    }
    let rowCount = Int(sizes.reduce(0, +))
    if let expectedRowCount, expectedRowCount != rowCount {
      throw TarnError(.integrity, "the segments hold \(rowCount) rows, the catalog counts \(expectedRowCount)")
    }

    let writer = try FileWriter(creating: temporaryPath, buffers: buffers)
    try FaissFile.writeHeader(trained, listSizes: sizes, to: writer)
    try writer.beginLists(.contiguous(listSizes: sizes, entryByteCount: trained.quantizer.codeByteCount + 8))
    var ids: [Int64] = []
    try unsafe SegmentReader(inputs.map(\.segment), byteCount: buffers.batchByteCount).read(
      begin: { _ in try checkpoint() },
      codes: { try unsafe writer.append($0) },
      rows: { input, rows in
        for start in stride(from: 0, to: rows.count, by: idsAtATime) {
          ids.removeAll(keepingCapacity: true)
          for i in start..<min(start + idsAtATime, rows.count) {
            ids.append((inputs[input].firstRowID + Int64(unsafe rows[i])).littleEndian)
          }
          try writer.append(ids)
        }
      })
    let digests = try writer.finishLists()
    let (digest, byteCount) = try writer.finish(as: path)
    return OutputShardSummary(digest: digest, byteCount: byteCount, rowCount: rowCount, listDigests: digests)
  }

  private static let idsAtATime = 512

  private static func guardInputs(
    _ inputs: [MergeInput], trained: TrainedIndex, trainedDigest: ContentDigest
  ) throws {
    var end: Int64 = 0
    for input in inputs {
      let (segment, found) = (input.segment, input.segment.description)
      func mismatch(_ what: String) -> TarnError {
        TarnError(
          .integrity, "\(segment.path) does not belong into this output shard: \(what)",
          hint: SegmentFile.remedy)
      }
      guard found.trainedIndex == trainedDigest else {
        throw mismatch(
          "made against trained index \(found.trainedIndex.prefix(12)), not \(trainedDigest.prefix(12))")
      }
      guard found.codec == trained.quantizer.codec, found.dimension == trained.dimension, found.nlist == trained.nlist
      else {
        throw mismatch(
          "\(found.codec.rawValue), \(found.dimension) dimensions, nlist \(found.nlist); the trained index has "
            + "\(trained.quantizer.codec.rawValue), \(trained.dimension), \(trained.nlist)")
      }
      guard input.firstRowID >= end, input.firstRowID <= Int64.max - Int64(segment.rowCount) else {
        throw mismatch("its ids start at \(input.firstRowID), those before it end at \(end)")
      }
      end = input.ids.upperBound
    }
  }
}
