// Several output shards of a version as one file: for readers that open one.

internal import Base

extension OutputShardFile {
  /// Writes the rows of output shards into one file, list by list.
  ///
  /// The bytes are those that a merge of all their segments would have: of one output shard its own.
  ///
  /// - Parameters:
  ///   - shards: Of one version, one at least, in the order of their ids, opened with one trained index.
  ///   - path: The final name.
  ///   - temporaryPath: A name on the same file system for the time before.
  ///   - checkpoint: Called once a list with its number; what it throws ends the work and leaves nothing.
  /// - Returns: What was written; ``readBack(idsIn:buffers:)`` says what is there.
  /// - Throws: ``TarnError`` `.io` or `.integrity` when reading fails; when the disk refuses.
  package static func join(
    _ shards: [OutputShardFile], to path: String, temporaryPath: String, checkpoint: (_ list: Int) throws -> Void
  ) throws -> OutputShardSummary {
    guard let trained = shards.first?.trained else { throw TarnError(.inputsMissing, "no output shards to join") }
    let sizes = (0..<trained.nlist).map { list in shards.reduce(0) { $0 + $1.listSizes[list] } }
    let writer = try FileWriter(creating: temporaryPath)
    try FaissFile.writeHeader(trained, listSizes: sizes, to: writer)
    try writer.beginLists(.contiguous(listSizes: sizes, entryByteCount: trained.quantizer.codeByteCount + 8))
    for list in 0..<trained.nlist where sizes[list] > 0 {
      try checkpoint(list)
      for shard in shards {
        try shard.eachPiece(of: list) { try writer.append(shard.codes(ofList: list, rows: $0)) }
      }
      for shard in shards {
        try shard.eachPiece(of: list) { try writer.append(shard.ids(ofList: list, rows: $0).map(\.littleEndian)) }
      }
    }
    let digests = try writer.finishLists()
    let (digest, byteCount) = try writer.finish(as: path)
    return OutputShardSummary(
      digest: digest, byteCount: byteCount, rowCount: Int(sizes.reduce(0, +)), listDigests: digests)
  }
}
