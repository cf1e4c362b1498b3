// `sync`: the catalog's shards handed to the fetcher, and what it reports
// turned into rows. Invariants 1, 5, 6 and 8.
//
// A shard's row says `fetching`, with its room reserved, before the fetcher is
// asked; it says `present` after the fetcher has the bytes durable under their
// final name. A run that dies between the two leaves a reservation, which the
// next writer returns, and a part file, which the next fetch resumes.

package import Base
package import Catalog
internal import Features
package import Fetch
internal import Foundation
internal import Synchronization

/// What to sync, and how.
package struct SyncOptions: Sendable {
  /// Names of sources; empty for all.
  package var sources: [String] = []
  /// Which shards of each; nil for all.
  package var ordinals: OrdinalSet?
  /// Shards to fetch in this order, instead of those of ``sources``.
  package var selection: [Shard]?
  /// Most bytes of `shards/`; nil for no limit.
  package var budget: Int?
  /// Bytes of the file system to leave free; nothing is begun that would take them.
  package var freeByteFloor = 0
  /// Ask the mirrors of shards that are present for newer bytes.
  package var refresh = false
  package var fetch = FetchConfiguration()

  package init() {}
}

/// What a sync did.
package struct SyncSummary: Sendable {
  package var fetchedCount = 0
  package var fetchedByteCount = 0
  /// Shards that were in the lake already, or have not changed.
  package var unchangedCount = 0
  /// New revisions of shards that had another one.
  package var revisedNames: [String] = []
  /// Damaged shards that were mended by fetching only the chunks that differ.
  package var mendedCount = 0
  /// What could not be fetched, and why: a run with any of these fails (R17).
  package var failures: [(shard: String, error: TarnError)] = []
  /// Shards that were not tried because the budget has no room.
  package var withoutRoom: [String] = []
}

/// How far a sync is.
package enum SyncProgress: Sendable {
  case moved(doneCount: Int, totalCount: Int, byteCount: Int, totalByteCount: Int?)
  /// Bytes held of one shard, and those of the whole if they are known.
  case transferring(Shard, byteCount: Int, totalByteCount: Int?)
  /// A request to a mirror began.
  case started(Shard, mirrorID: Int64, attempt: Int)
  case fetched(Shard, byteCount: Int)
  case mended(Shard, MendedChunks)
  case retrying(Shard, error: String)
  case failed(Shard, TarnError)
}

/// What became of a full budget.
package enum Room: Sendable {
  /// Something was evicted: try again.
  case made
  /// None now, but something under way will give some back.
  case later
  /// None, and none will come.
  case never
}

/// Brings shards into the lake.
package final class SyncRun: Sendable {
  private let catalog: LakeCatalog
  private let options: SyncOptions
  private let cancellation: Cancellation
  private let fetcher: Fetcher
  private let report: @Sendable (SyncProgress) -> Void
  private let makeRoom: @Sendable () throws -> Room
  private let state = Mutex(State())

  private struct State {
    var queue = Queue<Shard>()
    /// Shards under way, by id.
    var active: [Int64: Shard] = [:]
    var activeByteCounts: [Int64: Int] = [:]
    var doneByteCount = 0
    var doneCount = 0
    var totalCount = 0
    var totalByteCount: Int? = 0
    /// Present shards whose files have the wrong length.
    var drifted: [Shard] = []
    /// Sizes that shards turned out to have, and how often one outgrew its room.
    var sizes: [Int64: Int] = [:]
    var outgrowths: [Int64: Int] = [:]
    /// Shards whose bytes were here, whole, when they were asked for.
    var wholeBefore: Set<Int64> = []
    var summary = SyncSummary()
    /// The first error of the catalog itself; it ends the run.
    var failure: (any Error)?

    /// Bytes that a shard takes, as far as anyone knows.
    func size(of shard: Shard) -> Int { sizes[shard.id] ?? shard.likelyByteCount ?? 0 }

    /// Gives up the first shard, for which there is no room, and what takes no less.
    ///
    /// Smaller ones may have it.
    mutating func leaveOut(from byteCount: Int) {
      let waiting = queue.elements
      queue = Queue()
      for shard in waiting {
        if size(of: shard) >= byteCount { summary.withoutRoom.append(shard.name) } else { queue.append(shard) }
      }
    }
  }

  /// Prepares a sync.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - options: What to sync.
  ///   - cancellation: Stops the run; what arrived is kept.
  ///   - makeRoom: Asked, on the fetcher's thread, when the budget is full.
  ///   - report: Told of progress, on the fetcher's thread.
  package init(
    _ catalog: LakeCatalog, _ options: SyncOptions, cancellation: Cancellation,
    makeRoom: @escaping @Sendable () throws -> Room = { .never },
    report: @escaping @Sendable (SyncProgress) -> Void
  ) {
    self.cancellation = cancellation
    self.catalog = catalog
    self.options = options
    self.report = report
    self.makeRoom = makeRoom
    fetcher = Fetcher(configuration: options.fetch)
  }

  /// Stops the run from any thread; what arrived is kept.
  package func cancel() { fetcher.cancel() }

  /// Looks for room again, from any thread.
  package func wake() { fetcher.wake() }

  /// Fetches what is missing.
  ///
  /// - Returns: What was done; failures of shards are in it and not thrown.
  /// - Throws: ``TarnError``; `.interrupted` when it was stopped.
  package func run() async throws -> SyncSummary {
    let registration = cancellation.whenCancelled { [fetcher] in fetcher.cancel() }
    defer { withExtendedLifetime(registration) {} }
    // Both read the disk, and mending asks mirrors: off the cooperative pool.
    try await ThreadedWork("tarn-plan") { [self] in
      try plan()
      try mendDrifted()
      try requireSizes()
    }.value()
    do {
      try await fetcher.run(
        pulling: { [self] in try nextRequest() },
        onEvent: { [self] event in
          do {
            try handle(event)
          } catch {
            state.withLock { if $0.failure == nil { $0.failure = error } }
            fetcher.cancel()
          }
        })
    } catch {
      // What stopped the run, not that it was stopped.
      throw state.withLock { $0.failure } ?? (error is CancellationError ? TarnError.interrupted : error)
    }
    if let failure = state.withLock({ $0.failure }) { throw failure }
    return state.withLock { $0.summary }
  }

  private func plan() throws {
    if let selection = options.selection {
      for name in Set(selection.map(\.sourceName)) { try Disk.makeDirectory("\(catalog.layout.shards)/\(name)") }
      selection.forEach(enqueue)
      return
    }
    let sources = try options.sources.isEmpty ? catalog.sources() : options.sources.map(catalog.source(named:))
    var missing: [Shard] = []
    for source in sources {
      try Disk.makeDirectory("\(catalog.layout.shards)/\(source.name)")
      for shard in try catalog.shards(of: source, ordinals: options.ordinals) {
        if catalog.holdsWhole(shard), !options.refresh {
          state.withLock { $0.summary.unchangedCount += 1 }
          continue
        }
        if shard.state == .present, !catalog.holdsWhole(shard) {
          state.withLock { $0.drifted.append(shard) }
        } else {
          missing.append(shard)
        }
      }
    }
    // Parts count against the budget: what was begun comes first, so that none is in the way.
    let begun = try Set(sources.flatMap { try catalog.interruptedTransfers(of: $0).map(\.shardID) })
    for shard in missing where begun.contains(shard.id) { enqueue(shard) }
    for shard in missing where !begun.contains(shard.id) { enqueue(shard) }
  }

  /// Mends shards that were cut or grew on the disk by their chunks; those that
  /// cannot be are fetched whole.
  private func mendDrifted() throws {
    let mender = ShardMender(catalog, configuration: options.fetch, cancellation: cancellation)
    for shard in state.withLock({ $0.drifted }) {
      do {
        guard let mended = try mender.mend(shard) else {
          enqueue(shard)
          continue
        }
        state.withLock { $0.summary.mendedCount += 1 }
        report(.mended(shard, mended))
      } catch let error as TarnError where error.isOfMirror {
        report(.retrying(shard, error: error.message))
        enqueue(shard)
      } catch let error as TarnError where error.isOfOneShard {
        fail(shard, error)
      }
    }
  }

  private func enqueue(_ shard: Shard) {
    state.withLock { state in
      state.queue.append(shard)
      state.totalCount += 1
      state.totalByteCount = state.totalByteCount.flatMap { sum in shard.likelyByteCount.map { sum.addingSaturated($0) }
      }
    }
  }

  // MARK: Requests

  /// Leaves out the shards whose sizes nobody knows, under a budget, or no file has.
  ///
  /// Invariant 6: a budget can be kept only of sizes that are known beforehand. What
  /// is left out holds up no other shard.
  private func requireSizes() throws {
    let (queue, isBudget) = (state.withLock { $0.queue.elements }, options.budget != nil)
    let unknown = queue.filter { isBudget && $0.likelyByteCount == nil }
    let impossible = queue.filter { $0.likelyByteCount.map { !ForeignNumber.byteCount.holds($0) } ?? false }
    guard !unknown.isEmpty || !impossible.isEmpty else { return }
    if let first = unknown.first, unknown.count == queue.count {
      throw TarnError(
        .usage, "the sizes of \(unknown.count) shards, \(first.name) first, are not known, so a budget cannot be kept",
        hint: "`tarn source probe \(first.sourceName)` asks their servers")
    }
    let left = Set((unknown + impossible).map(\.id))
    state.withLock { state in
      state.queue = Queue()
      for shard in queue where !left.contains(shard.id) { state.queue.append(shard) }
    }
    for shard in unknown {
      fail(
        shard,
        TarnError(
          .usage, "its size is not known, so a budget cannot be kept",
          hint: "`tarn source probe \(shard.sourceName)` asks the servers"))
    }
    for shard in impossible {
      fail(
        shard,
        TarnError(
          .usage, "the size that was registered, \(shard.likelyByteCount ?? 0) bytes, is more than a file can have",
          hint: "register the source again with a list of its sizes"))
    }
  }

  /// Gives a shard up that was not asked for; the others go on.
  private func fail(_ shard: Shard, _ error: TarnError) {
    state.withLock { $0.summary.failures.append((shard.name, error)) }
    report(.failed(shard, error))
  }

  private func nextRequest() throws -> FetchSupply {
    while true {
      let (next, isOver) = state.withLock { state in
        (state.queue.first, state.failure != nil || state.queue.isEmpty && state.active.isEmpty)
      }
      // A shard under way may come back, if it outgrows its room.
      guard let shard = next, !isOver else { return isOver ? .finished : .notYet }
      let byteCount = state.withLock { $0.size(of: shard) }
      let room: Room
      do {
        room = try reserve(shard, byteCount)
      } catch let error as TarnError where error.code == .conflict {
        // What another command makes of this shard says nothing of the next.
        _ = state.withLock { $0.queue.popFirst() }
        fail(shard, error)
        continue
      }
      switch room {
      case .made:
        state.withLock { state in
          _ = state.queue.popFirst()
          state.active[shard.id] = shard
        }
        return .request(try request(shard, reserving: byteCount))
      case .later: return .notYet
      case .never:
        // Room comes back when a transfer fails; when none is under way it will not.
        let isWaiting = state.withLock { state in
          guard state.active.isEmpty else { return true }
          state.leaveOut(from: byteCount)
          return false
        }
        if isWaiting { return .notYet }
      }
    }
  }

  /// Reserves room for a shard, evicting what may go.
  ///
  /// - Returns: `.made` if the room is the shard's.
  private func reserve(_ shard: Shard, _ byteCount: Int) throws -> Room {
    while try !hasDiskSpace(shard, byteCount) || !catalog.reserve(shard, byteCount: byteCount, budget: options.budget) {
      let room = try makeRoom()
      guard case .made = room else { return room }
    }
    return .made
  }

  /// Whether the file system keeps its floor when this and all that is under
  /// way has arrived.
  private func hasDiskSpace(_ shard: Shard, _ byteCount: Int) throws -> Bool {
    let active = state.withLock { state in
      state.active.values.map { ($0, state.size(of: $0)) }
    }
    // D6: what a part file has reserved is not free, whether its bytes came or not.
    let outstanding = (active + [(shard, byteCount)]).lazy.map { shard, size in
      let part = self.catalog.layout.partPath(source: shard.sourceName, shard: shard.name)
      return max(0, size - Disk.allocatedByteCount(of: part))
    }.saturatedSum
    return try Disk.freeByteCount(at: catalog.layout.shards) - outstanding >= options.freeByteFloor
  }

  /// Whether the room for a shard must not be exceeded.
  private var isBounded: Bool { options.budget != nil || options.freeByteFloor > 0 }

  private func request(_ shard: Shard, reserving byteCount: Int) throws -> FetchRequest {
    let source = try catalog.source(id: shard.sourceID)
    let layout = catalog.layout
    let isWhole = catalog.holdsWhole(shard)
    if isWhole { _ = state.withLock { $0.wholeBefore.insert(shard.id) } }
    let condition = isWhole ? shard.revision?.validator : nil
    // R12: who was seen without it lately is asked last, who serves something
    // else before that.
    let locations = try catalog.locations(of: shard.id)
    let ordered =
      locations.filter { !$0.isAskedLast } + locations.filter { $0.isAskedLast && $0.state == .faulty }
      + locations.filter { $0.isAskedLast && $0.state == .absent }
    var expectation = ShardExpectation(
      byteCount: shard.expectedByteCount, digest: shard.expectedDigest, dimension: source.dimension,
      elementType: source.elementType, format: FeatureFormat(ofFile: shard.name))
    expectation.roomByteCount = isBounded || byteCount > 0 ? byteCount : nil
    return FetchRequest(
      id: shard.id, mirrors: ordered.map(FetchMirror.init),
      partPath: layout.partPath(source: source.name, shard: shard.name),
      expectation: expectation, condition: condition,
      finalPath: { digest in
        layout.shards + "/" + LakeLayout.shardPath(source: source.name, shard: shard.name, digest: digest)
      })
  }

  // MARK: Events

  private func handle(_ event: FetchEvent) throws {
    switch event {
    case .started(let id, let mirrorID, let attempt):
      if let shard = state.withLock({ $0.active[id] }) {
        report(.started(shard, mirrorID: mirrorID, attempt: attempt))
      }
    case .progress(let id, let byteCount, let total):
      let shard = state.withLock { state in
        state.activeByteCounts[id] = byteCount
        return state.active[id]
      }
      if let shard { report(.transferring(shard, byteCount: byteCount, totalByteCount: total)) }
      tell()
    case .attemptEnded(let attempt): try record(attempt)
    case .finished(let id, let result): try settle(id, result)
    }
  }

  private func record(_ attempt: TransferAttempt) throws {
    try catalog.recordTransfer(
      TransferRecord(
        shardID: attempt.requestID, mirrorID: attempt.mirrorID, url: attempt.url,
        startedAt: Timestamp.text(attempt.startedAt), endedAt: Timestamp.text(attempt.endedAt),
        resumedFrom: attempt.offset, receivedByteCount: attempt.receivedByteCount, httpStatus: attempt.httpStatus,
        outcome: attempt.outcome.recorded, error: attempt.errorText, seen: attempt.outcome.seen,
        seenByteCount: attempt.learntByteCount))
    if attempt.outcome == .temporary, let text = attempt.errorText,
      let shard = state.withLock({ $0.active[attempt.requestID] })
    {
      report(.retrying(shard, error: text))
    }
  }

  private func settle(_ id: Int64, _ result: Result<FetchResult, TarnError>) throws {
    guard let shard = state.withLock({ $0.active[id] }) else { return }
    switch result {
    case .success(.fetched(let fetched)): try adopt(fetched, shard)
    case .success(.outgrown(let byteCount)):
      if try queueAgain(shard, byteCount: byteCount) { return }
    case .success(.unchanged):
      try catalog.endFetch(shardID: id, as: nil, error: nil)
      state.withLock { $0.summary.unchangedCount += 1 }
    case .failure(let error) where error.code == .interrupted:
      try catalog.endFetch(shardID: id, as: nil, error: nil)
    case .failure(let error):
      try catalog.endFetch(shardID: id, as: error.code == .absent ? .absent : .failed, error: error.message)
      state.withLock { $0.summary.failures.append((shard.name, error)) }
      report(.failed(shard, error))
    }
    state.withLock { state in
      state.active[id] = nil
      state.doneByteCount += state.activeByteCounts.removeValue(forKey: id) ?? 0
      state.doneCount += 1
    }
    tell()
  }

  /// Puts a shard back that is larger than anybody said, to reserve what it needs.
  ///
  /// - Returns: Whether it is; a shard that grows again and again fails.
  private func queueAgain(_ shard: Shard, byteCount: Int) throws -> Bool {
    let outgrowths = state.withLock { state in
      state.outgrowths[shard.id, default: 0] += 1
      return state.outgrowths[shard.id, default: 0]
    }
    guard outgrowths <= 3 else {
      let error = TarnError(.integrity, "the shard has another size each time it is asked for")
      try catalog.endFetch(shardID: shard.id, as: .failed, error: error.message)
      state.withLock { $0.summary.failures.append((shard.name, error)) }
      report(.failed(shard, error))
      return false
    }
    try catalog.endFetch(shardID: shard.id, as: nil, error: nil)
    state.withLock { state in
      state.active[shard.id] = nil
      state.activeByteCounts[shard.id] = nil
      state.sizes[shard.id] = byteCount
      state.queue.prepend(shard)
    }
    return true
  }

  private func adopt(_ fetched: FetchedShard, _ shard: Shard) throws {
    let path = String(fetched.path.dropFirst(catalog.layout.shards.count + 1))
    let number = try catalog.recordFetched(
      FetchedBytes(
        digest: fetched.digest, byteCount: fetched.byteCount, rowCount: fetched.rowCount, path: path,
        mirrorID: fetched.mirrorID, etag: fetched.validator.etag, lastModified: fetched.validator.lastModified,
        states: fetched.states),
      of: shard)
    state.withLock { state in
      if let revision = shard.revision, revision.digest == fetched.digest, state.wholeBefore.contains(shard.id) {
        state.summary.unchangedCount += 1
      } else {
        state.summary.fetchedCount += 1
        state.summary.fetchedByteCount += fetched.byteCount
        if let revision = shard.revision, revision.number != number { state.summary.revisedNames.append(shard.name) }
      }
    }
    report(.fetched(shard, byteCount: fetched.byteCount))
  }

  private func tell() {
    let (done, total, bytes, totalBytes) = state.withLock { state in
      (
        state.doneCount, state.totalCount, state.doneByteCount + state.activeByteCounts.values.reduce(0, +),
        state.totalByteCount
      )
    }
    report(.moved(doneCount: done, totalCount: total, byteCount: bytes, totalByteCount: totalBytes))
  }
}
