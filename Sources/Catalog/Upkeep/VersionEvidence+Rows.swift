// What the files of a version say, as the rows that a catalog has of it: of a version that is
// pulled and of one whose catalog is made again alike.

internal import Base
internal import GRDB

extension VersionEvidence {
  /// Records its trained index, which is ready then.
  ///
  /// - Parameters:
  ///   - sources: The sources of the document, by name.
  ///   - shardIDs: Numbers of the shards of each source, by their names.
  ///   - revisions: Numbers of the revisions that are recorded, by shard and digest.
  ///   - time: When it got ready.
  ///   - database: Where to.
  /// - Returns: Its number.
  /// - Throws: ``TarnError`` `.integrity` where it was made from what the document does not name.
  func insertTrained(
    from sources: [String: Source], shardIDs: [String: [String: Int64]], revisions: [Int64: [ContentDigest: Int]],
    at time: String, _ database: Database
  ) throws -> Int64 {
    let id = try TrainedIndexRecord.insert(definition(from: sources, database), at: time, database)
    try insertTrainedInputs(of: id, shardIDs: shardIDs, revisions: revisions, database)
    try database.run(
      "UPDATE trained_index SET state = 'ready', sha256 = ?, ready_at = ? WHERE id = ?",
      [document.trained.sha256.hex, time, id])
    return id
  }

  /// How its trained index was made, without inputs.
  private func definition(from sources: [String: Source], _ database: Database) throws -> TrainingDefinition {
    let trained = document.trained
    guard let images = sources[trained.images] else { throw unnamedInput }
    let captions = try trained.captions.map { name in
      guard let source = sources[name] else { throw unnamedInput }
      return source
    }
    let pairs = try Bool.fetchOne(
      database, sql: "SELECT has_captions FROM training_method WHERE name = ?", arguments: [trained.method])
    let router = training.router.flatMap { router in
      captions.map {
        RouterDefinition(
          method: router.method, captions: $0, captionCount: router.captions,
          epochs: RouterDefinition.epochs(router.epochs, of: router.method))
      }
    }
    return TrainingDefinition(
      name: trained.name, method: trained.method, codec: trained.codec, nlist: trained.nlist,
      dimension: images.dimension, iterations: trained.iterations, seed: trained.seed, pairCount: trained.pairs,
      images: images, captions: pairs == true ? captions : nil, router: router, spec: trained.spec, inputs: [])
  }

  /// Records which bytes its trained index was made from.
  private func insertTrainedInputs(
    of trainedID: Int64, shardIDs: [String: [String: Int64]], revisions: [Int64: [ContentDigest: Int]],
    _ database: Database
  ) throws {
    var sides = [(role: "image", source: document.trained.images, shards: training.images)]
    if let captions = document.trained.captions, let shards = training.captions {
      sides.append((role: "caption", source: captions, shards: shards))
    }
    for side in sides {
      let all = document.sources.first(where: { $0.name == side.source })?.shards ?? []
      for (ordinal, shard) in side.shards.enumerated() {
        // A source may have a shard's bytes twice: its place says which it is.
        let place = training.shards.map { $0.indices.contains(ordinal) ? $0[ordinal] : -1 } ?? ordinal
        guard all.indices.contains(place), all[place].trainedDigest == shard.sha256,
          let id = shardIDs[side.source]?[all[place].name], let revision = revisions[id]?[shard.sha256]
        else { throw unnamedInput }
        try TrainedInputRow.insert(
          of: trainedID, role: side.role, ordinal: ordinal, shardID: id, revision: revision, database)
      }
    }
  }

  /// That the document lacks a shard that the training read.
  private var unnamedInput: TarnError {
    TarnError(.integrity, "the document of \(sealedName) does not name a shard it was trained on")
  }

  /// Records the version with its plan, to get its outputs.
  ///
  /// - Parameters:
  ///   - name: Its name here.
  ///   - trainedID: The number of its trained index.
  ///   - sources: The sources of the document, by name.
  ///   - shardIDs: Numbers of the shards of each source, by their names.
  ///   - revisions: Numbers of the revisions that are recorded, by shard and digest.
  ///   - time: When it was planned.
  ///   - database: Where to.
  /// - Returns: Its number.
  /// - Throws: ``TarnError`` `.schemaNewer` for a policy that is not known; `.integrity` for a shard that its source
  ///   has not.
  func insertVersion(
    _ name: VersionName, trainedID: Int64, from sources: [String: Source], shardIDs: [String: [String: Int64]],
    revisions: [Int64: [ContentDigest: Int]], at time: String, _ database: Database
  ) throws -> Int64 {
    guard let missing = MissingPolicy(rawValue: document.missing),
      let badRows = BadRowsPolicy(rawValue: document.badRows), let source = sources[document.source]
    else { throw TarnError(.schemaNewer, "\(self.name) has a policy that this tarn does not know") }
    let id = try IndexVersion.insert(
      name, publishedAs: sealedName, trainedID: trainedID, sourceID: source.id,
      shardsPerOutput: document.shardsPerOutput, missing: missing, badRows: badRows, spec: document.spec,
      environment: "{}", at: time, database)
    try insertInputs(of: id, shardIDs: shardIDs[document.source] ?? [:], revisions: revisions, database)
    try database.run("UPDATE index_version SET state = 'building' WHERE id = ?", [id])
    return id
  }

  /// Records the plan of its inputs.
  private func insertInputs(
    of versionID: Int64, shardIDs: [String: Int64], revisions: [Int64: [ContentDigest: Int]], _ database: Database
  ) throws {
    for (ordinal, input) in lock.inputs.enumerated() {
      guard let shard = shardIDs[input.shard] else {
        throw TarnError(.integrity, "its source \(document.source) has no shard \(input.shard.printable)")
      }
      try VersionInput.insert(
        of: versionID, ordinal: ordinal, shardID: shard, revision: input.sha256.flatMap { revisions[shard]?[$0] },
        isHole: input.sha256 == nil, output: input.output, firstID: input.firstId, rowCount: input.rows,
        excluded: input.excluded ?? [], database)
    }
  }

  /// Its outputs, as its lock file has them.
  var outputs: [OutputShard] {
    let inputs = Dictionary(grouping: lock.inputs.indices, by: { lock.inputs[$0].output })
    return lock.outputs.map { output in
      let own = inputs[output.output] ?? []
      return OutputShard(
        ordinal: output.output, digest: output.sha256, firstInput: own.first ?? 0, lastInput: own.last ?? 0,
        firstID: output.firstId, endID: output.endId, rowCount: output.rows, byteCount: output.bytes,
        listsDigest: output.listsSha256,
        refine: output.refine.map { RefineShard(digest: $0.sha256, byteCount: $0.bytes) })
    }
  }
}
