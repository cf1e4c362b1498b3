// An output shard as a file: reading it back, and what is known of it.

package import Base

/// What became of a written output shard.
package struct OutputShardSummary: Sendable, Equatable {
  /// SHA-256 of the file.
  package let digest: ContentDigest
  package let byteCount: Int
  /// Rows in the file's lists.
  package let rowCount: Int
  /// For each list the digest of its bytes in the file: codes, then ids.
  package let listDigests: ListDigests
}

/// An open output shard whose header has been verified.
///
/// Invariants, beside those of the format:
///   1. Within a list ids ascend.
///   2. Every id is in at most one list (not looked at when opening).
package final class OutputShardFile: Sendable {
  package let trained: TrainedIndex
  /// Rows of all lists.
  package let rowCount: Int
  let file: InputFile
  let listSizes: [UInt64]
  /// Where each list's codes start in the file, `[nlist + 1]`.
  let listOffsets: [Int]

  /// Opens an output shard; trusts nothing in it.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - trained: The trained index of the version's other output shards, which
  ///     this one must carry too: it is not read again. At 131,072 lists of 768
  ///     dimensions it is 400 MB in each.
  /// - Throws: ``TarnError`` `.inputsMissing` without a file, `.integrity`
  ///   when it is not a whole output shard of tarn's, or one of another
  ///   trained index.
  package init(path: String, sharing trained: TrainedIndex? = nil) throws {
    file = try InputFile(path: path)
    let header = try FaissFile.readHeader(of: file, kind: "output shard", sharing: trained)
    self.trained = header.trained
    rowCount = header.count
    listSizes = header.listSizes
    let entry = header.trained.quantizer.codeByteCount + 8
    var offsets = [header.dataOffset]
    offsets.reserveCapacity(listSizes.count + 1)
    for size in listSizes { offsets.append(offsets[offsets.count - 1] + Int(size) * entry) }
    listOffsets = offsets
  }

  /// Rows in one list.
  package func size(ofList list: Int) -> Int { Int(listSizes[list]) }

  /// The contents of one list.
  ///
  /// - Parameter list: Its number, `0..<nlist`.
  /// - Returns: Codes, `[size × codeByteCount]` bytes, and ids, `[size]`.
  /// - Throws: ``TarnError`` `.io` or `.integrity` when reading fails.
  package func contents(ofList list: Int) throws -> (codes: [UInt8], ids: [Int64]) {
    try contents(ofList: list, rows: 0..<size(ofList: list))
  }

  /// Some rows of one list, as ``contents(ofList:)``.
  func contents(ofList list: Int, rows: Range<Int>) throws -> (codes: [UInt8], ids: [Int64]) {
    (try codes(ofList: list, rows: rows), try ids(ofList: list, rows: rows))
  }

  /// The codes of some rows of one list, as ``contents(ofList:)``.
  func codes(ofList list: Int, rows: Range<Int>) throws -> [UInt8] {
    let width = trained.quantizer.codeByteCount
    var codes = [UInt8](repeating: 0, count: rows.count * width)
    try file.read(into: &codes, at: listOffsets[list] + rows.lowerBound * width, count: codes.count)
    return codes
  }

  /// The row ids of one list, ascending; its codes are not read.
  func ids(ofList list: Int) throws -> [RowID] { try ids(ofList: list, rows: 0..<size(ofList: list)) }

  /// Some rows' ids of one list, as ``ids(ofList:)``.
  func ids(ofList list: Int, rows: Range<Int>) throws -> [RowID] {
    var ids = [RowID](repeating: 0, count: rows.count)
    let start = listOffsets[list] + size(ofList: list) * trained.quantizer.codeByteCount
    try unsafe ids.withUnsafeMutableBytes { try unsafe file.read(into: $0, at: start + 8 * rows.lowerBound) }
    return ids
  }

  /// Hands out the rows of a list in pieces, so that memory does not grow with its length.
  func eachPiece(of list: Int, _ body: (_ rows: Range<Int>) throws -> Void) rethrows {
    let pieceRowCount = 1 << 14
    for first in stride(from: 0, to: size(ofList: list), by: pieceRowCount) {
      try body(first..<min(first + pieceRowCount, size(ofList: list)))
    }
  }

  /// Reads the whole file from the disk and describes what is there.
  ///
  /// - Parameters:
  ///   - ranges: The id ranges that the ids must lie in, ascending and
  ///     disjoint; nil leaves that unchecked.
  ///   - buffers: How much memory to take.
  /// - Returns: Digest, sizes and list digests of the bytes read.
  /// - Throws: ``TarnError`` `.integrity` when ids of a list do not ascend
  ///   or lie outside the ranges.
  package func readBack(
    idsIn ranges: [Range<Int64>]? = nil, buffers: BufferPlan = BufferPlan()
  ) throws -> OutputShardSummary {
    file.forget(from: 0, count: file.byteCount)
    let digester = FileDigester()
    digester.expect(
      .contiguous(listSizes: listSizes, entryByteCount: trained.quantizer.codeByteCount + 8), at: listOffsets[0])
    let ring = try unsafe BufferRing(buffers, stages: [("tarn-hash", { unsafe digester.add($0) })])
    defer { ring.close() }
    var ids = IDCheck(self, ranges: ranges)
    for offset in stride(from: 0, to: file.byteCount, by: buffers.byteCount) {
      let count = min(buffers.byteCount, file.byteCount - offset)
      let bytes = try unsafe UnsafeMutableRawBufferPointer(rebasing: ring.take()[..<count])
      try unsafe file.read(into: bytes, at: offset)
      file.expectRead(from: offset + count, count: buffers.byteCount)
      ring.submit(count)
      try unsafe ids.add(UnsafeRawBufferPointer(bytes), at: offset)
    }
    try ring.finish()
    let lists = digester.finishLists()
    return OutputShardSummary(
      digest: digester.finish(), byteCount: file.byteCount, rowCount: rowCount, listDigests: lists)
  }

  /// Reads a file that somebody else wrote, whole.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - trained: The trained index it must carry.
  ///   - ranges: The id ranges its ids must lie in, ascending and disjoint.
  /// - Returns: What is there.
  /// - Throws: ``TarnError`` `.integrity` when it is no whole output shard of that
  ///   trained index and those ids.
  package static func read(
    _ path: String, trained: TrainedIndex, idsIn ranges: [Range<Int64>]
  ) throws -> OutputShardSummary {
    let shard = try OutputShardFile(path: path)
    guard try shard.trained == trained.searched else {
      throw TarnError(.integrity, "\(path) carries another trained index")
    }
    return try shard.readBack(idsIn: ranges)
  }

  /// Reads the file back and compares it with what was meant to be written.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - trained: The trained index it must carry.
  ///   - summary: What the writer said of it.
  ///   - ranges: The id ranges it covers, ascending and disjoint.
  ///   - buffers: How much memory to take.
  /// - Throws: ``TarnError`` `.integrity` naming the first difference.
  package static func verify(
    _ path: String, trained: TrainedIndex, summary: OutputShardSummary, idsIn ranges: [Range<Int64>],
    buffers: BufferPlan = BufferPlan()
  ) throws {
    let shard = try OutputShardFile(path: path)
    func differs(_ what: String) -> TarnError {
      TarnError(
        .integrity, "\(path), read back, \(what)",
        hint: "the disk does not keep what was written; check it, then build again")
    }
    guard try shard.trained == trained.searched else { throw differs("carries another trained index") }
    let found = try shard.readBack(idsIn: ranges, buffers: buffers)
    if let list = found.listDigests.firstDifference(from: summary.listDigests) {
      throw differs("differs in list \(list)")
    }
    guard found == summary else {
      throw differs("has SHA-256 \(found.digest.prefix(12)), written was \(summary.digest.prefix(12))")
    }
  }
}

/// Watches the ids of an output shard go by, whatever the cut of the pieces.
private struct IDCheck {
  private let shard: OutputShardFile
  private let ranges: [Range<Int64>]?
  private var list = 0
  /// The last id of this list, -1 before the first.
  private var previous: Int64 = -1
  /// The range of the last id.
  private var current = 0
  /// The front of an id that was cut, and how many bytes that is.
  private var partial: UInt64 = 0
  private var partialByteCount = 0

  init(_ shard: OutputShardFile, ranges: [Range<Int64>]?) {
    self.shard = shard
    self.ranges = ranges
  }

  /// Checks the ids among the next bytes of the file.
  ///
  /// - Parameters:
  ///   - bytes: The bytes.
  ///   - offset: Where they are in the file.
  /// - Throws: ``TarnError`` `.integrity` naming list and id.
  mutating func add(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
    let end = offset + bytes.count
    while list < shard.listSizes.count {
      let idsEnd = shard.listOffsets[list + 1]
      let start = max(idsEnd - 8 * shard.size(ofList: list), offset)
      if start < min(idsEnd, end) {
        try unsafe add(UnsafeRawBufferPointer(rebasing: bytes[(start - offset)..<(min(idsEnd, end) - offset)]))
      }
      // Bytes up to `end` belong to this list still, or all of it is seen.
      if idsEnd > end { return }
      list += 1
      previous = -1
      current = 0
    }
  }

  private mutating func add(_ bytes: UnsafeRawBufferPointer) throws {
    var position = 0
    while position < bytes.count {
      if partialByteCount == 0, position + 8 <= bytes.count {
        let value = unsafe bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        try check(Int64(bitPattern: UInt64(littleEndian: value)))
        position += 8
        continue
      }
      partial |= unsafe UInt64(bytes[position]) << UInt64(8 * partialByteCount)
      partialByteCount += 1
      position += 1
      if partialByteCount == 8 {
        try check(Int64(bitPattern: partial))
        (partial, partialByteCount) = (0, 0)
      }
    }
  }

  private mutating func check(_ id: Int64) throws {
    guard id > previous else {
      throw TarnError(
        .integrity, "\(shard.file.path) is damaged in list \(list): id \(id) follows id \(previous)")
    }
    previous = id
    guard let ranges else { return }
    current = ranges.place(of: id, from: current)
    guard current < ranges.count, ranges[current].contains(id) else {
      throw TarnError(
        .integrity, "\(shard.file.path) is damaged in list \(list): id \(id) is of none of its shards")
    }
  }
}
