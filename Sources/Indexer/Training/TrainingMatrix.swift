// The rows of a training set, gathered from shards into one file. It is an
// .npy file like any other, so that people can look at it.

package import Base
package import Features
internal import Foundation

/// Gathers rows of feature files into one `.npy` file, in the order appended.
///
/// Nothing appears under the final name before ``finish(as:)``.
package struct TrainingMatrixWriter: ~Copyable {
  private var file: DurableFile
  private let elementType: ElementType
  private let dimension: Int
  private let rowCount: Int
  private let normalisation: Normalisation
  private var written = 0

  /// Starts a file.
  ///
  /// - Parameters:
  ///   - temporaryPath: Where the bytes are until the end.
  ///   - elementType: Of every file that rows come from.
  ///   - rowCount: Rows that will be appended in all.
  ///   - dimension: Elements of a row.
  ///   - normalisation: What is done about rows that are not of unit length;
  ///     `.normalise` makes the file float32, as a type does that is not kept.
  /// - Throws: ``TarnError`` when the file cannot be written.
  package init(
    creating temporaryPath: String, elementType: ElementType, rowCount: Int, dimension: Int,
    normalisation: Normalisation = .refuse
  ) throws {
    let stored: ElementType = normalisation == .normalise ? .float32 : elementType.kept
    var file = try DurableFile(creating: temporaryPath)
    let descr = stored == .float16 ? "<f2" : "<f4"
    unsafe try file.write(NpyHeader.bytes(descr: descr, rowCount: rowCount, columns: dimension).span.bytes)
    self.file = file
    (self.elementType, self.rowCount, self.dimension) = (elementType, rowCount, dimension)
    self.normalisation = normalisation
  }

  /// Appends rows of a file, checking each.
  ///
  /// - Parameters:
  ///   - rows: Row numbers in the file.
  ///   - source: A file of the same dimension and element type.
  /// - Throws: ``TarnError`` `.badFeatures` for a row that is NaN, infinite,
  ///   zero or (if refused) not of unit length, or a file of another kind;
  ///   ``TarnError`` when writing fails.
  package mutating func append(_ rows: [UInt32], of source: FeatureFile) throws {
    guard source.dimension == dimension, source.elementType == elementType else {
      throw TarnError(
        .badFeatures,
        "\(source.path) holds \(source.elementType) rows of \(source.dimension) elements, not \(elementType) of \(dimension)"
      )
    }
    let matrix = source.matrix
    let rowByteCount = matrix.rowByteCount
    let chunk = max(1, (4 << 20) / rowByteCount)
    var buffer: [UInt8] = []
    for first in stride(from: 0, to: rows.count, by: chunk) {
      buffer.removeAll(keepingCapacity: true)
      for row in rows[first..<min(first + chunk, rows.count)] {
        let row = Int(row)
        guard row < matrix.rowCount else {
          throw TarnError(.inputsMissing, "\(source.path) has \(matrix.rowCount) rows; row \(row) was drawn")
        }
        if let bad = matrix.firstBadRow(in: row..<(row + 1)) {
          throw source.unfit(bad)
        }
        let length = matrix.length(ofRow: row)
        switch normalisation {
        case .refuse:
          guard abs(length - 1) <= Normalisation.tolerance else {
            throw TarnError(
              .badFeatures, "\(source.path): row \(row) has length \(Float(length)), not 1",
              hint: "normalise the features, or ask for it with --normalise")
          }
          guard elementType == elementType.kept else {
            unsafe matrix.floats(rows: row..<(row + 1)).withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
            continue
          }
          unsafe buffer.append(
            contentsOf: UnsafeRawBufferPointer(start: matrix.address(ofRow: row), count: rowByteCount))
        case .normalise:
          let unit = matrix.floats(rows: row..<(row + 1)).map { Float(Double($0) / length) }
          unsafe unit.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
        }
      }
      unsafe try file.write(buffer.span.bytes)
    }
    written += rows.count
  }

  /// Makes the file durable under its final name.
  ///
  /// - Parameter path: The final name.
  /// - Returns: The SHA-256 of the file.
  /// - Throws: ``TarnError`` when writing fails.
  @discardableResult
  package consuming func finish(as path: String) throws -> ContentDigest {
    precondition(written == rowCount, "\(written) of \(rowCount) rows were gathered")
    return try file.finish(as: path)
  }
}
