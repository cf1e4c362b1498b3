// The queries of a batch while rows are shown to them; memory that is kept for
// the next batch.

internal import CScan

/// Room for queries, their planes and their best rows.
///
/// `@unchecked Sendable`: `reserve` is called while no task runs; within tasks
/// a query is prepared and finished by one of them, and rows are shown to it
/// under the kernels' own lock.
@safe final class ScanQueries: @unchecked Sendable {
  private let coder: ScanCoder
  private var memory: UnsafeMutableRawPointer?
  private var byteCount = 0
  private var k = 0
  private var offsets = (queries: 0, scores: 0, ids: 0)
  private let queryByteCount = unsafe MemoryLayout<cscan_query>.stride

  init(_ coder: ScanCoder) { self.coder = coder }

  deinit { unsafe memory?.deallocate() }

  /// Bytes that one query with `k` rows takes.
  func byteCount(k: Int) -> Int { 2 * coder.planeByteCount + queryByteCount + 16 * k }

  /// Makes room; what was there is forgotten.
  func reserve(count: Int, k: Int) {
    self.k = k
    offsets.queries = 2 * coder.planeByteCount * count
    offsets.scores = offsets.queries + queryByteCount * count
    offsets.ids = offsets.scores + 8 * k * count
    let wanted = offsets.ids + 8 * k * count
    guard wanted > byteCount else { return }
    unsafe memory?.deallocate()
    unsafe memory = .allocate(byteCount: wanted, alignment: 64)
    byteCount = wanted
  }

  /// The queries, to be indexed by their number in the batch.
  var pointer: UnsafeMutablePointer<cscan_query> {
    guard let memory = unsafe memory else { preconditionFailure("no room was made for queries") }
    return unsafe (memory + offsets.queries).assumingMemoryBound(to: cscan_query.self)
  }

  /// Starts a query with an empty answer.
  ///
  /// - Parameters:
  ///   - number: Its number in the batch.
  ///   - vector: `[dimension]` finite floats, which stay there until it ends.
  func prepare(_ number: Int, vector: UnsafePointer<Float>) {
    guard let memory = unsafe memory else { preconditionFailure("no room was made for queries") }
    let query = unsafe pointer + number
    unsafe query.initialize(to: cscan_query())
    unsafe query.pointee.vector = vector
    unsafe query.pointee.plane = (memory + 2 * coder.planeByteCount * number).assumingMemoryBound(to: Int8.self)
    unsafe query.pointee.scores = (memory + offsets.scores + 8 * k * number).assumingMemoryBound(to: Double.self)
    unsafe query.pointee.ids = (memory + offsets.ids + 8 * k * number).assumingMemoryBound(to: Int64.self)
    unsafe query.pointee.k = k
    unsafe cscan_prepare(SimdLevel.current, coder.pointer, query)
  }

  /// Ends a query and gives its rows, best first.
  func finish(_ number: Int, _ receive: (_ rank: Int, _ id: Int64, _ score: Double) -> Void) -> Int {
    let query = unsafe pointer + number
    unsafe cscan_finish(query)
    let count = unsafe query.pointee.count
    for rank in 0..<count { unsafe receive(rank, query.pointee.ids[rank], query.pointee.scores[rank]) }
    return count
  }
}
