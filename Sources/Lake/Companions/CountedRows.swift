// Which rows the ids of a version count, as companions are asked what is known of them (docs/COMPANIONS.md, invariant 8):
// those of the shards that it was built of, or that were adopted; or those of the source by `--source`, whose companions
// answer where the adopted files have none. Whoever shows columns, or asks for them, has it from here.

internal import Base
internal import Catalog

/// The rows that ids of a version count.
struct CountedRows {
  /// What an id stands for.
  enum Place {
    /// A row of a shard of the owner, by the shard's ordinal.
    case row(Int, of: Int, isExcluded: Bool)
    /// The version has it, and no row of the owner is known that it counts.
    case unknown
    /// The version does not have it, or it is in a hole.
    case none

    /// The ordinal of the shard; nil where it is of none.
    var ordinal: Int? {
      guard case .row(_, let ordinal, _) = self else { return nil }
      return ordinal
    }
  }

  /// A shard of the owner that has rows of the version.
  struct CountedShard {
    let name: String
    let ordinal: Int
    /// The id of its first row, which the version need not have.
    let firstID: Int64
    let rowCount: Int
    /// Rows that the version was made without, ascending.
    let excludedRows: [Int]
    /// Those of its rows of which the version has ids, ascending.
    let rows: [Range<Int>]

    /// The ids of all its rows.
    var ids: Range<Int64> { firstID..<(firstID + Int64(rowCount)) }
  }

  /// The source whose companions answer.
  let owner: Source
  private let catalog: LakeCatalog
  private let version: IndexVersion
  /// The owner's shards where it is the source by `--source`, by first id; nil where they are the version's inputs.
  private let claimed: [VersionInput]?

  /// Finds out whose rows they are, and of a source by `--source` where its shards' rows are.
  init(_ catalog: LakeCatalog, _ version: IndexVersion) throws {
    let source = try catalog.ownerOfColumns(of: version)
    (owner, self.catalog, self.version) = (source, catalog, version)
    if source.id == version.sourceID {
      claimed = nil
    } else {
      // Behind a shard of unknown length nobody knows an id.
      let known = try catalog.knownClaimedInputs(of: version, from: source) { shard in
        try? shard.plannedRowCount(in: source, for: "ids")
      }
      claimed = known.inputs.filter { !$0.isHole && $0.rowCount > 0 }
    }
  }

  /// What ids stand for.
  ///
  /// - Parameter ids: Row ids, in any order, also such as the version has not.
  /// - Returns: For each of them its place.
  /// - Throws: ``TarnError``.
  func places(of ids: [Int64]) throws -> [Place] {
    try catalog.locate(ids, in: version).map { location -> Place in
      guard let location, location.revision != nil else { return .none }
      guard let claimed else {
        return .row(location.row, of: location.shardOrdinal, isExcluded: location.isExcluded)
      }
      let next = claimed.partitioningIndex { $0.firstID > location.id }
      guard next > 0, claimed[next - 1].ids.contains(location.id) else { return .unknown }
      let shard = claimed[next - 1]
      return .row(Int(location.id - shard.firstID), of: shard.shardOrdinal, isExcluded: false)
    }
  }

  /// The shards that have rows of the version.
  ///
  /// - Returns: Those, by first id, and the ids of the version that count no row of them; holes have none.
  /// - Throws: ``TarnError``.
  func shards() throws -> (shards: [CountedShard], unknown: [Range<Int64>]) {
    let inputs = try catalog.inputs(of: version).filter { !$0.isHole && $0.rowCount > 0 }
    guard let claimed else {
      return (inputs.map { Self.shard($0, holding: [0..<$0.rowCount]) }, [])
    }
    return Self.shards(claimed, holding: inputs.map(\.ids))
  }

  /// The ids of each shard of a version, of holes too, and those of no shard, by first id: nothing is in two of them.
  ///
  /// - Returns: The ranges, none empty.
  /// - Throws: ``TarnError``.
  func stretches() throws -> [Range<Int64>] {
    let ids: [Range<Int64>]
    if claimed == nil {
      ids = try catalog.inputs(of: version).filter { $0.rowCount > 0 }.map(\.ids)
    } else {
      let (shards, unknown) = try self.shards()
      ids = shards.map(\.ids) + unknown
    }
    return ids.sorted { $0.lowerBound < $1.lowerBound }
  }

  /// What companions have of the rows, of a shard the bytes that count.
  ///
  /// Of a source by `--source` nothing is bound: what its companions have now is of its rows as they are counted now.
  ///
  /// - Parameter ordinals: Places of shards in the owner; nil for all.
  /// - Returns: By companion and ordinal; what has other rows than its shard is not among them.
  /// - Throws: ``TarnError``.
  func bound(ordinals: Set<Int>? = nil) throws -> [BoundCompanion] {
    guard let claimed else { return try catalog.boundCompanions(of: version, ordinals: ordinals) }
    let asked = claimed.filter { ordinals?.contains($0.shardOrdinal) ?? true }
    let rowCounts = asked.map { ($0.shardOrdinal, $0.rowCount) }
    return try catalog.newestCompanions(
      of: owner, rowCounts: Dictionary(rowCounts, uniquingKeysWith: { first, _ in first }))
  }

  // MARK: Ids and rows

  private static func shard(_ input: VersionInput, holding rows: [Range<Int>]) -> CountedShard {
    CountedShard(
      name: input.shardName, ordinal: input.shardOrdinal, firstID: input.firstID, rowCount: input.rowCount,
      excludedRows: input.excludedRows, rows: rows)
  }

  /// Which rows of shards some ids are, and which ids are of none of them.
  ///
  /// - Parameters:
  ///   - claimed: The shards, by first id, none without rows.
  ///   - ids: Ranges that do not overlap, none empty.
  /// - Returns: The shards that have some of them, by first id, and those ids.
  private static func shards(
    _ claimed: [VersionInput], holding ids: [Range<Int64>]
  ) -> (shards: [CountedShard], unknown: [Range<Int64>]) {
    var rows = [[Range<Int>]](repeating: [], count: claimed.count)
    var unknown: [Range<Int64>] = []
    for range in ids.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      var next = range.lowerBound
      var place = claimed.partitioningIndex { $0.ids.upperBound > range.lowerBound }
      while place < claimed.count, claimed[place].firstID < range.upperBound {
        let (shard, part) = (claimed[place].ids, claimed[place].ids.clamped(to: range))
        if next < part.lowerBound { unknown.append(next..<part.lowerBound) }
        rows[place].append(Int(part.lowerBound - shard.lowerBound)..<Int(part.upperBound - shard.lowerBound))
        next = part.upperBound
        place += 1
      }
      if next < range.upperBound { unknown.append(next..<range.upperBound) }
    }
    return (zip(claimed, rows).filter { !$1.isEmpty }.map { shard($0, holding: $1) }, unknown)
  }
}

extension LakeCatalog {
  /// The source whose companions say what a version's rows are: its own, and of an adopted version the one by its
  /// `--source` where the adopted files have no companion.
  ///
  /// - Parameter version: The version.
  /// - Returns: The source; it may have no companion.
  /// - Throws: ``TarnError``.
  func ownerOfColumns(of version: IndexVersion) throws -> Source {
    let own = try source(id: version.sourceID)
    guard own.isAdopted, let name = version.rowsOf, try companions(of: own).isEmpty else { return own }
    return try source(named: name)
  }
}
