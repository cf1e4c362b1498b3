// What the files of a version say, as the rows that a catalog has of it: of a version that is
// pulled and of one whose catalog is made again alike.

internal import Base
internal import GRDB

extension VersionEvidence {
  /// How its trained index was made.
  ///
  /// - Parameters:
  ///   - images: The source of images.
  ///   - captions: The source of captions, of pairs or of a router's; nil for none.
  ///   - database: Knows the methods.
  /// - Returns: The definition, without inputs.
  /// - Throws: The database's errors.
  func definition(images: Source, captions: Source?, _ database: Database) throws -> TrainingDefinition {
    let trained = document.trained
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
  ///
  /// - Parameters:
  ///   - trainedID: The trained index, still in training.
  ///   - shardIDs: Numbers of the shards of each source, by their names.
  ///   - revisions: Numbers of the revisions that are recorded, by shard and digest.
  ///   - database: Where to.
  /// - Throws: ``TarnError`` `.integrity` for one that the document does not name.
  func insertTrainedInputs(
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
  var unnamedInput: TarnError {
    TarnError(.integrity, "the document of \(sealedName) does not name a shard it was trained on")
  }

  /// Records the plan of its inputs.
  ///
  /// - Parameters:
  ///   - versionID: The version, still planned.
  ///   - shardIDs: Numbers of the shards of its source, by their names.
  ///   - revisions: Numbers of the revisions that are recorded, by shard and digest.
  ///   - database: Where to.
  /// - Throws: ``TarnError`` `.integrity` for a shard that its source has not.
  func insertInputs(
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
