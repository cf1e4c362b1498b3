// `import`: files that are on disk already become shards of the lake, copied
// and verified.

internal import Base
internal import Catalog
internal import Companions
internal import Features
internal import Fetch

/// Takes in files that are on disk already.
package struct ImportRun {
  private let catalog: LakeCatalog
  private let replacement: Replacement
  private let cancellation: Cancellation

  /// Prepares to take files in.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - replacement: What becomes of the bytes of a shard that is known with others;
  ///     `.ofUnpinned` refuses those of a file whether something rests on the old ones or not.
  ///   - cancellation: Asked between files; those that were taken in stay.
  package init(_ catalog: LakeCatalog, replacing replacement: Replacement = .ofUnpinned, cancellation: Cancellation) {
    self.catalog = catalog
    self.replacement = replacement
    self.cancellation = cancellation
  }

  /// Takes each file in as the shard of its name, or, where that is no shard's, as the one that has its bytes.
  ///
  /// - Parameters:
  ///   - files: Their paths.
  ///   - name: The source.
  ///   - report: Told of progress, on the calling thread.
  /// - Returns: How many were taken in, and the shards among them that have other bytes now.
  /// - Throws: ``TarnError`` `.notFound` before anything is copied, for a file
  ///   of another name; `.conflict` for other bytes than are known of its shard,
  ///   unless they may be replaced; `.integrity` when a manifest says otherwise, or the file
  ///   changed while it was copied.
  package func run(_ files: [String], into name: String, report: (_ done: Int, _ total: Int) -> Void) throws -> (
    count: Int, revised: [RevisedShard]
  ) {
    cancellation.listen()
    let readers = try catalog.readers(of: catalog.source(named: name))
    let source = readers[0]
    try source.requireFeatures()
    let all = try catalog.shards(of: source)
    let shards = Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let chosen = try files.map { file in
      let name = file.lastPathPart
      guard let shard = try shards[name] ?? onlyShard(of: all, withTheBytesOf: file) else {
        throw TarnError(
          .notFound, "source \(source.name) has no shard named \(name.printable)",
          hint: "`tarn source show \(source.name)` lists them")
      }
      if shard.isDropped { throw TarnError.dropped(shard) }
      return (file, shard)
    }
    var revised: [RevisedShard] = []
    for (index, (file, shard)) in chosen.enumerated() {
      try cancellation.check()
      // As it is now: a file before may have been of the same shard.
      let shard = try catalog.shard(id: shard.id)
      let number = try takeIn(file, shard, readers)
      if let revision = shard.revision, revision.number != number {
        revised.append(
          RevisedShard(source: source.name, shard: shard.name, dependents: try catalog.dependents(of: shard)))
      }
      report(index + 1, chosen.count)
    }
    return (chosen.count, revised)
  }

  /// The shard whose bytes a file of another name has, as one that was renamed in its directory: of several that have
  /// them the only one that lacks its file, and else the first, whose bytes are these in any case; nil where none is known
  /// to have them.
  private func onlyShard(of shards: [Shard], withTheBytesOf file: String) throws -> Shard? {
    guard let size = Disk.size(of: file) else { return nil }
    // Read whole only where some shard has as many bytes.
    let candidates = shards.filter { !$0.isDropped && $0.likelyByteCount == size }
    guard !candidates.isEmpty else { return nil }
    try cancellation.check()
    let digest = try Disk.digest(of: file)
    let found = candidates.filter { ($0.revision?.digest ?? $0.expectedDigest) == digest }
    let lacking = found.filter { !catalog.holdsWhole($0) }
    return lacking.count == 1 ? lacking[0] : found.first
  }

  /// Copies a file in.
  ///
  /// - Returns: The number of the revision that its bytes are.
  private func takeIn(_ file: String, _ shard: Shard, _ readers: [Source]) throws -> Int {
    let source = readers[0]
    let expectation = ShardExpectation(readBy: readers, format: FeatureFormat(ofFile: shard.name))
    // A look before anything is copied; what counts is found in the copy.
    if source.isCompanion {
      _ = try CompanionFile(file, named: shard.name)
    } else {
      do { _ = try expectation.rowCount(of: file) } catch let error as TarnError where error.code == .badFeatures {
        throw TarnError(
          error.code, error.message,
          hint: error.hint?.replacing(FeatureFile.wayToArray, with: catalog.wayToArray(of: source)), place: error.place)
      }
    }
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
        rowCount =
          source.isCompanion
          ? try CompanionFile(copy, named: shard.name).rowCount(checkpoint: { try cancellation.check() })
          : try expectation.rowCount(of: copy, readsRows: true)
        let digest = hasher.digestSoFar()
        if let expected = shard.expectedDigest, expected != digest {
          throw TarnError(
            .integrity, "\(file) has SHA-256 \(digest.prefix(12)), the manifest says \(expected.prefix(12))")
        }
        try requireSame(digest, as: shard, in: file)
        return directory + LakeLayout.shardPath(source: source.name, shard: shard.name, digest: digest)
      }
      return try catalog.keepingNoOrphan(path, in: .shards) {
        try catalog.recordFetched(
          FetchedBytes(
            digest: hasher.digestSoFar(), byteCount: input.byteCount, rowCount: rowCount,
            path: String(path.dropFirst(directory.count)), mirrorID: nil, etag: nil, lastModified: nil,
            states: hasher.states), of: shard, replacing: replacement)
      }
    } catch {
      try catalog.endFetch(shardID: shard.id, as: nil, error: nil)
      throw error
    }
  }

  /// Refuses other bytes than are known of a shard, unless the user wants them.
  private func requireSame(_ digest: ContentDigest, as shard: Shard, in file: String) throws {
    guard case .ofUnpinned = replacement, let known = shard.revision, known.digest != digest else { return }
    let dependents = try catalog.dependents(onReplaced: shard)
    throw TarnError(
      .conflict,
      "\(file) has other bytes than are known of \(shard.name) of \(shard.sourceName), SHA-256 \(known.digest.prefix(12)), "
        + (dependents.isEmpty ? "on which nothing rests" : "and \(LakeCatalog.list(dependents)) on those"),
      hint: Replacement.hint)
  }
}
