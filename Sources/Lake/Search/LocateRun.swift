// `locate`: which row of which shard a row id stands for, and that it is in the
// index at all.

internal import Base
package import Catalog
internal import Foundation
internal import Indexer

/// Finds where row ids of a version come from.
package struct LocateRun {
  let catalog: LakeCatalog
  let cancellation: Cancellation

  /// Prepares to look.
  ///
  /// - Parameters:
  ///   - catalog: A lake; reading is enough.
  ///   - cancellation: Asked between outputs.
  package init(_ catalog: LakeCatalog, cancellation: Cancellation) {
    self.catalog = catalog
    self.cancellation = cancellation
  }

  /// Row ids of a file.
  ///
  /// - Parameters:
  ///   - input: One id a line, or a `.npy` of int64.
  ///   - name: The version whose ids they are.
  /// - Returns: The ids, in their order.
  /// - Throws: ``TarnError`` `.usage` naming the place of what is no id of a row.
  package func ids(in input: RowIDInput, of name: VersionName) throws -> [Int64] {
    var ids: [Int64] = []
    let file = try RowIDFile(input, of: catalog.version(name), in: catalog)
    try file.read(checkpoint: { try cancellation.check() }) { ids.append($0) }
    return ids
  }

  /// Finds rows.
  ///
  /// Bad rows that a build left out are in no list of its outputs: where rows may
  /// have been left out, the ids of the outputs in question are read.
  ///
  /// - Parameters:
  ///   - ids: Row ids, as search gives them.
  ///   - name: The version.
  ///   - passesOver: Whether bad rows that were left out are passed over, as nobody named them.
  /// - Returns: The place of each id, in their order.
  /// - Throws: ``TarnError`` `.notFound` for an id that the version does not have,
  ///   of a missing shard, or of a bad row.
  package func run(
    _ ids: [Int64], in name: VersionName, passingOverBadRows passesOver: Bool = false
  ) throws -> [RowLocation] {
    cancellation.listen()
    let version = try catalog.version(name)
    try catalog.requireBorneOut(version)
    var places = try zip(ids, catalog.locate(ids, in: version)).map { id, place in
      guard let place else {
        throw TarnError(
          .notFound, "\(name) has no row \(id)", hint: "its ids are in `tarn sql \"SELECT * FROM v_version_input\"`")
      }
      guard place.revision != nil else {
        throw TarnError(.notFound, "row \(id) of \(name) is in a hole: \(place.shard) was missing when it was built")
      }
      return place
    }
    for place in places where place.isExcluded {
      let reason = try place.revision.flatMap {
        try catalog.reasonForExclusion(ofRow: place.row, of: $0, in: place.source)
      }
      throw TarnError(
        .notFound,
        "row \(place.id) of \(name) is not in the index: row \(place.row) of \(place.shard) is excluded"
          + (reason.map { " (\($0.printable))" } ?? ""))
    }
    guard version.badRowsPolicy == .skip else { return places }
    let isAdopted = try catalog.source(id: version.sourceID).isAdopted
    let indexed = try indexed(places, of: version)
    func isLeftOut(_ place: RowLocation) -> Bool {
      indexed[place.outputOrdinal].map { $0.lists[place.id] == nil } ?? false
    }
    if passesOver { places.removeAll(where: isLeftOut) }
    let left = places.first(where: isLeftOut)
    if isAdopted {
      if let left { throw TarnError(.notFound, "\(name) has no row \(left.id)", hint: "it is in none of its files") }
      return try claimed(places, of: version)
    }
    if let place = left {
      throw TarnError(
        .notFound,
        "row \(place.id) of \(name) is not in the index: row \(place.row) of \(place.shard) was bad when it was built",
        hint: "it was left out, as `tarn build --bad-rows skip` does")
    }
    return places
  }

  /// The places of an adopted version's rows in the source that its ids are said to count.
  private func claimed(_ places: [RowLocation], of version: IndexVersion) throws -> [RowLocation] {
    let (source, inputs) = try catalog.rows(
      of: version, for: "which row an id stands for cannot be told",
      hint: "`tarn adopt version OTHER FILE… --trained NAME --source SOURCE` says whose rows the ids count")
    return try places.map { place in
      guard let found = try catalog.claimed(place, among: inputs, of: source) else {
        throw TarnError(.notFound, "\(source.name) has no row \(place.id)", hint: "its shards have other rows now")
      }
      return found
    }
  }

  /// Which of the rows each output holds; none for an output whose file is gone.
  private func indexed(_ places: [RowLocation], of version: IndexVersion) throws -> [Int: Filing] {
    var found: [Int: Filing] = [:]
    for output in try catalog.outputs(of: version) {
      let wanted = places.filter { $0.outputOrdinal == output.ordinal }.map(\.id)
      let path = try ArtifactStore(catalog).path(of: .outputShard, output.digest)
      guard !wanted.isEmpty, Disk.size(of: path) != nil else { continue }
      try cancellation.check()
      var filing = Filing(wanted: wanted)
      try filing.add(OutputShardFile(path: path))
      found[output.ordinal] = filing
    }
    return found
  }
}
