// What `rebuild-catalog` writes: sources, revisions, trained indexes and versions
// as documents and lock files tell of them, and every file whose bytes are what
// its name says. Each version stands for itself: what one of them says wrong costs
// that one alone.

internal import Base
internal import Foundation
internal import GRDB

/// Writes what files say into an empty catalog, in the order of a lake's life.
struct RebuildWriter {
  let database: Database
  let layout: LakeLayout
  let tools: RebuildTools
  let report: (String) throws -> Void
  var summary = RebuildSummary()
  private var sources: [String: Source] = [:]
  /// Whose files sources read, by the documents of any version: theirs may name it in one alone.
  private var filesOf: [String: VersionExport.Source] = [:]
  private var shardIDs: [String: [String: Int64]] = [:]
  /// Names of the shards of each source, in order.
  private var shardNames: [String: [String]] = [:]
  /// Templates of the mirrors of each source, the first first.
  private var mirrors: [String: [String]] = [:]
  /// Number of each revision, by shard and digest.
  private var revisions: [Int64: [ContentDigest: Int]] = [:]
  private var trainedIDs: [String: Int64] = [:]
  /// Whole files below the artifacts directory that nothing refers to yet.
  var unreferenced: [ContentDigest: Int] = [:]
  /// Artifacts whose bytes are what their names say.
  var whole: Set<ContentDigest> = []
  /// Whole segments, by what they say of themselves; an output has to bear it out.
  var segments: [SegmentKey: (claim: SegmentClaim, digest: ContentDigest, path: String)] = [:]
  /// Outputs of revoked versions alone that are not there as they were, and whether a file of that name is.
  private var gone: [ContentDigest: Bool] = [:]
  /// The output files of each trained index, absolute.
  private var outputFiles: [ContentDigest: [String]] = [:]

  init(
    database: Database, layout: LakeLayout, tools: RebuildTools, report: @escaping (String) throws -> Void
  ) {
    self.database = database
    self.layout = layout
    self.tools = tools
    self.report = report
  }

  mutating func write(_ versions: [VersionEvidence]) throws -> RebuildSummary {
    for version in versions {
      outputFiles[version.lock.trained.sha256, default: []] += version.lock.outputs.flatMap { output in
        [
          layout.path(LakeCatalog.newPath(of: .outputShard, output.sha256), in: .artifacts),
          layout.outputPath(version.name, ordinal: output.output),
        ]
          + [output.refine].compactMap(\.self).flatMap { refine in
            [
              layout.path(LakeCatalog.newPath(of: .refineShard, refine.sha256), in: .artifacts),
              layout.refinePath(version.name, ordinal: output.output),
            ]
          }
      }
    }
    for document in versions.map(\.document) {
      for source in document.sources where filesOf[source.name] == nil {
        filesOf[source.name] = source.filesOf.flatMap { name in document.sources.first { $0.name == name } }
      }
    }
    let registered = try versions.filter { version in
      try attempt(version) { writer in
        for source in version.document.sourcesByFiles { try writer.add(source, of: version) }
      }
    }
    try settleShards()
    try storeArtifacts()
    for version in registered {
      let isThere = try attempt(version) { writer in
        let trainedID = try writer.addTrained(version)
        try writer.add(version, trainedID: trainedID)
      }
      if isThere { try adoptSegments(of: version) }
    }
    try dropShards(registered)
    try letGo()
    summary.unreferenced = unreferenced.count
    summary.unreferencedByteCount = unreferenced.values.reduce(0, +)
    try LakeCatalog.record(
      .rebuilt, "catalog",
      [
        "sources": .count(summary.sources), "revisions": .count(summary.revisions),
        "versions": .array(summary.versions.map { .string("\($0)") }), "remarks": .count(summary.remarks.count),
      ], database)
    return summary
  }

  /// Writes of a version what can be written whole, or nothing and why.
  ///
  /// - Returns: Whether it was written.
  /// - Throws: What is no fault of the version's: a cancellation, a full disk.
  private mutating func attempt(
    _ version: VersionEvidence, _ body: (inout RebuildWriter) throws -> Void
  ) throws -> Bool {
    let before = self
    var lost: TarnError?
    try database.inSavepoint {
      do {
        try LakeCatalog.wrapped { try body(&self) }
        return .commit
      } catch let error as TarnError where ![.interrupted, .diskFull, .io].contains(error.code) {
        lost = error
        return .rollback
      }
    }
    guard let lost else { return true }
    self = before
    let isNamed = lost.message.hasPrefix("\(version.name)")
    summary.remarks.append("\(isNamed ? "" : "\(version.name): ")\(lost.message)")
    return false
  }

  // MARK: Sources, shards, revisions

  private mutating func add(_ source: VersionExport.Source, of version: VersionEvidence) throws {
    let owner = owner(of: source)
    if let owner, sources[owner.name] == nil { try register(owner, at: version.sealedAt) }
    if let known = sources[source.name] {
      guard known.hasKind(of: source) else {
        throw TarnError(.integrity, "its document has another source named \(source.name) than an earlier version's")
      }
      // Shards and mirrors of files that others read, too, are of the source that has them.
      if known.filesOf == nil {
        try addShards(of: source, to: known, at: version.sealedAt)
        try addMirrors(of: source, to: known, at: version.sealedAt)
      }
    } else {
      try register(source, reading: owner.flatMap { sources[$0.name] }, at: version.sealedAt)
    }
    if let owner, sources[source.name]?.filesOf != nil { shardIDs[source.name] = shardIDs[owner.name] }
    let rows = version.rowCounts
    for shard in source.shards {
      guard let id = shardIDs[source.name]?[shard.name] else {
        summary.remarks.append(
          "\(source.name)/\(shard.name) of \(version.name) is no shard of the source's first document")
        continue
      }
      for pinned in shard.pinned {
        guard let rowCount = rows[pinned.sha256], revisions[id]?[pinned.sha256] == nil else { continue }
        let revision = ShardRevision(
          shardID: id, number: (revisions[id]?.count ?? 0) + 1, digest: pinned.sha256, byteCount: pinned.bytes,
          rowCount: rowCount, etag: nil, lastModified: nil, mirrorID: nil)
        try revision.insert(trust: .firstUse, at: version.sealedAt, database)
        revisions[id, default: [:]][pinned.sha256] = revision.number
        summary.revisions += 1
      }
    }
  }

  /// The source whose files a source reads, as far as a document says so.
  private func owner(of source: VersionExport.Source) -> VersionExport.Source? {
    guard source.array != nil, let owner = filesOf[source.name], owner.array != nil, owner.filesOf == nil,
      filesOf[owner.name] == nil
    else { return nil }
    return owner
  }

  private mutating func register(
    _ source: VersionExport.Source, reading owner: Source? = nil, at time: String
  ) throws {
    try LakeCatalog.validate(name: source.name, of: "source")
    let (modality, type) = try source.kind()
    let added = try Source.insert(
      name: source.name, modality: modality, dimension: source.dimension, elementType: type,
      array: source.array, filesOf: owner?.id, at: time, database)
    sources[source.name] = added
    summary.sources += 1
    if owner != nil { return }
    let mirrors = try source.mirrors.enumerated().map { priority, template in
      try MirrorRow.insert(
        of: added.id, priority: priority, template: template, isReconstructed: true, isOfDocument: true, at: time,
        database)
    }
    var ids: [String: Int64] = [:]
    for (ordinal, shard) in source.shards.enumerated() {
      ids[shard.name] = try Shard.insert(
        of: added.id, ordinal: ordinal, name: shard.name, urls: shard.urls, on: mirrors, at: time, database)
    }
    shardIDs[source.name] = ids
    shardNames[source.name] = source.shards.map(\.name)
    self.mirrors[source.name] = source.mirrors
    summary.shards += source.shards.count
  }

  /// Adds the shards that a source had got when a later document was written.
  private mutating func addShards(of source: VersionExport.Source, to known: Source, at time: String) throws {
    let names = shardNames[source.name, default: []]
    // Another order is another source; what of it is known is said below.
    guard source.shards.count > names.count, zip(names, source.shards).allSatisfy({ $0 == $1.name }) else { return }
    let ids = try Int64.fetchAll(
      database, sql: "SELECT id FROM mirror WHERE source_id = ? ORDER BY priority", arguments: [known.id])
    let places = mirrors[source.name, default: []]
    for (ordinal, shard) in source.shards.enumerated().dropFirst(names.count) {
      let id = try Shard.insert(of: known.id, ordinal: ordinal, name: shard.name, at: time, database)
      shardIDs[source.name, default: [:]][shard.name] = id
      shardNames[source.name, default: []].append(shard.name)
      for (template, url) in zip(source.mirrors, shard.urls) {
        guard let place = places.firstIndex(of: template) else { continue }
        try ShardLocation.insert(of: id, on: ids[place], url: url, database)
      }
      summary.shards += 1
    }
  }

  /// Adds the mirrors that a source had when a later document was written.
  private mutating func addMirrors(of source: VersionExport.Source, to known: Source, at time: String) throws {
    for (place, template) in source.mirrors.enumerated() where mirrors[source.name]?.contains(template) == false {
      let id = try MirrorRow.insert(
        of: known.id, priority: mirrors[source.name, default: []].count, template: template, isReconstructed: true,
        isOfDocument: true, at: time, database)
      mirrors[source.name, default: []].append(template)
      for shard in source.shards where place < shard.urls.count {
        guard let shardID = shardIDs[source.name]?[shard.name] else { continue }
        try ShardLocation.insert(of: shardID, on: id, url: shard.urls[place], database)
      }
    }
  }

  /// Says of each observed shard whether its bytes are here, under its own name
  /// or under that of another shard with the same bytes.
  private mutating func settleShards() throws {
    var stored: [ContentDigest: Bool] = [:]
    let byPrefix = Dictionary(
      grouping: (FileManager.default.enumerator(atPath: layout.shards)?.compactMap { $0 as? String } ?? []).sorted()
    ) { path in LakeLayout.digestPrefix(ofShardPath: path) ?? "" }
    for (source, ids) in shardIDs.sorted(by: { $0.key < $1.key }) where sources[source]?.filesOf == nil {
      for (name, id) in ids.sorted(by: { $0.value < $1.value }) {
        guard let known = revisions[id], !known.isEmpty else { continue }
        let newestFirst = known.sorted { $0.value > $1.value }
        // All of them: older ones may have been kept.
        for (digest, _) in newestFirst where stored[digest] == nil {
          let own = LakeLayout.shardPath(source: source, shard: name, digest: digest)
          let paths = [own] + (byPrefix[digest.prefix(16)] ?? []).filter { $0 != own }
          stored[digest] = try paths.contains { try store($0, digest) }
        }
        if let here = newestFirst.first(where: { stored[$0.key] == true }) {
          try database.run("UPDATE shard SET state = 'present', current_revision = ? WHERE id = ?", [here.value, id])
          summary.present += 1
        } else {
          try Shard.settleAsEvicted(id, at: newestFirst[0].value, database)
        }
      }
    }
    try keepOlder()
  }

  /// Says of bytes that are no shard's newest that they are kept.
  private func keepOlder() throws {
    try database.run(
      """
      UPDATE stored_bytes SET deleting_at = created_at WHERE place = 'shards' AND NOT EXISTS (SELECT 1 FROM shard_revision r
        JOIN shard h ON h.id = r.shard_id AND h.current_revision = r.revision AND h.state = 'present'
        WHERE r.sha256 = stored_bytes.sha256)
      """, [])
  }

  /// Drops the shards that the newest document of their source says are dropped, but for
  /// those on which an older version rests.
  private func dropShards(_ versions: [VersionEvidence]) throws {
    var newest: [String: VersionExport.Source] = [:]
    for version in versions { for source in version.document.sources { newest[source.name] = source } }
    for source in newest.values {
      for shard in source.shards where shard.dropped == true {
        guard let rows = shard.rows, let id = shardIDs[source.name]?[shard.name], revisions[id] == nil else { continue }
        try database.run("UPDATE shard SET dropped_row_count = ? WHERE id = ?", [rows, id])
      }
    }
  }

  /// Takes a file of the shards directory up, if its bytes are these.
  private mutating func store(_ path: String, _ digest: ContentDigest) throws -> Bool {
    let whole = layout.path(path, in: .shards)
    guard let size = Disk.size(of: whole) else { return false }
    try report(path)
    guard case .whole = FileEvidence(whole, byteCount: nil, digest: digest) else {
      summary.remarks.append("\(whole) is damaged and not counted on")
      return false
    }
    try StoredBytes.insert(digest, .shard, byteCount: size, path: path, verifiedAt: Timestamp.now(), database)
    return true
  }

  // MARK: Artifacts

  /// Takes up every file below the artifacts directory whose bytes are what its
  /// name says, whether anything refers to it or not.
  private mutating func storeArtifacts() throws {
    let files = FileManager.default.enumerator(atPath: layout.artifacts)?.compactMap { $0 as? String } ?? []
    for path in files.sorted() {
      let file = layout.path(path, in: .artifacts)
      guard let (kind, digest) = LakeLayout.artifact(atPath: path), let size = Disk.size(of: file) else { continue }
      try report(path)
      guard case .whole = FileEvidence(file, byteCount: nil, digest: digest) else { continue }
      try StoredBytes.insert(digest, kind, byteCount: size, path: path, verifiedAt: Timestamp.now(), database)
      unreferenced[digest] = size
      whole.insert(digest)
      guard kind == .segment, let claim = tools.segment(file) else { continue }
      segments[SegmentKey(trained: claim.trained, shard: claim.shard, arrayMark: claim.arrayMark)] = (
        claim, digest, file
      )
    }
  }

  /// Says that something refers to an artifact.
  ///
  /// One that is not whole is vouched for all the same, so that `verify` finds it
  /// and repairs it where it can. A trained index is in each of its outputs, too,
  /// and taken from there.
  private mutating func refer(
    to digest: ContentDigest, _ kind: StoredKind, byteCount: Int?, for what: String, isRevoked: Bool = false
  ) throws {
    unreferenced[digest] = nil
    if !isRevoked, let isThere = gone.removeValue(forKey: digest) {
      let whole = layout.path(LakeCatalog.newPath(of: kind, digest), in: .artifacts)
      summary.remarks.append(RebuildWriter.remark(on: whole, isThere: isThere, for: what))
      return
    }
    guard try StoredBytes.find(digest, in: .artifacts, database) == nil else { return }
    let path = LakeCatalog.newPath(of: kind, digest)
    let whole = layout.path(path, in: .artifacts)
    if kind == .trainedIndex, let found = try tools.takeTrainedIndex(digest, outputFiles[digest] ?? [], whole) {
      try StoredBytes.insert(digest, kind, byteCount: found, path: path, verifiedAt: Timestamp.now(), database)
      return
    }
    let size = Disk.size(of: whole)
    if isRevoked {
      gone[digest] = size != nil
    } else {
      summary.remarks.append(RebuildWriter.remark(on: whole, isThere: size != nil, for: what))
    }
    try StoredBytes.insert(digest, kind, byteCount: byteCount ?? size ?? 0, path: path, verifiedAt: nil, database)
  }

  private static func remark(on path: String, isThere: Bool, for what: String) -> String {
    "\(what): \(path) is \(isThere ? "damaged" : "missing"); `tarn verify --repair` may bring it back"
  }

  /// Says of the outputs of revoked versions that are not there that they were collected; what is left of one is garbage.
  private func letGo() throws {
    for (digest, isThere) in gone.sorted(by: { $0.key.hex < $1.key.hex }) {
      try LakeCatalog.startDeletion(of: digest, database)
      guard !isThere else { continue }
      try database.run(
        "UPDATE stored_bytes SET state = 'deleted' WHERE sha256 = ? AND place = 'artifacts' AND state = 'deleting'",
        [digest.hex])
    }
  }

  // MARK: Trained indexes and versions

  /// Adds a trained index that no earlier version has, and gives its number.
  private mutating func addTrained(_ version: VersionEvidence) throws -> Int64 {
    let trained = version.document.trained
    if let known = trainedIDs[trained.name] {
      let digest = try String.fetchOne(
        database, sql: "SELECT sha256 FROM trained_index WHERE id = ?", arguments: [known])
      guard digest == trained.sha256.hex else {
        throw TarnError(.integrity, "its trained index \(trained.name) is another one than an earlier version's")
      }
      return known
    }
    try LakeCatalog.validate(name: trained.name, of: "trained index")
    let byteCount = try tools.trainedByteCount(
      trained.codec, version.training.dimension, trained.nlist, version.training.router != nil,
      version.training.refine?.codec)
    try refer(to: trained.sha256, .trainedIndex, byteCount: byteCount, for: "the trained index \(trained.name)")
    let id = try version.insertTrained(
      from: sources, shardIDs: shardIDs, revisions: revisions, at: version.sealedAt, database)
    trainedIDs[trained.name] = id
    summary.trainedIndexes += 1
    return id
  }

  private mutating func add(_ version: VersionEvidence, trainedID: Int64) throws {
    let id = try version.insertVersion(
      version.name, trainedID: trainedID, from: sources, shardIDs: shardIDs, revisions: revisions,
      at: version.sealedAt, database)
    // What a pin keeps is there, or was lost.
    let isRevoked = version.revocation != nil && version.pin == nil
    for output in version.outputs {
      try refer(
        to: output.digest, .outputShard, byteCount: output.byteCount, for: "\(version.name), output \(output.ordinal)",
        isRevoked: isRevoked)
      if let refine = output.refine {
        try refer(
          to: refine.digest, .refineShard, byteCount: refine.byteCount,
          for: "\(version.name), what refines output \(output.ordinal)", isRevoked: isRevoked)
      }
      try output.insert(of: id, at: version.sealedAt, database)
      summary.outputs += 1
    }
    try database.run(
      "UPDATE index_version SET state = 'sealed', version_sha256 = ?, sealed_at = ? WHERE id = ?",
      [version.digest.hex, version.sealedAt, id])
    try LockTextRow.insert(version.lockText, of: id, database)
    try LakeCatalog.adoptExclusions(ofVersion: id, database)
    if let revocation = version.revocation {
      // What was withdrawn takes nothing back, either.
      try database.run(
        "UPDATE index_version SET state = 'revoked', ended_at = ? WHERE id = ?", [revocation.at, id])
      try LakeCatalog.record(.revoked, "\(version.name)", ["reason": .string(revocation.reason)], database)
      summary.revoked.append(version.name)
    } else if !version.isOfElsewhere {
      summary.readmitted += try LakeCatalog.readmitRows(ofVersion: id, database)
    }
    if let pin = version.pin {
      try PinRow.insert(of: id, reason: pin.reason, at: pin.at, database)
      try LakeCatalog.record(.pin, "\(version.name)", ["reason": .string(pin.reason)], database)
      summary.pinned.append(version.name)
    }
    summary.versions.append(version.name)
  }
}
