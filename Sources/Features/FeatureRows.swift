// A few rows of a feature file by their numbers: where each has a place in the file, or can be
// sought there, no other one is unpacked.

package import Base

/// A feature file of which a few rows are wanted.
///
/// Of a deflated array every row is unpacked when it is opened, as nothing in it can be sought;
/// of all other files the rows that are asked for alone. Belongs to one thread.
package final class FeatureRows {
  private enum Rows {
    case all(FeatureMatrix)
    case sought(any RowSeeker, FeatureLayout)
  }

  private let path: String
  private let rows: Rows
  package let rowCount: Int

  /// Opens a file.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - array: Which of its arrays; nil for the only one.
  ///   - dimension: The dimension it must have.
  ///   - elementType: The element type it must have.
  /// - Throws: ``TarnError`` as ``FeatureFile/init(_:array:dimension:elementType:)``
  ///   does.
  package init(_ path: String, array: String?, dimension: Int, elementType: ElementType) throws {
    self.path = path
    let content = try FeatureFile.content(of: path, array: array, dimension: dimension)
    if !content.isInPlace, let seeker = content.decoder as? any RowSeeker {
      try FeatureFile.require(content.layout, of: path, dimension: dimension, elementType: elementType)
      rows = .sought(seeker, content.layout)
    } else {
      let file = try FeatureFile(path, array: array, dimension: dimension, elementType: elementType)
      file.matrix.advise(.random)
      rows = .all(file.matrix)
    }
    rowCount = content.layout.rowCount
  }

  /// Some rows.
  ///
  /// - Parameter numbers: Rows of the file; of those that are sought, ascending ones are read in one course.
  /// - Returns: A matrix of them in their order.
  /// - Throws: ``TarnError`` `.badFeatures` where the file is damaged, `.io`.
  package func matrix(ofRows numbers: [Int]) throws -> FeatureMatrix {
    precondition(numbers.allSatisfy { (0..<rowCount).contains($0) }, "rows outside the file")
    switch rows {
    case .all(let matrix): return matrix.copy(ofRows: numbers)
    case .sought(let seeker, let layout):
      return try FeatureFile.explained(path) {
        let picked = try FeatureLayout(layout.elementType, shape: [numbers.count, layout.dimension], dataOffset: 0)
        return try FeatureMatrix(decoding: PickedRows(numbers, by: seeker, picked), picked, of: path)
      }
    }
  }
}

/// Gives rows that are sought one after the other.
private final class PickedRows: RowDecoder {
  private let seeker: any RowSeeker
  private var numbers: [Int].SubSequence
  private let rowByteCount: Int

  init(_ numbers: [Int], by seeker: any RowSeeker, _ layout: FeatureLayout) {
    (self.seeker, self.numbers) = (seeker, numbers[...])
    rowByteCount = layout.dimension * layout.elementType.byteCount
  }

  func read(into output: UnsafeMutableRawBufferPointer) throws {
    for first in stride(from: 0, to: output.count, by: rowByteCount) {
      guard let number = numbers.popFirst() else { preconditionFailure("more rows than were named") }
      try seeker.seek(toRow: number)
      try unsafe seeker.read(into: UnsafeMutableRawBufferPointer(rebasing: output[first..<first + rowByteCount]))
    }
  }

  func finish() {}
}
