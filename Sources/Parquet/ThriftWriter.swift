// The compact protocol, written: what headers of pages and footers are made of.
// Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

/// Writes structs in the compact protocol, fields in ascending order.
struct ThriftWriter {
  private(set) var bytes: [UInt8] = []
  private var last = 0

  static func unsigned(_ value: UInt64) -> [UInt8] {
    var (value, bytes) = (value, [UInt8]())
    while value >= 0x80 {
      bytes.append(UInt8(value & 0x7F) | 0x80)
      value >>= 7
    }
    return bytes + [UInt8(value)]
  }

  private static func signed(_ value: Int) -> [UInt8] { unsigned(UInt64(bitPattern: Int64(value << 1 ^ value >> 63))) }

  private mutating func field(_ id: Int, _ kind: ThriftReader.Kind) {
    precondition((1...15).contains(id - last), "fields are not ascending")
    bytes.append(UInt8(id - last) << 4 | kind.rawValue)
    last = id
  }

  mutating func integer(_ id: Int, _ value: Int, _ kind: ThriftReader.Kind) {
    field(id, kind)
    bytes += Self.signed(value)
  }

  mutating func text(_ id: Int, _ text: String) {
    field(id, .binary)
    bytes += Self.unsigned(UInt64(text.utf8.count)) + Array(text.utf8)
  }

  mutating func structure(_ id: Int, _ body: (inout ThriftWriter) -> Void) {
    field(id, .structure)
    inner(body)
  }

  private mutating func inner(_ body: (inout ThriftWriter) -> Void) {
    var writer = ThriftWriter()
    body(&writer)
    writer.end()
    bytes += writer.bytes
  }

  private mutating func list(_ id: Int, _ count: Int, of kind: ThriftReader.Kind) {
    field(id, .list)
    bytes += count < 15 ? [UInt8(count) << 4 | kind.rawValue] : [0xF0 | kind.rawValue] + Self.unsigned(UInt64(count))
  }

  mutating func structures(_ id: Int, _ count: Int, _ body: (Int, inout ThriftWriter) -> Void) {
    list(id, count, of: .structure)
    for place in 0..<count { inner { body(place, &$0) } }
  }

  mutating func integers(_ id: Int, _ values: [Int]) {
    list(id, values.count, of: .int32)
    for value in values { bytes += Self.signed(value) }
  }

  mutating func texts(_ id: Int, _ texts: [String]) {
    list(id, texts.count, of: .binary)
    for text in texts { bytes += Self.unsigned(UInt64(text.utf8.count)) + Array(text.utf8) }
  }

  mutating func end() { bytes.append(0) }

  /// The header of a page of plain values that are not compressed, behind their levels in runs.
  ///
  /// - Parameters:
  ///   - byteCount: Of levels and values together.
  ///   - valueCount: Values, nulls among them.
  /// - Returns: Its bytes.
  static func pageHeader(byteCount: Int, valueCount: Int) -> [UInt8] {
    var head = ThriftWriter()
    head.integer(1, 0, .int32)
    head.integer(2, byteCount, .int32)
    head.integer(3, byteCount, .int32)
    head.structure(5) { data in
      data.integer(1, valueCount, .int32)
      for (field, encoding) in [(2, 0), (3, 3), (4, 3)] { data.integer(field, encoding, .int32) }
    }
    head.end()
    return head.bytes
  }
}
