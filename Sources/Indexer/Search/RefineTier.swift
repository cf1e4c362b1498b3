// The best of what lists hold, ordered again by codes that lost less: these lie in files of their
// own, mapped, and only those of rows that were found are read.
//
// The score is `crows_score` of the query and the decoded code that refines; of equal scores the
// lower id comes first. The answer depends on the number of rows that are looked at again, and on
// no thread, batch or cut.

internal import Base
internal import CScan
internal import Features
internal import Synchronization

/// A file of codes that refine, and whose.
package struct RefinePlace: Sendable {
  package let path: String
  /// The ids of its codes, in order.
  package let ids: Range<RowID>

  package init(path: String, ids: Range<RowID>) { (self.path, self.ids) = (path, ids) }
}

/// The codes that refine, of all outputs of a version.
struct RefineTier: Sendable {
  private struct Part: Sendable {
    let ids: Range<RowID>
    let file: MappedFile
    let codesOffset: Int
  }

  /// The queries of a batch while rows are ordered anew.
  let queries: ScanQueries
  private let quantizer: ScalarQuantizer
  private let codeByteCount: Int
  private let parts: [Part]

  /// Maps files.
  ///
  /// - Parameters:
  ///   - places: At least one; their ids are disjoint.
  ///   - dimension: Components of a vector.
  /// - Throws: ``TarnError`` `.inputsMissing` without a file, `.integrity` when one is damaged, has
  ///   other ids or other ranges than the first.
  init(_ places: [RefinePlace], dimension: Int) throws {
    var quantizer: ScalarQuantizer?
    var parts: [Part] = []
    for place in places {
      let file = try RefineFile(path: place.path)
      guard file.quantizer == quantizer ?? file.quantizer, file.quantizer.dimension == dimension,
        file.count == place.ids.count
      else {
        throw TarnError(
          .integrity, "\(place.path) does not hold the codes that refine its output",
          hint: "run `tarn verify --repair`")
      }
      // As of centroids and ranges of lists: scores are computed with room to spare.
      let ranges = zip(file.quantizer.minima, file.quantizer.widths)
      guard ranges.allSatisfy({ abs($0) + $1 < 0x1p120 }) else {
        throw TarnError(.integrity, "\(place.path) has ranges too large to compute with")
      }
      quantizer = file.quantizer
      guard !place.ids.isEmpty else { continue }
      parts.append(
        Part(
          ids: place.ids, file: try MappedFile(path: place.path, byteCount: file.file.byteCount),
          codesOffset: file.codesOffset))
    }
    guard let quantizer else { throw TarnError(.inputsMissing, "no files of codes that refine") }
    queries = ScanQueries(ScanCoder(quantizer))
    codeByteCount = quantizer.codeByteCount
    self.quantizer = quantizer
    self.parts = parts.sorted { $0.ids.lowerBound < $1.ids.lowerBound }
  }

  /// Announces the codes of rows to the kernel: those that come from a disk come together.
  fileprivate func expectRead(_ ids: ArraySlice<RowID>) throws {
    for id in ids {
      let (part, start) = try place(of: id)
      parts[part].file.expectRead(start..<(start + codeByteCount))
    }
  }

  /// The codes of rows, each where it lies, and after them those of some that are shown next.
  ///
  /// - Throws: ``TarnError`` `.integrity` for a row without a code.
  fileprivate func codes(
    of ids: ArraySlice<RowID>, before next: ArraySlice<RowID>
  ) throws -> [UnsafePointer<UInt8>?] {
    var codes: [UnsafePointer<UInt8>?] = unsafe []
    unsafe codes.reserveCapacity(ids.count + next.count)
    func append(_ id: RowID) throws {
      let (part, start) = try place(of: id)
      unsafe codes.append(parts[part].file.address(start))
    }
    try ids.forEach(append)
    try next.forEach(append)
    return unsafe codes
  }

  /// The vectors that the codes of rows stand for.
  ///
  /// - Throws: ``TarnError`` `.integrity` for a row without a code.
  func vectors(ofRows ids: [RowID]) throws -> [[Float]] {
    try expectRead(ids[...])
    return try ids.map { id in
      let (part, start) = try place(of: id)
      let code = unsafe Array(UnsafeBufferPointer(start: parts[part].file.address(start), count: codeByteCount))
      return quantizer.decode(code)
    }
  }

  /// Where the code of a row is.
  private func place(of id: RowID) throws -> (part: Int, start: Int) {
    let place = parts.count == 1 ? 0 : parts.partitioningIndex { $0.ids.lowerBound > id } - 1
    guard place >= 0, parts[place].ids.contains(id) else {
      throw TarnError(
        .integrity, "row \(id) was found and no file of codes that refine has it", hint: "run `tarn verify --repair`")
    }
    return (place, parts[place].codesOffset + Int(id - parts[place].ids.lowerBound) * codeByteCount)
  }
}

extension VersionSearcher {
  /// Rows of each query that are looked at again unless somebody says otherwise.
  package static let refinedRows = 100

  /// How many rows of each query are found for the k best of them.
  ///
  /// - Parameters:
  ///   - k: The rows wanted.
  ///   - rows: Rows to look at again; nil for ``refinedRows``, where the version has codes that
  ///     refine, 0 for none.
  /// - Returns: The number, or nil where nothing is refined.
  package func candidates(for k: Int, refining rows: Int? = nil) -> Int? {
    guard refine != nil, rows != 0 else { return nil }
    return min(65_536, max(k, rows ?? Self.refinedRows))
  }

  /// Finds rows by their lists' codes and orders the best of them by the codes that refine.
  ///
  /// - Parameters:
  ///   - queries: As for ``search(_:k:nprobe:threads:among:)``.
  ///   - k: Neighbours per query, `1...65536`.
  ///   - candidates: Rows of each query that are looked at again, `k...65536`; nil for none: then
  ///     this is ``search(_:k:nprobe:threads:among:)``.
  ///   - nprobe: Lists visited per query.
  ///   - threads: Threads to use; the answer does not depend on it.
  ///   - subset: The rows that count; nil for all.
  ///   - checkpoint: Called now and then; what it throws ends the search.
  /// - Returns: The best `k` of each query by the new scores.
  /// - Throws: ``TarnError`` as a search; `.integrity` for a row that the codes that refine have
  ///   not.
  package func search(
    _ queries: [Float], k: Int, refining candidates: Int?, nprobe: Int, threads: Int = 1,
    among subset: RowSubset? = nil,
    checkpoint: (() throws -> Void)? = nil
  ) throws -> SearchResult {
    guard let candidates, let refine else {
      return try search(queries, k: k, nprobe: nprobe, threads: threads, among: subset, checkpoint: checkpoint)
    }
    guard (1...candidates).contains(k) else {
      throw TarnError(.usage, "k is \(k), not in 1...\(candidates), the rows that are looked at again")
    }
    let found = try search(
      queries, k: candidates, nprobe: nprobe, threads: threads, among: subset, areScored: false, checkpoint: checkpoint)
    try checkpoint?()
    return try order(found, by: refine, queries, k: k, threads: threads)
  }

  /// Rows of a query that one task shows where there are few queries: more threads than one work on it.
  private static let taskRows = 32
  /// Rows of the next task whose codes are brought while one ends.
  private static let broughtRows = 16

  private func order(
    _ found: SearchResult, by refine: RefineTier, _ queries: [Float], k: Int, threads: Int
  ) throws -> SearchResult {
    var result = SearchResult(k: k, queryCount: found.queryCount)
    result.visitedRows = found.visitedRows
    let states = refine.queries
    try forEachBatch(of: found.queryCount, byteCount: states.byteCount(k: k)) { batch in
      // Rows of a query that follow each other, for one thread.
      let taskRows = batch.count < 4 * threads ? Self.taskRows : found.k
      let pieces = batch.flatMap { query in
        let rows = query * found.k..<query * found.k + found.counts[query]
        return stride(from: rows.lowerBound, to: rows.upperBound, by: taskRows).map { first in
          (query: query, rows: first..<min(first + taskRows, rows.upperBound))
        }
      }
      for piece in pieces.prefix(ScanPlan.lookahead) { try refine.expectRead(found.paddedIDs[piece.rows]) }
      let failure = Mutex<(any Error)?>(nil)
      try start(states, queries, batch, k: k, threads: threads) {
        try carryOut(pieces.count, threads: threads, rows: pieces.count * taskRows) { number, counts in
          do {
            if number + ScanPlan.lookahead < pieces.count {
              try refine.expectRead(found.paddedIDs[pieces[number + ScanPlan.lookahead].rows])
            }
            let (query, rows) = pieces[number]
            // Most likely this thread's own.
            let next = number + threads < pieces.count ? pieces[number + threads].rows.prefix(Self.broughtRows) : 0..<0
            let codes = unsafe try refine.codes(of: found.paddedIDs[rows], before: found.paddedIDs[next])
            unsafe states.show(found.paddedIDs[rows], codes: codes, to: query - batch.lowerBound, counts: &counts)
          } catch {
            failure.withLock { $0 = $0 ?? error }
          }
        }
        if let error = failure.withLock({ $0 }) { throw error }
        try finish(states, count: batch.count, areScored: true, threads: threads)
      }
      result.take(states, batch)
    }
    return result
  }
}
