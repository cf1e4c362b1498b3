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

  /// The shape and the type, as NumPy has them.
  var description: String { "[\(rowCount) x \(dimension)] \(elementType)" }

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
  /// Whether the file is good, as far as it was read, and the array that is wanted is not in it, or not said.
  let isOfArray: Bool

  init(_ cause: String, hint: String? = nil, isOfArray: Bool = false) {
    (self.cause, self.hint, self.isOfArray) = (cause, hint, isOfArray)
  }

  /// That a file has no array of a name.
  static func noArray(_ name: String, of names: [String]) -> FeatureFault {
    FeatureFault("it has no array '\(name.printable)'", hint: "it has \(list(names))", isOfArray: true)
  }

  /// That a file has several arrays and nobody said which.
  static func noChoice(of names: [String]) -> FeatureFault {
    FeatureFault(
      "it has \(names.count) arrays, and which of them holds the features is not said",
      hint: names.isEmpty ? nil : "\(FeatureFile.wayToArray): it has \(list(names))", isOfArray: true)
  }

  private static func list(_ names: [String]) -> String {
    names.isEmpty
      ? "none" : names.prefix(20).map(\.printable).joined(separator: ", ") + (names.count > 20 ? " and others" : "")
  }
}

/// A file of which nothing is believed; reads are bounded by its length.
struct UntrustedFile {
  let input: InputFile
  var path: String { input.path }
  var byteCount: Int { input.byteCount }

  init(path: String) throws { input = try InputFile(path: path) }
  init(_ input: InputFile) { self.input = input }

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
    try input.read(into: &bytes, at: offset, count: count)
    return bytes
  }

  /// Fills a buffer; bounds as those of ``bytes(at:count:_:)``.
  func read(into output: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    guard offset >= 0, offset <= byteCount, output.count <= byteCount - offset else {
      throw FeatureFault("it ends at byte \(byteCount), within its rows")
    }
    try unsafe input.read(into: output, at: offset)
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
