// The codes that refine, beside an output shard: one of each id of the output, in the order of
// ids, so that the best of what was found are ordered again by a code that lost less.
//
// Layout, little-endian, the bytes of FAISS's IndexScalarQuantizer (the index header is that of
// FaissFile.swift):
//
//   fourcc "IxSQ", index header with ntotal = ids
//   i32 qtype, i32 rangestat, f32 argument, u64 d, u64 code size, u64 floats, f32 vmin [d], f32 vdiff [d]
//   u64 bytes, codes [ids × code size]
//
// Invariants:
//   1. Code i is that of the row with the id first + i; of an id without a row, that of a shard
//      which is left out, of a bad row or of an excluded one, all bytes are 0.
//   2. The bytes follow from (quantizer, ids, codes) alone: a file without some rows is the same
//      whether it is made from segments or from one that has more.

package import Base

/// What became of a written file of codes that refine.
package struct RefineSummary: Sendable, Equatable {
  /// SHA-256 of the file.
  package let digest: ContentDigest
  package let byteCount: Int

  package init(digest: ContentDigest, byteCount: Int) { (self.digest, self.byteCount) = (digest, byteCount) }
}

/// An open file of codes that refine.
package final class RefineFile: Sendable {
  package let quantizer: ScalarQuantizer
  /// Ids that it has codes for.
  package let count: Int
  let file: InputFile
  /// Where the codes start.
  let codesOffset: Int
  /// Bytes of codes that are read at a time.
  private static let pieceByteCount = 4 << 20

  /// Opens a file and checks its header and length.
  ///
  /// - Parameter path: The file.
  /// - Throws: ``TarnError`` `.inputsMissing` without a file, `.integrity` for anything that
  ///   breaks the layout.
  package init(path: String) throws {
    let file = try InputFile(path: path)
    var cursor = FileCursor(file, kind: "file of codes that refine")
    try cursor.expect(Array("IxSQ".utf8), "kind of index")
    let (dimension, count) = try FaissFile.readIndexHeader(&cursor)
    quantizer = try FaissFile.readQuantizer(&cursor, dimension: dimension)
    guard quantizer.codec.canRefine else { throw cursor.malformed("its codec is \(quantizer.codec.rawValue)") }
    let (byteCount, overflows) = count.multipliedReportingOverflow(by: quantizer.codeByteCount)
    guard !overflows else { throw cursor.malformed("ntotal is \(count)") }
    try cursor.expect(UInt64(byteCount), "number of bytes of codes")
    guard cursor.remaining == byteCount else {
      throw cursor.malformed("\(cursor.remaining) bytes of codes, expected \(byteCount)")
    }
    self.count = count
    self.file = file
    codesOffset = cursor.offset
  }

  /// Bytes of a file.
  ///
  /// - Parameters:
  ///   - codec: What refines.
  ///   - dimension: Components of a vector.
  ///   - count: Ids that it has codes for.
  /// - Returns: The size, or the greatest number where it is no number.
  package static func byteCount(_ codec: VectorCodec, dimension: Int, count: Int) -> Int {
    let head = 4 + 33 + 12 + 24 + (codec.hasRanges ? 8 * dimension : 0) + 8
    let (codes, overflows) = count.multipliedReportingOverflow(by: codec.codeByteCount(dimension: dimension))
    return overflows ? .max : head.addingSaturated(codes)
  }

  // MARK: Writing

  /// Writes the codes of segments, durably.
  ///
  /// - Parameters:
  ///   - inputs: Segments in ascending order of their ids, of the trained index.
  ///   - trained: A trained index that refines.
  ///   - ids: All ids of the output, those of holes included.
  ///   - ranges: The ids that it may have rows of, ascending and disjoint.
  ///   - path: The final name; what is there is replaced.
  ///   - checkpoint: Called once a piece; what it throws ends the work and leaves nothing.
  /// - Returns: What was written; read it back with ``verify(_:_:)``.
  /// - Throws: ``TarnError`` `.integrity` when a segment is damaged or of another trained
  ///   index, and for more ids than a file can have; when the disk refuses.
  package static func write(
    _ inputs: [MergeInput], trained: TrainedIndex, ids: Range<Int64>, keeping ranges: [Range<Int64>], to path: String,
    checkpoint: () throws -> Void = {}
  ) throws -> RefineSummary {
    guard let quantizer = trained.refine else { preconditionFailure("the trained index does not refine") }
    var codes = try Codes(quantizer, ids: ids, keeping: ranges, to: path)
    for input in inputs {
      guard input.segment.description.refine == quantizer.codec, input.ids.lowerBound >= codes.next,
        input.ids.upperBound <= ids.upperBound
      else {
        throw TarnError(
          .integrity, "\(input.segment.path) does not belong into this file of codes that refine",
          hint: SegmentFile.remedy)
      }
      try codes.fill(to: input.firstRowID, checkpoint)
      try unsafe input.segment.eachRefining(byteCount: pieceByteCount) { _, piece in
        try checkpoint()
        try unsafe codes.append(piece)
      }
    }
    return try codes.finish(checkpoint)
  }

  /// Writes a file with the codes of some ids alone.
  ///
  /// - Parameters:
  ///   - ids: The ids of this file.
  ///   - ranges: Those that the new one may have rows of, ascending and disjoint.
  ///   - path: The final name; what is there is replaced.
  ///   - checkpoint: Called once a piece; what it throws ends the work and leaves nothing.
  /// - Returns: What was written.
  /// - Throws: ``TarnError`` `.io` or `.integrity` when reading fails; when the disk refuses.
  package func write(
    ids: Range<Int64>, keeping ranges: [Range<Int64>], to path: String, checkpoint: () throws -> Void
  ) throws -> RefineSummary {
    precondition(ids.count == count, "these are not the ids of the file")
    var codes = try Codes(quantizer, ids: ids, keeping: ranges, to: path)
    try unsafe eachPiece { _, piece in
      try checkpoint()
      try unsafe codes.append(piece)
    }
    return try codes.finish(checkpoint)
  }

  /// Hands out all codes in order, in pieces that may be written over.
  private func eachPiece(
    _ body: (_ rows: Range<Int>, _ codes: UnsafeMutableRawBufferPointer) throws -> Void
  ) throws {
    let width = quantizer.codeByteCount
    let step = max(1, min(Self.pieceByteCount / width, count))
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: step * width, alignment: 16)
    defer { unsafe room.deallocate() }
    for first in stride(from: 0, to: count, by: step) {
      let rows = first..<min(first + step, count)
      let part = unsafe UnsafeMutableRawBufferPointer(rebasing: room[..<(rows.count * width)])
      try unsafe file.read(into: part, at: codesOffset + first * width)
      file.expectRead(from: codesOffset + rows.upperBound * width, count: part.count)
      try unsafe body(rows, part)
    }
  }

  // MARK: Reading

  /// Some codes, those of ids that follow each other.
  func codes(ofRows rows: Range<Int>) throws -> [UInt8] {
    var codes = [UInt8](repeating: 0, count: rows.count * quantizer.codeByteCount)
    try file.read(into: &codes, at: codesOffset + rows.lowerBound * quantizer.codeByteCount, count: codes.count)
    return codes
  }

  /// Reads a file whole, from the disk.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - trained: The trained index that it must be of.
  ///   - ids: The ids that it must have codes for.
  ///   - ranges: Those that it may have rows of, ascending and disjoint.
  /// - Returns: What is there.
  /// - Throws: ``TarnError`` `.integrity` when it is no whole file of that trained index and
  ///   those ids, or has codes of others.
  package static func read(
    _ path: String, trained: TrainedIndex, ids: Range<Int64>, keeping ranges: [Range<Int64>]
  ) throws -> RefineSummary {
    let found = try RefineFile(path: path)
    guard found.quantizer == trained.refine else {
      throw TarnError(.integrity, "\(path) refines by other ranges or another codec than its trained index")
    }
    guard found.count == ids.count else {
      throw TarnError(.integrity, "\(path) has codes of \(found.count) ids, not of \(ids.count)")
    }
    found.file.forget(from: 0, count: found.file.byteCount)
    var gaps = Gaps(ranges)
    var hasher = Sha256()
    var head = [UInt8](repeating: 0, count: found.codesOffset)
    try found.file.read(into: &head, at: 0, count: head.count)
    unsafe hasher.update(head.span.bytes)
    let width = found.quantizer.codeByteCount
    try unsafe found.eachPiece { rows, codes in
      unsafe hasher.update(UnsafeRawBufferPointer(codes).bytes)
      let own = (ids.lowerBound + Int64(rows.lowerBound))..<(ids.lowerBound + Int64(rows.upperBound))
      for gap in gaps.gaps(in: own) {
        let places = Int(gap.lowerBound - own.lowerBound) * width..<Int(gap.upperBound - own.lowerBound) * width
        guard unsafe codes[places].allSatisfy({ $0 == 0 }) else {
          throw TarnError(
            .integrity, "\(path) has a code of a row that it is to be without, of id \(gap.lowerBound) or later")
        }
      }
    }
    return RefineSummary(digest: hasher.finalize(), byteCount: found.file.byteCount)
  }

  /// Reads a file back and compares it with what was meant to be written.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - summary: What its writer said of it.
  /// - Throws: ``TarnError`` `.integrity`.
  package static func verify(_ path: String, _ summary: RefineSummary) throws {
    let file = try RefineFile(path: path)
    file.file.forget(from: 0, count: file.file.byteCount)
    let digest = try Disk.digest(of: path, isFromDisk: true)
    guard digest == summary.digest, file.file.byteCount == summary.byteCount else {
      throw TarnError(
        .integrity, "\(path), read back, has SHA-256 \(digest.prefix(12)), written was \(summary.digest.prefix(12))",
        hint: "the disk does not keep what was written; check it, then build again")
    }
  }
}

/// Codes on their way into a file, in the order of their ids.
private struct Codes {
  private let writer: FileWriter
  private let path: String
  private let width: Int
  private let end: Int64
  private var gaps: Gaps
  /// The id of the next code.
  private(set) var next: Int64

  init(_ quantizer: ScalarQuantizer, ids: Range<Int64>, keeping ranges: [Range<Int64>], to path: String) throws {
    guard let qtype = quantizer.codec.faissQuantizerType else { preconditionFailure("a codec of scalar quantizers") }
    width = quantizer.codeByteCount
    let (byteCount, overflows) = ids.count.multipliedReportingOverflow(by: width)
    guard ids.count <= maximumRowCount, !overflows else {
      throw TarnError(.integrity, "\(path) cannot have codes of \(ids.count) ids: no output has as many")
    }
    var head = ByteBuilder()
    head.append("IxSQ")
    FaissFile.appendIndexHeader(dimension: quantizer.dimension, count: UInt64(ids.count), to: &head)
    FaissFile.append(quantizer, ofType: qtype, to: &head)
    head.append(UInt64(byteCount))
    writer = try FileWriter(creating: path + ".tmp")
    try writer.append(head.bytes)
    self.path = path
    gaps = Gaps(ranges)
    (next, end) = (ids.lowerBound, ids.upperBound)
  }

  /// Takes the next codes; those of rows that the file is without become 0.
  mutating func append(_ codes: UnsafeMutableRawBufferPointer) throws {
    let own = next..<(next + Int64(codes.count / width))
    for gap in gaps.gaps(in: own) {
      let places = Int(gap.lowerBound - next) * width..<Int(gap.upperBound - next) * width
      unsafe UnsafeMutableRawBufferPointer(rebasing: codes[places]).initializeMemory(as: UInt8.self, repeating: 0)
    }
    try unsafe writer.append(UnsafeRawBufferPointer(codes))
    next = own.upperBound
  }

  /// Fills up to an id with zeros.
  mutating func fill(to id: Int64, _ checkpoint: () throws -> Void) throws {
    let zeros = [UInt8](repeating: 0, count: width * Int(min(4096, max(0, id - next))))
    while next < id {
      try checkpoint()
      let count = min(id - next, 4096)
      try writer.append(count == 4096 ? zeros : Array(zeros.prefix(width * Int(count))))
      next += count
    }
  }

  mutating func finish(_ checkpoint: () throws -> Void) throws -> RefineSummary {
    try fill(to: end, checkpoint)
    let (digest, byteCount) = try writer.finish(as: path)
    return RefineSummary(digest: digest, byteCount: byteCount)
  }
}

/// What lies between ascending, disjoint ranges of ids, asked for from the front to the back.
private struct Gaps {
  private let ranges: [Range<Int64>]
  private var place = 0

  init(_ ranges: [Range<Int64>]) { self.ranges = ranges }

  /// The ids of a range that are in none of the ranges.
  mutating func gaps(in ids: Range<Int64>) -> [Range<Int64>] {
    var gaps: [Range<Int64>] = []
    var start = ids.lowerBound
    while start < ids.upperBound {
      place = ranges.place(of: start, from: place)
      let range = place < ranges.count ? ranges[place] : ids.upperBound..<ids.upperBound
      if range.contains(start) {
        start = range.upperBound
      } else {
        let end = min(range.lowerBound, ids.upperBound)
        gaps.append(start..<end)
        start = end
      }
    }
    return gaps
  }
}
