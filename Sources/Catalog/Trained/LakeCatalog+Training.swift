// Trained indexes: planned, trained, ready.

package import Base
internal import GRDB

/// What ranks the lists of a trained index, where its centroids do not.
package struct RouterDefinition: Sendable {
  package let method: String
  package let captions: Source
  package let captionCount: Int
  package let epochs: Int

  package init(method: String, captions: Source, captionCount: Int, epochs: Int) {
    self.method = method
    self.captions = captions
    self.captionCount = captionCount
    self.epochs = epochs
  }

  /// The epochs that are recorded of a router.
  ///
  /// - Parameters:
  ///   - stated: What its specification says.
  ///   - method: Its method's name.
  /// - Returns: None for a router that is not trained.
  package static func epochs<Count: BinaryInteger>(_ stated: Count, of method: String) -> Count {
    method == "caption-mean" ? 0 : stated
  }
}

/// A trained index to make: everything that determines its bytes, and a name.
package struct TrainingDefinition: Sendable {
  /// A shard revision that training reads.
  package struct Input: Sendable {
    package let role: String
    package let revision: ShardRevision

    package init(role: String, revision: ShardRevision) {
      self.role = role
      self.revision = revision
    }
  }

  package let name: String
  package let method: String
  package let codec: String
  package let nlist: Int
  package let dimension: Int
  package let iterations: Int
  package let seed: Int64
  package let pairCount: Int
  package let images: Source
  /// Nil for the control that looks at images only.
  package let captions: Source?
  /// Nil where the centroids rank the lists.
  package let router: RouterDefinition?
  /// Canonical JSON of all that determines the bytes.
  package let spec: String
  /// In reading order, images before captions.
  package let inputs: [Input]

  package init(
    name: String, method: String, codec: String, nlist: Int, dimension: Int, iterations: Int, seed: Int64,
    pairCount: Int, images: Source, captions: Source?, router: RouterDefinition? = nil, spec: String, inputs: [Input]
  ) {
    self.name = name
    self.method = method
    self.codec = codec
    self.nlist = nlist
    self.dimension = dimension
    self.iterations = iterations
    self.seed = seed
    self.pairCount = pairCount
    self.images = images
    self.captions = captions
    self.router = router
    self.spec = spec
    self.inputs = inputs
  }
}

extension LakeCatalog {
  // MARK: Trained indexes

  /// A trained index by its name.
  ///
  /// - Parameter name: The trained index's name.
  /// - Returns: The trained index, ready or not.
  /// - Throws: ``TarnError`` `.notFound`.
  package func trainedIndex(named name: String) throws -> TrainedIndexRecord {
    guard let found = try findTrainedIndex(named: name) else { throw noTrainedIndex(name) }
    return found
  }

  func noTrainedIndex(_ name: String) -> TarnError {
    TarnError(
      .notFound, "there is no trained index named '\(name.printable)'",
      hint: (try? near(name, "SELECT name FROM trained_index"))
        ?? "`tarn sql \"SELECT * FROM v_trained_index\"` lists them; `tarn train` makes one")
  }

  /// A trained index by its name; nil when there is none.
  package func findTrainedIndex(named name: String) throws -> TrainedIndexRecord? {
    try read {
      try TrainedIndexRecord.fetchOne($0, sql: TrainedIndexRecord.select + " WHERE t.name = ?", arguments: [name])
    }
  }

  /// The trained indexes that images or captions of a source were, or are being, trained for, by name.
  package func trainings(on source: Source) throws -> [TrainedIndexRecord] {
    try read {
      try TrainedIndexRecord.fetchAll(
        $0,
        sql: TrainedIndexRecord.select + """
           WHERE t.image_source_id = ?1 OR t.caption_source_id = ?1 OR r.caption_source_id = ?1 ORDER BY t.name
          """, arguments: [source.id])
    }
  }

  /// A trained index by its number.
  package func trainedIndex(id: Int64) throws -> TrainedIndexRecord {
    let found = try read {
      try TrainedIndexRecord.fetchOne($0, sql: TrainedIndexRecord.select + " WHERE t.id = ?", arguments: [id])
    }
    guard let found else { throw TarnError(.notFound, "there is no trained index number \(id)") }
    return found
  }

  /// A trained index by the digest of its file, whichever of several has it; nil
  /// when there is none.
  package func trainedIndex(digest: ContentDigest) throws -> TrainedIndexRecord? {
    try read {
      try TrainedIndexRecord.fetchOne(
        $0, sql: TrainedIndexRecord.select + " WHERE t.sha256 = ? ORDER BY t.id", arguments: [digest.hex])
    }
  }

  /// The iterations of a trained index that were recorded, in order.
  package func iterations(of trained: TrainedIndexRecord) throws -> [TrainingIteration] {
    try read {
      try TrainingIteration.fetchAll(
        $0, sql: "SELECT * FROM training_iteration WHERE trained_index_id = ? ORDER BY iteration",
        arguments: [trained.id])
    }
  }

  /// Plans a trained index, or finds the one that was planned before.
  ///
  /// The same name with the same specification is the same trained index, and
  /// one that was never finished gives way to another specification. The same
  /// specification under another name shares its bytes.
  ///
  /// - Parameter definition: What to train.
  /// - Returns: The trained index, `training` or already `ready`.
  /// - Throws: ``TarnError`` `.conflict` when the name means something else.
  package func planTraining(_ definition: TrainingDefinition) throws -> TrainedIndexRecord {
    try LakeCatalog.validate(name: definition.name, of: "trained index")
    let specDigest = ContentDigest.of(definition.spec)
    return try write("plan training") { database in
      // Trainings of one specification work in one directory.
      let others = try String.fetchAll(
        database, sql: "SELECT name FROM trained_index WHERE spec_sha256 = ? AND name <> ? ORDER BY name",
        arguments: [specDigest.hex, definition.name])
      for other in others {
        guard let holder = session?.other(training: other) else { continue }
        throw TarnError(
          .locked, "another tarn trains the same as \(other) (\(holder))",
          hint: "wait for it: \(definition.name) then has the same bytes at once")
      }
      let existing = try trainingThere(definition, database)
      if let existing, existing.specDigest == specDigest { return try LakeCatalog.taken(existing, database) }
      if let existing { try LakeCatalog.giveUp(existing, database) }
      let now = Timestamp.now()
      let same = try LakeCatalog.readyDigest(of: specDigest, database)
      let id = try TrainedIndexRecord.insert(definition, at: now, database)
      var ordinals: [String: Int] = [:]
      for input in definition.inputs {
        let ordinal = ordinals[input.role, default: 0]
        ordinals[input.role] = ordinal + 1
        try TrainedInputRow.insert(
          of: id, role: input.role, ordinal: ordinal, shardID: input.revision.shardID, revision: input.revision.number,
          database)
      }
      if let same { try LakeCatalog.markReady(id, definition.name, sha256: same, database) }
      let planned = try TrainedIndexRecord.fetchOne(
        database, sql: TrainedIndexRecord.select + " WHERE t.id = ?", arguments: [id])
      guard let planned else { preconditionFailure("a row just inserted is gone") }
      return planned
    }
  }

  /// A training that was begun, or what somebody made of the same specification meanwhile, under another name.
  ///
  /// - Parameter trained: The trained index, in whatever state.
  /// - Returns: It, `ready` where there are such bytes.
  /// - Throws: ``TarnError``.
  package func takeFinished(_ trained: TrainedIndexRecord) throws -> TrainedIndexRecord {
    guard trained.state == .training,
      try read({ try LakeCatalog.readyDigest(of: trained.specDigest, $0) }) != nil
    else { return trained }
    return try write("plan training") { try LakeCatalog.taken(trained, $0) }
  }

  /// As ``takeFinished(_:)``, within a transaction.
  private static func taken(_ trained: TrainedIndexRecord, _ database: Database) throws -> TrainedIndexRecord {
    guard trained.state == .training, let same = try readyDigest(of: trained.specDigest, database) else {
      return trained
    }
    try markReady(trained.id, trained.name, sha256: same, database)
    return try TrainedIndexRecord.fetchOne(
      database, sql: TrainedIndexRecord.select + " WHERE t.id = ?", arguments: [trained.id]) ?? trained
  }

  /// The digest of what was made of a specification, under whatever name; nil for nothing.
  private static func readyDigest(of spec: ContentDigest, _ database: Database) throws -> String? {
    try String.fetchOne(
      database, sql: "SELECT sha256 FROM trained_index WHERE spec_sha256 = ? AND state = 'ready'",
      arguments: [spec.hex])
  }

  /// The trained index that a definition is of, if it was planned before.
  ///
  /// - Parameter definition: What to train.
  /// - Returns: What ``planTraining(_:)`` goes on with; nil where it makes another.
  /// - Throws: ``TarnError`` `.conflict` when the name means something else.
  package func trainingThere(_ definition: TrainingDefinition) throws -> TrainedIndexRecord? {
    let existing = try read { try trainingThere(definition, $0) }
    return existing?.specDigest == ContentDigest.of(definition.spec) ? existing : nil
  }

  /// What has the name of a definition, and is of it or may give way to it.
  private func trainingThere(_ definition: TrainingDefinition, _ database: Database) throws -> TrainedIndexRecord? {
    let existing = try TrainedIndexRecord.fetchOne(
      database, sql: TrainedIndexRecord.select + " WHERE t.name = ?", arguments: [definition.name])
    if let existing, existing.specDigest != ContentDigest.of(definition.spec), existing.state != .training {
      throw otherTraining(definition.name)
    }
    return existing
  }

  /// The error that a name means another trained index.
  package func otherTraining(_ name: String) -> TarnError {
    TarnError(
      .conflict, "the trained index \(name) was made from other inputs or parameters",
      hint: "choose another name; `tarn show \(name)` describes the one there is")
  }

  /// The nearest rows of a set of queries, if their bytes are in the lake.
  ///
  /// - Parameter inputs: Digest of what was compared, and for what.
  /// - Returns: Digest of the file at ``path(of:_:)``.
  /// - Throws: ``TarnError``.
  package func nearestImages(of inputs: ContentDigest) throws -> ContentDigest? {
    try read { database in
      try Row.fetchOne(
        database,
        sql: """
          SELECT n.sha256 FROM nearest_images n
          JOIN stored_bytes b ON b.sha256 = n.sha256 AND b.place = 'artifacts' AND b.state = 'present'
          WHERE n.inputs_sha256 = ?
          """, arguments: [inputs.hex])?.digest("sha256")
    }
  }

  /// Records the nearest rows of a set of queries, durable at ``path(of:_:)``
  /// (invariant 1).
  ///
  /// - Parameters:
  ///   - kind: What they are for: `.nearestImages`, `.routerLabels` or
  ///     `.evaluationTruth`.
  ///   - inputs: Digest of what was compared, and for what.
  ///   - digest: Digest of the file.
  ///   - byteCount: Its size.
  ///   - pairCount: Queries in it.
  /// - Throws: ``TarnError``.
  package func recordNearest(
    _ kind: StoredKind, of inputs: ContentDigest, digest: ContentDigest, byteCount: Int, pairCount: Int
  ) throws {
    try write("nearest images") { database in
      try LakeCatalog.addArtifact(digest, kind, byteCount: byteCount, database)
      try NearestImagesRow.insert(kind, of: inputs, digest: digest, pairCount: pairCount, database)
    }
  }

  /// Records what an iteration did; recording it again, or of a trained index
  /// that is ready and made again, changes nothing.
  package func recordIteration(_ iteration: TrainingIteration, of trained: TrainedIndexRecord) throws {
    try write("iteration") { try iteration.insert(of: trained.id, $0) }
  }

  /// Makes the record of a training's iterations that of the state that it goes on from: one that was killed between the
  /// two has an iteration more than is recorded, and one whose state cannot be used begins again.
  ///
  /// - Parameters:
  ///   - iterations: Every one that the state has, in order from 1.
  ///   - trained: The trained index; of one that is ready nothing changes.
  /// - Throws: ``TarnError``.
  package func settleIterations(_ iterations: [TrainingIteration], of trained: TrainedIndexRecord) throws {
    guard trained.state == .training, try self.iterations(of: trained).count != iterations.count else { return }
    try write("iterations") { database in
      try database.execute(
        sql: """
          DELETE FROM training_iteration WHERE trained_index_id = ?1 AND iteration > ?2
            AND (SELECT state FROM trained_index WHERE id = ?1) = 'training'
          """, arguments: [trained.id, iterations.count])
      for iteration in iterations { try iteration.insert(of: trained.id, database) }
    }
  }

  /// Records what an epoch of a router did; recording it again changes nothing.
  ///
  /// - Parameters:
  ///   - epoch: Its number, from 1.
  ///   - loss: Mean cross-entropy, in nats.
  ///   - trained: The trained index.
  /// - Throws: ``TarnError``.
  package func recordRouterEpoch(_ epoch: Int, loss: Double, of trained: TrainedIndexRecord) throws {
    try write("router epoch") { try RouterEpochRow.insert(epoch, loss: loss, of: trained.id, $0) }
  }

  /// Records the finished file of a trained index (invariant 1).
  ///
  /// - Parameters:
  ///   - trained: The trained index.
  ///   - digest: Digest of the file, durable at ``path(of:_:)``.
  ///   - byteCount: Its size.
  ///   - measured: What was measured on the way, by name, for the history.
  /// - Throws: ``TarnError``.
  package func finishTraining(
    _ trained: TrainedIndexRecord, digest: ContentDigest, byteCount: Int, measured: [String: JSONValue] = [:]
  ) throws {
    try write("trained") { database in
      try LakeCatalog.addArtifact(digest, .trainedIndex, byteCount: byteCount, database)
      try LakeCatalog.markReady(trained.id, trained.name, sha256: digest.hex, measured: measured, database)
    }
  }

  private static func markReady(
    _ id: Int64, _ name: String, sha256: String, measured: [String: JSONValue] = [:], _ database: Database
  ) throws {
    try database.execute(
      sql: "UPDATE trained_index SET state = 'ready', sha256 = ?, ready_at = ? WHERE id = ? AND state = 'training'",
      arguments: [sha256, Timestamp.now(), id])
    guard database.changesCount > 0 else { return }
    try recordTrained(id, name, sha256: sha256, measured: measured, database)
  }

  /// Tells the history of a trained index that is ready.
  ///
  /// - Parameters:
  ///   - id: Its number.
  ///   - name: Its name from now on.
  ///   - sha256: Digest of its file.
  ///   - former: The name it had before; nil for one that was trained now.
  ///   - measured: As in ``finishTraining(_:digest:byteCount:measured:)``.
  ///   - database: The connection, in a transaction.
  /// - Throws: SQLite's error.
  static func recordTrained(
    _ id: Int64, _ name: String, sha256: String, from former: String? = nil,
    measured: [String: JSONValue] = [:], _ database: Database
  ) throws {
    let spec = try String.fetchOne(
      database, sql: "SELECT spec_sha256 FROM trained_index WHERE id = ?", arguments: [id])
    var detail: [String: JSONValue] = [
      "sha256": .string(sha256), "spec_sha256": .optional(spec),
      "measures_sha256": .string(try RecordDigests.training(id, database).hex),
    ]
    if let former { detail["from"] = .string(former) }
    detail.merge(measured) { own, _ in own }
    try record(.trained, name, detail, database)
  }
}
