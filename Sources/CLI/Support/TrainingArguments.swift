// What a trained index is made from: the arguments of the verbs that train one.

internal import ArgumentParser
internal import Base
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

/// The arguments of a training.
struct TrainingArguments: ParsableArguments {
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

  func validate() throws {
    guard captions == nil || method == .paired || router != .none else {
      throw ValidationError("--captions goes with --method paired-kmeans or with a --router.")
    }
    let ofRouters = [routerEpochs, refinements, routerCaptions, routerCandidates]
    guard router != .none || ofRouters.allSatisfy({ $0 == nil }) else {
      throw ValidationError(
        "--router-epochs, --refinements, --router-captions and --router-candidates go with a --router.")
    }
  }

  /// What a training works with, for its leases.
  var names: [Lease.Kind: [String]] {
    [.training: [name], .source: [images] + (captions.map { [$0] } ?? [])]
  }

  /// The options of a training.
  ///
  /// - Throws: ``TarnError`` `.usage` for ranges that are none.
  func options() throws -> TrainingOptions {
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
    return options
  }
}
