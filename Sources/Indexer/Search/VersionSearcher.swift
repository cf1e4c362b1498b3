// Searching an index version: all its output shards, one answer.
//
// The answer is defined without regard to how it is found. Lists are ranked by
// the score of query and centroid (`crows_score`, binary64, ties to the lower
// list), rows of visited lists by the score of query and decoded row, ties to
// the lower id. The SIMD level, threads, the batch and the cut into output
// shards never show.

internal import Base
internal import CScan
internal import Features
internal import Synchronization

/// All output shards of a version, memory-mapped.
///
/// Calls block: one at a time, on a thread of the caller's own. Memory is that
/// of the centroids, two bytes a component, of lists, 12 bytes each and 4 a piece
/// of one, of one batch, and as much once more where its rows are ordered anew, and of its
/// queries' sums with the centroids, 64 MiB at most up to four million lists.
package final class VersionSearcher {
  /// Components of a query.
  package let dimension: Int
  package let nlist: Int
  /// The lists that the version's files ask to be visited.
  package let defaultNprobe: Int
  /// Rows in all output shards.
  package let rowCount: Int
  /// How rows are stored.
  package let codec: VectorCodec
  /// Rows of each list over all output shards, `[nlist]`.
  package let listSizes: [Int]
  let shards: [SearchShard]
  let quantizer: ScalarQuantizer
  /// Codes that order the best of what is found again; nil without.
  let refine: RefineTier?
  private let coarse: CoarseRanking
  private let coder: ScanCoder
  private let coarseQueries: ScanQueries
  private let rowQueries: ScanQueries
  /// The threads of the last search that wanted several.
  private var team: ScanTeam?
  /// What the searches so far have cost.
  package private(set) var statistics = Statistics()

  /// What searches have cost; without effect on any answer.
  package struct Statistics: Sendable, Equatable {
    /// Rows shown to queries.
    package var shown = 0
    /// Bytes of rows' codes read; a list counts once for all queries of a
    /// batch.
    package var byteCount = 0
    /// Bytes of centroids' codes read, once for the queries that are ranked together.
    package var rankedByteCount = 0
    /// Rows and centroids for which 8 bits of the query were too few.
    package var refined = 0
    /// Scores computed in binary64.
    package var scored = 0
  }

  /// Queries whose rows are held at a time take no more memory than this.
  private static let batchByteCount = 256 << 20
  private static let maximumBatch = 2048
  /// Rows that are shown to queries, about, between two looks at whether a search is to go on.
  private static let batchRowCount = 4e9
  /// Queries whose sums with all centroids are held at a time, four bytes each.
  ///
  /// Their planes stay in a near cache, enough of them share what is read of centroids, and each thread has some. Fewer
  /// where their sums would take more than 64 MiB, but four.
  private func rankedTogether(by threads: Int) -> Int { min(max(64, 8 * threads), max((16 << 20) / nlist, 4)) }

  /// Opens output shards; each is parsed strictly.
  ///
  /// - Parameters:
  ///   - paths: The version's output shards, at least one.
  ///   - places: Its files of codes that refine, where it has such.
  /// - Throws: ``TarnError`` `.inputsMissing` without a file or any path,
  ///   `.integrity` when one is damaged or was made with another trained
  ///   index, `.io` when the kernel refuses to map one.
  package init(outputShards paths: [String], refinedBy places: [RefinePlace] = []) throws {
    guard let first = paths.first else { throw TarnError(.inputsMissing, "no output shards to search") }
    let file = try OutputShardFile(path: first)
    let trained = file.trained
    var shards = [try SearchShard(file)]
    for path in paths.dropFirst() { shards.append(try SearchShard(OutputShardFile(path: path, sharing: trained))) }
    // Bounds are computed with room to spare below the greatest float.
    let ranges = zip(trained.quantizer.minima, trained.quantizer.widths)
    guard trained.centroids.allSatisfy({ abs($0) < 0x1p120 }), ranges.allSatisfy({ abs($0) + $1 < 0x1p120 }) else {
      throw TarnError(.integrity, "\(first) has centroids or ranges too large to compute with")
    }
    (dimension, nlist, defaultNprobe) = (trained.dimension, trained.nlist, trained.nprobe)
    codec = trained.quantizer.codec
    quantizer = trained.quantizer
    rowCount = shards.reduce(0) { $0 + $1.rowCount }
    listSizes = (0..<trained.nlist).map { list in shards.reduce(0) { $0 + $1.size(ofList: list) } }
    coder = ScanCoder(trained.quantizer)
    coarse = try CoarseRanking(trained, in: shards[0].file)
    coarseQueries = ScanQueries(coarse.coder)
    rowQueries = ScanQueries(coder)
    refine = try places.isEmpty ? nil : RefineTier(places, dimension: trained.dimension)
    self.shards = shards
  }

  /// Finds the rows with the greatest scores in the visited lists.
  ///
  /// - Parameters:
  ///   - queries: Row-major finite floats, shape `[n × dimension]`; `n` may be
  ///     0.
  ///   - k: Neighbours per query, `1...65536`.
  ///   - nprobe: Lists visited per query, `1...`; all are when it is more than
  ///     there are.
  ///   - threads: Threads to use, `1...`; the answer does not depend on it.
  ///   - subset: The rows that count, before the k best are taken; nil for all.
  ///   - areScored: Whether scores are wanted; who will order the rows anew needs none.
  ///   - checkpoint: Called now and then, for which batches are cut; what it throws ends the search. Nil for nobody who
  ///     would end it.
  /// - Returns: One row per query, in query order, by score descending, of
  ///   equal scores by id ascending; if they are not scored the same rows, in
  ///   any order and with any scores.
  /// - Throws: ``TarnError`` `.usage` for a parameter out of range,
  ///   `.badFeatures` for a query that is not finite, `.io` when the system does
  ///   not give as many threads.
  package func search(
    _ queries: [Float], k: Int, nprobe: Int, threads: Int = 1, among subset: RowSubset? = nil, areScored: Bool = true,
    checkpoint: (() throws -> Void)? = nil
  ) throws -> SearchResult {
    guard nprobe >= 1 else { throw TarnError(.usage, "nprobe is \(nprobe), must be at least 1") }
    let n = try checkedCount(of: queries, k: k, threads: threads)
    var result = SearchResult(k: k, queryCount: n)
    let nprobe = min(nprobe, nlist)
    let shown = checkpoint == nil ? 0 : Double(rowCount) * Double(nprobe) / Double(nlist)
    try forEachBatch(of: n, byteCount: byteCount(k: k, nprobe: nprobe), rowCount: shown) { batch in
      try checkpoint?()
      let lists = try rank(queries, batch, nprobe: nprobe, threads: threads)
      try scan(
        queries, batch, lists: lists[...], k: k, threads: threads, among: subset, areScored: areScored, into: &result)
    }
    return result
  }

  /// Finds the rows with the greatest scores in given lists.
  ///
  /// - Parameters:
  ///   - queries: As for ``search(_:k:nprobe:threads:)``.
  ///   - k: Neighbours per query, `1...65536`.
  ///   - lists: The lists of each query, `[n × (lists.count / n)]`; -1 for
  ///     none. A list that is named twice for a query answers twice.
  ///   - threads: Threads to use, `1...`; the answer does not depend on it.
  /// - Returns: As for ``search(_:k:nprobe:threads:)``.
  /// - Throws: ``TarnError`` as ``search(_:k:nprobe:threads:)``; `.usage`
  ///   for a list that does not exist.
  package func search(_ queries: [Float], k: Int, lists: [Int32], threads: Int = 1) throws -> SearchResult {
    let n = try checkedCount(of: queries, k: k, threads: threads)
    guard n == 0 ? lists.isEmpty : lists.count % n == 0, lists.allSatisfy({ (-1..<Int32(nlist)).contains($0) }) else {
      throw TarnError(.usage, "\(lists.count) lists do not suit \(n) queries and \(nlist) lists")
    }
    var result = SearchResult(k: k, queryCount: n)
    let nprobe = n == 0 ? 0 : lists.count / n
    try forEachBatch(of: n, byteCount: byteCount(k: k, nprobe: 0)) { batch in
      let own = lists[batch.lowerBound * nprobe..<batch.upperBound * nprobe]
      try scan(queries, batch, lists: own, k: k, threads: threads, among: nil, areScored: true, into: &result)
    }
    return result
  }

  /// The lists that a search visits.
  ///
  /// - Parameters:
  ///   - queries: As for ``search(_:k:nprobe:threads:among:)``.
  ///   - nprobe: Lists visited per query, `1...`.
  ///   - threads: Threads to use.
  /// - Returns: The lists of each query.
  /// - Throws: ``TarnError`` as a search.
  func visitedLists(_ queries: [Float], nprobe: Int, threads: Int) throws -> [[Int32]] {
    let n = try checkedCount(of: queries, k: 1, threads: threads)
    let nprobe = min(nprobe, nlist)
    var visited: [[Int32]] = []
    try forEachBatch(of: n, byteCount: byteCount(k: 1, nprobe: nprobe)) { batch in
      let lists = try rank(queries, batch, nprobe: nprobe, threads: threads)
      visited += batch.indices.map { place in
        let first = (place - batch.lowerBound) * nprobe
        return lists[first..<first + nprobe].filter { $0 >= 0 }
      }
    }
    return visited
  }

  private func checkedCount(of queries: [Float], k: Int, threads: Int) throws -> Int {
    guard (1...65_536).contains(k) else { throw TarnError(.usage, "k is \(k), not in 1...65536") }
    guard threads >= 1, threads <= 4096 else { throw TarnError(.usage, "\(threads) threads is no thread count") }
    guard queries.count % dimension == 0 else {
      throw TarnError(
        .usage, "\(queries.count) floats are no queries of \(dimension) dimensions",
        hint: "queries must have the dimension of the version")
    }
    if let bad = queries.firstIndex(where: { !$0.isFinite }) {
      throw TarnError(.badFeatures, "query \(bad / dimension) has a component that is not finite")
    }
    let count = queries.count / dimension
    for query in 0..<count where !queries[(query * dimension)..<((query + 1) * dimension)].hasFiniteScores {
      throw TarnError(.badFeatures, "query \(query) is so long that its scores are beyond float32")
    }
    return count
  }

  private func byteCount(k: Int, nprobe: Int) -> Int {
    rowQueries.byteCount(k: min(k, rowCount)) + coarseQueries.byteCount(k: nprobe)
  }

  /// Cuts queries into batches of bounded memory and work, of which each takes `byteCount` and is shown `rowCount` rows.
  func forEachBatch(
    of n: Int, byteCount: Int, rowCount: Double = 0, _ body: (Range<Int>) throws -> Void
  ) rethrows {
    let most = min(Double(Self.maximumBatch), Self.batchRowCount / max(rowCount, 1))
    let width = max(min(Self.batchByteCount / byteCount, Int(most)), 1)
    for first in stride(from: 0, to: n, by: width) { try body(first..<min(first + width, n)) }
  }
}

// MARK: - The two passes

extension VersionSearcher {
  /// The best lists of each query, best first or nearly so; in any order when
  /// all are visited.
  private func rank(
    _ vectors: [Float], _ batch: Range<Int>, nprobe: Int, threads: Int
  ) throws -> [Int32] {
    var lists = [Int32](repeating: -1, count: batch.count * nprobe)
    if nprobe == nlist {
      for slot in lists.indices { lists[slot] = Int32(slot % nlist) }
      return lists
    }
    let together = rankedTogether(by: threads)
    statistics.rankedByteCount += nlist * coarse.coder.codeByteCount * ((batch.count + together - 1) / together)
    try start(coarseQueries, vectors, batch, k: nprobe, threads: threads) {
      for first in stride(from: 0, to: batch.count, by: together) {
        try rankLists(of: first..<min(first + together, batch.count), threads: threads)
      }
    }
    for query in 0..<batch.count {
      _ = coarseQueries.read(query) { rank, list, _ in lists[query * nprobe + rank] = Int32(list) }
    }
    return lists
  }

  /// Ranks lists for some queries of a batch that has been started, all sums
  /// first: they say nearly exactly which centroids have to be scored.
  private func rankLists(of some: Range<Int>, threads: Int) throws {
    let (coarse, queries, nlist) = (coarse, coarseQueries, nlist)
    // Rows enough for a task to be worth its start, few enough for all threads to have some.
    let share = (nlist + 4 * threads - 1) / (4 * threads)
    let height = max(share, (1 << 18) / (coarse.coder.codeByteCount * some.count), 16)
    try unsafe withUnsafeTemporaryAllocation(of: Int32.self, capacity: some.count * nlist) { buffer in
      guard let base = buffer.baseAddress else { return }
      nonisolated(unsafe) let sums = unsafe base
      try carryOut((nlist + height - 1) / height, threads: threads, rows: some.count * nlist) { task, _ in
        unsafe coarse.sum(task * height..<min((task + 1) * height, nlist), with: some, of: queries, into: sums)
      }
      let few = max(some.count / (4 * threads), 1)
      try carryOut((some.count + few - 1) / few, threads: threads, rows: some.count * nlist) { task, counts in
        for place in task * few..<min(task * few + few, some.count) {
          unsafe coarse.pick(some.lowerBound + place, of: queries, sums: sums + place * nlist, counts: &counts)
        }
      }
    }
  }

  /// Shows the rows of lists to the queries that visit them.
  private func scan(
    _ vectors: [Float], _ batch: Range<Int>, lists: ArraySlice<Int32>, k: Int, threads: Int, among subset: RowSubset?,
    areScored: Bool, into result: inout SearchResult
  ) throws {
    let visits = Visits(lists, queryCount: batch.count)
    for (slot, list) in lists.enumerated() where list >= 0 {
      result.visitedRows[batch.lowerBound + slot / (lists.count / batch.count)] += listSizes[Int(list)]
    }
    let plan = ScanPlan(visits, shards: shards, codeByteCount: coder.codeByteCount)
    try start(rowQueries, vectors, batch, k: min(k, max(rowCount, 1)), threads: threads) {
      let (shards, coder, queries) = (shards, coder, rowQueries)
      for piece in plan.pieces.prefix(ScanPlan.lookahead) {
        shards[piece.shard].expectRead(piece.rows, ofList: piece.list)
      }
      try carryOut(plan.pieces.count, threads: threads, rows: plan.work) { task, counts in
        if task + ScanPlan.lookahead < plan.pieces.count {
          let later = plan.pieces[task + ScanPlan.lookahead]
          shards[later.shard].expectRead(later.rows, ofList: later.list)
        }
        let piece = plan.pieces[task]
        var rows = unsafe shards[piece.shard].rows(
          piece.rows, ofList: piece.list, coder, visitorCount: subset == nil ? piece.visitors.count : 0)
        if task + threads < plan.pieces.count {
          let next = plan.pieces[task + threads]  // most likely this thread's own
          unsafe rows.next = shards[next.shard].code(ofRow: next.rows.lowerBound, ofList: next.list)
        }
        unsafe visits.queries.withUnsafeBufferPointer { numbers in
          let own = unsafe UnsafeBufferPointer(rebasing: numbers[piece.visitors])
          func show(_ rows: inout cscan_rows) {
            unsafe cscan_show(
              SimdLevel.current, coder.pointer, &rows, queries.pointer, own.baseAddress, own.count, &counts)
          }
          guard let subset else { return unsafe show(&rows) }
          unsafe subset.choose(rows, codeByteCount: coder.codeByteCount) { unsafe show(&$0) }
        }
      }
      statistics.shown += plan.work
      statistics.byteCount += plan.byteCount
      try finish(queries, count: batch.count, areScored: areScored, threads: threads)
    }
    result.take(rowQueries, batch)
  }

  /// Prepares the queries of a batch and has `body` show them rows and end
  /// them; their vectors stay in place meanwhile.
  func start(
    _ queries: ScanQueries, _ vectors: [Float], _ batch: Range<Int>, k: Int, threads: Int, _ body: () throws -> Void
  ) throws {
    queries.reserve(count: batch.count, k: k)
    try unsafe vectors.withUnsafeBufferPointer { vectors in
      let width = dimension
      guard let base = vectors.baseAddress else { return }
      nonisolated(unsafe) let first = unsafe base + batch.lowerBound * width
      // Preparing one takes microseconds.
      try carryOut((batch.count + 15) / 16, threads: threads, rows: batch.count * 64) { task, _ in
        for query in task * 16..<min(task * 16 + 16, batch.count) {
          unsafe queries.prepare(query, vector: first + query * width)
        }
      }
      try body()
    }
  }

  /// Ends the queries of a batch.
  func finish(_ queries: ScanQueries, count: Int, areScored: Bool, threads: Int) throws {
    try carryOut((count + 15) / 16, threads: threads, rows: count * 64) { task, counts in
      for query in task * 16..<min(task * 16 + 16, count) {
        queries.finish(query, areScored: areScored, counts: &counts)
      }
    }
  }

  /// Carries out tasks on threads, or here when there is little to do.
  ///
  /// - Parameters:
  ///   - count: How many tasks.
  ///   - threads: Threads at most.
  ///   - rows: Rows that queries are shown, about.
  ///   - task: One task, and where to count its cost.
  /// - Throws: ``TarnError`` `.io` when the threads cannot be made.
  func carryOut(
    _ count: Int, threads: Int, rows: Int, _ task: @Sendable (Int, inout cscan_counts) -> Void
  ) throws {
    if threads == 1 || count <= 1 || rows < 2048 {
      var counts = cscan_counts()
      for number in 0..<count { task(number, &counts) }
      add(counts)
    } else {
      let total = Mutex(cscan_counts())
      try team(threads).run(count) { number in
        var counts = cscan_counts()
        task(number, &counts)
        total.withLock {
          $0.refined += counts.refined
          $0.scored += counts.scored
        }
      }
      add(total.withLock { $0 })
    }
  }

  private func add(_ counts: cscan_counts) {
    statistics.refined += Int(counts.refined)
    statistics.scored += Int(counts.scored)
  }

  private func team(_ threads: Int) throws -> ScanTeam {
    if let team, team.threadCount == threads { return team }
    let team = try ScanTeam(threadCount: threads)
    self.team = team
    return team
  }
}
