// What all runs share that work on shards while missing ones are still being fetched:
// the shards in order, the sync that fetches them, and where room comes from. Within a
// budget, shards that were worked on are evicted to make room for the next.

internal import Base
internal import Catalog
internal import Fetch
internal import Synchronization

/// The shards that a run works on, one after another.
struct ShardStream: Sendable {
  /// Shards to work on, ready or to be fetched.
  let handoff: ShardHandoff
  /// Their ids, in order.
  let shardIDs: [Int64]
  /// Those of them that are not in the lake, in their order.
  let toFetch: [Shard]
  /// Shards in the lake that the run needs no more, so that they may be evicted.
  let spent: [Shard]
  /// Digests that some shards must have, by the shard's id, where the run works on
  /// no other bytes.
  let digests: [Int64: ContentDigest]
  /// Digests of the bytes that the run works on, by the shard's id.
  private let bound: [Int64: ContentDigest]

  /// Describes the work.
  ///
  /// - Parameters:
  ///   - wanted: The shards, in the order of the plan.
  ///   - ready: Those whose bytes are in the lake, where the run works on others than
  ///     a shard's newest; nil for those that have any.
  ///   - spent: Shards in the lake that the run needs no more.
  ///   - digests: What the bytes of some shards must be.
  ///   - bound: What the bytes of some shards are that the run works on; nil for what they
  ///     must be.
  init(
    _ wanted: [Shard], ready: Set<Int64>? = nil, spent: [Shard] = [], digests: [Int64: ContentDigest] = [:],
    bound: [Int64: ContentDigest]? = nil
  ) {
    // Sources may read the same files: each is handed over once.
    var seen: Set<Int64> = []
    let wanted = wanted.filter { seen.insert($0.id).inserted }
    let spent = spent.filter { seen.insert($0.id).inserted }
    let ready = ready ?? Set(wanted.filter { $0.path != nil }.map(\.id))
    toFetch = wanted.filter { !ready.contains($0.id) }
    shardIDs = wanted.map(\.id)
    handoff = ShardHandoff(shardIDs: shardIDs, ready: ready)
    self.spent = spent
    self.digests = digests
    self.bound = bound ?? digests
  }

  /// Whether a shard that was worked on may be evicted: only while its newest bytes are those that the run worked on.
  ///
  /// Newer bytes, which came meanwhile, were not used by this run, and may be the last copy.
  func mayGo(_ shard: Shard) -> Bool {
    shard.state == .present && (bound[shard.id].map { $0 == shard.revision?.digest } ?? true)
  }

  /// Works on a thread of its own while shards are fetched.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - fetch: How to fetch; which shards is the stream's to say. Nil to fetch
  ///     nothing: then every shard must be in the lake.
  ///   - thread: The thread's name.
  ///   - cancellation: Stops fetching; what arrived is kept.
  ///   - follow: Told what the fetcher does, on its thread.
  ///   - work: Takes shards from the handoff until there are none; calls what it
  ///     is handed when it has released one.
  /// - Returns: What `work` gave.
  /// - Throws: What `work` throws; what ended the fetching reaches it through the
  ///   handoff.
  func run<Value: Sendable>(
    _ catalog: LakeCatalog, fetching fetch: SyncOptions?, thread: String, cancellation: Cancellation,
    follow: @escaping @Sendable (SyncProgress) -> Void,
    _ work: @escaping @Sendable (_ onRelease: @escaping @Sendable () -> Void) throws -> Value
  ) async throws -> Value {
    guard let fetch, !toFetch.isEmpty else {
      precondition(toFetch.isEmpty, "nobody fetches the shards that are missing")
      return try await ThreadedWork(thread) { try work {} }.value()
    }
    let supply = ShardSupply(catalog, self, fetch, cancellation: cancellation, report: follow)
    async let fetching: Void = supply.run()
    // When the work ends, or gets no thread, nothing more needs to be fetched.
    let threaded = ThreadedWork(thread, ending: supply.cancel) { try work(supply.wake) }
    await fetching
    return try await threaded.value()
  }
}

/// Shards that a run may evict to make room, each given once.
///
/// A shard that turned out to be gone, or that must stay, is not given again, so that looking for room often stays cheap.
private struct RoomQueue {
  private var spent: ArraySlice<Int64>
  private var releasedCount = 0

  init(spent: [Int64]) { self.spent = spent[...] }

  /// The next shard; nil if there is none now, which is for good where no shard is being worked on.
  ///
  /// - Parameter released: Ids of the shards that were worked on so far; only ever appended to.
  /// - Returns: The shard's id.
  mutating func next(_ released: [Int64]) -> Int64? {
    if let id = spent.popFirst() { return id }
    guard releasedCount < released.count else { return nil }
    defer { releasedCount += 1 }
    return released[releasedCount]
  }
}

/// Fetches the shards that a run still needs, while it is working.
private final class ShardSupply: Sendable {
  private let handoff: ShardHandoff
  private let sync: SyncRun

  /// Prepares to fetch what a stream lacks.
  init(
    _ catalog: LakeCatalog, _ stream: ShardStream, _ options: SyncOptions, cancellation: Cancellation,
    report: @escaping @Sendable (SyncProgress) -> Void
  ) {
    var options = options
    options.selection = stream.toFetch
    options.digests = stream.digests
    let (handoff, isBudget) = (stream.handoff, options.budget != nil)
    self.handoff = handoff
    let queue = Mutex(RoomQueue(spent: stream.spent.map(\.id)))
    sync = SyncRun(
      catalog, options, cancellation: cancellation,
      makeRoom: {
        // Without a budget nothing is evicted.
        guard isBudget else { return .never }
        while true {
          let (id, isBusy) = queue.withLock { queue -> (Int64?, Bool) in
            let standing = handoff.standing
            return (queue.next(standing.released), standing.isBusy)
          }
          guard let id else { return isBusy ? .later : .never }
          let shard = try catalog.shard(id: id)
          guard stream.mayGo(shard) else { continue }
          if try catalog.evictIfHadAgain(shard) { return .made }
        }
      },
      report: { event in
        switch event {
        case .mended(let shard, _), .fetched(let shard, _): handoff.markReady(shard.id)
        case .failed(let shard, let error): handoff.markLost(shard.id, error)
        case .moved, .started, .transferring, .retrying, .waiting, .revised, .withdrawn, .passedOver: break
        }
        report(event)
      })
  }

  /// Fetches until everything was handed over; failures go to the handoff.
  func run() async {
    do {
      let summary = try await sync.run()
      if let noRoom = summary.noRoom { throw noRoom }
    } catch {
      handoff.fail(error)
    }
  }

  /// Stops fetching; what arrived is kept.
  func cancel() { sync.cancel() }

  /// Looks for room again.
  func wake() { sync.wake() }
}

extension LakeCatalog {
  /// Evicts a shard to make room, unless something rests on its bytes and no place is known to
  /// serve them again: only `tarn evict` removes such bytes, and says so.
  ///
  /// - Parameter shard: A shard that is present.
  /// - Returns: Whether it went.
  /// - Throws: ``TarnError``.
  fileprivate func evictIfHadAgain(_ shard: Shard) throws -> Bool {
    guard try dependentsAfterLook(onLastCopyOf: shard).isEmpty else { return false }
    try evict(shard)
    return true
  }

  /// Asks the mirrors of shards that are not here yet how many rows they have: ids
  /// and samples depend on it.
  ///
  /// - Parameters:
  ///   - source: The source.
  ///   - isNeeded: Whether the rows of the shard at a place matter.
  ///   - configuration: How to ask.
  ///   - waits: How hosts that fail for now are waited for.
  ///   - cancellation: Stops asking; what was heard is kept.
  /// - Throws: ``TarnError`` `.interrupted`; what nobody answers is the plan's to say.
  func learnRows(
    of source: Source, where isNeeded: (Int) -> Bool, _ configuration: FetchConfiguration, waits: WaitOptions,
    _ cancellation: Cancellation
  ) async throws {
    let files = try fileSource(of: source)
    let unknown = try shards(of: source).filter { $0.knownRowCount == nil && isNeeded($0.ordinal) }.map(\.ordinal)
    guard !unknown.isEmpty else { return }
    _ = try await ProbeRun(
      self, files, ordinals: OrdinalSet(ascending: unknown), concurrency: 32, configuration: configuration,
      waits: waits, cancellation: cancellation, report: { _, _ in }
    ).run()
  }
}
