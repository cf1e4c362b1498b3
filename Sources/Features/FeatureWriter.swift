// Writing feature files: what stands before the rows, between them and behind them, for
// every format that tarn writes. The same rows are the same bytes.

package import Base
internal import CZip
internal import Parquet

/// Writes the rows of one file in a format.
package struct FeatureWriter {
  private enum Form {
    /// All that is not rows stands before them.
    case plain
    /// A number before every row.
    case gaps
    case npz(ZipEntryWriter)
    case parquet(FloatListWriter)
  }

  private let rowByteCount: Int
  private let dimension: Int
  private var form: Form = .plain
  private var head: [UInt8] = []

  /// The formats that can be written, as a sentence has them.
  package static var enumeration: String {
    FeatureFormat.allCases.filter { !$0.writable.isEmpty }.map { "." + $0.rawValue }.alternatives
  }

  /// Prepares a file.
  ///
  /// - Parameters:
  ///   - path: Its name, which says the format.
  ///   - name: What its array is called, where arrays have names.
  ///   - elementType: Its elements.
  ///   - rowCount: Its rows, all of which will be given.
  ///   - dimension: Elements of a row.
  /// - Throws: ``TarnError`` `.usage` for a format that is not written or does not hold such rows.
  package init(
    for path: String, name: String, _ elementType: ElementType, rowCount: Int, dimension: Int
  ) throws {
    guard let format = FeatureFormat(extensionOf: path), !format.writable.isEmpty else {
      throw TarnError(
        .usage, "\(path) has no name of a form that tarn writes", hint: "it writes \(Self.enumeration)")
    }
    guard format.writable.contains(elementType) else {
      let kinds = format.writable.map(\.rawValue).joined(separator: ", ")
      let ways = [ElementType.float16, .float32].filter(format.writable.contains).map { "--dtype \($0.rawValue)" }
      throw TarnError(
        .usage, "a .\(format.rawValue) file does not hold \(elementType), only \(kinds)",
        hint: ways.isEmpty ? "name another form" : "say \(ways.joined(separator: " or ")), or name another form")
    }
    guard rowCount > 0 || format.tellsDimensionWithoutRows else {
      throw TarnError(
        .usage, "a .\(format.rawValue) file without rows does not tell their dimension, and is not written",
        hint: "name another form")
    }
    rowByteCount = dimension * elementType.byteCount
    self.dimension = dimension
    let byteCount = rowCount * rowByteCount
    switch format {
    case .npy: head = Self.npy(elementType, rowCount, dimension)
    case .npz:
      let npy = Self.npy(elementType, rowCount, dimension)
      var entry = try ZipEntryWriter(name + ".npy", byteCount: npy.count + byteCount)
      unsafe npy.withUnsafeBytes { unsafe entry.add($0) }
      head = entry.head + npy
      form = .npz(entry)
    case .safetensors:
      guard name != SafetensorsReader.metadata else {
        throw TarnError(.usage, "'\(name)' is no name of a tensor", hint: "choose another name with --array")
      }
      head = Self.safetensors(name, elementType, rowCount, dimension)
    case .fbin, .f16bin, .u8bin, .i8bin:
      guard let rows = UInt32(exactly: rowCount) else {
        throw TarnError(.usage, "a .\(format.rawValue) file does not hold \(rowCount) rows", hint: "name another form")
      }
      head = Self.bytes(rows) + Self.bytes(UInt32(dimension))
    case .fvecs, .bvecs: form = .gaps
    case .parquet:
      let writer = try FloatListWriter(column: name, elementType, rowCount: rowCount, dimension: dimension)
      head = writer.head
      form = .parquet(writer)
    case .torch: preconditionFailure("not a form that is written")
    }
  }

  /// Where in the file bytes stand that only the rows tell, and which: after ``finish(_:)``.
  package private(set) var amendment: (offset: Int, bytes: [UInt8])?

  /// Gives what stands before the rows.
  package func begin(_ write: (UnsafeRawBufferPointer) throws -> Void) throws {
    try unsafe head.withUnsafeBytes { if unsafe !$0.isEmpty { try unsafe write($0) } }
  }

  /// Gives the bytes of rows.
  ///
  /// - Parameters:
  ///   - rows: The next ones, whole.
  ///   - write: Gets the bytes of the file, in order.
  /// - Throws: Whatever `write` does.
  package mutating func add(
    _ rows: UnsafeRawBufferPointer, _ write: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    switch form {
    case .plain: try unsafe write(rows)
    case .gaps:
      var bytes: [UInt8] = []
      bytes.reserveCapacity(rows.count / rowByteCount * (4 + rowByteCount))
      for first in stride(from: 0, to: rows.count, by: rowByteCount) {
        bytes += Self.bytes(UInt32(dimension))
        unsafe bytes += rows[first..<first + rowByteCount]
      }
      try unsafe bytes.withUnsafeBytes(write)
    case .npz(var entry):
      unsafe entry.add(rows)
      form = .npz(entry)
      try unsafe write(rows)
    case .parquet(let writer): try unsafe writer.add(rows, write)
    }
  }

  /// Gives what stands behind the rows.
  package mutating func finish(_ write: (UnsafeRawBufferPointer) throws -> Void) throws {
    switch form {
    case .plain, .gaps: break
    case .npz(let entry):
      try unsafe entry.tail.withUnsafeBytes(write)
      amendment = (ZipEntryWriter.sumOffset, Self.bytes(entry.sum))
    case .parquet(let writer): try unsafe writer.finish(write)
    }
  }

  // MARK: - Heads

  private static func npy(_ elementType: ElementType, _ rowCount: Int, _ dimension: Int) -> [UInt8] {
    let descr =
      switch elementType {
      case .float16: "<f2"
      case .float32: "<f4"
      case .float64: "<f8"
      case .uint8: "|u1"
      case .int8: "|i1"
      case .bfloat16: preconditionFailure("NumPy has no bfloat16")
      }
    return NpyHeader.bytes(descr: descr, rowCount: rowCount, columns: dimension)
  }

  private static func safetensors(
    _ name: String, _ elementType: ElementType, _ rowCount: Int, _ dimension: Int
  ) -> [UInt8] {
    let dtype =
      switch elementType {
      case .float16: "F16"
      case .float32: "F32"
      case .float64: "F64"
      case .bfloat16: "BF16"
      case .uint8: "U8"
      case .int8: "I8"
      }
    let tensor = JSONValue.object([
      "dtype": .string(dtype), "shape": .array([.count(rowCount), .count(dimension)]),
      "data_offsets": .array([.count(0), .count(rowCount * dimension * elementType.byteCount)]),
    ])
    var text = Array(JSONValue.object([name: tensor]).text.utf8)
    // Elements begin at a multiple of eight, as who maps the file expects.
    text += [UInt8](repeating: 0x20, count: (8 - text.count % 8) % 8)
    return bytes(UInt64(text.count)) + text
  }

  static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
    var builder = ByteBuilder()
    builder.append(value)
    return builder.bytes
  }
}

extension FeatureFormat {
  /// Whether a file of no rows says how many elements they would have.
  fileprivate var tellsDimensionWithoutRows: Bool { !marksRows && self != .parquet }

  /// What elements the files that tarn writes may have; none where it writes no such files.
  package var writable: [ElementType] {
    switch self {
    case .npy, .npz: [.float16, .float32, .float64, .uint8, .int8]
    case .safetensors: ElementType.allCases
    case .fbin, .fvecs: [.float32]
    case .f16bin: [.float16]
    case .u8bin, .bvecs: [.uint8]
    case .i8bin: [.int8]
    case .parquet: [.float16, .float32, .float64]
    case .torch: []
    }
  }
}

/// An archive with one stored entry, as `numpy.savez` writes it: sizes in 64 bits before the
/// entry, in the directory where 32 do not hold them.
struct ZipEntryWriter {
  /// Where the checksum stands before the entry.
  static let sumOffset = 14
  let head: [UInt8]
  private let name: [UInt8]
  private let byteCount: Int
  private(set) var sum: UInt32 = 0

  /// - Parameters:
  ///   - name: The entry's.
  ///   - byteCount: Bytes of its contents.
  /// - Throws: ``TarnError`` `.usage` for a name that is too long.
  init(_ name: String, byteCount: Int) throws {
    guard name.utf8.count <= 200, name.printable == name, !name.contains("\\"), !name.hasPrefix("/"),
      !name.split(separator: "/").contains("..")
    else {
      throw TarnError(
        .usage, "'\(name.dropLast(".npy".count).printable)' is no name of an array",
        hint: "it has at most 196 bytes of printable characters, no backslash, no slash at its start and no part '..'")
    }
    (self.name, self.byteCount) = (Array(name.utf8), byteCount)
    let large = FeatureWriter.bytes(UInt64(byteCount))
    head =
      [0x50, 0x4B, 3, 4] + Self.common([0, 0, 0, 0]) + FeatureWriter.bytes(UInt64.max)
      + FeatureWriter.bytes(UInt16(name.utf8.count)) + FeatureWriter.bytes(UInt16(20)) + self.name
      + [1, 0, 16, 0] + large + large
  }

  /// Version, flags (names are UTF-8), method, the time that NumPy gives entries, checksum.
  private static func common(_ sum: [UInt8]) -> [UInt8] { [45, 0, 0, 8, 0, 0, 0, 0, 0x21, 0] + sum }

  /// Adds bytes of the contents.
  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    unsafe sum = czip_crc32(sum, bytes.baseAddress, bytes.count)
  }

  /// The directory.
  var tail: [UInt8] {
    let isLarge = byteCount >= 0xFFFF_FFFF
    let size = FeatureWriter.bytes(isLarge ? UInt32.max : UInt32(byteCount))
    let large = FeatureWriter.bytes(UInt64(byteCount))
    let extra: [UInt8] = isLarge ? [1, 0, 16, 0] + large + large : []
    let record =
      [0x50, 0x4B, 1, 2, 45, 3] + Self.common(FeatureWriter.bytes(sum)) + size + size
      + FeatureWriter.bytes(UInt16(name.count)) + FeatureWriter.bytes(UInt16(extra.count))
      + [UInt8](repeating: 0, count: 8) + [0x80, 1] + [UInt8](repeating: 0, count: 4) + name + extra
    let start = head.count + byteCount
    var end: [UInt8] = []
    if start >= 0xFFFF_FFFF {
      let one = FeatureWriter.bytes(UInt64(1))
      end += [0x50, 0x4B, 6, 6] + FeatureWriter.bytes(UInt64(44)) + [45, 0, 45, 0] + [UInt8](repeating: 0, count: 8)
      end += one + one + FeatureWriter.bytes(UInt64(record.count)) + FeatureWriter.bytes(UInt64(start))
      end += [0x50, 0x4B, 6, 7, 0, 0, 0, 0] + FeatureWriter.bytes(UInt64(start + record.count)) + [1, 0, 0, 0]
    }
    end += [0x50, 0x4B, 5, 6, 0, 0, 0, 0, 1, 0, 1, 0] + FeatureWriter.bytes(UInt32(record.count))
    end += FeatureWriter.bytes(start >= 0xFFFF_FFFF ? UInt32.max : UInt32(start)) + [0, 0]
    return record + end
  }
}
