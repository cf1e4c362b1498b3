// Rows of `lake`, `source`, `mirror` and `setting`.

package import Base
internal import Foundation
internal import GRDB

/// The row of `lake`.
enum LakeRow {
  /// A name that no other lake has.
  static func newUUID() -> String { UUID().uuidString.lowercased() }

  /// Names a new lake, and says where its directories are.
  static func insert(uuid: String, shards: String, artifacts: String, _ database: Database) throws {
    try database.run(
      "INSERT INTO lake (id, uuid, shards_directory, artifacts_directory, created_at) VALUES (1, ?, ?, ?, ?)",
      [uuid, shards, artifacts, Timestamp.now()])
  }
}

/// A row of `source`.
package struct Source: Sendable, Identifiable {
  package let id: Int64
  package let name: String
  package let modality: Modality
  package let dimension: Int
  package let elementType: ElementType
  /// Names of query items of its addresses that the user knows to be harmless.
  package let keptQuery: Set<String>
  /// The array of its files that it reads; nil where they have one.
  package let array: String?
  /// The source whose files it reads; nil where it has its own.
  package let filesOf: Int64?

  /// The source whose shards and mirrors its files are: that one, or itself.
  package var filesID: Int64 { filesOf ?? id }
  /// The source beside whose rows it stands; nil for one of features.
  package let companionOf: Int64?

  /// Whether its rows say what is known of another source's rows.
  package var isCompanion: Bool { companionOf != nil }
}

extension Source: FetchableRecord {
  init(row: Row) throws {
    id = row["id"]
    name = row["name"]
    modality = try row.named("modality")
    dimension = row["dimension"]
    elementType = try row.named("dtype")
    keptQuery = Set((row["kept_query"] as String).split(separator: " ").map(String.init))
    array = row["array_name"]
    filesOf = row["files_of"]
    companionOf = row["companion_of"]
  }

  /// What the history says of a source that comes or goes: it can be registered again from this.
  ///
  /// - Parameters:
  ///   - shardCount: Shards of its own.
  ///   - mirrors: Their templates, in order.
  ///   - owner: Name of the source whose files it reads; nil where it has its own.
  /// - Returns: The detail of the event.
  func detail(shardCount: Int, mirrors: [String], filesOf owner: String? = nil) -> [String: JSONValue] {
    var detail: [String: JSONValue] = [
      "shards": .count(shardCount), "dimension": .count(dimension), "dtype": .string(elementType.rawValue),
      "modality": .string(modality.rawValue), "mirrors": .strings(mirrors),
    ]
    if let array { detail["array"] = .string(array) }
    if let owner { detail["files_of"] = .string(owner) }
    return detail
  }

  /// Names of query items as `kept_query` has them.
  static func text(ofKept names: Set<String>) -> String {
    names.isEmpty ? "" : " \(names.sorted().joined(separator: " ")) "
  }

  /// Adds a source.
  static func insert(
    name: String, modality: Modality, dimension: Int, elementType: ElementType, keptQuery: Set<String> = [],
    array: String? = nil, filesOf: Int64? = nil, companionOf: Int64? = nil, at time: String, _ database: Database
  ) throws -> Source {
    let id = try database.insert(
      """
      INSERT INTO source (name, modality, dimension, dtype, kept_query, array_name, files_of, companion_of,
        created_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        name, modality.rawValue, dimension, elementType.rawValue, text(ofKept: keptQuery), array, filesOf,
        companionOf, time,
      ])
    return Source(
      id: id, name: name, modality: modality, dimension: dimension, elementType: elementType, keptQuery: keptQuery,
      array: array, filesOf: filesOf, companionOf: companionOf)
  }
}

/// A row of `mirror`.
enum MirrorRow {
  /// Adds a mirror, and gives its number.
  static func insert(
    of sourceID: Int64, priority: Int, template: String, isReconstructed: Bool, isOfDocument: Bool = false,
    at time: String, _ database: Database
  ) throws -> Int64 {
    try database.insert(
      """
      INSERT INTO mirror (source_id, priority, template, provenance, is_of_document, created_at)
      VALUES (?, ?, ?, ?, ?, ?)
      """, [sourceID, priority, template, isReconstructed ? "reconstructed" : "original", isOfDocument, time])
  }
}

/// A listing that a source's shards were named by: a row of `source_listing`.
package struct SourceListing: Sendable, Equatable {
  /// What was listed: a tree of a Hub, a prefix of a store, or nothing, where a list
  /// has the addresses themselves.
  package enum Kind: String, Sendable, CaseIterable { case hub, store, list }

  package let kind: Kind
  /// As it is read again.
  package let place: String
  /// What its names were chosen by; nil for the feature files of one format.
  package let pattern: String?
  /// The commit that it is of; nil where nobody says.
  package let commit: String?
  /// Of its text, a line for each name that was chosen.
  package let digest: ContentDigest
  package let nameCount: Int

  package init(kind: Kind, place: String, pattern: String?, commit: String?, digest: ContentDigest, nameCount: Int) {
    self.kind = kind
    self.place = place
    self.pattern = pattern
    self.commit = commit
    self.digest = digest
    self.nameCount = nameCount
  }

  /// What the history keeps of it.
  var detail: JSONValue {
    .object([
      "kind": .string(kind.rawValue), "place": .string(place), "match": .optional(pattern), "commit": .optional(commit),
      "sha256": .string(digest.hex),
      "names": .count(nameCount),
    ])
  }
}

extension SourceListing: FetchableRecord {
  init(row: Row) throws {
    kind = try row.named("kind")
    place = row["place"]
    pattern = row["pattern"]
    commit = row["commit_id"]
    digest = try row.requiredDigest("sha256")
    nameCount = row["name_count"]
  }

  /// Records that it was used, behind those that were before.
  func insert(of sourceID: Int64, at time: String, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO source_listing (source_id, number, kind, place, pattern, commit_id, sha256, name_count, read_at)
      SELECT ?1, 1 + coalesce((SELECT max(l.number) FROM source_listing l WHERE l.source_id = ?1), 0), ?2, ?3, ?4, ?5,
        ?6, ?7, ?8
      """, [sourceID, kind.rawValue, place, pattern, commit, digest.hex, nameCount, time])
  }
}

extension Setting {
  /// Sets it, whatever it was.
  func insert(_ value: String, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO setting (name, value, changed_at) VALUES (?1, ?2, ?3)
      ON CONFLICT (name) DO UPDATE SET value = ?2, changed_at = ?3
      """, [rawValue, value, Timestamp.now()])
  }
}
