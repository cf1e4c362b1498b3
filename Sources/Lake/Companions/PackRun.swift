// `pack`: companions' shards made into packs, in which single rows are found quickly.
//
// A pack is made through a working name and recorded when it is durable; one that is there
// is not made again, and a run that dies leaves whole packs and one working file.

package import Base
package import Catalog
internal import Companions
internal import Foundation

/// What was packed.
package struct PackSummary: Sendable {
  /// A column that is in files and not read.
  package struct LeftOut: Sendable, Hashable {
    package let column: String
    package let cause: String
  }

  /// A shard that could not be packed.
  package struct Failure: Sendable {
    package let shard: String
    package let error: TarnError
  }

  package var packedCount = 0
  package var packedByteCount = 0
  /// Packs that were there.
  package var keptCount = 0
  /// Shards whose bytes are not in the lake.
  package var missing: [String] = []
  package var misaligned: [MisalignedShard] = []
  /// Shards whose files cannot be read.
  package var failures: [Failure] = []
  package var leftOut: [LeftOut] = []
  /// Excluded rows of which the packs say nothing.
  package var withoutCount = 0
  /// Rows of versions that got a companion by this run.
  package var boundCount = 0
  /// The packs that were made.
  fileprivate var made: Set<ContentDigest> = []
}

/// Packs a companion.
package struct PackRun {
  private let catalog: LakeCatalog
  private let cancellation: Cancellation
  /// The columns that are kept; nil for all that can be read.
  package var columns: [String]?
  /// Which shards; nil for all.
  package var ordinals: OrdinalSet?
  /// Whether versions take what the companion's newest bytes say in place of what they are
  /// bound to.
  package var rebinds = false

  /// Prepares to pack.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - cancellation: Asked between blocks; packs that are done stay.
  package init(_ catalog: LakeCatalog, cancellation: Cancellation) {
    self.catalog = catalog
    self.cancellation = cancellation
  }

  /// Packs what is in the lake and has no pack.
  ///
  /// - Parameters:
  ///   - name: The companion.
  ///   - report: Told of progress.
  /// - Returns: What was done; what is missing, misaligned or cannot be read is in it and not thrown: the others are packed.
  /// - Throws: ``TarnError`` `.usage` for a source of features, or a column that no shard here
  ///   has; of the disk.
  package func run(_ name: String, report: (_ done: Int, _ total: Int, _ rows: Int) -> Void) throws -> PackSummary {
    cancellation.listen()
    let source = try catalog.companion(named: name)
    var summary = PackSummary()
    summary.misaligned = try catalog.misaligned(of: source)
    let faulty = Set(summary.misaligned.map(\.shard))
    let shards = try catalog.shardsInUse(of: source, ordinals: ordinals)
    try requireColumns(of: source, in: shards.filter { !faulty.contains($0.name) })
    let excluded = try source.companionOf.map { try catalog.rowsWithoutColumns(of: catalog.source(id: $0)) } ?? [:]
    for (place, shard) in shards.enumerated() {
      report(place, shards.count, 0)
      guard !faulty.contains(shard.name) else { continue }
      guard let revision = shard.revision, let path = shard.path else {
        summary.missing.append(shard.name)
        continue
      }
      let without = (excluded[shard.ordinal] ?? []).filter { $0 < revision.rowCount }.sorted()
      do {
        try pack(shard, revision, catalog.layout.path(path, in: .shards), without: without, &summary) {
          report(place, shards.count, $0)
        }
      } catch let error as TarnError where [.badFeatures, .integrity].contains(error.code) {
        summary.failures.append(PackSummary.Failure(shard: shard.name, error: error))
        continue
      }
      summary.withoutCount += without.count
    }
    summary.boundCount = try catalog.bindCompanions(of: source, anew: rebinds)
    return summary
  }

  /// Refuses columns that no shard here has, before any is packed: of JSON lines each has the members of its own rows, and
  /// tables gain columns.
  private func requireColumns(of source: Source, in shards: [Shard]) throws {
    var lacking = Set(columns ?? [])
    var known: Set<String> = []
    var isTold = false
    for shard in shards where !lacking.isEmpty {
      try cancellation.check()
      do {
        let found = try catalog.columns(
          ofCompanionShard: shard, until: lacking, checkpoint: { try cancellation.check() })
        guard let own = found else { continue }
        isTold = true
        known.formUnion(own)
        // Of a column with parts, which is not read, the parts are what is there.
        lacking = lacking.filter { name in !own.contains { $0 == name || $0.hasPrefix(name + ".") } }
      } catch let error as TarnError where error.isOfBytes {
        // It may have them, and is told of when it is packed.
        return
      }
    }
    guard isTold, let name = lacking.min() else { return }
    throw TarnError(
      .usage, "no shard of \(source.name) that is here has a column '\(name.printable)'",
      hint: known.isEmpty
        ? "they have none" : "there are \(known.sorted().map { ColumnList.text(of: $0).printable }.listed(40))")
  }

  private func pack(
    _ shard: Shard, _ revision: ShardRevision, _ path: String, without: [Int], _ summary: inout PackSummary,
    report: (Int) -> Void
  ) throws {
    let store = ArtifactStore(catalog)
    let wanted = columns.map { Set($0).sorted() }
    let formatVersion = PackWriter.formatVersion(ofFile: shard.name)
    let known = try catalog.packs(of: revision.digest, formatVersions: formatVersion...formatVersion)
      .first { $0.columns == wanted && $0.without == without }
    if let known, try isWhole(known, store) {
      // Shards of equal bytes have one pack, which may be of this run.
      if summary.made.contains(known.digest) { summary.packedCount += 1 } else { summary.keptCount += 1 }
      return
    }
    guard try Disk.digest(of: path) == revision.digest else {
      throw TarnError(.integrity, "\(path) has changed since it was fetched", hint: "run `tarn verify --repair`")
    }
    try catalog.requireRoom(
      for: "the pack of \(shard.name)", [RoomNeed(at: catalog.layout.artifacts, byteCount: revision.byteCount)])
    let working = try store.workingPath("pack-\(revision.digest.prefix(16))")
    defer { try? Disk.remove(working) }
    let file = try CompanionFile(path, named: shard.name)
    let written = try PackWriter.write(
      file, digest: revision.digest, columns: wanted, mayLack: true, without: Set(without),
      rowCount: revision.rowCount, through: working + ".tmp", to: working
    ) { rows in
      try cancellation.check()
      report(rows)
    }
    for column in written.leftOut {
      let told = PackSummary.LeftOut(column: column.wholeName, cause: column.why)
      if !summary.leftOut.contains(told) { summary.leftOut.append(told) }
    }
    try store.put(working, as: .pack, written.digest) {
      try catalog.record(
        Pack(
          companion: revision.digest, digest: written.digest, rowCount: written.rowCount, columns: wanted,
          without: without, formatVersion: formatVersion),
        byteCount: written.byteCount)
    }
    summary.packedCount += 1
    summary.packedByteCount += written.byteCount
    summary.made.insert(written.digest)
  }

  /// Whether a pack's file is there and opens.
  private func isWhole(_ pack: Pack, _ store: ArtifactStore) throws -> Bool {
    let path = try store.path(of: .pack, pack.digest)
    return (try? PackFile(path: path, of: pack.companion)) != nil
  }
}
