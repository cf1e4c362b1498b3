// Where the rows of a feature file are, by whichever format it has, and how a
// file of which nothing is believed is read.

internal import Base

/// Where the rows of a feature file are.
struct FeatureLayout: Sendable, Equatable {
  let elementType: ElementType
  let rowCount: Int
  let dimension: Int
  /// Bytes before the first element.
  let dataOffset: Int
  /// Bytes between rows: 4 in `.fvecs` and its like, otherwise 0.
  var gapByteCount = 0

  /// Bytes of all rows, and where they end.
  var endOffset: Int { gapByteCount > 0 ? dataByteCount : dataOffset + dataByteCount }
  var dataByteCount: Int { rowCount * (dimension * elementType.byteCount + gapByteCount) }

  /// Checks a shape before anything is computed with it.
  ///
  /// - Throws: ``FeatureFault`` for a shape that no file has.
  init(
    _ elementType: ElementType, shape: [Int], dataOffset: Int, gapByteCount: Int = 0
  ) throws(FeatureFault) {
    guard shape.count == 2 else {
      throw FeatureFault("its shape has \(shape.count) axes; tarn reads matrices [rows x dimension]")
    }
    let (cells, overflow) = shape[0].multipliedReportingOverflow(by: shape[1])
    guard shape[0] >= 0, shape[1] >= 0, !overflow, cells <= 1 << 48 else {
      throw FeatureFault("its shape is impossibly large")
    }
    guard shape[1] > 0 else { throw FeatureFault("its rows have no elements") }
    guard shape[1] <= 1 << 20 else { throw FeatureFault("its rows have \(shape[1]) elements") }
    (self.elementType, rowCount, dimension) = (elementType, shape[0], shape[1])
    (self.dataOffset, self.gapByteCount) = (dataOffset, gapByteCount)
  }
}

/// Why a file is no feature file: one line, the cause alone.
struct FeatureFault: Error, Equatable {
  let cause: String
  let hint: String?

  init(_ cause: String, hint: String? = nil) { (self.cause, self.hint) = (cause, hint) }
}

/// A file of which nothing is believed; reads are bounded by its length.
struct UntrustedFile {
  private let file: InputFile
  var byteCount: Int { file.byteCount }

  init(path: String) throws { file = try InputFile(path: path) }

  /// Bytes at an offset; both may be anything.
  ///
  /// - Parameters:
  ///   - offset: Where they should be.
  ///   - count: How many.
  ///   - what: What they are, for messages.
  /// - Returns: Exactly `count` bytes.
  /// - Throws: ``FeatureFault`` past the end; ``TarnError`` `.io`.
  func bytes(at offset: Int, count: Int, _ what: String) throws -> [UInt8] {
    guard offset >= 0, count >= 0, offset <= byteCount, count <= byteCount - offset else {
      throw FeatureFault("it ends at byte \(byteCount), within \(what)")
    }
    var bytes = [UInt8](repeating: 0, count: count)
    try file.read(into: &bytes, at: offset, count: count)
    return bytes
  }

  /// The elements behind a layout, rows without their gaps.
  ///
  /// - Parameter layout: A layout with gaps, whose rows are all in the file.
  /// - Returns: The bytes of `[rowCount × dimension]` elements.
  /// - Throws: ``FeatureFault`` when a gap doesn't hold the dimension;
  ///   ``TarnError`` `.io`.
  func rows(_ layout: FeatureLayout) throws -> [UInt8] {
    precondition(layout.gapByteCount == 4, "there is nothing to take out")
    let stride = 4 + layout.dimension * layout.elementType.byteCount
    let block = max((4 << 20) / stride, 1)
    var elements: [UInt8] = []
    elements.reserveCapacity(layout.rowCount * (stride - 4))
    for first in Swift.stride(from: 0, to: layout.rowCount, by: block) {
      let count = min(block, layout.rowCount - first)
      let bytes = try bytes(at: layout.dataOffset - 4 + first * stride, count: count * stride, "its rows")
      for row in 0..<count {
        let own = bytes[row * stride..<(row + 1) * stride]
        guard own.littleEndian(at: 0, 4) == layout.dimension else {
          throw FeatureFault(
            "row \(first + row) says it has \(own.littleEndian(at: 0, 4)) elements, row 0 has \(layout.dimension)")
        }
        elements += own.dropFirst(4)
      }
    }
    return elements
  }
}

extension RandomAccessCollection<UInt8> where Index == Int {
  /// An unsigned number of `width` bytes, `1...7`, that must be there.
  func littleEndian(at offset: Int, _ width: Int) -> Int {
    (0..<width).reduce(0) { $0 | Int(self[startIndex + offset + $1]) << (8 * $1) }
  }

  /// An unsigned 64-bit number; nil when it is no `Int`.
  func littleEndian64(at offset: Int) -> Int? {
    Int(exactly: (0..<8).reduce(UInt64(0)) { $0 | UInt64(self[startIndex + offset + $1]) << (8 * UInt64($1)) })
  }
}
