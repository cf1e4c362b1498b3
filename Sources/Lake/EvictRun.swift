// `evict`: the room of shards given back, what is known of them kept.

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

  /// Evicts what is present.
  ///
  /// - Parameters:
  ///   - name: The source.
  ///   - ordinals: Which of its shards; nil for all.
  /// - Returns: How many shards and bytes went.
  /// - Throws: ``TarnError``.
  package func run(_ name: String, ordinals: OrdinalSet?) throws -> (count: Int, byteCount: Int) {
    cancellation.listen()
    var (count, byteCount) = (0, 0)
    for shard in try catalog.shards(of: catalog.source(named: name), ordinals: ordinals) where shard.state == .present {
      try cancellation.check()
      try catalog.evict(shard)
      count += 1
      byteCount += shard.revision?.byteCount ?? 0
    }
    return (count, byteCount)
  }
}
