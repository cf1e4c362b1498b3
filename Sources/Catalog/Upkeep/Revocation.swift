// `NAME.revoked` beside a lock file: that the version was revoked, when and why. A catalog that
// is made again knows it from there, so that nothing that was withdrawn comes back.

internal import Base
internal import GRDB

/// What the file of a revocation says.
struct Revocation {
  /// In the catalog's form.
  let at: String
  let reason: String

  init(at: String, reason: String) {
    self.at = at
    self.reason = reason
  }

  /// Reads the file of a version; nil where there is none.
  ///
  /// One that cannot be read says that the version was revoked all the same.
  init?(of name: VersionName, in layout: LakeLayout) {
    let path = layout.revocationPath(name)
    guard Disk.size(of: path) != nil else { return nil }
    let bytes = (try? Disk.contents(of: path)) ?? []
    let told = JSONValue(parsing: String(decoding: bytes, as: UTF8.self))
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
      try Disk.writeAtomically(Array((text + "\n").utf8), to: layout.revocationPath(name))
      return nil
    } catch let error as TarnError where [.diskFull, .io].contains(error.code) {
      return error
    }
  }
}

extension LakeCatalog {
  /// Writes the files of revocations that are not there: of what an older tarn revoked, or one whom the disk refused.
  ///
  /// - Returns: What kept some of them from being written.
  /// - Throws: ``TarnError``.
  func writeRevocations() throws -> [TarnError] {
    let rows = try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT v.name, v.number, v.ended_at, (SELECT json_extract(e.detail, '$.reason') FROM event e
            WHERE e.verb = 'revoked' AND e.subject = v.name || '@' || v.number ORDER BY e.seq DESC LIMIT 1) AS reason
          FROM index_version v WHERE v.state = 'revoked' ORDER BY v.name, v.number
          """
      ).map { row in
        (
          name: VersionName(name: row["name"], number: row["number"]),
          revocation: Revocation(at: row["ended_at"], reason: row["reason"] as String? ?? "")
        )
      }
    }
    return try rows.filter { Disk.size(of: layout.revocationPath($0.name)) == nil }.compactMap { row in
      try row.revocation.write(of: row.name, in: layout)
    }
  }
}
