// Sources whose rows belong together by place, and what their files' names say about it.

package import Base
internal import GRDB

extension LakeCatalog {
  /// Names of the files of a source, by place, those of dropped shards too.
  ///
  /// - Parameter source: The source, or one that reads another's files.
  /// - Returns: The names.
  /// - Throws: ``TarnError``.
  package func fileNames(of source: Source) throws -> [String] {
    try read { try LakeCatalog.fileNames(ofFiles: source.filesID, $0) }
  }

  private static func fileNames(ofFiles id: Int64, _ database: Database) throws -> [String] {
    try String.fetchAll(database, sql: "SELECT name FROM shard WHERE source_id = ? ORDER BY ordinal", arguments: [id])
  }

  /// Refuses two sources whose rows would be taken for pairs, and whose files' names say that they are others'.
  ///
  /// - Parameters:
  ///   - source: The one that was to follow the other's order.
  ///   - partner: The other.
  ///   - ordinals: The places that count; nil for all.
  /// - Throws: ``TarnError`` `.usage` naming the first file that stands beside another's.
  package func requirePartners(_ source: Source, _ partner: Source, at ordinals: OrdinalSet? = nil) throws {
    guard source.filesID != partner.filesID else { return }
    try Self.requirePartners(
      fileNames(of: source), of: source.name, with: fileNames(of: partner), of: partner.name, at: ordinals)
  }

  /// As ``requirePartners(_:_:)``, of names.
  ///
  /// - Parameters:
  ///   - names: Names of the files, by place.
  ///   - source: Whose they are.
  ///   - partners: Names of the other source's files.
  ///   - partner: That source.
  ///   - ordinals: The places that count; nil for all.
  /// - Throws: ``TarnError`` `.usage`.
  package static func requirePartners(
    _ names: [String], of source: String, with partners: [String], of partner: String, at ordinals: OrdinalSet? = nil
  ) throws(TarnError) {
    let disagreements = PartnerNames.disagreements(of: names, with: partners)
    guard let first = disagreements.first(where: { ordinals?.contains($0.place) ?? true }) else { return }
    let beside = first.place < partners.count ? partners[first.place] : "nothing"
    throw TarnError(
      .usage,
      "\(names[first.place].printable) of \(source) stands beside \(beside.printable) of \(partner), \(first.reason): "
        + "row i of both would not be pairs",
      hint: "register the files of \(source) under a new name with `tarn source add … --order-of \(partner)`; "
        + "where names mislead, `tarn source add … --shard-names TEMPLATE` gives others")
  }

  /// Shards of a companion that stand beside another shard than their names say.
  ///
  /// - Parameter companion: The companion.
  /// - Returns: By place, why each does.
  /// - Throws: ``TarnError``.
  package func strays(of companion: Source) throws -> [Int: String] {
    try read { try LakeCatalog.strays(of: companion, $0) }
  }

  /// What companions of a source, or it itself where it is one, have beside other shards than their names say.
  ///
  /// - Parameter source: The source.
  /// - Returns: A line for each file.
  /// - Throws: ``TarnError``.
  package func strays(besides source: Source) throws -> [String] {
    let companions = try source.isCompanion ? [source] : companions(of: source)
    return try read { database in
      try companions.flatMap { companion in
        let (names, partners) = try LakeCatalog.partners(of: companion, database)
        return PartnerNames.disagreements(of: names, with: partners).map { stray in
          let beside = stray.place < partners.count ? partners[stray.place].printable : "no file"
          return "\(names[stray.place].printable) of \(companion.name) stands beside \(beside), \(stray.reason): "
            + "it is used for no row"
        }
      }
    }
  }

  /// Names of a companion's files and of its owner's, by place; none of a source that is no companion.
  private static func partners(
    of companion: Source, _ database: Database
  ) throws -> (names: [String], partners: [String]) {
    guard let owner = companion.companionOf else { return ([], []) }
    return (try fileNames(ofFiles: companion.id, database), try fileNames(ofFiles: owner, database))
  }

  /// As ``strays(of:)``, in a transaction.
  static func strays(of companion: Source, _ database: Database) throws -> [Int: String] {
    let (names, partners) = try partners(of: companion, database)
    return Dictionary(
      uniqueKeysWithValues: PartnerNames.disagreements(of: names, with: partners).map { ($0.place, $0.reason) })
  }
}
