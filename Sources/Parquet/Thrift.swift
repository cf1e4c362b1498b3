// The compact protocol of Thrift, as far as parquet's heads are written in it. Its
// bytes may be anything: every count is held against the bytes that are left
// before it is believed, and nothing nests deeper than a bound.
// Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

/// Why bytes are no Thrift.
enum ThriftFault: Error {
  /// They end within something; more of them might do.
  case ended
  case malformed(String)
}

/// Reads structs out of bytes, a field after the other.
@safe struct ThriftReader {
  enum Kind: UInt8 {
    case boolTrue = 1
    case boolFalse, byte, int16, int32, int64, double, binary, list, set, map, structure, uuid
  }

  /// A field whose value comes next.
  struct Field {
    let id: Int
    let kind: Kind
  }

  /// A list whose elements come next.
  struct List {
    let count: Int
    let kind: Kind
  }

  private let bytes: UnsafeRawBufferPointer
  /// Bytes that were read.
  private(set) var position: Int

  /// Structs, lists and maps within each other that are passed over.
  private static let maximumDepth = 24

  /// Begins at a byte; the bytes must outlive the reader.
  init(_ bytes: UnsafeRawBufferPointer, at position: Int = 0) {
    unsafe self.bytes = bytes
    self.position = position
  }

  private var left: Int { unsafe bytes.count - position }

  private mutating func byte() throws(ThriftFault) -> UInt8 {
    guard left > 0 else { throw .ended }
    defer { position += 1 }
    return unsafe bytes[position]
  }

  /// An unsigned number of at most 64 bits, seven a byte.
  private mutating func unsigned() throws(ThriftFault) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), through: 63, by: 7) {
      let byte = try byte()
      guard shift < 63 || byte <= 1 else { throw .malformed("a number has more than 64 bits") }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    throw .malformed("a number has more than 64 bits")
  }

  private mutating func signed() throws(ThriftFault) -> Int64 {
    let value = try unsigned()
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  /// The number of a field of kind `int16`, `int32` or `int64`, or the one of a byte.
  mutating func integer(_ kind: Kind) throws(ThriftFault) -> Int {
    switch kind {
    case .byte: return Int(Int8(bitPattern: try byte()))
    case .int16, .int32, .int64: return Int(try signed())
    default: throw .malformed("a number is of another type")
    }
  }

  /// The bytes of a field of kind `binary`, at most `limit` of them.
  mutating func binary(_ kind: Kind, atMost limit: Int) throws(ThriftFault) -> [UInt8] {
    guard kind == .binary else { throw .malformed("a text is of another type") }
    let count = try length(of: 1)
    guard count <= limit else { throw .malformed("a text has \(count) bytes") }
    defer { position += count }
    return unsafe Array(bytes[position..<(position + count)])
  }

  mutating func text(_ kind: Kind, atMost limit: Int) throws(ThriftFault) -> String {
    guard let text = String(validating: try binary(kind, atMost: limit), as: UTF8.self) else {
      throw .malformed("a text is not UTF-8")
    }
    return text
  }

  static func bool(_ kind: Kind) throws(ThriftFault) -> Bool {
    guard kind == .boolTrue || kind == .boolFalse else { throw .malformed("a truth value is of another type") }
    return kind == .boolTrue
  }

  /// A count of things that take `width` bytes each, at least, and that are there.
  private mutating func length(of width: Int) throws(ThriftFault) -> Int {
    let value = try unsigned()
    guard value < 1 << 31 else { throw .malformed("a count is \(value)") }
    guard Int(value) <= left / width else { throw .ended }
    return Int(value)
  }

  /// The next field of a struct; nil at its end.
  ///
  /// - Parameter last: The number of the field before, 0 at first; is kept up.
  /// - Returns: What comes next.
  /// - Throws: ``ThriftFault``.
  mutating func field(after last: inout Int) throws(ThriftFault) -> Field? {
    let head = try byte()
    if head == 0 { return nil }
    guard let kind = Kind(rawValue: head & 0xF) else { throw .malformed("a field has type \(head & 0xF)") }
    let step = Int(head >> 4)
    let id = step == 0 ? Int(try signed()) : last + step
    guard (0...0x7FFF).contains(id) else { throw .malformed("a field has number \(id)") }
    last = id
    return Field(id: id, kind: kind)
  }

  /// The head of a list of a field.
  mutating func list(_ kind: Kind) throws(ThriftFault) -> List {
    guard kind == .list || kind == .set else { throw .malformed("a list is of another type") }
    let head = try byte()
    // fastparquet gives an empty list no type.
    if head == 0 { return List(count: 0, kind: .byte) }
    guard let element = Kind(rawValue: head & 0xF) else { throw .malformed("a list has type \(head & 0xF)") }
    if head >> 4 == 15 { return List(count: try length(of: 1), kind: element) }
    guard Int(head >> 4) <= left else { throw .ended }
    return List(count: Int(head >> 4), kind: element)
  }

  /// The head of a list of structs.
  mutating func structures(_ kind: Kind) throws(ThriftFault) -> Int {
    let list = try list(kind)
    guard list.count == 0 || list.kind == .structure else { throw .malformed("a list is of another type") }
    return list.count
  }

  /// Makes sure that a field is a struct, which comes next.
  static func structure(_ kind: Kind) throws(ThriftFault) {
    guard kind == .structure else { throw .malformed("a struct is of another type") }
  }

  /// Passes over the value of a field.
  mutating func skip(_ kind: Kind) throws(ThriftFault) { try skip(kind, depth: 0, isElement: false) }

  /// Passes over a struct.
  mutating func skipStructure() throws(ThriftFault) { try skip(.structure, depth: 0, isElement: false) }

  private mutating func skip(_ kind: Kind, depth: Int, isElement: Bool) throws(ThriftFault) {
    guard depth < Self.maximumDepth else { throw .malformed("it is nested more than \(Self.maximumDepth) deep") }
    switch kind {
    // A field's truth value is its type; an element's is a byte.
    case .boolTrue, .boolFalse: if isElement { _ = try byte() }
    case .byte: _ = try byte()
    case .int16, .int32, .int64: _ = try unsigned()
    case .double: try pass(8)
    case .uuid: try pass(16)
    case .binary: try pass(length(of: 1))
    case .list, .set:
      let list = try list(kind)
      for _ in 0..<list.count { try skip(list.kind, depth: depth + 1, isElement: true) }
    case .map:
      let count = try length(of: 1)
      guard count > 0 else { return }
      let kinds = try byte()
      guard let key = Kind(rawValue: kinds >> 4), let value = Kind(rawValue: kinds & 0xF) else {
        throw .malformed("a map has type \(kinds)")
      }
      for _ in 0..<count {
        try skip(key, depth: depth + 1, isElement: true)
        try skip(value, depth: depth + 1, isElement: true)
      }
    case .structure:
      var last = 0
      while let field = try field(after: &last) { try skip(field.kind, depth: depth + 1, isElement: false) }
    }
  }

  private mutating func pass(_ count: Int) throws(ThriftFault) {
    guard count <= left else { throw .ended }
    position += count
  }
}
