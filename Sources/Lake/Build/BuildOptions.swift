// What `build` is told, and what it tells while it runs.

package import Base

/// What to build.
package struct BuildOptions: Sendable {
  package var name: String
  package var trained: String
  package var images: String
  /// Which shards; nil for all.
  package var ordinals: OrdinalSet?
  package var shardsPerOutput: Int
  /// Whether the user gave ``shardsPerOutput``; if not, ``following(_:)`` takes that of the name's last version.
  package var isLayoutGiven = true
  package var missing: MissingPolicy
  package var badRows: BadRowsPolicy
  /// Whether shards that are not in the lake will be fetched meanwhile.
  package var fetches: Bool
  /// Canonical JSON of the tool and the machine, for the record.
  package var environment: String
  /// Whether the source must be registered as images; not where a version's document says what to build, as
  /// `reproduce --from` has it.
  package var checksRoles = true
  /// Ordinals of the shards that are left out as holes, where a document says so; nil where ``missing`` decides.
  ///
  /// Every other shard must be there.
  package var holes: Set<Int>?
  /// Rows that are left out, by the shard's ordinal, where a document says so; nil for the rows that the lake's lists
  /// exclude.
  package var excluded: [Int: [Int]]?
  /// Sources whose shards may be evicted to make room, but for those that are still to be encoded.
  package var releases: [String] = []

  package init(
    name: String, trained: String, images: String, ordinals: OrdinalSet? = nil,
    shardsPerOutput: Int = BuildOptions.shardsPerOutputAtFirst,
    missing: MissingPolicy = .fail, badRows: BadRowsPolicy = .fail, fetches: Bool = false, environment: String
  ) {
    self.name = name
    self.trained = trained
    self.images = images
    self.ordinals = ordinals
    self.shardsPerOutput = shardsPerOutput
    self.missing = missing
    self.badRows = badRows
    self.fetches = fetches
    self.environment = environment
  }
}

/// How far a build is.
package enum BuildProgress: Sendable {
  /// Rows of the plan encoded so far.
  case encoding(shard: String, rowsDone: Int, rows: Int)
  case merging(output: Int, of: Int)
  case finished(output: Int, of: Int, byteCount: Int)
}
