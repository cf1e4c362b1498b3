// Ways back from trainings and builds: what is unfinished is given up, a trained
// index that no version was planned on is removed, and one that no sealed version
// names is called something else. Bytes are `gc`'s to take.
//
// Each is one transaction, so that a run that dies did all of it or nothing; the
// history tells a second run that it was done before.

package import Base
internal import GRDB

extension LakeCatalog {
  /// Gives up an unfinished version: its number stays taken, its outputs and
  /// segments are garbage.
  ///
  /// - Parameter name: A version that is planned or building.
  /// - Returns: False when it was abandoned before.
  /// - Throws: ``TarnError`` `.conflict` for one that was sealed, `.notFound`.
  package func abandon(_ name: VersionName) throws -> Bool {
    let version = try version(name)
    guard version.state.canBecome(.abandoned) else {
      throw TarnError(
        .conflict, "\(name) is \(version.state.rawValue), not unfinished",
        hint: version.state == .sealed
          ? "`tarn revoke \(name)` withdraws it" : "`tarn gc --apply` takes its files once their grace is over")
    }
    let isNew = version.state != .abandoned
    if isNew {
      try write("abandon") { database in
        try database.execute(
          sql: "UPDATE index_version SET state = 'abandoned', ended_at = ? WHERE id = ?",
          arguments: [Timestamp.now(), version.id])
        try LakeCatalog.record(.abandoned, "\(name)", [:], database)
      }
    }
    try removeStatements(of: version)
    return isNew
  }

  /// Removes the lock files and documents of the abandoned versions of a name.
  ///
  /// - Parameter name: The name.
  /// - Throws: ``TarnError``.
  func removeStatements(ofAbandoned name: String) throws {
    let abandoned = try read {
      try IndexVersion.fetchAll(
        $0, sql: "SELECT * FROM index_version WHERE name = ? AND state = 'abandoned'", arguments: [name])
    }
    for version in abandoned { try removeStatements(of: version) }
  }

  /// Removes the lock file and the document of a version that was given up.
  ///
  /// A run that died before it could seal left these; without them nothing takes
  /// the version for a sealed one. The document goes first, as it came last.
  private func removeStatements(of version: IndexVersion) throws {
    let paths = [layout.documentPath(version.name), layout.lockFilePath(version.name)]
    let left = paths.filter { Disk.size(of: $0) != nil }
    guard !left.isEmpty, try !isTaken(version) else { return }
    for path in left { try Disk.remove(path) }
  }

  /// Gives up an unfinished training, and its name.
  ///
  /// - Parameter name: A trained index in training.
  /// - Returns: False when it was abandoned before.
  /// - Throws: ``TarnError`` `.conflict` for one that is ready, `.notFound`.
  package func abandonTraining(named name: String) throws -> Bool {
    guard let trained = try findTrainedIndex(named: name) else {
      guard try lastEvent(about: name)?.verb != EventVerb.abandoned.rawValue else { return false }
      let versions = try read {
        try Int.fetchAll(
          $0,
          sql: """
            SELECT number FROM index_version WHERE name = ? AND state IN ('planned', 'building') ORDER BY number DESC
            """, arguments: [name])
      }
      guard let number = versions.first else { throw noTrainedIndex(name) }
      throw TarnError(
        .notFound, "there is no trained index named '\(name.printable)'",
        hint: "`tarn abandon \(name)@\(number)` gives that version up")
    }
    guard trained.state == .training else {
      throw TarnError(
        .conflict, "the trained index \(name) is finished", hint: "`tarn remove \(name)` removes one that nothing uses")
    }
    try abandonTraining(trained)
    return true
  }

  /// Gives up a trained index that can never be finished, and its name.
  ///
  /// - Parameter trained: A trained index in training; one that is ready stays.
  /// - Throws: ``TarnError``.
  package func abandonTraining(_ trained: TrainedIndexRecord) throws {
    try write("abandon training") { try LakeCatalog.giveUp(trained, $0) }
  }

  /// As ``abandonTraining(_:)``, inside a transaction.
  static func giveUp(_ trained: TrainedIndexRecord, _ database: Database) throws {
    // What is known of it goes with it.
    try database.execute(
      sql: "DELETE FROM trained_index WHERE id = ? AND state = 'training'", arguments: [trained.id])
    guard database.changesCount > 0 else { return }
    try record(.abandoned, trained.name, ["spec_sha256": .string(trained.specDigest.hex)], database)
  }

  /// Removes a trained index that no version was planned on, ready or not; its
  /// file and its segments become garbage.
  ///
  /// - Parameter name: The trained index.
  /// - Returns: False when it was removed, or abandoned, before.
  /// - Throws: ``TarnError`` `.conflict`, naming a version that uses it, `.notFound`.
  package func removeTrainedIndex(named name: String) throws -> Bool {
    guard let trained = try findTrainedIndex(named: name) else {
      let gone = [EventVerb.trainedRemove, .abandoned].map(\.rawValue)
      guard let last = try lastEvent(about: name), gone.contains(last.verb) else { throw noTrainedIndex(name) }
      return false
    }
    guard trained.state == .ready else {
      try abandonTraining(trained)
      return true
    }
    let users = try versions(on: trained)
    if let pinned = users.first(where: { $0.versionDigest != nil }) {
      throw TarnError(
        .conflict, "\(pinned.name) pins the trained index \(name), which stays as long as that record",
        hint: "train under another name; `tarn show \(name)` lists its versions")
    }
    if let user = users.first {
      throw TarnError(
        .conflict, "the record of \(user.name), \(user.state.rawValue), names the trained index \(name), which stays",
        hint: "`tarn rename \(name) NEW` frees the name")
    }
    try write("remove trained index") { database in
      try database.execute(sql: "DELETE FROM trained_index WHERE id = ?", arguments: [trained.id])
      try LakeCatalog.record(
        .trainedRemove, name,
        ["sha256": .optional(trained.digest?.hex), "spec_sha256": .string(trained.specDigest.hex)], database)
    }
    return true
  }

  /// Calls a trained index something else.
  ///
  /// - Parameters:
  ///   - name: The trained index, ready or not.
  ///   - other: What it is called from now on.
  /// - Returns: False when it was renamed so before.
  /// - Throws: ``TarnError`` `.conflict`, naming a sealed version that knows it
  ///   by its name or what has the other name; `.usage`, `.notFound`.
  package func renameTrainedIndex(named name: String, to other: String) throws -> Bool {
    try LakeCatalog.validate(name: other, of: "trained index")
    guard let trained = try findTrainedIndex(named: name) else {
      let last = try lastEvent(about: name)
      guard last?.verb == EventVerb.trainedRename.rawValue,
        JSONValue(parsing: last?.detail ?? "")?["to"]?.string == other, try findTrainedIndex(named: other) != nil
      else { throw noTrainedIndex(name) }
      return false
    }
    guard name != other else { return false }
    guard try findTrainedIndex(named: other) == nil else {
      throw TarnError(
        .conflict, "there is a trained index named \(other)",
        hint: "choose another name; `tarn show \(other)` describes the one there is")
    }
    if let pinned = try versions(on: trained).first(where: { $0.versionDigest != nil }) {
      throw TarnError(
        .conflict, "\(pinned.name) pins the trained index \(name) under that name",
        hint: "train again under the other name: the same inputs share the same bytes")
    }
    try write("rename trained index") { database in
      try database.execute(sql: "UPDATE trained_index SET name = ? WHERE id = ?", arguments: [other, trained.id])
      try LakeCatalog.record(.trainedRename, name, ["to": .string(other)], database)
      guard let digest = trained.digest else { return }
      try LakeCatalog.recordTrained(trained.id, other, sha256: digest.hex, from: name, database)
    }
    return true
  }

  /// The versions that were planned on a trained index, in whatever state.
  private func versions(on trained: TrainedIndexRecord) throws -> [IndexVersion] {
    try read {
      try IndexVersion.fetchAll(
        $0, sql: "SELECT * FROM index_version WHERE trained_index_id = ? ORDER BY name, number", arguments: [trained.id]
      )
    }
  }

  /// What became last of the trained index of a name; a source may be called the same.
  private func lastEvent(about name: String) throws -> Event? {
    try read {
      try Event.fetchOne(
        $0,
        sql: """
          SELECT * FROM event WHERE subject = ? AND verb IN ('trained', 'trained-remove', 'trained-rename', 'abandoned')
          ORDER BY seq DESC LIMIT 1
          """, arguments: [name])
    }
  }
}
