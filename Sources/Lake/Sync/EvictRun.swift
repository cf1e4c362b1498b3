// `evict`: the room of shards, and of parts of them, given back; what is known of
// them is kept.

internal import Base
internal import Catalog

/// Drops the bytes of shards.
package struct EvictRun {
  private let catalog: LakeCatalog
  private let cancellation: Cancellation

  /// Prepares to evict.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - cancellation: Asked between shards.
  package init(_ catalog: LakeCatalog, cancellation: Cancellation) {
    self.catalog = catalog
    self.cancellation = cancellation
  }

  /// What was given back.
  package struct Summary: Sendable {
    package var shardCount = 0
    /// Interrupted transfers whose part files went.
    package var partCount = 0
    /// Older revisions that were kept beside newer ones.
    package var keptCount = 0
    /// Bytes that became free: those that another source's shards have, too, are not among them.
    package var byteCount = 0
    /// Sources whose files went, where several read them: the one that has them first.
    package var readers: [String] = []
    /// Older revisions that stay because something rests on them.
    package var pinned: [KeptRevision] = []
    /// Newest ones that stay because something rests on them and no place is known to give them again.
    package var lastCopies: [NeededBytes] = []
    /// What went though something rests on it.
    package var lost: [NeededBytes] = []
    /// Shards that went and that every mirror lacks: none gives them again.
    package var unobtainable: [String] = []
  }

  /// Bytes of a shard on which something rests.
  package struct NeededBytes: Sendable {
    package let shard: String
    /// Whether they are not its newest.
    package let isOlder: Bool
    package let byteCount: Int
    /// Versions and trained indexes, as people name them.
    package let dependents: [String]
  }

  /// Evicts what is present, and what interrupted transfers left.
  ///
  /// - Parameters:
  ///   - name: The source.
  ///   - ordinals: Which of its shards; nil for all.
  ///   - includesPinned: Whether older revisions go on which something rests: their
  ///     mirrors may not have them any more.
  ///   - includesLastCopies: Whether newest ones go on which something rests and that no
  ///     place is known to give again.
  /// - Returns: What went, and what stays.
  /// - Throws: ``TarnError``.
  package func run(
    _ name: String, ordinals: OrdinalSet?, includesPinned: Bool = false, includesLastCopies: Bool = false
  ) throws -> Summary {
    cancellation.listen()
    var summary = Summary()
    let source = try catalog.fileSource(of: catalog.source(named: name))
    let readers = try catalog.readers(of: source).map(\.name)
    if readers.count > 1 { summary.readers = readers }
    let shards = try catalog.shards(of: source, ordinals: ordinals)
    let chosen = Set(shards.map(\.id))
    for transfer in try catalog.interruptedTransfers(of: source) where chosen.contains(transfer.shardID) {
      try cancellation.check()
      try catalog.discard(transfer)
      summary.partCount += 1
      summary.byteCount += transfer.byteCount
    }
    let before = try catalog.storedShardByteCount()
    var evicted: Set<ContentDigest> = []
    var gone: Set<Int64> = []
    for shard in shards where shard.state == .present {
      try cancellation.check()
      let dependents = try catalog.dependentsAfterLook(onLastCopyOf: shard)
      if !dependents.isEmpty {
        let needed = NeededBytes(
          shard: shard.name, isOlder: false, byteCount: shard.revision?.byteCount ?? 0, dependents: dependents)
        guard includesLastCopies else {
          summary.lastCopies.append(needed)
          continue
        }
        summary.lost.append(needed)
      }
      try catalog.evict(shard)
      summary.shardCount += 1
      gone.insert(shard.id)
      if let digest = shard.revision?.digest { evicted.insert(digest) }
    }
    // What one of them had may stay as an older revision of a shard that was not chosen.
    for kept in try catalog.keptRevisions(of: source)
    where chosen.contains(kept.shardID) || evicted.contains(kept.digest) {
      guard kept.dependents.isEmpty || includesPinned else {
        summary.pinned.append(kept)
        continue
      }
      try cancellation.check()
      try catalog.release(kept)
      summary.keptCount += 1
      if !kept.dependents.isEmpty {
        summary.lost.append(
          NeededBytes(
            shard: kept.shardName, isOlder: true, byteCount: kept.byteCount, dependents: kept.dependents))
      }
    }
    summary.byteCount += before - (try catalog.storedShardByteCount())
    summary.unobtainable = try catalog.shardsOfNobody(of: source).filter { gone.contains($0.id) }.map(\.name)
    return summary
  }
}
