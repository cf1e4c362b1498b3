// What is read of good files, of pyarrow's and of some that it does not write.

import Base
import Foundation
import Parquet
import TestSupport
import Testing

/// A file that pyarrow wrote; the README.md beside it says what is in it.
func fixture(_ name: String) throws -> [UInt8] {
  let place = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../Fixtures/parquet/\(name).parquet").standardized
  return Array(try Data(contentsOf: place))
}

let fixtures = ["plain", "dictionary", "pages", "lists", "lists2", "delta", "delta_plain", "deltabytes"]

/// All rows of a column, a few at a time.
func values(_ file: ParquetFile, _ column: String) throws -> [ParquetValue] {
  let cursor = try ColumnCursor(file, column: column)
  var values: [ParquetValue] = []
  while case let next = try cursor.next(7), !next.isEmpty { values += next }
  return values
}

/// All rows of features, a few at a time.
func features<Element: BitwiseCopyable>(
  _ file: ParquetFile, _ column: String, as type: Element.Type, zero: Element, dimension: Int? = nil
) throws -> [Element] {
  let reader = try FloatListReader(file, column: column, dimension: dimension)
  var rows: [Element] = []
  while reader.nextRow < reader.rowCount {
    let count = min(3, reader.rowCount - reader.nextRow)
    var block = [Element](repeating: zero, count: count * reader.dimension)
    try block.withUnsafeMutableBytes { try reader.read(rows: count, into: $0) }
    rows += block
  }
  return rows
}

/// The error that something ends with.
func failure(_ body: () throws -> Void) -> TarnError? {
  do {
    try body()
    return nil
  } catch { return error as? TarnError }
}

private let rows = 0..<20
private let isNull = rows.map { $0 % 4 == 2 }

private func expected(_ column: String) -> [ParquetValue] {
  rows.map { row in
    switch column {
    case "bool": isNull[row] ? .null : .boolean(row % 3 == 0)
    case "int": isNull[row] ? .null : .integer(Int64(row * 1_000_003))
    case "large": .integer(Int64(row << 33))
    case "text": isNull[row] ? .null : .text("caption \(row % 5)")
    case "score": .double(Double(row) / 8)
    default: .bytes([UInt8](repeating: UInt8(row), count: 3))
    }
  }
}

/// Every row by itself, from every other: the same as in the order of the file.
private func checkSeeking(_ file: ParquetFile, _ column: String) throws {
  let reader = try FloatListReader(file, column: column)
  let width = reader.dimension * reader.elementType.byteCount
  var all = [UInt8](repeating: 0, count: file.rowCount * width)
  try all.withUnsafeMutableBytes { try reader.read(rows: file.rowCount, into: $0) }
  for from in 0..<file.rowCount {
    for to in 0..<file.rowCount {
      for (row, count) in [(from, 1), (to, min(2, file.rowCount - to))] {
        var some = [UInt8](repeating: 0, count: count * width)
        try reader.seek(toRow: row)
        #expect(reader.nextRow == row)
        try some.withUnsafeMutableBytes { try reader.read(rows: count, into: $0) }
        guard some.elementsEqual(all[(row * width)..<((row + count) * width)]) else {
          Issue.record("row \(to) from row \(from) of \(column)")
          return
        }
      }
    }
  }
}

struct ParquetFileTests {
  @Test(arguments: ["plain", "dictionary", "pages", "delta", "delta_plain", "deltabytes"])
  func flatColumnsOfPyarrow(name: String) throws {
    let file = try ParquetFile(MemoryBytes(fixture(name)))
    #expect(file.rowCount == 20)
    for column in file.columns {
      #expect(column.shape == .flat)
      #expect(try values(file, column.name) == expected(column.name), "\(column.name)")
      let picked = [19, 0, 13, 12, 11, 13]
      #expect(
        try file.values(ofRows: picked, column: column.name) == picked.map { expected(column.name)[$0] },
        "\(column.name)")
    }
  }

  @Test(arguments: ["lists", "lists2"])
  func listsOfPyarrow(name: String) throws {
    let file = try ParquetFile(MemoryBytes(fixture(name)))
    let floats = rows.flatMap { row in (0..<4).map { Float(row) + Float($0) / 4 } }
    #expect(try features(file, "list", as: Float.self, zero: 0) == floats)
    #expect(try features(file, "large", as: Double.self, zero: 0) == floats.map(Double.init))
    for column in ["list", "large", "fixed"] { try checkSeeking(file, column) }
    #expect(try features(file, "fixed", as: UInt16.self, zero: 0) == floats.map { Float16($0).bitPattern })
    let tags: [ParquetValue] = rows.map { row in
      row % 5 == 3 ? .null : .list((0..<(row % 3)).map { $0 == 1 ? .null : .text("t\($0)") })
    }
    #expect(try values(file, "tags") == tags)
    #expect(try file.values(ofRows: [17, 3, 4], column: "tags") == [tags[17], tags[3], tags[4]])
    let large = rows.map { row in ParquetValue.list((0..<4).map { .double(Double(row) + Double($0) / 4) }) }
    #expect(try values(file, "large") == large)
  }

  @Test func aFileOnDiskIsRead() throws {
    let path = NSTemporaryDirectory() + "/tarn-\(UUID().uuidString).parquet"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(fixture("plain")).write(to: URL(fileURLWithPath: path))
    #expect(try values(ParquetFile(path: path), "text") == expected("text"))
    let error = failure { _ = try ParquetFile(path: path).column(named: "missing") }
    #expect(error?.code == .badFeatures)
    #expect(error?.message == "\(path): column 'missing': there is no such column")
    #expect(error?.hint == "it has bool, int, large, text, score, sha")
    #expect(failure { _ = try ParquetFile(path: path + "x") }?.code == .inputsMissing)
  }

  @Test func whatTheMakerMakesIsRead() throws {
    let lists = try ParquetFile(MemoryBytes(ParquetMaker.floatLists.file()))
    #expect(try features(lists, "emb", as: Float.self, zero: 0) == (0..<18).map { Float($0) / 4 })
    let texts = try ParquetFile(MemoryBytes(ParquetMaker.texts.file()))
    let wanted: [ParquetValue] = [
      .text("a"), .text("bc"), .null, .text("def"), .text("def"), .null, .text("bc"), .text("a"),
    ]
    #expect(try values(texts, "text") == wanted)
  }

  /// Rows may go on from page to page where pages are of the first kind.
  @Test(arguments: [1, 2, 3, 4, 5, 7])
  func aRowMayLieInSeveralPages(size: Int) throws {
    var maker = ParquetMaker.floatLists
    maker.pages = stride(from: 0, to: 18, by: size).map { start in
      let places = start..<min(18, start + size)
      return ParquetMaker.Page(
        ParquetMaker.levels(places.map { $0 % 3 == 0 ? 0 : 1 }, width: 1)
          + ParquetMaker.levels(places.map { _ in 3 }, width: 2) + bytes(places.map { Float($0) / 4 }),
        count: places.count)
    }
    let file = try ParquetFile(MemoryBytes(maker.file()))
    #expect(try features(file, "emb", as: Float.self, zero: 0) == (0..<18).map { Float($0) / 4 })
    try checkSeeking(file, "emb")
    let lists = (0..<6).map { row in ParquetValue.list((0..<3).map { .float(Float(3 * row + $0) / 4) }) }
    #expect(try values(file, "emb") == lists)
    #expect(try file.values(ofRows: [5, 2], column: "emb") == [lists[5], lists[2]])
  }

  /// Layouts of lists from before they had three levels.
  @Test func olderListsAreRead() throws {
    typealias Maker = ParquetMaker
    let schemas = [
      [Maker.element("emb", repetition: 1, children: 1, converted: 3), Maker.element("array", type: 4, repetition: 2)],
      [Maker.element("emb", repetition: 0, children: 1, converted: 3), Maker.element("array", type: 4, repetition: 2)],
      [Maker.element("emb", type: 4, repetition: 2)],
      [
        Maker.element("emb", repetition: 1, children: 1, converted: 3),
        Maker.element("bag", repetition: 2, children: 1), Maker.element("array_element", type: 4, repetition: 0),
      ],
    ]
    for (number, schema) in schemas.enumerated() {
      let most = schema.count { if case .int32(0)? = $0[3] { false } else { true } }
      let page = Maker.Page(
        Maker.levels([0, 1, 1, 0, 1, 1], width: 1)
          + Maker.levels([Int](repeating: most, count: 6), width: most > 1 ? 2 : 1)
          + bytes((0..<6).map { Float($0) }), count: 6)
      let file = try ParquetFile(
        MemoryBytes(Maker(schema, type: 4, rowCount: 2, valueCount: 6, pages: [page]).file()))
      #expect(file.columns[0].shape == .list, "\(number)")
      #expect(try features(file, "emb", as: Float.self, zero: 0) == [0, 1, 2, 3, 4, 5], "\(number)")
      #expect(
        try values(file, "emb") == [
          .list([.float(0), .float(1), .float(2)]), .list([.float(3), .float(4), .float(5)]),
        ])
    }
  }

  @Test func nestingIsNamed() throws {
    typealias Maker = ParquetMaker
    let group = Maker.element("col", repetition: 1, children: 1, converted: 3)
    let leaf = Maker.element("element", type: 4, repetition: 1)
    let cases: [(String, [[Int: ThriftValue]])] = [
      ("a struct", [Maker.element("col", repetition: 1, children: 1), leaf]),
      ("a struct", [Maker.element("col", repetition: 2, children: 1), leaf]),
      ("a map", [Maker.element("col", repetition: 1, children: 1, converted: 1), leaf]),
      ("a list of structs", [group, Maker.element("array", repetition: 2, children: 1), leaf]),
      ("a list of structs", [group, Maker.element("col_tuple", repetition: 2, children: 1), leaf]),
      (
        "a list of structs",
        [
          group, Maker.element("list", repetition: 2, children: 1), Maker.element("x", repetition: 1, children: 1),
          leaf,
        ]
      ),
      (
        "a list of lists",
        [group, Maker.element("list", repetition: 2, children: 1), Maker.element("x", type: 4, repetition: 2)]
      ),
    ]
    for (what, schema) in cases {
      let maker = Maker(schema, type: 4, rowCount: 0, valueCount: 0, pages: [])
      let file = try ParquetFile(MemoryBytes(maker.file()))
      #expect(file.columns[0].shape == .nested(what))
      let error = failure { _ = try ColumnCursor(file, column: "col") }
      #expect(error?.message == "memory.parquet: column 'col': \(what) is not read by tarn")
      #expect(error?.hint != nil)
    }
  }

  @Test func doublesComeAsTheyAreStored() throws {
    let doubles: [Double] = [0.1, 1 + 0x1p-24, 1 + 0x1p-24 + 0x1p-52, 1 + 3 * 0x1p-24, 1e300, -0.0, 0x1p-149 / 2, .pi]
    let body =
      ParquetMaker.levels([0, 1, 1, 1, 1, 1, 1, 1], width: 1)
      + ParquetMaker.levels([Int](repeating: 1, count: 8), width: 1)
      + doubles.flatMap { bytes($0.bitPattern) }
    let maker = ParquetMaker(
      [ParquetMaker.element("emb", type: 5, repetition: 2)], type: 5, rowCount: 1, valueCount: 8,
      pages: [ParquetMaker.Page(body, count: 8)])
    let file = try ParquetFile(MemoryBytes(maker.file()))
    #expect(try features(file, "emb", as: Double.self, zero: 0).map(\.bitPattern) == doubles.map(\.bitPattern))
    #expect(try FloatListReader(file, column: "emb").elementType == .float64)
  }

  /// Names are shown as they are, but for what is hidden in them.
  @Test func aNameIsFitForAMessage() throws {
    var maker = ParquetMaker.texts
    maker.schema[0][4] = .text("größe\u{1B}[2J\u{202E}\n")
    let error = failure { _ = try ParquetFile(MemoryBytes(maker.file())).column(named: "\u{7}x") }
    #expect(error?.description == "memory.parquet: column '?x': there is no such column; it has größe?[2J??")
  }

  @Test func theDimensionThatIsAskedForMustBeThere() throws {
    let file = try ParquetFile(MemoryBytes(ParquetMaker.floatLists.file()))
    #expect(try FloatListReader(file, column: "emb").dimension == 3)
    #expect(try features(file, "emb", as: Float.self, zero: 0, dimension: 3).count == 18)
    let longer = failure { _ = try features(file, "emb", as: Float.self, zero: 0, dimension: 4) }
    #expect(longer?.message == "memory.parquet: column 'emb': row 0 has 3 elements, not 4")
    let shorter = failure { _ = try features(file, "emb", as: Float.self, zero: 0, dimension: 2) }
    #expect(shorter?.message == "memory.parquet: column 'emb': row 0 has more elements than 2")
  }
}
