// Reading the lists of several segments side by side, in the order of an
// output shard, through a fixed amount of memory; no list is taken on trust.
//
// Lists come in batches: as many as fit into memory with their rows of every
// segment. Of one segment a batch is one run of rows and one of codes, so reads
// are large whatever the length of a list. A list too long for a batch is
// streamed alone.

/// Reads and checks all lists of segments of one shape, once.

internal import Base
@safe final class SegmentReader {
  /// Gets codes of one list, segment by segment.
  typealias CodesBody = (_ bytes: UnsafeRawBufferPointer) throws -> Void
  /// Gets row numbers of one list, ascending, and the index of their segment.
  typealias RowsBody = (_ segment: Int, _ rows: UnsafeBufferPointer<UInt32>) throws -> Void

  private let segments: [SegmentFile]
  private let nlist: Int
  private let codeByteCount: Int
  private let rows: UnsafeMutableBufferPointer<UInt32>
  private let codes: UnsafeMutableRawBufferPointer
  /// Where each segment's rows start in ``rows``, those of the batch at hand.
  private var starts: [Int]
  private let hashes = Sha256Batch(count: groupCount)

  /// Lists that are hashed in one run at most.
  private static let groupCount = 256

  /// Prepares to read.
  ///
  /// - Parameters:
  ///   - segments: The segments, of one codec, dimension and nlist.
  ///   - byteCount: Rows and codes to hold in memory at a time, in bytes.
  init(_ segments: [SegmentFile], byteCount: Int) {
    self.segments = segments
    nlist = segments.first?.description.nlist ?? 0
    codeByteCount = segments.first?.description.codeByteCount ?? 0
    let rowCount = max(1, byteCount / (4 + codeByteCount))
    unsafe rows = .allocate(capacity: rowCount)
    unsafe codes = .allocate(byteCount: rowCount * codeByteCount, alignment: 64)
    starts = [Int](repeating: 0, count: segments.count)
  }

  deinit {
    unsafe rows.deallocate()
    unsafe codes.deallocate()
  }

  /// Hands out every list: its codes of all segments, then its row numbers.
  ///
  /// - Parameters:
  ///   - begin: Called before each list.
  ///   - codes: Called with codes. Those of a list that was streamed are handed
  ///     out before their digest is known to be right.
  ///   - rows: Called with row numbers.
  /// - Throws: ``TarnError`` `.integrity` when a list breaks its segment's
  ///   invariants or its digest, and what the bodies throw.
  func read(begin: (_ list: Int) throws -> Void, codes: CodesBody, rows: RowsBody) throws {
    var list = 0
    while list < nlist {
      let batch = batch(from: list)
      if batch.isEmpty {
        try begin(list)
        try unsafe streamList(list, codes: codes, rows: rows)
        list += 1
        continue
      }
      try load(batch)
      for list in batch {
        try begin(list)
        for segment in segments.indices {
          let range = held(list, of: segment, in: batch)
          try unsafe codes(
            UnsafeRawBufferPointer(
              rebasing: self.codes[range.lowerBound * codeByteCount..<range.upperBound * codeByteCount]))
        }
        for segment in segments.indices {
          try unsafe rows(segment, UnsafeBufferPointer(rebasing: self.rows[held(list, of: segment, in: batch)]))
        }
      }
      list = batch.upperBound
    }
  }

  /// The lists from `first` on that fit into memory together.
  private func batch(from first: Int) -> Range<Int> {
    var (end, count) = (first, 0)
    while end < nlist {
      for segment in segments { count += segment.size(ofList: end) }
      if unsafe count > rows.count { break }
      end += 1
    }
    return first..<end
  }

  /// Where a list's rows of one segment are in memory.
  private func held(_ list: Int, of segment: Int, in batch: Range<Int>) -> Range<Int> {
    let start = starts[segment] - segments[segment].rows(ofLists: batch).lowerBound
    let range = segments[segment].rows(ofLists: list..<(list + 1))
    return (start + range.lowerBound)..<(start + range.upperBound)
  }

  // MARK: - Batches

  private func load(_ batch: Range<Int>) throws {
    var next = 0
    for (index, segment) in segments.enumerated() {
      let range = segment.rows(ofLists: batch)
      starts[index] = next
      let held = next..<(next + range.count)
      try unsafe segment.readRows(range, into: UnsafeMutableBufferPointer(rebasing: rows[held]))
      try unsafe segment.readCodes(range, into: codeSpace(held))
      // The next batch is as long: let the disk begin.
      segment.expectRead(ofRows: range.upperBound..<min(range.upperBound + range.count, segment.storedRowCount))
      try check(index, batch)
      next += range.count
    }
  }

  /// Checks the lists of one segment that a batch holds.
  private func check(_ index: Int, _ batch: Range<Int>) throws {
    let segment = segments[index]
    for first in stride(from: batch.lowerBound, to: batch.upperBound, by: Self.groupCount) {
      let group = first..<min(first + Self.groupCount, batch.upperBound)
      for list in group {
        let held = held(list, of: index, in: batch)
        let rows = unsafe UnsafeBufferPointer(rebasing: rows[held])
        var previous = -1
        try unsafe segment.checkRows(rows, after: &previous, list: list)
        unsafe hashes.set(
          list - first, UnsafeRawBufferPointer(rows), UnsafeRawBufferPointer(codeSpace(held)), finishes: true)
      }
      hashes.run(group.count)
      let expected = try segment.digests(ofLists: group)
      for list in group where unsafe !expected[list - first].elementsEqual(hashes.digest(list - first).prefix(16)) {
        throw segment.damaged(list: list, "its bytes do not match its digest")
      }
    }
  }

  private func codeSpace(_ rows: Range<Int>) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(
      rebasing: codes[rows.lowerBound * codeByteCount..<rows.upperBound * codeByteCount])
  }

  // MARK: - A list longer than memory

  private func streamList(_ list: Int, codes body: CodesBody, rows rowsBody: RowsBody) throws {
    for segment in segments {
      var previous = -1
      try unsafe streamRows(list, of: segment) { rows in
        try unsafe segment.checkRows(rows, after: &previous, list: list)
        unsafe hashes.set(0, UnsafeRawBufferPointer(rows), finishes: false)
        hashes.run(1)
      }
      for piece in pieces(list, of: segment) {
        let space = unsafe codeSpace(0..<piece.count)
        try unsafe segment.readCodes(piece, into: space)
        unsafe hashes.set(0, UnsafeRawBufferPointer(space), finishes: false)
        hashes.run(1)
        try unsafe body(UnsafeRawBufferPointer(space))
      }
      unsafe hashes.set(0, noBytes, finishes: true)
      hashes.run(1)
      guard try unsafe segment.digests(ofLists: list..<(list + 1))[0].elementsEqual(hashes.digest(0).prefix(16)) else {
        throw segment.damaged(list: list, "its bytes do not match its digest")
      }
    }
    for (index, segment) in segments.enumerated() {
      try unsafe streamRows(list, of: segment) { try unsafe rowsBody(index, $0) }
    }
  }

  private func streamRows(
    _ list: Int, of segment: SegmentFile, _ body: (UnsafeBufferPointer<UInt32>) throws -> Void
  ) throws {
    for piece in pieces(list, of: segment) {
      let space = unsafe UnsafeMutableBufferPointer(rebasing: rows[..<piece.count])
      try unsafe segment.readRows(piece, into: space)
      try unsafe body(UnsafeBufferPointer(space))
    }
  }

  /// A list's rows of one segment, cut into what memory holds.
  private func pieces(_ list: Int, of segment: SegmentFile) -> [Range<Int>] {
    let range = segment.rows(ofLists: list..<(list + 1))
    return unsafe stride(from: range.lowerBound, to: range.upperBound, by: rows.count).map {
      unsafe $0..<min($0 + rows.count, range.upperBound)
    }
  }
}
