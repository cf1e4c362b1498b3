// `--nearest index`: the part of `train` that looks for nearest images in the lists of a
// temporary index of the training images.

internal import Base
internal import Catalog
internal import Indexer
internal import Logging

extension TrainingRun {
  /// Digest of what is compared, for what, and by which search.
  ///
  /// - Parameters:
  ///   - members: All but the search; an exact one adds nothing.
  ///   - images: Training images.
  /// - Returns: The digest.
  func nearestInputs(_ members: [String: JSONValue], _ images: Gathered) -> ContentDigest {
    var members = members
    if let nearest = options.nearest?.spec(imageCount: images.matrix.rowCount) {
      members["nearest"] = nearest
      members["seed"] = .integer(options.seed)
    }
    return .of(JSONValue.object(members).text)
  }

  /// The nearest images of queries, found in lists; nil where the search is exact.
  ///
  /// - Parameters:
  ///   - k: Images for each.
  ///   - queries: Captions, or queries of a router.
  ///   - inputs: Of ``nearestInputs(_:_:)``.
  ///   - trained: The trained index on its way.
  ///   - images: Training images.
  ///   - path: Where the state is kept between blocks of queries.
  /// - Returns: What was found.
  /// - Throws: ``TarnError``.
  func foundInLists(
    _ k: Int, of queries: Gathered, _ inputs: ContentDigest, _ trained: TrainedIndexRecord, _ images: Gathered,
    _ path: String
  ) throws -> RowsFound? {
    let (queryCount, imageCount) = (queries.matrix.rowCount, images.matrix.rowCount)
    guard case .index(let nprobe) = options.nearest ?? .exact else {
      if options.nearest == nil, Double(queryCount) * Double(imageCount) >= NearestMethod.manyScores {
        let index = NearestMethod.index(nprobe: NearestMethod.defaultProbes)
        logger.warning(
          "\(queryCount) captions are compared with all of \(imageCount) images; --nearest \(index.text) compares each with about \(index.comparisons(imageCount: imageCount)), and `tarn train --dry-run` tells what that comes to; --nearest exact says that it is meant"
        )
      }
      return nil
    }
    let index = try ImageIndex(
      of: images.path, digest: images.digest, seed: UInt64(bitPattern: options.seed), in: scratch(of: trained),
      logger: logger
    ) { progress in
      try cancellation.check()
      if case .filed(let done) = progress { report(.listed(done: done, total: imageCount)) }
    }
    return try index.find(k, of: queries.matrix, nprobe: nprobe, inputs: inputs, resumingAt: path) { progress in
      try cancellation.check()
      if case .found(let done) = progress { report(.foundInLists(done: done, total: queryCount)) }
    }
  }

  /// What was found, and how often that is what an exact search finds.
  func measured(
    _ rows: [UInt32], _ images: Gathered, _ captions: Gathered, _ inputs: ContentDigest
  ) throws -> (rows: [UInt32], agreement: NearestAgreement?) {
    guard case .index = options.nearest ?? .exact else { return (rows, nil) }
    return (
      rows,
      try NearestAgreement(
        of: rows, images: images.matrix, captions: captions.matrix, inputs: inputs, logger: logger,
        checkpoint: cancellation.check)
    )
  }
}
