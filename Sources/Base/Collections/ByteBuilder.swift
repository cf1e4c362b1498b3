// Binary formats of our own, put together in memory.

/// Little-endian bytes put together in memory.
package struct ByteBuilder {
  package private(set) var bytes: [UInt8] = []

  package init() {}

  package mutating func append(_ value: some FixedWidthInteger) {
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
  }

  package mutating func append(_ value: Float) { append(value.bitPattern) }

  package mutating func append(_ text: StaticString) {
    text.withUTF8Buffer { unsafe bytes.append(contentsOf: $0) }
  }

  package mutating func append(contentsOf more: [UInt8]) { bytes += more }

  package mutating func append(contentsOf values: [Float]) {
    unsafe values.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
  }

  package mutating func append(contentsOf values: [UInt64]) {
    unsafe values.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
  }
}
