// What this machine does in a second: measured for a few seconds, for `--dry-run`.

internal import Base
internal import Features
package import Indexer
package import Logging

/// Rates of this machine, all its threads together.
package struct MachineRates: Sendable, Equatable {
  /// Products of elements a second, of vectors with all rows they are assigned to,
  /// multiplied or spared.
  package var assigned: Double
  /// Products of elements a second where the best rows of each vector are found among few.
  package var compared: Double
  /// Components a second that become codes, by one thread.
  package var encoded: Double
  /// Bytes a second that are hashed, by one thread.
  package var hashed: Double
  /// Bytes a second that the lake's file system takes and syncs; nil where that was not found out.
  package var written: Double?
  /// Its threads, by which what each of them holds is told.
  package var threadCount: Int

  package init(
    assigned: Double, compared: Double, encoded: Double, hashed: Double, written: Double?, threadCount: Int
  ) {
    (self.assigned, self.compared, self.encoded) = (assigned, compared, encoded)
    (self.hashed, self.written, self.threadCount) = (hashed, written, threadCount)
  }

  /// Measures.
  ///
  /// Rows are random and in clusters, as features are; real ones may be assigned at half
  /// the rate or at twice.
  ///
  /// - Parameters:
  ///   - dimension: Elements of a row.
  ///   - codec: How they become codes.
  ///   - assignedCount: Pairs of vectors and rows of the largest assignment that is meant: the engine that suits it is
  ///     measured, and nothing is prepared that small work would not repay.
  ///   - directory: On the file system whose speed counts.
  ///   - logger: Gets a warning when a backend is dropped.
  /// - Returns: The rates.
  /// - Throws: ``TarnError`` `.engine`.
  package static func measured(
    dimension: Int, codec: VectorCodec, assignedCount: Double, below directory: String, logger: Logger
  ) throws -> MachineRates {
    let rows = clustered(4096, dimension, seed: 1)
    let vectors = clustered(8192, dimension, seed: 2)
    let expected = Int(min(assignedCount / Double(rows.rowCount), 0x1p24))
    let engine = try AssignmentEngine(rows: rows, expectedVectorCount: expected, logger: logger)
    // The first call prepares the rows.
    _ = try engine.best(of: vectors, in: 0..<256)
    let clock = ContinuousClock()
    let assigning = try clock.measure { _ = try engine.best(of: vectors) }.seconds
    let few = FeatureMatrix(vectors.floats(rows: 0..<2048), dimension: dimension)
    var neighbors = try ExactNeighbors(queries: few, k: 1)
    let comparing = try clock.measure { try neighbors.add(rows) }.seconds
    var ranges = try RangeTrainer(codec: codec, dimension: dimension, statistic: codec.defaultRanges)
    let floats = few.floats(rows: 0..<few.rowCount)
    ranges.add(floats)
    let quantizer = try ranges.finish()
    let encoding = clock.measure { _ = quantizer.encode(floats) }.seconds
    let bytes = [UInt8](repeating: 7, count: 32 << 20)
    let hashing = clock.measure { _ = ContentDigest.of(bytes) }.seconds
    func rate(_ work: Int, _ seconds: Double) -> Double { Double(work) / max(seconds, 1e-9) }
    return MachineRates(
      assigned: rate(vectors.rowCount * rows.rowCount * dimension, assigning),
      compared: rate(few.rowCount * rows.rowCount * dimension, comparing),
      encoded: rate(floats.count, encoding), hashed: rate(bytes.count, hashing),
      written: DiskSpeed.bytesPerSecond(below: directory), threadCount: try WorkerPool.shared.threadCount)
  }

  /// Unit rows around a hundred centres.
  private static func clustered(_ count: Int, _ dimension: Int, seed: UInt64) -> FeatureMatrix {
    var random = SplitMix64(seed: 3)
    func element() -> Float { Float(Int32(truncatingIfNeeded: random.next() >> 40) - (1 << 23)) * 0x1p-23 }
    let centres = (0..<(100 * dimension)).map { _ in element() }
    random = SplitMix64(seed: seed)
    var values: [Float] = []
    values.reserveCapacity(count * dimension)
    for _ in 0..<count {
      let centre = random.next(below: 100) * dimension
      let row = (0..<dimension).map { centres[centre + $0] + 0.7 * element() }
      let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      for value in row { values.append(length > 0 ? value / length : 0) }
    }
    return FeatureMatrix(values, dimension: dimension)
  }
}
