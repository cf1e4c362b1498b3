// What somebody keeps elsewhere of a lake: a hash that its history went through,
// or the digest of a version. Whoever changes the whole catalog, chain and all,
// cannot change that.

package import Base
internal import GRDB

/// A digest that was noted elsewhere.
package enum Expectation: Sendable, Equatable {
  /// An event with this hash is in the history, and the chain leads on from it.
  case event(ContentDigest)
  /// The version has this digest.
  case version(VersionName, ContentDigest)

  /// Reads `DIGEST` or `NAME@N=DIGEST`; nil for anything else.
  package init?(parsing text: String) {
    guard let mark = text.lastIndex(of: "=") else {
      guard let digest = ContentDigest(hex: text) else { return nil }
      self = .event(digest)
      return
    }
    guard let digest = ContentDigest(hex: String(text[text.index(after: mark)...])),
      let name = try? VersionName(parsing: String(text[..<mark]))
    else { return nil }
    self = .version(name, digest)
  }
}

extension LakeCatalog {
  /// The newest event's hash, to be kept elsewhere; nil without events.
  ///
  /// - Returns: The event's number and hash.
  /// - Throws: ``TarnError``.
  package func historyHead() throws -> (event: Int, hash: String)? {
    try read { database in
      try Row.fetchOne(database, sql: "SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1").map {
        ($0["seq"], $0["hash"])
      }
    }
  }

  /// Holds what was noted elsewhere against the catalog.
  ///
  /// That the chain leads on from an event is ``firstBrokenEvent()``'s to say,
  /// and what a version's digest is of ``verdict(of:believesHistory:)``'s.
  ///
  /// - Parameter expectations: What was noted.
  /// - Returns: A damage for each that is not so.
  /// - Throws: ``TarnError``.
  package func unmet(_ expectations: [Expectation]) throws -> [Damage] {
    try expectations.compactMap { expectation in
      switch expectation {
      case .event(let hash):
        let isKnown = try read {
          try Bool.fetchOne($0, sql: "SELECT EXISTS (SELECT 1 FROM event WHERE hash = ?)", arguments: [hash.hex])
        }
        guard isKnown != true else { return nil }
        return historyDamage(.unexpected("has no event with the hash \(hash)"))
      case .version(let name, let digest):
        let found = try read {
          try String.fetchOne(
            $0, sql: "SELECT version_sha256 FROM index_version WHERE name = ? AND number = ?",
            arguments: [name.name, name.number])
        }
        guard found != digest.hex else { return nil }
        return recordDamage(
          "\(name)",
          .statements([
            StatementVerdict.Difference(
              "version_sha256", expected: digest.hex, found: found ?? "that of no sealed version")
          ]))
      }
    }
  }
}
