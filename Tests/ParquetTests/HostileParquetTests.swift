// Files that lie, and files that damage has changed: one clear error each, in
// memory that is bounded by the file's own bytes.

import Base
import Parquet
import TestSupport
import Testing

/// A lie, and what is said of it.
private struct Lie: CustomTestStringConvertible {
  let words: String
  let make: @Sendable (inout ParquetMaker) -> Void
  var testDescription: String { words }

  init(_ words: String, _ make: @escaping @Sendable (inout ParquetMaker) -> Void) {
    (self.words, self.make) = (words, make)
  }

  /// Lies that the rows of features are asked for with.
  static let ofFeatures: [Lie] = [
    Lie("its pages do not begin where they lie") { $0.metadata[9] = .int64(1 << 40) },
    Lie("its pages lie outside the file") { $0.metadata = [9: ThriftValue.int64(-5), 11: ThriftValue?.none] },
    Lie("its pages lie outside the file") { $0.metadata[7] = .int64(.max) },
    Lie("values in -1 bytes") { $0.metadata[7] = .int64(-1) },
    Lie("values in") { $0.metadata[5] = .int64(-1) },
    Lie("values in") { $0.metadata[5] = .int64(.max) },
    Lie("it has 2 values for 6 rows") { $0.metadata[5] = .int64(2) },
    Lie("the footer does not say where its pages are") { $0.metadata[9] = .some(.none) },
    Lie("its pages are of type 5, the schema's is FLOAT") { $0.metadata[1] = .int32(5) },
    Lie("compression number 77") { $0.metadata[4] = .int32(77) },
    Lie("compression BROTLI") { $0.metadata[4] = .int32(4) },
    Lie("compression LZO") { $0.metadata[4] = .int32(3) },
    Lie("compression LZ4 ") { $0.metadata[4] = .int32(5) },
    Lie("a page does not unpack") { $0.metadata[4] = .int32(1) },
    Lie("a page does not unpack") { $0.metadata[4] = .int32(2) },
    Lie("a page does not unpack") { $0.metadata[4] = .int32(6) },
    Lie("a page says 37 bytes unpacked where the column has 10 left") { $0.metadata[6] = .int64(10) },
    Lie("a page says 37 bytes unpacked where the column has 26 left") { $0.metadata[6] = .int64(100) },
    Lie("a column in a file of its own") { $0.chunk[1] = .text("other.parquet") },
    Lie("an encrypted column") { $0.chunk[9] = .text("") },
    Lie("its row groups have 6 rows, and it says 7") { $0.footer[3] = .int64(7) },
    Lie("row group 0 says -6 rows") { $0.rowGroup[3] = .int64(-6) },
    Lie("says 9223372036854775807 rows") { $0.rowGroup[3] = .int64(.max) },
    Lie("row group 0 has 0 columns where the schema has 1") { $0.rowGroup[1] = .list([]) },
    Lie("its row groups overlap") { $0.rowGroupCount = 2 },
    Lie("its schema has no columns") { $0.columnCount = 0 },
    Lie("its schema is no tree") { $0.columnCount = 2 },
    Lie("its schema is no tree") { $0.schema.append(ParquetMaker.element("x", type: 1)) },
    Lie("its schema is no tree") { $0.schema[2][3] = .int32(7) },
    Lie("its schema is nested more than 32 deep") {
      $0.schema = [[Int: ThriftValue]](repeating: ParquetMaker.element("x", children: 1), count: 40) + $0.schema
    },
    Lie("a column has type 99") { $0.schema[2][1] = .int32(99) },
    Lie("is damaged: it is nested more than") {
      $0.footer[99] = (0..<40).reduce(ThriftValue.list([])) { inner, _ in .list([inner]) }
    },
    Lie("a page has 37 bytes and -1 unpacked") { $0.pages[0].head[2] = .int32(-1) },
    Lie("a page has 2147483647 bytes") { $0.pages[1].head[3] = .int32(0x7FFF_FFFF) },
    Lie("a page reaches beyond its column's bytes") { $0.pages[2].head[3] = .int32(5000) },
    Lie("a page has the head of another kind") { $0.pages[0].head[1] = .int32(3) },
    Lie("a page has no kind that there is") { $0.pages[0].head[5] = nil },
    Lie("a page has 37 bytes where its head says 36") { $0.pages[0].head[2] = .int32(36) },
    Lie("a page is damaged: wrong CRC") { $0.pages[1].head[4] = .int32(12345) },
    Lie("its pages have more values than the 18") { $0.pages[0] = $0.pages[0].counting(19) },
    Lie("a page says -3 values") { $0.pages[0] = $0.pages[0].counting(-3) },
    Lie("a page ends within its values") {
      $0.pages[0].body.removeLast(4); $0.pages[0].fit()
    },
    Lie("a page ends within its levels") {
      $0.pages[0].body = [200, 0, 0, 0]; $0.pages[0].fit()
    },
    Lie("a page ends within its levels") {
      $0.pages[0].body = [255, 255, 255, 255, 1]; $0.pages[0].fit()
    },
    Lie("a page ends within its levels") {
      $0.pages[0].body = []; $0.pages[0].fit()
    },
    Lie("encoding BIT_PACKED of levels") {
      $0.pages[0].head[5] = .structure([1: .int32(6), 2: .int32(0), 3: .int32(4), 4: .int32(3)])
    },
    Lie("encoding RLE of FLOAT") { $0.pages[0] = $0.pages[0].encoded(3) },
    Lie("encoding number 42") { $0.pages[0] = $0.pages[0].encoded(42) },
    Lie("a page uses a dictionary that is not there") { $0.pages[0] = $0.pages[0].encoded(8) },
    Lie("which are no whole values") {
      $0.pages[0].body.removeLast(3); $0.pages[0].fit(); $0.pages[0] = $0.pages[0].encoded(9)
    },
    Lie("its bytes end within the head of a page, after 12 of 18 values") { $0.pages.removeLast() },
    Lie("row group 0 has 5 rows, and it says 6") {
      // The last page has one row, of six values that the footer counts as three.
      $0.pages[2] = ParquetMaker.Page(
        ParquetMaker.levels([0, 1, 1], width: 1) + ParquetMaker.levels([3, 3, 3], width: 2) + bytes([1, 2, 3]), count: 3
      )
      $0.metadata[5] = .int64(15)
    },
    Lie("row group 0 begins within a row") {
      $0.pages[0].body.replaceSubrange(0..<6, with: ParquetMaker.levels([1, 1, 1, 0, 1, 1], width: 1))
    },
  ]
}

extension ParquetMaker.Page {
  /// Says the length that its body has.
  fileprivate mutating func fit() { (head[2], head[3]) = (.int32(body.count), .int32(body.count)) }

  fileprivate func changed(_ id: Int, _ value: Int) -> Self {
    var page = self
    guard case .structure(var fields)? = head[5] else { return page }
    fields[id] = .int32(value)
    page.head[5] = .structure(fields)
    return page
  }

  fileprivate func counting(_ count: Int) -> Self { changed(1, count) }
  fileprivate func encoded(_ encoding: Int) -> Self { changed(2, encoding) }
}

struct HostileParquetTests {
  @Test(arguments: Lie.ofFeatures)
  private func aLieIsOneError(lie: Lie) throws {
    var maker = ParquetMaker.floatLists
    lie.make(&maker)
    let bytes = maker.file()
    let error = failure {
      _ = try features(ParquetFile(MemoryBytes(bytes)), "emb", as: Float.self, zero: 0, dimension: 3)
    }
    #expect(error?.code == .badFeatures)
    #expect(error?.message.hasPrefix("memory.parquet: ") == true)
    #expect(error?.message.contains(lie.words) == true, "\(error?.message ?? "no error")")
    // The other ways to read it end, too.
    _ = failure { try ParquetTour.read(ParquetFile(MemoryBytes(bytes))) }
  }

  /// Where the footer is plain, so is what is not encrypted: of encrypted columns it is said when they are asked for.
  @Test func aFileWithEncryptedColumnsIsReadAsFarAsItIsPlain() throws {
    var maker = ParquetMaker.floatLists
    maker.footer[8] = .structure([1: .structure([:])])
    maker.footer[9] = .text("key")
    let file = try ParquetFile(MemoryBytes(maker.file()))
    #expect(file.rowCount == 6)
    let rows = try features(file, "emb", as: Float.self, zero: 0, dimension: 3)
    #expect(rows == (0..<18).map { Float($0) / 4 })
    maker.chunk[8] = .structure([1: .structure([:])])
    let hidden = try ParquetFile(MemoryBytes(maker.file()))
    #expect(hidden.columns.map(\.name) == ["emb"])
    let error = failure { _ = try features(hidden, "emb", as: Float.self, zero: 0, dimension: 3) }
    #expect(error?.message.contains("column 'emb': row group 0: an encrypted column is not read by tarn") == true)
  }

  @Test func aFileWhoseFooterIsEncryptedIsNamed() throws {
    let plain = ParquetMaker.floatLists.file()
    let mark = Array("PARE".utf8)
    let files: [[UInt8]] = [mark + Array(plain.dropFirst(4).dropLast(4)) + mark, Array(plain.dropLast(4)) + mark]
    for bytes in files {
      let error = failure { _ = try ParquetFile(MemoryBytes(bytes)) }
      #expect(error?.message == "memory.parquet: an encrypted file is not read by tarn")
    }
    #expect(ParquetFile.fault(ofStart: mark + [1]) == "an encrypted file is not read by tarn")
    #expect(ParquetFile.fault(ofStart: Array("<htm".utf8)) == "it does not begin as a parquet file")
    for count in 0...6 { #expect(ParquetFile.fault(ofStart: Array(plain.prefix(count))) == nil) }
  }

  @Test func levelsAndIndicesStayInRange() throws {
    var maker = ParquetMaker.texts
    let indices = ParquetMaker.packed([0, 1, 3, 2, 1, 0], width: 2)
    maker.pages[1] = ParquetMaker.Page(
      ParquetMaker.levels([1, 1, 0, 1, 1, 0, 1, 1], width: 1) + [2] + indices, count: 8, encoding: 8)
    #expect(
      failure { _ = try values(ParquetFile(MemoryBytes(maker.file())), "text") }?.message
        == "memory.parquet: column 'text': a page asks for entry 3 of a dictionary of 3, at row 0")
    // A run repeats a level that the schema has not.
    let run = ParquetMaker.repeated(2, count: 8)
    maker.pages[1] = ParquetMaker.Page(bytes(UInt32(run.count)) + run, count: 8)
    #expect(
      failure { _ = try values(ParquetFile(MemoryBytes(maker.file())), "text") }?.message
        == "memory.parquet: column 'text': a page has a level above 1, at row 0")
    maker = .texts
    maker.pages[1].body[6] = 33
    #expect(
      failure { _ = try values(ParquetFile(MemoryBytes(maker.file())), "text") }?.message
        .contains("dictionary indices of 33 bits") == true)
    maker = .texts
    maker.pages[0].head[7] = .structure([1: .int32(4), 2: .int32(0)])
    #expect(
      failure { _ = try values(ParquetFile(MemoryBytes(maker.file())), "text") }?.message
        .contains("its dictionary is shorter than it says") == true)
    maker = .texts
    maker.pages.insert(maker.pages[0], at: 1)
    #expect(
      failure { _ = try values(ParquetFile(MemoryBytes(maker.file())), "text") }?.message
        .contains("two dictionaries") == true)
    maker = .texts
    maker.pages[0].body[4] = 0xFF
    #expect(
      failure { _ = try values(ParquetFile(MemoryBytes(maker.file())), "text") }?.message
        == "memory.parquet: column 'text': a text is not UTF-8, at row 0")
  }

  /// A run of a few bytes is as many rows as it says: they are given as they are
  /// asked for, and never kept.
  @Test func manyRowsOfFewBytesTakeNoMemory() throws {
    let count = 1 << 30
    let run = ParquetMaker.repeated(0, count: count)
    let maker = ParquetMaker(
      [ParquetMaker.element("text", type: 6, repetition: 1, converted: 0)], type: 6, rowCount: count, valueCount: count,
      pages: [ParquetMaker.Page(bytes(UInt32(run.count)) + run, count: count)])
    let file = try ParquetFile(MemoryBytes(maker.file()))
    let cursor = try ColumnCursor(file, column: "text")
    #expect(try cursor.next(5) == [.null, .null, .null, .null, .null])
    try cursor.seek(toRow: 100_000)
    #expect(try cursor.next(1) == [.null])
    #expect(cursor.nextRow == 100_001)
  }

  /// A frame of zstd whose few bytes are many zeros.
  private static func zstdBomb(_ byteCount: Int) -> [UInt8] {
    let blockByteCount = 128 << 10
    var frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0xA0] + bytes(UInt32(byteCount))
    for start in stride(from: 0, to: byteCount, by: blockByteCount) {
      let count = min(blockByteCount, byteCount - start)
      // One byte, repeated.
      let head = UInt32(count << 3 | 1 << 1 | (start + count == byteCount ? 1 : 0))
      frame += bytes(head).prefix(3) + [0]
    }
    return frame
  }

  /// A page that unfolds is refused by what its head, its chunk and the reader say,
  /// and is otherwise what it says.
  @Test func aBombIsNoLongerThanItSays() throws {
    func read(holds byteCount: Int, says claim: Int, chunkSays total: Int) -> TarnError? {
      let body = Self.zstdBomb(byteCount)
      #expect(body.count < 10_000)
      var maker = ParquetMaker(
        [ParquetMaker.element("text", type: 6, converted: 0)], type: 6, rowCount: 3, valueCount: 3,
        pages: [ParquetMaker.Page(body, count: 3)])
      maker.pages[0].head[2] = .int32(claim)
      (maker.metadata[4], maker.metadata[6]) = (.int32(6), .int64(total))
      let bytes = maker.file()
      return failure { _ = try values(ParquetFile(MemoryBytes(bytes)), "text") }
    }
    #expect(read(holds: 4 << 20, says: 4 << 20, chunkSays: 4 << 20) == nil)
    #expect(read(holds: 12, says: 12, chunkSays: 12) == nil)
    let large = 255 << 20
    #expect(
      read(holds: large, says: 12, chunkSays: large)?.message.contains("does not unpack into the 12 bytes") == true)
    #expect(read(holds: 12, says: large, chunkSays: large)?.message.contains("does not unpack into the") == true)
    #expect(read(holds: large, says: large, chunkSays: 12)?.message.contains("where the column has 12 left") == true)
    #expect(
      read(holds: large, says: large * 2, chunkSays: large * 2)?.message.contains("tarn reads up to 268435456") == true)
  }

  /// An entry of a dictionary that is long, many times: what is given at once is
  /// bounded, and not the rows.
  @Test func longTextsAreGivenFewAtATime() throws {
    let long = [UInt8](repeating: 0x61, count: 3 << 20)
    let maker = ParquetMaker(
      [ParquetMaker.element("text", type: 6, converted: 0)], type: 6, rowCount: 100_000, valueCount: 100_000,
      pages: [
        ParquetMaker.Page(dictionary: bytes(UInt32(long.count)) + long, count: 1),
        ParquetMaker.Page([1] + ParquetMaker.repeated(0, count: 100_000), count: 100_000, encoding: 8),
      ])
    let cursor = try ColumnCursor(ParquetFile(MemoryBytes(maker.file())), column: "text")
    let found = try cursor.next(100_000)
    #expect(found.count == 6)
    #expect(cursor.nextRow == 6)
    // The same as one list, which is one row.
    let lists = ParquetMaker(
      [ParquetMaker.element("text", type: 6, repetition: 2, converted: 0)], type: 6, rowCount: 1, valueCount: 100_000,
      pages: [
        maker.pages[0],
        ParquetMaker.Page(
          ParquetMaker.levels([0] + [Int](repeating: 1, count: 99_999), width: 1)
            + bytes(UInt32(4)) + ParquetMaker.repeated(1, count: 100_000)
            + [1] + ParquetMaker.repeated(0, count: 100_000), count: 100_000, encoding: 8),
      ])
    let error = failure { _ = try values(ParquetFile(MemoryBytes(lists.file())), "text") }
    #expect(error?.message.contains("a list of so many values is not read by tarn") == true, "\(error?.message ?? "")")
  }

  /// Where the index of pages lies, rows are wrong or it is found out; nothing else
  /// happens.
  @Test func anIndexIsHeldAgainstThePages() throws {
    var maker = ParquetMaker(
      [ParquetMaker.element("int", type: 1)], type: 1, rowCount: 12, valueCount: 12,
      pages: (0..<3).map { page in
        ParquetMaker.Page((0..<4).flatMap { bytes(Int32(4 * page + $0)) }, count: 4)
      })
    func place(_ offset: Int, _ row: Int) -> ThriftValue {
      .structure([1: .int64(offset), 2: .int32(0), 3: .int64(row)])
    }
    let head = ThriftValue.structure(maker.pages[0].head).bytes.count
    let offsets = (0..<3).map { 4 + $0 * (head + 16) }
    /// Puts an index where pages of another column could be: behind the pages.
    func file(_ places: [ThriftValue]) -> [UInt8] {
      let index = ThriftValue.structure([1: .list(places)]).bytes
      var page = ParquetMaker.Page(index, count: 0)
      page.head = [1: .int32(1), 2: .int32(index.count), 3: .int32(index.count)]
      let start = 4 + 3 * (head + 16) + ThriftValue.structure(page.head).bytes.count
      maker.pages = Array(maker.pages.prefix(3)) + [page]
      maker.chunk = [4: .int64(start), 5: .int32(index.count)]
      return maker.file()
    }
    let good = [place(offsets[0], 0), place(offsets[1], 4), place(offsets[2], 8)]
    for row in 0..<12 {
      #expect(try ParquetFile(MemoryBytes(file(good))).values(ofRows: [row], column: "int") == [.integer(Int64(row))])
    }
    let lies: [[ThriftValue]] = [
      [place(offsets[0], 0), place(offsets[1], 8), place(offsets[2], 4)],
      [place(offsets[0], 0), place(offsets[1], 3), place(offsets[2], 8)],
      [place(offsets[0], 0), place(offsets[2], 4), place(offsets[1], 8)],
      [place(offsets[0], 0), place(offsets[1], 4), place(1 << 40, 8)],
      [place(offsets[0], 1)], [place(-1, 0)], [place(offsets[0], 0), place(offsets[1], 400)],
      [],
    ]
    for (number, lie) in lies.enumerated() {
      let error = failure { _ = try ParquetFile(MemoryBytes(file(lie))).values(ofRows: [5, 9], column: "int") }
      #expect(
        error?.message.contains("its index of pages is damaged") == true, "\(number): \(error?.message ?? "read")")
    }
  }

  /// Rows that are passed over are counted by their elements: where those do not
  /// come out even, the next row that is read says so.
  @Test func rowsOfOtherLengthsAreFoundBehindThoseThatWerePassed() throws {
    func page(_ starts: Set<Int>, _ count: Int) -> ParquetMaker.Page {
      ParquetMaker.Page(
        ParquetMaker.levels((0..<count).map { starts.contains($0) ? 0 : 1 }, width: 1)
          + ParquetMaker.levels([Int](repeating: 3, count: count), width: 2) + bytes((0..<count).map { Float($0) }),
        count: count)
    }
    var maker = ParquetMaker.floatLists
    maker.pages = [page([0, 3], 5), page([0, 4], 7), maker.pages[2]]
    let file = try ParquetFile(MemoryBytes(maker.file()))
    var row = [UInt8](repeating: 0, count: 12)
    func read(_ number: Int) throws {
      let reader = try FloatListReader(file, column: "emb")
      try reader.seek(toRow: number)
      try row.withUnsafeMutableBytes { try reader.read(rows: 1, into: $0) }
    }
    #expect(failure { try read(2) }?.message.contains("row 1 has 2 elements, not 3") == true)
    #expect(failure { try read(4) } == nil)
    maker.valueCount = 17
    let other = try FloatListReader(ParquetFile(MemoryBytes(maker.file())), column: "emb")
    #expect(failure { try other.seek(toRow: 1) }?.message.contains("has 17 elements, not those of 6 rows of 3") == true)
  }

  @Test(arguments: fixtures)
  func aFileThatIsCutShortIsRefused(name: String) throws {
    let whole = try fixture(name)
    for count in 0..<whole.count {
      let error = failure { try ParquetTour.read(ParquetFile(MemoryBytes(Array(whole[..<count])))) }
      #expect(error?.code == .badFeatures, "\(count) bytes: \(error?.description ?? "read")")
    }
  }

  /// Any bytes are read or refused with one line that names the file.
  @Test(arguments: fixtures + ["made lists", "made texts"])
  func aChangedFileIsReadOrRefused(name: String) throws {
    let seed =
      switch name {
      case "made lists": ParquetMaker.floatLists.file()
      case "made texts": ParquetMaker.texts.file()
      default: try fixture(name)
      }
    var random = SplitMix64(seed: 17)
    func below(_ bound: Int) -> Int { Int(random.next() % UInt64(max(1, bound))) }
    let telling: [UInt8] = [0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF]
    var refused = 0
    for _ in 0..<300 {
      var file = seed
      for _ in 0...below(3) {
        let at = below(file.count)
        switch below(5) {
        case 0: file[at] ^= 1 << UInt8(below(8))
        case 1: file[at] = telling[below(telling.count)]
        case 2: file.remove(at: at)
        case 3: file.insert(UInt8(below(256)), at: at)
        default: file.replaceSubrange(at..<min(file.count, at + 5), with: [0xFF, 0xFF, 0xFF, 0xFF, 0x0F])
        }
      }
      do { try ParquetTour.read(ParquetFile(MemoryBytes(file))) } catch let error as TarnError {
        refused += 1
        #expect(error.code == .badFeatures, "\(error)")
        #expect(error.message.hasPrefix("memory.parquet: "), "\(error)")
        #expect(!error.description.unicodeScalars.contains { $0.properties.generalCategory == .control })
      }
    }
    #expect(refused > 30)
  }
}
