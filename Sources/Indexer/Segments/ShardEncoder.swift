// One shard against one trained index: assign, order by list, encode. The
// bytes depend on the shard, the trained index and the bad-rows policy alone
// (invariant 3).

package import Base
internal import Features
package import Logging
internal import Synchronization

/// Encodes shards into segments.
///
/// A shard is hashed on a thread of its own while it is encoded; no segment has
/// its name before the digest has been found right.
package struct ShardEncoder: Sendable {
  package let trained: TrainedIndex
  package let trainedDigest: ContentDigest
  private let badRows: BadRowsPolicy
  private let normalisation: Normalisation
  private let engine: AssignmentEngine
  private let pool: WorkerPool

  /// Rows that are assigned between two reports: a multiple of the
  /// engine's tile, so that no thread waits for another's last few rows.
  private static let blockRowCount = 30_720
  /// Rows that a thread checks or encodes at a time.
  private static let stripRowCount = 256

  /// What a segment holds, and what it cost to wait for the digest.
  package struct Result: Sendable {
    package let segment: SegmentSummary
    package let badRowCount: Int
    /// Time after the last code in which the shard was still being hashed.
    package let hashing: Duration
  }

  /// Prepares what files the rows: the assigner, or else the centroids.
  ///
  /// - Parameters:
  ///   - trained: The trained index.
  ///   - digest: The SHA-256 of its file.
  ///   - badRows: What to do about rows that are NaN, infinite or zero.
  ///   - normalisation: What training did about lengths; a build does the same.
  ///   - rowCount: About how many rows will be encoded.
  ///   - pool: The threads; nil for the process's.
  ///   - logger: Gets a warning when a backend is dropped.
  /// - Throws: ``TarnError`` `.engine`.
  package init(
    _ trained: TrainedIndex, digest: ContentDigest, badRows: BadRowsPolicy, normalisation: Normalisation, rowCount: Int,
    pool: WorkerPool? = nil, logger: Logger
  ) throws {
    self.trained = trained
    self.trainedDigest = digest
    self.badRows = badRows
    self.normalisation = normalisation
    let pool = try pool ?? .shared
    self.pool = pool
    engine = try AssignmentEngine(
      rows: FeatureMatrix(sharing: trained.assigner ?? trained.centroids, dimension: trained.dimension), pool: pool,
      expectedVectorCount: rowCount, logger: logger)
  }

  /// Whether it makes the segments that these terms ask for.
  package func isOf(_ trained: ContentDigest, _ badRows: BadRowsPolicy, _ normalisation: Normalisation) -> Bool {
    trainedDigest == trained && self.badRows == badRows && self.normalisation == normalisation
  }

  /// Encodes a shard.
  ///
  /// Every row is assigned first, then the codes of ``BufferPlan/codeByteCount``
  /// bytes at a time are made in the order of the segment: memory does not grow
  /// with the codes of a shard.
  ///
  /// - Parameters:
  ///   - shard: The shard's file, being hashed.
  ///   - path: Where the segment goes.
  ///   - buffers: How much memory to take; the bytes do not depend on it.
  ///   - report: Told the rows assigned, on the calling thread, and all of them
  ///     again for each part of the codes; what it throws ends the work and leaves
  ///     nothing.
  /// - Returns: What was written.
  /// - Throws: ``TarnError`` `.badFeatures` naming file, row and cause;
  ///   `.integrity` when the bytes are not those that were recorded, whatever
  ///   else is wrong with them.
  package func encode(
    _ shard: ShardReading, to path: String, buffers: BufferPlan = BufferPlan(), report: (Int) throws -> Void
  ) throws -> Result {
    let matrix = shard.file.matrix
    matrix.advise(.sequential)
    var assignments = [UInt32](repeating: SegmentWriter.skippedRow, count: matrix.rowCount)
    var badRowCount = 0
    do {
      for first in stride(from: 0, to: matrix.rowCount, by: Self.blockRowCount) {
        let block = first..<min(first + Self.blockRowCount, matrix.rowCount)
        let bad = try checkedBadRows(of: shard.file, in: block)
        badRowCount += bad.count
        try requireLengths(of: shard.file, in: block, except: bad)
        try assign(block, of: matrix, except: bad, into: &assignments)
        try report(block.upperBound)
      }
    } catch let error as TarnError where error.code == .badFeatures {
      // Bytes that have changed since they were recorded are the better reason.
      try shard.requireDigest()
      throw error
    }
    let description = SegmentDescription(
      codec: trained.quantizer.codec, dimension: trained.dimension, nlist: trained.nlist, trainedIndex: trainedDigest,
      shard: shard.digest, arrayMark: shard.array.map(ContentDigest.of), refine: trained.refine?.codec)
    var hashing = Duration.zero
    let filed = assignments
    let summary = try unsafe SegmentWriter.write(
      description, assignments: filed, to: path, temporaryPath: path + ".tmp", buffers: buffers,
      ready: {
        let waiting = ContinuousClock.now
        try shard.requireDigest()
        hashing = ContinuousClock.now - waiting
      },
      refine: { rows, codes in
        guard let refine = trained.refine else { return }
        try report(matrix.rowCount)
        unsafe encode(matrix, rows, filed: filed, by: refine, into: codes)
      },
      codes: { order, places, codes in
        try report(matrix.rowCount)
        unsafe encode(matrix, order, places, into: codes)
      })
    return Result(segment: summary, badRowCount: badRowCount, hashing: hashing)
  }

  /// Assigns a block's rows but for the bad ones.
  private func assign(
    _ block: Range<Int>, of matrix: FeatureMatrix, except bad: Set<Int>, into assignments: inout [UInt32]
  ) throws {
    let good = bad.isEmpty ? nil : block.filter { row in !bad.contains(row) }.map { UInt32($0) }
    // Rows of unit length lie in the shard as they are; others are made so, in a copy.
    let (rows, base) =
      switch normalisation {
      case .refuse: (matrix, 0)
      case .normalise: (matrix.unitRows(block, except: bad, pool: pool), block.lowerBound)
      }
    if let good {
      let winners = try engine.best(of: rows, listed: good.map { $0 - UInt32(base) })
      for (row, winner) in zip(good, winners.rows) { assignments[Int(row)] = winner }
    } else {
      let winners = try engine.best(of: rows, in: (block.lowerBound - base)..<(block.upperBound - base))
      assignments.replaceSubrange(block, with: winners.rows)
    }
  }

  /// Encodes the rows at some places of a segment.
  ///
  /// They are looked for from the shard's first row to its last, so that a file
  /// that is not in memory is read from end to end.
  private func encode(
    _ matrix: FeatureMatrix, _ order: SegmentOrder, _ places: Range<Int>, into codes: UnsafeMutableBufferPointer<UInt8>
  ) {
    unsafe encode(matrix, 0..<matrix.rowCount, by: trained.quantizer, into: codes) { row in
      let place = Int(order.places[row])
      return places.contains(place) ? place - places.lowerBound : nil
    }
  }

  /// Encodes those rows of the shard that are in a list, each at its own place.
  private func encode(
    _ matrix: FeatureMatrix, _ rows: Range<Int>, filed: [UInt32], by quantizer: ScalarQuantizer,
    into codes: UnsafeMutableBufferPointer<UInt8>
  ) {
    unsafe encode(matrix, rows, by: quantizer, into: codes) { row in
      filed[row] != SegmentWriter.skippedRow ? row - rows.lowerBound : nil
    }
  }

  /// Encodes rows of the shard, each at the place that it is given, on all threads.
  ///
  /// - Parameters:
  ///   - matrix: The shard's rows.
  ///   - rows: Which of them.
  ///   - quantizer: The codec.
  ///   - codes: Where codes go, each of `codeByteCount` bytes.
  ///   - place: The place of a row among the codes, no row's that of another; nil for one that is left out.
  private func encode(
    _ matrix: FeatureMatrix, _ rows: Range<Int>, by quantizer: ScalarQuantizer,
    into codes: UnsafeMutableBufferPointer<UInt8>, at place: @Sendable (_ row: Int) -> Int?
  ) {
    let width = quantizer.codeByteCount
    let normalisation = normalisation
    // Strips write the codes of different rows.
    nonisolated(unsafe) let codes = unsafe codes
    forEachStrip(of: rows) { strip in
      let own = strip.filter { place($0) != nil }
      let encoded = quantizer.encode(matrix.scoredRows(own, normalisation))
      for (index, start) in own.compactMap(place).map({ $0 * width }).enumerated() {
        let part = unsafe UnsafeMutableBufferPointer(rebasing: codes[start..<(start + width)])
        _ = unsafe part.update(fromContentsOf: encoded[(index * width)..<((index + 1) * width)])
      }
    }
  }

  /// The rows of a block that are NaN, infinite or zero.
  private func checkedBadRows(of file: FeatureFile, in block: Range<Int>) throws -> Set<Int> {
    let found = Mutex<[FeatureMatrix.BadRow]>([])
    let policy = badRows
    forEachStrip(of: block) { strip in
      let bad =
        switch policy {
        case .fail: file.matrix.firstBadRow(in: strip).map { [$0] } ?? []
        case .skip: file.matrix.badRows(in: strip)
        }
      if !bad.isEmpty { found.withLock { $0 += bad } }
    }
    let bad = found.withLock { $0 }
    if badRows == .fail, let first = bad.min(by: { $0.row < $1.row }) { throw file.unfit(first) }
    return Set(bad.map(\.row))
  }

  /// Refuses rows whose length is not one, when training did.
  private func requireLengths(of file: FeatureFile, in block: Range<Int>, except bad: Set<Int>) throws {
    guard normalisation == .refuse else { return }
    let first = Atomic<Int>(Int.max)
    forEachStrip(of: block) { strip in
      let lengths = file.matrix.lengths(ofRows: strip)
      for (row, length) in zip(strip, lengths) where abs(length - 1) > Normalisation.tolerance {
        if bad.contains(row) { continue }
        first.min(row, ordering: .relaxed)
        return
      }
    }
    let row = first.load(ordering: .relaxed)
    guard row == Int.max else {
      throw TarnError(
        .badFeatures, "\(file.path): row \(row) has length \(Float(file.matrix.length(ofRow: row))), not 1",
        hint: "normalise the features, or build with an index of `tarn train --normalise`")
    }
  }

  /// Carries out work on strips of a block, on all threads.
  private func forEachStrip(of block: Range<Int>, _ body: @Sendable (Range<Int>) -> Void) {
    let width = Self.stripRowCount
    pool.run((block.count + width - 1) / width) { task, _ in
      let first = block.lowerBound + task * width
      body(first..<Swift.min(first + width, block.upperBound))
    }
  }
}
