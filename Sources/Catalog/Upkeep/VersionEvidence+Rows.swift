// What the files of a version say, as the rows that a catalog has of it: of a version that is
// pulled and of one whose catalog is made again alike.

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
