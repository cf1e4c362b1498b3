// A version that was sealed in another lake: its lock file and its document, held
// against each other before anything is fetched, and its rows, written in one transaction
// by the same INSERTs as those of a catalog that is made again.
//
// Invariants:
// 1. Nothing of a document is written that its lock file, whose digest is the version's, and
//    its own digest do not bear out.
// 2. What the lake has under a name of the document is the same thing, or nothing is written.
// 3. A source that is here stays as it is, but for bytes that its shards are known to have had, and
//    those that a mirror is expected to give because an earlier document alone said so.

package import Base
internal import Foundation
internal import GRDB

/// A version as its publisher tells of it.
package struct PublishedVersion: Sendable {
  package let name: VersionName
  package let document: VersionExport
  package let lockText: String
  /// The digest of the lock file: the version's.
  package let digest: ContentDigest
  /// Whether a router ranks the lists.
  package let hasRouter: Bool
  /// Codec of the codes that refine; nil for none.
  package let refine: String?
  package let dimension: Int
  fileprivate let evidence: VersionEvidence

  /// Reads what was published of a version.
  ///
  /// - Parameters:
  ///   - name: The version, as it was asked for.
  ///   - lock: Its lock file.
  ///   - document: Its document.
  ///   - place: Where both are from, for messages.
  ///   - segmentFormats: Formats of segments that this tarn knows.
  /// - Throws: ``TarnError`` `.integrity` for what does not hold.
  package init(
    _ name: VersionName, lock: [UInt8], document: [UInt8], from place: String, segmentFormats: ClosedRange<Int>
  ) throws {
    self.name = name
    let read: VersionExport
    do {
      read = try VersionExport(reading: document, of: place)
    } catch let error as TarnError where error.code == .usage {
      throw TarnError(.integrity, error.message, hint: "get it from another place")
    }
    let itself = read.verdict(segmentFormats: segmentFormats)
    guard itself.isClean else {
      throw TarnError(
        .integrity, "the document of \(name) contradicts itself: \(itself.message)", hint: "get it from another place")
    }
    guard LakeName.isValid(read.trained.name, isSource: false),
      !read.outputs.contains(where: { [$0.sha256, $0.refine?.sha256].contains(read.trained.sha256) })
    else {
      throw TarnError(
        .integrity, "the document of \(name) gives its trained index a name that is none, or as an output",
        hint: "get it from another place")
    }
    evidence = try VersionEvidence(name, lock: lock, sealedAt: Timestamp.now()) { read }
    self.document = read
    lockText = evidence.lockText
    digest = evidence.digest
    hasRouter = evidence.training.router != nil
    refine = evidence.training.refine?.codec
    dimension = evidence.training.dimension
  }
}

extension LakeCatalog {
  /// A published version in this lake, sealed or about to be; nil where there is none.
  ///
  /// - Parameters:
  ///   - published: The version.
  ///   - alias: The name that it is to have here; nil for its own.
  /// - Returns: The version.
  /// - Throws: ``TarnError`` `.conflict` when the name is another version's, the same version has another name, or it was
  ///   revoked here; `.usage` for an alias that is none.
  package func known(_ published: PublishedVersion, as alias: String? = nil) throws -> IndexVersion? {
    if let alias {
      try LakeCatalog.validate(name: alias, of: "index version")
      guard alias != published.name.name else {
        throw TarnError(
          .usage, "\(published.name) has that name already", hint: "leave --as out, or give another name")
      }
    }
    let found = try read { database in
      try IndexVersion.fetchAll(
        database,
        sql: """
          SELECT * FROM index_version
          WHERE (name = ?1 AND (number = ?2 OR ?2 IS NULL)) OR version_sha256 = ?3 ORDER BY number DESC
          """,
        arguments: [alias ?? published.name.name, alias == nil ? published.name.number : nil, published.digest.hex])
    }
    // Its names would be back, and who asked for it would take it for one in force.
    if let withdrawn = found.first(where: { $0.versionDigest == published.digest && $0.state == .revoked }) {
      let name = withdrawn.name == published.name ? "" : ", as \(withdrawn.name)"
      throw TarnError(
        .conflict, "\(published.name) was revoked in this lake\(name), and what was withdrawn is not taken in again",
        hint: "`tarn reproduce \(withdrawn.name) --into DIR` makes its outputs again in another directory, "
          + "`tarn init DIR` a lake that may have it")
    }
    if let alias {
      if let same = found.first(where: { $0.versionDigest == published.digest }) {
        guard same.name.name == alias else {
          throw TarnError(.conflict, "\(published.name) is in this lake already, as \(same.name)")
        }
        return same
      }
      // What a pull left that was cut.
      return try found.first { try $0.publishedName == published.name && isRecorded(published, as: $0) }
    }
    for version in found where version.name == published.name && version.versionDigest != published.digest {
      if try isRecorded(published, as: version) { return version }
      let what = version.versionDigest.map { "with digest \($0.prefix(12))…" } ?? "that is \(version.state.rawValue)"
      throw TarnError(
        .conflict,
        "this lake has another \(published.name), \(what); the published one has \(published.digest.prefix(12))…",
        hint: "`tarn pull … \(published.name) --as OTHER` gives it another name here")
    }
    for version in found where version.name != published.name {
      throw TarnError(.conflict, "\(published.name) is in this lake already, as \(version.name)")
    }
    return found.first
  }

  /// Whether a version is the published one but for its seal: what a pull left that was cut.
  private func isRecorded(_ published: PublishedVersion, as version: IndexVersion) throws -> Bool {
    try version.state == .building && version.spec == published.document.spec
      && outputs(of: version).map(\.digest) == published.document.outputs.map(\.sha256)
      && outputs(of: version).map(\.refine?.digest) == published.document.outputs.map(\.refine?.sha256)
  }

  /// Vouches for an artifact that was fetched, durable at ``path(of:_:)`` (invariant 1).
  package func recordFetched(_ digest: ContentDigest, as kind: StoredKind, byteCount: Int) throws {
    try write("fetched artifact") { try LakeCatalog.addArtifact(digest, kind, byteCount: byteCount, $0) }
  }

  /// Records a published version, to be sealed when its names are in place, with its sources, its trained index and its
  /// shards' revisions.
  ///
  /// - Parameters:
  ///   - published: The version; its outputs and trained index are durable and vouched for.
  ///   - alias: The name that it gets here, under the next number; nil for its own name and
  ///     number.
  ///   - kept: Names of query items that the user knows to be harmless.
  ///   - allowsInside: Whether its addresses may lead to this machine, its files and its
  ///     network.
  /// - Returns: Its name here.
  /// - Throws: ``TarnError`` `.conflict` when a name is another thing's here; nothing is
  ///   written then.
  package func takeIn(
    _ published: PublishedVersion, as alias: String? = nil, keeping kept: Set<String>, allowsInside: Bool
  ) throws -> VersionName {
    try record(published, as: alias, keeping: kept, allowsInside: allowsInside) { _ in
    } after: {
    }
  }

  /// Does what ``takeIn(_:as:keeping:allowsInside:)`` does, and takes it back, before any bytes of the version are
  /// here: what would refuse it then refuses it now.
  ///
  /// - Parameters: As there.
  /// - Throws: As there; `.integrity` where bytes that are here are not what is said of them.
  package func rehearse(
    _ published: PublishedVersion, as alias: String?, keeping kept: Set<String>, allowsInside: Bool
  ) throws {
    struct Rehearsed: Error {}
    do {
      _ = try record(published, as: alias, keeping: kept, allowsInside: allowsInside) { database in
        let document = published.document
        let files =
          document.outputs.map { (StoredKind.outputShard, $0.sha256, $0.bytes as Int?) }
          + document.outputs.compactMap { output in
            output.refine.map { (StoredKind.refineShard, $0.sha256, $0.bytes as Int?) }
          }
          + [(.trainedIndex, document.trained.sha256, nil)]
        for (kind, digest, byteCount) in files {
          let known = try StoredBytes.find(digest, in: .artifacts, database)
          guard known.map({ $0.kind == kind && (byteCount ?? $0.byteCount) == $0.byteCount }) ?? true else {
            throw TarnError(
              .integrity, "the document of \(published.name) says of \(digest.prefix(12)) what its bytes are not",
              hint: "get it from another place")
          }
          try LakeCatalog.addArtifact(digest, kind, byteCount: byteCount ?? 0, database)
        }
      } after: {
        throw Rehearsed()
      }
    } catch is Rehearsed {}
  }

  private func record(
    _ published: PublishedVersion, as alias: String?, keeping kept: Set<String>, allowsInside: Bool,
    before: (Database) throws -> Void, after: () throws -> Void
  ) throws -> VersionName {
    for source in published.document.sources where try !has(source: source.name) {
      try source.check(keeping: kept)
      for url in source.shards.flatMap(\.urls) where EnvironmentPlace.isIn(url) {
        throw TarnError(
          .usage, "an address of source \(source.name.printable) wants a variable of the environment: \(url.printable)",
          hint: "register that source with `tarn source add` first, if its host may have the value")
      }
    }
    try LakeCatalog.validate(name: alias ?? published.name.name, of: "index version")
    let onDisk = try alias.map { try largestNumberOnDisk(of: $0) } ?? 0
    return try write("take in") { database in
      try before(database)
      var name = published.name
      if let alias {
        let last = try Int.fetchOne(
          database, sql: "SELECT max(number) FROM index_version WHERE name = ?", arguments: [alias])
        name = VersionName(name: alias, number: max(last ?? 0, onDisk) + 1)
      }
      var writer = PublicationWriter(
        database: database, version: published.evidence, name: name, keptQuery: kept, allowsInside: allowsInside)
      try writer.write()
      try after()
      return name
    }
  }

  private func has(source name: String) throws -> Bool { try sources().contains { $0.name == name } }
}

/// Writes one published version into a catalog that is in use.
private struct PublicationWriter {
  let database: Database
  let version: VersionEvidence
  /// Its name here.
  let name: VersionName
  let keptQuery: Set<String>
  let allowsInside: Bool
  private let now = Timestamp.now()
  private var sources: [String: Source] = [:]
  private var shardIDs: [String: [String: Int64]] = [:]
  private var revisions: [Int64: [ContentDigest: Int]] = [:]

  init(
    database: Database, version: VersionEvidence, name: VersionName, keptQuery: Set<String>, allowsInside: Bool
  ) {
    self.database = database
    self.version = version
    self.name = name
    self.keptQuery = keptQuery
    self.allowsInside = allowsInside
  }

  mutating func write() throws {
    let document = version.document
    for source in document.sourcesByFiles { try find(source) }
    // Last what was built from: of a file that another source reads, too, that is the newest.
    let isBuilt = { (source: VersionExport.Source) in source.name == document.source }
    let isNewest = try isNewest()
    for source in document.sources.filter({ !isBuilt($0) }) + document.sources.filter(isBuilt) {
      try addRevisions(of: source, ofNewest: isNewest)
    }
    let id = try version.insertVersion(
      name, trainedID: addTrained(), from: sources, shardIDs: shardIDs, revisions: revisions, at: now, database)
    for output in version.outputs { try output.insert(of: id, at: now, database) }
    try LakeCatalog.adoptExclusions(ofVersion: id, database)
  }

  /// Whether no later version of its name is here, which would know better what shards have.
  private func isNewest() throws -> Bool {
    try !IndexVersion.fetchAll(database, sql: "SELECT * FROM index_version").contains { known in
      known.sealedName.name == version.sealedName.name && known.sealedName.number > version.sealedName.number
    }
  }

  private func conflict(_ what: String) -> TarnError {
    TarnError(.conflict, what, hint: "pull \(version.name) in a lake of its own: `tarn init DIR`")
  }

  // MARK: Sources

  private mutating func find(_ source: VersionExport.Source) throws {
    guard
      let known = try Source.fetchOne(
        database, sql: "SELECT * FROM source WHERE name = ?", arguments: [source.name])
    else { return try register(source) }
    let shards = try Row.fetchAll(
      database,
      sql: """
        SELECT h.id, h.name, h.ordinal, h.dropped_row_count IS NOT NULL AS is_dropped, s.name AS source
        FROM shard h JOIN source s ON s.id = h.source_id WHERE s.id = ? ORDER BY h.ordinal
        """, arguments: [known.filesID])
    let isSame =
      known.hasKind(of: source) && shards.count >= source.shards.count
      && zip(shards, source.shards).allSatisfy { ($0["name"] as String).utf8.elementsEqual($1.name.utf8) }
    guard isSame else { throw conflict("this lake has another source named \(known.name)") }
    let dropped = zip(shards, source.shards).filter { $0["is_dropped"] && !$1.pinned.isEmpty }.map(\.0)
    if let first = dropped.first {
      let (owner, isOne): (String, Bool) = (first["source"], dropped.count == 1)
      let others = isOne ? "" : " and \(dropped.count - 1) more"
      let ordinals = OrdinalSet(ascending: dropped.map { $0["ordinal"] }).text
      throw TarnError(
        .conflict,
        "\(first["name"] as String)\(others) of \(owner) \(isOne ? "was" : "were") dropped in this lake, "
          + "and \(version.name) rests on \(isOne ? "it" : "them")",
        hint: "`tarn source drop-shards \(owner) --shards \(ordinals) --undo` takes \(isOne ? "it" : "them") back")
    }
    sources[source.name] = known
    shardIDs[source.name] = Dictionary(
      zip(shards, source.shards).map { ($1.name, $0["id"]) }, uniquingKeysWith: { first, _ in first })
  }

  private mutating func register(_ source: VersionExport.Source) throws {
    let (modality, type) = try source.kind()
    // One that the lake knows otherwise has the same files: what both read is in one place.
    let owner = source.filesOf.flatMap { sources[$0] }
    let readsOthers = owner?.array != nil
    let root = try owner.flatMap {
      try Source.fetchOne(database, sql: "SELECT * FROM source WHERE id = ?", arguments: [$0.filesID])
    }
    let added = try Source.insert(
      name: source.name, modality: modality, dimension: source.dimension, elementType: type,
      keptQuery: readsOthers ? [] : keptQuery, array: source.array, filesOf: readsOthers ? owner?.filesID : nil,
      at: now, database)
    if readsOthers, let name = source.filesOf {
      sources[source.name] = added
      shardIDs[source.name] = shardIDs[name]
      try LakeCatalog.record(
        .sourceAdd, source.name, added.detail(shardCount: 0, mirrors: [], filesOf: root?.name), database)
      return
    }
    let mirrors = try source.mirrors.enumerated().map { priority, template in
      try MirrorRow.insert(
        of: added.id, priority: priority, template: template, isReconstructed: false, isOfDocument: !allowsInside,
        at: now, database)
    }
    let rowCounts = version.document.statedRowCounts(of: source)
    var ids: [String: Int64] = [:]
    for (ordinal, shard) in source.shards.enumerated() {
      // Of two contents neither is the one to expect.
      let pinned = source.pinned(ordinal, in: version.document)
      ids[shard.name] = try Shard.insert(
        of: added.id, ordinal: ordinal, name: shard.name,
        expectedByteCount: source.expectedByteCount(ordinal, pinned: pinned), expectedDigest: pinned.only?.sha256,
        expectedRowCount: pinned.isEmpty ? rowCounts[ordinal] : nil, urls: shard.urls, on: mirrors, at: now, database)
    }
    try LakeCatalog.record(
      .sourceAdd, source.name, added.detail(shardCount: source.shards.count, mirrors: source.mirrors), database)
    sources[source.name] = added
    shardIDs[source.name] = ids
  }

  /// Says of the shards that they had the pinned bytes, those of the training first; of shards
  /// whose bytes nobody has seen here, that the last of them are the newest.
  ///
  /// - Parameters:
  ///   - source: A source of the document.
  ///   - isNewest: Whether no later version of this name is here.
  /// - Throws: ``TarnError`` `.conflict` where a list of this lake gives a shard other bytes;
  ///   `.integrity`.
  private mutating func addRevisions(of source: VersionExport.Source, ofNewest isNewest: Bool) throws {
    let rows = version.rowCounts
    for shard in source.shards {
      guard let id = shardIDs[source.name]?[shard.name] else { continue }
      var newest: Int?
      for pinned in shard.pinned {
        guard let rowCount = rows[pinned.sha256],
          let added = try addRevision(pinned, rowCount: rowCount, of: shard.name, id, in: source)
        else { continue }
        newest = added
      }
      if let newest, try isNewest && isUnseen(id) || isUnobserved(id) {
        try Shard.settleAsEvicted(id, at: newest, database)
      }
    }
  }

  /// Says of a shard that it had bytes.
  ///
  /// - Returns: The revision's number; nil where that was known.
  private mutating func addRevision(
    _ pinned: VersionExport.Source.Bytes, rowCount: Int, of shard: String, _ id: Int64, in source: VersionExport.Source
  ) throws -> Int? {
    let digest = pinned.sha256
    let known = try ShardRevision.fetchAll(
      database, sql: "SELECT * FROM shard_revision WHERE shard_id = ?", arguments: [id])
    if let same = known.first(where: { $0.digest == digest }) {
      guard same.byteCount == pinned.bytes, same.rowCount == rowCount else {
        throw TarnError(.integrity, "the document says of \(shard.printable) what its bytes are not")
      }
      revisions[id, default: [:]][digest] = same.number
      return nil
    }
    var expected = try String.fetchOne(
      database, sql: "SELECT expected_sha256 FROM shard WHERE id = ?", arguments: [id])
    if let other = expected, other != digest.hex {
      guard try isOfDocument(other, id) else {
        throw conflict("the list of source \(source.name) gives \(shard) other bytes than \(version.name) pins")
      }
      // Of two contents neither is the one to expect.
      try database.run(
        """
        UPDATE shard SET expected_sha256 = NULL, changed_at = ?1,
          expected_byte_count = CASE WHEN expected_byte_count = ?2 THEN ?2 END WHERE id = ?3
        """, [now, pinned.bytes, id])
      expected = nil
    }
    let revision = ShardRevision(
      shardID: id, number: (known.map(\.number).max() ?? 0) + 1, digest: digest, byteCount: pinned.bytes,
      rowCount: rowCount, etag: nil, lastModified: nil, mirrorID: nil)
    try revision.insert(trust: expected == nil ? .firstUse : .manifest, at: now, database)
    revisions[id, default: [:]][digest] = revision.number
    return revision.number
  }

  /// Whether a document alone says that a shard has the bytes that are expected of it: one that
  /// brought the source, and with it the revision.
  private func isOfDocument(_ digest: String, _ id: Int64) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM shard_revision r JOIN shard h ON h.id = r.shard_id
          JOIN source s ON s.id = h.source_id
          WHERE r.shard_id = ? AND r.sha256 = ? AND r.observed_at = s.created_at)
        """, arguments: [id, digest]) == true
  }

  /// Whether nobody has told yet what bytes a shard has.
  private func isUnobserved(_ id: Int64) throws -> Bool {
    try Bool.fetchOne(database, sql: "SELECT current_revision IS NULL FROM shard WHERE id = ?", arguments: [id]) == true
  }

  /// Whether the bytes that a shard is known to have were never in this lake: documents alone
  /// tell of them.
  private func isUnseen(_ id: Int64) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: """
        SELECT h.state = 'evicted' AND NOT EXISTS (SELECT 1 FROM shard_revision r
          JOIN stored_bytes b ON b.sha256 = r.sha256 AND b.place = 'shards'
          WHERE r.shard_id = h.id AND r.revision = h.current_revision)
        FROM shard h WHERE h.id = ?
        """, arguments: [id]) == true
  }

  // MARK: The trained index

  private func addTrained() throws -> Int64 {
    let trained = version.document.trained
    if let known = try TrainedIndexRecord.fetchOne(
      database, sql: TrainedIndexRecord.select + " WHERE t.name = ?", arguments: [trained.name])
    {
      guard known.digest == trained.sha256, known.spec == trained.spec else {
        throw conflict("this lake has another trained index named \(trained.name)")
      }
      return known.id
    }
    let id = try version.insertTrained(from: sources, shardIDs: shardIDs, revisions: revisions, at: now, database)
    try LakeCatalog.recordTrained(id, trained.name, sha256: trained.sha256.hex, database)
    return id
  }
}
