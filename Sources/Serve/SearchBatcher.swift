// The one thread that searches: the queries that wait when a search ends are the next batch.
//
// It never waits for a batch to fill: a query that comes alone is searched at once, and under load batches grow by
// themselves, which costs less per query.

internal import Base
internal import Foundation
package import Lake

/// A version as the batcher searches it.
///
/// Its files are unmapped with the last reference to it, which a question under way has one of.
///
/// `@unchecked Sendable`: what it searches with is used by the batcher's one thread alone.
package final class SearchedVersion: @unchecked Sendable {
  /// Searches vectors, for at least k and at most some more neighbours of each; what `checkpoint` throws ends it.
  ///
  /// - Returns: What was found, and how many rows were compared.
  package typealias Search = (
    _ vectors: [Float], _ k: Int, _ nprobe: Int, _ unique: Double?, _ filter: RowFilter?,
    _ checkpoint: @escaping () throws -> Void
  ) throws -> (found: SearchResult, shown: Int)

  private let body: Search
  private let searcher: VersionSearcher?

  /// Something that is searched as one says.
  package init(_ search: @escaping Search) { (body, searcher) = (search, nil) }

  /// A version's files.
  ///
  /// - Parameters:
  ///   - searcher: Its searcher; nobody else uses it from now on.
  ///   - hidden: The rows that are not found; nil for none.
  ///   - threads: Threads of a search.
  init(_ searcher: VersionSearcher, hiding hidden: RowSubset?, threads: Int) {
    self.searcher = searcher
    body = { vectors, k, nprobe, unique, filter, checkpoint in
      let before = searcher.statistics.shown
      let rows = filter.map { $0.rows(hiding: hidden) } ?? hidden
      func search(_ vectors: [Float], _ k: Int) throws -> SearchResult {
        try searcher.search(
          vectors, k: k, refining: searcher.candidates(for: k), nprobe: nprobe, threads: threads, among: rows,
          checkpoint: checkpoint)
      }
      let found =
        if let unique {
          try searcher.searchUnique(
            vectors, k: k, nprobe: nprobe, threads: threads, threshold: unique, checkpoint: checkpoint,
            candidates: search)
        } else { try search(vectors, k) }
      return (found, searcher.statistics.shown - before)
    }
  }

  /// Rows that are ordered again for the k best of them; nil where nothing is.
  fileprivate func candidates(for k: Int) -> Int? { searcher?.candidates(for: k) }

  /// The same files, of which other rows are not found.
  func hiding(_ hidden: RowSubset?, threads: Int) -> SearchedVersion {
    searcher.map { SearchedVersion($0, hiding: hidden, threads: threads) } ?? self
  }

  fileprivate func search(
    _ vectors: [Float], k: Int, nprobe: Int, unique: Double?, filter: RowFilter?,
    checkpoint: @escaping () throws -> Void
  ) throws -> (found: SearchResult, shown: Int) { try body(vectors, k, nprobe, unique, filter, checkpoint) }
}

/// Queries of one request.
package struct Question: Sendable {
  package typealias Reply = @Sendable (Result<[[Neighbor]], any Error>) -> Void

  let version: SearchedVersion
  /// Row-major, `[count × dimension]`, finite.
  let vectors: [Float]
  let count: Int
  let k: Int
  let nprobe: Int
  /// The closeness from which on two rows count as one; nil where all count.
  let unique: Double?
  /// The rows that may be found; nil for all.
  let filter: RowFilter?
  /// Rows that are ordered again by codes that refine; nil for none.
  fileprivate var candidates: Int? { version.candidates(for: k) }
  /// When an answer is of no use any more.
  let deadline: ContinuousClock.Instant
  /// Whether who asked has gone away.
  let isGone: @Sendable () -> Bool
  /// Called once, on a thread of the batcher's or of the caller's; it must not block.
  package let reply: Reply

  package init(
    version: SearchedVersion, vectors: [Float], count: Int, k: Int, nprobe: Int, unique: Double? = nil,
    filter: RowFilter? = nil, deadline: ContinuousClock.Instant,
    isGone: @escaping @Sendable () -> Bool, reply: @escaping Reply
  ) {
    self.version = version
    self.vectors = vectors
    self.count = count
    self.k = k
    self.nprobe = nprobe
    self.unique = unique
    self.filter = filter
    self.deadline = deadline
    self.isGone = isGone
    self.reply = reply
  }

  /// Whether two may be searched together: of few neighbours and of many not, as memory is that of the most.
  fileprivate func goesWith(_ other: Question) -> Bool {
    guard version === other.version, nprobe == other.nprobe, unique == other.unique, filter === other.filter,
      candidates == other.candidates
    else { return false }
    // How far near-duplicates are looked for depends on k.
    return unique == nil ? (k > 256) == (other.k > 256) : k == other.k
  }
}

/// Questions that wait, and which of them are next.
package struct QuestionQueue: Sendable {
  private var waiting: [Question] = []
  /// Queries that wait.
  package private(set) var queryCount = 0
  private let limit: Int

  package init(limit: Int) { self.limit = limit }

  package var isEmpty: Bool { waiting.isEmpty }

  /// Puts a question behind all that wait; false when too many do.
  package mutating func append(_ question: Question) -> Bool {
    guard queryCount + question.count <= limit || waiting.isEmpty else { return false }
    waiting.append(question)
    queryCount += question.count
    return true
  }

  /// Takes the oldest question and those behind it that go with it.
  ///
  /// - Parameter most: Queries at most, but for those of the oldest question.
  /// - Returns: In the order that they came in.
  package mutating func take(atMost most: Int) -> [Question] {
    guard let first = waiting.first else { return [] }
    var (taken, left): ([Question], [Question]) = ([first], [])
    var count = first.count
    for question in waiting.dropFirst() {
      if question.goesWith(first), count + question.count <= most {
        taken.append(question)
        count += question.count
      } else {
        left.append(question)
      }
    }
    waiting = left
    queryCount -= count
    return taken
  }

  /// Takes everything.
  package mutating func takeAll() -> [Question] {
    defer { (waiting, queryCount) = ([], 0) }
    return waiting
  }
}

/// Searches queries of many requests as one batch.
///
/// `@unchecked Sendable`: what waits is under the condition's lock.
package final class SearchBatcher: @unchecked Sendable {
  /// Totals since the server started.
  package struct Statistics: Sendable {
    package var batches = 0
    package var queries = 0
    /// Seconds spent in searches.
    package var seconds = 0.0
    package var rowsShown = 0
  }

  private let batchLimit: Int
  private let timeLimit: Duration
  private let condition = NSCondition()
  private var queue: QuestionQueue
  private var totals = Statistics()
  private var isClosed = false

  /// Starts the searching thread.
  ///
  /// - Parameter limits: Of what waits and is searched together.
  /// - Throws: ``TarnError`` `.io` when the system gives no thread.
  package init(limits: ServeLimits) throws {
    batchLimit = limits.batchQueries
    timeLimit = limits.searchTime
    queue = QuestionQueue(limit: limits.waitingQueries)
    try NamedThread.start("tarn-search") { [weak self] in
      while let batch = self?.next() { self?.carryOut(batch) }
    }
  }

  /// Totals since the server started, and how many queries wait.
  package var statistics: (done: Statistics, waiting: Int) {
    condition.lock()
    defer { condition.unlock() }
    return (totals, queue.queryCount)
  }

  /// Adds a question to the queue.
  ///
  /// - Returns: false when too many wait; then `reply` is not called.
  package func ask(_ question: Question) -> Bool {
    condition.lock()
    defer { condition.unlock() }
    guard !isClosed, queue.append(question) else { return false }
    condition.signal()
    return true
  }

  /// Ends the thread after the batch under way; what waits is answered with ``TarnError`` `.interrupted`.
  package func close() {
    condition.lock()
    isClosed = true
    let left = queue.takeAll()
    condition.broadcast()
    condition.unlock()
    for question in left { question.reply(.failure(TarnError.interrupted)) }
  }

  private func next() -> [Question]? {
    condition.lock()
    defer { condition.unlock() }
    while !isClosed {
      let batch = queue.take(atMost: batchLimit)
      if !batch.isEmpty { return batch }
      condition.wait()
    }
    return nil
  }

  /// Searches what was taken together, for one bound of time in all, so that who waits behind it waits no longer.
  ///
  /// Which of several takes so long is seen when each is searched alone, for which half of the time is kept; those that
  /// ask for more keep nobody else from it.
  private func carryOut(_ batch: [Question]) {
    let begin = ContinuousClock.now
    let live = batch.filter { question in
      if question.isGone() { return false }
      guard question.deadline > begin else {
        question.reply(.failure(Self.late))
        return false
      }
      return true
    }
    guard !live.isEmpty else { return }
    let end = begin + timeLimit
    guard live.count > 1 else { return conclude(live, until: end) }
    do {
      try search(live, until: begin + timeLimit / 2)
    } catch is Overdue {
      for question in live.sorted(by: { $0.count < $1.count }) where !question.isGone() {
        if ContinuousClock.now < end { conclude([question], until: end) } else { question.reply(.failure(Self.late)) }
      }
    } catch {
      for question in live { question.reply(.failure(error)) }
    }
  }

  /// Searches questions, and says so if that fails.
  private func conclude(_ questions: [Question], until end: ContinuousClock.Instant) {
    let begin = ContinuousClock.now
    do {
      try search(questions, until: end)
    } catch is Overdue {
      // Milliseconds are of tests alone.
      let seconds = max(1, Int((end - begin).seconds.rounded()))
      let overdue = TarnError(
        .temporary, "the search took longer than \(seconds) s",
        hint: "ask for fewer neighbours, in fewer lists, or without leaving near-duplicates out")
      for question in questions { question.reply(.failure(overdue)) }
    } catch {
      for question in questions { question.reply(.failure(error)) }
    }
  }

  /// Searches questions together, and replies.
  ///
  /// - Throws: ``Overdue`` at the end of the time, and what searching throws; then nobody was replied to.
  private func search(_ live: [Question], until end: ContinuousClock.Instant) throws {
    guard let first = live.first else { return }
    let begin = ContinuousClock.now
    let (vectors, k) = (live.flatMap(\.vectors), live.reduce(1) { max($0, $1.k) })
    let (found, shown) = try first.version.search(
      vectors, k: k, nprobe: first.nprobe, unique: first.unique, filter: first.filter
    ) {
      if live.allSatisfy({ $0.isGone() }) { throw TarnError.interrupted }
      guard ContinuousClock.now < end else { throw Overdue() }
    }
    let seconds = (ContinuousClock.now - begin).seconds
    condition.lock()
    totals.batches += 1
    totals.queries += found.queryCount
    totals.seconds += seconds
    totals.rowsShown += shown
    condition.unlock()
    var next = 0
    for question in live {
      // The k best are the first k of more: scores descend, and ties go to the lower id.
      let own = (next..<next + question.count).map { Array(found.neighbors(ofQuery: $0).prefix(question.k)) }
      next += question.count
      question.reply(.success(own))
    }
  }

  private static let late = TarnError(
    .temporary, "the query waited too long to be searched", hint: "ask again in a moment")

  /// More time than queries may take.
  private struct Overdue: Error {}
}
