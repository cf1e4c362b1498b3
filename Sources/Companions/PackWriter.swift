// A companion's file made into a pack: its rows in compressed blocks with an index
// (docs/PACK.md). What is written follows from the companion's bytes and the columns alone.

package import Base
internal import CUnpack

/// What a pack file looks like.
enum PackLayout {
  /// Those that are read; they differ in what is made of a companion's values, not in their layout.
  static let versions: ClosedRange<UInt32> = 1...2

  /// That of packs that are made now: 2 where whole numbers of JSON lines beyond 64 bits are text, which were rounded.
  static func version(of table: CompanionFormat.Table) -> UInt32 { table == .jsonl ? 2 : 1 }

  static let magic: [UInt8] = Array("TARNPACK".utf8)
  static let headerByteCount = 16
  static let entryByteCount = 32
  static let footerByteCount = 80
  /// Unpacked bytes of rows after which a block ends.
  static let blockByteCount = 32 << 10
  /// The most bytes of a block, unpacked: one row of the longest kind.
  static let mostBlockByteCount = RowRecord.mostByteCount + blockByteCount + 8
  /// The most bytes of the names of columns.
  static let mostSchemaByteCount = 64 << 20
}

/// Makes packs.
package enum PackWriter {
  /// The number of the format that packs of a file have; those of an older one are made anew, and read meanwhile.
  ///
  /// - Parameter name: The companion's file name.
  /// - Returns: The number.
  package static func formatVersion(ofFile name: String) -> Int {
    Int(CompanionFormat(ofFile: name).map { PackLayout.version(of: $0.table) } ?? PackLayout.versions.lowerBound)
  }

  /// The newest format of all.
  package static let newestFormatVersion = Int(PackLayout.versions.upperBound)

  /// What was written.
  package struct Summary: Sendable, Equatable {
    package let digest: ContentDigest
    package let byteCount: Int
    package let rowCount: Int
    package let columns: [String]
    package let leftOut: [LeftOutColumn]
  }

  /// Packs a file.
  ///
  /// - Parameters:
  ///   - file: The companion's file.
  ///   - digest: The SHA-256 of its bytes, which the pack bears.
  ///   - columns: The columns that are kept, of those that can be read; nil for all.
  ///   - mayLack: Whether the file may lack some of them, which are null then.
  ///   - without: Rows of which it says nothing: every column of theirs is null.
  ///   - rowCount: The rows that it must have; nil for as many as there are.
  ///   - temporaryPath: Where the pack is written.
  ///   - path: Where it is moved to when it is durable.
  ///   - checkpoint: Called between blocks with the rows done; an error of it ends the work.
  /// - Returns: What was written.
  /// - Throws: ``TarnError`` `.badFeatures` for what cannot be read, naming the row; `.usage`
  ///   for a column that it has not; `.integrity` for another number of rows; of the disk.
  package static func write(
    _ file: CompanionFile, digest: ContentDigest, columns: [String]? = nil, mayLack: Bool = false,
    without: Set<Int> = [], rowCount: Int? = nil,
    through temporaryPath: String, to path: String, checkpoint: (_ rows: Int) throws -> Void = { _ in }
  ) throws -> Summary {
    let only = columns.map(Set.init)
    let reader = try file.records(only: only)
    // Members of JSON come as they do.
    let required = (columns ?? []).filter { name in !mayLack || reader.leftOut.contains { $0.isMeant(by: name) } }
    if file.format.table != .jsonl {
      try requireColumns(required, among: reader.columns, reader.leftOut, of: file.path)
    }
    var output = try PackOutput(creating: temporaryPath, version: PackLayout.version(of: file.format.table))
    var (block, record) = (PackBlock(), RowRecord())
    while try reader.next(&record) {
      guard record.bytes.count <= RowRecord.mostByteCount else {
        throw TarnError.companion(
          file.path, "row \(block.firstRow + block.rowCount) has more than \(RowRecord.mostByteCount >> 20) MiB",
          hint: "name the columns that are wanted with --columns")
      }
      block.add(without.contains(block.firstRow + block.rowCount) ? [] : record.bytes)
      guard block.isFull else { continue }
      try output.write(&block)
      try checkpoint(block.firstRow)
    }
    try output.write(&block)
    let rows = block.firstRow
    if let rowCount, rows != rowCount {
      throw TarnError(.integrity, "\(file.path) has \(rows) rows, the catalog counts \(rowCount)")
    }
    try requireColumns(required, among: reader.columns, reader.leftOut, of: file.path)
    let kept = reader.columns
    let schema = Array(
      JSONValue.object([
        "columns": .strings(kept),
        "kept": .array(kept.map { .bool(only?.contains($0) ?? true) }),
        "left_out": .array(reader.leftOut.map { .object(["name": .string($0.name), "cause": .string($0.cause)]) }),
      ]).text.utf8)
    guard schema.count <= PackLayout.mostSchemaByteCount else {
      throw TarnError.companion(file.path, "the names of its columns have \(schema.count) bytes")
    }
    let byteCount = try output.end(schema, rowCount: rows, of: digest)
    let result = try output.finish(as: path)
    return Summary(
      digest: result, byteCount: byteCount, rowCount: rows,
      columns: kept.filter { only?.contains($0) ?? true }, leftOut: reader.leftOut)
  }
}

/// A pack being written: its blocks, and what says where they are.
private struct PackOutput: ~Copyable {
  private var file: DurableFile
  private var index = ByteBuilder()
  private var blockCount = 0
  private let version: UInt32

  init(creating path: String, version: UInt32) throws {
    self.version = version
    var file = try DurableFile(creating: path)
    var header = ByteBuilder()
    header.append(contentsOf: PackLayout.magic)
    header.append(version)
    header.append(UInt32(0))
    try file.write(header.bytes.span.bytes)
    self.file = file
  }

  /// Writes a block, unless it is empty, and empties it.
  mutating func write(_ block: inout PackBlock) throws {
    guard block.rowCount > 0 else { return }
    let plain = block.bytes
    let packed = PackBlock.packed(plain)
    index.append(UInt64(file.byteCount))
    index.append(UInt64(block.firstRow))
    index.append(UInt32(packed.count))
    index.append(UInt32(plain.count))
    index.append(UInt32(block.rowCount))
    index.append(packed.withUnsafeBytes { cunpack_crc32($0.baseAddress, $0.count) })
    try file.write(packed.span.bytes)
    blockCount += 1
    block.clear()
  }

  /// Writes what says where everything is.
  ///
  /// - Returns: Bytes of the whole file.
  mutating func end(_ schema: [UInt8], rowCount: Int, of companion: ContentDigest) throws -> Int {
    var footer = ByteBuilder()
    footer.append(UInt64(file.byteCount))
    footer.append(UInt64(schema.count))
    footer.append(UInt64(blockCount))
    footer.append(UInt64(rowCount))
    footer.append(version)
    footer.append(UInt32(0))
    // The SHA-256 of what says where everything is, so that it is believed whole or not.
    var hash = Sha256()
    for part in [schema, index.bytes, footer.bytes, Array(companion.hex.utf8)] { hash.update(part.span.bytes) }
    footer.append(contentsOf: hash.finalizeBytes())
    footer.append(contentsOf: PackLayout.magic)
    for part in [schema, index.bytes, footer.bytes] { try file.write(part.span.bytes) }
    return file.byteCount
  }

  /// Makes the file durable under its name.
  consuming func finish(as path: String) throws -> ContentDigest { try file.finish(as: path) }
}

/// Rows of a block: how many, where each ends, and their bytes.
struct PackBlock {
  private(set) var firstRow = 0
  private var ends: [UInt32] = []
  private var rows: [UInt8] = []

  var rowCount: Int { ends.count }
  var isFull: Bool { rows.count + 4 * ends.count >= PackLayout.blockByteCount }

  var bytes: [UInt8] {
    var builder = ByteBuilder()
    builder.append(UInt32(ends.count))
    for end in ends { builder.append(end) }
    builder.append(contentsOf: rows)
    return builder.bytes
  }

  mutating func add(_ row: [UInt8]) {
    rows += row
    ends.append(UInt32(rows.count))
  }

  mutating func clear() {
    firstRow += ends.count
    ends.removeAll(keepingCapacity: true)
    rows.removeAll(keepingCapacity: true)
  }

  /// The bytes as they lie in the file: as they are where packing makes them no shorter.
  static func packed(_ plain: [UInt8]) -> [UInt8] {
    let packed = [UInt8](unsafeUninitializedCapacity: cunpack_bound(plain.count)) { buffer, count in
      count = plain.withUnsafeBufferPointer { input in
        guard let from = input.baseAddress, let to = buffer.baseAddress else { return 0 }
        return cunpack_pack(from, input.count, to)
      }
    }
    return packed.count < plain.count ? packed : plain
  }
}
