// Learns the ranges of a scalar quantizer from rows that stream by, in memory
// that does not grow with them. The result does not depend on their order or
// on how they were cut into blocks.

internal import Base
internal import CCodec
internal import Features

/// A running range statistic of each dimension.
package struct RangeTrainer: Sendable {
  private let codec: VectorCodec
  private let dimension: Int
  private let statistic: RangeStatistic
  private var minima: [Float]
  private var maxima: [Float]
  /// For quantiles: how often each half-precision value came, by its rank,
  /// `[dimension × 65,536]` (192 MiB at 768 dimensions).
  private var counts: [UInt32]
  /// Rows so far.
  package private(set) var rowCount = 0

  private static let halfCount = 1 << 16

  /// Memory of a trainer.
  ///
  /// - Parameters:
  ///   - codec: The codec that the ranges are for.
  ///   - dimension: Components of a row, `1...`.
  ///   - statistic: What becomes of the values.
  /// - Returns: Bytes, whatever the number of rows.
  package static func byteCount(codec: VectorCodec, dimension: Int, statistic: RangeStatistic) -> Int {
    guard codec.hasRanges else { return 0 }
    let counts = statistic == .minmax ? 0 : Self.halfCount * MemoryLayout<UInt32>.size
    return dimension * (2 * MemoryLayout<Float>.size + counts)
  }

  /// Starts without rows.
  ///
  /// - Parameters:
  ///   - codec: The codec that the ranges are for; fp16 and flat need none.
  ///   - dimension: Components of a row, `1...`.
  ///   - statistic: What becomes of the values.
  /// - Throws: ``TarnError`` `.usage` for a quantile outside `0..<0.5`.
  package init(codec: VectorCodec, dimension: Int, statistic: RangeStatistic = .minmax) throws {
    if case .quantiles(let share) = statistic, !(0..<0.5).contains(share) || share.sign == .minus {
      throw TarnError(.usage, "a range quantile of \(share) is not in 0..<0.5")
    }
    self.codec = codec
    self.dimension = dimension
    self.statistic = statistic
    let needed = codec.hasRanges ? dimension : 0
    minima = [Float](repeating: .infinity, count: needed)
    maxima = [Float](repeating: -.infinity, count: needed)
    counts = statistic == .minmax ? [] : [UInt32](repeating: 0, count: needed * Self.halfCount)
  }

  /// Adds a block of rows, row-major finite floats `[n × dimension]`.
  package mutating func add(_ rows: Span<Float>) {
    precondition(rows.count % dimension == 0, "rows are not a multiple of the dimension")
    let count = rows.count / dimension
    rowCount += count
    guard codec.hasRanges, count > 0 else { return }
    precondition(rowCount <= Int(UInt32.max), "more training rows than a count holds")
    unsafe rows.withUnsafeBufferPointer { rows in
      switch statistic {
      case .minmax:
        unsafe ccodec_extend_range(
          SimdLevel.current, rows.baseAddress, count, dimension, &minima, &maxima)
      case .quantiles:
        unsafe ccodec_count_halves(SimdLevel.current, rows.baseAddress, count, dimension, &counts)
      }
    }
  }

  /// As ``add(_:)``, for rows in an array.
  package mutating func add(_ rows: [Float]) { add(rows.span) }

  /// The quantizer with the ranges of all rows so far.
  ///
  /// - Returns: A quantizer of the codec given at the start.
  /// - Throws: ``TarnError`` `.badFeatures` when there were no rows, or their
  ///   values span more than a float.
  package func finish() throws -> ScalarQuantizer {
    guard codec.hasRanges else { return try ScalarQuantizer(codec: codec, dimension: dimension) }
    guard rowCount > 0 else { throw TarnError(.badFeatures, "no rows to learn the codec's ranges from") }
    var low = minima
    var high = maxima
    if case .quantiles(let share) = statistic {
      // FAISS's RS_quantiles ranks, but vdiff where FAISS 1.7.3 stores vmax.
      let skipped = min(Int(Double(share) * Double(rowCount)), (rowCount - 1) / 2)
      for j in 0..<dimension {
        low[j] = value(ofDimension: j, rank: skipped)
        high[j] = value(ofDimension: j, rank: rowCount - 1 - skipped)
      }
    }
    // -0 and +0 compare equal, so which one stays depends on the order of rows.
    for j in 0..<dimension where low[j] == 0 { low[j] = 0 }
    let widths = zip(low, high).map { $1 - $0 }
    if let j = widths.firstIndex(where: { !$0.isFinite }) {
      throw TarnError(.badFeatures, "dimension \(j) spans \(low[j]) to \(high[j]), too far for a codec range")
    }
    return try ScalarQuantizer(
      codec: codec, dimension: dimension, statistic: statistic, minima: low, widths: widths)
  }

  private func value(ofDimension j: Int, rank: Int) -> Float {
    var seen = 0
    for key in 0..<Self.halfCount {
      seen += Int(counts[j * Self.halfCount + key])
      if seen > rank {
        let bits = key >= 0x8000 ? UInt16(key - 0x8000) : UInt16(0xFFFF - key)
        return Float(Float16(bitPattern: bits))
      }
    }
    preconditionFailure("rank \(rank) is beyond the rows counted")
  }
}
