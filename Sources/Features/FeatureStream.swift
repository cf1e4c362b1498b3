// The rows of a feature file front to back, in bounded memory and without unpacking a file
// to disk: what is read once.

package import Base
internal import CRows

/// A feature file that is read once, from its first row to its last.
///
/// Belongs to one thread.
@safe package final class FeatureStream {
  private let path: String
  private let layout: FeatureLayout
  private let decoder: any RowDecoder

  package var rowCount: Int { layout.rowCount }
  package var dimension: Int { layout.dimension }
  package var elementType: ElementType { layout.elementType }

  /// Opens a file.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - array: Which of its arrays; nil for the only one.
  /// - Throws: ``TarnError`` as ``FeatureFile/init(_:array:dimension:elementType:)``
  ///   does.
  package init(_ path: String, array: String? = nil) throws {
    self.path = path
    let content = try FeatureFile.content(of: path, array: array, dimension: nil)
    layout = content.layout
    decoder = try content.decoder ?? PlainDecoder(UntrustedFile(path: path), content.layout)
  }

  /// Gives all rows.
  ///
  /// - Parameters:
  ///   - target: What their elements become: nil for what they are, float32 for what
  ///     they count as, float16 for that rounded to the nearest, ties to even.
  ///   - body: Gets whole rows, a few mebibytes at once, good until it returns.
  /// - Throws: ``TarnError`` `.badFeatures` for what is damaged, and a row with a number that
  ///   the target does not hold; whatever `body` does.
  package func drain(as target: ElementType? = nil, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    let target = target ?? elementType
    try FeatureFile.explained(path) {
      guard target != elementType else { return try unsafe FeatureContent.drain(decoder, layout, by: 4 << 20, body) }
      precondition([.float16, .float32].contains(target), "nothing is converted to \(target)")
      var row = 0
      try unsafe FeatureContent.drain(decoder, layout, by: 1 << 20) { bytes in
        let count = bytes.count / elementType.byteCount
        let floats = unsafe [Float](unsafeUninitializedCapacity: count) { buffer, filled in
          if let start = buffer.baseAddress, let input = bytes.baseAddress {
            unsafe crows_widen(SimdLevel.current, input, elementType.code, count, start)
          }
          filled = count
        }
        try unsafe requireHeld(bytes, by: target, as: floats, from: row)
        if target == .float32 {
          try unsafe floats.withUnsafeBytes(body)
        } else {
          try unsafe halves(of: floats, from: row).withUnsafeBytes(body)
        }
        row += count / dimension
      }
    }
  }

  /// Refuses a float64 that was finite and is not any more, of rows of which the first is `row`; no other type has one.
  private func requireHeld(
    _ bytes: UnsafeRawBufferPointer, by target: ElementType, as floats: [Float], from row: Int
  ) throws(FeatureFault) {
    guard elementType == .float64 else { return }
    for place in floats.indices where floats[place].isInfinite {
      let value = unsafe bytes.loadUnaligned(fromByteOffset: place * elementType.byteCount, as: Double.self)
      guard value.isFinite else { continue }
      throw FeatureFault(
        "row \(row + place / dimension) holds \(value), which is no \(target)",
        hint: "leave --dtype out, or divide the rows by their lengths first")
    }
  }

  /// Rounds rows of which the first is `row`.
  private func halves(of floats: [Float], from row: Int) throws -> [Float16] {
    let halves = floats.map { Float16($0) }
    // What was finite and is not any more.
    if let place = halves.indices.first(where: { !halves[$0].isFinite && floats[$0].isFinite }) {
      throw FeatureFault(
        "row \(row + place / dimension) holds \(floats[place]), which is no float16", hint: "convert it to float32")
    }
    return halves
  }
}

/// Rows that lie in their file.
private final class PlainDecoder: RowDecoder {
  private let file: UntrustedFile
  private var offset: Int

  init(_ file: UntrustedFile, _ layout: FeatureLayout) { (self.file, offset) = (file, layout.dataOffset) }

  func read(into output: UnsafeMutableRawBufferPointer) throws {
    try unsafe file.read(into: output, at: offset)
    offset += output.count
  }

  func finish() {}
}
