// One feature file, opened: its header believed only when the file's length
// agrees with it.

package import Base

/// A feature file, memory-mapped.
///
/// Its name says which format it is, see ``FeatureFormat``. Rows that do not lie in
/// it one behind the other are decoded once, when it is opened: those of an `.fvecs`
/// file, of a deflated array, of a column.
package final class FeatureFile: Sendable {
  /// How messages tell who may say an array to say it; others put what they have in its place.
  package static let wayToArray = "say --array NAME"

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
  ///   - array: Which of its arrays, where the format has several: the name of an
  ///     entry of an `.npz` without `.npy`, of a tensor, or of a column; nil for the only one.
  ///   - dimension: The dimension it must have; nil for any.
  ///   - elementType: The element type it must have; nil for any.
  /// - Throws: ``TarnError`` `.badFeatures` when it is malformed, truncated,
  ///   overlong, or of another dimension or element type; `.inputsMissing`
  ///   when there is no such file; `.diskFull` when there is no room to unpack
  ///   it; `.io`.
  package init(
    _ path: String, array: String? = nil, dimension: Int? = nil, elementType: ElementType? = nil
  ) throws {
    let content = try Self.content(of: path, array: array, dimension: dimension)
    let header = content.layout
    try Self.require(header, of: path, dimension: dimension, elementType: elementType)
    self.path = path
    if let decoder = content.decoder, !content.isInPlace {
      matrix = try Self.explained(path) { try FeatureMatrix(decoding: decoder, header, of: path) }
    } else {
      matrix = try FeatureMatrix(
        mapping: path, byteOffset: header.dataOffset, elementType: header.elementType, rowCount: header.rowCount,
        dimension: header.dimension, isWholeFile: content.fillsFile)
    }
  }

  /// Requires that rows are what they must be, where that is said.
  static func require(_ layout: FeatureLayout, of path: String, dimension: Int?, elementType: ElementType?) throws {
    if let dimension, layout.dimension != dimension {
      throw TarnError(
        .badFeatures, "\(path) has rows of \(layout.dimension) elements, not \(dimension)",
        hint: "register it under a source of its own dimension")
    }
    if let elementType, layout.elementType != elementType {
      throw TarnError(
        .badFeatures, "\(path) holds \(layout.elementType), not \(elementType)",
        hint: "register it under a source of its own dtype")
    }
  }

  /// As the matrix's, for a caller that has only the file.
  package func widen(rows: Range<Int>, into output: inout MutableSpan<Float>) {
    matrix.widen(rows: rows, into: &output)
  }

  /// The error that a row is unfit for an index.
  package func unfit(_ bad: FeatureMatrix.BadRow) -> TarnError {
    TarnError(
      .badFeatures, "\(path): row \(bad.row) holds \(matrix.words(of: bad))",
      hint: "leave such rows out with --bad-rows skip, or have the file mended where it comes from and "
        + "`tarn sync --refresh --replace` it")
  }

  /// Examines a file that does not bear its own name yet.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - format: What its name would say.
  ///   - array: Which of its arrays; nil for the only one.
  ///   - dimension: The dimension it must have.
  ///   - elementType: The element type it must have.
  ///   - readsRows: Whether rows that are packed or have a checksum are read, once and
  ///     in bounded memory, so that a damaged file is found before it is recorded.
  /// - Returns: Its rows.
  /// - Throws: ``TarnError`` as ``init(_:array:dimension:elementType:)`` does.
  package static func rowCount(
    of path: String, as format: FeatureFormat, array: String? = nil, dimension: Int, elementType: ElementType,
    readsRows: Bool = false
  ) throws -> Int {
    let content = try content(of: path, as: format, array: array, dimension: dimension)
    let layout = content.layout
    guard layout.dimension == dimension, layout.elementType == elementType else {
      throw TarnError(
        .badFeatures,
        "\(path) has rows of \(layout.dimension) \(layout.elementType) elements, not \(dimension) of \(elementType)")
    }
    if readsRows, let decoder = content.decoder {
      try explained(path) { try unsafe FeatureContent.drain(decoder, layout, by: 1 << 20) { _ in } }
    }
    return layout.rowCount
  }

  /// What the rows of a file are that does not bear its own name.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - format: What its name would say.
  ///   - array: Which of its arrays; nil for the only one.
  ///   - dimension: Elements of a row, if somebody said: what a file without rows may not tell.
  /// - Returns: Elements of a row, and their type.
  /// - Throws: ``TarnError`` as ``init(_:array:dimension:elementType:)`` does.
  package static func kind(
    of path: String, as format: FeatureFormat, array: String? = nil, dimension: Int? = nil
  ) throws -> (dimension: Int, elementType: ElementType) {
    let layout = try content(of: path, as: format, array: array, dimension: dimension).layout
    return (layout.dimension, layout.elementType)
  }

  /// Whether a file is good, as far as it tells what it holds, and has not the array that is wanted, or several where
  /// none was said.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - format: What its name would say.
  ///   - array: Which of its arrays; nil for the only one.
  /// - Returns: False too for a file that cannot be read.
  package static func lacksArray(_ path: String, as format: FeatureFormat, array: String?) -> Bool {
    do {
      _ = try format.reader.content(of: UntrustedFile(path: path), array: array, dimension: nil)
      return false
    } catch {
      return (error as? FeatureFault)?.isOfArray ?? false
    }
  }

  /// Whether a file is good and has no rows, so that nothing in it tells their dimension.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - format: What its name would say.
  ///   - array: Which of its arrays; nil for the only one.
  /// - Returns: False too for a file that cannot be read.
  package static func leavesDimensionOpen(_ path: String, as format: FeatureFormat, array: String?) -> Bool {
    // Whatever is said of such a file is believed, and of no other.
    (try? kind(of: path, as: format, array: array)) == nil
      && (try? kind(of: path, as: format, array: array, dimension: 1)) != nil
  }

  /// What the rows of a file are of which only pieces are had, as of one on a server.
  ///
  /// - Parameters:
  ///   - file: The file; what is read of it are the places that say what it holds.
  ///   - format: What its name would say.
  ///   - array: Which of its arrays; nil for the only one.
  ///   - dimension: Elements of a row, if somebody said: what a file without rows may not tell.
  /// - Returns: How many rows, elements of a row, and their type.
  /// - Throws: ``TarnError`` `.badFeatures` when it is no such file; what reading it throws.
  package static func head(
    of file: InputFile, as format: FeatureFormat, array: String?, dimension: Int?
  ) throws -> FeatureHead {
    let layout = try content(of: UntrustedFile(file), as: format, array: array, dimension: dimension).layout
    return FeatureHead(layout, fileByteCount: file.byteCount)
  }

  static func content(
    of path: String, as format: FeatureFormat? = nil, array: String?, dimension: Int?
  ) throws -> FeatureContent {
    try content(
      of: UntrustedFile(path: path), as: format ?? FeatureFormat(ofFile: path), array: array, dimension: dimension)
  }

  private static func content(
    of file: UntrustedFile, as format: FeatureFormat, array: String?, dimension: Int?
  ) throws -> FeatureContent {
    try explained(file.path) {
      guard array == nil || format.holdsArrays else {
        throw FeatureFault(
          "a .\(format.rawValue) file has one matrix and no arrays with names", hint: "leave --array out")
      }
      return try format.reader.content(of: file, array: array, dimension: dimension)
    }
  }

  /// Turns a fault into an error that names the file.
  static func explained<Value>(_ path: String, _ body: () throws -> Value) throws -> Value {
    do { return try body() } catch let fault as FeatureFault {
      throw TarnError(.badFeatures, "\(path): \(fault.cause)", hint: fault.hint)
    }
  }
}
