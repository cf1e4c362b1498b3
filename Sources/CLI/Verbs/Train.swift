internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

extension TrainingMethod: ExpressibleByArgument {}
extension VectorCodec: ExpressibleByArgument {
  /// The ranges that codecs have where nobody chose.
  fileprivate static var rangesText: String {
    allCases.filter(\.hasRanges).map { "\($0.defaultRanges.text) for \($0.rawValue)" }.joined(separator: ", ")
  }
}
extension RouterMethod: ExpressibleByArgument {}
extension RangeStatistic: ExpressibleByArgument {
  public init?(argument: String) { self.init(parsing: argument) }
}

/// `tarn train`: make a trained index.
struct Train: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train coarse centroids and codec ranges from image/caption pairs.",
    discussion: """
      Row i of both sources is one image and its caption. The result depends on the shards' bytes and the options
      below alone: not on the machine, the threads or interruptions.

      EXAMPLES
        tarn train clip --images images --captions captions --nlist 131072 --pairs 20000000 --seed 1
        tarn train clip-routed --images images --captions captions --nlist 131072 --router learned
        tarn train control --images images --nlist 131072 --method kmeans
        tarn train part --images images --captions captions --nlist 4096 --shards 0-39,57 --missing skip --bad-rows skip
        tarn train clip --images images --captions captions --nlist 131072 --budget 100GB

      Every shard of the sources is wanted: --shards trains on some, --missing skip leaves out the pairs of which a shard
      cannot be had, --bad-rows skip those drawn rows that are bad on either side. The specification says which were
      taken. With --fetch what is not in the lake is fetched meanwhile; within --budget a shard goes once its drawn rows
      are kept.

      A router ranks the lists for a query apart from the centroids that file the rows. It is the coarse quantizer of the
      files, so stock FAISS routes with it. docs/RECALL.md has what it is worth.

      Interrupt it at any time: the same command continues.

      \(ExitStatus.help)
      """)

  @Argument(help: "The trained index's name.")
  var name: String

  @Option(help: ArgumentHelp("Source of image features.", valueName: "source"))
  var images: String

  @Option(help: ArgumentHelp("Source of caption features, row by row the images'.", valueName: "source"))
  var captions: String?

  @Option(help: ArgumentHelp("Number of inverted lists.", valueName: "k"))
  var nlist: Int

  @Option(help: ArgumentHelp("Training pairs, drawn over all shards (default: 256 a list).", valueName: "n"))
  var pairs: Int?

  @Option(help: ArgumentHelp("paired-kmeans or, looking at images only, kmeans.", valueName: "method"))
  var method: TrainingMethod = .paired

  @Option(help: ArgumentHelp("Iterations of k-means.", valueName: "n"))
  var iterations: Int = 10

  @Option(help: ArgumentHelp("How vectors are stored.", valueName: "codec"))
  var codec: VectorCodec = .sq4

  @Option(
    help: ArgumentHelp(
      "A codec's range in a dimension: minmax, or quantiles:0.005 to leave out that share at each end (default: \(VectorCodec.rangesText)).",
      valueName: "ranges"))
  var ranges: RangeStatistic?

  @Option(help: ArgumentHelp("Chooses the pairs and the first centroids.", valueName: "s"))
  var seed: Int = 1

  @Option(help: ArgumentHelp("What ranks lists: none (the centroids), caption-mean or learned.", valueName: "router"))
  var router: RouterMethod = .none

  @Option(
    help: ArgumentHelp(
      "Passes over the captions that train a learned router (default: \(RouterOptions().epochs)).", valueName: "n"))
  var routerEpochs: Int?

  @Option(
    help: ArgumentHelp(
      "Steps of image k-means after paired k-means, with a router (default: \(RouterOptions().refinements)).",
      valueName: "n"))
  var refinements: Int?

  @Option(
    help: ArgumentHelp(
      "Captions at most that train a router (default: \(RouterOptions().captionLimit)).", valueName: "n"))
  var routerCaptions: Int?

  @Option(
    help: ArgumentHelp(
      "Lists drawn for each batch of a learned router, besides those of its captions (default: all up to 4096, then 4096).",
      valueName: "n"))
  var routerCandidates: Int?

  @Flag(help: "Divide rows by their length; without it rows that are not of unit length are an error.")
  var normalise = false

  @Option(help: ArgumentHelp("Which shards of both sources, e.g. 0-39,57; all by default.", valueName: "ranges"))
  var shards: String?

  @Option(
    help: ArgumentHelp(
      "Pairs of which a shard is missing: fail, or skip and leave both out. What may come back later is no reason to skip.",
      valueName: "policy"))
  var missing: MissingPolicy = .fail

  @Option(
    name: .customLong("bad-rows"),
    help: ArgumentHelp("Drawn pairs with a row that is NaN, infinite or zero: fail, or skip.", valueName: "policy"))
  var badRows: BadRowsPolicy = .fail

  @OptionGroup var stream: StreamOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func validate() throws {
    try stream.validate(fetchesAnyway: false)
    guard captions == nil || method == .paired || router != .none else {
      throw ValidationError("--captions goes with --method paired-kmeans or with a --router.")
    }
    let ofRouters = [routerEpochs, refinements, routerCaptions, routerCandidates]
    guard router != .none || ofRouters.allSatisfy({ $0 == nil }) else {
      throw ValidationError(
        "--router-epochs, --refinements, --router-captions and --router-candidates go with a --router.")
    }
  }

  func run() async throws {
    let catalog = try writer.open(
      global, stream.isFetching ? "train --fetch" : "train", name,
      on: [.training: [name], .source: [images] + (captions.map { [$0] } ?? [])], keeping: room)
    let byDefault = RouterOptions()
    var options = TrainingOptions(
      name: name, images: images, captions: captions, nlist: nlist, pairs: pairs, method: method,
      iterations: iterations, codec: codec, ranges: ranges, seed: Int64(seed),
      normalisation: normalise ? .normalise : .refuse,
      router: RouterOptions(
        method: router, epochs: routerEpochs ?? byDefault.epochs,
        captionLimit: routerCaptions ?? byDefault.captionLimit, refinements: refinements ?? byDefault.refinements,
        candidates: routerCandidates))
    options.ordinals = try shards.map(OrdinalSet.init(parsing:))
    options.missing = missing
    options.badRows = badRows
    let progress = global.progress("train \(name)")
    let run = TrainingRun(
      catalog, options, logger: global.logger("tarn.train"), cancellation: global.cancellation, report: progress.show)
    let revisions = FetchedRevisions()
    let (trained, isNew) = try await run.run(
      fetching: stream.options(catalog), follow: revisions.following(progress))
    progress.clear()
    let taken = try TrainingSpecification(parsing: trained.spec)
    let leftOut = taken.leftOut.values.reduce(0) { $0 + $1.count }
    if global.json {
      Output.json([
        "trained_index": .string(trained.name), "sha256": .optional(trained.digest?.hex), "new": .bool(isNew),
        "shards": .array(taken.shards.map { .count($0) }), "pairs_left_out": .count(leftOut),
        "revised": revisions.json,
        "path": .optional(try trained.digest.map { try ArtifactStore(catalog).path(of: .trainedIndex, $0) }),
      ])
    } else {
      Output.line(
        "\(trained.name) \(isNew ? "is trained" : "was trained before"): \(trained.method)\(trained.router.map { ", router \($0)" } ?? ""), nlist \(trained.nlist), "
          + "\(trained.codec), \(trained.pairCount.counted("pair"))\(leftOut == 0 ? "" : " less \(leftOut) that are bad"), sha256 \(trained.digest?.prefix(16) ?? "")…"
      )
      // What was asked for is no news; what --missing skip left out is.
      let asked = try catalog.shards(of: catalog.source(named: images), ordinals: options.ordinals).map(\.ordinal)
      let missing = Set(asked).subtracting(taken.shards).sorted()
      if !missing.isEmpty {
        let (count, ranges) = (asked.count.counted("pair"), OrdinalSet(ascending: missing).text)
        Output.line("left out as missing: shards \(ranges), \(missing.count) of \(count)")
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
    case .nearestImages(let tile, let total):
      update(done: Double(tile), total: Double(total)) { "nearest images, tile \(tile)/\(total)" }
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
