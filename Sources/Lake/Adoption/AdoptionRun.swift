// `adopt`: what FAISS made elsewhere, taken in. A trained index becomes tarn's own form of it; a
// version's files become tarn's outputs, list by list. Every step is keyed by the digests of what
// goes in and recorded when its file is durable, so a killed adoption goes on with the next one:
//   trained: file -> helper's answer -> trained index -> ready
//   version: files -> ids looked at -> plan -> output … -> lock file -> seal

package import Base
package import Catalog
internal import Foundation
internal import Indexer

/// How far an adoption is.
package enum AdoptionProgress: Sendable {
  /// A file is read: its digest, what it is, its row ids.
  case reading(file: String, number: Int, of: Int)
  /// A file counts rows that are in none of its lists, as FAISS files none that is not a number.
  case unfiled(file: String, rows: Int)
  /// Rows of a file that are written as an output.
  case writing(output: Int, of: Int, rowsDone: Int, rows: Int)
}

/// Takes in what FAISS made elsewhere.
package struct AdoptionRun: Sendable {
  private let catalog: LakeCatalog
  private let store: ArtifactStore
  private let patience: Duration
  private let cancellation: Cancellation
  private let report: @Sendable (AdoptionProgress) -> Void

  /// Prepares an adoption.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - patience: How long the helper may take for a file.
  ///   - cancellation: Asked between lists; what is done is kept.
  ///   - report: Told of progress, on the working thread.
  package init(
    _ catalog: LakeCatalog, patience: Duration, cancellation: Cancellation,
    report: @escaping @Sendable (AdoptionProgress) -> Void
  ) {
    self.catalog = catalog
    store = ArtifactStore(catalog)
    self.patience = patience
    self.cancellation = cancellation
    self.report = report
  }

  /// A file, its digest, and what is in it: all of one moment.
  private func read(_ path: String, _ number: Int, of count: Int) throws -> (ForeignIndex, ContentDigest, Int) {
    report(.reading(file: path.lastPathPart, number: number, of: count))
    let path = LakeLayout.absolute(path)
    let reader = try IndexReader(
      scratch: "\(catalog.layout.scratch)/\(catalog.workingPrefix)adopt", patience: patience,
      cancellation: cancellation)
    let state = Disk.identity(of: path)
    let index = try reader.read(path)
    if index.unfiledRowCount > 0 { report(.unfiled(file: path.lastPathPart, rows: index.unfiledRowCount)) }
    let digest = try Disk.digest(of: path)
    try requireUnchanged(path, state)
    guard let byteCount = Disk.size(of: path) else { throw Disk.changed(path) }
    return (index, digest, byteCount)
  }

  private func requireUnchanged(_ path: String, _ state: [Int]?) throws {
    guard Disk.identity(of: path) == state else { throw Disk.changed(path) }
  }

  // MARK: Trained indexes

  /// Adopts a trained index; rows that it holds are left.
  ///
  /// - Parameters:
  ///   - name: The name that it gets.
  ///   - path: The file that FAISS wrote.
  /// - Returns: The trained index, and rows that were left.
  /// - Throws: ``TarnError`` `.usage` for what tarn cannot hold, `.conflict` when the name
  ///   means another, `.integrity`, `.engine`.
  package func trained(_ name: String, from path: String) throws -> (record: TrainedIndexRecord, rowsLeft: Int) {
    cancellation.listen()
    try LakeCatalog.validate(name: name, of: "trained index")
    let (index, digest, byteCount) = try read(path, 0, of: 1)
    // The documents of its versions say it, and are read through the same door.
    try ForeignNumber.count.check(index.trained.nlist, "a number of lists", in: path)
    // What tarn trained itself may have more behind the index, which FAISS does not see.
    let own = try? TrainedIndexFile.read(path)
    var trained = own.flatMap { $0.assigner == nil && $0.refine == nil ? nil : $0 } ?? index.trained
    try catalog.requireRoom(
      for: "the trained index \(name)",
      [RoomNeed(at: catalog.layout.artifacts, byteCount: 8 * trained.centroids.count + (1 << 20))])
    let file = AdoptedFile(
      name: path.lastPathPart, digest: digest, byteCount: byteCount, rowCount: index.rowCount)
    let (source, pinned) = try catalog.register([file], dimension: trained.dimension)
    var planned = definition(name, trained, refinedBy: trained.refine?.codec, index, source, pinned)
    // What an older tarn adopted is without what refines, and stays what it is.
    if trained.refine != nil, let before = try catalog.findTrainedIndex(named: name), before.isAdopted {
      let plain = own.flatMap { $0.assigner == nil ? nil : $0 } ?? index.trained
      let old = definition(name, plain, refinedBy: nil, index, source, pinned)
      if before.spec == old.spec { (planned, trained) = (old, plain) }
    }
    let record = try catalog.planTraining(planned)
    if let known = record.digest, try store.size(of: .trainedIndex, known) != nil { return (record, index.rowCount) }
    let working = try store.workingPath("adopted-\(digest.prefix(16)).faiss")
    let written = try TrainedIndexFile.write(trained, to: working, temporaryPath: working + ".tmp")
    if let known = record.digest, known != written.digest {
      try Disk.remove(working)
      throw TarnError(
        .integrity, "the trained index \(name) was made from \(file.name) and had other bytes",
        hint: "restore its file from a backup")
    }
    try store.put(working, as: .trainedIndex, written.digest) {
      try catalog.finishTraining(record, digest: written.digest, byteCount: written.byteCount)
    }
    return (try catalog.trainedIndex(named: name), index.rowCount)
  }

  private func definition(
    _ name: String, _ trained: TrainedIndex, refinedBy refine: VectorCodec?, _ index: ForeignIndex, _ source: Source,
    _ pinned: [ShardRevision]
  ) -> TrainingDefinition {
    let quantizer = trained.quantizer
    var spec: [String: JSONValue] = [
      "format": .integer(1), "method": .string(TrainedIndexRecord.adoptedMethod),
      "codec": .string(quantizer.codec.rawValue), "nlist": .count(trained.nlist),
      "dimension": .count(trained.dimension),
      // Nobody knows these; the least that they can be stands for that.
      "iterations": .integer(1), "seed": .integer(0), "sample": .object(["pairs": .count(trained.nlist)]),
      "images": .array(
        pinned.map { .object(["sha256": .string($0.digest.hex), "rows": .count($0.rowCount)]) }),
      "faiss": .object([
        "coarse": .string(index.coarse.rawValue), "rows": .count(index.rowCount), "nprobe": .count(trained.nprobe),
        "has_assigner": .bool(trained.assigner != nil),
      ]),
    ]
    if quantizer.codec.hasRanges { spec["ranges"] = .string(quantizer.statistic.text) }
    if let refine { spec[TrainingSpecification.refineMember] = TrainingSpecification.refineValue(refine) }
    return TrainingDefinition(
      name: name, method: TrainedIndexRecord.adoptedMethod, codec: quantizer.codec.rawValue, nlist: trained.nlist,
      dimension: trained.dimension, iterations: 1, seed: 0, pairCount: trained.nlist, images: source, captions: nil,
      spec: JSONValue.object(spec).text, inputs: pinned.map { .init(role: "image", revision: $0) })
  }

  // MARK: Versions

  /// A file of a version, looked at.
  private struct Filled {
    let path: String
    let index: ForeignIndex
    let file: AdoptedFile
    let ids: ClosedRange<Int64>
    let state: [Int]?
  }

  /// Adopts files with rows as a version, sealed.
  ///
  /// - Parameters:
  ///   - name: The name that it gets; the next number of it.
  ///   - paths: The files that FAISS wrote; their row ids must not interleave.
  ///   - trainedName: The trained index that they were filled from.
  ///   - sourceName: The source whose rows their ids count; nil where nobody says.
  /// - Returns: The version, and whether this run made it.
  /// - Throws: ``TarnError`` `.usage` for what tarn cannot hold, `.conflict` where it was adopted with another
  ///   source, `.integrity`, `.engine`.
  package func version(
    _ name: String, from paths: [String], trained trainedName: String, source sourceName: String?
  ) throws -> (version: IndexVersion, isNew: Bool) {
    cancellation.listen()
    try LakeCatalog.validate(name: name, of: "version")
    let record = try catalog.trainedIndex(named: trainedName)
    let trainedDigest = try record.finishedDigest()
    let claimed = try sourceName.map { try catalog.source(named: $0) }
    if let source = claimed {
      try source.requireFeatures()
      guard source.dimension == record.dimension else {
        throw TarnError(
          .usage, "\(source.name) has dimension \(source.dimension), \(record.name) has \(record.dimension)",
          hint: "name the source whose rows are in the files")
      }
    }
    let trained = try TrainedIndexFile.read(store.verified(.trainedIndex, trainedDigest))
    let files = try looked(paths, trained, record)
    if let claimed, let last = files.last?.ids.upperBound { try requireRow(last, of: claimed) }
    let needed = files.lazy.map { $0.file.byteCount }.saturatedSum
    try catalog.requireRoom(
      for: "the outputs of \(name)", [RoomNeed(at: catalog.layout.artifacts, byteCount: needed)])
    let (source, pinned) = try catalog.register(files.map(\.file), dimension: trained.dimension)
    let planned = try plan(name, record, trainedDigest, source, sourceName, pinned, files)
    if let sourceName, let known = try catalog.versionThere(planned) { try require(sourceName, of: known) }
    let version = try catalog.planVersion(planned)
    guard version.state != .sealed else {
      try putBack(version, files, trained)
      try VersionFiles(catalog: catalog).restoreNames(of: version)
      return (version, false)
    }
    let done = Set(try catalog.outputs(of: version).map(\.ordinal))
    var written: Set<Int> = []
    for (ordinal, file) in files.enumerated() where !done.contains(ordinal) {
      let (working, summary) = try write(file, ordinal, of: files.count, trained, version)
      try store.put(working, as: .outputShard, summary.digest) {
        try catalog.recordOutput(
          OutputShard(
            ordinal: ordinal, digest: summary.digest, firstInput: ordinal, lastInput: ordinal,
            firstID: file.ids.lowerBound, endID: file.ids.upperBound + 1, rowCount: summary.rowCount,
            byteCount: summary.byteCount, listsDigest: summary.listDigests.root), of: version)
      }
      written.insert(ordinal)
    }
    try catalog.seal(version, verified: written, cancellation)
    return (try catalog.version(version.name), true)
  }

  /// Refuses another source than a version was adopted with, which would be dropped without a word: whose rows its ids
  /// are is no part of its specification.
  private func require(_ sourceName: String, of known: IndexVersion) throws {
    guard known.rowsOf != sourceName else { return }
    let before = known.rowsOf.map { "--source \($0)" } ?? "no --source"
    let way =
      known.state == .sealed
      ? "adopt them under another name" : "`tarn abandon \(known.name)` gives the unfinished one up"
    throw TarnError(
      .conflict, "\(known.name) was adopted from these files with \(before), and not with --source \(sourceName)",
      hint: "\(way), or say what was said then")
  }

  /// Refuses a source that has not the row of an id, as far as its shards' rows are known; those that matter must be.
  private func requireRow(_ id: RowID, of source: Source) throws {
    var end: Int64 = 0
    for shard in try catalog.shards(of: source) where end <= id {
      end += Int64(try shard.plannedRowCount(in: source, for: "the row ids count them"))
    }
    guard end > id else {
      throw TarnError(
        .usage, "the files have row ids up to \(id), and \(source.name) has \(end) rows",
        hint: "name the source whose rows their ids count, or leave --source out")
    }
  }

  /// Every file, what is in it and its row ids, in the order of these.
  private func looked(_ paths: [String], _ trained: TrainedIndex, _ record: TrainedIndexRecord) throws -> [Filled] {
    var files: [Filled] = []
    for (number, path) in paths.enumerated() {
      let path = LakeLayout.absolute(path)
      let state = Disk.identity(of: path)
      let (index, digest, byteCount) = try read(path, number, of: paths.count)
      try index.require(trained, named: record.name)
      let ids = try index.ids { try cancellation.check() }
      try requireUnchanged(path, state)
      let file = AdoptedFile(
        name: path.lastPathPart, digest: digest, byteCount: byteCount,
        rowCount: Int(ids.upperBound - ids.lowerBound) + 1)
      files.append(Filled(path: path, index: index, file: file, ids: ids, state: state))
    }
    files.sort { $0.ids.lowerBound < $1.ids.lowerBound }
    for (first, second) in zip(files, files.dropFirst()) where second.ids.lowerBound <= first.ids.upperBound {
      throw TarnError(
        .usage,
        "the row ids of \(first.file.name) are \(first.ids.lowerBound) to \(first.ids.upperBound), and those of "
          + "\(second.file.name) begin at \(second.ids.lowerBound): they interleave",
        hint: "each file of a version has ids of its own range: add rows with ids that count through all files")
    }
    return files
  }

  private func plan(
    _ name: String, _ record: TrainedIndexRecord, _ trained: ContentDigest, _ source: Source, _ rowsOf: String?,
    _ pinned: [ShardRevision], _ files: [Filled]
  ) throws -> VersionPlan {
    let spec = VersionPlan.spec(
      trained: trained, source: source.name, array: nil, shards: Array(files.indices), shardsPerOutput: 1,
      missing: MissingPolicy.fail.rawValue, badRows: BadRowsPolicy.skip.rawValue)
    var environment = JSONValue(parsing: Tool.environment) ?? .object([:])
    if let rowsOf, case .object(var members) = environment {
      members[IndexVersion.rowsOfMember] = .string(rowsOf)
      environment = .object(members)
    }
    return VersionPlan(
      name: name, trained: record, source: source, shardsPerOutput: 1, missingPolicy: .fail,
      // Ids of a file's range that are in none of its lists.
      badRowsPolicy: .skip, spec: spec, environment: environment.text,
      inputs: zip(pinned, files).enumerated().map { ordinal, pair in
        VersionPlan.Input(
          shardID: pair.0.shardID, shardOrdinal: ordinal, content: .bytes(pair.0), outputOrdinal: ordinal,
          firstID: pair.1.ids.lowerBound, rowCount: pair.0.rowCount)
      })
  }

  /// Writes a file's rows as an output, and reads it back.
  private func write(
    _ file: Filled, _ ordinal: Int, of count: Int, _ trained: TrainedIndex, _ version: IndexVersion
  ) throws -> (path: String, summary: OutputShardSummary) {
    let working = try store.workingPath("adopted-\(version.id)-\(ordinal).faiss")
    try file.index.write(under: trained, to: working) { done in
      try cancellation.check()
      report(.writing(output: ordinal, of: count, rowsDone: done, rows: file.index.rowCount))
    }
    try requireUnchanged(file.path, file.state)
    let summary = try OutputShardFile.read(
      working, trained: trained, idsIn: [file.ids.lowerBound..<(file.ids.upperBound + 1)])
    return (working, summary)
  }

  /// Makes lost outputs of a sealed version again from the files.
  private func putBack(_ version: IndexVersion, _ files: [Filled], _ trained: TrainedIndex) throws {
    for (output, file) in zip(try catalog.outputs(of: version), files) {
      guard try store.size(of: .outputShard, output.digest) == nil else { continue }
      let (working, summary) = try write(file, output.ordinal, of: files.count, trained, version)
      guard summary.digest == output.digest else {
        try Disk.remove(working)
        throw TarnError(
          .integrity, "output \(output.ordinal) of \(version.name) was made from \(file.file.name) and had other bytes")
      }
      try store.put(working, as: .outputShard, summary.digest)
    }
  }
}
