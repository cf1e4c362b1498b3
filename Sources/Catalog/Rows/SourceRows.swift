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
}

extension Source: FetchableRecord {
  init(row: Row) throws {
    id = row["id"]
    name = row["name"]
    modality = try row.named("modality")
    dimension = row["dimension"]
    elementType = try row.named("dtype")
  }

  /// Adds a source.
  static func insert(
    name: String, modality: Modality, dimension: Int, elementType: ElementType, at time: String, _ database: Database
  ) throws -> Source {
    let id = try database.insert(
      "INSERT INTO source (name, modality, dimension, dtype, created_at) VALUES (?, ?, ?, ?, ?)",
      [name, modality.rawValue, dimension, elementType.rawValue, time])
    return Source(id: id, name: name, modality: modality, dimension: dimension, elementType: elementType)
  }
}

/// A row of `mirror`.
enum MirrorRow {
  /// Adds a mirror, and gives its number.
  static func insert(
    of sourceID: Int64, priority: Int, template: String, isReconstructed: Bool, at time: String, _ database: Database
  ) throws -> Int64 {
    try database.insert(
      "INSERT INTO mirror (source_id, priority, template, provenance, created_at) VALUES (?, ?, ?, ?, ?)",
      [sourceID, priority, template, isReconstructed ? "reconstructed" : "original", time])
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
