internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn train`: make a trained index.
struct Train: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train coarse centroids and codec ranges from image/caption pairs.",
    discussion: """
      Row i of both sources is one image and its caption. The result depends on the shards' bytes and the options
      below alone: not on the machine, the threads or interruptions.

      EXAMPLES
        tarn train clip --images images --captions captions --nlist 131072 --pairs 20000000 --seed 1
        tarn train clip-routed --images images --captions captions --nlist 131072 --router learned
        tarn train control --images images --nlist 131072 --method kmeans
        tarn train large --images images --captions captions --nlist 131072 --pairs 20000000 --nearest index
        tarn train large --images images --captions captions --nlist 131072 --pairs 20000000 --nearest index --dry-run
        tarn train part --images images --captions captions --nlist 4096 --shards 0-39,57 --missing skip --bad-rows skip
        tarn train clip --images images --captions captions --nlist 131072 --budget 100GB
        tarn train clip --images images --captions captions --nlist 131072 --queries held.npy

      Every shard of the sources is wanted: --shards trains on some, --missing skip leaves out the pairs of which a shard
      cannot be had, --bad-rows skip those drawn rows that are bad on either side, and rows that are excluded are left
      out always, without others in their place. The specification says which were taken. With --fetch what is not in the lake is fetched meanwhile; within --budget a shard goes once its drawn rows
      are kept.

      With --refine sq8 (or fp16) versions have a second code of each row in a file beside each output, of which a search
      reads those of the best rows alone. Its ranges are learnt from the same rows, and are part of the trained index.

      The nearest image of each caption is a search of captions times images. --nearest index[:nprobe] looks for it in the
      nprobe best lists of a temporary index of the training images instead; the specification says so, and how often
      that is the exact one of a sample of captions is in the history (v_event) and in `tarn show`. Labels of a router likewise.

      A router ranks the lists for a query apart from the centroids that file the rows. It is the coarse quantizer of the
      files, so stock FAISS routes with it. docs/RECALL.md has what it is worth.

      --queries names vectors of queries like those that will be asked, and not of these captions, 30 or more. Once rows are
      gathered, lists of captions and lists of images, --nlist or 256 at most, are made of some 16,000 of the pairs; both are
      searched for the ten nearest images, and a warning says where the other kind finds more: captions of another kind
      than the queries place lists badly. With a --router the numbers are told, of lists without it, and no warning. The training goes on all the same, and what is trained is as without it.

      With --executor the exact searches (nearest images, the assignment of each iteration, the labels of a router) are made
      by `tarn worker` processes, round by round; rows are gathered, and lists of --nearest index searched, here. The result
      has the same bytes.

      --dry-run makes the checks of the training, measures this machine for a few seconds and says what each step would take; it
      scales by formulas of DESIGN 4.1b, and nothing is written.

      Interrupt it at any time: the same command continues. With other sources or options of what is trained it is
      refused once iterations are done: `tarn abandon NAME` gives them up. With other --shards, other bytes of them or more
      excluded rows it begins anew, and says so.

      \(ExitStatus.help)
      """)

  @OptionGroup var what: TrainingArguments

  @Option(
    help: ArgumentHelp(
      "Try lists of captions and of images first, with queries like those that will be asked: a feature file.",
      valueName: "file"), completion: .file())
  var queries: String?

  @Option(
    help: ArgumentHelp("Which array of --queries, where it holds several.", valueName: "array"))
  var queriesArray: String?

  @OptionGroup var cost: CostOption

  @OptionGroup(title: StreamOptions.title) var stream: StreamOptions
  @OptionGroup(title: EngineOptions.title) var engine: EngineOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    try stream.validate(fetchesAnyway: false)
    try engine.validate(beside: [:])
    guard queries != nil || queriesArray == nil else { throw ValidationError("--queries-array goes with --queries.") }
  }

  private func wanted() throws -> TrainingOptions {
    var options = try what.options()
    options.queries = queries.map { TrialQueries($0, array: queriesArray) }
    return options
  }

  func run() async throws {
    let options = try wanted()
    guard !cost.dryRun else {
      guard engine.executor != nil else {
        return try await global.tellCost(of: options, fetching: stream, keeping: room)
      }
      return try await global.tellCost(of: options, fetching: stream, keeping: room) {
        try Self.tasks(of: options, in: $0, engine, global)
      }
    }
    let catalog = try writer.open(
      global, stream.isFetching ? "train --fetch" : "train", options.name, on: what.names, keeping: room)
    let progress = global.progress("train \(options.name)")
    var run = TrainingRun(
      catalog, options, logger: global.logger("tarn.train"), cancellation: global.cancellation, report: progress.show)
    let (fetch, revisions) = (stream.options(catalog), FetchedRevisions())
    let (trained, isNew): (TrainedIndexRecord, Bool)
    if let executor = engine.executor {
      let (directory, scripts) = try await ThreadedWork("tarn-tasks") { [engine, global] in
        let directory = try Self.tasks(of: options, in: catalog, engine, global)
        return (directory, try engine.scripts(in: directory, workerOptions: []))
      }.value()
      run.rounds = try TrainingRounds(directory, of: catalog, scripts)
      let workers = engine.engine(executor, directory, scripts, of: options.name)
      (trained, isNew) = try await TrainingFollowing(
        run, directory, on: workers, cancellation: global.cancellation, report: { progress.show($0) }
      ).run(fetching: fetch, follow: revisions.following(progress))
    } else {
      (trained, isNew) = try await run.run(fetching: fetch, follow: revisions.following(progress))
    }
    progress.clear()
    try global.conclude(trained, isNew: isNew, of: options, revisions, catalog)
  }

  /// Where its searches go as tasks.
  private static func tasks(
    of options: TrainingOptions, in catalog: LakeCatalog, _ engine: EngineOptions, _ global: GlobalOptions
  ) throws -> TaskDirectory {
    try engine.directory(of: "train-\(options.name)", in: catalog, global.storeAccess(patience: .ofSync))
  }
}

extension GlobalOptions {
  /// Says what a training came to.
  ///
  /// - Parameters:
  ///   - trained: The trained index, ready.
  ///   - isNew: Whether this run made it.
  ///   - options: What was asked for; nil where that was said to an earlier run.
  ///   - revisions: What its fetcher met.
  ///   - catalog: The lake.
  /// - Throws: ``TarnError``.
  func conclude(
    _ trained: TrainedIndexRecord, isNew: Bool, of options: TrainingOptions?, _ revisions: FetchedRevisions,
    _ catalog: LakeCatalog
  ) throws {
    let taken = try TrainingSpecification(parsing: trained.spec)
    let isPaired = trained.method == TrainingMethod.paired.rawValue
    let leftOut = taken.leftOut.values.reduce(0) { $0 + $1.count }
    let first = try trained.digest.flatMap { try catalog.trainedIndex(digest: $0)?.name }
    let original = first == trained.name ? nil : first
    let story =
      isNew ? "is trained" : original.map { "is \($0), which was trained of the same before" } ?? "was trained before"
    if json {
      Output.json([
        "trained_index": .string(trained.name), "sha256": .optional(trained.digest?.hex), "new": .bool(isNew),
        "same_as": .optional(original),
        "shards": .counts(taken.shards), "pairs_left_out": .count(leftOut),
        "revised": revisions.json,
        "path": .optional(try trained.digest.map { try ArtifactStore(catalog).path(of: .trainedIndex, $0) }),
      ])
    } else {
      Output.line(
        "\(trained.name) \(story): \(trained.method)\(trained.router.map { ", router \($0)" } ?? ""), nlist \(trained.nlist), "
          + "\(trained.codec)\(trained.refine.map { ", refined by \($0)" } ?? ""), \(trained.pairCount.counted(isPaired ? "pair" : "row"))\(leftOut == 0 ? "" : " less \(leftOut) that are bad or excluded"), sha256 \(trained.digest?.prefix(16) ?? "")…"
      )
      // What was asked for is no news; what --missing skip left out is.
      if let options {
        let asked = try catalog.shards(of: catalog.source(named: options.images), ordinals: options.ordinals)
        let missing = Set(asked.map(\.ordinal)).subtracting(taken.shards).sorted()
        if !missing.isEmpty {
          let count = asked.count.counted(isPaired ? "pair of shards" : "shard", isPaired ? "pairs of shards" : nil)
          Output.line("left out as missing: \(missing.count) of \(count) (\(OrdinalSet(ascending: missing).text))")
        }
      }
    }
    Output.flush()
  }
}

extension ProgressLine {
  /// Shows a training's progress.
  func show(_ event: TrainingProgress) {
    switch event {
    case .gathering(let done, let total):
      update(done: Double(done), total: Double(total)) { "gathered \(done)/\(total) shards" }
    case .tried(let trial, let given):
      let some = trial.queryCount < given ? "\(trial.queryCount) of " : ""
      note(
        "\(some)\(given.counted("query", "queries")), lists of \(trial.pairCount.counted("pair")) (nlist \(trial.nlist)): "
          + "in \(Int(100 * ListTrial.share)) % of the rows lists of captions find \(String(format: "%.3f", trial.paired)) of the "
          + "\(ListTrial.k) nearest, lists of images \(String(format: "%.3f", trial.plain)) (standard error of the "
          + "difference \(String(format: "%.3f", trial.error))), without a router"
      )
    case .nearestImages(let tile, let total):
      update(done: Double(tile), total: Double(total)) { "nearest images, tile \(tile)/\(total)" }
    case .listed(let done, let total):
      update(done: Double(done), total: Double(total)) { "images in lists, \(done)/\(total)" }
    case .foundInLists(let done, let total):
      update(done: Double(done), total: Double(total)) { "nearest images by lists, \(done)/\(total)" }
    case .iterated(let iteration, let total):
      note(
        "iteration \(iteration.iteration)/\(total): objective \(String(format: "%.6f", iteration.objective)), "
          + "\(String(format: "%.2f", 100 * iteration.movedShare)) % moved, "
          + "imbalance \(String(format: "%.3f", iteration.imbalance)), \(iteration.emptyCount) empty")
    case .labelled(let done, let total):
      update(done: Double(done), total: Double(total)) { "labels of the router, \(done)/\(total) queries" }
    case .routed(let epoch, let total, let loss):
      note("router epoch \(epoch)/\(total): cross-entropy \(String(format: "%.4f", loss))")
    }
  }
}
