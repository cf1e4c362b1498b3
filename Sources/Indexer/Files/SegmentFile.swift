// Reading segments. The layout and its invariants are in Segment.swift. Lists
// are read with pread, so a file that shrinks or a bad sector is an error and
// not a SIGBUS, and a merge's memory does not grow with its input.

internal import Catalog

/// An open segment whose header, offsets and digests have been verified.
package final class SegmentFile: Sendable {
  package let description: SegmentDescription
  /// Rows of the shard, holes included.
  package let rowCount: Int
  /// Rows that are in a list.
  package let storedRowCount: Int
  /// Where each list starts, in rows stored, `[nlist + 1]`.
  let offsets: [UInt64]
  /// The digest of each list's (rows ‖ codes).
  package let listDigests: ListDigests
  let file: InputFile
  private let rowsOffset: Int
  private let codesOffset: Int

  /// The file's name, for messages.
  package var path: String { file.path }

  /// Opens a segment and checks all but its rows and codes.
  ///
  /// - Parameter path: The file.
  /// - Throws: ``IndexerError`` `.inputsMissing` without a file, `.integrity`
  ///   for anything that breaks the layout.
  package init(path: String) throws {
    let file = try InputFile(path: path)
    var cursor = FileCursor(file, kind: "segment")
    let header = try cursor.bytes(SegmentLayout.headerByteCount, "its header")
    cursor = FileCursor(file, kind: "segment")
    guard header.starts(with: Array("TARNSEG\n".utf8)) else { throw cursor.malformed("it has another magic number") }
    cursor.skip(8)
    let version = try cursor.integer(UInt32.self, "the version")
    guard version == SegmentLayout.version else { throw cursor.malformed("its format version is \(version)") }
    let (checked, checksum) = (header.prefix(SegmentLayout.checkedByteCount), header.suffix(32))
    guard ContentDigest.of(checked).bytes == Array(checksum) else {
      throw cursor.malformed("its header does not match its checksum")
    }
    guard let codec = VectorCodec(fileNumber: try cursor.integer(UInt32.self, "the codec")) else {
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
    description = SegmentDescription(
      codec: codec, dimension: dimension, nlist: nlist,
      trainedIndex: ContentDigest(bytes: try cursor.bytes(32, "a digest")),
      shard: ContentDigest(bytes: try cursor.bytes(32, "a digest")))
    // Invariant 3, before memory is taken for nlist offsets.
    rowsOffset = SegmentLayout.headerByteCount + 8 * (nlist + 1)
    codesOffset = rowsOffset + 4 * storedRowCount
    let digestsOffset = codesOffset + storedRowCount * codeByteCount
    let end = digestsOffset + ListDigests.digestByteCount * nlist + SegmentLayout.trailerByteCount
    guard file.byteCount == end else {
      throw cursor.malformed("it has \(file.byteCount) bytes, its header says \(end)")
    }
    cursor = FileCursor(file, kind: "segment")
    cursor.skip(SegmentLayout.headerByteCount)
    offsets = try cursor.integers64(nlist + 1, "the offsets")
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
    listDigests = digests
    self.rowCount = rowCount
    self.storedRowCount = storedRowCount
    self.file = file
  }

  /// Rows in one list.
  package func size(ofList list: Int) -> Int { Int(offsets[list + 1] - offsets[list]) }

  /// A forward reader of the row numbers of all lists.
  func rowWindow() -> SequentialWindow {
    SequentialWindow(file, from: rowsOffset, to: codesOffset, byteCount: 1 << 18)
  }

  /// A forward reader of the codes of all lists.
  func codeWindow() -> SequentialWindow {
    SequentialWindow(
      file, from: codesOffset, to: codesOffset + storedRowCount * description.codeByteCount, byteCount: 1 << 20)
  }

  /// The error that a list is not what its digest says.
  func damaged(list: Int, _ cause: String) -> IndexerError {
    IndexerError(
      .integrity, "\(path) is damaged in list \(list): \(cause)", hint: "delete the segment and build it again")
  }

  /// Reads everything and checks every list against its digest.
  ///
  /// - Throws: ``IndexerError`` `.integrity` naming the first bad list.
  package func verify() throws {
    var rows = rowWindow()
    var codes = codeWindow()
    var seen = [UInt64](repeating: 0, count: rowCount / 64 + 1)
    for list in 0..<description.nlist {
      try check(list: list, rows: &rows, codes: &codes) { row in
        let bit = UInt64(1) << UInt64(row % 64)
        guard seen[row / 64] & bit == 0 else { throw damaged(list: list, "row \(row) is in two lists") }
        seen[row / 64] |= bit
      } use: { _ in
      }
    }
  }

  /// Reads the next list and checks it.
  ///
  /// - Parameters:
  ///   - list: The list at which both windows stand.
  ///   - rows: A window of ``rowWindow()``.
  ///   - codes: A window of ``codeWindow()``.
  ///   - row: Called with each row number, ascending.
  ///   - use: Called with the codes piece by piece, before their digest is
  ///     known to be right.
  /// - Throws: ``IndexerError`` `.integrity` when the list breaks invariant 2
  ///   or its digest.
  func check(
    list: Int, rows: inout SequentialWindow, codes: inout SequentialWindow, row: (Int) throws -> Void,
    use: (RawSpan) throws -> Void
  ) throws {
    let size = size(ofList: list)
    var hasher = Sha256()
    var previous = -1
    try rows.next(4 * size) { bytes in
      hasher.update(bytes)
      for i in stride(from: 0, to: bytes.byteCount, by: 4) {
        let number = unsafe Int(UInt32(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: i, as: UInt32.self)))
        guard number > previous, number < rowCount else {
          throw damaged(list: list, "row \(number) follows row \(previous) of \(rowCount)")
        }
        previous = number
        try row(number)
      }
    }
    try codes.next(size * description.codeByteCount) { bytes in
      hasher.update(bytes)
      try use(bytes)
    }
    guard hasher.finalizeBytes().prefix(ListDigests.digestByteCount) == listDigests[list] else {
      throw damaged(list: list, "its bytes do not match its digest")
    }
  }
}

/// A part of a file that is read once, front to back, through a small buffer.
struct SequentialWindow {
  private let file: InputFile
  private var offset: Int
  private let end: Int
  private var buffer: [UInt8]
  private var unread = 0..<0

  init(_ file: InputFile, from start: Int, to end: Int, byteCount: Int) {
    self.file = file
    offset = start
    self.end = end
    buffer = [UInt8](repeating: 0, count: max(8, min(byteCount, end - start)))
  }

  /// Hands out the next bytes piece by piece.
  ///
  /// Pieces end on multiples of four bytes from the start, if the part's
  /// length is one.
  ///
  /// - Parameters:
  ///   - count: How many bytes in all.
  ///   - body: Called with each piece, in order.
  /// - Throws: What reading or `body` throws.
  mutating func next(_ count: Int, _ body: (RawSpan) throws -> Void) throws {
    var left = count
    while left > 0 {
      if unread.isEmpty { try refill() }
      let taken = min(left, unread.count)
      let piece = unread.lowerBound..<(unread.lowerBound + taken)
      try unsafe body(buffer.span.extracting(piece).bytes)
      unread = piece.upperBound..<unread.upperBound
      left -= taken
    }
  }

  private mutating func refill() throws {
    let count = min(buffer.count, end - offset)
    precondition(count > 0, "read beyond the end of a window")
    try file.read(into: &buffer, at: offset, count: count)
    offset += count
    unread = 0..<count
  }
}
