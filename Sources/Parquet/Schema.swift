// What columns a file has: its schema is a tree whose leaves are columns. Which of
// them can be read is decided here, and said when one is asked for.
// Format: https://github.com/apache/parquet-format/blob/master/LogicalTypes.md

internal import Base

/// How a column's values are stored.
package enum PhysicalType: Int, Sendable {
  case boolean = 0
  case int32, int64, int96, float, double, byteArray, fixedByteArray

  /// What the format's documents call it.
  package var name: String {
    switch self {
    case .boolean: "BOOLEAN"
    case .int32: "INT32"
    case .int64: "INT64"
    case .int96: "INT96"
    case .float: "FLOAT"
    case .double: "DOUBLE"
    case .byteArray: "BYTE_ARRAY"
    case .fixedByteArray: "FIXED_LEN_BYTE_ARRAY"
    }
  }
}

/// What a column's values mean.
package enum LogicalType: Sendable, Equatable {
  /// UTF-8: STRING, ENUM and JSON.
  case text
  case float16
  /// Of so many bits.
  case integer(bits: Int, isSigned: Bool)
  /// Days since 1970-01-01.
  case date
  case timeOfDay(unit: TimeUnit)
  /// Since 1970-01-01 00:00.
  case timestamp(unit: TimeUnit)
  case uuid
  /// Any other, by the name that the format's documents have for it.
  case other(String)

  package enum TimeUnit: String, Sendable { case milliseconds, microseconds, nanoseconds }
}

/// A column of values or of lists of values.
package struct ParquetColumn: Sendable {
  /// How rows become values.
  package enum Shape: Sendable, Equatable {
    /// One value a row, or none where it is null.
    case flat
    /// A list of values a row.
    case list
    /// Nested in a way that is not read, which is named.
    case nested(String)
  }

  /// Its place among all columns of the file.
  package let index: Int
  /// The names on the way to it.
  package let path: [String]
  package let physicalType: PhysicalType
  package let logicalType: LogicalType?
  package let shape: Shape
  /// Bytes of a value of a fixed-length type, otherwise 0.
  let fixedByteCount: Int
  /// Levels: a value is there at the highest definition level; a list begins at
  /// repetition level 0.
  let (maximumDefinition, maximumRepetition): (Int, Int)
  /// The definition level of an empty list; lower is a null list.
  let emptyListLevel: Int

  /// The name that it is asked for by.
  package var name: String {
    if case .nested = shape { return path.joined(separator: ".") }
    return path.first ?? ""
  }

  /// Whether its rows can be those of a matrix.
  package var holdsFloatLists: Bool {
    guard shape == .list else { return false }
    switch physicalType {
    case .float, .double: return true
    default: return logicalType == .float16
    }
  }

  /// Bytes of a value as it is decoded; nil where each has its own length.
  var width: Int? {
    switch physicalType {
    case .boolean: 1
    case .int32, .float: 4
    case .int64, .double: 8
    case .int96: 12
    case .byteArray: nil
    case .fixedByteArray: fixedByteCount
    }
  }

  /// Says what of the column is not read.
  ///
  /// - Throws: ``ParquetFault`` that names it.
  func requireReadable() throws {
    if case .nested(let what) = shape {
      throw ParquetFault.refused(what, hint: "write a file with it as a flat column, or as a list of numbers or texts")
    }
    if physicalType == .int96 {
      throw ParquetFault.refused("its type INT96", hint: "write it as INT64 timestamps")
    }
    if case .other(let name) = logicalType, ["DECIMAL", "INTERVAL"].contains(name) {
      throw ParquetFault.refused("its type \(name)", hint: "write it as DOUBLE, INT64 or text")
    }
    if logicalType == .float16, physicalType != .fixedByteArray || fixedByteCount != 2 {
      throw ParquetFault("its type is FLOAT16 and its values are not of 2 bytes")
    }
  }
}

/// The schema of a file, read into columns.
struct SchemaReader {
  /// Columns and groups together; each takes memory.
  private static let maximumElementCount = 65_536
  private static let maximumDepth = 32
  private static let maximumNameByteCount = 1024

  private struct Element {
    var name = ""
    var physicalType: PhysicalType?
    var fixedByteCount = 0
    /// 0 required, 1 optional, 2 repeated.
    var repetition = 0
    var childCount = 0
    var logicalType: LogicalType?
    var isList = false
    var isMap = false
  }

  private var elements: [Element] = []
  private var next = 0
  private(set) var columns: [ParquetColumn] = []

  /// Reads the list of a file's schema elements.
  ///
  /// - Parameters:
  ///   - reader: Stands behind the head of the field.
  ///   - kind: The field's kind.
  /// - Throws: ``ThriftFault``; ``ParquetFault`` for what is no tree.
  init(_ reader: inout ThriftReader, _ kind: ThriftReader.Kind) throws {
    let count = try reader.structures(kind)
    guard (1...Self.maximumElementCount).contains(count) else {
      throw ParquetFault("its schema has \(count) elements; tarn reads up to \(Self.maximumElementCount)")
    }
    for _ in 0..<count { elements.append(try Self.element(&reader)) }
    guard elements[0].physicalType == nil, elements[0].childCount > 0 else {
      throw ParquetFault("its schema has no columns")
    }
    next = 1
    for _ in 0..<elements[0].childCount { try walk([]) }
    guard next == count else { throw ParquetFault("its schema is no tree") }
  }

  private mutating func walk(_ parents: [Int]) throws {
    guard next < elements.count else { throw ParquetFault("its schema is no tree") }
    guard parents.count < Self.maximumDepth else {
      throw ParquetFault("its schema is nested more than \(Self.maximumDepth) deep")
    }
    let nodes = parents + [next]
    let element = elements[next]
    next += 1
    if let physicalType = element.physicalType {
      guard element.childCount == 0 else { throw ParquetFault("its schema is no tree") }
      add(nodes, physicalType)
    } else {
      for _ in 0..<element.childCount { try walk(nodes) }
    }
  }

  private mutating func add(_ nodes: [Int], _ physicalType: PhysicalType) {
    let path = nodes.map { elements[$0] }
    guard let leaf = path.last else { return }
    let repeated = path.firstIndex { $0.repetition == 2 } ?? 0
    columns.append(
      ParquetColumn(
        index: columns.count, path: path.map(\.name), physicalType: physicalType, logicalType: leaf.logicalType,
        shape: Self.shape(path), fixedByteCount: leaf.fixedByteCount,
        maximumDefinition: path.count { $0.repetition != 0 }, maximumRepetition: path.count { $0.repetition == 2 },
        emptyListLevel: path[..<repeated].count { $0.repetition == 1 }))
  }

  /// How the rows of a leaf become values.
  private static func shape(_ path: [Element]) -> ParquetColumn.Shape {
    let top = path[0]
    if path.count(where: { $0.repetition == 2 }) > 1 { return .nested("a list of lists") }
    if path.count == 1 { return top.repetition == 2 ? .list : .flat }
    if top.isMap { return .nested("a map") }
    guard top.isList, top.repetition != 2, top.childCount == 1, path[1].repetition == 2 else {
      return .nested("a struct")
    }
    // Before it had three levels, a list had two.
    if path.count == 2 { return .list }
    let isStruct = path[1].childCount > 1 || path[1].name == "array" || path[1].name == top.name + "_tuple"
    return path.count == 3 && !isStruct ? .list : .nested("a list of structs")
  }

  private static func element(_ reader: inout ThriftReader) throws -> Element {
    var element = Element()
    var (last, converted) = (0, -1)
    while let field = try reader.field(after: &last) {
      switch field.id {
      case 1:
        let number = try reader.integer(field.kind)
        guard let type = PhysicalType(rawValue: number) else { throw ParquetFault("a column has type \(number)") }
        element.physicalType = type
      case 2: element.fixedByteCount = try reader.integer(field.kind)
      case 3: element.repetition = try reader.integer(field.kind)
      case 4: element.name = try reader.text(field.kind, atMost: maximumNameByteCount)
      case 5: element.childCount = try reader.integer(field.kind)
      case 6: converted = try reader.integer(field.kind)
      case 10:
        try ThriftReader.structure(field.kind)
        try logicalType(&reader, &element)
      default: try reader.skip(field.kind)
      }
    }
    guard (0...2).contains(element.repetition), (0...maximumElementCount).contains(element.childCount) else {
      throw ParquetFault("its schema is no tree")
    }
    if element.physicalType == .fixedByteArray {
      guard (1...(1 << 20)).contains(element.fixedByteCount) else {
        throw ParquetFault("values of column '\(element.name.printable)' have \(element.fixedByteCount) bytes")
      }
    }
    if element.logicalType == nil { older(converted, &element) }
    return element
  }

  /// Reads the union that says what values mean.
  private static func logicalType(_ reader: inout ThriftReader, _ element: inout Element) throws {
    var last = 0
    while let field = try reader.field(after: &last) {
      switch field.id {
      case 1, 4, 12: element.logicalType = .text
      case 2: element.isMap = true
      case 3: element.isList = true
      case 5: element.logicalType = .other("DECIMAL")
      case 6: element.logicalType = .date
      case 7, 8:
        try ThriftReader.structure(field.kind)
        let unit = try timeUnit(&reader)
        element.logicalType = field.id == 7 ? .timeOfDay(unit: unit) : .timestamp(unit: unit)
        continue
      case 10:
        try ThriftReader.structure(field.kind)
        element.logicalType = try integerType(&reader)
        continue
      case 13: element.logicalType = .other("BSON")
      case 14: element.logicalType = .uuid
      case 15: element.logicalType = .float16
      default: element.logicalType = .other("number \(field.id)")
      }
      try reader.skip(field.kind)
    }
  }

  private static func timeUnit(_ reader: inout ThriftReader) throws -> LogicalType.TimeUnit {
    var (last, unit) = (0, LogicalType.TimeUnit.milliseconds)
    while let field = try reader.field(after: &last) {
      guard field.id == 2 else {
        try reader.skip(field.kind)
        continue
      }
      try ThriftReader.structure(field.kind)
      var inner = 0
      while let choice = try reader.field(after: &inner) {
        switch choice.id {
        case 2: unit = .microseconds
        case 3: unit = .nanoseconds
        default: break
        }
        try reader.skip(choice.kind)
      }
    }
    return unit
  }

  private static func integerType(_ reader: inout ThriftReader) throws -> LogicalType {
    var (last, bits, isSigned) = (0, 64, true)
    while let field = try reader.field(after: &last) {
      switch field.id {
      case 1: bits = try reader.integer(field.kind)
      case 2: isSigned = try ThriftReader.bool(field.kind)
      default: try reader.skip(field.kind)
      }
    }
    return .integer(bits: bits, isSigned: isSigned)
  }

  /// What values mean by the field that files had for it before.
  private static func older(_ converted: Int, _ element: inout Element) {
    switch converted {
    case 0, 4, 19: element.logicalType = .text
    case 1, 2: element.isMap = true
    case 3: element.isList = true
    case 5: element.logicalType = .other("DECIMAL")
    case 6: element.logicalType = .date
    case 7: element.logicalType = .timeOfDay(unit: .milliseconds)
    case 8: element.logicalType = .timeOfDay(unit: .microseconds)
    case 9: element.logicalType = .timestamp(unit: .milliseconds)
    case 10: element.logicalType = .timestamp(unit: .microseconds)
    case 11...14: element.logicalType = .integer(bits: 8 << (converted - 11), isSigned: false)
    case 15...18: element.logicalType = .integer(bits: 8 << (converted - 15), isSigned: true)
    case 20: element.logicalType = .other("BSON")
    case 21: element.logicalType = .other("INTERVAL")
    default: break
    }
  }
}
