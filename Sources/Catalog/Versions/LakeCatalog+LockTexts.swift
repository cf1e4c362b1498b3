// The text that each version was sealed with, word by word.

internal import Base
internal import Foundation
internal import GRDB

extension LakeCatalog {
  /// The text that a version was sealed with.
  ///
  /// - Parameter version: A version.
  /// - Returns: The text; nil before it is sealed, and of a version that was
  ///   sealed before texts were kept and whose lock file is lost.
  /// - Throws: ``TarnError``.
  package func lockText(of version: IndexVersion) throws -> String? {
    let text = try read {
      try String.fetchOne($0, sql: "SELECT text FROM lock_text WHERE version_id = ?", arguments: [version.id])
    }
    return text.flatMap { ContentDigest.of($0) == version.versionDigest ? $0 : nil }
  }

  /// Keeps the texts of versions that were sealed before texts were kept, from
  /// their lock files.
  func keepLockTexts() throws {
    let versions = try read { database in
      try IndexVersion.fetchAll(
        database,
        sql: """
          SELECT v.* FROM index_version v WHERE v.version_sha256 IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM lock_text l WHERE l.version_id = v.id)
          """)
    }
    let texts = versions.compactMap { version -> (id: Int64, text: String)? in
      guard let text = Disk.text(of: layout.lockFilePath(version.name)), ContentDigest.of(text) == version.versionDigest
      else { return nil }
      return (version.id, text)
    }
    guard !texts.isEmpty else { return }
    try write("lock texts") { database in
      for (id, text) in texts { try LockTextRow.insert(text, of: id, database) }
    }
  }
}
