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
  }

  /// Evicts what is present, and what interrupted transfers left.
  ///
  /// - Parameters:
  ///   - name: The source.
  ///   - ordinals: Which of its shards; nil for all.
  ///   - includesPinned: Whether older revisions go on which something rests: their
  ///     mirrors may not have them any more.
  /// - Returns: What went.
  /// - Throws: ``TarnError``.
  package func run(_ name: String, ordinals: OrdinalSet?, includesPinned: Bool = false) throws -> Summary {
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
    for shard in shards where shard.state == .present {
      try cancellation.check()
      try catalog.evict(shard)
      summary.shardCount += 1
    }
    for kept in try catalog.keptRevisions(of: source) where chosen.contains(kept.shardID) {
      guard kept.dependents.isEmpty || includesPinned else {
        summary.pinned.append(kept)
        continue
      }
      try cancellation.check()
      try catalog.release(kept)
      summary.keptCount += 1
    }
    summary.byteCount += before - (try catalog.storedShardByteCount())
    return summary
  }
}
