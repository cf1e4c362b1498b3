// What excluding rows of a source leaves: the rows of the same pairs in the sources that it was
// trained with, what versions that are not finished were planned with, what trainings that are not
// have gathered, and what lies beside tasks for workers.

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
    let own = try Starts(of: source, in: catalog)
    var rows: [Int: [Int]] = [:]
    for shard in own.shards {
      guard let digest = shard.revision?.digest, let named = excluded[shard.id]?[digest] else { continue }
      rows[shard.ordinal] = named
    }
    return try others.map { try catalog.source(id: $0) }.sorted { $0.name < $1.name }.compactMap { other in
      let theirs = try Starts(of: other, in: catalog)
      let ids = try idsLeft(of: other, theirs, among: rows)
      guard !ids.isEmpty else { return nil }
      return Partner(
        source: other.name, ids: ids, readsSameFiles: other.filesID == source.filesID,
        haveSameIDs: rows.keys.allSatisfy { own.firstIDs[$0] == theirs.firstIDs[$0] })
    }
  }

  /// The shards of a source, and where their ids begin.
  private struct Starts {
    let shards: [Shard]
    /// The id of the first row of each, by its ordinal; none behind a shard of unknown length.
    let firstIDs: [Int: Int64]

    init(of source: Source, in catalog: LakeCatalog) throws {
      shards = try catalog.shards(of: source)
      var (firstIDs, next): ([Int: Int64], Int64) = ([:], 0)
      for shard in shards {
        firstIDs[shard.ordinal] = next
        guard let count = try? shard.plannedRowCount(in: source, for: "ids") else { break }
        next += Int64(count)
      }
      self.firstIDs = firstIDs
    }
  }

  private func idsLeft(of other: Source, _ theirs: Starts, among rows: [Int: [Int]]) throws -> [Int64] {
    let excluded = try catalog.exclusions(of: other)
    return theirs.shards.flatMap { shard -> [Int64] in
      guard let own = rows[shard.ordinal], let start = theirs.firstIDs[shard.ordinal],
        let count = try? shard.plannedRowCount(in: other, for: "ids")
      else { return [] }
      let gone = Set(shard.revision.flatMap { excluded[shard.id]?[$0.digest] } ?? [])
      return own.filter { $0 < count && !gone.contains($0) }.map { start + Int64($0) }
    }
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

  /// Where tasks were laid that may have rows of the source, as far as anything lies there.
  ///
  /// - Returns: What each is of, and the directories or prefixes.
  /// - Throws: ``TarnError`` of the catalog.
  package func placesOfTasks() throws -> [(subject: String, folders: [String])] {
    try catalog.taskPlaces(of: source).compactMap { place in
      let folders = place.placesOfRows
      return folders.isEmpty ? nil : (place.subject, folders)
    }
  }
}
