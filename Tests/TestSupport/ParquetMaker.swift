// Parquet files, byte by byte: good ones, and the parts to make bad ones of.

/// A value of Thrift, as its compact protocol has it.
package indirect enum ThriftValue {
  case bool(Bool)
  case int32(Int)
  case int64(Int)
  case text(String)
  case list([ThriftValue])
  case structure([Int: ThriftValue])

  private var kind: UInt8 {
    switch self {
    case .bool(let value): value ? 1 : 2
    case .int32: 5
    case .int64: 6
    case .text: 8
    case .list: 9
    case .structure: 12
    }
  }

  static func unsigned(_ value: UInt64) -> [UInt8] {
    value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F) | 0x80] + unsigned(value >> 7)
  }

  /// The bytes of the value, without a head of a field.
  package var bytes: [UInt8] {
    switch self {
    case .bool: return []
    case .int32(let value), .int64(let value):
      return Self.unsigned(UInt64(bitPattern: Int64(value << 1 ^ value >> 63)))
    case .text(let text): return Self.unsigned(UInt64(text.utf8.count)) + Array(text.utf8)
    case .list(let values):
      return [0xF0 | (values.first?.kind ?? 12)] + Self.unsigned(UInt64(values.count)) + values.flatMap(\.bytes)
    case .structure(let fields):
      let parts = fields.sorted { $0.key < $1.key }.map { id, value in
        [value.kind] + ThriftValue.int32(id).bytes + value.bytes
      }
      return parts.flatMap { $0 } + [0]
    }
  }
}

/// A parquet file with one row group and one column, unless it is changed.
package struct ParquetMaker {
  /// A page: its head's fields and its bytes.
  package struct Page {
    package var head: [Int: ThriftValue]
    package var body: [UInt8]

    /// A page of data, of the first kind, not packed.
    package init(_ body: [UInt8], count: Int, encoding: Int = 0) {
      self.body = body
      head = [
        1: .int32(0), 2: .int32(body.count), 3: .int32(body.count),
        5: .structure([1: .int32(count), 2: .int32(encoding), 3: .int32(3), 4: .int32(3)]),
      ]
    }

    /// A dictionary, not packed.
    package init(dictionary body: [UInt8], count: Int) {
      self.body = body
      head = [
        1: .int32(2), 2: .int32(body.count), 3: .int32(body.count), 7: .structure([1: .int32(count), 2: .int32(0)]),
      ]
    }

    var bytes: [UInt8] { ThriftValue.structure(head).bytes + body }
  }

  /// The elements of the schema behind the root, which has `columnCount` children.
  package var schema: [[Int: ThriftValue]]
  package var columnCount = 1
  package var pages: [Page]
  package var rowCount: Int
  package var valueCount: Int
  package var type: Int
  /// Changes of the fields of the column's metadata, its chunk, the row group and
  /// the footer; nil takes one out.
  package var metadata: [Int: ThriftValue?] = [:]
  package var chunk: [Int: ThriftValue?] = [:]
  package var rowGroup: [Int: ThriftValue?] = [:]
  package var footer: [Int: ThriftValue?] = [:]
  /// How often the row group is listed.
  package var rowGroupCount = 1

  /// - Parameters:
  ///   - schema: The elements behind the root.
  ///   - type: The number of the column's physical type.
  ///   - rowCount: Rows of the row group.
  ///   - valueCount: Values and nulls of the column.
  ///   - pages: Its pages.
  package init(_ schema: [[Int: ThriftValue]], type: Int, rowCount: Int, valueCount: Int, pages: [Page]) {
    (self.schema, self.type, self.rowCount, self.valueCount, self.pages) = (schema, type, rowCount, valueCount, pages)
  }

  /// An element of a schema.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - type: Its physical type; nil for a group.
  ///   - repetition: 0 required, 1 optional, 2 repeated.
  ///   - children: Those of a group.
  ///   - converted: The older number of what it means.
  /// - Returns: Its fields.
  package static func element(
    _ name: String, type: Int? = nil, repetition: Int = 0, children: Int? = nil, converted: Int? = nil
  ) -> [Int: ThriftValue] {
    var fields: [Int: ThriftValue] = [3: .int32(repetition), 4: .text(name)]
    fields[1] = type.map { .int32($0) }
    fields[5] = children.map { .int32($0) }
    fields[6] = converted.map { .int32($0) }
    return fields
  }

  /// Levels as one bit-packed run, behind its length as pages of the first kind
  /// have it.
  package static func levels(_ levels: [Int], width: Int) -> [UInt8] {
    let runs = packed(levels, width: width)
    return TestSupport.bytes(UInt32(runs.count)) + runs
  }

  /// Numbers as one bit-packed run.
  package static func packed(_ numbers: [Int], width: Int) -> [UInt8] {
    let groups = (numbers.count + 7) / 8
    var bytes = [UInt8](repeating: 0, count: groups * width)
    for (place, number) in numbers.enumerated() {
      for bit in 0..<width where number >> bit & 1 == 1 {
        let at = place * width + bit
        bytes[at / 8] |= 1 << UInt8(at % 8)
      }
    }
    return ThriftValue.unsigned(UInt64(groups << 1 | 1)) + bytes
  }

  /// One number repeated.
  package static func repeated(_ number: UInt8, count: Int) -> [UInt8] {
    ThriftValue.unsigned(UInt64(count << 1)) + [number]
  }

  /// Rows of three floats in lists of three levels, two rows a page.
  package static var floatLists: ParquetMaker {
    let pages = (0..<3).map { page in
      let values = (0..<6).map { Float(page * 6 + $0) / 4 }
      return Page(
        levels([0, 1, 1, 0, 1, 1], width: 1) + levels([3, 3, 3, 3, 3, 3], width: 2) + TestSupport.bytes(values),
        count: 6)
    }
    return ParquetMaker(
      [
        element("emb", repetition: 1, children: 1, converted: 3), element("list", repetition: 2, children: 1),
        element("element", type: 4, repetition: 1),
      ], type: 4, rowCount: 6, valueCount: 18, pages: pages)
  }

  /// Rows of floats in a repeated field, all in one page.
  package static func lists(_ values: [Float], dimension: Int) -> ParquetMaker {
    let starts = values.indices.map { $0 % dimension == 0 ? 0 : 1 }
    let body =
      levels(starts, width: 1) + levels([Int](repeating: 1, count: values.count), width: 1) + TestSupport.bytes(values)
    return ParquetMaker(
      [element("emb", type: 4, repetition: 2)], type: 4, rowCount: values.count / dimension, valueCount: values.count,
      pages: [Page(body, count: values.count)])
  }

  /// Eight texts, of which two are null, in a dictionary of three.
  package static var texts: ParquetMaker {
    let entries = ["a", "bc", "def"].flatMap { TestSupport.bytes(UInt32($0.utf8.count)) + Array($0.utf8) }
    let body = levels([1, 1, 0, 1, 1, 0, 1, 1], width: 1) + [2] + packed([0, 1, 2, 2, 1, 0], width: 2)
    return ParquetMaker(
      [element("text", type: 6, repetition: 1, converted: 0)], type: 6, rowCount: 8, valueCount: 8,
      pages: [Page(dictionary: entries, count: 3), Page(body, count: 8, encoding: 8)])
  }

  private static func changed(_ fields: [Int: ThriftValue], _ changes: [Int: ThriftValue?]) -> ThriftValue {
    var fields = fields
    for (id, value) in changes { fields[id] = value }
    return .structure(fields)
  }

  /// The file.
  package func file() -> [UInt8] {
    let magic = Array("PAR1".utf8)
    let body = pages.flatMap(\.bytes)
    let first = magic.count + (pages.first?.head[7] != nil ? pages[0].bytes.count : 0)
    let metadata = Self.changed(
      [
        1: .int32(type), 2: .list([.int32(0)]), 3: .list([.text("column")]), 4: .int32(0), 5: .int64(valueCount),
        6: .int64(body.count), 7: .int64(body.count), 9: .int64(first), 11: .int64(magic.count),
      ], self.metadata)
    let chunk = Self.changed([2: .int64(magic.count), 3: metadata], self.chunk)
    let group = Self.changed(
      [1: .list([chunk]), 2: .int64(body.count), 3: .int64(rowCount)], rowGroup)
    let root: [Int: ThriftValue] = [4: .text("schema"), 5: .int32(columnCount)]
    let footer = Self.changed(
      [
        1: .int32(1), 2: .list(([root] + schema).map { .structure($0) }), 3: .int64(rowCount * rowGroupCount),
        4: .list([ThriftValue](repeating: group, count: rowGroupCount)),
      ], self.footer
    ).bytes
    return magic + body + footer + TestSupport.bytes(UInt32(footer.count)) + magic
  }
}
