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

  /// Takes over the codec of rows that are scored by what their codes stand for.
  convenience init(_ quantizer: ScalarQuantizer) { unsafe self.init(quantizer, centroids: nil) }

  /// Takes over a codec.
  ///
  /// - Parameters:
  ///   - quantizer: The codec.
  ///   - centroids: Rows that are scored by their values, `[count × dimension]`, their levels
  ///     of one byte a component, and where to put the parts that these lack, as many; nil
  ///     for rows that are scored by what their codes stand for.
  init(
    _ quantizer: ScalarQuantizer,
    centroids: (values: [Float], levels: [UInt8], parts: UnsafeMutablePointer<UInt8>)?
  ) {
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
    if let rows = unsafe centroids {
      precondition(quantizer.codec.bitsPerComponent == 8, "only codes of one byte a component are measured")
      unsafe spread.pointee.differences = floats + 2 * dimension
      unsafe spread.pointee.middles = floats + 2 * dimension + planeByteCount
      unsafe cscan_measure(
        SimdLevel.current, parts, rows.levels, rows.values, rows.values.count / dimension, rows.parts, spread)
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
