// An open segment. The layout and its invariants are in Segment.swift; whole
// lists are read by SegmentReader. It is read with pread, so a file that shrinks
// or a bad sector is an error and not a SIGBUS.

package import Base

/// An open segment whose header, offsets and digests have been verified.
package final class SegmentFile: Sendable {
  package let description: SegmentDescription
  /// Rows of the shard, holes included.
  package let rowCount: Int
  /// Rows that are in a list.
  package let storedRowCount: Int
  private let file: InputFile
  /// Where each list starts, in rows stored, `[nlist + 1]`; 32 bits, because
  /// a build holds those of forty segments.
  private let offsets: [UInt32]
  private let rowsOffset: Int
  private let codesOffset: Int
  private let digestsOffset: Int
  private let refineOffset: Int

  /// What helps where it is damaged, or is another trained index's: whoever encodes its shard again writes it anew.
  static let remedy = "delete the segment and build it again"

  /// The file's name, for messages.
  package var path: String { file.path }

  /// Opens a segment and checks all but its rows and codes.
  ///
  /// - Parameter path: The file.
  /// - Throws: ``TarnError`` `.inputsMissing` without a file, `.integrity`
  ///   for anything that breaks the layout.
  package convenience init(path: String) throws { try self.init(InputFile(path: path)) }

  /// As ``init(path:)``, for a file that is open.
  package init(_ file: InputFile) throws {
    var cursor = FileCursor(file, kind: "segment", hint: SegmentFile.remedy)
    let header = try cursor.bytes(SegmentLayout.headerByteCount, "its header")
    cursor = FileCursor(file, kind: "segment", hint: SegmentFile.remedy)
    guard header.starts(with: Array("TARNSEG\n".utf8)) else { throw cursor.malformed("it has another magic number") }
    cursor.skip(8)
    let version = try cursor.integer(UInt32.self, "the version")
    guard version == segmentFormatVersion else { throw cursor.malformed("its format version is \(version)") }
    let (checked, checksum) = (header.prefix(SegmentLayout.checkedByteCount), header.suffix(32))
    guard ContentDigest.of(checked).bytes == Array(checksum) else {
      throw cursor.malformed("its header does not match its checksum")
    }
    guard let codec = VectorCodec(number: try cursor.integer(UInt32.self, "the codec")) else {
      throw cursor.malformed("unknown codec")
    }
    let dimension = Int(try cursor.integer(UInt32.self, "the dimension"))
    let codeByteCount = Int(try cursor.integer(UInt32.self, "the code size"))
    let nlist = try cursor.size("nlist", in: 1...maximumListCount)
    let rowCount = try cursor.size("the row count", in: 0...Int(UInt32.max))
    let storedRowCount = try cursor.size("the stored row count", in: 0...rowCount)
    guard (1...65_536).contains(dimension), codeByteCount == codec.codeByteCount(dimension: dimension) else {
      throw cursor.malformed("codes of \(codeByteCount) bytes for \(dimension) dimensions")
    }
    let trained = ContentDigest(bytes: try cursor.bytes(32, "a digest"))
    let shard = ContentDigest(bytes: try cursor.bytes(32, "a digest"))
    let mark = try cursor.bytes(32, "a digest")
    let refining = try cursor.integer(UInt32.self, "what refines")
    let refine = refining == 0 ? nil : VectorCodec(number: refining - 1)
    guard refining == 0 || refine?.canRefine == true else { throw cursor.malformed("unknown codec that refines") }
    description = SegmentDescription(
      codec: codec, dimension: dimension, nlist: nlist, trainedIndex: trained, shard: shard,
      arrayMark: mark.allSatisfy { $0 == 0 } ? nil : ContentDigest(bytes: mark), refine: refine)
    // Invariant 3, before memory is taken for nlist offsets.
    rowsOffset = SegmentLayout.headerByteCount + 8 * (nlist + 1)
    codesOffset = rowsOffset + 4 * storedRowCount
    digestsOffset = codesOffset + storedRowCount * codeByteCount
    refineOffset = digestsOffset + ListDigests.digestByteCount * nlist + SegmentLayout.trailerByteCount
    let end =
      refine == nil
      ? refineOffset : refineOffset + rowCount * description.refineByteCount + SegmentLayout.refineDigestByteCount
    guard file.byteCount == end else {
      throw cursor.malformed("it has \(file.byteCount) bytes, its header says \(end)")
    }
    cursor = FileCursor(file, kind: "segment", hint: SegmentFile.remedy)
    cursor.skip(SegmentLayout.headerByteCount)
    let offsets = try cursor.integers64(nlist + 1, "the offsets")
    cursor.skip(digestsOffset - cursor.offset)
    guard let digests = ListDigests(bytes: try cursor.bytes(ListDigests.digestByteCount * nlist, "the digests")) else {
      throw cursor.malformed("its digests are cut")
    }
    let trailer = SegmentLayout.trailer(header: header, offsets: offsets, digests: digests)
    guard try cursor.bytes(SegmentLayout.trailerByteCount, "the trailer") == trailer else {
      throw cursor.malformed("its offsets or digests do not match its trailer")
    }
    // Invariant 1.
    guard offsets[0] == 0, offsets[nlist] == UInt64(storedRowCount), zip(offsets, offsets.dropFirst()).allSatisfy(<=)
    else { throw cursor.malformed("its offsets do not ascend") }
    self.offsets = offsets.map { UInt32($0) }
    self.rowCount = rowCount
    self.storedRowCount = storedRowCount
    self.file = file
  }

  /// Rows in one list.
  package func size(ofList list: Int) -> Int { Int(offsets[list + 1] - offsets[list]) }

  /// The rows stored that are those of some lists.
  func rows(ofLists lists: Range<Int>) -> Range<Int> {
    Int(offsets[lists.lowerBound])..<Int(offsets[lists.upperBound])
  }

  /// Reads row numbers.
  ///
  /// - Parameters:
  ///   - range: Which of the rows stored.
  ///   - rows: Space for just those.
  /// - Throws: ``TarnError`` `.io` or `.integrity` when reading fails.
  func readRows(_ range: Range<Int>, into rows: UnsafeMutableBufferPointer<UInt32>) throws {
    try unsafe file.read(into: UnsafeMutableRawBufferPointer(rows), at: rowsOffset + 4 * range.lowerBound)
    for i in rows.indices { unsafe rows[i] = unsafe UInt32(littleEndian: rows[i]) }
  }

  /// Reads codes; as ``readRows(_:into:)``.
  func readCodes(_ range: Range<Int>, into codes: UnsafeMutableRawBufferPointer) throws {
    try unsafe file.read(into: codes, at: codesOffset + range.lowerBound * description.codeByteCount)
  }

  /// Reads codes that refine, of rows of the shard; as ``readRows(_:into:)``.
  func readRefining(_ rows: Range<Int>, into codes: UnsafeMutableRawBufferPointer) throws {
    let width = description.refineByteCount
    try unsafe file.read(into: codes, at: refineOffset + rows.lowerBound * width)
    file.expectRead(from: refineOffset + rows.upperBound * width, count: codes.count)
  }

  /// The digest that the codes that refine must have.
  func refiningDigest() throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: SegmentLayout.refineDigestByteCount)
    try file.read(
      into: &bytes, at: refineOffset + rowCount * description.refineByteCount, count: bytes.count)
    return bytes
  }

  /// Hands out all codes that refine, by row, and checks them against their digest at the end.
  ///
  /// - Parameters:
  ///   - byteCount: Bytes at a time, about.
  ///   - body: Gets rows and their codes, which it may write over.
  /// - Throws: ``TarnError`` `.integrity` when they are not what was written; what `body` throws.
  func eachRefining(
    byteCount: Int, _ body: (_ rows: Range<Int>, _ codes: UnsafeMutableRawBufferPointer) throws -> Void
  ) throws {
    let width = description.refineByteCount
    precondition(width > 0, "a segment without codes that refine")
    let step = max(1, min(byteCount / width, rowCount))
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: step * width, alignment: 16)
    defer { unsafe room.deallocate() }
    var hasher = Sha256()
    for first in stride(from: 0, to: rowCount, by: step) {
      let rows = first..<min(first + step, rowCount)
      let part = unsafe UnsafeMutableRawBufferPointer(rebasing: room[..<(rows.count * width)])
      try unsafe readRefining(rows, into: part)
      unsafe hasher.update(UnsafeRawBufferPointer(part).bytes)
      try unsafe body(rows, part)
    }
    guard try hasher.finalizeBytes() == refiningDigest() else {
      throw TarnError(
        .integrity, "\(path) is damaged: the codes that refine are not those that were written",
        hint: Self.remedy)
    }
  }

  /// Tells the kernel which rows stored will be read next.
  func expectRead(ofRows range: Range<Int>) {
    file.expectRead(from: rowsOffset + 4 * range.lowerBound, count: 4 * range.count)
    let width = description.codeByteCount
    file.expectRead(from: codesOffset + range.lowerBound * width, count: range.count * width)
  }

  /// The digests of some lists' (rows ‖ codes), 16 bytes each.
  ///
  /// They matched the trailer when the file was opened. They are read again
  /// rather than kept: of forty segments they would fill a hundred megabytes.
  func digests(ofLists lists: Range<Int>) throws -> ListDigests {
    let width = ListDigests.digestByteCount
    var bytes = [UInt8](repeating: 0, count: width * lists.count)
    try file.read(into: &bytes, at: digestsOffset + width * lists.lowerBound, count: bytes.count)
    guard let digests = ListDigests(bytes: bytes) else { preconditionFailure("digests are whole") }
    return digests
  }

  /// Checks invariant 2 for row numbers of one list.
  ///
  /// - Parameters:
  ///   - rows: The next of the list's row numbers.
  ///   - previous: The one before them, -1 at the start of a list; then the
  ///     last of them.
  ///   - list: The list, for the message.
  /// - Throws: ``TarnError`` `.integrity`.
  func checkRows(_ rows: UnsafeBufferPointer<UInt32>, after previous: inout Int, list: Int) throws {
    for i in rows.indices {
      let row = unsafe rows[i]
      guard Int(row) > previous, Int(row) < rowCount else {
        throw damaged(list: list, "row \(row) follows row \(previous) of \(rowCount)")
      }
      previous = Int(row)
    }
  }

  /// The error that a list is not what its digest says.
  func damaged(list: Int, _ cause: String) -> TarnError {
    TarnError(.integrity, "\(path) is damaged in list \(list): \(cause)", hint: Self.remedy)
  }

  /// Reads everything and checks every list, and what refines, against its digest.
  ///
  /// - Parameter buffers: How much memory to take.
  /// - Throws: ``TarnError`` `.integrity` naming the first bad list.
  package func verify(buffers: BufferPlan = BufferPlan()) throws {
    var seen = [UInt64](repeating: 0, count: rowCount / 64 + 1)
    var list = 0
    try unsafe SegmentReader([self], byteCount: buffers.batchByteCount).read(
      begin: { list = $0 },
      codes: { _ in },
      rows: { _, rows in
        for i in rows.indices {
          let row = unsafe rows[i]
          let bit = UInt64(1) << UInt64(row % 64)
          guard seen[Int(row) / 64] & bit == 0 else { throw damaged(list: list, "row \(row) is in two lists") }
          seen[Int(row) / 64] |= bit
        }
      })
    if description.refine != nil { try unsafe eachRefining(byteCount: buffers.byteCount) { _, _ in } }
  }
}
