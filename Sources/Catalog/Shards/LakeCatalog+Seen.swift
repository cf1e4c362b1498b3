// Bytes of shards that somebody else saw: a worker whose receipt names them. They are
// known from then on like bytes that were fetched and evicted.

package import Base
internal import GRDB

/// A shard's bytes as a receipt has them.
package struct SeenBytes: Sendable {
  package let digest: ContentDigest
  package let byteCount: Int
  package let rowCount: Int
  /// Where they were asked for; nil where nobody can tell any more.
  package let mirrorID: Int64?
  package let etag: String?
  package let lastModified: String?

  package init(
    digest: ContentDigest, byteCount: Int, rowCount: Int, mirrorID: Int64?, etag: String?, lastModified: String?
  ) {
    self.digest = digest
    self.byteCount = byteCount
    self.rowCount = rowCount
    self.mirrorID = mirrorID
    self.etag = etag
    self.lastModified = lastModified
  }
}

/// What of a worker's output was made here again, and how it was chosen.
package struct OutputRecheck: Sendable, Equatable {
  /// Drawn when the output was read: no worker can have known it.
  package let secret: ContentDigest
  /// Which of its host's outputs it was, of those of which something could be made again.
  package let number: Int
  /// The shards that were encoded again; none where the secret passed it over.
  package var shards: [String]

  package init(secret: ContentDigest, number: Int, shards: [String] = []) {
    self.secret = secret
    self.number = number
    self.shards = shards
  }

  /// Whether something of the output is encoded again: of a host's first always, of the
  /// N-th once in N times, so that none is known to be passed over.
  package var isDue: Bool {
    let draw = secret.hex.prefix(15).reduce(0) { $0 << 4 | ($1.hexDigitValue ?? 0) }
    return draw % max(1, number) == 0
  }

  /// Where a shard comes among those of the output: the first ones are encoded again.
  package func rank(of shard: ContentDigest) -> ContentDigest { .of(secret.hex + shard.hex) }

  var json: JSONValue {
    .object([
      "secret": .string(secret.hex), "number": .count(number), "shards": .strings(shards),
    ])
  }
}

extension LakeCatalog {
  /// Records an output that a worker made, and binds its inputs to what the worker saw, in
  /// one transaction: the version is bound to nothing that no output of it was made from.
  ///
  /// A shard of which nothing was known is evicted afterwards: its bytes are known and
  /// are not here. What is in the lake stays the shard's newest.
  ///
  /// - Parameters:
  ///   - output: The output, durable in the lake.
  ///   - version: A version that is planned or building.
  ///   - seen: For each input of it the bytes, or nil where it is a hole.
  ///   - witness: Who saw them, for the history.
  ///   - recheck: What of it was made here again, for the history.
  /// - Throws: ``TarnError`` `.integrity` where an input is bound to other bytes, or the
  ///   bytes are not what is known of them; then nothing is recorded.
  package func recordOutput(
    _ output: OutputShard, of version: IndexVersion, from seen: [(input: VersionInput, bytes: SeenBytes?)],
    witness: String, recheck: OutputRecheck? = nil
  ) throws {
    for (input, bytes) in seen {
      guard input.revision.map({ $0.digest == bytes?.digest }) ?? (!input.isHole || bytes == nil) else {
        let bound = input.revision.map { "SHA-256 \($0.digest.prefix(12))" } ?? "a hole"
        throw TarnError(
          .integrity,
          "\(version.name) is bound to \(input.shardName) as \(bound), the receipt has "
            + (bytes.map { $0.digest.prefix(12) } ?? "a hole"))
      }
    }
    try write("output") { database in
      let now = Timestamp.now()
      for (input, bytes) in seen where input.revision == nil && !input.isHole {
        guard let bytes else {
          try database.run(
            "UPDATE version_input SET is_hole = 1 WHERE version_id = ? AND ordinal = ?", [version.id, input.ordinal])
          continue
        }
        let number = try LakeCatalog.revision(bytes, of: input, witness, at: now, database)
        try database.run(
          "UPDATE version_input SET revision = ? WHERE version_id = ? AND ordinal = ?",
          [number, version.id, input.ordinal])
      }
      try LakeCatalog.record(output, of: version, recheck: recheck, database)
    }
  }

  /// The number of a revision that was seen, recorded where it is new.
  private static func revision(
    _ bytes: SeenBytes, of input: VersionInput, _ witness: String, at now: String, _ database: Database
  ) throws -> Int {
    let known = try database.row(
      "SELECT revision, byte_count, row_count FROM shard_revision WHERE shard_id = ? AND sha256 = ?",
      [input.shardID, bytes.digest.hex])
    if let known {
      guard known["byte_count"] == bytes.byteCount, known["row_count"] == bytes.rowCount else {
        throw TarnError(
          .integrity,
          "\(input.shardName) with SHA-256 \(bytes.digest.prefix(12)) has another size or other rows than it says")
      }
      return known["revision"]
    }
    let shard = try database.row(
      """
      SELECT h.name, h.state, h.expected_sha256, h.current_revision, s.name AS source,
        (SELECT max(r.revision) FROM shard_revision r WHERE r.shard_id = h.id) AS last
      FROM shard h JOIN source s ON s.id = h.source_id WHERE h.id = ?
      """, [input.shardID])
    guard let shard else { preconditionFailure("a version's input is a shard") }
    let revision = ShardRevision(
      shardID: input.shardID, number: (shard["last"] as Int? ?? 0) + 1, digest: bytes.digest,
      byteCount: bytes.byteCount, rowCount: bytes.rowCount, etag: bytes.etag, lastModified: bytes.lastModified,
      mirrorID: bytes.mirrorID)
    let expected = try shard.digest("expected_sha256")
    guard expected ?? bytes.digest == bytes.digest else {
      throw TarnError(
        .integrity,
        "\(input.shardName) was seen with SHA-256 \(bytes.digest.prefix(12)), its source's list says "
          + (expected?.prefix(12) ?? ""))
    }
    try revision.insert(trust: expected == nil ? .worker : .manifest, at: now, database)
    let state: ShardState = try shard.named("state")
    if [.registered, .evicted, .absent, .failed].contains(state) {
      try Shard.settleAsEvicted(input.shardID, at: revision.number, database)
      try database.run("UPDATE shard SET last_error = NULL, changed_at = ? WHERE id = ?", [now, input.shardID])
    }
    try record(
      .seen, "\(shard["source"] as String)/\(shard["name"] as String)",
      [
        "revision": .count(revision.number), "sha256": .string(bytes.digest.hex), "bytes": .count(bytes.byteCount),
        "witness": .string(witness),
      ], database)
    return revision.number
  }
}
