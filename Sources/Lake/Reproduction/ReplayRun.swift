// `tarn reproduce --from FILE`: a version made from its document alone, in a
// lake that has nothing, and compared with what the document says it came to.

package import Logging
internal import Base
internal import Catalog
internal import Foundation
internal import Indexer
internal import Synchronization

/// How far a replay is.
package enum ReplayProgress: Sendable {
  case fetching(SyncProgress)
  case training(TrainingProgress)
  case building(BuildProgress)
}

/// Registers, fetches, trains, builds and compares.
///
/// Every step is the one of its own verb and resumes as it does.
package struct ReplayRun: Sendable {
  private let document: VersionExport
  private let catalog: LakeCatalog
  private let logger: Logger
  private let cancellation: Cancellation
  private let report: @Sendable (ReplayProgress) -> Void
  /// Names of query items that the user knows to be harmless, lower case.
  package var keptQuery: Set<String> = []
  /// Whether the document's addresses may lead to this machine, its files and its
  /// network.
  package var allowsInside = false
  /// How to fetch; within a budget shards come and go, without one everything is
  /// fetched first and kept.
  package var fetch = SyncOptions().takingAll

  /// Prepares to make the version of a document.
  ///
  /// - Parameters:
  ///   - document: What `tarn export` printed.
  ///   - catalog: A lake, open for writing; best a new one.
  ///   - logger: Gets warnings.
  ///   - cancellation: Asked by every step; what is done is kept.
  ///   - report: Told of progress, on whichever thread works.
  package init(
    _ document: VersionExport, in catalog: LakeCatalog, logger: Logger, cancellation: Cancellation,
    report: @escaping @Sendable (ReplayProgress) -> Void
  ) {
    self.document = document
    self.catalog = catalog
    self.logger = logger
    self.cancellation = cancellation
    self.report = report
  }

  /// What came of it.
  package struct Result: Sendable {
    package let version: IndexVersion
    package let outcome: ReproductionOutcome
    package let outputCount: Int
    /// Files of the outputs, and those that refine them.
    package let fileCount: Int
    /// Bytes of all of these.
    package let byteCount: Int
    /// The first output that differs.
    package let output: Int?
    /// What was compared, each statement of the document that does not hold, and
    /// what was not checked.
    package let verdict: StatementVerdict
  }

  /// Makes the version.
  ///
  /// - Returns: How it compares; also kept in the catalog.
  /// - Throws: ``TarnError``; `.integrity` for a document that contradicts
  ///   itself, and `.conflict` for a version that would not be made, before anything is asked for; `.differs` for another
  ///   trained index.
  package func run() async throws -> Result {
    cancellation.listen()
    let startedAt = Timestamp.now()
    let itself = document.verdict(segmentFormats: 1...segmentFormatVersion)
    guard itself.isClean else {
      throw TarnError(
        .integrity, "the document of \(document.version.printable) contradicts itself: \(itself.message)",
        hint: "get it again from where it came from")
    }
    try requireMaking()
    let adopted = try adoptedTraining()
    for source in document.sourcesByFiles {
      _ = try catalog.adopt(
        source, of: document, rowCounts: document.statedRowCounts(of: source), keeping: keptQuery,
        allowsInside: allowsInside)
    }
    try await fetchAll()
    try await bring(\.trainedDigest)
    let trained = if let adopted { adopted } else { try await train() }
    try await bring(\.sha256)
    let version = try await build(trained)
    try catalog.adoptExclusions(of: version)
    return try compare(version, trained, startedAt, itself)
  }

  /// Refuses a version that this lake has from elsewhere, or under another name, or has revoked: it would be compared with
  /// itself, or made in vain, as a version is sealed once.
  private func requireMaking() throws {
    let name = try VersionName(parsing: document.version).name
    guard let there = try catalog.versions().first(where: { $0.versionDigest == document.versionSha256 }),
      there.state == .revoked || there.name.name != name || catalog.isOfElsewhere(there)
    else { return }
    let way = "`tarn reproduce \(there.name)" + (there.state == .revoked ? " --into DIR`" : "`")
    throw TarnError(
      .conflict,
      "this lake has \(document.version.printable) already, \(origin(of: there)), so that it would not be made here",
      hint: "`tarn init check` makes a lake to make it in, with --lake check; "
        + "\(way) makes it again from what it rests on")
  }

  private func origin(of version: IndexVersion) -> String {
    switch version.state {
    case .revoked: "revoked as \(version.name)"
    default: catalog.isOfElsewhere(version) ? "pulled as \(version.name)" : "as \(version.name)"
    }
  }

  /// The trained index of a document whose training nobody knows: one that is here; nil where
  /// it is to be trained.
  ///
  /// - Throws: ``TarnError`` `.inputsMissing` naming the file that it was adopted from, and for
  ///   a version that was adopted itself.
  private func adoptedTraining() throws -> TrainedIndexRecord? {
    guard !document.isAdopted else {
      throw TarnError(
        .inputsMissing, "\(document.version.printable) was adopted: what its rows were made from is unknown",
        hint: "`tarn pull` takes its files from where it was pushed to")
    }
    let wanted = document.trained
    guard wanted.method == TrainedIndexRecord.adoptedMethod else { return nil }
    if let known = try catalog.trainedIndex(digest: wanted.sha256) { return known }
    let file = document.sources.first { $0.name == wanted.images }?.shards.first
    throw TarnError(
      .inputsMissing,
      "the trained index \(wanted.name.printable) was adopted from \(file?.name.printable ?? "a file") "
        + "(sha256 \(file?.sha256?.hex ?? "?")), which this lake has not seen",
      hint: "`tarn adopt trained \(wanted.name.printable) FILE` with that file, then run this again")
  }

  /// Brings the pinned bytes of every source, where everything has room.
  ///
  /// So what can't be had is told first. Within a budget the steps fetch what they want, and told first is what may not be
  /// asked for.
  private func fetchAll() async throws {
    var wanted: [Shard] = []
    for exported in document.sources where exported.modality != Modality.index.rawValue {
      let shards = try catalog.shards(of: catalog.source(named: exported.name))
      for (shard, pinned) in zip(shards, exported.shards) where shard.path == nil {
        if pinned.sha256 != nil, pinned.trainedOn == nil { wanted.append(shard) }
      }
    }
    // What was here, and went to make room, may be encoded already.
    try requireReach(fetch.budget == nil ? wanted : wanted.filter { $0.revision == nil })
    if fetch.budget == nil, let failure = try await failure(ofFetching: wanted, fetch) { throw failure.error }
  }

  /// Refuses once, before anything is asked for, what would be refused shard by shard: that all
  /// addresses of one lead inside, which a document does not get by itself (S7).
  private func requireReach(_ wanted: [Shard]) throws {
    for shard in wanted {
      let locations = try catalog.locations(of: shard.id)
      guard !locations.isEmpty, locations.allSatisfy({ $0.isOfDocument && !CommandAddress.isOne($0.url) }) else {
        continue
      }
      var refusal: TarnError?
      let refused = locations.filter { location in
        do {
          try FetchConfiguration.checkOfDocument(
            location.url, in: "\(shard.name) of \(shard.sourceName)",
            trustedBy: "`tarn reproduce --from DOCUMENT --allow-inside` takes your word for it; files that lie "
              + "elsewhere here are named by `tarn source mirror add \(shard.sourceName) DIR`, before the same command")
          return false
        } catch let error as TarnError {
          refusal = refusal ?? error
          return true
        } catch { return false }
      }
      if let refusal, refused.count == locations.count { throw refusal }
    }
  }

  /// Makes what a step works on the newest bytes of the shards of which the training took
  /// others than the build.
  ///
  /// - Parameter content: What the step takes of a shard.
  /// - Throws: ``TarnError``, with a way to bytes that no mirror has any more.
  private func bring(_ content: (VersionExport.Source.Shard) -> ContentDigest?) async throws {
    var (options, wanted) = (fetch, [Shard]())
    for exported in document.sources {
      let shards = try catalog.shards(of: catalog.source(named: exported.name))
      for (shard, pinned) in zip(shards, exported.shards) where pinned.trainedOn != nil {
        guard let digest = content(pinned), shard.path == nil || shard.revision?.digest != digest,
          try !catalog.takeUp(digest, of: shard)
        else { continue }
        wanted.append(shard)
        options.digests[shard.id] = digest
      }
    }
    options.replacement = fetch.budget == nil ? .keepingOld : .always
    guard let failure = try await failure(ofFetching: wanted, options) else { return }
    let (shard, error) = (failure.shard, failure.error)
    guard error.code == .integrity || error.code == .absent else { throw error }
    throw TarnError(
      error.code,
      "the version was trained on other bytes of \(shard.name) than it was built from, and mirrors have one alone: "
        + error.message,
      hint: "`tarn import \(shard.sourceName) FILE --keep-old` takes a copy of the others by the name \(shard.name), "
        + "then run this again")
  }

  /// Fetches shards.
  ///
  /// - Returns: The first that failed, and why.
  private func failure(
    ofFetching wanted: [Shard], _ options: SyncOptions
  ) async throws -> (shard: Shard, error: TarnError)? {
    guard !wanted.isEmpty else { return nil }
    var options = options
    options.selection = wanted
    let failure = Mutex<(shard: Shard, error: TarnError)?>(nil)
    let sync = SyncRun(catalog, options, cancellation: cancellation) { [report] event in
      if case .failed(let shard, let error) = event { failure.withLock { if $0 == nil { $0 = (shard, error) } } }
      report(.fetching(event))
    }
    let summary = try await sync.run()
    if let noRoom = summary.noRoom { throw noRoom }
    return failure.withLock { $0 }
  }

  private func train() async throws -> TrainedIndexRecord {
    let wanted = document.trained
    guard let method = TrainingMethod(rawValue: wanted.method), let codec = VectorCodec(rawValue: wanted.codec) else {
      throw TarnError(.schemaNewer, "the document's method or codec is not known", hint: "use a newer tarn")
    }
    let specification = try TrainingSpecification(parsing: wanted.spec)
    var options = TrainingOptions(
      name: wanted.name, images: wanted.images, captions: wanted.captions, nlist: wanted.nlist, pairs: wanted.pairs,
      method: method, iterations: wanted.iterations, codec: codec, ranges: specification.ranges, seed: wanted.seed,
      normalisation: specification.normalisation, router: specification.router)
    options.take(specification)
    let run = TrainingRun(catalog, options, logger: logger, cancellation: cancellation) { [report] in
      report(.training($0))
    }
    let trained = try await run.run(fetching: fetch.budget == nil ? nil : fetch) { [report] in report(.fetching($0)) }
      .trained
    guard trained.digest == wanted.sha256 else {
      let isSameSpec = trained.spec == wanted.spec
      throw TarnError(
        .differs,
        "the trained index differs: \(trained.digest?.prefix(12) ?? "none") instead of \(wanted.sha256.prefix(12))"
          + (isSameSpec ? "" : ", from another specification"))
    }
    return trained
  }

  private func build(_ trained: TrainedIndexRecord) async throws -> IndexVersion {
    guard let missing = MissingPolicy(rawValue: document.missing),
      let badRows = BadRowsPolicy(rawValue: document.badRows)
    else {
      throw TarnError(.schemaNewer, "the document's policies are not known", hint: "use a newer tarn")
    }
    var options = BuildOptions(
      name: try VersionName(parsing: document.version).name, trained: trained.name, images: document.source,
      ordinals: try OrdinalSet(parsing: document.inputs.map { String($0.ordinal) }.joined(separator: ",")),
      shardsPerOutput: document.shardsPerOutput, missing: missing, badRows: badRows, fetches: fetch.budget != nil,
      environment: Tool.environment)
    options.checksRoles = false
    // What was trained on alone is needed no more.
    options.releases = document.sources.map(\.name)
    options.holes = Set(document.inputs.filter { $0.sha256 == nil }.map(\.ordinal))
    options.excluded = Dictionary(
      document.inputs.map { ($0.ordinal, $0.excluded ?? []) }, uniquingKeysWith: { first, _ in first })
    let run = BuildRun(catalog, options, logger: logger, cancellation: cancellation) { [report] in report(.building($0))
    }
    if fetch.budget == nil { try await run.learnRows(fetch) { [report] in report(.fetching($0)) } }
    return try await run.run(fetching: fetch) { [report] in report(.fetching($0)) }.version
  }

  /// Compares what was made with every statement of the document.
  private func compare(
    _ version: IndexVersion, _ trained: TrainedIndexRecord, _ startedAt: String, _ itself: StatementVerdict
  ) throws -> Result {
    let outputs = try catalog.outputs(of: version)
    var verdict = StatementVerdict()
    verdict.merge(itself, isCompleted: true)
    for omission in VersionExport.unprovable { verdict.leaveOut(omission.field, because: omission.reason) }
    // One that was pulled, or adopted, was taken as it is.
    if try catalog.iterations(of: trained).isEmpty {
      verdict.leaveOut("trained.sha256", because: "this lake has no record of having trained it")
    }
    verdict.check("every statement of the document against the version made here")
    verdict.compare(
      "", expected: try document.comparable(places: false),
      found: try catalog.export(version.name).comparable(places: false))
    let different = zip(outputs, document.outputs).first { $0.digest != $1.sha256 }
    let isSameLists =
      outputs.count == document.outputs.count
      && verdict.differences.allSatisfy { $0.field.hasPrefix("outputs[") && !$0.field.hasSuffix(".lists_sha256") }
    let outcome: ReproductionOutcome = verdict.isClean ? .identical : isSameLists ? .sameLists : .differs
    let detail: [String: JSONValue] = [
      "from": .string(document.version), "from_sha256": .string(document.versionSha256.hex),
      "outputs": .count(outputs.count), "output": different.map { .count($0.0.ordinal) } ?? .null,
      "field": .optional(verdict.differences.first?.field),
      "unchecked": .array(verdict.unchecked.map { .string($0.field) }),
    ]
    try catalog.recordReproduction(
      of: version, startedAt: startedAt, outcome: outcome, detail: JSONValue.object(detail).text,
      environment: Tool.environment)
    return Result(
      version: version, outcome: outcome, outputCount: outputs.count, fileCount: outputs.fileCount,
      byteCount: outputs.wholeByteCount, output: different?.0.ordinal, verdict: verdict)
  }
}
