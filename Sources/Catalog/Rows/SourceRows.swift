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
}

extension Source: FetchableRecord {
  init(row: Row) throws {
    id = row["id"]
    name = row["name"]
    modality = try row.named("modality")
    dimension = row["dimension"]
    elementType = try row.named("dtype")
    keptQuery = Set((row["kept_query"] as String).split(separator: " ").map(String.init))
  }

  /// Names of query items as `kept_query` has them.
  static func text(ofKept names: Set<String>) -> String {
    names.isEmpty ? "" : " \(names.sorted().joined(separator: " ")) "
  }

  /// Adds a source.
  static func insert(
    name: String, modality: Modality, dimension: Int, elementType: ElementType, keptQuery: Set<String> = [],
    at time: String, _ database: Database
  ) throws -> Source {
    let id = try database.insert(
      "INSERT INTO source (name, modality, dimension, dtype, kept_query, created_at) VALUES (?, ?, ?, ?, ?, ?)",
      [name, modality.rawValue, dimension, elementType.rawValue, text(ofKept: keptQuery), time])
    return Source(
      id: id, name: name, modality: modality, dimension: dimension, elementType: elementType, keptQuery: keptQuery)
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
