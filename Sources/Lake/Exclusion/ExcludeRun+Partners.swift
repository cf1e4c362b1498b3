// What excluding rows of a source leaves: the rows of the same pairs in the sources that it was
// trained with, what versions that are not finished were planned with, and what trainings that
// are not have gathered.

package import Base
internal import Catalog

extension ExcludeRun {
  /// A source that was trained in pairs with this one, and has rows of pairs of which this one's are excluded.
  package struct Partner: Sendable {
    package let source: String
    /// Ids of such rows that are not excluded themselves, ascending.
    package let ids: [Int64]
    /// Whether it reads the same files, so that the same companions say what its rows are.
    package let readsSameFiles: Bool
    /// Whether the rows of a pair have one id in both sources: their shards are of the same lengths as far as that
    /// matters.
    package let haveSameIDs: Bool
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
    let own = try starts(of: source)
    return try others.map { try catalog.source(id: $0) }.sorted { $0.name < $1.name }.compactMap { other in
      let ids = try idsLeft(of: other, among: rows)
      guard !ids.isEmpty else { return nil }
      let theirs = try starts(of: other)
      return Partner(
        source: other.name, ids: ids, readsSameFiles: other.filesID == source.filesID,
        haveSameIDs: rows.keys.allSatisfy { own[$0] == theirs[$0] })
    }
  }

  /// The id of the first row of each shard, by its ordinal, as far as that is known.
  private func starts(of source: Source) throws -> [Int: Int64] {
    var (starts, next): ([Int: Int64], Int64) = ([:], 0)
    for shard in try catalog.shards(of: source) {
      starts[shard.ordinal] = next
      guard let count = try? shard.plannedRowCount(in: source, for: "ids") else { break }
      next += Int64(count)
    }
    return starts
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

  /// Versions of the source that are not finished: they may have been planned with excluded rows, and have them once
  /// they are sealed.
  ///
  /// - Returns: Their names.
  /// - Throws: ``TarnError`` of the catalog.
  package func unfinishedVersions() throws -> [VersionName] {
    try catalog.versions().filter { $0.sourceID == source.id && [VersionState.planned, .building].contains($0.state) }
      .map(\.name)
  }

  /// Trainings of the source that are not finished: what they gathered may have excluded rows.
  ///
  /// - Returns: Their names.
  /// - Throws: ``TarnError`` of the catalog.
  package func unfinishedTrainings() throws -> [String] {
    try catalog.trainings(on: source).filter { $0.state == .training }.map(\.name)
  }
}
