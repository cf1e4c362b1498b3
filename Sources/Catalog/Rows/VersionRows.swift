// Rows of `index_version`, `version_input`, `segment`, `output_shard` and
// `lock_text`.

package import Base
internal import GRDB

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
  /// The name that its publisher gave it, where it was pulled under another.
  package let publishedName: VersionName?
  /// The source whose rows the ids of an adopted version are, as whoever adopted it said.
  package let rowsOf: String?
  /// When it was planned, in the catalog's form.
  package let plannedAt: String

  /// The member of `environment` that says ``rowsOf``.
  package static let rowsOfMember = "rows_of"

  /// The name that its lock file and its document say.
  package var sealedName: VersionName { publishedName ?? name }
}

extension IndexVersion: FetchableRecord {
  /// That the version `v` of a query is pinned.
  static let isPinned = "EXISTS (SELECT 1 FROM pin p WHERE p.version_id = v.id AND p.removed_at IS NULL)"

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
    rowsOf = JSONValue(parsing: row["environment"])?[Self.rowsOfMember]?.string
    plannedAt = row["created_at"]
    publishedName = try (row["published_as"] as String?).map { text in
      guard let name = try? VersionName(parsing: text) else {
        throw TarnError(.database, "column published_as holds '\(text.printable)', which is no version")
      }
      return name
    }
  }

  /// Plans a version, and gives its number in the table.
  static func insert(
    _ name: VersionName, publishedAs published: VersionName? = nil, trainedID: Int64, sourceID: Int64,
    shardsPerOutput: Int, missing: MissingPolicy,
    badRows: BadRowsPolicy, spec: String, environment: String, at time: String, _ database: Database
  ) throws -> Int64 {
    try database.insert(
      """
      INSERT INTO index_version (name, number, state, trained_index_id, source_id, shards_per_output, missing_policy,
        bad_rows_policy, spec, spec_sha256, environment, created_at, published_as)
      VALUES (?, ?, 'planned', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        name.name, name.number, trainedID, sourceID, shardsPerOutput, missing.rawValue, badRows.rawValue, spec,
        ContentDigest.of(spec).hex, environment, time, published == name ? nil : published.map { "\($0)" },
      ])
  }
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
  /// Whether those are the newest bytes that its shard is known to have.
  package let isNewest: Bool
  /// File below the shards directory while the pinned bytes are in the lake.
  package let path: String?
  /// Rows of the pinned bytes that the version does not have, ascending.
  package let excludedRows: [Int]

  /// The ids that its rows have, or would have in a hole.
  package var ids: Range<Int64> { firstID..<(firstID + Int64(rowCount)) }
}

extension VersionInput: FetchableRecord {
  /// The rows of ``VersionInput``; append a WHERE and ORDER BY.
  static let select = """
    SELECT i.*, h.name AS shard_name, h.ordinal AS shard_ordinal, r.sha256, r.byte_count, r.row_count AS revision_rows,
      r.etag, r.last_modified, r.mirror_id, h.current_revision IS i.revision AS is_newest, b.path AS present_path
    FROM version_input i JOIN shard h ON h.id = i.shard_id
    LEFT JOIN shard_revision r ON r.shard_id = i.shard_id AND r.revision = i.revision
    LEFT JOIN stored_bytes b ON b.sha256 = r.sha256 AND b.place = 'shards' AND b.state = 'present'
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
    isNewest = row["is_newest"]
    path = row["present_path"]
    excludedRows = try ExcludedRows.parse(row["excluded_rows"])
  }

  /// Adds an input to the plan of a version.
  static func insert(
    of versionID: Int64, ordinal: Int, shardID: Int64?, revision: Int?, isHole: Bool, output: Int, firstID: Int64,
    rowCount: Int, excluded: [Int] = [], _ database: Database
  ) throws {
    try database.run(
      """
      INSERT INTO version_input (version_id, ordinal, shard_id, revision, is_hole, output_ordinal, first_id, row_count,
        excluded_rows) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [versionID, ordinal, shardID, revision, isHole, output, firstID, rowCount, ExcludedRows.text(excluded)])
  }
}

/// A row of `segment`.
package struct SegmentRecord: Sendable {
  package let trainedDigest: ContentDigest
  package let shardDigest: ContentDigest
  /// The array of the shard's file; nil where its source names none.
  package let array: String?
  package let badRowsPolicy: BadRowsPolicy
  package let formatVersion: Int
  package let digest: ContentDigest
  package let rowCount: Int
  package let badRowCount: Int

  package init(
    trainedDigest: ContentDigest, shardDigest: ContentDigest, array: String? = nil, badRowsPolicy: BadRowsPolicy,
    formatVersion: Int,
    digest: ContentDigest, rowCount: Int, badRowCount: Int
  ) {
    self.trainedDigest = trainedDigest
    self.shardDigest = shardDigest
    self.array = array
    self.badRowsPolicy = badRowsPolicy
    self.formatVersion = formatVersion
    self.digest = digest
    self.rowCount = rowCount
    self.badRowCount = badRowCount
  }
}

extension SegmentRecord: FetchableRecord {
  init(row: Row) throws {
    trainedDigest = try row.requiredDigest("trained_sha256")
    shardDigest = try row.requiredDigest("shard_sha256")
    let name: String = row["array_name"]
    array = name.isEmpty ? nil : name
    badRowsPolicy = try row.named("bad_rows_policy")
    formatVersion = row["format_version"]
    digest = try row.requiredDigest("sha256")
    rowCount = row["row_count"]
    badRowCount = row["bad_row_count"]
  }

  /// Says which file a shard's bytes were encoded into; again changes nothing.
  func insert(_ database: Database) throws {
    try database.run(
      """
      INSERT INTO segment (trained_sha256, shard_sha256, bad_rows_policy, format_version, sha256, row_count,
        bad_row_count, created_at, array_name) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
      WHERE NOT EXISTS (SELECT 1 FROM segment WHERE trained_sha256 = ?1 AND shard_sha256 = ?2
        AND array_name = ?9 AND bad_rows_policy = ?3 AND format_version = ?4)
      """,
      [
        trainedDigest.hex, shardDigest.hex, badRowsPolicy.rawValue, formatVersion, digest.hex, rowCount, badRowCount,
        Timestamp.now(), array ?? "",
      ])
  }
}

/// A segment with its file.
package struct StoredSegment: Sendable, FetchableRecord {
  package let segment: SegmentRecord
  package let byteCount: Int
  /// File below the artifacts directory.
  package let path: String

  init(row: Row) throws {
    segment = try SegmentRecord(row: row)
    byteCount = row["byte_count"]
    path = row["path"]
  }
}

/// The file of codes that refine an output.
package struct RefineShard: Sendable, Equatable {
  package let digest: ContentDigest
  package let byteCount: Int

  package init(digest: ContentDigest, byteCount: Int) { (self.digest, self.byteCount) = (digest, byteCount) }
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
  /// Codes of the ids from ``firstID`` to ``endID`` that refine it; nil without.
  package let refine: RefineShard?

  /// The ids of its inputs, those of holes included.
  package var ids: Range<Int64> { firstID..<endID }
  /// Bytes of its file and of the one that refines it.
  package var wholeByteCount: Int { byteCount.addingSaturated(refine?.byteCount ?? 0) }

  package init(
    ordinal: Int, digest: ContentDigest, firstInput: Int, lastInput: Int, firstID: Int64, endID: Int64,
    rowCount: Int, byteCount: Int, listsDigest: ContentDigest, refine: RefineShard? = nil
  ) {
    self.refine = refine
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

extension [OutputShard] {
  /// Their files, and those that refine them.
  package var fileCount: Int { count + filter { $0.refine != nil }.count }
  /// Bytes of all of these.
  package var wholeByteCount: Int { reduce(0) { $0.addingSaturated($1.wholeByteCount) } }
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
    let (text, size): (String?, Int?) = (row["refine_sha256"], row["refine_byte_count"])
    // What was never recorded so is read as bytes that are nowhere: what was sealed shows it.
    refine =
      text == nil && size == nil
      ? nil : RefineShard(digest: text.flatMap { ContentDigest(hex: $0) } ?? .of(text ?? ""), byteCount: size ?? 0)
  }

  /// Records a finished output of a version.
  func insert(of versionID: Int64, at time: String, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO output_shard (version_id, ordinal, sha256, first_input, last_input, first_id, end_id, row_count,
        byte_count, lists_sha256, created_at, refine_sha256, refine_byte_count)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        versionID, ordinal, digest.hex, firstInput, lastInput, firstID, endID, rowCount, byteCount, listsDigest.hex,
        time, refine?.digest.hex, refine?.byteCount,
      ])
  }
}

/// A row of `lock_text`.
enum LockTextRow {
  /// Keeps the text that a version was sealed with.
  static func insert(_ text: String, of versionID: Int64, _ database: Database) throws {
    try database.run("INSERT INTO lock_text (version_id, text) VALUES (?, ?)", [versionID, text])
  }
}
