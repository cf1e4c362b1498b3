// The queries of a batch while rows are shown to them; memory that is kept for
// the next batch.

internal import Base
internal import CScan
internal import Features

/// Room for queries, their planes and their best rows.
///
/// `@unchecked Sendable`: `reserve` is called while no task runs; within tasks
/// a query is prepared and finished by one of them, and rows are shown to it
/// under the kernels' own lock.
@safe final class ScanQueries: @unchecked Sendable {
  private let coder: ScanCoder
  private var memory = LargeMemory(byteCount: 0)
  private var k = 0
  private var offsets = (queries: 0, found: 0)
  private let queryByteCount = unsafe MemoryLayout<cscan_query>.stride
  private let foundByteCount = unsafe MemoryLayout<cscan_found>.stride
  /// The greatest `k` for which rows are scored last of all.
  ///
  /// Their codes are read a second time then. Of more rows most that are met stay, and are scored at once.
  private static let mostScoredLast = 256

  init(_ coder: ScanCoder) { self.coder = coder }

  /// Bytes that one query with `k` rows takes.
  func byteCount(k: Int) -> Int {
    2 * coder.planeByteCount + queryByteCount + foundByteCount * cscan_capacity(k)
  }

  /// Makes room; what was there is forgotten.
  func reserve(count: Int, k: Int) {
    self.k = k
    offsets.queries = 2 * coder.planeByteCount * count
    offsets.found = offsets.queries + queryByteCount * count
    let wanted = offsets.found + foundByteCount * cscan_capacity(k) * count
    if wanted > memory.byteCount { memory = LargeMemory(byteCount: wanted) }
  }

  /// The queries, to be indexed by their number in the batch.
  var pointer: UnsafeMutablePointer<cscan_query> {
    precondition(k > 0, "no room was made for queries")
    return unsafe (memory.start + offsets.queries).assumingMemoryBound(to: cscan_query.self)
  }

  /// Starts a query with an empty answer.
  ///
  /// - Parameters:
  ///   - number: Its number in the batch.
  ///   - vector: `[dimension]` finite floats, which stay there until it ends.
  func prepare(_ number: Int, vector: UnsafePointer<Float>) {
    let query = unsafe pointer + number
    unsafe query.initialize(to: cscan_query())
    unsafe query.pointee.vector = vector
    unsafe query.pointee.plane = (memory.start + 2 * coder.planeByteCount * number).assumingMemoryBound(to: Int8.self)
    unsafe query.pointee.found = (memory.start + offsets.found + foundByteCount * cscan_capacity(k) * number)
      .assumingMemoryBound(to: cscan_found.self)
    unsafe query.pointee.k = k
    unsafe query.pointee.at_once = k > Self.mostScoredLast ? 1 : 0
    unsafe cscan_prepare(SimdLevel.current, coder.pointer, query)
  }

  /// Shows rows to a query.
  ///
  /// - Parameters:
  ///   - ids: The rows.
  ///   - codes: Where the code of each lies, and after them those of rows that are shown next.
  ///   - number: The query's number in the batch.
  ///   - counts: What it has cost.
  func show(
    _ ids: ArraySlice<RowID>, codes: [UnsafePointer<UInt8>?], to number: Int, counts: inout cscan_counts
  ) {
    unsafe ids.withUnsafeBytes { ids in
      unsafe codes.withUnsafeBufferPointer { codes in
        var rows = unsafe cscan_rows()
        unsafe rows.ids = ids.bindMemory(to: UInt8.self).baseAddress
        unsafe rows.apart = codes.baseAddress
        unsafe rows.count = ids.count / MemoryLayout<RowID>.stride
        unsafe rows.apart_next = codes.count - rows.count
        var which = UInt32(number)
        unsafe cscan_show(SimdLevel.current, coder.pointer, &rows, pointer, &which, 1, &counts)
      }
    }
  }

  /// Ends a query.
  ///
  /// - Parameters:
  ///   - number: Its number in the batch.
  ///   - areScored: Whether its rows are scored and sorted, or only the best of them told.
  ///   - counts: What it has cost.
  func finish(_ number: Int, areScored: Bool, counts: inout cscan_counts) {
    unsafe cscan_finish(SimdLevel.current, coder.pointer, pointer + number, areScored ? 1 : 0, &counts)
  }

  /// Gives the rows of a query that has ended, best first if they were scored.
  ///
  /// - Parameters:
  ///   - number: Its number in the batch.
  ///   - receive: Takes a row.
  /// - Returns: How many there are.
  func read(_ number: Int, _ receive: (_ rank: Int, _ id: Int64, _ score: Double) -> Void) -> Int {
    let query = unsafe pointer + number
    let count = unsafe query.pointee.count
    for rank in 0..<count { unsafe receive(rank, query.pointee.found[rank].id, query.pointee.found[rank].lower) }
    return count
  }
}
