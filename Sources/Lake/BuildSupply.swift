// The fetching side of `tarn build`: what the fetcher reports goes to the
// handoff, and room comes from shards that are encoded.

internal import Base
internal import Catalog
internal import Synchronization

/// Fetches the shards that a build still needs, while it is working.
final class BuildSupply: Sendable {
  private let catalog: LakeCatalog
  private let handoff: ShardHandoff
  private let isNeeded: Bool
  private let sync: SyncRun

  /// Prepares to fetch what a plan still needs.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - planned: The build.
  ///   - options: How to fetch; which shards is the plan's to say.
  ///   - cancellation: Stops fetching; what arrived is kept.
  ///   - report: Told what happened, on the fetcher's thread.
  init(
    _ catalog: LakeCatalog, _ planned: PlannedBuild, _ options: SyncOptions, cancellation: Cancellation,
    report: @escaping @Sendable (SyncProgress) -> Void
  ) {
    var options = options
    options.selection = planned.toFetch
    self.catalog = catalog
    handoff = planned.handoff
    isNeeded = !planned.toFetch.isEmpty
    let (handoff, promised, isBudget) = (planned.handoff, planned.promised, options.budget != nil)
    let devices = [catalog.layout.shards, catalog.layout.artifacts].map { try? FileSystem(of: $0).device }
    if devices[0] == devices[1] { options.promisedByteCount = { promised.byteCount } }
    let encoded = Mutex(planned.encoded[...])
    sync = SyncRun(
      catalog, options, cancellation: cancellation,
      makeRoom: {
        // Without a budget what is in the lake is there to stay.
        guard isBudget else { return .never }
        if let shard = encoded.withLock({ $0.popFirst() }) {
          try catalog.evict(shard)
          return .made
        }
        for id in handoff.released {
          let shard = try catalog.shard(id: id)
          guard shard.state == .present else { continue }
          try catalog.evict(shard)
          return .made
        }
        return handoff.isBusy ? .later : .never
      },
      report: { event in
        switch event {
        case .mended(let shard, _), .fetched(let shard, _): handoff.markReady(shard.id)
        case .failed(let shard, let error): handoff.markLost(shard.id, error)
        case .moved, .started, .transferring, .retrying, .waiting: break
        }
        report(event)
      })
  }

  /// Fetches until everything was handed over; failures go to the handoff.
  func run() async {
    guard isNeeded else { return }
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
