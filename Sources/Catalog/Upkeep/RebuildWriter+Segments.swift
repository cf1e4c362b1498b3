// Segments of a lake that lost its catalog: each is taken up again if the output of a
// sealed version holds the same rows and codes. What none bears out is garbage.

internal import Base
internal import GRDB

/// What a segment is of.
struct SegmentKey: Hashable {
  let trained: ContentDigest
  let shard: ContentDigest
  /// SHA-256 of the name of the shard's array; nil where it names none.
  let arrayMark: ContentDigest?
}

extension RebuildWriter {
  /// A segment, and the input of a version that it says it is of.
  private struct Claimed {
    let claim: SegmentClaim
    let digest: ContentDigest
    let path: String
    let firstID: Int64
    /// Rows that the version was made without.
    let excluded: [Int]
  }

  /// Takes up the segments of a version that its outputs bear out.
  mutating func adoptSegments(of version: VersionEvidence) throws {
    guard let badRows = BadRowsPolicy(rawValue: version.lock.badRows) else { return }
    let (trained, array) = (version.lock.trained.sha256, version.lock.array)
    for output in version.lock.outputs where whole.contains(output.sha256) {
      let claimed = try version.lock.inputs.filter { $0.output == output.output }.compactMap { input -> Claimed? in
        guard let shard = input.sha256,
          let found = segments[SegmentKey(trained: trained, shard: shard, arrayMark: array.map(ContentDigest.of))],
          found.claim.rowCount == input.rows, try !isRecorded(found.claim, array, badRows)
        else { return nil }
        return Claimed(
          claim: found.claim, digest: found.digest, path: found.path, firstID: input.firstId,
          excluded: input.excluded ?? [])
      }
      guard !claimed.isEmpty, let stored = try StoredBytes.find(output.sha256, in: .artifacts, database) else {
        continue
      }
      // What refines them must be borne out, too.
      let refine = try output.refine.flatMap { file in
        whole.contains(file.sha256) ? try StoredBytes.find(file.sha256, in: .artifacts, database) : nil
      }
      guard (refine != nil) == (output.refine != nil) else { continue }
      try report(stored.path)
      let isProved: [Bool]
      do {
        isProved = try tools.provedSegments(
          claimed.map { ($0.path, $0.firstID, $0.excluded) }, layout.path(stored.path, in: .artifacts),
          refine.map { (layout.path($0.path, in: .artifacts), output.firstId) })
      } catch let error as TarnError where error.code != .interrupted {
        continue
      }
      for (segment, isProved) in zip(claimed, isProved) where isProved {
        try SegmentRecord(
          trainedDigest: trained, shardDigest: segment.claim.shard, array: array, badRowsPolicy: badRows,
          formatVersion: segment.claim.formatVersion, digest: segment.digest, rowCount: segment.claim.rowCount,
          badRowCount: segment.claim.badRowCount
        ).insert(database)
        if unreferenced.removeValue(forKey: segment.digest) != nil { summary.segments += 1 }
      }
    }
  }

  private func isRecorded(_ claim: SegmentClaim, _ array: String?, _ badRows: BadRowsPolicy) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM segment WHERE trained_sha256 = ? AND shard_sha256 = ? AND array_name = ?
          AND bad_rows_policy = ? AND format_version = ?)
        """, arguments: [claim.trained.hex, claim.shard.hex, array ?? "", badRows.rawValue, claim.formatVersion])
      ?? false
  }
}
