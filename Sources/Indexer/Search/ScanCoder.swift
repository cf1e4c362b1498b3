// A codec as the scanning kernels know it.

internal import CScan
internal import Features

/// A codec with its ranges in memory of its own.
///
/// `@unchecked Sendable`: nothing is written after `init`, and the one owner
/// that frees the ranges is this object's `deinit`.
@safe final class ScanCoder: @unchecked Sendable {
  let dimension: Int
  let codeByteCount: Int
  /// Bytes of one plane of a query, 0 for a codec without ranges.
  let planeByteCount: Int
  private let parts: UnsafeMutablePointer<cscan_coder>
  private let spread: UnsafeMutablePointer<cscan_spread>
  /// Minima and widths, `[2 × dimension]`, differences and middles,
  /// `[2 × planeByteCount]`.
  private let floats: UnsafeMutablePointer<Float>

  /// Takes over a codec.
  ///
  /// - Parameters:
  ///   - quantizer: The codec.
  ///   - rows: The rows that decide instead of what `codes` stand for,
  ///     `[count × dimension]`, with their codes of one byte a component; nil
  ///     when codes decide.
  init(_ quantizer: ScalarQuantizer, exact rows: (values: [Float], codes: [UInt8])? = nil) {
    let dimension = quantizer.dimension
    unsafe parts = .allocate(capacity: 1)
    unsafe parts.initialize(to: cscan_coder())
    unsafe parts.pointee.codec = Int32(quantizer.codec.number)
    unsafe parts.pointee.dimension = dimension
    unsafe parts.pointee.code_size = quantizer.codeByteCount
    planeByteCount = unsafe cscan_plane_size(parts)
    unsafe floats = .allocate(capacity: 2 * dimension + 2 * planeByteCount)
    unsafe floats.initialize(repeating: 0, count: 2 * dimension + 2 * planeByteCount)
    if quantizer.codec.hasRanges {
      for j in 0..<dimension {
        unsafe floats[j] = quantizer.minima[j]
        unsafe floats[dimension + j] = quantizer.widths[j]
      }
      unsafe parts.pointee.minima = UnsafePointer(floats)
      unsafe parts.pointee.widths = UnsafePointer(floats + dimension)
    }
    unsafe spread = .allocate(capacity: 1)
    unsafe spread.initialize(to: cscan_spread())
    if let rows {
      precondition(quantizer.codec.bitsPerComponent == 8, "only codes of one byte a component are measured")
      unsafe spread.pointee.differences = floats + 2 * dimension
      unsafe spread.pointee.middles = floats + 2 * dimension + planeByteCount
      unsafe cscan_measure(
        SimdLevel.current, parts, rows.codes, rows.values, rows.values.count / dimension, spread)
      unsafe parts.pointee.spread = UnsafePointer(spread)
    }
    (self.dimension, codeByteCount) = (dimension, quantizer.codeByteCount)
  }

  deinit {
    unsafe floats.deallocate()
    unsafe spread.deallocate()
    unsafe parts.deallocate()
  }

  var pointer: UnsafePointer<cscan_coder> { unsafe UnsafePointer(parts) }
}
