// One shard against one trained index: assign, encode, order by list. The
// bytes depend on the shard, the trained index and the bad-rows policy alone
// (invariant 3).

internal import Catalog
internal import Logging

/// Encodes shards into segments.
struct ShardEncoder {
  let trained: TrainedIndex
  let trainedDigest: ContentDigest
  let badRows: BadRowsPolicy
  let normalisation: Normalisation
  private let engine: AssignmentEngine

  /// Rows that are assigned and encoded at a time.
  private static let blockRowCount = 16_384

  /// What a segment holds.
  struct Result {
    let segment: SegmentSummary
    let badRowCount: Int
  }

  /// Prepares what files the rows: the assigner, or else the centroids.
  ///
  /// - Parameters:
  ///   - trained: The trained index.
  ///   - digest: The SHA-256 of its file.
  ///   - badRows: What to do about rows that are NaN, infinite or zero.
  ///   - normalisation: What training did about lengths; a build does the same.
  ///   - logger: Gets a warning when a backend is dropped.
  /// - Throws: ``IndexerError`` `.engine`.
  init(
    _ trained: TrainedIndex, digest: ContentDigest, badRows: BadRowsPolicy, normalisation: Normalisation, logger: Logger
  ) throws {
    self.trained = trained
    self.trainedDigest = digest
    self.badRows = badRows
    self.normalisation = normalisation
    engine = try AssignmentEngine(
      rows: FeatureMatrix(trained.assigner ?? trained.centroids, dimension: trained.dimension), logger: logger)
  }

  /// Encodes a shard.
  ///
  /// - Parameters:
  ///   - file: The shard.
  ///   - digest: The SHA-256 of its bytes.
  ///   - path: Where the segment goes.
  ///   - report: Told the rows done, on the calling thread; what it throws ends
  ///     the work and leaves nothing.
  /// - Returns: What was written.
  /// - Throws: ``IndexerError`` `.badFeatures` naming file, row and cause.
  func encode(
    _ file: FeatureFile, digest: ContentDigest, to path: String, report: (Int) throws -> Void
  ) throws -> Result {
    let matrix = file.matrix
    matrix.advise(.sequential)
    if badRows == .fail { try file.requireGoodRows() }
    let bad = badRows == .skip ? matrix.badRows().map(\.row) : []
    var assignments = [UInt32](repeating: SegmentWriter.skippedRow, count: matrix.rowCount)
    let codeByteCount = trained.quantizer.codeByteCount
    var codes = [UInt8](repeating: 0, count: matrix.rowCount * codeByteCount)
    var nextBad = bad[...]
    for first in stride(from: 0, to: matrix.rowCount, by: Self.blockRowCount) {
      let block = first..<min(first + Self.blockRowCount, matrix.rowCount)
      let skipped = nextBad.prefix { $0 < block.upperBound }
      nextBad = nextBad.dropFirst(skipped.count)
      for run in block.runs(without: Array(skipped)) {
        let rows = try unitRows(file, run)
        let floats = rows.floats(rows: 0..<run.count)
        let winners = try engine.best(of: rows)
        assignments.replaceSubrange(run, with: winners.rows)
        let range = (run.lowerBound * codeByteCount)..<(run.upperBound * codeByteCount)
        codes.replaceSubrange(range, with: trained.quantizer.encode(floats))
      }
      try report(block.upperBound)
    }
    let description = SegmentDescription(
      codec: trained.quantizer.codec, dimension: trained.dimension, nlist: trained.nlist, trainedIndex: trainedDigest,
      shard: digest)
    let summary = try SegmentWriter.write(
      description, assignments: assignments, codes: codes, to: path, temporaryPath: path + ".tmp")
    return Result(segment: summary, badRowCount: bad.count)
  }

  /// Rows as float32, of unit length: checked or made so, as training did.
  private func unitRows(_ file: FeatureFile, _ rows: Range<Int>) throws -> FeatureMatrix {
    var floats = file.matrix.floats(rows: rows)
    let dimension = trained.dimension
    for (index, row) in rows.enumerated() {
      let length = file.matrix.length(ofRow: row)
      switch normalisation {
      case .refuse:
        guard abs(length - 1) <= Normalisation.tolerance else {
          throw IndexerError(
            .badFeatures, "\(file.path): row \(row) has length \(Float(length)), not 1",
            hint: "normalise the features, or train with --normalise")
        }
      case .normalise:
        for j in (index * dimension)..<((index + 1) * dimension) { floats[j] = Float(Double(floats[j]) / length) }
      }
    }
    return FeatureMatrix(floats, dimension: dimension)
  }
}

extension Range<Int> {
  /// The runs that remain when some of the range's members are left out.
  fileprivate func runs(without left: [Int]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    var start = lowerBound
    for member in left + [upperBound] {
      if member > start { runs.append(start..<member) }
      start = member + 1
    }
    return runs
  }
}
