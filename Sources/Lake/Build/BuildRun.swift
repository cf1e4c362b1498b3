// `build`: from a trained index and shards to a sealed version.
//
// Every step is keyed by the digests of what goes in, and recorded when its
// file is durable under its final name; so a step that is recorded is skipped,
// whatever run made it, and a killed build continues with the next one:
//   plan -> (bind shard -> encode -> segment)… -> merge -> read back -> output
//   shard … -> lock file -> seal
// Shards that are still to be fetched come through a ShardHandoff, filled by
// whoever fetches; an output is merged as soon as its last segment is there.

package import Base
package import Catalog
internal import Fetch
internal import Foundation
package import Logging
package import Tasks

/// A version that is being built: its plan, and the shards that it still needs.
package struct PlannedBuild: Sendable {
  package let version: IndexVersion
  /// Shards to encode; those that are encoded already may be evicted.
  fileprivate let stream: ShardStream
  /// For each shard to encode, its input.
  fileprivate let inputsToEncode: [Int64: VersionInput]
  /// What is still to be written.
  package let promised: PromisedRoom
  /// Numbers of the outputs that were taken over from sealed versions, whose files were read for that.
  fileprivate let taken: Set<Int>
  fileprivate let record: TrainedIndexRecord
  fileprivate let trainedDigest: ContentDigest
  fileprivate let source: Source

  /// Whether there is nothing left to do.
  package var isSealed: Bool { version.state == .sealed }
}

/// Builds an index version.
///
/// Sendable: everything in it is, and one run works on one thread.
package struct BuildRun: Sendable {
  let catalog: LakeCatalog
  let options: BuildOptions
  private let logger: Logger
  private let report: @Sendable (BuildProgress) -> Void
  let cancellation: Cancellation
  private let store: ArtifactStore

  /// Prepares a build.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - options: What to build.
  ///   - logger: Gets warnings.
  ///   - cancellation: Asked often; abandons the current step.
  ///   - report: Told of progress, on the building thread.
  package init(
    _ catalog: LakeCatalog, _ options: BuildOptions, logger: Logger, cancellation: Cancellation,
    report: @escaping @Sendable (BuildProgress) -> Void
  ) {
    self.catalog = catalog
    self.cancellation = cancellation
    self.options = options
    self.logger = logger
    self.report = report
    store = ArtifactStore(catalog)
  }

  /// Plans, fetches what is not here, and builds, all at once.
  ///
  /// - Parameters:
  ///   - fetch: How to fetch; the plan says which shards.
  ///   - follow: Told what the fetcher does, on its thread.
  /// - Returns: The version, sealed; whether this run made it; where the time
  ///   went.
  /// - Throws: ``TarnError``; what is done is kept.
  package func run(
    fetching fetch: SyncOptions, follow: @escaping @Sendable (SyncProgress) -> Void
  ) async throws -> (version: IndexVersion, isNew: Bool, times: OutputTimes) {
    cancellation.listen()
    if options.fetches {
      _ = try subject()
      try await learnRows(fetch, follow: follow)
    }
    let planned = try await ThreadedWork("tarn-plan") { try prepare() }.value()
    var fetch = fetch
    if catalog.isOnOneFileSystem { fetch.promisedByteCount = { planned.promised.byteCount } }
    let times = try await planned.stream.run(
      catalog, fetching: fetch, thread: "tarn-build", cancellation: cancellation, follow: follow
    ) { try run(planned, onRelease: $0) }
    return (try catalog.version(planned.version.name), !planned.isSealed, times)
  }

  /// Asks the mirrors of shards that are not here yet how many rows they have: the
  /// ids of a plan depend on it.
  ///
  /// - Parameters:
  ///   - fetch: How to ask, and how long to wait for hosts that fail for now.
  ///   - follow: Told of each wait.
  /// - Throws: ``TarnError`` `.interrupted`; what nobody answers is the plan's to say.
  package func learnRows(
    _ fetch: SyncOptions, follow: @escaping @Sendable (SyncProgress) -> Void
  ) async throws {
    guard let source = try? catalog.source(named: options.images) else { return }
    let last = options.ordinals?.last ?? .max
    try await catalog.learnRows(
      of: source, where: { $0 <= last }, fetch.fetch, waits: WaitOptions(fetch, report: follow), cancellation)
  }

  /// The trained index and the source, checked before mirrors are asked or anything is planned.
  func subject() throws -> (record: TrainedIndexRecord, digest: ContentDigest, source: Source) {
    try LakeCatalog.validate(name: options.name, of: "version")
    // The version's document will hold it, and whoever reads that holds it against the same bound.
    try ForeignNumber.setting.check(options.shardsPerOutput, "a number of shards", in: "--shards-per-output")
    let record = try catalog.trainedIndex(named: options.trained)
    let digest = try record.finishedDigest()
    let source = try catalog.features(named: options.images, to: "be built into an index")
    try source.requireFeatures()
    guard source.dimension == record.dimension else {
      throw TarnError(
        .usage,
        "\(source.name) has dimension \(source.dimension), the trained index \(record.name) has \(record.dimension)",
        hint: "build from the source of the model it was trained on")
    }
    // Not asked again of a name that already has versions of this source.
    if options.checksRoles,
      try !catalog.versions().contains(where: { $0.name.name == options.name && $0.sourceID == source.id })
    {
      if record.captionSourceID != nil {
        try source.require(.image, as: "--images")
      } else {
        let trained = try catalog.source(id: record.imageSourceID).modality
        try source.require(trained, as: "--images with \(record.name)")
      }
    }
    return (record, digest, source)
  }

  /// Refuses a trained index whose file has the same bytes as another one's, if only one of the two normalises rows.
  ///
  /// Segments and outputs are found again by the digest of that file, so that each would take over the other's, which
  /// have other codes. The one of which a version was begun first may be built with; a version of the other that is
  /// planned already goes on.
  func requireOneNormalisation(
    _ record: TrainedIndexRecord, _ digest: ContentDigest, with there: IndexVersion?
  ) throws {
    guard there?.trainedIndexID != record.id else { return }
    var firsts: [Int64: Int64] = [:]
    for version in try catalog.versions() where version.state != .abandoned {
      firsts[version.trainedIndexID] = min(firsts[version.trainedIndexID] ?? .max, version.id)
    }
    let own = firsts.removeValue(forKey: record.id) ?? .max
    for (id, first) in firsts.sorted(by: { $0.key < $1.key }) where first < own || there?.trainedIndexID == id {
      let other = try catalog.trainedIndex(id: id)
      guard other.digest == digest,
        try other.specification().normalisation != record.specification().normalisation
      else { continue }
      throw TarnError(
        .conflict,
        "\(record.name) has the same bytes as \(other.name), of which versions were begun, and one of the two gives rows unit length",
        hint: "build with \(other.name), or make another one with another seed (`tarn train --seed`)")
    }
  }

  /// A planned version, and what it is made from.
  package struct Subject: Sendable {
    package let version: IndexVersion
    let record: TrainedIndexRecord
    /// Of the trained index's file.
    let digest: ContentDigest
    let source: Source
    /// Outputs of sealed versions, as they were when this one was planned.
    let reuse: OutputReuse
  }

  /// Plans the version, or finds the one that was planned or sealed before.
  ///
  /// - Returns: The version, and what it is made from.
  /// - Throws: ``TarnError``; then nothing has changed.
  package func planVersion() throws -> Subject {
    let (record, digest, source) = try subject()
    let reuse = try OutputReuse(catalog, source, for: options, trained: digest)
    let inputs = try inputs(of: source, trained: digest, reuse, isDry: false).inputs
    let plan = plan(record, digest, source, inputs)
    let there = try catalog.versionThere(plan)
    try requireOneNormalisation(record, digest, with: there)
    let isBegun = there != nil
    if !isBegun { try tellOfOthers(record, source, inputs) }
    let version = try catalog.planVersion(plan)
    if !isBegun { try tellOfUnfinished(below: version.name) }
    return Subject(version: version, record: record, digest: digest, source: source, reuse: reuse)
  }

  func warn(_ text: String) { logger.warning("\(text)") }

  /// Warns of unfinished versions of the name with lower numbers.
  ///
  /// They have another specification, so this build does not continue them, and their segments stay until they are
  /// abandoned.
  private func tellOfUnfinished(below version: VersionName) throws {
    let unfinished = try catalog.versions().filter {
      $0.name.name == version.name && $0.name.number < version.number
        && [VersionState.planned, .building].contains($0.state)
    }.map(\.name)
    guard let first = unfinished.first else { return }
    let isOne = unfinished.count == 1
    let who = isOne ? "\(first) is" : "\(first) and \(unfinished.count - 1) more are"
    let way = "`tarn abandon \(first)` gives \(isOne ? "it" : "the first") up"
    logger.warning("\(who) unfinished, begun with other options, shards or excluded rows than \(version); \(way)")
  }

  /// Finds the inputs of the version, and warns of shards at the end that are left out.
  ///
  /// - Parameters:
  ///   - source: Its source.
  ///   - trained: Digest of the trained index.
  ///   - reuse: Outputs of sealed versions.
  ///   - isDry: Whether nothing may be written.
  /// - Returns: Its inputs.
  /// - Throws: ``TarnError``.
  func inputs(
    of source: Source, trained: ContentDigest, _ reuse: OutputReuse, isDry: Bool
  ) throws -> VersionPlanner.Inputs {
    let found = try VersionPlanner(
      catalog: catalog, options: options, cancellation: cancellation, reuse: reuse, isDry: isDry,
      tell: { logger.warning("\($0)") }
    ).inputs(of: source, trained: trained)
    if !found.leftOut.isEmpty {
      logger.error(
        "\(found.leftOut.reversed().joined(separator: ", ")) at the end of \(source.name): nobody has it or knows its rows; left out"
      )
    }
    let counts = Dictionary(found.inputs.map { ($0.outputOrdinal, 1) }, uniquingKeysWith: +)
    try OpenFiles.require(
      counts.values.max() ?? 0,
      hint: options.checksRoles ? "lower --shards-per-output" : "build it where more files may be open")
    return found
  }

  /// Plans the version, takes over what sealed versions have of its outputs, and finds what it still needs.
  ///
  /// - Returns: The version and what it still needs.
  /// - Throws: ``TarnError``; then nothing has changed, but that where the disk has no room for what is left
  ///   (`.diskFull`), or an output of another version is damaged and the shards that it is made of are not here
  ///   (`.inputsMissing`), the plan and what was taken are kept.
  package func prepare() throws -> PlannedBuild {
    let planned = try planVersion()
    let (version, record, digest, source) = (planned.version, planned.record, planned.digest, planned.source)
    let shards = try catalog.shardsByID(of: source)
    let taken = try takeFromOthers(planned, among: shards)
    let wanted =
      version.state == .sealed ? [] : try shardsToEncode(of: version, trained: digest, among: shards)
    let wantedIDs = Set(wanted.map(\.id))
    let recorded = try catalog.inputs(of: version)
    // An output that the plan counted on may be damaged, and is made from shards then.
    let absent = options.fetches ? [] : wanted.filter { $0.path == nil }
    guard absent.isEmpty else { throw source.missing(absent.map(\.name), of: recorded.count) }
    let encoded = recorded.filter { $0.path != nil && $0.isNewest && !wantedIDs.contains($0.shardID) }
    let open = recorded.filter { wantedIDs.contains($0.shardID) }
    let inputIDs = Set(recorded.map(\.shardID))
    let released = try options.releases.flatMap { try catalog.shards(of: catalog.source(named: $0)) }.filter {
      $0.path != nil && !inputIDs.contains($0.id)
    }
    let byteCount =
      try version.state == .sealed ? 0 : missingByteCount(of: version, recorded, toEncode: open, record)
    try requireRoom(for: version.name, byteCount)
    let bound = open.compactMap { input in input.revision.map { (input.shardID, $0.digest) } }
    return PlannedBuild(
      version: version,
      stream: ShardStream(
        wanted, spent: encoded.compactMap { shards[$0.shardID] } + released,
        bound: Dictionary(bound, uniquingKeysWith: { first, _ in first })),
      inputsToEncode: Dictionary(uniqueKeysWithValues: open.map { ($0.shardID, $0) }),
      promised: PromisedRoom(byteCount), taken: taken, record: record, trainedDigest: digest, source: source)
  }

  /// Refuses a build whose segments and outputs do not fit.
  func requireRoom(for version: VersionName, _ byteCount: Int) throws {
    try catalog.requireRoom(
      for: "what is left of \(version)", [RoomNeed(at: catalog.layout.artifacts, byteCount: byteCount)])
  }

  /// Bytes of the segments and outputs that a version lacks.
  private func missingByteCount(
    of version: IndexVersion, _ inputs: [VersionInput], toEncode: [VersionInput], _ record: TrainedIndexRecord
  ) throws -> Int {
    let sizes = OutputSizes(record)
    let done = Set(try catalog.outputs(of: version).map(\.ordinal))
    let outputs = Dictionary(grouping: inputs.filter { !done.contains($0.outputOrdinal) }, by: \.outputOrdinal)
    func output(_ inputs: [VersionInput]) -> Int {
      sizes.output(rowCount: inputs.lazy.map { $0.isHole ? 0 : $0.rowCount }.saturatedSum)
    }
    // An output without some rows is written from one that has them all, one at a time.
    let whole = outputs.values.filter { inputs in inputs.contains { !$0.excludedRows.isEmpty } }.map(output).max() ?? 0
    return toEncode.lazy.map { sizes.segment(rowCount: $0.rowCount) }.saturatedSum
      .addingSaturated(
        outputs.values.lazy.map { output($0).addingSaturated(sizes.refine(idCount: $0.idCount)) }.saturatedSum
      ).addingSaturated(whole)
  }

  /// Shards of unfinished outputs that have no segment yet.
  private func shardsToEncode(
    of version: IndexVersion, trained: ContentDigest, among shards: [Int64: Shard]
  ) throws -> [Shard] {
    let done = Set(try catalog.outputs(of: version).map(\.ordinal))
    let segments = try catalog.segments(
      of: catalog.source(id: version.sourceID), trained: trained, badRows: options.badRows,
      formatVersion: segmentFormatVersion)
    return try catalog.inputs(of: version).compactMap { input in
      guard !input.isHole, !done.contains(input.outputOrdinal), let shard = shards[input.shardID] else { return nil }
      if let revision = input.revision ?? shard.revision, let known = segments[revision.digest],
        try store.size(of: .segment, known.segment.digest) == known.byteCount
      {
        // Another version encoded these bytes since the plan was made.
        try catalog.bind(input, of: version, to: revision)
        return nil
      }
      return shard
    }
  }

  /// Builds what is not recorded yet, and seals the version.
  ///
  /// - Parameters:
  ///   - planned: What ``prepare()`` gave.
  ///   - onRelease: Told that a shard's bytes are not needed any more.
  /// - Returns: Where the time went.
  /// - Throws: ``TarnError``, what the handoff was failed
  ///   with; what is done is kept.
  @discardableResult
  package func run(_ planned: PlannedBuild, onRelease: @Sendable () -> Void = {}) throws -> OutputTimes {
    let version = planned.version
    guard !planned.isSealed else {
      try VersionFiles(catalog: catalog).restoreNames(of: version)
      return OutputTimes()
    }
    let inputs = try catalog.inputs(of: version)
    var outputs = OutputsToMerge(
      inputs: inputs, done: Set(try catalog.outputs(of: version).map(\.ordinal)), toEncode: planned.inputsToEncode)
    let terms = try catalog.terms(of: version)
    let executor = OutputExecutor(
      terms, shards: LakeShards(catalog, planned.source, inputs: inputs),
      segments: LakeSegments(catalog, terms),
      rowCount: outputs.rowCount - outputs.rowsDone, cancellation: cancellation, logger: logger)
    for output in outputs.takeComplete() { try merge(output, of: outputs.count, planned, executor) }
    while let item = try planned.stream.handoff.next() {
      try cancellation.check()
      let input: VersionInput
      switch item {
      case .lost(let id, let error):
        input = planned.input(id)
        // A full disk, or a host that may come back, makes no hole.
        guard options.holes == nil, options.missing == .skip, input.revision == nil, input.excludedRows.isEmpty,
          (error as? TarnError)?.leavesNothingToAsk == true
        else { throw error }
        try catalog.leaveOut(input, of: version)
      case .ready(let id):
        input = planned.input(id)
        let (rowsDone, rows) = (outputs.rowsDone, outputs.rowCount)
        try executor.encode(bound(input, of: version, planned.source)) { progress in
          guard case .encoding(let input, let done) = progress else { return }
          report(.encoding(shard: input.name, rowsDone: rowsDone + done, rows: rows))
        }
        planned.promised.written(OutputSizes(planned.record).segment(rowCount: input.rowCount))
        planned.stream.handoff.release(id)
        onRelease()
      }
      outputs.finish(input)
      for output in outputs.takeComplete() { try merge(output, of: outputs.count, planned, executor) }
    }
    try catalog.seal(version, verified: outputs.merged.union(planned.taken), cancellation)
    var times = executor.times
    times.waiting = planned.stream.handoff.waitedTime
    return times
  }

  /// Pins an input to the bytes that its shard has now.
  private func bound(_ input: VersionInput, of version: IndexVersion, _ source: Source) throws -> OutputTask.Input {
    let shard = try catalog.shard(id: input.shardID)
    guard shard.path != nil, let revision = shard.revision else { throw source.missing([shard.name], of: 1) }
    try catalog.bind(input, of: version, to: revision)
    return OutputTask.Input(
      ordinal: input.ordinal, name: input.shardName, digest: revision.digest, firstID: input.firstID,
      rowCount: input.rowCount, excluded: input.excludedRows)
  }

  func plan(
    _ record: TrainedIndexRecord, _ digest: ContentDigest, _ source: Source, _ inputs: [VersionPlan.Input]
  ) -> VersionPlan {
    let spec = VersionPlan.spec(
      trained: digest, source: source.name, array: source.array, shards: inputs.map(\.shardOrdinal),
      shardsPerOutput: options.shardsPerOutput, missing: options.missing.rawValue, badRows: options.badRows.rawValue,
      excluded: ExcludedRows.digest(inputs.map { ($0.excludedOf, $0.excluded) }))
    return VersionPlan(
      name: options.name, trained: record, source: source, shardsPerOutput: options.shardsPerOutput,
      missingPolicy: options.missing, badRowsPolicy: options.badRows, spec: spec,
      environment: options.environment, inputs: inputs)
  }

  /// Merges an output whose segments are all there, and records it.
  private func merge(_ ordinal: Int, of count: Int, _ planned: PlannedBuild, _ executor: OutputExecutor) throws {
    let version = planned.version
    // Read again: inputs that were fetched meanwhile are pinned now, and lost ones are holes.
    let task = OutputTask(ordinal, of: try catalog.inputs(ofOutput: ordinal, of: version))
    guard let first = task.inputs.first, let last = task.inputs.last else {
      preconditionFailure("an output of a plan has inputs")
    }
    let working = try store.workingPath("output-\(version.id)-\(ordinal).faiss")
    let summary = try executor.merge(task, to: working) { _ in report(.merging(output: ordinal, of: count)) }
    let refining = try store.workingPath("output-\(version.id)-\(ordinal).refine")
    let refine = try executor.refine(task, to: refining).map(RefineShard.init)
    try store.put(output: working, summary.digest, refinedBy: refine.map { (refining, $0) }) {
      try catalog.recordOutput(
        OutputShard(
          ordinal: ordinal, digest: summary.digest, firstInput: first.ordinal, lastInput: last.ordinal,
          firstID: first.firstID, endID: last.firstID + Int64(last.rowCount), rowCount: summary.rowCount,
          byteCount: summary.byteCount, listsDigest: summary.listDigests.root, refine: refine), of: version)
    }
    let byteCount = summary.byteCount.addingSaturated(refine?.byteCount ?? 0)
    planned.promised.written(byteCount)
    report(.finished(output: ordinal, of: count, byteCount: byteCount))
  }
}

extension PlannedBuild {
  /// The input that belongs to a shard of the handoff.
  fileprivate func input(_ shardID: Int64) -> VersionInput {
    guard let input = inputsToEncode[shardID] else {
      preconditionFailure("the handoff has a shard that the version has not")
    }
    return input
  }
}
