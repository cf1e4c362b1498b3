// What a sync is told, what it tells meanwhile, and what it gives back.

package import Base
package import Catalog
package import Fetch

/// What to sync, and how.
package struct SyncOptions: Sendable {
  /// Names of sources; empty for all.
  package var sources: [String] = []
  /// Which shards of each; nil for all.
  package var ordinals: OrdinalSet?
  /// Shards to fetch in this order, instead of those of ``sources``.
  package var selection: [Shard]?
  /// What the bytes of some shards must be, by the shard's number, besides what
  /// their sources say.
  package var digests: [Int64: ContentDigest] = [:]
  /// Most bytes of `shards/`; nil for no limit.
  package var budget: Int?
  /// Bytes of the file system that the user wants free; more than the rule's alone
  /// counts (D11).
  package var keptFree = 0
  /// Bytes that the caller will write on the file system of the shards meanwhile.
  package var promisedByteCount: @Sendable () -> Int = { 0 }
  /// What is being made of the shards, as dependents are called: it is replanned when
  /// they come with other bytes, and so is not left behind.
  package var consumer: String?
  /// Whether whoever asked can take fewer shards with `--shards`.
  package var choosesShards = true
  /// Ask the mirrors of shards that are present for newer bytes.
  package var refresh = false
  /// What becomes of a sync where no mirror has a shard that is not here.
  package var missing = MissingPolicy.fail
  /// Whether the bytes here are doubted, so that a mirror's word that nothing changed is no answer.
  package var doubtsBytes = false
  /// What becomes of the bytes of a shard when its mirrors give others.
  package var replacement = Replacement.ofUnpinned
  package var fetch = FetchConfiguration()
  /// How long a host that fails for now is waited for (R21); zero to give up at
  /// once.
  package var patience = Duration.zero
  /// What patience is measured by.
  package var clock: @Sendable () -> ContinuousClock.Instant = { .now }

  package init() {}

  /// The same for who cannot take fewer shards.
  package var takingAll: SyncOptions {
    var options = self
    options.choosesShards = false
    return options
  }
}

/// What a sync did.
package struct SyncSummary: Sendable {
  package var fetchedCount = 0
  package var fetchedByteCount = 0
  /// Shards that were in the lake already, or have not changed.
  package var unchangedCount = 0
  /// Damaged shards that were mended by fetching only the chunks that differ.
  package var mendedCount = 0
  /// What could not be fetched, and why: a run with any of these fails (R17).
  package var failures: [(shard: String, error: TarnError)] = []
  /// Shards that are here and that their mirrors lack by now: there are no newer bytes, and nothing was lost.
  package var withdrawn: [Shard] = []
  /// Shards that no mirror has, where those are to be passed over.
  package var passedOver: [Shard] = []
  /// Shards that were not asked for, by source, as two that came are of another kind than it.
  package var unasked: [String: Int] = [:]
  /// Shards that were not tried because the budget or the disk has no room.
  package var withoutRoom: [String] = []
  /// What the first of them lacks; nil when there is none.
  package var noRoom: TarnError?

  /// Whether there was anything to do.
  package var didAnything: Bool {
    fetchedCount > 0 || mendedCount > 0 || !failures.isEmpty || !withoutRoom.isEmpty
  }
}

/// A shard that has other bytes now than it had.
package struct RevisedShard: Sendable {
  package let source: String
  package let shard: String
  /// What rests on the bytes that it had, as people name it.
  package let dependents: [String]

  /// What happened, in one line.
  package var text: String {
    "new revision of \(shard)" + (dependents.isEmpty ? "" : "; \(LakeCatalog.list(dependents)) on the one before")
  }

  /// The same for programs.
  package var json: JSONValue {
    .object([
      "source": .string(source), "shard": .string(shard), "dependents": .strings(dependents),
    ])
  }
}

/// How far a sync is.
package enum SyncProgress: Sendable {
  /// Shards that are here of all that were not, bytes held of all, those among them that came during this run, and
  /// shards that failed.
  case moved(
    doneCount: Int, totalCount: Int, byteCount: Int, receivedByteCount: Int, totalByteCount: Int?, failedCount: Int)
  /// Bytes held of one shard, and those of the whole if they are known.
  case transferring(Shard, byteCount: Int, totalByteCount: Int?)
  /// A request to a mirror began, told by its number.
  case started(Shard, mirror: Int?, attempt: Int)
  case fetched(Shard, byteCount: Int)
  case mended(Shard, MendedChunks)
  /// A shard was fetched with other bytes than it had.
  case revised(RevisedShard)
  case retrying(Shard, error: String)
  /// A host is left alone for a while.
  case waiting(HostWait)
  case failed(Shard, TarnError)
  /// A shard that is here is on no mirror any more.
  case withdrawn(Shard, TarnError)
  /// A shard that is on no mirror is passed over, as was asked for.
  case passedOver(Shard, TarnError)
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
