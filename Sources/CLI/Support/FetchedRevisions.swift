// Shards that came with other bytes than they had while a verb fetched: told at once,
// and in what the verb prints for programs.

internal import Base
internal import Lake
internal import Synchronization

/// Gathers the revisions that a fetching verb met.
final class FetchedRevisions: Sendable {
  private let found = Mutex<[RevisedShard]>([])

  func take(_ revised: RevisedShard) { found.withLock { $0.append(revised) } }

  /// What came, in order.
  var all: [RevisedShard] { found.withLock(\.self) }

  /// The same for programs.
  var json: JSONValue { .array(all.map(\.json)) }

  /// Shows on a line of progress what a fetcher meets, and gathers.
  func following(_ progress: ProgressLine) -> @Sendable (SyncProgress) -> Void {
    { [self] event in
      if case .revised(let revised) = event { take(revised) }
      progress.showFetching(event)
    }
  }
}

extension ProgressLine {
  /// Shows what a verb's fetcher meets; how far it is shows in the verb's own work.
  func showFetching(_ event: SyncProgress) {
    switch event {
    case .retrying(let shard, let error): note("\(shard.name): \(error); trying again")
    case .failed(let shard, let error): note("\(shard.name): \(error)")
    case .waiting(let wait): note(wait.text)
    // No progress: what rests on the bytes of before can lose them.
    case .revised(let revised): Output.warn("\(revised.text)")
    case .moved, .started, .transferring, .fetched, .mended, .withdrawn, .passedOver: break
    }
  }
}
