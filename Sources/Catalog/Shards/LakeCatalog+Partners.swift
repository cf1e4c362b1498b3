// Sources whose rows belong together by place, and what their files' names say about it.

package import Base
internal import GRDB
internal import Synchronization

/// What stands beside other shards than its name says, of companions that were looked at: a search asks for it each
/// time, and to tell it takes the names of all shards.
final class StrayCache: Sendable {
  struct Entry {
    /// The newest events of both sources: one that gets, loses or changes shards says so there.
    let seen: [Int64]
    let strays: [Int: String]
  }
  /// By the companions' numbers.
  let entries = Mutex<[Int64: Entry]>([:])
}

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

  /// Rows that ids stand for of shards of a source that were dropped.
  ///
  /// - Parameter source: The source, or one that reads another's files.
  /// - Returns: By place.
  /// - Throws: ``TarnError``.
  package func droppedRowCounts(of source: Source) throws -> [Int: Int] {
    let rows = try read { database in
      try Row.fetchAll(
        database,
        sql: "SELECT ordinal, dropped_row_count FROM shard WHERE source_id = ? AND dropped_row_count IS NOT NULL",
        arguments: [source.filesID])
    }
    return Dictionary(uniqueKeysWithValues: rows.map { ($0["ordinal"] as Int, $0["dropped_row_count"] as Int) })
  }

  /// The source of images in whose order the files of captions are, by their names: the only one, or the only one of
  /// those that a training paired with them.
  ///
  /// - Parameter captions: A source.
  /// - Returns: Nil where it is not known, and for what is no source of captions.
  /// - Throws: ``TarnError``.
  package func images(followedBy captions: Source) throws -> Source? {
    guard captions.modality == .text, !captions.isCompanion else { return nil }
    let names = try fileNames(of: captions)
    let followed = try fileSources([]).filter { source in
      try source.modality == .image && !source.isCompanion && source.id != captions.filesID
        && PartnerNames.follow(names, fileNames(of: source))
    }
    guard followed.count > 1 else { return followed.first }
    let paired = try read { database in
      try Int64.fetchAll(
        database,
        sql: """
          SELECT DISTINCT coalesce(i.files_of, i.id) FROM trained_index t JOIN source i ON i.id = t.image_source_id
          JOIN source c ON c.id = t.caption_source_id WHERE coalesce(c.files_of, c.id) = ?
          """, arguments: [captions.filesID])
    }
    let known = followed.filter { paired.contains($0.id) }
    return known.count == 1 ? known.first : nil
  }

  /// What can be done with files that stand, or would stand, beside another's, or that wait for one that never comes.
  ///
  /// - Parameters:
  ///   - partner: The source that they pair with.
  ///   - isCompanion: Whether they say what is known of its rows.
  /// - Returns: A sentence.
  package static func way(besides partner: String, companion isCompanion: Bool) -> String {
    "`tarn source add … \(isCompanion ? "--companion-of" : "--order-of") \(partner) --url-list LIST` registers them under "
      + "a new name, with an address for each shard of \(partner), also of a file that never comes (`tarn source add … "
      + "--allow-inside` for files of this machine); `tarn sync --missing skip` then passes over what is not there"
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
  ///   - isCompanion: Whether the files say what is known of the other source's rows.
  /// - Throws: ``TarnError`` `.usage`.
  package static func requirePartners(
    _ names: [String], of source: String, with partners: [String], of partner: String, at ordinals: OrdinalSet? = nil,
    companion isCompanion: Bool = false
  ) throws(TarnError) {
    let disagreements = PartnerNames.disagreements(of: names, with: partners)
    guard let first = disagreements.first(where: { ordinals?.contains($0.place) ?? true }) else { return }
    let beside = first.place < partners.count ? partners[first.place] : "nothing"
    throw TarnError(
      .usage,
      "\(names[first.place].printable) of \(source) stands beside \(beside.printable) of \(partner), \(first.reason): "
        + "row i of both would not be pairs",
      hint: (isCompanion
        ? "a list that is in another order is put in that of \(partner) by --order-of \(partner); leave out files that "
          + "\(partner) has none for"
        : "`tarn source add … --order-of \(partner)` puts the files of \(source) into that order, under a new name")
        + "; " + way(besides: partner, companion: isCompanion)
        + "; where names mislead, `tarn source add … --shard-names TEMPLATE` gives others")
  }

  /// Shards of a companion that stand beside another shard than their names say.
  ///
  /// - Parameter companion: The companion.
  /// - Returns: By place, why each does.
  /// - Throws: ``TarnError``.
  package func strays(of companion: Source) throws -> [Int: String] {
    try read { try strays(of: companion, $0) }
  }

  /// What companions of a source, or it itself where it is one, have beside other shards than their names say.
  ///
  /// - Parameter source: The source.
  /// - Returns: A line for each file, behind the last of each companion what can be done.
  /// - Throws: ``TarnError``.
  package func strays(besides source: Source) throws -> [String] {
    let owner = try source.companionOf.map { try self.source(id: $0) } ?? fileSource(of: source)
    let companions = try source.isCompanion ? [source] : companions(of: source)
    return try companions.flatMap { companion in
      let (names, partners) = try read { try LakeCatalog.partners(of: companion, $0) }
      var lines = PartnerNames.disagreements(of: names, with: partners, registered: true).map { stray in
        let beside = stray.place < partners.count ? partners[stray.place].printable : "no file"
        return "\(names[stray.place].printable) of \(companion.name) stands beside \(beside), \(stray.reason): "
          + "it is used for no row"
      }
      if let last = lines.popLast() {
        lines.append("\(last); \(LakeCatalog.way(besides: owner.name, companion: true))")
      }
      return lines
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
  func strays(of companion: Source, _ database: Database) throws -> [Int: String] {
    guard let owner = companion.companionOf else { return [:] }
    // The database's own number of a source is given again; a name's events are not.
    let seen = try Int64.fetchAll(
      database,
      sql: """
        SELECT coalesce((SELECT max(e.seq) FROM event e WHERE e.subject = s.name), 0) FROM source s
        WHERE s.id IN (?1, ?2) ORDER BY s.id = ?2
        """, arguments: [companion.id, owner])
    if let known = strayCache.entries.withLock({ $0[companion.id] }), known.seen == seen { return known.strays }
    let (names, partners) = try LakeCatalog.partners(of: companion, database)
    let strays = Dictionary(
      uniqueKeysWithValues: PartnerNames.disagreements(of: names, with: partners, registered: true).map {
        ($0.place, $0.reason)
      })
    strayCache.entries.withLock { $0[companion.id] = StrayCache.Entry(seen: seen, strays: strays) }
    return strays
  }
}
