// Reads JSON that others wrote, strictly (RFC 8259): one meaning for a text. A
// member named twice, which readers take differently, is refused, and depth has
// a bound.

/// Why a text is no JSON, or not JSON with one meaning.
package struct JSONFault: Error, Sendable, Equatable {
  /// One line, without the file's name.
  package let message: String
  /// Byte at which it was found, from 0.
  package let offset: Int
}

/// A reader of one JSON text.
struct JSONReader {
  /// Arrays and objects inside each other.
  private static let depthLimit = 128

  private let bytes: [UInt8]
  private var next = 0
  private var depth = 0
  /// Members of the outermost object whose arrays of numbers become floats, and what became of them.
  private var floatNames: [String] = []
  private var floats: [String: JSONFloats] = [:]
  private var wholeNumbers = JSONValue.WholeNumbers.rounded
  private var isOfPython = false

  /// The value of a whole text.
  ///
  /// - Parameters:
  ///   - bytes: UTF-8, without a byte order mark.
  ///   - wholeNumbers: What becomes of those that do not fit.
  ///   - isOfPython: Whether what Python's `json` writes beyond RFC 8259 is read: `NaN` and infinities as null, half a
  ///     surrogate pair as U+FFFD.
  /// - Returns: The value. Numbers without fraction and exponent that fit are
  ///   `.integer`, others `.number`.
  /// - Throws: ``JSONFault``.
  static func value(
    of bytes: [UInt8], wholeNumbers: JSONValue.WholeNumbers = .rounded, isOfPython: Bool = false
  ) throws(JSONFault) -> JSONValue {
    var reader = JSONReader(bytes: bytes)
    (reader.wholeNumbers, reader.isOfPython) = (wholeNumbers, isOfPython)
    return try reader.whole()
  }

  /// As ``value(of:)``, with arrays of numbers that are members of the outermost object read as floats.
  ///
  /// - Parameters:
  ///   - bytes: As for ``value(of:)``.
  ///   - names: Of the members.
  /// - Returns: The value, in which an empty array stands for each that was read so, and those. An array that is not of
  ///   finite numbers of float32 alone is in the value as it is.
  /// - Throws: ``JSONFault``.
  static func value(
    of bytes: [UInt8], floatsOf names: [String]
  ) throws(JSONFault) -> (value: JSONValue, floats: [String: JSONFloats]) {
    var reader = JSONReader(bytes: bytes)
    reader.floatNames = names
    let value = try reader.whole()
    return (value, reader.floats)
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private mutating func whole() throws(JSONFault) -> JSONValue {
    let value = try value()
    skipSpace()
    guard next == bytes.count else { throw fault("something follows the value") }
    return value
  }

  private var current: UInt8? { next < bytes.count ? bytes[next] : nil }

  private func fault(_ message: String) -> JSONFault { JSONFault(message: message, offset: next) }

  private mutating func skipSpace() {
    while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { next += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard current == byte else { return false }
    next += 1
    return true
  }

  private mutating func value() throws(JSONFault) -> JSONValue {
    skipSpace()
    switch current {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case nil: throw fault("it ends early")
    case UInt8(ascii: "N") where isOfPython: return try word("NaN", .null)
    case UInt8(ascii: "I") where isOfPython: return try word("Infinity", .null)
    case UInt8(ascii: "-") where isOfPython && bytes[next...].starts(with: "-I".utf8):
      return try word("-Infinity", .null)
    default: return try number()
    }
  }

  private mutating func word(_ word: String, _ value: JSONValue) throws(JSONFault) -> JSONValue {
    guard bytes[next...].starts(with: word.utf8) else { throw fault("no value begins so") }
    next += word.utf8.count
    return value
  }

  private mutating func enter() throws(JSONFault) {
    depth += 1
    guard depth <= Self.depthLimit else { throw fault("it is nested deeper than \(Self.depthLimit)") }
    next += 1
  }

  private mutating func object() throws(JSONFault) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var members: [String: JSONValue] = [:]
    skipSpace()
    if take(UInt8(ascii: "}")) { return .object(members) }
    while true {
      skipSpace()
      guard current == UInt8(ascii: "\"") else { throw fault("a member has no name") }
      let name = try string()
      skipSpace()
      guard take(UInt8(ascii: ":")) else { throw fault("a member has no value") }
      let floats = floats(of: name)
      let member = if let floats { floats } else { try value() }
      guard members.updateValue(member, forKey: name) == nil else {
        throw fault("the member '\(name.printable)' is there twice")
      }
      skipSpace()
      if take(UInt8(ascii: "}")) { return .object(members) }
      guard take(UInt8(ascii: ",")) else { throw fault("an object does not end") }
    }
  }

  /// An empty array, in the place of one that was read as floats.
  private mutating func floats(of name: String) -> JSONValue? {
    guard depth == 1, floatNames.contains(name) else { return nil }
    skipSpace()
    guard let read = JSONFloatReader.array(in: bytes, at: &next) else { return nil }
    floats[name] = read
    return .array([])
  }

  private mutating func array() throws(JSONFault) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var values: [JSONValue] = []
    skipSpace()
    if take(UInt8(ascii: "]")) { return .array(values) }
    while true {
      values.append(try value())
      skipSpace()
      if take(UInt8(ascii: "]")) { return .array(values) }
      guard take(UInt8(ascii: ",")) else { throw fault("an array does not end") }
    }
  }

  // MARK: Strings and numbers

  private mutating func string() throws(JSONFault) -> String {
    next += 1
    // Most have no escapes.
    let end = bytes[next...].firstIndex { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") || $0 < 0x20 }
    var text = Array(bytes[next..<(end ?? bytes.count)])
    next += text.count
    while let byte = current {
      next += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: text, as: UTF8.self) else { throw fault("a string is no UTF-8") }
        return text
      case UInt8(ascii: "\\"): text += try escaped()
      case ..<0x20: throw fault("a string holds a control character")
      default: text.append(byte)
      }
    }
    throw fault("a string does not end")
  }

  private mutating func escaped() throws(JSONFault) -> [UInt8] {
    guard let byte = current else { throw fault("a string does not end") }
    next += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
    case UInt8(ascii: "b"): return [0x08]
    case UInt8(ascii: "f"): return [0x0C]
    case UInt8(ascii: "n"): return [0x0A]
    case UInt8(ascii: "r"): return [0x0D]
    case UInt8(ascii: "t"): return [0x09]
    case UInt8(ascii: "u"): return Array(String(try scalar()).utf8)
    default: throw fault("a string has an escape that there is not")
    }
  }

  private mutating func scalar() throws(JSONFault) -> Character {
    var code = try hexadecimal()
    let end = next
    if (0xD800..<0xDC00).contains(code), take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
      let low = try hexadecimal()
      if (0xDC00..<0xE000).contains(low) {
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      } else if !isOfPython {
        throw fault("half a surrogate pair")
      }
    }
    guard let scalar = Unicode.Scalar(code) else {
      guard isOfPython else { throw fault("half a surrogate pair") }
      // What follows it is its own.
      next = end
      return "\u{FFFD}"
    }
    return Character(scalar)
  }

  private mutating func hexadecimal() throws(JSONFault) -> UInt32 {
    guard next + 4 <= bytes.count else { throw fault("an escape is cut short") }
    var code: UInt32 = 0
    for byte in bytes[next..<next + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { throw fault("an escape is no number") }
      code = code << 4 | UInt32(digit)
    }
    next += 4
    return code
  }

  private mutating func digits() throws(JSONFault) {
    let first = next
    while current?.isDigit == true { next += 1 }
    guard next > first else { throw fault("no value begins so") }
  }

  private mutating func number() throws(JSONFault) -> JSONValue {
    let first = next
    _ = take(UInt8(ascii: "-"))
    if !take(UInt8(ascii: "0")) { try digits() }
    let end = next
    if take(UInt8(ascii: ".")) { try digits() }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      try digits()
    }
    let text = String(decoding: bytes[first..<next], as: UTF8.self)
    if next == end {
      if let value = Int64(text) { return .integer(value) }
      if wholeNumbers == .kept { return .string(text) }
    }
    guard let value = Double(text), value.isFinite else { throw fault("a number is too large") }
    return .number(value)
  }
}
