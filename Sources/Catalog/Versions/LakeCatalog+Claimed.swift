// Whose rows the ids of an adopted version are, as somebody says: nothing proves it, so nothing
// of it is sealed; it is made anew from the source whenever it is asked for.

internal import Base

extension LakeCatalog {
  /// The shards of a source as if a version with ids of these rows had been built from them.
  ///
  /// - Parameters:
  ///   - version: A version that was adopted.
  ///   - source: The source.
  ///   - rowCount: Rows of a shard.
  /// - Returns: The shards that have rows of the version, with the bytes that they have now.
  /// - Throws: ``TarnError`` `.usage` when the version has ids beyond the source's rows.
  package func claimedInputs(
    of version: IndexVersion, from source: Source, rowCount: (Shard) throws -> Int
  ) throws -> [VersionInput] {
    let (inputs, next, end) = try knownClaimedInputs(of: version, from: source) { try rowCount($0) }
    guard next >= end else {
      throw TarnError(
        .usage, "\(version.name) has row ids up to \(end - 1), and \(source.name) has \(next) rows",
        hint: "name the source whose rows its ids count")
    }
    return inputs
  }

  /// The same, as far as the source's rows are known: ids behind them are of no row.
  ///
  /// - Parameters:
  ///   - version: A version that was adopted.
  ///   - source: The source.
  ///   - rowCount: Rows of a shard; nil where nobody knows, which ends what is known.
  /// - Returns: The shards that have rows of the version, the id behind the last row that is known or matters, and the
  ///   one behind the version's last.
  /// - Throws: ``TarnError``, and what `rowCount` throws.
  package func knownClaimedInputs(
    of version: IndexVersion, from source: Source, rowCount: (Shard) throws -> Int?
  ) throws -> (inputs: [VersionInput], next: Int64, end: Int64) {
    let outputs = try outputs(of: version)
    let end = outputs.map(\.endID).max() ?? 0
    var (inputs, next): ([VersionInput], Int64) = ([], 0)
    for shard in try shards(of: source) where next < end {
      guard let rows = try rowCount(shard) else { break }
      let ids = next..<(next + Int64(rows))
      next = ids.upperBound
      guard outputs.contains(where: { $0.firstID < ids.upperBound && ids.lowerBound < $0.endID }) else { continue }
      inputs.append(
        VersionInput(
          ordinal: shard.ordinal, shardID: shard.id, shardName: shard.name, shardOrdinal: shard.ordinal,
          isHole: shard.isDropped, outputOrdinal: 0, firstID: ids.lowerBound, rowCount: rows, revision: shard.revision,
          isNewest: true, path: shard.path, excludedRows: []))
    }
    return (inputs, next, end)
  }

  /// Where a row of an adopted version comes from, if its ids count the rows of a source.
  ///
  /// - Parameters:
  ///   - place: The row among the adopted files.
  ///   - inputs: What ``claimedInputs(of:from:rowCount:)`` gave.
  ///   - source: The source.
  /// - Returns: The row of the source; nil where none of the inputs has it.
  /// - Throws: ``TarnError``.
  package func claimed(_ place: RowLocation, among inputs: [VersionInput], of source: Source) throws -> RowLocation? {
    let input = inputs.last { $0.firstID <= place.id }
    guard let input, input.ids.contains(place.id) else { return nil }
    return RowLocation(
      id: place.id, source: source.name, shard: input.shardName, shardOrdinal: input.shardOrdinal,
      row: Int(place.id - input.firstID), url: try locations(of: input.shardID).first?.url, revision: input.revision,
      outputOrdinal: place.outputOrdinal, isExcluded: false)
  }
}
