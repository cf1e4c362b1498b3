// What excluding rows of a source leaves: the rows of the same pairs in the sources that it was
// trained with, and what trainings that are not finished have gathered.

internal import Base
internal import Catalog

extension ExcludeRun {
  /// A source that was trained in pairs with this one, and has rows of pairs of which this one's are excluded.
  package struct Partner: Sendable {
    package let source: String
    /// Ids of such rows that are not excluded themselves, ascending.
    package let ids: [Int64]
  }

  /// Sources that have rows of the same pairs, which nothing excludes.
  ///
  /// - Returns: Those with such rows, by name.
  /// - Throws: ``TarnError`` of the catalog.
  package func partners() throws -> [Partner] {
    let trainings = try catalog.trainings(on: source)
    let others = Set(trainings.flatMap { [$0.imageSourceID, $0.captionSourceID].compactMap(\.self) })
      .subtracting([source.id])
    guard !others.isEmpty else { return [] }
    let excluded = try catalog.exclusions(of: source)
    var rows: [Int: [Int]] = [:]
    for shard in try catalog.shards(of: source) {
      guard let digest = shard.revision?.digest, let own = excluded[shard.id]?[digest] else { continue }
      rows[shard.ordinal] = own
    }
    return try others.map { try catalog.source(id: $0) }.sorted { $0.name < $1.name }.compactMap { other in
      let ids = try idsLeft(of: other, among: rows)
      return ids.isEmpty ? nil : Partner(source: other.name, ids: ids)
    }
  }

  private func idsLeft(of other: Source, among rows: [Int: [Int]]) throws -> [Int64] {
    let excluded = try catalog.exclusions(of: other)
    var ids: [Int64] = []
    var start: Int64 = 0
    for shard in try catalog.shards(of: other) {
      // Behind a shard of unknown length nobody knows an id.
      guard let count = try? shard.plannedRowCount(in: other, for: "ids") else { break }
      let gone = Set(shard.revision.flatMap { excluded[shard.id]?[$0.digest] } ?? [])
      ids += (rows[shard.ordinal] ?? []).filter { $0 < count && !gone.contains($0) }.map { start + Int64($0) }
      start += Int64(count)
    }
    return ids
  }

  /// Trainings of the source that are not finished: what they gathered may have excluded rows.
  ///
  /// - Returns: Their names.
  /// - Throws: ``TarnError`` of the catalog.
  package func unfinishedTrainings() throws -> [String] {
    try catalog.trainings(on: source).filter { $0.state == .training }.map(\.name)
  }
}
