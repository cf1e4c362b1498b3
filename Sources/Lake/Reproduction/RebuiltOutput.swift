// What came of one output of a rebuild, as a run that is interrupted leaves it for the
// next: the output's shards may have left the lake.

internal import Base

/// An output that was made again and compared.
struct RebuiltOutput: Sendable, Codable {
  let ordinal: Int
  let digest: ContentDigest
  let listsDigest: ContentDigest
  let rowCount: Int
  let byteCount: Int
  /// Digest of the codes that refine it; nil where nothing does.
  let refineDigest: ContentDigest?
  /// The first list that differs from the recorded output's, and the first row in it.
  var list: Int?
  var rowID: Int64?
}
