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
    /// Bytes of both.
    package var byteCount = 0
  }

  /// Evicts what is present, and what interrupted transfers left.
  ///
  /// - Parameters:
  ///   - name: The source.
  ///   - ordinals: Which of its shards; nil for all.
  /// - Returns: What went.
  /// - Throws: ``TarnError``.
  package func run(_ name: String, ordinals: OrdinalSet?) throws -> Summary {
    cancellation.listen()
    var summary = Summary()
    let source = try catalog.source(named: name)
    let shards = try catalog.shards(of: source, ordinals: ordinals)
    let chosen = Set(shards.map(\.id))
    for transfer in try catalog.interruptedTransfers(of: source) where chosen.contains(transfer.shardID) {
      try cancellation.check()
      try catalog.discard(transfer)
      summary.partCount += 1
      summary.byteCount += transfer.byteCount
    }
    for shard in shards where shard.state == .present {
      try cancellation.check()
      try catalog.evict(shard)
      summary.shardCount += 1
      summary.byteCount += shard.revision?.byteCount ?? 0
    }
    return summary
  }
}
