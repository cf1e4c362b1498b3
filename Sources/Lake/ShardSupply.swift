// What every run shares that works on shards while those that are not in the
// lake are fetched: the shards to work on, who fetches them, and where room comes
// from. Within a budget the disk never holds more; what was worked on goes first.

internal import Base
internal import Catalog
internal import Fetch
internal import Synchronization

/// The shards that a run works on, one after another.
struct ShardStream: Sendable {
  /// Shards to work on, ready or to be fetched.
  let handoff: ShardHandoff
  /// Their numbers, in order.
  let shardIDs: [Int64]
  /// Those of them that are not in the lake, in their order.
  let toFetch: [Shard]
  /// Shards in the lake that the run needs no more: their room may be had.
  let spent: [Shard]
  /// What the bytes of some shards must be, by the shard's number, where the run
  /// works on no others.
  let digests: [Int64: ContentDigest]

  /// Describes the work.
  ///
  /// - Parameters:
  ///   - wanted: The shards, in the order of the plan.
  ///   - ready: Those whose bytes are in the lake, where the run works on others than
  ///     a shard's newest; nil for those that have any.
  ///   - spent: Shards in the lake that the run needs no more.
  ///   - digests: What the bytes of some shards must be.
  init(_ wanted: [Shard], ready: Set<Int64>? = nil, spent: [Shard] = [], digests: [Int64: ContentDigest] = [:]) {
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
    let threaded = ThreadedWork(thread) {
      // Work that ends leaves nothing to fetch for.
      defer { supply.cancel() }
      return try work(supply.wake)
    }
    do {
      // Without its thread nobody would take what is fetched.
      try threaded.requireNoFailure()
    } catch {
      supply.cancel()
      throw error
    }
    await fetching
    return try await threaded.value()
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
    let spent = Mutex(stream.spent[...])
    sync = SyncRun(
      catalog, options, cancellation: cancellation,
      makeRoom: {
        // Without a budget what is in the lake is there to stay.
        guard isBudget else { return .never }
        if let shard = spent.withLock({ $0.popFirst() }) {
          try catalog.evict(shard)
          return .made
        }
        let standing = handoff.standing
        for id in standing.released {
          let shard = try catalog.shard(id: id)
          guard shard.state == .present else { continue }
          try catalog.evict(shard)
          return .made
        }
        return standing.isBusy ? .later : .never
      },
      report: { event in
        switch event {
        case .mended(let shard, _), .fetched(let shard, _): handoff.markReady(shard.id)
        case .failed(let shard, let error): handoff.markLost(shard.id, error)
        case .moved, .started, .transferring, .retrying, .waiting, .revised: break
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
