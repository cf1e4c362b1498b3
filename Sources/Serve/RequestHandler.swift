// Routes a request to the lane that works on it, and makes its answer. Knows nothing of sockets.

internal import Base
internal import Foundation
internal import Lake

/// Answers requests.
package final class RequestHandler: Sendable {
  package typealias Done = @Sendable (ServeAnswer) -> Void

  private let served: @Sendable () -> ServedVersions
  let encoder: ServeEncoder?
  let limits: ServeLimits
  let nprobe: Int
  let lake: String
  let meter: ServeMeter
  let batcher: SearchBatcher
  /// Reads bodies and makes answers.
  private let rows: WorkLane
  /// Waits for encoders.
  private let words: WorkLane
  /// Looks into the catalog, and waits for verbs that do.
  let catalog: WorkLane
  private let sql: WorkLane
  /// Evaluates conditions on rows, one at a time: a second request with the same condition waits, and finds the first
  /// one's result cached.
  let filtering: WorkLane
  let filters: RowFilters
  let verbs: VerbProcess
  let watch: LakeWatch

  /// Starts the threads of all lanes.
  ///
  /// - Parameters:
  ///   - served: What is served at the moment.
  ///   - root: The lake's directory.
  ///   - tool: This program's file, which answers what verbs print.
  ///   - nprobe: Lists visited for a query that does not say.
  ///   - providers: An encoder.
  ///   - limits: Of everything that waits.
  /// - Throws: ``TarnError`` `.io` when the system gives no threads.
  package init(
    _ served: @escaping @Sendable () -> ServedVersions, root: String, tool: String, nprobe: Int,
    providers: ServeProviders, limits: ServeLimits
  ) throws {
    self.served = served
    encoder = ServeEncoder(providers)
    self.limits = limits
    self.nprobe = nprobe
    lake = root
    meter = ServeMeter()
    batcher = try SearchBatcher(limits: limits)
    rows = try WorkLane("tarn-rows", threads: 2, limit: limits.connections)
    words = try WorkLane("tarn-words", threads: 4, limit: limits.waitingWork)
    catalog = try WorkLane("tarn-catalog", threads: 2, limit: limits.waitingWork)
    sql = try WorkLane("tarn-sql", threads: 2, limit: limits.waitingWork)
    filtering = try WorkLane("tarn-filters", threads: 1, limit: limits.waitingWork)
    filters = RowFilters(mostCount: limits.filterCount, mostByteCount: limits.filterByteCount)
    verbs = VerbProcess(tool: tool, lake: root)
    watch = LakeWatch(root: root)
  }

  /// Ends the threads, each after the work that it is doing.
  package func close() {
    encoder?.cancellation.cancel()
    batcher.close()
    verbs.endAll()
    for lane in lanes { lane.lane.close() }
  }

  /// What is served at this moment.
  var versions: ServedVersions { served() }

  /// The lanes, by what the metrics call them.
  var lanes: [(name: String, lane: WorkLane)] {
    [("rows", rows), ("words", words), ("catalog", catalog), ("sql", sql), ("filters", filtering)]
  }

  /// Answers a request; returns at once.
  ///
  /// - Parameters:
  ///   - request: Whole, and let in.
  ///   - done: Called once, from any thread.
  package func answer(_ request: ServeRequest, done: @escaping Done) {
    let began = ContinuousClock.now
    let counted: Done = { [meter] answer in
      meter.count(request.route.name, answer.status, seconds: (ContinuousClock.now - began).seconds)
      done(answer)
    }
    switch request.route {
    case .health: counted(.text("ok\n"))
    case .ready: counted(readiness())
    case .asset(let name): counted(ServeAssets.answer(name))
    case .preflight(let methods):
      var answer = ServeAnswer.text("")
      answer.headers = AccessPolicy.preflight(methods)
      counted(answer)
    case .indices: counted(.json(.array(versions.all.map { .string("\($0.name)") })))
    case .config: counted(config(request))
    case .metrics: work(on: catalog, counted) { .text(try $0.metrics()) }
    case .look: work(on: catalog, counted) { .json(try $0.watch.json()) }
    case .knn: begin(on: rows, counted) { try $0.knn(request, done: counted) }
    case .search: begin(on: rows, counted) { try $0.search(request, done: counted) }
    case .metadata: work(on: rows, counted) { try $0.metadata(request) }
    case .api(.sql): work(on: sql, counted) { try $0.sqlAnswer(request) }
    case .api(let verb): work(on: catalog, counted) { try $0.verbAnswer(verb, request) }
    case .page(.search): onPages(counted) { try $0.searchPage(request, done: counted) }
    case .page(.sql): onPages(counted, lane: sql) { counted(try $0.sqlPage(request)) }
    case .page(let page): onPages(counted) { counted(try $0.catalogPage(page)) }
    }
  }

  /// `GET /readyz`: whether all that is to be served can be searched, and nothing that is not.
  private func readiness() -> ServeAnswer {
    let versions = versions
    func refusal(
      _ text: String, hint: String = "the server's standard error says which, and why"
    ) -> ServeAnswer {
      .error(503, text, hint: hint, with: ["ready": .bool(false)])
    }
    // It is for everybody: which versions there are is not.
    if !versions.missing.isEmpty { return refusal("\(versions.missing.count.counted("version")) cannot be searched") }
    if versions.unmetCount > 0 {
      let count = versions.unmetCount
      return refusal("\(count) of what is to be served \(count == 1 ? "is" : "are") revoked or gone")
    }
    if versions.isUnwatched {
      let seconds = CatalogFreshness.limit.components.seconds
      guard !versions.isOpening else {
        return refusal(
          "a version takes more than \(seconds) s to open: what was revoked or excluded meanwhile is not known here",
          hint: "ask again: it is ready when that version is open")
      }
      return refusal(
        "the catalog was not read for \(seconds) s: what is revoked or excluded there is not known here")
    }
    return .json(.object(["ready": .bool(true)]))
  }

  // MARK: Lanes

  /// Has work done on a lane, and what it makes answered.
  func work(
    on lane: WorkLane, _ done: @escaping Done, _ body: @escaping @Sendable (RequestHandler) throws -> ServeAnswer
  ) {
    begin(on: lane, done) { done(try body($0)) }
  }

  /// Has work begun on a lane, which answers itself unless it throws.
  func begin(
    on lane: WorkLane, busy: String = "too many requests wait", _ done: @escaping Done,
    _ body: @escaping @Sendable (RequestHandler) throws -> Void
  ) {
    let isTaken = lane.submit { [self] in
      do { try body(self) } catch { done(.error(error)) }
    }
    if !isTaken { done(.busy(busy)) }
  }

  /// Has a page begun on a lane; what goes wrong is told as a page.
  private func onPages(
    _ done: @escaping Done, lane: WorkLane? = nil, _ body: @escaping @Sendable (RequestHandler) throws -> Void
  ) {
    let isTaken = (lane ?? catalog).submit { [self] in
      do { try body(self) } catch { done(ServePage.error(error)) }
    }
    if !isTaken {
      done(ServePage.error(TarnError(.temporary, "too many requests wait", hint: "ask again in a moment")))
    }
  }

  // MARK: Searching

  /// What is searched for.
  enum Wanted: Sendable {
    case vectors([[Float]])
    case encoded(EncoderInput)
    case row(RowID)
  }

  /// How it is searched for.
  struct Asked: Sendable {
    let k: Int
    let nprobe: Int
    var unique: Double?
    /// What companions must say of the rows.
    var condition: WhereCondition?
    /// The rows of which they do, once that is known.
    var filter: RowFilter?
    let isGone: @Sendable () -> Bool

    /// What has to be said of an answer.
    ///
    /// - Parameters:
    ///   - counts: How many rows were found for each query.
    ///   - version: The version that was searched.
    ///   - reader: Who is told.
    /// - Returns: A line each.
    func notes(_ counts: [Int], in version: ServedVersion, for reader: SearchNotes.Reader) -> [String] {
      SearchNotes(
        k: k, nprobe: nprobe, listCount: version.nlist, unique: unique,
        admittedCount: filter.map { $0.rows(hiding: version.hidden?.held).count }, conditionNotes: filter?.notes ?? []
      ).lines(counts, for: reader)
    }
  }

  /// Searches a version and hands on what was found, on the lane of rows.
  func find(
    _ wanted: Wanted, in version: ServedVersion, as asked: Asked, done: @escaping Done,
    then: @escaping @Sendable ([[Neighbor]], Asked) throws -> ServeAnswer
  ) throws {
    try filtered(asked, of: version, done: done) { handler, asked, done in
      try handler.findFiltered(wanted, in: version, as: asked, done: done, then: then)
    }
  }

  private func findFiltered(
    _ wanted: Wanted, in version: ServedVersion, as asked: Asked, done: @escaping Done,
    then: @escaping @Sendable ([[Neighbor]], Asked) throws -> ServeAnswer
  ) throws {
    switch wanted {
    case .vectors(let vectors):
      for vector in vectors where vector.count != version.dimension {
        throw TarnError(
          .usage, "a vector has \(vector.count.counted("element")), \(version.name) has \(version.dimension)",
          hint: "search with features of the model it was built from")
      }
      let question = Question(
        version: version.searched, vectors: vectors.flatMap(\.self), count: vectors.count, k: asked.k,
        nprobe: asked.nprobe, unique: asked.unique, filter: asked.filter, deadline: .now + limits.queryTime,
        isGone: asked.isGone
      ) { [self] result in
        work(on: rows, done) { _ in try then(result.get(), asked) }
      }
      if !batcher.ask(question) { done(.busy("too many queries wait")) }
    case .encoded(let input):
      guard let encoder else {
        throw TarnError(
          .usage, "this server has no encoder: it cannot search for words or pictures",
          hint: "send a vector (embedding_input), or start `tarn serve` with an encoder")
      }
      let latest = ContinuousClock.now + limits.queryTime
      begin(on: words, busy: "too many requests wait for the encoder", done) { handler in
        if asked.isGone() { throw TarnError.interrupted }
        guard ContinuousClock.now < latest else {
          throw TarnError(
            .temporary, "the query waited too long for the encoder, which has many to work on",
            hint: "ask again in a moment")
        }
        let vector = try encoder.vector(of: input, dimension: version.dimension)
        try handler.findFiltered(.vectors([vector]), in: version, as: asked, done: done, then: then)
      }
    case .row(let id):
      work(on: catalog, done) { handler in try then([handler.neighbors(ofRow: id, in: version, asked)], asked) }
    }
  }
}
