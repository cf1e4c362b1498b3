// A part of what workers made, made again here: whoever gives wrong results does not know which part is looked at.

package import Base
internal import Catalog
internal import Features
internal import Indexer
internal import Tasks

extension TaskIngest {
  /// A secret that this process draws.
  @Sendable package static func random() -> ContentDigest {
    ContentDigest.of((0..<4).map { _ in String(UInt64.random(in: .min ... .max)) }.joined(separator: " "))
  }

  /// Encodes a few shards of a host's result again, of those that the lake has, and holds their rows against it: which,
  /// of which results, a secret decides that is drawn now, so that no worker can have made these better than the rest.
  func recheck(
    _ path: String, _ task: TaskDocument, _ receipt: TaskReceipt, _ terms: EncodingTerms, _ refine: String?,
    _ summary: inout IngestSummary
  ) throws -> OutputRecheck? {
    guard recheckCount > 0 else { return nil }
    let before = checkable[receipt.host, default: 0]
    var recheck = OutputRecheck(secret: draw(), number: before + 1)
    let order = try zip(task.inputs, receipt.inputs).compactMap { input, seen in
      try seen.seen.flatMap { seen in
        try catalog.shardPath(holding: seen.digest).map {
          (input, seen, $0, recheck.rank(of: seen.digest))
        }
      }
    }.sorted { $0.3 < $1.3 }
    guard !order.isEmpty else {
      if before == 0, let input = task.inputs.first(where: { !$0.isHole }), lacking.insert(receipt.host).inserted {
        summary.rechecks.append(
          IngestSummary.Recheck(
            shard: input.shard, host: receipt.host, lack: "of the shards of task \(task.output) the lake has none"))
      }
      return nil
    }
    guard recheck.isDue || suspects.contains(receipt.host) else {
      checkable[receipt.host] = before + 1
      return recheck
    }
    for (input, seen, file, _) in order.prefix(recheckCount) {
      try cancellation.check()
      report(.rechecking(shard: input.shard))
      let shard = PinnedShard(
        path: catalog.layout.path(file, in: .shards), digest: seen.digest, rowCount: seen.rowCount,
        dimension: task.dimension, elementType: task.elementType, array: task.array,
        remedy: "run `tarn verify --repair`")
      let encoder = try ShardEncoder(
        terms.trained, digest: terms.trainedDigest, badRows: terms.badRows, normalisation: terms.normalisation,
        rowCount: seen.rowCount, logger: logger)
      let working = try store.workingPath("recheck-\(seen.digest.prefix(16)).segment")
      defer { try? Disk.remove(working) }
      let segment: SegmentFile
      do {
        _ = try encoder.encode(try shard.read(), to: working) { _ in try cancellation.check() }
        segment = try SegmentFile(path: working)
        try segment.verify()
      } catch let error as TarnError where [.integrity, .inputsMissing, .badFeatures].contains(error.code) {
        // A file of the lake's own is at fault, or what its disk kept of the segment, and not the result.
        summary.rechecks.append(IngestSummary.Recheck(shard: input.shard, host: receipt.host, lack: error.description))
        continue
      }
      let isSame = try SegmentProof.proved(
        [MergeInput(segment: segment, firstRowID: input.firstID, excluded: input.excluded)],
        by: try OutputShardFile(path: path),
        refine: try refine.map { (try RefineFile(path: $0), task.inputs.first?.firstID ?? 0) },
        checkpoint: { try cancellation.check() })
      guard isSame == [true] else {
        suspects.insert(receipt.host)
        throw TarnError(
          .integrity, "\(input.shard), encoded again, has other codes or lists than its result, made on \(receipt.host)"
        )
      }
      checkable[receipt.host] = before + 1
      recheck.shards.append(input.shard)
      summary.rechecks.append(IngestSummary.Recheck(shard: input.shard, host: receipt.host, lack: nil))
    }
    return recheck
  }
}
