// `tarn reproduce --from FILE`: a version made from its document alone, in a
// lake that has nothing, and compared with what the document says it came to.

internal import ArgumentParser
internal import Base
internal import Catalog
internal import Fetch
internal import Foundation
internal import Indexer
internal import Synchronization

/// Registers, fetches, trains, builds and compares.
///
/// Every step is the one of its own verb and resumes as it does.
struct ExportReplay {
  let document: VersionExport
  let catalog: LakeCatalog
  let global: GlobalOptions

  /// What came of it.
  struct Result {
    let version: IndexVersion
    let outcome: ReproductionOutcome
    let outputCount: Int
    let byteCount: Int
    /// The first output that differs.
    let output: Int?
  }

  /// Makes the version.
  ///
  /// - Returns: How it compares; also kept in the catalog.
  /// - Throws: ``TarnError`` of a shard
  ///   that cannot be had; ``Outcome`` `.differs` for another trained index.
  func run() async throws -> Result {
    let startedAt = Timestamp.now()
    guard document.sources.contains(where: { $0.name == document.source }) else {
      throw TarnError(.usage, "the document has no source \(document.source.printable)")
    }
    for source in document.sources { _ = try catalog.adopt(source) }
    try await fetch()
    let trained = try await train()
    let version = try await build(trained)
    return try compare(version, startedAt)
  }

  /// Brings the pinned bytes of every source.
  private func fetch() async throws {
    var wanted: [Shard] = []
    for exported in document.sources {
      let shards = try catalog.shards(of: catalog.source(named: exported.name))
      for (shard, pinned) in zip(shards, exported.shards) where pinned.sha256 != nil && shard.path == nil {
        wanted.append(shard)
      }
    }
    guard !wanted.isEmpty else { return }
    var options = SyncOptions()
    options.selection = wanted
    options.fetch = .ofTool
    let progress = global.progress("sync")
    let failure = Mutex<TarnError?>(nil)
    let sync = SyncRun(catalog, options) { event in
      switch event {
      case .moved(let done, let total, let bytes, let totalBytes):
        progress.update(done: Double(bytes), total: totalBytes.map(Double.init)) {
          "\(done)/\(total) shards, \(ByteSize.text(bytes))"
        }
      case .fetched: break
      case .started, .transferring, .mended: break
      case .retrying(let shard, let error): progress.note("\(shard.name): \(error); trying again")
      case .failed(_, let error): failure.withLock { if $0 == nil { $0 = error } }
      }
    }
    let interrupts = Interrupts { sync.cancel() }
    defer { interrupts.stop() }
    _ = try await sync.run()
    progress.clear()
    if let error = failure.withLock({ $0 }) { throw error }
  }

  private func train() async throws -> TrainedIndexRecord {
    let wanted = document.trained
    guard let method = TrainingMethod(rawValue: wanted.method), let codec = VectorCodec(rawValue: wanted.codec) else {
      throw TarnError(.schemaNewer, "the document's method or codec is not known", hint: "use a newer tarn")
    }
    let specification = try TrainingSpecification(parsing: wanted.spec)
    let options = TrainingOptions(
      name: wanted.name, images: wanted.images, captions: wanted.captions, nlist: wanted.nlist, pairs: wanted.pairs,
      method: method, iterations: wanted.iterations, codec: codec, ranges: specification.ranges, seed: wanted.seed,
      normalisation: specification.normalisation, router: specification.router)
    let progress = global.progress("train \(wanted.name)")
    let (catalog, logger) = (catalog, global.logger("tarn.train"))
    let work = ThreadedWork("tarn-train") {
      try TrainingRun(catalog, options, logger: logger) { event in
        guard case .iterated(let iteration, let total) = event else { return }
        progress.note("iteration \(iteration.iteration)/\(total)")
      }.run().trained
    }
    let trained = try await work.value()
    guard trained.digest == wanted.sha256 else {
      let isSameSpec = trained.spec == wanted.spec
      throw Outcome(
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
    let options = BuildOptions(
      name: try VersionName(parsing: document.version).name, trained: trained.name, images: document.source,
      ordinals: try OrdinalSet(parsing: document.inputs.map { String($0.ordinal) }.joined(separator: ",")),
      shardsPerOutput: document.shardsPerOutput, missing: missing, badRows: badRows, environment: Tool.environment)
    let progress = global.progress("build")
    let isCancelled = Atomic<Bool>(false)
    let run = BuildRun(
      catalog, options, logger: global.logger("tarn.build"), isCancelled: { isCancelled.load(ordering: .relaxed) },
      report: progress.show)
    let planned = try run.prepare()
    let interrupts = Interrupts { isCancelled.store(true, ordering: .relaxed) }
    defer { interrupts.stop() }
    _ = try await ThreadedWork("tarn-build") { try run.run(planned) }.value()
    progress.clear()
    return try catalog.version(planned.version.name)
  }

  private func compare(_ version: IndexVersion, _ startedAt: String) throws -> Result {
    let outputs = try catalog.outputs(of: version)
    let isAligned = outputs.count == document.outputs.count
    let different = zip(outputs, document.outputs).first { $0.digest != $1.sha256 }
    let outcome: ReproductionOutcome
    if isAligned, different == nil {
      outcome = .identical
    } else {
      let isSame = isAligned && zip(outputs, document.outputs).allSatisfy { $0.listsDigest == $1.listsSha256 }
      outcome = isSame ? .sameLists : .differs
    }
    let detail: [String: JSONValue] = [
      "from": .string(document.version), "from_sha256": .string(document.versionSha256.hex),
      "outputs": .count(outputs.count), "output": different.map { .count($0.0.ordinal) } ?? .null,
    ]
    try catalog.recordReproduction(
      of: version, startedAt: startedAt, outcome: outcome, detail: JSONValue.object(detail).text,
      environment: Tool.environment)
    return Result(
      version: version, outcome: outcome, outputCount: outputs.count,
      byteCount: outputs.reduce(0) { $0 + $1.byteCount }, output: different?.0.ordinal)
  }
}
