// A pack, opened: its index is in memory, and a row is one read of its block.

package import Base
internal import CUnpack

/// A pack file of which nothing is believed.
///
/// Immutable, so that threads may share it.
package final class PackFile: Sendable {
  package let path: String
  package let rowCount: Int
  /// The columns that it has.
  package let columns: [String]
  /// Columns of the companion that are not read.
  package let leftOut: [LeftOutColumn]
  private let file: InputFile
  private let blocks: [Block]
  /// The names that rows count columns by, those that were not kept too.
  private let numbered: [String]

  private struct Block: Sendable {
    let offset: Int
    let firstRow: Int
    let packedByteCount: Int
    let byteCount: Int
    let rowCount: Int
    let checksum: UInt32
  }

  /// Opens a pack: its index is read and held against its digest.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - digest: The SHA-256 of the companion's bytes that it must be of.
  /// - Throws: ``TarnError`` `.inputsMissing` when there is none, `.integrity` for another
  ///   companion's, and for what is damaged.
  package init(path: String, of digest: ContentDigest) throws {
    self.path = path
    let file = try InputFile(path: path)
    self.file = file
    guard file.byteCount >= PackLayout.headerByteCount + PackLayout.footerByteCount else {
      throw Self.damaged(path, "it is too short")
    }
    var cursor = FileCursor(file, kind: "pack", hint: Self.remedy)
    guard try cursor.bytes(8, "its head") == PackLayout.magic,
      try PackLayout.versions.contains(cursor.integer(UInt32.self, "its version"))
    else { throw Self.damaged(path, "it does not begin as a pack of a version known here") }
    let footer = try file.bytes(at: file.byteCount - PackLayout.footerByteCount, count: PackLayout.footerByteCount)
    guard footer.suffix(8).elementsEqual(PackLayout.magic) else { throw Self.damaged(path, "its end is none") }
    let end = file.byteCount - PackLayout.footerByteCount
    let numbers = (0..<4).map { Self.number(footer, at: 8 * $0, count: 8) }
    guard let schemaOffset = Int(exactly: numbers[0]), let schemaByteCount = Int(exactly: numbers[1]),
      let blockCount = Int(exactly: numbers[2]), let rowCount = Int(exactly: numbers[3]),
      (PackLayout.headerByteCount...end).contains(schemaOffset), schemaByteCount <= PackLayout.mostSchemaByteCount,
      schemaByteCount <= end - schemaOffset, blockCount <= (end - schemaOffset) / PackLayout.entryByteCount,
      schemaOffset + schemaByteCount + blockCount * PackLayout.entryByteCount == end,
      ForeignNumber.rowCount.holds(rowCount)
    else { throw Self.damaged(path, "its footer points elsewhere") }
    let schema = try file.bytes(at: schemaOffset, count: schemaByteCount)
    let index = try file.bytes(at: schemaOffset + schemaByteCount, count: end - schemaOffset - schemaByteCount)
    var hash = Sha256()
    for part in [schema, index, Array(footer.prefix(40)), Array(digest.hex.utf8)] { hash.update(part.span.bytes) }
    guard hash.finalizeBytes() == Array(footer[40..<72]) else {
      throw Self.damaged(path, "its index is damaged, or it is of another companion")
    }
    guard let names = try? JSONValue(reading: schema), let columns = names["columns"]?.elements.map(\.string),
      let kept = names["kept"]?.elements, kept.count == columns.count, columns.count <= RowRecord.mostColumns
    else { throw Self.damaged(path, "the names of its columns are") }
    let numbered = columns.map { $0 ?? "" }
    self.numbered = numbered
    self.columns = zip(numbered, kept).filter { $0.1 == .bool(true) }.map(\.0)
    leftOut = (names["left_out"]?.elements ?? []).map {
      LeftOutColumn(name: $0["name"]?.string ?? "", cause: $0["cause"]?.string ?? "")
    }
    self.rowCount = rowCount
    blocks = try Self.blocks(index, rowCount: rowCount, end: schemaOffset, path)
  }

  private static func blocks(_ index: [UInt8], rowCount: Int, end: Int, _ path: String) throws -> [Block] {
    var blocks: [Block] = []
    var (row, offset) = (0, PackLayout.headerByteCount)
    for at in stride(from: 0, to: index.count, by: PackLayout.entryByteCount) {
      let block = Block(
        offset: Int(clamping: number(index, at: at, count: 8)),
        firstRow: Int(clamping: number(index, at: at + 8, count: 8)),
        packedByteCount: Int(number(index, at: at + 16, count: 4)),
        byteCount: Int(number(index, at: at + 20, count: 4)),
        rowCount: Int(number(index, at: at + 24, count: 4)), checksum: UInt32(number(index, at: at + 28, count: 4)))
      guard block.offset == offset, block.firstRow == row, block.rowCount > 0, block.packedByteCount > 0,
        block.packedByteCount <= end - offset, block.packedByteCount <= block.byteCount,
        block.byteCount <= PackLayout.mostBlockByteCount, block.rowCount <= (block.byteCount - 4) / 4
      else { throw damaged(path, "block \(blocks.count) is not where it should be") }
      (row, offset) = (row + block.rowCount, offset + block.packedByteCount)
      blocks.append(block)
    }
    guard row == rowCount, offset == end else { throw damaged(path, "its blocks do not come to its rows") }
    return blocks
  }

  /// The values of some rows.
  ///
  /// - Parameters:
  ///   - rows: Rows of the companion, in any order.
  ///   - columns: Names of columns.
  ///   - checkpoint: Called between blocks; an error of it ends the reading.
  /// - Returns: For each row the values of the columns; nil for a row that it has not.
  /// - Throws: ``TarnError`` `.usage` for a column that it has not, naming those it has;
  ///   `.badFeatures` for one that is not read; `.integrity` for a damaged block, `.io`.
  package func values(
    ofRows rows: [Int], columns: [String], checkpoint: () throws -> Void = {}
  ) throws -> [[JSONValue]?] {
    let places = try places(of: columns)
    var result = [[JSONValue]?](repeating: nil, count: rows.count)
    var open: (number: Int, bytes: [UInt8])?
    for place in rows.indices.sorted(by: { rows[$0] < rows[$1] }) where (0..<rowCount).contains(rows[place]) {
      let number = block(ofRow: rows[place])
      if open?.number != number {
        try checkpoint()
        open = (number, try bytes(ofBlock: number))
      }
      guard let bytes = open?.bytes,
        let range = range(ofRow: rows[place] - blocks[number].firstRow, inBlock: number, of: bytes),
        let values = RowRecord.values(of: bytes, range, places: places, count: columns.count)
      else { throw damaged(row: rows[place]) }
      result[place] = values
    }
    return result
  }

  /// For each column as rows count them its place among some.
  ///
  /// - Throws: ``TarnError`` for one that it has not, or that is not read.
  func places(of columns: [String], mayLack: Bool = false) throws -> [Int?] {
    if !mayLack { try requireColumns(columns, among: self.columns, leftOut, of: path) }
    let kept = Set(self.columns)
    let places = Dictionary(zip(columns, columns.indices)) { first, _ in first }
    return numbered.map { name in kept.contains(name) ? places[name] : nil }
  }

  /// Bytes of all rows.
  package var unpackedByteCount: Int { blocks.reduce(0) { $0 + $1.byteCount } }

  var blockCount: Int { blocks.count }

  func rowCount(ofBlock number: Int) -> Int { blocks[number].rowCount }

  /// Where a row of a block lies in the block's bytes; nil where its ends are none.
  func range(ofRow place: Int, inBlock number: Int, of bytes: [UInt8]) -> Range<Int>? {
    let rowCount = blocks[number].rowCount
    let start = 4 + 4 * rowCount
    guard bytes.count >= start, Self.number(bytes, at: 0, count: 4) == rowCount else { return nil }
    let from = place == 0 ? 0 : Int(Self.number(bytes, at: 4 * place, count: 4))
    let to = Int(Self.number(bytes, at: 4 * (place + 1), count: 4))
    guard from <= to, to <= bytes.count - start else { return nil }
    return (start + from)..<(start + to)
  }

  func damaged(row: Int) -> TarnError { Self.damaged(path, "row \(row) is") }

  /// Reads every block, and every row of it.
  ///
  /// - Throws: ``TarnError`` `.integrity` naming the first that is damaged.
  package func check() throws {
    let places = numbered.indices.map { Int?.some($0) }
    for number in blocks.indices {
      let bytes = try bytes(ofBlock: number)
      for place in 0..<blocks[number].rowCount {
        guard let range = range(ofRow: place, inBlock: number, of: bytes),
          RowRecord.values(of: bytes, range, places: places, count: places.count) != nil
        else { throw damaged(row: blocks[number].firstRow + place) }
      }
    }
  }

  /// The last block that begins at or before a row of the file.
  private func block(ofRow row: Int) -> Int {
    max(0, blocks.partitioningIndex { $0.firstRow > row } - 1)
  }

  /// A block, unpacked.
  func bytes(ofBlock number: Int) throws -> [UInt8] {
    let block = blocks[number]
    let packed = try file.bytes(at: block.offset, count: block.packedByteCount)
    guard packed.withUnsafeBytes({ cunpack_crc32($0.baseAddress, $0.count) }) == block.checksum else {
      throw Self.damaged(path, "block \(number) is")
    }
    guard block.packedByteCount < block.byteCount else { return packed }
    var isGood = false
    let bytes = [UInt8](unsafeUninitializedCapacity: block.byteCount) { buffer, count in
      packed.withUnsafeBufferPointer { input in
        guard let from = input.baseAddress, let to = buffer.baseAddress else { return }
        isGood = cunpack_unpack(from, input.count, to, block.byteCount) == 0
      }
      count = isGood ? block.byteCount : 0
    }
    guard isGood else { throw Self.damaged(path, "block \(number) is") }
    return bytes
  }

  private static func number(_ bytes: [UInt8], at place: Int, count: Int) -> UInt64 {
    (0..<count).reversed().reduce(0) { $0 << 8 | UInt64(bytes[place + $1]) }
  }

  private static let remedy = "`tarn verify --repair` or `tarn pack` makes it again"

  private static func damaged(_ path: String, _ cause: String) -> TarnError {
    let isOpen = cause.hasSuffix(" is") || cause.hasSuffix(" are")
    return TarnError(
      .integrity, "\(path) is no good pack: \(cause)\(isOpen ? " damaged" : "")",
      hint: remedy)
  }
}
