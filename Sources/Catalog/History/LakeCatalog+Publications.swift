// Copies of versions that were written for others: where they are is in the history, for
// nothing that is done in the lake takes them away.

package import Base
internal import GRDB

/// A copy of a version that was written for others.
package struct PublishedCopy: Sendable {
  /// How it came there: ``EventVerb/pushed`` or ``EventVerb/exported``.
  package let kind: EventVerb
  /// Where it is, without secrets.
  package let place: String
}

extension LakeCatalog {
  /// Keeps that a version was written to a place.
  ///
  /// - Parameters:
  ///   - kind: ``EventVerb/pushed`` or ``EventVerb/exported``.
  ///   - name: The version.
  ///   - place: Where to, on one line and without secrets.
  ///   - digest: Of the lock file that was pushed, or of the index that was exported.
  ///   - isNew: Whether anything was written; what was all there is kept only where the history does not have it.
  /// - Throws: ``TarnError``.
  package func recordPublication(
    _ kind: EventVerb, of name: VersionName, at place: String, _ digest: ContentDigest, isNew: Bool
  ) throws {
    try write("publication") { database in
      if !isNew {
        let isKnown = try Bool.fetchOne(
          database,
          sql: """
            SELECT EXISTS (SELECT 1 FROM v_publication WHERE version = ? AND kind = ? AND place = ? AND sha256 = ?)
            """, arguments: ["\(name)", kind.rawValue, place, digest.hex])
        if isKnown == true { return }
      }
      // These two alone: v_publication takes them out of the text.
      try LakeCatalog.record(
        kind, "\(name)", ["place": .string(place), "sha256": .string(digest.hex)], database)
    }
  }

  /// The places that a version was written to, each once, in the order in which it came there.
  ///
  /// - Parameter name: The version.
  /// - Returns: The copies, whether they are there still or not.
  /// - Throws: ``TarnError``.
  package func publications(of name: VersionName) throws -> [PublishedCopy] {
    try read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT kind, place FROM v_publication WHERE version = ? GROUP BY kind, place ORDER BY min(seq)
          """, arguments: ["\(name)"]
      ).compactMap { row in
        EventVerb(rawValue: row["kind"]).map { PublishedCopy(kind: $0, place: row["place"]) }
      }
    }
  }
}
