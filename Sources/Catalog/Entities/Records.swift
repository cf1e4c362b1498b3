// One record type per table: what a row of it holds, read by the other
// modules. Decoding lives here too, so that a column is spelled once.

package import Base
internal import GRDB

/// A row of `source`.
package struct Source: Sendable, Identifiable {
  package let id: Int64
  package let name: String
  package let modality: Modality
  package let dimension: Int
  package let elementType: ElementType
}

/// A row of `shard` with its newest revision.
package struct Shard: Sendable, Identifiable {
  package let id: Int64
  package let sourceID: Int64
  package let sourceName: String
  package let ordinal: Int
  package let name: String
  package let state: ShardState
  package let expectedByteCount: Int?
  package let expectedDigest: ContentDigest?
  /// The newest observed revision; nil before the first fetch.
  package let revision: ShardRevision?
  /// File below the shards directory; nil unless the state vouches for bytes.
  package let path: String?
  package let lastError: String?
  /// The size that every mirror says that was asked; nil if they disagree.
  package let probedByteCount: Int?

  /// The size it will have as far as anyone knows: the manifest, the bytes
  /// fetched before, the mirrors.
  ///
  /// Only the manifest's is held against what arrives.
  package var likelyByteCount: Int? { expectedByteCount ?? revision?.byteCount ?? probedByteCount }
}

/// A row of `shard_revision`.
package struct ShardRevision: Sendable, Hashable {
  package let shardID: Int64
  package let number: Int
  package let digest: ContentDigest
  package let byteCount: Int
  package let rowCount: Int
  package let etag: String?
  package let lastModified: String?
  package let mirrorID: Int64?
}

/// A row of `shard_location` joined to its mirror, in order of priority.
package struct ShardLocation: Sendable {
  package let mirrorID: Int64
  package let url: String
  package let state: LocationState
  /// Whether it is asked only after the others for now: it was found to lack
  /// the shard, or to serve something else, within the last day.
  package let isAskedLast: Bool
}

/// A row of `artifact`.
package struct Artifact: Sendable {
  package let digest: ContentDigest
  package let kind: ArtifactKind
  package let byteCount: Int
  /// File below the artifacts directory.
  package let path: String
  package let state: ArtifactState
}

/// A row of `trained_index`.
package struct TrainedIndexRecord: Sendable, Identifiable {
  package let id: Int64
  package let name: String
  package let state: TrainedIndexState
  package let method: String
  package let codec: String
  package let nlist: Int
  package let dimension: Int
  package let iterations: Int
  package let seed: Int64
  package let pairCount: Int
  package let imageSourceID: Int64
  /// Source of the pairs' captions, or of the router's; nil without either.
  package let captionSourceID: Int64?
  /// What ranks the lists; nil where the centroids do.
  package let router: String?
  package let spec: String
  package let specDigest: ContentDigest
  /// Digest of the file; nil until ready.
  package let digest: ContentDigest?
}

/// A row of `training_iteration`.
package struct TrainingIteration: Sendable {
  package let iteration: Int
  package let objective: Double
  package let movedShare: Double
  package let imbalance: Double
  package let emptyCount: Int
  package let largestCount: Int

  package init(
    iteration: Int, objective: Double, movedShare: Double, imbalance: Double, emptyCount: Int, largestCount: Int
  ) {
    self.iteration = iteration
    self.objective = objective
    self.movedShare = movedShare
    self.imbalance = imbalance
    self.emptyCount = emptyCount
    self.largestCount = largestCount
  }
}

/// A row of `index_version`.
package struct IndexVersion: Sendable, Identifiable {
  package let id: Int64
  package let name: VersionName
  package let state: VersionState
  package let trainedIndexID: Int64
  package let sourceID: Int64
  package let shardsPerOutput: Int
  package let missingPolicy: MissingPolicy
  package let badRowsPolicy: BadRowsPolicy
  package let spec: String
  package let specDigest: ContentDigest
  package let versionDigest: ContentDigest?
}

/// A row of `version_input` with the pinned revision.
package struct VersionInput: Sendable {
  package let ordinal: Int
  package let shardID: Int64
  package let shardName: String
  package let shardOrdinal: Int
  package let isHole: Bool
  package let outputOrdinal: Int
  package let firstID: Int64
  package let rowCount: Int
  /// The pinned revision; nil until bound, and in a hole.
  package let revision: ShardRevision?
  /// File below the shards directory while the pinned bytes are in the lake.
  package let path: String?
}

/// A row of `segment`.
package struct SegmentRecord: Sendable {
  package let trainedDigest: ContentDigest
  package let shardDigest: ContentDigest
  package let badRowsPolicy: BadRowsPolicy
  package let formatVersion: Int
  package let digest: ContentDigest
  package let rowCount: Int
  package let badRowCount: Int

  package init(
    trainedDigest: ContentDigest, shardDigest: ContentDigest, badRowsPolicy: BadRowsPolicy, formatVersion: Int,
    digest: ContentDigest, rowCount: Int, badRowCount: Int
  ) {
    self.trainedDigest = trainedDigest
    self.shardDigest = shardDigest
    self.badRowsPolicy = badRowsPolicy
    self.formatVersion = formatVersion
    self.digest = digest
    self.rowCount = rowCount
    self.badRowCount = badRowCount
  }
}

/// A row of `output_shard`.
package struct OutputShard: Sendable {
  package let ordinal: Int
  package let digest: ContentDigest
  package let firstInput: Int
  package let lastInput: Int
  package let firstID: Int64
  package let endID: Int64
  package let rowCount: Int
  package let byteCount: Int
  package let listsDigest: ContentDigest

  package init(
    ordinal: Int, digest: ContentDigest, firstInput: Int, lastInput: Int, firstID: Int64, endID: Int64,
    rowCount: Int, byteCount: Int, listsDigest: ContentDigest
  ) {
    self.ordinal = ordinal
    self.digest = digest
    self.firstInput = firstInput
    self.lastInput = lastInput
    self.firstID = firstID
    self.endID = endID
    self.rowCount = rowCount
    self.byteCount = byteCount
    self.listsDigest = listsDigest
  }
}

// MARK: - Decoding

extension Row {
  /// A digest column; nil for SQL null.
  func digest(_ column: String) throws -> ContentDigest? {
    guard let text: String = self[column] else { return nil }
    guard let digest = ContentDigest(hex: text) else {
      throw TarnError(.database, "column \(column) holds '\(text.printable)', which is not a digest")
    }
    return digest
  }

  /// A digest column that is never null.
  func requiredDigest(_ column: String) throws -> ContentDigest {
    guard let digest = try digest(column) else {
      throw TarnError(.database, "column \(column) is null where a digest belongs")
    }
    return digest
  }

  /// A column that names a case of an enumeration.
  func named<Value: RawRepresentable>(_ column: String) throws -> Value where Value.RawValue == String {
    let text: String = self[column]
    guard let value = Value(rawValue: text) else {
      throw TarnError(.schemaNewer, "column \(column) holds '\(text.printable)', which this tarn does not know")
    }
    return value
  }
}

extension Source: FetchableRecord {
  init(row: Row) throws {
    id = row["id"]
    name = row["name"]
    modality = try row.named("modality")
    dimension = row["dimension"]
    elementType = try row.named("dtype")
  }
}

extension ShardRevision: FetchableRecord {
  init(row: Row) throws {
    shardID = row["shard_id"]
    number = row["revision"]
    digest = try row.requiredDigest("sha256")
    byteCount = row["byte_count"]
    rowCount = row["row_count"]
    etag = row["etag"]
    lastModified = row["last_modified"]
    mirrorID = row["mirror_id"]
  }
}

extension Shard: FetchableRecord {
  /// The rows of ``Shard``; append a WHERE and ORDER BY.
  static let select = """
    SELECT h.*, s.name AS source_name, r.revision, r.shard_id, r.sha256, r.byte_count, r.row_count, r.etag,
      r.last_modified, r.mirror_id,
      (SELECT CASE WHEN min(l.byte_count) = max(l.byte_count) THEN min(l.byte_count) END
        FROM shard_location l WHERE l.shard_id = h.id AND l.state = 'present') AS probed_byte_count
    FROM shard h JOIN source s ON s.id = h.source_id
    LEFT JOIN shard_revision r ON r.shard_id = h.id AND r.revision = h.current_revision
    """

  init(row: Row) throws {
    id = row["id"]
    sourceID = row["source_id"]
    sourceName = row["source_name"]
    ordinal = row["ordinal"]
    name = row["name"]
    state = try row.named("state")
    expectedByteCount = row["expected_byte_count"]
    expectedDigest = try row.digest("expected_sha256")
    revision = row["current_revision"] == nil ? nil : try ShardRevision(row: row)
    path = row["path"]
    lastError = row["last_error"]
    probedByteCount = row["probed_byte_count"]
  }
}

extension ShardLocation: FetchableRecord {
  init(row: Row) throws {
    mirrorID = row["mirror_id"]
    url = row["url"]
    state = try row.named("state")
    isAskedLast = row["is_asked_last"]
  }
}

extension Artifact: FetchableRecord {
  init(row: Row) throws {
    digest = try row.requiredDigest("sha256")
    kind = try row.named("kind")
    byteCount = row["byte_count"]
    path = row["path"]
    state = try row.named("state")
  }
}

extension TrainedIndexRecord: FetchableRecord {
  /// The rows of ``TrainedIndexRecord``; append a WHERE.
  static let select = """
    SELECT t.*, r.method AS router_method, r.caption_source_id AS router_caption_source_id FROM trained_index t
    LEFT JOIN trained_router r ON r.trained_index_id = t.id
    """

  init(row: Row) throws {
    id = row["id"]
    name = row["name"]
    state = try row.named("state")
    method = row["method"]
    codec = row["codec"]
    nlist = row["nlist"]
    dimension = row["dimension"]
    iterations = row["iterations"]
    seed = row["seed"]
    pairCount = row["pair_count"]
    imageSourceID = row["image_source_id"]
    captionSourceID = row["caption_source_id"] ?? row["router_caption_source_id"]
    router = row["router_method"]
    spec = row["spec"]
    specDigest = try row.requiredDigest("spec_sha256")
    digest = try row.digest("sha256")
  }
}

extension TrainingIteration: FetchableRecord {
  init(row: Row) {
    iteration = row["iteration"]
    objective = row["objective"]
    movedShare = row["moved_share"]
    imbalance = row["imbalance"]
    emptyCount = row["empty_count"]
    largestCount = row["largest_count"]
  }
}

extension IndexVersion: FetchableRecord {
  init(row: Row) throws {
    id = row["id"]
    name = VersionName(name: row["name"], number: row["number"])
    state = try row.named("state")
    trainedIndexID = row["trained_index_id"]
    sourceID = row["source_id"]
    shardsPerOutput = row["shards_per_output"]
    missingPolicy = try row.named("missing_policy")
    badRowsPolicy = try row.named("bad_rows_policy")
    spec = row["spec"]
    specDigest = try row.requiredDigest("spec_sha256")
    versionDigest = try row.digest("version_sha256")
  }
}

extension VersionInput: FetchableRecord {
  /// The rows of ``VersionInput``; append a WHERE and ORDER BY.
  static let select = """
    SELECT i.*, h.name AS shard_name, h.ordinal AS shard_ordinal, r.sha256, r.byte_count, r.row_count AS revision_rows,
      r.etag, r.last_modified, r.mirror_id,
      CASE WHEN h.state = 'present' AND h.current_revision = i.revision THEN h.path END AS present_path
    FROM version_input i JOIN shard h ON h.id = i.shard_id
    LEFT JOIN shard_revision r ON r.shard_id = i.shard_id AND r.revision = i.revision
    """

  init(row: Row) throws {
    ordinal = row["ordinal"]
    shardID = row["shard_id"]
    shardName = row["shard_name"]
    shardOrdinal = row["shard_ordinal"]
    isHole = row["is_hole"]
    outputOrdinal = row["output_ordinal"]
    firstID = row["first_id"]
    rowCount = row["row_count"]
    revision =
      row["revision"] == nil
      ? nil
      : ShardRevision(
        shardID: row["shard_id"], number: row["revision"], digest: try row.requiredDigest("sha256"),
        byteCount: row["byte_count"], rowCount: row["revision_rows"], etag: row["etag"],
        lastModified: row["last_modified"], mirrorID: row["mirror_id"])
    path = row["present_path"]
  }
}

extension SegmentRecord: FetchableRecord {
  init(row: Row) throws {
    trainedDigest = try row.requiredDigest("trained_sha256")
    shardDigest = try row.requiredDigest("shard_sha256")
    badRowsPolicy = try row.named("bad_rows_policy")
    formatVersion = row["format_version"]
    digest = try row.requiredDigest("sha256")
    rowCount = row["row_count"]
    badRowCount = row["bad_row_count"]
  }
}

extension OutputShard: FetchableRecord {
  init(row: Row) throws {
    ordinal = row["ordinal"]
    digest = try row.requiredDigest("sha256")
    firstInput = row["first_input"]
    lastInput = row["last_input"]
    firstID = row["first_id"]
    endID = row["end_id"]
    rowCount = row["row_count"]
    byteCount = row["byte_count"]
    listsDigest = try row.requiredDigest("lists_sha256")
  }
}
