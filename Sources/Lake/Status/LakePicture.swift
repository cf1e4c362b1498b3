// What pages show of a lake, as values: the shards of sources and versions by
// state, and what versions are made of.

package import Base
package import Catalog

/// Reads what pages show.
package struct LakePicture {
  private let catalog: LakeCatalog

  /// Prepares to read.
  ///
  /// - Parameter catalog: A lake; reading is enough.
  package init(_ catalog: LakeCatalog) { self.catalog = catalog }

  /// The states of shards in order, under the name of what they are of.
  package typealias States = (title: String, states: [String])

  /// The shards of every source.
  package func sources() throws -> [States] {
    try read("SELECT source, state FROM v_shard ORDER BY source, ordinal")
  }

  /// The inputs of a version; of every version in work when none is named.
  package func versions(_ version: VersionName? = nil) throws -> [States] {
    let which = version.map { "v.name = '\($0.name)' AND v.number = \($0.number)" } ?? "v.state <> 'abandoned'"
    return try read(
      """
      SELECT v.name || '@' || v.number || iif(v.state = 'revoked', ' (revoked)', ''), CASE WHEN i.is_hole THEN 'hole'
        WHEN EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = v.id AND o.ordinal = i.output_ordinal) THEN 'merged'
        WHEN EXISTS (SELECT 1 FROM shard_revision r JOIN segment g ON g.shard_sha256 = r.sha256
          AND g.trained_sha256 = t.sha256 AND g.array_name = (SELECT coalesce(s.array_name, '') FROM source s WHERE s.id = v.source_id) AND g.bad_rows_policy = v.bad_rows_policy
          WHERE r.shard_id = i.shard_id AND r.revision = i.revision) THEN 'encoded'
        ELSE 'waiting' END
      FROM version_input i JOIN index_version v ON v.id = i.version_id JOIN trained_index t ON t.id = v.trained_index_id
      WHERE \(which) ORDER BY v.name, v.number, i.ordinal
      """)
  }

  /// The rows of a query, as ``LakeCatalog/rows(_:)`` gives them.
  package func rows(_ sql: String) throws -> [[SQLValue]] { try catalog.rows(sql) }

  private func read(_ sql: String) throws -> [States] {
    var found: [States] = []
    // Row by row: there may be a million.
    try catalog.query(sql) { _, values in
      guard case .text(let name)? = values?[0], case .text(let state)? = values?[1] else { return }
      if name != found.last?.title { found.append((name, [])) }
      found[found.count - 1].states.append(state)
    }
    return found
  }

  /// What led to a version, first to last.
  ///
  /// - Throws: ``TarnError`` `.notFound`.
  package func lineage(of name: VersionName) throws -> [(title: String, lines: [String])] {
    let version = try catalog.version(name)
    let trained = try catalog.trainedIndex(id: version.trainedIndexID)
    let inputs = try catalog.inputs(of: version)
    let outputs = try catalog.outputs(of: version)
    let learnt =
      [try catalog.source(id: trained.imageSourceID).name]
      + (try trained.captionSourceID.map { [try catalog.source(id: $0).name] } ?? [])
    return [
      ("trained on", learnt + ["\(trained.pairCount) pairs, seed \(trained.seed)"]),
      (
        trained.name,
        [
          "\(trained.method), router \(trained.router ?? "none")", "nlist \(trained.nlist), \(trained.codec)",
          "sha256 \(trained.digest?.prefix(16) ?? "")…",
        ]
      ),
      (
        "filled from \(try catalog.source(id: version.sourceID).name)",
        ["\(inputs.count.counted("shard")), \(inputs.count { $0.isHole }) left out"]
      ),
      (
        "\(name)",
        [
          "\(outputs.count.counted("file")), \(outputs.reduce(0) { $0 + $1.rowCount }.counted("row"))",
          "sha256 \(version.versionDigest?.prefix(16) ?? "")…",
        ] + (version.publishedName.map { ["published as \($0)"] } ?? [])
      ),
    ]
  }
}
