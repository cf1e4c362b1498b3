// A version that is searched again and again: its files are mapped once, and what its
// row ids stand for is in memory. What changes of a sealed version, which rows may be shown
// and what is known of them, is read anew.

internal import Base
package import Catalog
internal import Features
package import Indexer

/// Where the rows of a version come from, without asking the catalog: a sealed version's inputs never change.
package struct VersionPlaces: Sendable {
  /// Firsts ids, row counts and names, by first id.
  private let inputs: [(firstID: Int64, rowCount: Int, shard: String)]

  /// Takes the inputs of a version.
  package init(_ inputs: [(firstID: Int64, rowCount: Int, shard: String)]) {
    self.inputs = inputs.filter { $0.rowCount > 0 }.sorted { $0.firstID < $1.firstID }
  }

  /// The shard and row of an id; nil where no input covers it.
  package func place(of id: Int64) -> (shard: String, row: Int)? {
    let next = inputs.partitioningIndex { $0.firstID > id }
    guard next > 0, id - inputs[next - 1].firstID < Int64(inputs[next - 1].rowCount) else { return nil }
    return (inputs[next - 1].shard, Int(id - inputs[next - 1].firstID))
  }
}

/// A version with its files mapped.
///
/// What it holds besides the searcher may be used from any thread; the searcher by one at a time.
package struct SearchableVersion {
  package let name: VersionName
  package let dimension: Int
  package let rowCount: Int
  package let places: VersionPlaces
  package let searcher: VersionSearcher
  /// What companions say of its rows; nil where nothing is asked for or known.
  package let columns: RowColumns?
  /// The rows that nobody is shown; nil for none.
  package let hidden: HiddenRows?

  /// Maps a version's files.
  ///
  /// - Parameters:
  ///   - name: The version.
  ///   - catalog: Its lake; reading is enough.
  ///   - names: Columns of companions that are shown; nil for all that are here.
  ///   - checkpoint: Called while columns are looked for; an error of it ends the work.
  /// - Throws: ``TarnError`` `.conflict` for a version that is not sealed, `.inputsMissing` and `.integrity` for its files,
  ///   as `tarn search` throws them.
  package init(
    _ name: VersionName, in catalog: LakeCatalog, columns names: [String]? = nil, checkpoint: () throws -> Void = {}
  ) throws {
    let version = try catalog.version(name)
    try version.requireSearchable()
    let store = ArtifactStore(catalog)
    let outputs = try catalog.outputs(of: version)
    let searcher = try VersionSearcher(
      outputShards: outputs.map { try store.path(ofOutput: $0.digest, of: version) },
      refinedBy: store.refinePlaces(of: outputs, version))
    self.name = name
    (dimension, rowCount) = (searcher.dimension, searcher.rowCount)
    places = VersionPlaces(
      try catalog.inputs(of: version).map { ($0.firstID, $0.rowCount, $0.shardName) })
    self.searcher = searcher
    columns = try Self.columns(names, of: version, catalog, checkpoint)
    hidden = try catalog.hiddenRows(of: version)
  }
}

extension SearchableVersion {
  /// What companions say of a version's rows, as far as they are here now.
  ///
  /// - Parameters:
  ///   - name: The version.
  ///   - catalog: Its lake; reading is enough.
  ///   - names: Columns that are shown; nil for all that are here.
  ///   - checkpoint: Called while they are looked for; an error of it ends the work.
  /// - Returns: Nil where nothing is asked for or known.
  /// - Throws: ``TarnError``; `.usage` for a column that no companion has.
  package static func columns(
    of name: VersionName, in catalog: LakeCatalog, names: [String]?, checkpoint: () throws -> Void = {}
  ) throws -> RowColumns? {
    try columns(names, of: catalog.version(name), catalog, checkpoint)
  }

  private static func columns(
    _ names: [String]?, of version: IndexVersion, _ catalog: LakeCatalog, _ checkpoint: () throws -> Void
  ) throws -> RowColumns? {
    if let names {
      guard !names.isEmpty else { return nil }
      let columns = try RowColumns(catalog, version, names: names)
      try columns.requireNames(checkpoint: checkpoint)
      return columns
    }
    guard try !catalog.companions(of: catalog.ownerOfColumns(of: version)).isEmpty else { return nil }
    let available = try RowColumns(catalog, version, names: []).availableNames(checkpoint: checkpoint)
    return available.isEmpty ? nil : try RowColumns(catalog, version, names: available)
  }
}

extension IndexVersion {
  /// Refuses a version that has no files to search.
  ///
  /// - Throws: ``TarnError`` `.conflict`.
  func requireSearchable() throws {
    guard state == .sealed || state == .revoked else {
      throw TarnError(.conflict, "\(name) is \(state.rawValue), not sealed", hint: state.wayToSealed)
    }
  }
}

/// The rows of a version that nobody is shown.
package struct HiddenRows: Sendable, Equatable {
  /// Those that it was made without, and those that were excluded since; as what a search leaves out.
  package let all: RowSubset
  /// Those of them that its files may still hold; nil for none.
  package let held: RowSubset?
}

extension LakeCatalog {
  /// The rows of a version that must not be shown: those that it was made without, and those that were excluded since.
  ///
  /// Of an adopted version nobody knows which bytes its rows are of: the rows in the places of excluded ones are hidden,
  /// whatever bytes those were of.
  ///
  /// - Parameter version: The version.
  /// - Returns: Its row ids; nil for none.
  /// - Throws: ``TarnError``; `.inputsMissing` where the ids of excluded rows depend on a shard whose rows nobody knows.
  package func hiddenRows(of version: IndexVersion) throws -> HiddenRows? {
    let own = try source(id: version.sourceID)
    guard let source = try own.isAdopted ? version.rowsOf.map(source(named:)) : own else { return nil }
    let inForce = try exclusions(of: source)
    // Of an adopted version nothing was left out when it was made, and its source may be gone from the disk.
    if own.isAdopted, inForce.isEmpty { return nil }
    let inputs = try own.isAdopted ? claimedInputs(of: version, from: source, excluded: inForce) : inputs(of: version)
    var (all, held) = (RowSubset(excluding: true), RowSubset(excluding: true))
    for input in inputs {
      let excluded = inForce[input.shardID] ?? [:]
      let rows = own.isAdopted ? Array(excluded.values.joined()) : input.revision.flatMap { excluded[$0.digest] } ?? []
      for row in input.excludedRows where row < input.rowCount { all.insert(input.firstID + Int64(row)) }
      for row in rows where row < input.rowCount {
        let id = input.firstID + Int64(row)
        if all.insert(id) { held.insert(id) }
      }
    }
    return all.count == 0 ? nil : HiddenRows(all: all, held: held.count == 0 ? nil : held)
  }

  /// The shards whose rows an adopted version's ids are, as far as they are known: a source may have lost rows since.
  private func claimedInputs(
    of version: IndexVersion, from source: Source, excluded: [Int64: [ContentDigest: [Int]]]
  ) throws -> [VersionInput] {
    var counted: Set<Int64> = []
    return try knownClaimedInputs(of: version, from: source) { shard in
      do {
        let count = try shard.plannedRowCount(
          in: source, for: "which rows of \(version.name) are excluded depends on it")
        counted.insert(shard.id)
        return count
      } catch let error as TarnError {
        guard counted.isSuperset(of: excluded.keys) else { throw error }
        return nil
      }
    }.inputs
  }

  /// Rows of an adopted version of which nothing is said: its files are none of the source that they are excluded of.
  ///
  /// - Parameter version: A version.
  /// - Returns: Their ids; nil for none, and of a version that was built, of whose shards it is known.
  /// - Throws: ``TarnError``.
  func claimedHiddenRows(of version: IndexVersion) throws -> RowSubset? {
    try source(id: version.sourceID).isAdopted ? hiddenRows(of: version)?.all : nil
  }

  /// As ``hiddenRows(of:)``, of a version by its name.
  package func hiddenRows(of name: VersionName) throws -> HiddenRows? { try hiddenRows(of: version(name)) }
}
