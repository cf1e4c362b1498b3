// `sync --dry-run`: what a sync would do, from the catalog and the disk alone.
// Nothing is asked of a server and nothing changes.

internal import Base
package import Catalog
internal import Foundation

/// What a sync would do.
package struct SyncPlan: Sendable {
  /// Shards it would fetch, in order.
  package var shards: [Shard] = []
  /// Bytes of those whose size is known, less what part files hold already.
  package var byteCount = 0
  /// Bytes that part files hold.
  package var partialByteCount = 0
  /// Shards to fetch whose size nobody knows yet.
  package var unknownSizeCount = 0
  /// Shards that are here already.
  package var presentCount = 0
  /// Shards that every mirror said it lacks.
  package var missing: [Shard] = []
  /// Bytes held now; what is fetched comes on top.
  package var cachedByteCount = 0
  package var budget: Int?
  /// Bytes free on the file system of the shards, less the floor to keep.
  package var freeByteCount = 0
  /// Bytes a second that past transfers reached; nil without any, and never
  /// above the limit asked for.
  package var bytesPerSecond: Double?

  /// How long it would take at that rate.
  package var seconds: Double? { bytesPerSecond.map { Double(byteCount) / $0 } }

  /// Whether the budget has room for all of it.
  package var fitsBudget: Bool {
    budget.map { [cachedByteCount, byteCount].saturatedSum <= $0 } ?? true
  }

  /// Whether the disk has.
  package var fitsDisk: Bool { byteCount <= freeByteCount }

  /// Plans a sync.
  ///
  /// - Parameters:
  ///   - catalog: A lake; reading is enough.
  ///   - options: What would be synced.
  /// - Throws: ``TarnError``.
  package init(_ catalog: LakeCatalog, _ options: SyncOptions) throws {
    budget = options.budget
    cachedByteCount = try catalog.cachedByteCount()
    let fileSystem = try FileSystem(of: catalog.layout.shards)
    let kept = catalog.reserve(keeping: options.keptFree).byteCount(on: fileSystem)
    freeByteCount = max(0, fileSystem.freeByteCount - kept)
    bytesPerSecond = try catalog.observedRate()
    if let limit = options.fetch.bytesPerSecondLimit {
      bytesPerSecond = min(bytesPerSecond ?? Double(limit), Double(limit))
    }
    let sources = try catalog.fileSources(options.sources)
    for source in sources {
      let lacking = Set(try catalog.shardsWithoutMirror(of: source).map(\.id))
      for shard in try catalog.shardsInUse(of: source, ordinals: options.ordinals) {
        if catalog.holdsWhole(shard), !options.refresh {
          presentCount += 1
        } else if lacking.contains(shard.id) {
          missing.append(shard)
        } else {
          add(shard, heldByteCount: Self.partialByteCount(catalog, source, shard))
        }
      }
    }
  }

  private mutating func add(_ shard: Shard, heldByteCount: Int) {
    shards.append(shard)
    partialByteCount += heldByteCount
    if let size = shard.likelyByteCount {
      byteCount = byteCount.addingSaturated(max(0, size - heldByteCount))
    } else {
      unknownSizeCount += 1
    }
  }

  /// Bytes of a part file that a resume point stands beside.
  private static func partialByteCount(_ catalog: LakeCatalog, _ source: Source, _ shard: Shard) -> Int {
    let path = catalog.layout.partPath(source: source.name, shard: shard.name)
    guard Disk.size(of: path + ".resume") != nil else { return 0 }
    return Disk.size(of: path) ?? 0
  }
}

extension LakeCatalog {
  /// Whether the bytes that the catalog vouches for are still there; their
  /// digest is `verify`'s business.
  func holdsWhole(_ shard: Shard) -> Bool {
    guard shard.state == .present, let path = shard.path, let revision = shard.revision else { return false }
    return Disk.size(of: layout.path(path, in: .shards)) == revision.byteCount
  }
}
