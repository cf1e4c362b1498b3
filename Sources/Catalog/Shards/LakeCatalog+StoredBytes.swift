// Where the bytes are that the catalog vouches for: the path in their row, and
// for bytes that never had one the path that the layout gives.

package import Base
internal import Foundation
internal import GRDB

extension LakeCatalog {
  /// Where an artifact's file is, absolute: the path that the catalog has for
  /// its bytes, or where new bytes of that kind go.
  package func path(of kind: StoredKind, _ digest: ContentDigest) throws -> String {
    let known = try read { try StoredBytes.find(digest, in: kind.place, $0)?.path }
    return layout.path(known ?? LakeCatalog.newPath(of: kind, digest), in: kind.place)
  }

  /// Where new bytes of a kind go, below the directory of their place.
  static func newPath(of kind: StoredKind, _ digest: ContentDigest) -> String {
    LakeLayout.artifactPath(kind: kind, digest: digest)
  }

  /// An artifact whose bytes are in the lake; nil when they are not.
  package func artifact(_ digest: ContentDigest) throws -> StoredBytes? {
    let bytes = try read { try StoredBytes.find(digest, in: .artifacts, $0) }
    return bytes?.state == .present ? bytes : nil
  }

  /// Vouches for an artifact's bytes, durable at ``path(of:_:)``.
  static func addArtifact(_ digest: ContentDigest, _ kind: StoredKind, byteCount: Int, _ database: Database) throws {
    try StoredBytes.insert(
      digest, kind, byteCount: byteCount, path: newPath(of: kind, digest), verifiedAt: Timestamp.now(), database)
  }

  /// Says that bytes were read now and are right.
  static func markVerified(_ digest: ContentDigest, in place: Place, _ database: Database) throws {
    try database.run(
      "UPDATE stored_bytes SET verified_at = ? WHERE sha256 = ? AND place = ?",
      [Timestamp.now(), digest.hex, place.rawValue])
  }

  /// The files of a place that rows name, below its directory.
  static func storedPaths(in place: Place, _ database: Database) throws -> Set<String> {
    Set(
      try String.fetchAll(
        database,
        sql: """
          SELECT path FROM stored_bytes WHERE place = ?1 AND state <> 'deleted'
          UNION ALL SELECT path FROM duplicate_file WHERE place = ?1
          """, arguments: [place.rawValue]))
  }

  /// Files below a directory that were last written before a time.
  func files(in directory: String, until cutoff: String) -> [UnknownFile] {
    LakeCatalog.files(below: directory).compactMap { file in
      let path = directory + "/" + file.path
      let attributes = try? FileManager.default.attributesOfItem(atPath: path)
      guard let written = attributes?[.modificationDate] as? Date, Timestamp.text(written) <= cutoff else { return nil }
      return UnknownFile(path: path, byteCount: file.byteCount)
    }
  }
}
