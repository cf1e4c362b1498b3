// The history against the rows that it tells of. What was there before the
// history began (a catalog made again, or from before there was one) is exempt,
// and what an event of an older tarn does not carry is said to be unchecked.

package import Base
internal import GRDB

extension LakeCatalog {
  /// Why something of an older tarn is not checked.
  static let isOlder = "recorded by a tarn that kept no digest of it"

  /// The events about a thing, oldest first.
  private func events(about subject: String, _ verb: EventVerb) throws -> [(number: Int, detail: JSONValue)] {
    try read { database in
      try Row.fetchAll(
        database, sql: "SELECT seq, detail FROM event WHERE subject = ? AND verb = ? ORDER BY seq",
        arguments: [subject, verb.rawValue]
      ).map { ($0["seq"], JSONValue(parsing: $0["detail"]) ?? .null) }
    }
  }

  /// What the event of a version's sealing says; nil when there is none.
  func sealedEvent(of version: IndexVersion) throws -> JSONValue? {
    try events(about: "\(version.name)", .sealed).last?.detail
  }

  /// Whether something of a time is older than the history; nothing is older
  /// than a history without events, which no lake in use has.
  private func isBeforeHistory(_ time: String?) throws -> Bool {
    let first = try read { try String.fetchOne($0, sql: "SELECT at FROM event ORDER BY seq LIMIT 1") }
    guard let first, let time else { return false }
    return time <= first
  }

  /// Notes that an event which must be there is not: of what the verdict is about, or of a part of that.
  private func lack(
    _ verb: EventVerb, of what: String, isPart: Bool = false, since time: String?, _ verdict: inout StatementVerdict
  ) throws {
    if try isBeforeHistory(time) {
      // Whoever shows it says what the verdict is about.
      verdict.leaveOut(isPart ? "history of \(what)" : "history", because: "it is older than the history")
    } else {
      verdict.differ("events '\(verb.rawValue)' of \(what)", expected: "in the history", found: "missing")
    }
  }

  // MARK: Versions

  func checkHistory(of version: IndexVersion, _ verdict: inout StatementVerdict) throws {
    verdict.check("the catalog's rows against the history")
    let name = "\(version.name)"
    let row = try read {
      try Row.fetchOne(
        $0, sql: "SELECT environment, sealed_at, ended_at FROM index_version WHERE id = ?", arguments: [version.id])
    }
    let (environment, sealedAt) = (row?["environment"] as String? ?? "", row?["sealed_at"] as String?)
    if let sealed = try sealedEvent(of: version) {
      verdict.compare("version_sha256", expected: sealed["sha256"]?.string, found: version.versionDigest?.hex)
      if let recorded = sealed["environment_sha256"]?.string {
        verdict.compare("SHA-256 of environment", expected: recorded, found: ContentDigest.of(environment).hex)
      } else {
        verdict.leaveOut("environment", because: LakeCatalog.isOlder)
      }
    } else {
      try lack(.sealed, of: name, since: sealedAt, &verdict)
      verdict.leaveOut("environment", because: "no event of the sealing is left")
    }
    if let planned = try events(about: name, .planned).last?.detail["spec_sha256"]?.string {
      verdict.compare("spec_sha256", expected: planned, found: version.specDigest.hex)
    }
    let isRevoked = try !events(about: name, .revoked).isEmpty
    if version.state == .revoked, !isRevoked {
      try lack(.revoked, of: name, since: row?["ended_at"] ?? sealedAt, &verdict)
    } else {
      verdict.compare("state", expected: isRevoked ? "revoked" : "sealed", found: version.state.rawValue)
    }
    try checkPins(of: version, &verdict)
    try checkReproductions(of: version, &verdict)
    try checkEvaluations(of: version, &verdict)
  }

  private func checkPins(of version: IndexVersion, _ verdict: inout StatementVerdict) throws {
    let name = "\(version.name)"
    var told: [String] = []
    let events = try read {
      try Row.fetchAll(
        $0, sql: "SELECT verb, detail FROM event WHERE subject = ? AND verb IN ('pin', 'unpin') ORDER BY seq",
        arguments: [name])
    }
    for event in events {
      if event["verb"] == EventVerb.pin.rawValue {
        told.append("pinned: " + (JSONValue(parsing: event["detail"])?["reason"]?.string ?? ""))
      } else if let last = told.popLast() {
        told.append("un" + last)
      }
    }
    let rows = try read {
      try Row.fetchAll(
        $0, sql: "SELECT reason, removed_at FROM pin WHERE version_id = ? ORDER BY id", arguments: [version.id])
    }
    let found = rows.map { ($0["removed_at"] == nil ? "pinned: " : "unpinned: ") + ($0["reason"] as String) }
    verdict.compare("pins", expected: told.joined(separator: ", "), found: found.joined(separator: ", "))
  }

  private func checkReproductions(of version: IndexVersion, _ verdict: inout StatementVerdict) throws {
    let told = try events(about: "\(version.name)", .reproduction).map(\.detail)
    let found = try read { database in
      try Row.fetchAll(
        database, sql: "SELECT id, ended_at, outcome FROM reproduction WHERE version_id = ? ORDER BY id",
        arguments: [version.id]
      ).map { row in
        (
          at: row["ended_at"] as String, outcome: row["outcome"] as String,
          digest: try RecordDigests.reproduction(row["id"], database)
        )
      }
    }
    // The newest belong together; before the history began there were rows alone.
    for row in found.dropLast(min(told.count, found.count)) {
      try lack(.reproduction, of: "the reproduction of \(row.at)", isPart: true, since: row.at, &verdict)
    }
    if told.count > found.count {
      verdict.differ("number of reproductions", expected: String(told.count), found: String(found.count))
    }
    for (event, row) in zip(told.reversed(), found.reversed()) {
      if let digest = event["sha256"]?.string {
        verdict.compare("SHA-256 of the reproduction of \(row.at)", expected: digest, found: row.digest.hex)
      } else {
        verdict.compare(
          "outcome of the reproduction of \(row.at)", expected: event["outcome"]?.string, found: row.outcome)
        verdict.leaveOut("reproduction of \(row.at)", because: LakeCatalog.isOlder)
      }
    }
  }

  // MARK: Evaluations

  private func checkEvaluations(of version: IndexVersion, _ verdict: inout StatementVerdict) throws {
    var told: [Int64: JSONValue] = [:]
    for event in try events(about: "\(version.name)", .evaluated) {
      if let id = event.detail["evaluation"]?.integer { told[id] = event.detail }
    }
    let found = try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT e.id, e.evaluated_at, e.environment, e.queries_sha256, e.query_count, e.row_count, e.truth_sha256,
            (SELECT max(r.k) FROM evaluation_recall r WHERE r.evaluation_id = e.id) AS k
          FROM evaluation e WHERE e.version_id = ? ORDER BY e.id
          """, arguments: [version.id]
      ).map { (row: $0, digest: try RecordDigests.evaluation($0["id"], database)) }
    }
    let rowCount = try outputs(of: version).reduce(0) { $0 &+ $1.rowCount }
    let inputs = try inputs(of: version).filter { !$0.isHole }
    for (row, digest) in found {
      let id: Int64 = row["id"]
      let what = "evaluation \(id)"
      var isOlder = true
      if let event = told.removeValue(forKey: id) {
        verdict.compare(
          "queries of \(what)", expected: event["queries_sha256"]?.string, found: row["queries_sha256"] as String)
        if let recorded = event["sha256"]?.string {
          verdict.compare("SHA-256 of \(what)", expected: recorded, found: digest.hex)
          isOlder = false
        } else {
          verdict.leaveOut(what, because: LakeCatalog.isOlder)
        }
      } else {
        try lack(.evaluated, of: what, isPart: true, since: row["evaluated_at"], &verdict)
      }
      let sample = Evaluation.sample(in: row["environment"])
      if let sample {
        // Rows that were left out as bad are counted for whole outputs alone.
        let most = inputs.reduce(0) {
          $0 &+ (sample.contains($1.shardOrdinal) ? $1.rowCount - $1.excludedRows.count : 0)
        }
        let found: Int = row["row_count"]
        if version.badRowsPolicy == .fail ? found != most : !(0...most).contains(found) {
          verdict.differ("rows of \(what)", expected: "\(most) of its shards", found: "\(found)")
        }
      } else {
        verdict.compare("rows of \(what)", expected: String(rowCount), found: String(row["row_count"] as Int))
      }
      try checkTruth(of: what, row, version, sample: sample, mayBeUnknown: isOlder, &verdict)
    }
    for id in told.keys.sorted() { verdict.differ("evaluation \(id)", expected: "in the catalog", found: "missing") }
  }

  /// An evaluation against the exact neighbours that it names: they are those of
  /// its queries among the version's rows.
  private func checkTruth(
    of what: String, _ row: Row, _ version: IndexVersion, sample: [Int]?, mayBeUnknown: Bool,
    _ verdict: inout StatementVerdict
  ) throws {
    guard let queries = try row.digest("queries_sha256"), let depth = row["k"] as Int? else { return }
    guard try !source(id: version.sourceID).isAdopted else {
      return verdict.leaveOut("exact neighbours of \(what)", because: "the version was adopted, its rows are unknown")
    }
    let normalisation = JSONValue(parsing: try trainedIndex(id: version.trainedIndexID).spec)?["normalisation"]?.string
    let key = try truthKey(
      queries: queries, k: depth, of: version, sample: sample, normalisation: normalisation ?? "refuse")
    let known = try read {
      try Row.fetchOne(
        $0, sql: "SELECT sha256, pair_count FROM nearest_images WHERE inputs_sha256 = ?", arguments: [key.hex])
    }
    guard let known else {
      // Their row is kept for good; only how it is known may have been another once.
      guard mayBeUnknown else {
        return verdict.differ("exact neighbours of \(what)", expected: "known as \(key)", found: "unknown")
      }
      return verdict.leaveOut("exact neighbours of \(what)", because: "the catalog does not say what they are of")
    }
    verdict.compare(
      "exact neighbours of \(what)", expected: known["sha256"] as String, found: row["truth_sha256"] as String)
    verdict.compare(
      "queries of \(what)", expected: "\(known["pair_count"] as Int)", found: "\(row["query_count"] as Int)")
  }

  /// What the exact neighbours of queries among a version's rows are known by.
  ///
  /// - Parameters:
  ///   - queries: Digest of the query file.
  ///   - k: How many of each query.
  ///   - version: The version.
  ///   - sample: Places in the source of the shards whose rows they are among; nil for
  ///     all of the version.
  ///   - normalisation: What was done about rows that are not of unit length.
  /// - Returns: Digest of all of that.
  /// - Throws: ``TarnError``.
  package func truthKey(
    queries: ContentDigest, k: Int, of version: IndexVersion, sample: [Int]? = nil, normalisation: String
  ) throws -> ContentDigest {
    Self.truthKey(
      queries: queries, k: k, badRows: version.badRowsPolicy,
      among: try inputs(of: version).filter { !$0.isHole && (sample?.contains($0.shardOrdinal) ?? true) },
      array: try source(id: version.sourceID).array, normalisation: normalisation)
  }

  /// As ``truthKey(queries:k:of:sample:normalisation:)``, among inputs that are known.
  package static func truthKey(
    queries: ContentDigest, k: Int, badRows: BadRowsPolicy, among inputs: [VersionInput], array: String?,
    normalisation: String
  ) -> ContentDigest {
    var members: [String: JSONValue] = [
      "format": .string("exact-neighbours-1"), "queries": .string(queries.hex), "k": .count(k),
      "bad_rows": .string(badRows.rawValue), "normalisation": .string(normalisation),
      "rows": .array(
        inputs.map {
          var members: [String: JSONValue] = [
            "sha256": .optional($0.revision?.digest.hex), "first_id": .integer($0.firstID),
            "rows": .count($0.rowCount),
          ]
          if !$0.excludedRows.isEmpty { members["excluded"] = .counts($0.excludedRows) }
          return .object(members)
        }),
    ]
    if let array { members["array"] = .string(array) }
    return .of(JSONValue.object(members).text)
  }

  // MARK: Trained indexes and sources

  /// Holds a trained index's columns and inputs against its specification, and
  /// both against the history.
  ///
  /// - Parameters:
  ///   - trained: A trained index that is ready.
  ///   - believesHistory: Whether events are believed.
  /// - Returns: What was found.
  /// - Throws: ``TarnError``.
  func verdict(of trained: TrainedIndexRecord, believesHistory: Bool) throws -> StatementVerdict {
    var verdict = StatementVerdict()
    try noting(&verdict) { try checkSpecification(of: trained, &$0) }
    guard believesHistory else { return verdict }
    try noting(&verdict) { verdict in
      let (readyAt, digest) = try read { database in
        (
          try String.fetchOne(
            database, sql: "SELECT ready_at FROM trained_index WHERE id = ?", arguments: [trained.id]),
          try RecordDigests.training(trained.id, database)
        )
      }
      guard let event = try events(about: trained.name, .trained).last?.detail else {
        return try lack(.trained, of: trained.name, since: readyAt, &verdict)
      }
      verdict.check("trained indexes against the history")
      verdict.compare("sha256", expected: event["sha256"]?.string, found: trained.digest?.hex)
      guard let recorded = event["measures_sha256"]?.string else {
        return verdict.leaveOut("iterations and epochs", because: LakeCatalog.isOlder)
      }
      verdict.compare("spec_sha256", expected: event["spec_sha256"]?.string, found: trained.specDigest.hex)
      verdict.compare("SHA-256 of iterations and epochs", expected: recorded, found: digest.hex)
    }
    return verdict
  }

  private func checkSpecification(of trained: TrainedIndexRecord, _ verdict: inout StatementVerdict) throws {
    verdict.check("trained indexes against their specifications")
    verdict.compare("spec_sha256", expected: ContentDigest.of(trained.spec).hex, found: trained.specDigest.hex)
    let spec = JSONValue(parsing: trained.spec) ?? .null
    let columns: [(String, JSONValue?, JSONValue)] = [
      ("method", spec["method"], .string(trained.method)), ("codec", spec["codec"], .string(trained.codec)),
      ("nlist", spec["nlist"], .count(trained.nlist)), ("dimension", spec["dimension"], .count(trained.dimension)),
      ("iterations", spec["iterations"], .count(trained.iterations)), ("seed", spec["seed"], .integer(trained.seed)),
      ("pair_count", spec["sample"]?["pairs"], .count(trained.pairCount)),
      ("router", spec["router"]?["method"], .optional(trained.router)),
    ]
    for (name, expected, found) in columns {
      verdict.compare(name, expected: expected ?? .null, found: found)
    }
    let (router, inputs) = try read { database in
      (
        try Row.fetchOne(
          database, sql: "SELECT method, caption_count, epochs FROM trained_router WHERE trained_index_id = ?",
          arguments: [trained.id]),
        try Row.fetchAll(
          database,
          sql: """
            SELECT i.role, i.ordinal, r.sha256, r.row_count, h.source_id, h.ordinal AS place FROM trained_input i
            JOIN shard h ON h.id = i.shard_id
            JOIN shard_revision r ON r.shard_id = i.shard_id AND r.revision = i.revision
            WHERE i.trained_index_id = ? ORDER BY i.role, i.ordinal
            """, arguments: [trained.id])
      )
    }
    if let router {
      let epochs = (spec["router"]?["epochs"]?.integer).map { RouterDefinition.epochs($0, of: router["method"]) }
      verdict.compare(
        "captions of the router", expected: spec["router"]?["captions"] ?? .null,
        found: .integer(router["caption_count"]))
      verdict.compare(
        "epochs of the router", expected: epochs.map { .integer($0) } ?? .null, found: .integer(router["epochs"]))
    }
    for (role, member, sourceID) in [
      ("image", "images", trained.imageSourceID as Int64?), ("caption", "captions", trained.captionSourceID),
    ] {
      let own = inputs.filter { $0["role"] == role }
      let source = try sourceID.map { try self.source(id: $0) }
      verdict.compare(
        "array of \(member)", expected: spec["arrays"]?[member]?.string, found: own.isEmpty ? nil : source?.array)
      let places = spec["shards"]?.elements ?? own.indices.map { .count($0) }
      if !own.isEmpty {
        verdict.compare(
          "shards of \(member)", expected: .array(places), found: .array(own.map { .integer($0["place"]) }))
      }
      let found = own.map { JSONValue.object(["rows": .integer($0["row_count"]), "sha256": .string($0["sha256"])]) }
      verdict.compare(member, expected: .array(spec[member]?.elements ?? []), found: .array(found))
      for (place, row) in own.enumerated() {
        if row["ordinal"] != place {
          verdict.differ("ordinal of \(member)[\(place)]", expected: "\(place)", found: "\(row["ordinal"] as Int)")
        }
        if row["source_id"] != source?.filesID {
          verdict.differ("source of \(member)[\(place)]", expected: "that of the training", found: "another")
        }
      }
    }
  }

  /// Holds a source against what the history tells of it.
  ///
  /// - Parameters:
  ///   - source: A source.
  ///   - history: What events say of all sources.
  /// - Returns: What was found.
  /// - Throws: ``TarnError``.
  func verdict(of source: Source, _ history: SourceHistory) throws -> StatementVerdict {
    var verdict = StatementVerdict()
    let (createdAt, shards, dropped, mirrors) = try read { database in
      (
        try String.fetchOne(database, sql: "SELECT created_at FROM source WHERE id = ?", arguments: [source.id]),
        try Int.fetchOne(database, sql: "SELECT count(*) FROM shard WHERE source_id = ?", arguments: [source.id]),
        try String.fetchAll(
          database, sql: "SELECT name FROM shard WHERE source_id = ? AND dropped_row_count IS NOT NULL",
          arguments: [source.id]),
        try String.fetchAll(
          database, sql: "SELECT template FROM mirror WHERE source_id = ? ORDER BY priority", arguments: [source.id])
      )
    }
    let owner = source.filesOf == nil ? nil : try fileSource(of: source).name
    let told = history.told[source.name]
    if told?.isWhole != true { try lack(.sourceAdd, of: source.name, since: createdAt, &verdict) }
    guard let told else { return verdict }
    verdict.check("sources against the history")
    let columns: [(String, JSONValue?, JSONValue)] = [
      ("dimension", told.dimension, .count(source.dimension)),
      ("dtype", told.elementType, .string(source.elementType.rawValue)),
      ("modality", told.modality, .string(source.modality.rawValue)),
      ("array", told.isWhole ? .optional(told.array) : nil, .optional(source.array)),
      ("source of its files", told.isWhole ? .optional(told.filesOf) : nil, .optional(owner)),
      ("number of shards", told.shardCount, .count(shards ?? 0)),
      (
        "dropped shards", told.isWhole ? .strings(told.tombstones.sorted()) : nil,
        .strings(dropped.sorted())
      ),
      (
        "mirrors", told.mirrors.last.map { .strings($0.templates) },
        .strings(mirrors)
      ),
    ]
    for (name, expected, found) in columns {
      // Registered by an older tarn, or before the history: not everything was told.
      if let expected { verdict.compare(name, expected: expected, found: found) }
    }
    return verdict
  }

  /// Things that the history tells of and the catalog has not any more.
  ///
  /// - Parameter history: What events say of all sources.
  /// - Returns: A difference for each.
  /// - Throws: ``TarnError``.
  func vanished(_ history: SourceHistory) throws -> StatementVerdict {
    var verdict = StatementVerdict()
    let subjects = try read {
      try Row.fetchAll(
        $0,
        sql: """
          SELECT e.verb, e.subject FROM event e WHERE e.verb = 'sealed' AND NOT EXISTS
            (SELECT 1 FROM index_version v WHERE v.name || '@' || v.number = e.subject AND v.version_sha256 IS NOT NULL)
          UNION SELECT e.verb, e.subject FROM event e WHERE e.verb = 'trained' AND NOT EXISTS
            (SELECT 1 FROM trained_index t WHERE t.name = e.subject AND t.state = 'ready') AND NOT EXISTS
            (SELECT 1 FROM event x WHERE x.subject = e.subject AND x.seq > e.seq
              AND x.verb IN ('trained-remove', 'trained-rename'))
          """)
    }
    for row in subjects {
      verdict.differ(row["subject"], expected: "in the catalog (\(row["verb"] as String))", found: "missing")
    }
    let names = Set(try sources().map(\.name))
    for name in history.told.keys.sorted() where !names.contains(name) {
      verdict.differ(name, expected: "in the catalog (\(EventVerb.sourceAdd.rawValue))", found: "missing")
    }
    return verdict
  }
}
