// `sync`: hands shards of the catalog to the fetcher, and records what the fetcher
// reports. Invariants 1, 5, 6 and 8.
//
// A shard's row says `fetching`, with its room reserved, before the fetcher is
// asked; it says `present` after the fetcher has the bytes durable under their
// final name. A run that dies between the two leaves a reservation, which the
// next writer returns, and a part file, which the next fetch resumes.

package import Base
package import Catalog
internal import Features
internal import Fetch
internal import Foundation
internal import Synchronization

/// Brings shards into the lake.
package final class SyncRun: Sendable {
  let catalog: LakeCatalog
  let options: SyncOptions
  private let cancellation: Cancellation
  private let fetcher: Fetcher
  private let report: @Sendable (SyncProgress) -> Void
  let makeRoom: @Sendable () throws -> Room
  let state: Mutex<SyncState>

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
    self.report = { event in
      if case .waiting(let wait) = event { catalog.tell(wait) }
      report(event)
    }
    self.makeRoom = makeRoom
    var fetch = options.fetch
    fetch.leaveWaits(to: options.patience)
    fetcher = Fetcher(configuration: fetch)
    state = Mutex(SyncState(retries: RetryQueue(limit: options.patience)))
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
    defer {
      withExtendedLifetime(registration) {}
      catalog.tellNoWaits()
    }
    // These read the disk, and mending asks mirrors, so not on the cooperative pool.
    try await ThreadedWork("tarn-plan") { [self] in
      try plan()
      try requireLeave()
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
      // The failure that stopped the run, rather than that it was stopped.
      throw state.withLock { $0.failure } ?? (error is CancellationError ? TarnError.interrupted : error)
    }
    if let failure = state.withLock({ $0.failure }) { throw failure }
    // Errors of shards that were never asked for, too. On a full disk they cannot be recorded; they were printed.
    try? catalog.noteErrors(state.withLock { $0.errors })
    var summary = state.withLock { $0.summary }
    summary.noRoom = try noRoom()
    return summary
  }

  private func plan() throws {
    if let selection = options.selection {
      for name in Set(selection.map(\.sourceName)) { try requireDirectory(of: name) }
      var seen: Set<Int64> = []
      for shard in selection where seen.insert(shard.id).inserted { enqueue(shard) }
      return
    }
    let sources = try catalog.fileSources(options.sources)
    var missing: [Shard] = []
    for source in sources {
      var isWhole = true
      for shard in try catalog.shardsInUse(of: source, ordinals: options.ordinals) {
        if catalog.holdsWhole(shard), !options.refresh {
          state.withLock { $0.summary.unchangedCount += 1 }
          continue
        }
        isWhole = false
        if shard.state == .present, !catalog.holdsWhole(shard) {
          state.withLock { $0.drifted.append(shard) }
        } else {
          missing.append(shard)
        }
      }
      if !isWhole { try requireDirectory(of: source.name) }
    }
    // Part files count against the budget: transfers that were begun come first, so that none of them blocks others.
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

  /// S8: refuses a sync all of whose shards are written by commands, where commands may not be run: one error, not
  /// one for each shard.
  private func requireLeave() throws {
    guard options.fetch.commands == nil else { return }
    let (queue, drifted) = state.withLock { ($0.queue.elements, $0.drifted) }
    guard let first = queue.first, drifted.isEmpty else { return }
    var shown: String?
    for shard in queue {
      let urls = try catalog.locations(of: shard.id).map(\.url)
      guard let url = urls.first, urls.allSatisfy(CommandAddress.isOne) else { return }
      if shown == nil { shown = try CommandAddress(url).shown }
    }
    guard let shown else { return }
    throw TarnError(
      .usage,
      "\(queue.count == 1 ? first.name : "\(queue.count) shards, \(first.name) first,") would be made by running "
        + "'\(shown)', and commands are not run unless you allow it",
      hint: "if you know what it does, say --allow-commands")
  }

  /// Gives a shard up; the others go on, and the summary names it (R17).
  func fail(_ shard: Shard, _ error: TarnError) {
    if let event = passed(shard, error) { return report(event) }
    let error = explained(error, of: shard)
    state.withLock { state in
      state.summary.failures.append((shard.name, error))
      state.errors[shard.id] = error.message
    }
    report(.failed(shard, error))
  }

  private func nextRequest() throws -> FetchSupply {
    var (skipsQueue, skipsWaiting) = (false, false)
    while true {
      let now = options.clock()
      let turn: SyncState.Turn
      switch state.withLock({ $0.nextTurn(skippingQueue: skipsQueue, waiting: skipsWaiting, at: now) }) {
      case .finished: return .finished
      case .notYet: return .notYet
      case .turn(let next): turn = next
      }
      let shard = turn.shard
      let places = try places(of: shard, only: turn.hosts)
      if !turn.isWaiting, putAside(shard, Set(places.hosts.values), at: now) { continue }
      learnSize(shard, places.locations)
      let byteCount = state.withLock { $0.size(of: shard) }
      let room: Room
      do {
        room = try reserve(shard, byteCount)
      } catch let error as TarnError where error.code == .conflict {
        // Another command is at this shard; the next one may be free.
        state.withLock { $0.take(turn) }
        fail(shard, error)
        continue
      }
      switch room {
      case .made: return .request(try begin(turn, at: places, reserving: byteCount))
      case .never: if leaveOut(turn, byteCount, at: now) { continue }
      case .later: break
      }
      if turn.isWaiting { skipsWaiting = true } else { skipsQueue = true }
    }
  }

  /// Moves a shard from where it waited to those under way.
  private func begin(_ turn: SyncState.Turn, at places: Places, reserving byteCount: Int) throws -> FetchRequest {
    let shard = turn.shard
    let held = Disk.size(of: catalog.layout.partPath(source: shard.sourceName, shard: shard.name)) ?? 0
    state.withLock { state in
      state.take(turn)
      state.active[shard.id] = shard
      state.activeByteCounts[shard.id] = held
      state.retries.begin(shard.id, places.hosts)
    }
    return try request(shard, at: places, reserving: byteCount)
  }

  /// Gives up a shard for which there is no room, unless some may come back: from a transfer that fails, or from a
  /// shard that waits, once it has come and is used up.
  ///
  /// - Returns: Whether it was given up.
  private func leaveOut(_ turn: SyncState.Turn, _ byteCount: Int, at now: ContinuousClock.Instant) -> Bool {
    state.withLock { state in
      guard state.active.isEmpty, !state.retries.hasOthers(than: turn, at: now) else { return false }
      if turn.isWaiting {
        state.take(turn)
        state.leaveOut(turn.shard)
      } else {
        state.leaveOut(from: byteCount)
      }
      return true
    }
  }

  /// Takes a shard out of the queue if none of its hosts may be asked now: to wait for them, or, once patience with all
  /// of them is exhausted, to be given up.
  ///
  /// - Returns: Whether it was taken out.
  private func putAside(_ shard: Shard, _ hosts: Set<String>, at now: ContinuousClock.Instant) -> Bool {
    let standing = state.withLock { $0.retries.standing(of: hosts, at: now) }
    switch standing {
    case .well, .askable: return false
    case .pausing:
      state.withLock { state in
        _ = state.queue.popFirst()
        state.retries.park(shard, hosts)
      }
    case .exhausted:
      let error = state.withLock { state in
        _ = state.queue.popFirst()
        return state.retries.error(ofUnasked: shard, at: hosts)
      }
      fail(shard, error)
    }
    return true
  }

  /// Where a shard is, and the hosts of its mirrors.
  private struct Places {
    var locations: [ShardLocation]
    /// By mirror, without mirrors that cannot be asked; empty without patience, as only waiting needs hosts.
    var hosts: [Int64: String] = [:]
  }

  /// Where a shard is to be asked for: at all its mirrors, or only at those of some hosts.
  private func places(of shard: Shard, only: Set<String>?) throws -> Places {
    var places = Places(locations: try catalog.locations(of: shard.id))
    guard options.patience > .zero else { return places }
    for location in places.locations {
      places.hosts[location.mirrorID] = options.fetch.origin(of: FetchMirror(location))
    }
    guard let only else { return places }
    places.hosts = places.hosts.filter { only.contains($0.value) }
    places.locations = places.locations.filter { places.hosts[$0.mirrorID] != nil }
    return places
  }

  private func request(_ shard: Shard, at places: Places, reserving byteCount: Int) throws -> FetchRequest {
    let readers = try catalog.readers(of: catalog.source(id: shard.sourceID))
    let (source, layout) = (readers[0], catalog.layout)
    let isWhole = catalog.holdsWhole(shard)
    if isWhole { _ = state.withLock { $0.wholeBefore.insert(shard.id) } }
    // "Not modified" is no answer where other bytes than those here are wanted.
    let isWanted = options.digests[shard.id].map { $0 == shard.revision?.digest } ?? true
    let condition = isWhole && isWanted && !options.doubtsBytes ? shard.revision?.validator : nil
    // R12: mirrors that were seen to lack the shard are asked last, and just before those the ones that serve other bytes.
    // R23: among the rest, mirrors whose host is in trouble are asked after the others.
    let now = options.clock()
    let isTroubled = state.withLock { state in
      state.know(places.locations)
      return places.hosts.mapValues { state.retries.isTroubled($0, at: now) }
    }
    let (first, last) = (places.locations.filter { !$0.isAskedLast }, places.locations.filter(\.isAskedLast))
    let ordered =
      first.filter { !(isTroubled[$0.mirrorID] ?? false) } + first.filter { isTroubled[$0.mirrorID] ?? false }
      + last.filter { $0.state == .faulty } + last.filter { $0.state == .absent }
    var expectation = ShardExpectation(
      byteCount: shard.expectedByteCount, digest: options.digests[shard.id] ?? shard.expectedDigest, readBy: readers,
      format: FeatureFormat(ofFile: shard.name))
    expectation.roomByteCount = byteCount
    if source.isCompanion { expectation.format = nil }
    var request = FetchRequest(
      id: shard.id, mirrors: ordered.map { FetchMirror($0, keeping: source.keptQuery) },
      partPath: layout.partPath(source: source.name, shard: shard.name),
      expectation: expectation, condition: condition,
      finalPath: { digest in
        layout.path(LakeLayout.shardPath(source: source.name, shard: shard.name, digest: digest), in: .shards)
      })
    if source.isCompanion { request.examination = .ofCompanion(shard.name) }
    request.takesRoom = { [self] in takesRoom(shard, $0) }
    request.lackOfRoom = { [self] in lackOfRoom(shard) }
    request.remedy = { [self] in remedy(for: $0, of: shard, source, at: ordered.map(\.url)) }
    request.onOtherKind = { [self] in state.withLock { _ = $0.ofOtherKind.insert(shard.id) } }
    request.wayToArray = { [catalog] in catalog.wayToArray(of: source) }
    return request
  }

  // MARK: Events

  private func handle(_ event: FetchEvent) throws {
    switch event {
    case .started(let id, let mirrorID, let attempt):
      let (shard, mirror) = state.withLock { state in
        state.retries.asks(id, mirrorID: mirrorID)
        return (state.active[id], state.number(ofMirror: mirrorID))
      }
      if let shard { report(.started(shard, mirror: mirror, attempt: attempt)) }
    case .progress(let id, let byteCount, let total):
      let shard = state.withLock { state in
        state.hold(byteCount, of: id)
        if state.retries.holds(id, byteCount: byteCount) { state.release(at: options.clock()) }
        return state.active[id]
      }
      if let shard { report(.transferring(shard, byteCount: byteCount, totalByteCount: total)) }
      tell()
    case .attemptEnded(let attempt): try record(attempt)
    case .finished(let id, let result): try settle(id, result)
    }
  }

  private func record(_ attempt: TransferAttempt) throws {
    var record = TransferRecord(
      shardID: attempt.requestID, mirrorID: attempt.mirrorID, url: attempt.url,
      startedAt: Timestamp.text(attempt.startedAt), endedAt: Timestamp.text(attempt.endedAt),
      resumedFrom: attempt.offset, receivedByteCount: attempt.receivedByteCount, httpStatus: attempt.httpStatus,
      outcome: attempt.outcome.recorded, error: attempt.errorText, seen: attempt.outcome.seen,
      seenByteCount: attempt.learntByteCount)
    record.command = attempt.command.map(CommandRunRecord.init)
    try catalog.recordTransfer(record)
    state.withLock { $0.learn(attempt) }
    if attempt.mayPass {
      state.withLock {
        $0.retries.failed(attempt.requestID, mirrorID: attempt.mirrorID, askingFor: attempt.retryAfter)
      }
    }
    if attempt.outcome == .temporary, let text = attempt.errorText,
      let shard = state.withLock({ $0.active[attempt.requestID] })
    {
      report(.retrying(shard, error: text))
    }
  }

  private func settle(_ id: Int64, _ result: Result<FetchResult, TarnError>) throws {
    guard let shard = state.withLock({ $0.active[id] }) else { return }
    switch result {
    case .success(.fetched(let fetched)):
      guard try takeIn(fetched, shard) else { return }
    case .success(.outgrown(let byteCount)):
      if try queueAgain(shard, byteCount: byteCount) { return }
    case .success(.unchanged):
      try catalog.endFetch(shardID: id, as: nil, error: nil)
      state.withLock { $0.wasHere() }
    case .failure(let error) where error.code == .interrupted:
      try catalog.endFetch(shardID: id, as: nil, error: nil)
    case .failure(let error):
      try catalog.endFetch(shardID: id, as: error.code == .absent ? .absent : .failed, error: error.message)
      if waits(shard, error) { return }
    }
    state.withLock { state in
      if state.retries.end(id, deliveredBy: result.deliverer) { state.release(at: options.clock()) }
      state.active[id] = nil
      state.doneByteCount += state.activeByteCounts.removeValue(forKey: id) ?? 0
    }
    tell()
  }

  /// Lets a shard that failed wait, or gives it up, and with it the shards that waited for the
  /// same hosts in vain.
  ///
  /// - Returns: Whether it waits.
  private func waits(_ shard: Shard, _ error: TarnError) -> Bool {
    let now = options.clock()
    let isOfOtherKind = error.code == .integrity && state.withLock { $0.isOfOtherKind(shard.id) }
    let (outcome, over) = state.withLock { state in
      let outcome = state.retries.end(shard, failing: error, isOfOtherKind: isOfOtherKind, at: now)
      let over = state.retries.takeExhausted(at: now)
      return (
        outcome,
        over.map { ($0.shard, $0.error?.outOfPatience ?? state.retries.error(ofUnasked: $0.shard, at: $0.hosts)) }
      )
    }
    switch outcome {
    case .over:
      fail(shard, error)
      if isOfOtherKind { leaveUnasked(besides: shard) }
    case .outOfPatience: fail(shard, error.outOfPatience)
    case .waits, .waitsForLastRound:
      state.withLock { state in
        state.active[shard.id] = nil
        state.activeByteCounts[shard.id] = nil
      }
      // Temporary failures were reported attempt by attempt.
      if error.code != .temporary, !isWithdrawn(shard, error) { report(.retrying(shard, error: error.message)) }
    }
    for (shard, error) in over { fail(shard, error) }
    guard case .waits(let hosts) = outcome else { return outcome == .waitsForLastRound }
    for host in hosts {
      let (pause, count) = state.withLock { ($0.retries.pause(of: host, at: now), $0.retries.count) }
      guard let pause else { continue }
      let today = Date()
      report(
        .waiting(
          HostWait(
            host: host, until: today + pause.wait.seconds, patienceUntil: today + pause.left.seconds, shardCount: count)
        ))
    }
    return true
  }

  /// Puts a shard back into the queue that is larger than was reserved for it, to reserve what it needs.
  ///
  /// - Returns: False where it fails instead, as it has grown too often.
  private func queueAgain(_ shard: Shard, byteCount: Int) throws -> Bool {
    let outgrowths = state.withLock { state in
      state.outgrowths[shard.id, default: 0] += 1
      return state.outgrowths[shard.id, default: 0]
    }
    guard outgrowths <= 3 else {
      let error = TarnError(.integrity, "the shard has another size, or goes, each time it is asked for")
      try catalog.endFetch(shardID: shard.id, as: .failed, error: error.message)
      fail(shard, error)
      return false
    }
    try catalog.endFetch(shardID: shard.id, as: nil, error: nil)
    state.withLock { state in
      _ = state.retries.end(shard.id)
      state.active[shard.id] = nil
      state.activeByteCounts[shard.id] = nil
      state.sizes[shard.id] = byteCount
      state.queue.prepend(shard)
    }
    return true
  }

  /// Records a shard that was fetched.
  ///
  /// - Returns: False where it is to be fetched again: another command removed the file meanwhile.
  private func takeIn(_ fetched: FetchedShard, _ shard: Shard) throws -> Bool {
    let bytes = FetchedBytes(
      digest: fetched.digest, byteCount: fetched.byteCount, rowCount: fetched.rowCount,
      path: String(fetched.path.dropFirst(catalog.layout.shards.count + 1)), mirrorID: fetched.mirrorID,
      etag: fetched.validator.etag, lastModified: fetched.validator.lastModified, states: fetched.states)
    let number: Int
    var isGone = false
    do {
      number = try catalog.keepingNoOrphan(fetched.path, in: .shards) { () throws -> Int in
        // Looked at before a refusal removes the file.
        defer { isGone = Disk.size(of: fetched.path) == nil }
        return try catalog.recordFetched(bytes, of: shard, replacing: options.replacement)
      }
    } catch let error as TarnError where error.code == .conflict {
      if isGone { return try !queueAgain(shard, byteCount: fetched.byteCount) }
      if let known = shard.revision, known.digest != fetched.digest {
        try catalog.recordRefused(fetched.digest, of: shard.id, from: fetched.mirrorID)
      }
      try catalog.endFetch(shardID: shard.id, as: nil, error: error.message)
      fail(shard, error)
      return true
    }
    state.withLock { state in
      let isKnown = shard.revision?.digest == fetched.digest && state.wholeBefore.contains(shard.id)
      if isKnown { state.wasHere() } else { state.came(byteCount: fetched.byteCount) }
    }
    if let revision = shard.revision, revision.number != number {
      report(
        .revised(
          RevisedShard(
            source: shard.sourceName, shard: shard.name,
            dependents: try catalog.dependents(of: shard).filter { $0 != options.consumer })))
    }
    report(.fetched(shard, byteCount: fetched.byteCount))
    return true
  }

  private func tell() {
    let moved = state.withLock { state in
      SyncProgress.moved(
        doneCount: state.doneCount, totalCount: state.totalCount,
        byteCount: state.doneByteCount + state.activeByteCounts.values.reduce(0, +),
        receivedByteCount: state.receivedByteCount, totalByteCount: state.totalByteCount,
        failedCount: state.summary.failures.count)
    }
    report(moved)
  }
}
