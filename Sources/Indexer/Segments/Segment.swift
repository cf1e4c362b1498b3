// A segment: one feature shard, encoded against one trained index, ordered by
// list; the unit of crash-safe progress. This file owns its layout and writes
// it; SegmentFile reads it.
//
// Layout, version 1, little-endian, no padding between the parts:
//
//   header, 192 bytes
//       0  8 bytes   "TARNSEG\n"
//       8  u32       format version = 1
//      12  u32       codec, by its number in VectorCodec
//      16  u32       dimension
//      20  u32       bytes of a code
//      24  u64       nlist
//      32  u64       rows of the shard, holes included
//      40  u64       rows stored
//      48  32 bytes  SHA-256 of the trained index
//      80  32 bytes  SHA-256 of the shard
//     112  32 bytes  SHA-256 of the name of the shard's array; 0 where it has one
//     144  u32       1 + codec of the codes that refine, by its number; 0 without
//     148  12 bytes  0
//     160  32 bytes  SHA-256 of bytes 0..<160
//   offsets   u64 [nlist + 1]           where each list starts, in rows stored
//   rows      u32 [rows stored]         row in the shard, by list
//   codes     u8  [rows stored × bytes of a code]
//   digests   16 bytes [nlist]          SHA-256, first half, of (the list's rows ‖ the list's codes)
//   trailer   32 bytes                  SHA-256 of (header ‖ offsets ‖ digests)
//   and where the trained index refines:
//   refining  u8  [rows × bytes of such a code]   codes of all rows by row number, 0 in a hole
//   digest    32 bytes                  SHA-256 of the refining codes
//
// Invariants:
//   1. offsets start with 0, end with the rows stored, and never fall.
//   2. Within a list rows ascend; every row is in at most one list. A row in
//      none is a hole.
//   3. The file's length follows from its header; nothing comes after.
//   4. The bytes follow from (assignments, codes, both digests, codec, shape)
//      alone. Rows are local, so versions that give the shard other first ids
//      share the segment.

package import Base

/// What one segment holds and against what it was made.
package struct SegmentDescription: Sendable, Equatable {
  package let codec: VectorCodec
  /// Components of a vector.
  package let dimension: Int
  package let nlist: Int
  /// SHA-256 of the trained index's file.
  package let trainedIndex: ContentDigest
  /// SHA-256 of the feature shard's file.
  package let shard: ContentDigest
  /// SHA-256 of the name of the array of the shard's file; nil where its source names none.
  package let arrayMark: ContentDigest?
  /// How the codes that refine are stored; nil where there are none.
  package let refine: VectorCodec?

  package init(
    codec: VectorCodec, dimension: Int, nlist: Int, trainedIndex: ContentDigest, shard: ContentDigest,
    arrayMark: ContentDigest? = nil, refine: VectorCodec? = nil
  ) {
    self.arrayMark = arrayMark
    self.refine = refine
    self.codec = codec
    self.dimension = dimension
    self.nlist = nlist
    self.trainedIndex = trainedIndex
    self.shard = shard
  }

  /// Bytes of one code.
  package var codeByteCount: Int { codec.codeByteCount(dimension: dimension) }

  /// Bytes of one code that refines; 0 where there are none.
  package var refineByteCount: Int { refine?.codeByteCount(dimension: dimension) ?? 0 }
}

/// What became of a written segment.
package struct SegmentSummary: Sendable, Equatable {
  /// SHA-256 of the segment file.
  package let digest: ContentDigest
  package let byteCount: Int
  /// Rows of the shard, holes included.
  package let rowCount: Int
  /// Rows that are in a list.
  package let storedRowCount: Int
}

/// The format of segments that are written and read; part of a segment's key.
package let segmentFormatVersion = 1

/// The numbers of the layout above.
enum SegmentLayout {
  static let magic: StaticString = "TARNSEG\n"
  static let headerByteCount = 192
  static let checkedByteCount = 160
  static let trailerByteCount = 32
  /// Where the header says what refines.
  static let refineOffset = 144
  static let refineDigestByteCount = 32

  static func header(_ description: SegmentDescription, rowCount: Int, storedRowCount: Int) -> [UInt8] {
    var header = ByteBuilder()
    header.append(magic)
    header.append(UInt32(segmentFormatVersion))
    header.append(description.codec.number)
    header.append(UInt32(description.dimension))
    header.append(UInt32(description.codeByteCount))
    header.append(UInt64(description.nlist))
    header.append(UInt64(rowCount))
    header.append(UInt64(storedRowCount))
    header.append(contentsOf: description.trainedIndex.bytes)
    header.append(contentsOf: description.shard.bytes)
    if let arrayMark = description.arrayMark { header.append(contentsOf: arrayMark.bytes) }
    if let refine = description.refine {
      header.append(contentsOf: [UInt8](repeating: 0, count: refineOffset - header.bytes.count))
      header.append(1 + refine.number)
    }
    header.append(contentsOf: [UInt8](repeating: 0, count: checkedByteCount - header.bytes.count))
    header.append(contentsOf: ContentDigest.of(header.bytes).bytes)
    return header.bytes
  }

  /// The digest that ends a segment.
  static func trailer(header: [UInt8], offsets: [UInt64], digests: ListDigests) -> [UInt8] {
    var hasher = Sha256()
    unsafe hasher.update(header.span.bytes)
    unsafe hasher.update(offsets.span.bytes)
    unsafe hasher.update(digests.bytes.span.bytes)
    return hasher.finalizeBytes()
  }
}

/// Which row of a shard stands where in its segment.
package struct SegmentOrder: Sendable {
  /// Place of each row of the shard among the rows stored, `[rows]`;
  /// ``SegmentWriter/skippedRow`` for a hole.
  package let places: [UInt32]
  /// The row at each place, `[rows stored]`.
  let rows: [UInt32]
  /// The place at which each list starts, `[nlist + 1]`.
  let offsets: [UInt64]

  /// A stable counting sort: rows by list, then by row.
  fileprivate init(_ assignments: [UInt32], nlist: Int) throws {
    var offsets = [UInt64](repeating: 0, count: nlist + 1)
    for (row, list) in assignments.enumerated() where list != SegmentWriter.skippedRow {
      guard list < nlist else { throw TarnError(.usage, "row \(row) is assigned to list \(list) of \(nlist)") }
      offsets[Int(list) + 1] += 1
    }
    for list in 0..<nlist { offsets[list + 1] += offsets[list] }
    var next = offsets
    var rows = [UInt32](repeating: 0, count: Int(offsets[nlist]))
    places = assignments.enumerated().map { row, list in
      guard list != SegmentWriter.skippedRow else { return SegmentWriter.skippedRow }
      let place = next[Int(list)]
      next[Int(list)] += 1
      rows[Int(place)] = UInt32(row)
      return UInt32(place)
    }
    (self.rows, self.offsets) = (rows, offsets)
  }
}

/// Writes segments.
package enum SegmentWriter {
  /// The list number of a row that is in no list: a hole.
  package static let skippedRow = UInt32.max

  /// Writes codes of the rows at some places.
  ///
  /// - Parameters:
  ///   - order: Which rows those are.
  ///   - places: Some of the rows stored.
  ///   - codes: Room for just their codes, place by place; all of it is written.
  /// - Throws: What ends the writing and leaves nothing.
  package typealias CodeBody = (
    _ order: SegmentOrder, _ places: Range<Int>, _ codes: UnsafeMutableBufferPointer<UInt8>
  ) throws -> Void

  /// Gives the codes that refine.
  ///
  /// - Parameters:
  ///   - rows: Rows of the shard, holes included.
  ///   - codes: Room for just their codes, all 0; what is written there of a hole is not kept.
  /// - Throws: What ends the writing and leaves nothing.
  package typealias RefineBody = (
    _ rows: Range<Int>, _ codes: UnsafeMutableBufferPointer<UInt8>
  ) throws -> Void

  /// Orders a shard's rows by list and writes them with their codes, durably.
  ///
  /// Codes are asked for in the order of the file, as many at a time as
  /// ``BufferPlan/codeByteCount`` holds: memory is that, the buffers of the file
  /// and twelve bytes a row.
  ///
  /// - Parameters:
  ///   - description: Codec, shape and origins.
  ///   - assignments: The list of each row of the shard, `[rows]`;
  ///     ``skippedRow`` leaves a hole.
  ///   - path: The final name; what is there is replaced.
  ///   - temporaryPath: A name on the same file system for the time before.
  ///   - buffers: How much memory to take; the bytes do not depend on it.
  ///   - ready: Called when all is written and nothing has its final name; what
  ///     it throws leaves nothing.
  ///   - refine: Gives the codes that refine, where the description has such.
  ///   - codes: Gives the codes.
  /// - Returns: Digest and sizes.
  /// - Throws: ``TarnError`` `.usage` for a list number that is none;
  ///   ``TarnError`` when the disk refuses; what `ready` and `codes` throw.
  package static func write(
    _ description: SegmentDescription, assignments: [UInt32], to path: String, temporaryPath: String,
    buffers: BufferPlan = BufferPlan(), ready: () throws -> Void = {}, refine: RefineBody = { _, _ in },
    codes: CodeBody
  ) throws -> SegmentSummary {
    let (nlist, codeByteCount) = (description.nlist, description.codeByteCount)
    guard (1...maximumListCount).contains(nlist) else {
      throw TarnError(.usage, "nlist is \(nlist), not in 1...\(maximumListCount)")
    }
    guard assignments.count < Int(UInt32.max) else {
      throw TarnError(.usage, "\(assignments.count) rows are too many for a segment")
    }
    let order = try SegmentOrder(assignments, nlist: nlist)
    let rowCount = order.rows.count

    let writer = try FileWriter(creating: temporaryPath, buffers: buffers)
    let header = SegmentLayout.header(description, rowCount: assignments.count, storedRowCount: rowCount)
    try writer.append(header)
    try writer.append(order.offsets)
    try writer.append(order.rows)
    try writer.beginLists(
      ListSection(
        ends: order.offsets.dropFirst().map { Int($0) * codeByteCount }, rows: order.rows, codeByteCount: codeByteCount)
    )
    let width = max(1, min(buffers.codeByteCount / codeByteCount, rowCount))
    let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: width * codeByteCount)
    defer { unsafe room.deallocate() }
    for first in stride(from: 0, to: rowCount, by: width) {
      let places = first..<min(first + width, rowCount)
      let part = unsafe UnsafeMutableBufferPointer(rebasing: room[..<(places.count * codeByteCount)])
      try unsafe codes(order, places, part)
      try unsafe writer.append(UnsafeRawBufferPointer(part))
    }
    let digests = try writer.finishLists()
    try writer.append(digests.bytes)
    try writer.append(SegmentLayout.trailer(header: header, offsets: order.offsets, digests: digests))
    try unsafe writeRefining(description, assignments, to: writer, buffers, refine)
    try ready()
    let (digest, byteCount) = try writer.finish(as: path)
    return SegmentSummary(
      digest: digest, byteCount: byteCount, rowCount: assignments.count, storedRowCount: rowCount)
  }
  /// Writes the codes of all rows by row number, and their digest.
  private static func writeRefining(
    _ description: SegmentDescription, _ assignments: [UInt32], to writer: FileWriter, _ buffers: BufferPlan,
    _ body: RefineBody
  ) throws {
    guard description.refine != nil else { return }
    let width = description.refineByteCount
    let step = max(1, min(buffers.byteCount / width, assignments.count))
    let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: step * width)
    defer { unsafe room.deallocate() }
    var hasher = Sha256()
    for first in stride(from: 0, to: assignments.count, by: step) {
      let rows = first..<min(first + step, assignments.count)
      let part = unsafe UnsafeMutableBufferPointer(rebasing: room[..<(rows.count * width)])
      unsafe part.update(repeating: 0)
      try unsafe body(rows, part)
      for row in rows where assignments[row] == skippedRow {
        let start = (row - first) * width
        unsafe UnsafeMutableBufferPointer(rebasing: part[start..<(start + width)]).update(repeating: 0)
      }
      unsafe hasher.update(UnsafeRawBufferPointer(part).bytes)
      try unsafe writer.append(UnsafeRawBufferPointer(part))
    }
    try writer.append(hasher.finalizeBytes())
  }
}
