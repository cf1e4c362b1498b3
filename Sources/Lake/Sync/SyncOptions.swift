// What a sync is told, what it reports meanwhile, and what it returns.

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
  /// Digests that some shards must have, by the shard's id, besides what their
  /// sources expect.
  package var digests: [Int64: ContentDigest] = [:]
  /// Most bytes of `shards/`; nil for no limit.
  package var budget: Int?
  /// Bytes of the file system that the user wants free; counts only where it is more
  /// than the rule's (D11).
  package var keptFree = 0
  /// Bytes that the caller will write on the file system of the shards meanwhile.
  package var promisedByteCount: @Sendable () -> Int = { 0 }
  /// The name of what is being made of the shards.
  ///
  /// When they come with other bytes it is planned again, so it is not listed among the
  /// dependents of the old ones.
  package var consumer: String?
  /// Whether the verb has `--shards`, so that a hint may name it.
  package var choosesShards = true
  /// Ask the mirrors of shards that are present for newer bytes.
  package var refresh = false
  /// What to do about a shard that is not here and that no mirror has.
  package var missing = MissingPolicy.fail
  /// Whether the bytes here may be damaged, so that a mirror's "not modified" is no answer.
  package var doubtsBytes = false
  /// What becomes of the bytes of a shard when its mirrors serve others.
  package var replacement = Replacement.ofUnpinned
  package var fetch = FetchConfiguration()
  /// How long a host that fails for now is waited for (R21); zero to give up at
  /// once.
  package var patience = Duration.zero
  /// The clock that patience is measured by.
  package var clock: @Sendable () -> ContinuousClock.Instant = { .now }

  package init() {}

  /// The same options for a verb without `--shards`.
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
  /// Shards that are here and that no mirror has any more; they stay.
  package var withdrawn: [Shard] = []
  /// Shards that no mirror has and that were passed over, as `--missing skip` asks.
  package var passedOver: [Shard] = []
  /// Numbers of shards that were not asked for, by source: two of its files had already come with another dimension or
  /// element type.
  package var unasked: [String: Int] = [:]
  /// Shards that were not tried because the budget or the disk has no room.
  package var withoutRoom: [String] = []
  /// Why the first of those has no room; nil when there is none.
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
  /// Shards fetched of all that were missing; bytes held of them, and those of these bytes that came during this run;
  /// shards that failed.
  case moved(
    doneCount: Int, totalCount: Int, byteCount: Int, receivedByteCount: Int, totalByteCount: Int?, failedCount: Int)
  /// Bytes held of one shard, and its size if that is known.
  case transferring(Shard, byteCount: Int, totalByteCount: Int?)
  /// A request to a mirror, given by its number, began.
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

/// Whether room could be made when the budget was full.
package enum Room: Sendable {
  /// Something was evicted: try again.
  case made
  /// None now, but something under way will give some back.
  case later
  /// None, and none will come.
  case never
}
