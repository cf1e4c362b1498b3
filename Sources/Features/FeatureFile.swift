// One feature file, opened: its header believed only when the file's length
// agrees with it.

package import Base

/// A feature file, memory-mapped.
///
/// Its name says which format it is, see ``FeatureFormat``. Rows that are not
/// dense, those of an `.fvecs` file, are copied.
package final class FeatureFile: Sendable {
  package let path: String
  /// The rows.
  package let matrix: FeatureMatrix

  package var rowCount: Int { matrix.rowCount }
  package var dimension: Int { matrix.dimension }
  package var elementType: ElementType { matrix.elementType }

  /// Opens and maps a file.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - dimension: The dimension it must have; nil for any.
  ///   - elementType: The element type it must have; nil for any.
  /// - Throws: ``TarnError`` `.badFeatures` when it is malformed, truncated,
  ///   overlong, or of another dimension or element type; `.inputsMissing`
  ///   when there is no such file; `.io`.
  package init(_ path: String, dimension: Int? = nil, elementType: ElementType? = nil) throws {
    let header = try Self.layout(of: path)
    if let dimension, header.dimension != dimension {
      throw TarnError(
        .badFeatures, "\(path) has rows of \(header.dimension) elements, not \(dimension)",
        hint: "register it under a source of its own dimension")
    }
    if let elementType, header.elementType != elementType {
      throw TarnError(
        .badFeatures, "\(path) holds \(header.elementType), not \(elementType)",
        hint: "register it under a source of its own dtype")
    }
    self.path = path
    if header.gapByteCount > 0 {
      let rows = try Self.explained(path) { try UntrustedFile(path: path).rows(header) }
      matrix = FeatureMatrix(bytes: rows, of: header.elementType, dimension: header.dimension)
    } else {
      matrix = try FeatureMatrix(
        mapping: path, byteOffset: header.dataOffset, elementType: header.elementType, rowCount: header.rowCount,
        dimension: header.dimension, isWholeFile: FeatureFormat(ofFile: path) != .torch)
    }
  }

  /// As the matrix's, for a caller that has only the file.
  package func widen(rows: Range<Int>, into output: inout MutableSpan<Float>) {
    matrix.widen(rows: rows, into: &output)
  }

  /// The error that a row is unfit for an index.
  package func unfit(_ bad: FeatureMatrix.BadRow) -> TarnError {
    TarnError(
      .badFeatures, "\(path): row \(bad.row) holds \(bad.defect.rawValue)",
      hint: "replace the file, or leave such rows out with --bad-rows skip")
  }

  /// Examines a file that does not bear its own name yet.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - format: What its name would say.
  ///   - dimension: The dimension it must have.
  ///   - elementType: The element type it must have.
  /// - Returns: Its rows.
  /// - Throws: ``TarnError`` as ``init(_:dimension:elementType:)`` does.
  package static func rowCount(
    of path: String, as format: FeatureFormat, dimension: Int, elementType: ElementType
  ) throws -> Int {
    let layout = try layout(of: path, as: format)
    guard layout.dimension == dimension, layout.elementType == elementType else {
      throw TarnError(
        .badFeatures,
        "\(path) has rows of \(layout.dimension) \(layout.elementType) elements, not \(dimension) of \(elementType)")
    }
    return layout.rowCount
  }

  /// What the rows of a file are that does not bear its own name.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - format: What its name would say.
  /// - Returns: Elements of a row, and their type.
  /// - Throws: ``TarnError`` as ``init(_:dimension:elementType:)`` does.
  package static func kind(
    of path: String, as format: FeatureFormat
  ) throws -> (dimension: Int, elementType: ElementType) {
    let layout = try layout(of: path, as: format)
    return (layout.dimension, layout.elementType)
  }

  private static func layout(of path: String, as format: FeatureFormat? = nil) throws -> FeatureLayout {
    try explained(path) { try (format ?? FeatureFormat(ofFile: path)).reader.layout(of: UntrustedFile(path: path)) }
  }

  /// Turns a fault into an error that names the file.
  private static func explained<Value>(_ path: String, _ body: () throws -> Value) throws -> Value {
    do { return try body() } catch let fault as FeatureFault {
      throw TarnError(.badFeatures, "\(path): \(fault.cause)", hint: fault.hint)
    }
  }
}
