// What a sealed version is, said once: its document, its lock file, the text the
// catalog keeps, the catalog's rows and the history, held against each other.
// Everything here reads small files and rows; `verify` reads the big ones, whose
// digests these name.

package import Base
internal import Foundation
internal import GRDB

/// What was found of a sealed version, by where it was looked for.
package struct SealedVerdict: Sendable {
  package let version: VersionName
  /// The catalog's rows against the text that was sealed, and the history.
  package internal(set) var catalog = StatementVerdict()
  package internal(set) var lockFile = StatementVerdict()
  package internal(set) var document = StatementVerdict()
}

extension LakeCatalog {
  /// Holds a sealed version's document, lock file, rows and events together.
  ///
  /// No bytes of outputs, shards or trained indexes are read.
  ///
  /// - Parameters:
  ///   - version: A version, sealed or revoked.
  ///   - believesHistory: Whether events are believed; not where their chain is
  ///     broken.
  /// - Returns: What was compared, each difference, and what could not be checked.
  /// - Throws: ``TarnError`` when the catalog cannot be read; statements of it
  ///   that make no sense are differences.
  package func verdict(of version: IndexVersion, believesHistory: Bool = true) throws -> SealedVerdict {
    let (result, sealed) = try rowVerdict(of: version, believesHistory: believesHistory)
    guard let digest = version.versionDigest else { return result }
    var whole = result
    try checkDocument(of: version, digest, sealed: sealed, &whole.document)
    return whole
  }

  /// The part that needs no document, and the content that was sealed.
  private func rowVerdict(
    of version: IndexVersion, believesHistory: Bool
  ) throws -> (SealedVerdict, sealed: JSONValue?) {
    var result = SealedVerdict(version: version.name)
    guard version.versionDigest != nil else {
      result.catalog.differ("state", expected: "sealed", found: version.state.rawValue)
      return (result, nil)
    }
    let sealed = try sealedContent(of: version, &result)
    try noting(&result.catalog) { verdict in
      if let sealed {
        verdict.check("the catalog's rows against the lock file's text")
        let content = try lockContent(of: version, segmentFormat: LakeCatalog.segmentFormat(in: sealed))
        verdict.compare("", expected: sealed, found: content)
      } else {
        // No copy is left that a digest proves: whether they differ shows, and not where.
        let text = try lockContent(of: version, segmentFormat: 1).text + "\n"
        verdict.check("the digest of what the catalog's rows come to")
        verdict.compare(
          "SHA-256 of what the rows come to", expected: version.versionDigest?.hex, found: ContentDigest.of(text).hex)
      }
    }
    try noting(&result.catalog) { try checkInputs(of: version, &$0) }
    if believesHistory { try noting(&result.catalog) { try checkHistory(of: version, &$0) } }
    return (result, sealed)
  }

  /// Refuses a version of which the catalog no longer says what was sealed.
  ///
  /// - Parameter version: A version; one that is not sealed yet passes.
  /// - Returns: What was checked and what was not.
  /// - Throws: ``TarnError`` `.integrity` naming the first field that differs.
  @discardableResult
  package func requireBorneOut(_ version: IndexVersion) throws -> StatementVerdict {
    guard version.versionDigest != nil else { return StatementVerdict() }
    let verdict = try lookingAgainWhereOthersWrote { try rowVerdict(of: version, believesHistory: true).0.catalog }
    guard verdict.isClean else {
      throw TarnError(
        .integrity, "the catalog no longer says what \(version.name) was sealed with: \(verdict.message)",
        hint: "`tarn verify` names every difference; restore a backup of the catalog")
    }
    return verdict
  }

  /// A verdict that no other command's commit has come between two looks of; the last
  /// one, where that goes on and on.
  private func lookingAgainWhereOthersWrote(_ look: () throws -> StatementVerdict) throws -> StatementVerdict {
    // > The "PRAGMA data_version" value […] will change if the database is modified by another connection
    // https://www.sqlite.org/pragma.html#pragma_data_version
    for _ in 0..<20 {
      let before = try dataVersion()
      let verdict = try look()
      if try verdict.isClean || dataVersion() == before { return verdict }
    }
    return try look()
  }

  /// Formats of segments that a version may have been made with.
  func segmentFormats(of version: IndexVersion) throws -> ClosedRange<Int> {
    let sealed = try lockText(of: version).flatMap { JSONValue(parsing: $0) }
    let format = LakeCatalog.segmentFormat(in: sealed)
    return format...format
  }

  /// The format of segments that a lock file says; the first where it says none.
  private static func segmentFormat(in lock: JSONValue?) -> Int { lock?["segment_format"]?.count ?? 1 }

  /// Runs checks; a row that cannot even be read is a difference, not an end.
  func noting(_ verdict: inout StatementVerdict, _ checks: (inout StatementVerdict) throws -> Void) throws {
    do {
      try checks(&verdict)
    } catch let error as TarnError where [.database, .schemaNewer, .notFound].contains(error.code) {
      verdict.differ("catalog", expected: "rows that can be read", found: error.message)
    }
  }

  // MARK: The lock file and its text

  /// The content that a version was sealed with, from whichever copy its digest
  /// proves; copies that it does not prove are differences.
  private func sealedContent(of version: IndexVersion, _ result: inout SealedVerdict) throws -> JSONValue? {
    let kept = try read {
      try String.fetchOne($0, sql: "SELECT text FROM lock_text WHERE version_id = ?", arguments: [version.id])
    }
    let path = layout.lockFilePath(version.name)
    let file = try? Disk.contents(of: path)
    let (recorded, told) = (version.versionDigest, try sealedEvent(of: version)?["sha256"]?.string)
    result.lockFile.check("the lock file against the version's digest")
    result.lockFile.compare(
      "SHA-256", expected: recorded?.hex, found: file.map { ContentDigest.of($0).hex } ?? "that of no file")
    if let kept {
      result.catalog.check("the lock text against the version's digest")
      result.catalog.compare("SHA-256 of the lock text", expected: recorded?.hex, found: ContentDigest.of(kept).hex)
    }
    let proven = Set([recorded?.hex, told].compactMap(\.self))
    let copies = [kept.map { Array($0.utf8) }, file].compactMap(\.self)
    return copies.first { proven.contains(ContentDigest.of($0).hex) }.flatMap { try? JSONValue(reading: $0) }
  }

  // MARK: What the lock file does not say

  private func checkInputs(of version: IndexVersion, _ verdict: inout StatementVerdict) throws {
    let inputs = try inputs(of: version)
    let trained = try trainedIndex(id: version.trainedIndexID)
    verdict.check("inputs, outputs and specification against each other")
    for (place, input) in inputs.enumerated() {
      if input.ordinal != place {
        verdict.differ("ordinal of inputs[\(place)]", expected: String(place), found: String(input.ordinal))
      }
      if input.isHole != (input.revision == nil) {
        verdict.differ(
          "inputs[\(place)].is_hole", expected: String(input.revision == nil), found: String(input.isHole))
      }
      if let revision = input.revision, revision.rowCount != input.rowCount {
        verdict.differ(
          "rows of \(input.shardName)", expected: String(input.rowCount), found: String(revision.rowCount))
      }
    }
    let source = try source(id: version.sourceID)
    let strangers = try read {
      try String.fetchAll(
        $0,
        sql: """
          SELECT h.name FROM version_input i JOIN shard h ON h.id = i.shard_id
          WHERE i.version_id = ? AND h.source_id <> ? ORDER BY i.ordinal
          """, arguments: [version.id, source.filesID])
    }
    for name in strangers { verdict.differ("source of \(name)", expected: "the version's", found: "another") }
    let byOutput = Dictionary(grouping: inputs, by: \.outputOrdinal)
    for output in try outputs(of: version) {
      let own = (byOutput[output.ordinal] ?? []).map(\.ordinal)
      verdict.compare(
        "inputs of outputs[\(output.ordinal)]", expected: "\(own.first ?? 0) to \(own.last ?? 0)",
        found: "\(output.firstInput) to \(output.lastInput)")
    }
    if version.state == .sealed { try checkPresence(of: version, &verdict) }
    if let digest = trained.digest {
      verdict.compare(
        "spec",
        expected: VersionPlan.spec(
          trained: digest, source: source.name, array: source.array, shards: inputs.map(\.shardOrdinal),
          shardsPerOutput: version.shardsPerOutput, missing: version.missingPolicy.rawValue,
          badRows: version.badRowsPolicy.rawValue,
          excluded: ExcludedRows.digest(inputs.map { ($0.revision?.digest, $0.excludedRows) })), found: version.spec)
    }
    verdict.compare("spec_sha256", expected: ContentDigest.of(version.spec).hex, found: version.specDigest.hex)
  }

  /// What a live version needs is never given up: the schema refuses it.
  private func checkPresence(of version: IndexVersion, _ verdict: inout StatementVerdict) throws {
    let gone = try read {
      try Row.fetchAll(
        $0,
        sql: """
          SELECT b.kind, b.sha256, b.state FROM stored_bytes b WHERE b.place = 'artifacts' AND b.state <> 'present'
            AND b.sha256 IN (SELECT o.sha256 FROM output_shard o WHERE o.version_id = ?1
              UNION SELECT o.refine_sha256 FROM output_shard o WHERE o.version_id = ?1 AND o.refine_sha256 IS NOT NULL
              UNION SELECT t.sha256 FROM trained_index t WHERE t.id = ?2)
          """, arguments: [version.id, version.trainedIndexID])
    }
    for row in gone {
      verdict.differ(
        "state of the \(row["kind"] as String) \((row["sha256"] as String).prefix(12))", expected: "present",
        found: row["state"])
    }
  }

  // MARK: The document

  private func checkDocument(
    of version: IndexVersion, _ digest: ContentDigest, sealed: JSONValue?, _ verdict: inout StatementVerdict
  ) throws {
    let path = layout.documentPath(version.name)
    let own = try? export(version, digest: digest)
    guard Disk.size(of: path) != nil else {
      return verdict.differ("file", expected: path, found: "missing")
    }
    let document: VersionExport
    do {
      document = try VersionExport(reading: path)
    } catch let error as TarnError {
      return verdict.differ("file", expected: "the export of \(version.name)", found: error.message)
    }
    let format = LakeCatalog.segmentFormat(in: sealed)
    verdict.check("the document against the lock file")
    verdict.compare("version_sha256", expected: digest.hex, found: document.versionSha256.hex)
    if let sealed {
      verdict.compare("", expected: sealed, found: document.lockContent(segmentFormat: format).json)
    }
    guard verdict.isClean else { return }
    verdict.merge(document.verdict(segmentFormats: format...format), isCompleted: true)
    guard verdict.isClean, let own else { return }
    // What the lock file does not say is the catalog's: names, kinds, addresses.
    verdict.check("the document against the catalog")
    let names = ["sources", "trained"]
    let then = try self.own(own, withPlacesOf: document, of: version)
    let (expected, found) = (try then.comparable(places: true), try document.comparable(places: true))
    let (mine, its) = (names.map { expected[$0] ?? .null }, names.map { found[$0] ?? .null })
    var rest = StatementVerdict()
    for (name, pair) in zip(names, zip(mine, its)) { rest.compare(name, expected: pair.0, found: pair.1) }
    // What the lock file pins is held against the catalog already.
    let pinned: Set = ["method", "codec", "nlist", "iterations", "seed", "pairs", "spec", "sha256"]
    for difference in rest.differences where !pinned.contains(where: { difference.field == "trained.\($0)" }) {
      verdict.differ(difference.field, expected: difference.expected, found: difference.found)
    }
  }
}
