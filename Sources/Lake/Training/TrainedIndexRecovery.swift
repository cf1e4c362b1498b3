// A trained index that was lost, made again: out of an output that was made with
// it, which holds all of it but an assigner, or by the training that made it.

package import Base
package import Catalog
internal import Indexer
package import Logging

/// Makes lost trained indexes again; each must come out with its digest.
struct TrainedIndexRecovery {
  private let catalog: LakeCatalog
  private let cancellation: Cancellation
  private let logger: Logger

  init(_ catalog: LakeCatalog, cancellation: Cancellation, logger: Logger) {
    self.catalog = catalog
    self.cancellation = cancellation
    self.logger = logger
  }

  /// Puts a trained index in its place again.
  ///
  /// - Parameter digest: What its SHA-256 must be.
  /// - Returns: Whether it is back.
  /// - Throws: ``TarnError``; `.inputsMissing` when only a training would help, and
  ///   its shards are not in the lake.
  func restore(_ digest: ContentDigest) throws -> Bool {
    let store = ArtifactStore(catalog)
    var outputs: [String] = []
    var record: TrainedIndexRecord?
    for version in try catalog.versions() {
      let trained = try catalog.trainedIndex(id: version.trainedIndexID)
      guard trained.digest == digest else { continue }
      record = trained
      for output in try catalog.outputs(of: version) {
        for name in catalog.names(of: output, in: version.name) {
          outputs += [try store.path(of: name.kind, name.digest), name.path]
        }
      }
    }
    let working = try store.workingPath("trained-\(digest.prefix(16)).faiss")
    if try Self.write(digest, outOf: outputs, to: working, cancellation) != nil {
      try store.put(working, as: .trainedIndex, digest)
      return true
    }
    guard let record = try record ?? catalog.trainedIndex(digest: digest) else { return false }
    try record.requireTraining(in: catalog)
    let trained = try TrainingRun(
      catalog, TrainingOptions(again: record, in: catalog), logger: logger, cancellation: cancellation, report: { _ in }
    ).run().trained
    return trained.digest == digest
  }

  /// Writes a trained index out of an output file that was made with it.
  ///
  /// - Parameters:
  ///   - digest: What its SHA-256 must be.
  ///   - outputs: Files, of outputs and of codes that refine them, those that are missing or damaged among them.
  ///   - path: Where it goes.
  ///   - cancellation: Asked before each file.
  /// - Returns: Its size in bytes; nil when no output has it, as those of a
  ///   router have no assigner.
  /// - Throws: ``TarnError`` when the disk refuses.
  static func write(
    _ digest: ContentDigest, outOf outputs: [String], to path: String, _ cancellation: Cancellation
  ) throws -> Int? {
    let files = outputs.filter { Disk.size(of: $0) != nil }
    var refining: [ScalarQuantizer?] = [nil]
    for file in files {
      if let found = (try? RefineFile(path: file))?.quantizer, !refining.contains(found) { refining.append(found) }
    }
    for output in files {
      try cancellation.check()
      guard let trained = (try? OutputShardFile(path: output))?.trained else { continue }
      for refine in refining where refine?.dimension ?? trained.dimension == trained.dimension {
        let whole = try TrainedIndex(
          centroids: trained.centroids, quantizer: trained.quantizer, refine: refine, nprobe: trained.nprobe)
        let made = try TrainedIndexFile.write(whole, to: path, temporaryPath: path + ".tmp")
        if made.digest == digest { return made.byteCount }
        try Disk.remove(path)
      }
    }
    return nil
  }
}

extension TrainedIndexRecord {
  /// Refuses to train again what was adopted.
  ///
  /// - Throws: ``TarnError`` `.inputsMissing` naming the file.
  func requireTraining(in catalog: LakeCatalog) throws {
    guard isAdopted else { return }
    let file = try catalog.adoptedFiles(of: imageSourceID).first ?? "a file"
    throw TarnError(
      .inputsMissing, "the trained index \(name) was adopted from \(file), and its own file is not there",
      hint: "`tarn adopt trained \(name) FILE` with that file puts it back")
  }
}

extension TrainingOptions {
  /// What gave a trained index, out of its record.
  init(again record: TrainedIndexRecord, in catalog: LakeCatalog) throws {
    try record.requireTraining(in: catalog)
    guard let method = TrainingMethod(rawValue: record.method), let codec = VectorCodec(rawValue: record.codec) else {
      throw TarnError(.schemaNewer, "the method or codec of \(record.name) is not known", hint: "use a newer tarn")
    }
    let specification = try record.specification()
    self.init(
      name: record.name, images: try catalog.source(id: record.imageSourceID).name,
      captions: try record.captionSourceID.map { try catalog.source(id: $0).name }, nlist: record.nlist,
      pairs: record.pairCount, method: method, iterations: record.iterations, codec: codec,
      ranges: specification.ranges, seed: record.seed, normalisation: specification.normalisation,
      router: specification.router)
    take(specification)
  }

  /// Takes over which shards and rows a specification says were taken, and what ended k-means.
  mutating func take(_ specification: TrainingSpecification) {
    ordinals = OrdinalSet(ascending: specification.shards)
    badRows = specification.leftOut.isEmpty ? .fail : .skip
    leftOut = specification.leftOut
    untilMoved = specification.untilMoved
    nearest = specification.nearest
    checksRoles = false
    refine = specification.refine
  }
}

extension TrainingRun {
  /// A training that was planned before, gone on with.
  ///
  /// - Parameters:
  ///   - name: The trained index.
  ///   - catalog: A lake, open for writing.
  ///   - logger: Gets warnings.
  ///   - cancellation: Asked between steps; what is done is kept.
  ///   - report: Told of progress, on the training thread.
  /// - Throws: ``TarnError`` `.notFound`, `.schemaNewer`.
  package init(
    again name: String, _ catalog: LakeCatalog, logger: Logger, cancellation: Cancellation,
    report: @escaping @Sendable (TrainingProgress) -> Void
  ) throws {
    let record = try catalog.trainedIndex(named: name)
    self.init(
      catalog, try TrainingOptions(again: record, in: catalog), logger: logger, cancellation: cancellation,
      report: report)
    isContinuation = record.state == .training
  }

  /// What such a training needs of the lake.
  package static func leases(in catalog: LakeCatalog, ofTraining name: String) throws -> [Lease] {
    let record = try? catalog.trainedIndex(named: name)
    let sources = try record.map {
      try [$0.imageSourceID, $0.captionSourceID].compactMap(\.self).map(catalog.source(id:))
    }
    return VerbLeases.of("train").leases([.training: [name], .source: (sources ?? []).map(\.name)])
  }
}
