// `import`: files that are on disk already become shards of the lake, copied
// and verified.

internal import Base
internal import Catalog
internal import Features
internal import Foundation

/// Adopts files.
package struct ImportRun {
  private let catalog: LakeCatalog
  private let cancellation: Cancellation

  /// Prepares to adopt files.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - cancellation: Asked between files; those that were adopted stay.
  package init(_ catalog: LakeCatalog, cancellation: Cancellation) {
    self.catalog = catalog
    self.cancellation = cancellation
  }

  /// Adopts each file as the shard of its name.
  ///
  /// - Parameters:
  ///   - files: Their paths.
  ///   - name: The source.
  ///   - report: Told of progress, on the calling thread.
  /// - Returns: How many were adopted.
  /// - Throws: ``TarnError`` `.notFound` before anything is copied, for a file
  ///   of another name; `.integrity` when a manifest says otherwise, or the file
  ///   changed while it was copied.
  package func run(_ files: [String], into name: String, report: (_ done: Int, _ total: Int) -> Void) throws -> Int {
    cancellation.listen()
    let source = try catalog.source(named: name)
    let shards = Dictionary(
      try catalog.shards(of: source).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let chosen = try files.map { file in
      let name = file.lastPathPart
      guard let shard = shards[name] else {
        throw TarnError(
          .notFound, "source \(source.name) has no shard named \(name.printable)",
          hint: "`tarn source show \(source.name)` lists them")
      }
      return (file, shard)
    }
    for (index, (file, shard)) in chosen.enumerated() {
      try cancellation.check()
      try adopt(file, shard, source)
      report(index + 1, chosen.count)
    }
    return chosen.count
  }

  private func adopt(_ file: String, _ shard: Shard, _ source: Source) throws {
    // A look before anything is copied; what counts is found in the copy.
    _ = try FeatureFile(file, dimension: source.dimension, elementType: source.elementType)
    let input = try InputFile(path: file)
    if let expected = shard.expectedByteCount, expected != input.byteCount {
      throw TarnError(.integrity, "\(file) has \(input.byteCount) bytes, the manifest says \(expected)")
    }
    let part = catalog.layout.partPath(source: source.name, shard: shard.name)
    try catalog.requireRoom(for: "\(shard.name) of \(source.name)", [RoomNeed(at: part, byteCount: input.byteCount)])
    try Disk.makeDirectory(part.parentPath)
    // Without a budget there is room.
    _ = try catalog.reserve(shard, byteCount: input.byteCount, budget: nil)
    do {
      let hasher = ChunkHasher()
      var rowCount = 0
      let directory = catalog.layout.shards + "/"
      let path = try Disk.copy(input, through: part + ".import.tmp", into: hasher) { copy in
        rowCount = try FeatureFile.rowCount(
          of: copy, as: FeatureFormat(ofFile: shard.name), dimension: source.dimension, elementType: source.elementType)
        let digest = hasher.digestSoFar()
        if let expected = shard.expectedDigest, expected != digest {
          throw TarnError(
            .integrity, "\(file) has SHA-256 \(digest.prefix(12)), the manifest says \(expected.prefix(12))")
        }
        return directory + LakeLayout.shardPath(source: source.name, shard: shard.name, digest: digest)
      }
      _ = try catalog.keepingNoOrphan(path, in: .shards) {
        try catalog.recordFetched(
          FetchedBytes(
            digest: hasher.digestSoFar(), byteCount: input.byteCount, rowCount: rowCount,
            path: String(path.dropFirst(directory.count)), mirrorID: nil, etag: nil, lastModified: nil,
            states: hasher.states), of: shard)
      }
    } catch {
      try catalog.endFetch(shardID: shard.id, as: nil, error: nil)
      throw error
    }
  }
}
