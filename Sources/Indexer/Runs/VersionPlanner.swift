// Which shards a version is made of, where their ids begin, and which outputs
// they go to.

internal import Catalog

/// Plans the inputs of a version.
///
/// Ids count through **all** shards of the source in order, whichever of them
/// the version has: a row has the same id in every version of a source whose
/// shards keep their lengths, and a missing shard leaves a hole.
struct VersionPlanner {
  let catalog: LakeCatalog
  let options: BuildOptions

  /// The inputs, in order.
  ///
  /// - Parameters:
  ///   - source: The source to build from.
  ///   - trained: Digest of the trained index, to know which shards are encoded
  ///     already and need no bytes.
  /// - Returns: One input for each chosen shard.
  /// - Throws: ``IndexerError`` `.inputsMissing` when a shard is not in the
  ///   lake and not to be skipped, or a length is not known.
  func inputs(of source: Source, trained: ContentDigest) throws -> [VersionPlan.Input] {
    let shards = try catalog.shards(of: source)
    if let ordinals = options.ordinals { _ = try catalog.shards(of: source, ordinals: ordinals) }
    let chosen = shards.filter { options.ordinals?.contains($0.ordinal) ?? true }
    let missing = Set(try chosen.filter { try !isAvailable($0, trained) }.map(\.ordinal))
    if options.missing == .fail, !missing.isEmpty {
      throw source.missing(chosen.filter { missing.contains($0.ordinal) }.map(\.name), of: chosen.count)
    }
    guard missing.count < chosen.count else {
      throw source.missing(chosen.map(\.name), of: chosen.count)
    }
    var inputs: [VersionPlan.Input] = []
    var firstID: Int64 = 0
    for shard in shards where shard.ordinal <= (chosen.last?.ordinal ?? 0) {
      let rowCount = try rowCount(of: shard, source)
      if options.ordinals?.contains(shard.ordinal) ?? true {
        inputs.append(
          VersionPlan.Input(
            shardID: shard.id, revision: missing.contains(shard.ordinal) ? nil : shard.revision,
            outputOrdinal: inputs.count / options.shardsPerOutput, firstID: firstID, rowCount: rowCount))
      }
      firstID += Int64(rowCount)
    }
    return inputs
  }

  /// Whether a shard can be built from: its bytes or its segment are here.
  private func isAvailable(_ shard: Shard, _ trained: ContentDigest) throws -> Bool {
    guard let revision = shard.revision else { return false }
    if shard.path != nil { return true }
    return try catalog.segment(
      trained: trained, shard: revision.digest, badRows: options.badRows, formatVersion: segmentFormatVersion) != nil
  }

  /// The rows of a shard: observed, or what its expected size comes to.
  private func rowCount(of shard: Shard, _ source: Source) throws -> Int {
    if let revision = shard.revision { return revision.rowCount }
    // NumPy pads the header of a matrix to 128 bytes.
    let rowByteCount = source.dimension * source.elementType.byteCount
    if let size = shard.expectedByteCount, size >= 128, (size - 128) % rowByteCount == 0 {
      return (size - 128) / rowByteCount
    }
    throw IndexerError(
      .inputsMissing, "the number of rows of \(shard.name) is not known, and the ids after it depend on it",
      hint: "sync it, or register the source with --sizes")
  }
}
