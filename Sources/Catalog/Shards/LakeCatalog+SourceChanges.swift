// A source that was registered wrongly, corrected: renamed, of another kind,
// shortened or removed, as long as nothing that is kept for good states otherwise. The
// schema's guards refuse the same; here is said what stands in the way.

package import Base
internal import GRDB

extension LakeCatalog {
  /// Sealed versions whose documents tell of a source or of its files, whoever reads those, revoked ones too.
  static func documented(by source: Source, _ database: Database) throws -> [String] {
    try versions(of: source, where: "\(readsItsFiles) AND v.version_sha256 IS NOT NULL", database)
  }

  /// Versions that rest on what a source or its files are: sealed ones, revoked or not, and those in work.
  static func versions(restingOn source: Source, _ database: Database) throws -> [String] {
    try versions(
      of: source, where: "\(readsItsFiles) AND (v.state <> 'abandoned' OR v.version_sha256 IS NOT NULL)", database)
  }

  /// The versions of which something holds, a source being `?1`.
  private static func versions(of source: Source, where what: String, _ database: Database) throws -> [String] {
    try String.fetchAll(
      database,
      sql: """
        SELECT v.name || '@' || v.number FROM index_version v JOIN trained_index t ON t.id = v.trained_index_id
        WHERE \(what) ORDER BY v.name, v.number
        """, arguments: [source.id])
  }

  /// That a version is of rows that the source has, or was adopted as such.
  private static let hasItsRows = """
    (v.source_id = ?1 OR t.image_source_id = ?1 OR t.caption_source_id IS ?1
      OR json_extract(v.environment, '$.\(IndexVersion.rowsOfMember)') = (SELECT name FROM source WHERE id = ?1))
    """

  /// That a version is of the source or of one that reads its files, too.
  private static let readsItsFiles = """
    EXISTS (SELECT 1 FROM source s WHERE (s.id = ?1 OR s.files_of = ?1)
      AND s.id IN (v.source_id, t.image_source_id, coalesce(t.caption_source_id, 0)))
    """

  /// Refuses a change of what versions state of their sources, from their planning on.
  private static func requireUnstated(_ source: Source, _ isWhat: String, _ database: Database) throws {
    try refuse(source, isWhat, for: versions(of: source, where: "\(hasItsRows) AND v.state <> 'abandoned'", database))
  }

  /// Refuses a change of what bytes were held against.
  private static func requireUnused(
    _ source: Source, _ isWhat: String, isGoing: Bool = false, _ database: Database
  ) throws {
    let versions = try versions(of: source, where: hasItsRows, database)
    let trained = try String.fetchAll(
      database,
      sql: """
        SELECT t.name FROM trained_index t LEFT JOIN trained_router r ON r.trained_index_id = t.id
        WHERE ?1 IN (t.image_source_id, coalesce(t.caption_source_id, 0), coalesce(r.caption_source_id, 0))
        ORDER BY t.name
        """, arguments: [source.id])
    try refuse(source, isWhat, for: versions + trained.map(dependent))
    if isGoing, source.filesOf != nil { return }
    let observed = try Int.fetchOne(
      database,
      sql: """
        SELECT count(*) FROM shard h WHERE h.source_id = ?
          AND EXISTS (SELECT 1 FROM shard_revision r WHERE r.shard_id = h.id)
        """, arguments: [source.filesID])
    guard let observed, observed > 0 else { return }
    throw TarnError(
      .conflict, "\(source.name) \(isWhat): \(observed) of its shards were fetched, and what they were is kept",
      hint: "register the right one under another name; `tarn source rename` frees this one, `tarn evict` its room")
  }

  /// Whether the dimension and the element type of a source may be corrected still.
  package func allowsOtherRows(of source: Source) -> Bool {
    do {
      try read { try LakeCatalog.requireUnused(source, "keeps its rows", $0) }
      return true
    } catch {
      return false
    }
  }

  private static func refuse(_ source: Source, _ isWhat: String, for dependents: [String]) throws {
    guard !dependents.isEmpty else { return }
    throw TarnError(
      .conflict,
      "\(source.name) \(isWhat): \(dependents.listed(1)) \(dependents.count == 1 ? "rests" : "rest") on it",
      hint: "register the right one under another name")
  }

  /// Gives a source another name.
  ///
  /// - Parameters:
  ///   - source: A source that no version rests on.
  ///   - name: Its new name.
  /// - Throws: ``TarnError`` `.usage`, `.conflict`.
  package func rename(_ source: Source, to name: String) throws {
    try LakeCatalog.validate(name: name, of: "source")
    guard !name.utf8.elementsEqual(source.name.utf8) else { return }
    try write("rename source") { database in
      try LakeCatalog.requireUnstated(source, "keeps its name", database)
      let isTaken = try Bool.fetchOne(
        database, sql: "SELECT EXISTS (SELECT 1 FROM source WHERE name = ?)", arguments: [name])
      guard isTaken != true else {
        throw TarnError(.conflict, "there is a source named \(name) already", hint: "choose another name")
      }
      try database.run("UPDATE source SET name = ? WHERE id = ?", [name, source.id])
      try LakeCatalog.record(.sourceRename, name, ["from": .string(source.name)], database)
    }
  }

  /// Corrects what the rows of a source are.
  ///
  /// - Parameters:
  ///   - source: A source that no version rests on.
  ///   - modality: What they are features of; nil to leave it.
  ///   - dimension: Elements of a row; nil to leave it, as where something was fetched.
  ///   - elementType: Their type; nil to leave it.
  /// - Returns: Whether that changed anything.
  /// - Throws: ``TarnError`` `.conflict`.
  package func set(
    _ source: Source, modality: Modality?, dimension: Int?, elementType: ElementType?
  ) throws -> Bool {
    let values: [(column: String, old: JSONValue, new: JSONValue)] = [
      ("modality", .string(source.modality.rawValue), .string((modality ?? source.modality).rawValue)),
      ("dimension", .count(source.dimension), .count(dimension ?? source.dimension)),
      ("dtype", .string(source.elementType.rawValue), .string((elementType ?? source.elementType).rawValue)),
    ].filter { $0.1 != $0.2 }
    guard !values.isEmpty else { return false }
    guard !source.isCompanion else { throw source.isNoFeatures("have a modality, dimension or dtype") }
    try write("set source") { database in
      for value in values {
        let words = "keeps its \(value.column)"
        try value.column == "modality"
          ? LakeCatalog.requireUnstated(source, words, database) : LakeCatalog.requireUnused(source, words, database)
      }
      try database.run(
        "UPDATE source SET modality = ?, dimension = ?, dtype = ? WHERE id = ?",
        [
          (modality ?? source.modality).rawValue, dimension ?? source.dimension,
          (elementType ?? source.elementType).rawValue, source.id,
        ])
      // What was seen on mirrors was held against the old kind.
      let isOfRows = values.contains { $0.column != "modality" }
      if isOfRows {
        try database.run(
          "UPDATE shard_location SET row_count = NULL, state = 'unknown', last_error = NULL, checked_at = NULL "
            + "WHERE shard_id IN (SELECT id FROM shard WHERE source_id = ?)", [source.filesID])
        try database.run("UPDATE shard SET last_error = NULL WHERE source_id = ?", [source.filesID])
      }
      var detail = Dictionary(uniqueKeysWithValues: values.map { ($0.column, $0.new) })
      for value in values { detail["was_\(value.column)"] = value.old }
      try LakeCatalog.record(.sourceSet, source.name, detail, database)
    }
    return true
  }

  /// Removes a source of which nothing was ever fetched.
  ///
  /// - Parameter source: The source.
  /// - Throws: ``TarnError`` `.conflict`.
  package func remove(_ source: Source) throws {
    let mirrors = try source.filesOf == nil ? mirrors(of: source) : []
    try write("remove source") { database in
      try LakeCatalog.requireUnread(source, database)
      try LakeCatalog.requireUnused(source, "is kept", isGoing: true, database)
      let companion = try String.fetchOne(
        database, sql: "SELECT name FROM source WHERE companion_of = ? ORDER BY name", arguments: [source.id])
      if let companion {
        throw TarnError(
          .conflict, "\(source.name) is kept: its companion \(companion) stands beside it",
          hint: "`tarn source remove \(companion)` goes before")
      }
      try LakeCatalog.requireNoRules(source, database)
      let shards = try Int64.fetchAll(
        database, sql: "SELECT id FROM shard WHERE source_id = ?", arguments: [source.id])
      for shard in shards { try LakeCatalog.delete(shard, database) }
      try database.run("DELETE FROM source_listing WHERE source_id = ?", [source.id])
      try database.run("DELETE FROM mirror WHERE source_id = ?", [source.id])
      try database.run("DELETE FROM source WHERE id = ?", [source.id])
      try LakeCatalog.record(
        .sourceRemove, source.name, source.detail(shardCount: shards.count, mirrors: mirrors.map(\.template)), database)
    }
  }

  /// Deletes a shard that was never observed, and what is known of it on mirrors.
  static func delete(_ shardID: Int64, _ database: Database) throws {
    try database.run("DELETE FROM transfer WHERE shard_id = ?", [shardID])
    try database.run("DELETE FROM shard_location WHERE shard_id = ?", [shardID])
    try database.run("DELETE FROM shard WHERE id = ?", [shardID])
  }
}
