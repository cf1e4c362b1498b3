// `NAME.revoked` and `NAME.pinned` beside a lock file: that the version was revoked or pinned, when and why. A catalog
// that is made again knows it from there, so that nothing that was withdrawn comes back, and `gc` takes nothing that
// somebody keeps.

internal import Base
internal import GRDB

/// What such a file says.
struct VersionMark {
  /// What is said of the version; the ending of the file's name.
  enum Kind: String {
    case revoked
    case pinned
  }

  let kind: Kind
  /// In the catalog's form.
  let at: String
  let reason: String

  init(_ kind: Kind, at: String, reason: String) {
    self.kind = kind
    self.at = at
    self.reason = reason
  }

  /// Reads the file of a version; nil where there is none.
  ///
  /// One that cannot be read says that the version was revoked, or pinned, all the same.
  init?(_ kind: Kind, of name: VersionName, in layout: LakeLayout) {
    let path = layout.markPath(kind, name)
    guard Disk.size(of: path) != nil else { return nil }
    let bytes = (try? Disk.contents(of: path)) ?? []
    let told = JSONValue(parsing: String(decoding: bytes, as: UTF8.self))
    self.kind = kind
    at = told?["at"]?.string ?? Timestamp.now()
    reason = told?["reason"]?.string ?? "\(path.lastPathPart) cannot be read"
  }

  /// Writes the file, where the version's lock file is: without that nobody would take the version up again.
  ///
  /// - Returns: What kept it from being written, where the disk is full or refuses; nil where nothing did. Who withdraws
  ///   something is not kept from it, and `gc --apply` writes the file later.
  /// - Throws: ``TarnError`` for anything else.
  func write(of name: VersionName, in layout: LakeLayout) throws -> TarnError? {
    guard Disk.size(of: layout.lockFilePath(name)) != nil else { return nil }
    let text = JSONValue.object(["at": .string(at), "reason": .string(reason), "version": .string("\(name)")]).text
    do {
      try Disk.writeAtomically(Array((text + "\n").utf8), to: layout.markPath(kind, name))
      return nil
    } catch let error as TarnError where [.diskFull, .io].contains(error.code) {
      return error
    }
  }
}

extension LakeCatalog {
  /// Writes the files of revocations and pins that are not there: of an older tarn, or of one whom the disk refused.
  ///
  /// - Parameter version: The one version to look at; nil for all.
  /// - Returns: What kept some of them from being written.
  /// - Throws: ``TarnError``.
  func writeMarks(of version: IndexVersion? = nil) throws -> [TarnError] {
    let marks = try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT v.name, v.number, 'revoked' AS kind, v.ended_at AS at,
            (SELECT json_extract(e.detail, '$.reason') FROM event e
              WHERE e.verb = 'revoked' AND e.subject = v.name || '@' || v.number ORDER BY e.seq DESC LIMIT 1) AS reason
          FROM index_version v WHERE v.state = 'revoked' AND (?1 IS NULL OR v.id = ?1)
          UNION ALL
          SELECT v.name, v.number, 'pinned', p.created_at, p.reason
          FROM pin p JOIN index_version v ON v.id = p.version_id
          WHERE p.removed_at IS NULL AND (?1 IS NULL OR v.id = ?1) ORDER BY 1, 2, 3
          """, arguments: [version?.id]
      ).map { row in
        (
          name: VersionName(name: row["name"], number: row["number"]),
          mark: VersionMark(try row.named("kind"), at: row["at"], reason: row["reason"] as String? ?? "")
        )
      }
    }
    return try marks.filter { Disk.size(of: layout.markPath($0.mark.kind, $0.name)) == nil }.compactMap { row in
      try row.mark.write(of: row.name, in: layout)
    }
  }
}
