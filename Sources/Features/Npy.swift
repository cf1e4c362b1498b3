// The header of a NumPy .npy file, parsed properly: what a shard says of
// itself before any of its rows is believed.
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

/// What a `.npy` header declares: a C-order matrix `[rowCount × dimension]`.

package import Base
package struct NpyHeader: Sendable, Equatable {
  package let elementType: ElementType
  /// Rows of the matrix, `0...`.
  package let rowCount: Int
  /// Columns of the matrix, `1...`.
  package let dimension: Int
  /// Bytes before the first element.
  package let dataOffset: Int

  /// Bytes of a whole file with this header.
  package var fileByteCount: Int { dataOffset + rowCount * dimension * elementType.byteCount }

  /// The most header bytes that are looked at; NumPy writes 128 for a matrix.
  package static let maximumByteCount = 12 + 65_535

  /// What the first bytes of a file are, as far as they tell.
  package enum Prefix: Sendable, Equatable {
    /// A whole header was read.
    case header(NpyHeader)
    /// Good so far, but the header goes on beyond them.
    case needsMore
    /// Not a feature matrix: the cause, for an error message.
    case malformed(String)
  }

  /// Reads a header from a file's first bytes, which may end before it does.
  ///
  /// - Parameter bytes: The file from its start, as much as there is.
  /// - Returns: The header, how many bytes it needs, or why it is none.
  package static func parse(_ bytes: [UInt8]) -> Prefix {
    switch literal(of: bytes) {
    case nil: return .needsMore
    case .failure(let fault): return .malformed(fault.cause)
    case .success(var literal):
      do {
        return .header(try literal.header())
      } catch {
        return .malformed(error.cause)
      }
    }
  }

  /// Whether a header is of an array that holds no features, however it is read: of other than two axes, or of
  /// elements that are no numbers.
  ///
  /// - Parameter bytes: The file from its start, as much as there is.
  /// - Returns: False too for what cannot be read; nil when the header goes on beyond the bytes.
  static func saysNoMatrix(_ bytes: [UInt8]) -> Bool? {
    switch literal(of: bytes) {
    case nil: return nil
    case .failure: return false
    case .success(var literal):
      do {
        let (descr, _, shape) = try literal.members()
        // NumPy's letters of booleans, objects, texts, bytes, records, dates and durations.
        let kind = descr.first { !"<>|=".contains($0) }
        return shape.count != 2 || kind.map { "bOSUVMma".contains($0) } ?? false
      } catch {
        return error.isOfRecords
      }
    }
  }

  /// What every `.npy` begins with.
  package static let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]

  /// Finds the literal of a header; nil when it goes on beyond the bytes.
  private static func literal(of bytes: [UInt8]) -> Result<PythonLiteral, Malformed>? {
    guard bytes.starts(with: magic.prefix(bytes.count)) else {
      return .failure(Malformed(cause: "not an .npy file (\(describeStart(of: bytes)))"))
    }
    guard bytes.count >= 8 else { return nil }
    let lengthBytes: Int
    switch (bytes[6], bytes[7]) {
    case (1, 0): lengthBytes = 2
    case (2, 0), (3, 0): lengthBytes = 4
    default: return .failure(Malformed(cause: "unknown .npy version \(bytes[6]).\(bytes[7])"))
    }
    let textStart = 8 + lengthBytes
    guard bytes.count >= textStart else { return nil }
    let textLength = (0..<lengthBytes).reduce(0) { $0 | Int(bytes[8 + $1]) << (8 * $1) }
    let end = textStart + textLength
    guard end <= maximumByteCount else {
      return .failure(Malformed(cause: ".npy header of \(textLength) bytes is too long to be one"))
    }
    guard bytes.count >= end else { return nil }
    return .success(PythonLiteral(bytes[textStart..<end], hasLongs: bytes[6] < 3))
  }

  /// Reads the header of an array of int64 of one dimension, or of one column or row.
  ///
  /// - Parameters:
  ///   - bytes: The file from its start, as much as a header may take.
  ///   - path: Its name, for messages.
  /// - Returns: Elements, and bytes before the first.
  /// - Throws: ``TarnError`` `.usage` for anything else.
  package static func integers(_ bytes: [UInt8], of path: String) throws -> (count: Int, dataOffset: Int) {
    let (shape, dataOffset) = try shapeOfIntegers(bytes, of: path)
    let others = shape.filter { $0 != 1 }
    guard others.count <= 1 else { throw noIntegers(path, "its shape is \(shape)") }
    return (others.first ?? 1, dataOffset)
  }

  private static func noIntegers(_ path: String, _ cause: String) -> TarnError {
    TarnError(
      .usage, "\(path) is no array of int64: \(cause)",
      hint: "save it with numpy.save(FILE, numpy.ascontiguousarray(ids, '<i8'))")
  }

  /// Reads the header of an array of int64 of one or two dimensions.
  ///
  /// - Parameters:
  ///   - bytes: The file from its start, as much as a header may take.
  ///   - path: Its name, for messages.
  /// - Returns: The shape, and bytes before the first element.
  /// - Throws: ``TarnError`` `.usage` for anything else.
  package static func shapeOfIntegers(
    _ bytes: [UInt8], of path: String
  ) throws -> (shape: [Int], dataOffset: Int) {
    func refuse(_ cause: String) -> TarnError { noIntegers(path, cause) }
    guard case .success(var literal) = literal(of: bytes) else { throw refuse("its header is none of an .npy file") }
    let (descr, isFortran, shape): (String, Bool, [Int])
    do {
      (descr, isFortran, shape) = try literal.members()
    } catch {
      throw refuse(error.cause)
    }
    guard descr == "<i8" else { throw refuse("its dtype is '\(descr.prefix(20).description.printable)'") }
    guard !shape.isEmpty, shape.filter({ $0 != 1 }).count <= 2, shape.allSatisfy(ForeignNumber.rowCount.holds) else {
      throw refuse("its shape is \(shape)")
    }
    // Its rows would be read as columns; of one column or row both orders are the same.
    guard !isFortran || shape.filter({ $0 > 1 }).count <= 1 else { throw refuse("it is in Fortran order") }
    return (shape, literal.end)
  }

  private static func describeStart(of bytes: [UInt8]) -> String {
    if bytes.isEmpty { return "it is empty" }
    let text = String(decoding: bytes.prefix(64), as: UTF8.self).lowercased()
    if text.contains("<html") || text.contains("<!doctype") { return "it is an HTML page" }
    if bytes.starts(with: [0x50, 0x4B]) { return "it is a zip archive" }
    if bytes.allSatisfy({ $0 == 0 }) { return "its first bytes are zeros" }
    let start = bytes.prefix(6).map { byte in
      let digits = String(byte, radix: 16)
      return digits.count == 1 ? "0" + digits : digits
    }
    return "it starts with \(start.joined(separator: " "))"
  }
}

/// Why a header is not one of a feature matrix.
private struct Malformed: Error {
  let cause: String
  /// Whether its elements are records.
  var isOfRecords = false
}

/// A reader of the one Python literal that a header holds.
///
/// It is a dictionary with `descr`, `fortran_order` and `shape`. Nothing is
/// evaluated.
private struct PythonLiteral {
  private let bytes: ArraySlice<UInt8>
  private var position: Int
  /// Whether a number may end with an L: Python 2 wrote its long integers so, in
  /// the versions of the format that there were then.
  private let hasLongs: Bool

  init(_ bytes: ArraySlice<UInt8>, hasLongs: Bool) {
    (self.bytes, self.hasLongs) = (bytes, hasLongs)
    position = bytes.startIndex
  }

  /// Bytes of the file before what comes behind the literal.
  var end: Int { bytes.endIndex }

  /// What the dictionary says: the name of the element type, whether columns come first,
  /// the shape.
  mutating func members() throws(Malformed) -> (descr: String, isFortran: Bool, shape: [Int]) {
    var descr: String?
    var fortranOrder: Bool?
    var shape: [Int]?
    try expect("{")
    while peek() != "}" {
      let key = try string()
      try expect(":")
      switch key {
      case "descr" where descr == nil:
        guard peek() == "'" || peek() == "\"" else {
          throw Malformed(cause: "its elements are records, not numbers", isOfRecords: true)
        }
        descr = try string()
      case "fortran_order" where fortranOrder == nil: fortranOrder = try boolean()
      case "shape" where shape == nil: shape = try tuple()
      default: throw Malformed(cause: "unexpected key '\(key.prefix(40))' in the .npy header")
      }
      if peek() == "," { try expect(",") } else { break }
    }
    try expect("}")
    guard peek() == nil else { throw Malformed(cause: "text after the .npy header's dictionary") }
    guard let descr, let fortranOrder, let shape else {
      throw Malformed(cause: "the .npy header lacks descr, fortran_order or shape")
    }
    return (descr, fortranOrder, shape)
  }

  mutating func header() throws(Malformed) -> NpyHeader {
    let (descr, isFortran, shape) = try members()
    guard !isFortran else {
      throw Malformed(cause: "it is in Fortran order; save it with numpy.ascontiguousarray")
    }
    let elementType: ElementType
    switch descr {
    case "<f2": elementType = .float16
    case "<f4": elementType = .float32
    case "<f8": elementType = .float64
    case "|u1": elementType = .uint8
    case "|i1": elementType = .int8
    default:
      throw Malformed(
        cause: "its dtype is '\(descr.prefix(20))'; tarn reads '<f2', '<f4', '<f8' (floats), '|u1' and '|i1' (bytes)")
    }
    do throws(FeatureFault) {
      let layout = try FeatureLayout(elementType, shape: shape, dataOffset: end)
      return NpyHeader(
        elementType: elementType, rowCount: layout.rowCount, dimension: layout.dimension, dataOffset: end)
    } catch {
      throw Malformed(cause: error.cause)
    }
  }

  private mutating func peek() -> Character? {
    while position < bytes.endIndex, [0x20, 0x0A, 0x09, 0x0D].contains(bytes[position]) { position += 1 }
    return position < bytes.endIndex ? Character(UnicodeScalar(bytes[position])) : nil
  }

  private mutating func expect(_ wanted: Character) throws(Malformed) {
    guard peek() == wanted else { throw Malformed(cause: "the .npy header is not a dictionary as NumPy writes it") }
    position += 1
  }

  private mutating func string() throws(Malformed) -> String {
    let quote: UInt8 = peek() == "\"" ? 0x22 : 0x27
    try expect(quote == 0x22 ? "\"" : "'")
    let start = position
    while position < bytes.endIndex, bytes[position] != quote {
      guard bytes[position] >= 0x20, bytes[position] < 0x7F, bytes[position] != 0x5C else {
        throw Malformed(cause: "the .npy header has a control or escaped character")
      }
      position += 1
    }
    guard position < bytes.endIndex else { throw Malformed(cause: "the .npy header has an open quote") }
    position += 1
    return String(decoding: bytes[start..<(position - 1)], as: UTF8.self)
  }

  private mutating func boolean() throws(Malformed) -> Bool {
    for (word, value) in [("True", true), ("False", false)] {
      guard peek() != nil, bytes[position...].starts(with: word.utf8) else { continue }
      position += word.utf8.count
      return value
    }
    throw Malformed(cause: "fortran_order is neither True nor False")
  }

  private mutating func tuple() throws(Malformed) -> [Int] {
    try expect("(")
    var values: [Int] = []
    while peek() != ")" {
      var digits = ""
      while let character = peek(), character.isASCII, character.isNumber, digits.utf8.count < 19 {
        digits.append(character)
        position += 1
      }
      guard let value = Int(digits), values.count < 32 else {
        throw Malformed(cause: "the shape is not a tuple of numbers")
      }
      values.append(value)
      if hasLongs, position < bytes.endIndex, bytes[position] == 0x4C { position += 1 }
      if peek() == "," { try expect(",") } else { break }
    }
    try expect(")")
    return values
  }
}

extension NpyHeader {
  /// A header of version 1.0 for a C-order matrix, padded as NumPy pads it.
  ///
  /// - Parameters:
  ///   - descr: NumPy's name of the element type, e.g. `<i8`.
  ///   - rowCount: Rows.
  ///   - columns: Columns.
  /// - Returns: The bytes before the first element.
  package static func bytes(descr: String, rowCount: Int, columns: Int) -> [UInt8] {
    let literal = "{'descr': '\(descr)', 'fortran_order': False, 'shape': (\(rowCount), \(columns)), }"
    let length = (10 + literal.utf8.count + 1 + 63) / 64 * 64 - 10
    let padding = [UInt8](repeating: 0x20, count: length - literal.utf8.count - 1)
    return magic + [1, 0, UInt8(length & 255), UInt8(length >> 8)] + Array(literal.utf8)
      + padding + [0x0A]
  }
}

enum NpyReader: FeatureReader {
  static let extensions = ["npy"]
  /// NumPy writes 128 bytes, and wrote 80 or 96; others write what they like.
  static let fixedByteCounts: (header: Int, gap: Int)? = nil

  static func head(_ start: [UInt8], byteCount: Int?) throws(FeatureFault) -> FeatureHead? {
    switch NpyHeader.parse(start) {
    case .needsMore: return nil
    case .malformed(let cause): throw FeatureFault(cause)
    case .header(let header):
      return FeatureHead(
        try FeatureLayout(
          header.elementType, shape: [header.rowCount, header.dimension], dataOffset: header.dataOffset))
    }
  }
}
