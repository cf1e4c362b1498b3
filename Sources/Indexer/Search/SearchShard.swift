// An output shard that is open for searching: where its lists are.

internal import Base
internal import CScan
internal import Features

/// The lists of one output shard, mapped.
struct SearchShard: Sendable {
  let file: MappedFile
  /// Rows of all lists.
  let rowCount: Int
  private let codeByteCount: Int
  /// Where each list starts in the file, `[nlist + 1]`: codes, then ids.
  private let offsets: [Int]
  /// Rows of a piece of a list, but the last one.
  private let pieceRowCount: Int
  /// Pieces of all lists before each, `[nlist]`.
  private let firstPieces: [Int32]
  /// What is known of each piece, for `cscan_radius`.
  private let radii: LargeMemory

  /// Bytes of codes in a piece: enough for a disk to read at its rate, few
  /// enough for threads to end together.
  private static let pieceByteCount = 128 << 10

  /// Maps an output shard that was parsed strictly.
  init(_ shard: OutputShardFile) throws {
    file = try MappedFile(path: shard.file.path, byteCount: shard.file.byteCount)
    rowCount = shard.rowCount
    codeByteCount = shard.trained.quantizer.codeByteCount
    offsets = shard.listOffsets
    let (rowByteCount, pieceRowCount) = (codeByteCount + 8, max(Self.pieceByteCount / codeByteCount, 16))
    var pieceCount = 0
    firstPieces = zip(offsets, offsets.dropFirst()).map { start, end in
      defer { pieceCount += ((end - start) / rowByteCount + pieceRowCount - 1) / pieceRowCount }
      return Int32(pieceCount)
    }
    self.pieceRowCount = pieceRowCount
    radii = LargeMemory(byteCount: 4 * pieceCount)
    unsafe radii.start.initializeMemory(as: UInt8.self, repeating: 0, count: radii.byteCount)
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

  /// The pieces of a list, in order.
  func pieces(ofList list: Int) -> some Sequence<Range<Int>> {
    let size = size(ofList: list)
    return stride(from: 0, to: size, by: pieceRowCount).map { $0..<min($0 + pieceRowCount, size) }
  }

  /// A piece of a list in memory.
  ///
  /// - Parameters:
  ///   - piece: Its rows.
  ///   - list: The list.
  ///   - coder: Their codec.
  ///   - visitorCount: Queries that they will be shown to, 0 where that is only some of them: those are not worth a measure.
  /// - Returns: Its codes and ids, and how far the codes are from the middle where that is known.
  func rows(_ piece: Range<Int>, ofList list: Int, _ coder: ScanCoder, visitorCount: Int) -> cscan_rows {
    let ids = offsets[list + 1] - 8 * size(ofList: list) + 8 * piece.lowerBound
    var rows = unsafe cscan_rows(
      codes: code(ofRow: piece.lowerBound, ofList: list), ids: file.address(ids), next: nil, places: nil,
      apart: nil, count: piece.count, apart_next: 0, radius: 0)
    let number = Int(firstPieces[list]) + piece.lowerBound / pieceRowCount
    let known = unsafe radii.start.assumingMemoryBound(to: UInt32.self) + number
    unsafe rows.radius = cscan_radius(SimdLevel.current, coder.pointer, &rows, known, visitorCount)
    return unsafe rows
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
