// Rows that are made from their file front to back: unpacked, or taken out from between
// other bytes.

internal import Base

/// What a feature file holds, and how its rows are had.
struct FeatureContent {
  let layout: FeatureLayout
  /// Whether the rows lie in the file one behind the other, at the layout's offset.
  let isInPlace: Bool
  /// Gives the rows once, and holds them against the checksums that the file has;
  /// nil where they lie in the file and have none.
  let decoder: (any RowDecoder)?
  /// Whether the file ends with the last row, where they lie in it.
  var fillsFile = true

  /// The most bytes that one packed byte is believed to be.
  ///
  /// It is what deflate can do; no file of features comes near.
  static let mostUnfolded = 1032

  /// Gives all rows from the first on, in pieces of whole rows.
  ///
  /// - Parameters:
  ///   - decoder: Who gives them.
  ///   - layout: Their shape.
  ///   - pieceByteCount: About how much at once; at least one row.
  ///   - body: Gets a piece, good until it returns.
  /// - Throws: ``FeatureFault``; ``TarnError``; whatever `body` does.
  static func drain(
    _ decoder: any RowDecoder, _ layout: FeatureLayout, by pieceByteCount: Int,
    _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    let rowByteCount = layout.dimension * layout.elementType.byteCount
    let piece = max(pieceByteCount / rowByteCount, 1)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: piece * rowByteCount, alignment: 64)
    defer { unsafe buffer.deallocate() }
    for first in stride(from: 0, to: layout.rowCount, by: piece) {
      let count = min(piece, layout.rowCount - first) * rowByteCount
      try unsafe decoder.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
      try unsafe body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
    try decoder.finish()
  }
}

/// Gives the elements of a file's rows once, one behind the other.
protocol RowDecoder: AnyObject {
  /// Fills a buffer with the next elements.
  ///
  /// - Parameter output: Of whole rows, no more than are left.
  /// - Throws: ``FeatureFault``; ``TarnError``.
  func read(into output: UnsafeMutableRawBufferPointer) throws

  /// Requires that the file ends as it says, after all rows were read.
  func finish() throws
}

/// Gives the elements of rows from any row on.
protocol RowSeeker: RowDecoder {
  /// Goes to a row of the file, which is the next that is read.
  ///
  /// - Throws: ``FeatureFault``; ``TarnError``.
  func seek(toRow row: Int) throws
}

/// Takes rows out from between their dimensions, as `.fvecs` has them.
@safe final class GapDecoder: RowSeeker {
  private let file: UntrustedFile
  private let layout: FeatureLayout
  private var nextRow = 0

  init(_ file: UntrustedFile, _ layout: FeatureLayout) {
    precondition(layout.gapByteCount == 4, "there is nothing to take out")
    (self.file, self.layout) = (file, layout)
  }

  func read(into output: UnsafeMutableRawBufferPointer) throws {
    let width = layout.dimension * layout.elementType.byteCount
    let stride = 4 + width
    let block = max((1 << 20) / stride, 1)
    let wanted = output.count / width
    for first in Swift.stride(from: 0, to: wanted, by: block) {
      let count = min(block, wanted - first)
      let bytes = try file.bytes(
        at: layout.dataOffset - 4 + (nextRow + first) * stride, count: count * stride, "its rows")
      for row in 0..<count {
        let own = bytes.dropFirst(row * stride).littleEndian(at: 0, 4)
        guard own == layout.dimension else {
          throw FeatureFault(
            "row \(nextRow + first + row) says it has \(own) elements, row 0 has \(layout.dimension)")
        }
        unsafe bytes.withUnsafeBytes { bytes in
          let elements = unsafe UnsafeRawBufferPointer(rebasing: bytes[row * stride + 4..<(row + 1) * stride])
          let place = (first + row) * width
          unsafe UnsafeMutableRawBufferPointer(rebasing: output[place..<place + width]).copyMemory(from: elements)
        }
      }
    }
    nextRow += wanted
  }

  func seek(toRow row: Int) { nextRow = row }

  func finish() {}
}
