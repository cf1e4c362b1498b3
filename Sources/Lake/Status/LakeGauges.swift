// What the catalog of a lake says of it at one moment, for who measures it: counts and times that cost little to ask.
// Nothing here is locked, and nothing kept.

internal import Base
package import Catalog
package import Foundation

/// Figures of a lake.
package struct LakeGauges: Sendable {
  /// Shards of each source by state, each in one; of a source together all that it has.
  package let shards: [(source: String, state: String, count: Int)]
  /// Versions by state.
  package let versions: [(state: String, count: Int)]
  /// The lake's directories, whose file systems are asked for their room by who may wait for them.
  package let directories: [(place: String, path: String)]
  /// Commands that hold leases on the lake, or may.
  package let commandCount: Int
  /// When a transfer last brought a shard, or found it unchanged.
  package let lastTransfer: Date?
  /// When a version was sealed last.
  package let lastSealed: Date?
  /// When something was last written to the history.
  package let lastEvent: Date?
  /// When that file was last read and found right for which it is longest ago.
  package let oldestCheck: Date?

  /// Looks into a lake.
  ///
  /// - Parameter catalog: The lake; reading is enough.
  /// - Throws: ``TarnError`` when the catalog cannot be read.
  package init(_ catalog: LakeCatalog) throws {
    let states = ["registered", "fetching", "present", "evicted", "failed", "dropped"]
    shards = try catalog.rows("SELECT source, \(states.joined(separator: ", ")) FROM v_source ORDER BY source")
      .flatMap { row in
        zip(states, row.dropFirst()).map { (source: row[0].text, state: $0, count: $1.integer) }
      }
    var counted: [String: Int] = [:]
    for row in try catalog.rows("SELECT state, count(*) FROM index_version GROUP BY state") {
      counted[row[0].text] = row[1].integer
    }
    versions = VersionState.allCases.map { (state: $0.rawValue, count: counted[$0.rawValue] ?? 0) }
    let layout = catalog.layout
    directories = [("catalog", layout.root), ("shards", layout.shards), ("artifacts", layout.artifacts)]
    commandCount = catalog.commandsAtWork(at: Date()).count
    func time(_ sql: String) throws -> Date? { try catalog.rows(sql).first.flatMap { Timestamp.date($0[0].text) } }
    lastTransfer = try time(
      "SELECT ended_at FROM transfer WHERE outcome IN ('complete', 'unchanged') ORDER BY id DESC LIMIT 1")
    lastSealed = try time("SELECT max(sealed_at) FROM index_version")
    lastEvent = try time("SELECT at FROM event ORDER BY seq DESC LIMIT 1")
    oldestCheck = try time(
      "SELECT min(coalesce(verified_at, created_at)) FROM stored_bytes WHERE state = 'present'")
  }
}
