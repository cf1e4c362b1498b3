// An output shard that is open for searching: where its lists are.

internal import Base
internal import CScan

/// The lists of one output shard, mapped.
struct SearchShard: Sendable {
  let file: MappedFile
  /// Rows of all lists.
  let rowCount: Int
  private let codeByteCount: Int
  /// Where each list starts in the file, `[nlist + 1]`: codes, then ids.
  private let offsets: [Int]

  /// Maps an output shard that was parsed strictly.
  init(_ shard: OutputShardFile) throws {
    file = try MappedFile(path: shard.file.path, byteCount: shard.file.byteCount)
    rowCount = shard.rowCount
    codeByteCount = shard.trained.quantizer.codeByteCount
    offsets = shard.listOffsets
  }

  /// Rows in a list.
  func size(ofList list: Int) -> Int { (offsets[list + 1] - offsets[list]) / (codeByteCount + 8) }

  /// Where the codes of a row are in memory.
  func code(ofRow row: Int, ofList list: Int) -> UnsafePointer<UInt8> {
    unsafe file.address(offsets[list] + codeByteCount * row)
  }

  /// The code of a row.
  func codeBytes(ofRow row: Int, ofList list: Int) -> [UInt8] {
    unsafe Array(UnsafeBufferPointer(start: code(ofRow: row, ofList: list), count: codeByteCount))
  }

  /// The id of a row of a list.
  func id(ofRow row: Int, ofList list: Int) -> RowID {
    let address = unsafe file.address(offsets[list + 1] - 8 * (size(ofList: list) - row))
    return unsafe RowID(littleEndian: UnsafeRawPointer(address).loadUnaligned(as: RowID.self))
  }

  /// Rows of a list in memory.
  func rows(_ rows: Range<Int>, ofList list: Int) -> cscan_rows {
    let ids = offsets[list + 1] - 8 * size(ofList: list) + 8 * rows.lowerBound
    return unsafe cscan_rows(
      codes: code(ofRow: rows.lowerBound, ofList: list), ids: file.address(ids), next: nil, places: nil,
      apart: nil, count: rows.count)
  }

  /// Has the kernel read rows before they are needed.
  ///
  /// A list goes in one piece, ids and all, when its first rows are asked for: a
  /// disk that answers so many questions a second is asked one. Of a list that
  /// is longer than 4 MiB only the rows that are asked for.
  func expectRead(_ rows: Range<Int>, ofList list: Int) {
    let whole = offsets[list]..<offsets[list + 1]
    if whole.count <= 4 << 20 {
      if rows.lowerBound == 0 { file.expectRead(whole) }
    } else {
      let start = whole.lowerBound + codeByteCount * rows.lowerBound
      file.expectRead(start..<(start + codeByteCount * rows.count))
    }
  }
}
