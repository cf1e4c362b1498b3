// Vectors to codes and back: the codec together with its learnt ranges.
//
// Codes are byte-equal to FAISS 1.7.3's encoder on every SIMD path, with one
// stated choice: fp16 rounds ties to even (IEEE, and FAISS built with F16C, as
// the packages on PyPI are). Debian's libfaiss has no F16C and rounds ties away
// from zero; features that are float16 already have no ties.

internal import Base
internal import CCodec
internal import Features

/// A codec with the ranges it learnt; a pure function from vectors to codes.
package struct ScalarQuantizer: Sendable, Equatable {
  package let codec: VectorCodec
  /// Components of a vector, `1...`.
  package let dimension: Int
  /// How the ranges were learnt.
  package let statistic: RangeStatistic
  /// The low end of each dimension's range, `[dimension]`; empty for a codec
  /// without ranges.
  package let minima: [Float]
  /// The width of each dimension's range, `[dimension]`, `0...`; empty for a
  /// codec without ranges.
  package let widths: [Float]

  /// Bytes of one code.
  package var codeByteCount: Int { codec.codeByteCount(dimension: dimension) }

  /// Checks and keeps ranges.
  ///
  /// - Parameters:
  ///   - codec: The codec.
  ///   - dimension: Components of a vector, `1...`.
  ///   - statistic: How the ranges were learnt.
  ///   - minima: `[dimension]` low ends, or empty for fp16 and flat.
  ///   - widths: `[dimension]` widths, or empty for fp16 and flat.
  /// - Throws: ``TarnError`` `.usage` for a wrong count, a value that is
  ///   not finite, or a negative width.
  package init(
    codec: VectorCodec, dimension: Int, statistic: RangeStatistic = .minmax, minima: [Float] = [],
    widths: [Float] = []
  ) throws {
    guard (1...65_536).contains(dimension) else {
      throw TarnError(.usage, "a dimension of \(dimension) is not in 1...65536")
    }
    let wanted = codec.hasRanges ? dimension : 0
    guard minima.count == wanted, widths.count == wanted else {
      throw TarnError(
        .usage, "codec \(codec.rawValue) needs \(wanted) ranges, got \(minima.count) and \(widths.count)")
    }
    for j in 0..<wanted where !(minima[j].isFinite && widths[j].isFinite && widths[j] >= 0) {
      throw TarnError(.usage, "the range of dimension \(j) is \(minima[j]) wide \(widths[j])")
    }
    self.codec = codec
    self.dimension = dimension
    self.statistic = statistic
    self.minima = minima
    self.widths = widths
  }

  /// Encodes rows in order.
  ///
  /// - Parameters:
  ///   - rows: Row-major finite floats, shape `[n × dimension]`.
  ///   - codes: Where the codes go, `[n × codeByteCount]` bytes.
  package func encode(_ rows: Span<Float>, into codes: inout MutableSpan<UInt8>) {
    precondition(rows.count % dimension == 0, "rows are not a multiple of the dimension")
    let count = rows.count / dimension
    precondition(codes.count == count * codeByteCount, "the code buffer has the wrong size")
    guard count > 0 else { return }
    unsafe rows.withUnsafeBufferPointer { rows in
      unsafe codes.withUnsafeMutableBytes { codes in
        unsafe ccodec_encode(
          SimdLevel.current, Int32(codec.number), rows.baseAddress, count, dimension, minima, widths,
          codes.baseAddress?.assumingMemoryBound(to: UInt8.self))
      }
    }
  }

  /// Encodes rows in order.
  ///
  /// - Parameter rows: Row-major finite floats, shape `[n × dimension]`.
  /// - Returns: The codes, `[n × codeByteCount]` bytes.
  package func encode(_ rows: [Float]) -> [UInt8] {
    let byteCount = rows.count / dimension * codeByteCount
    var codes = [UInt8](repeating: 0, count: byteCount)
    var span = codes.mutableSpan
    encode(rows.span, into: &span)
    return codes
  }

  /// The vector that a code stands for, as FAISS decodes it.
  ///
  /// - Parameter code: `codeByteCount` bytes.
  /// - Returns: `dimension` components.
  package func decode(_ code: some RandomAccessCollection<UInt8>) -> [Float] {
    precondition(code.count == codeByteCount, "the code has the wrong size")
    let bytes = Array(code)
    return unsafe [Float](unsafeUninitializedCapacity: dimension) { row, count in
      unsafe ccodec_decode(
        SimdLevel.current, Int32(codec.number), bytes, dimension, minima, widths, row.baseAddress)
      count = dimension
    }
  }
}
