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

/// A codec that may stand in `--refine`: help and completions name no other.
struct RefiningCodec: ExpressibleByArgument {
  let codec: VectorCodec

  init?(argument: String) {
    guard let codec = VectorCodec(rawValue: argument), codec.canRefine else { return nil }
    self.codec = codec
  }

  static var allValueStrings: [String] { VectorCodec.refining.map(\.rawValue) }
}
extension RouterMethod: ExpressibleByArgument {}
extension NearestMethod {
  fileprivate init(argument: String) throws {
    guard let method = Self(parsing: argument) else {
      throw ValidationError(
        "exact, index or index:NPROBE, of \(Self.probes.lowerBound) to \(Self.probes.upperBound) lists")
    }
    self = method
  }
}
extension ConvergenceBound {
  fileprivate init(argument: String) throws {
    guard let bound = Self(parsing: argument) else {
      throw ValidationError("a share below 100% with its sign and at most four decimals, e.g. 0.1%")
    }
    self = bound
  }
}
extension RangeStatistic: ExpressibleByArgument {
  public init?(argument: String) { self.init(parsing: argument) }
}

/// The arguments of a training.
struct TrainingArguments: ParsableArguments {
  @Argument(help: "The trained index's name.", completion: .trainedIndexes)
  var name: String

  @Option(
    help: ArgumentHelp(
      "Source of image features; with --method kmeans and without --captions, of any kind.", valueName: "source"),
    completion: .sources)
  var images: String

  @Option(
    help: ArgumentHelp("Source of caption features, row by row the images'.", valueName: "source"), completion: .sources
  )
  var captions: String?

  @Option(help: ArgumentHelp("Number of inverted lists.", valueName: "k"))
  var nlist: Int

  @Option(help: ArgumentHelp("Training pairs, drawn over all shards (default: 256 a list).", valueName: "n"))
  var pairs: Int?

  @Option(help: ArgumentHelp("paired-kmeans or, looking at --images only, kmeans.", valueName: "method"))
  var method: TrainingMethod = .paired

  @Option(help: ArgumentHelp("Iterations of k-means, at most.", valueName: "n"))
  var iterations: Int = 10

  @Option(
    help: ArgumentHelp(
      "End k-means with the first iteration that moves no more of the captions to another cell, e.g. 0.1%; paired k-means need not come to that.",
      valueName: "share"), transform: ConvergenceBound.init(argument:))
  var untilMoved: ConvergenceBound?

  @Option(
    help: ArgumentHelp(
      "How the nearest image of each caption is found: exact, or index[:nprobe], in that many lists of a temporary index of the training images (default: exact; nprobe \(NearestMethod.defaultProbes)).",
      valueName: "search"), transform: NearestMethod.init(argument:))
  var nearest: NearestMethod?

  @Option(help: ArgumentHelp("How vectors are stored.", valueName: "codec"))
  var codec: VectorCodec = .sq4

  @Option(
    help: ArgumentHelp(
      "A codec's range in a dimension: minmax, or quantiles:0.005 to leave out that share at each end, rounded down to rows (default: \(VectorCodec.rangesText)).",
      valueName: "ranges"))
  var ranges: RangeStatistic?

  @Option(
    help: ArgumentHelp(
      "Keep a better code of every row beside the lists, sq8 or fp16, by which search orders the best it finds again.",
      valueName: "codec"))
  var refine: RefiningCodec?

  @Option(help: ArgumentHelp("Chooses the pairs and the first centroids.", valueName: "s"))
  var seed: Int = 1

  @Option(
    help: ArgumentHelp(
      "What ranks lists: none (the centroids), caption-mean, learned or anchored; the last is best with --method kmeans.",
      valueName: "router"))
  var router: RouterMethod = .none

  @Option(
    help: ArgumentHelp(
      "Passes over the captions that train a learned or anchored router (default: \(RouterOptions().epochs)).",
      valueName: "n"))
  var routerEpochs: Int?

  @Option(
    help: ArgumentHelp(
      "Steps of image k-means after paired k-means, with a router (default: \(RouterMethod.learned.refinements), or \(RouterMethod.anchored.refinements) with an anchored one).",
      valueName: "n"))
  var refinements: Int?

  @Option(
    help: ArgumentHelp(
      "Captions at most that train a router (default: \(RouterOptions().captionLimit)).", valueName: "n"))
  var routerCaptions: Int?

  @Option(
    help: ArgumentHelp(
      "Lists drawn for each batch of a learned or anchored router, besides those of its captions (default: all up to 4096, then 4096).",
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
    if let refine, refine.codec.bitsPerComponent <= codec.bitsPerComponent {
      throw ValidationError("--refine has more bits than the --codec: \(refine.codec.rawValue) has not.")
    }
    guard captions == nil || method == .paired || router != .none else {
      throw ValidationError("--captions goes with --method paired-kmeans or with a --router.")
    }
    guard ranges == nil || codec.hasRanges else {
      throw ValidationError("--ranges goes with a --codec that has such: \(codec.rawValue) keeps values as they are.")
    }
    guard nearest == nil || captions != nil else {
      throw ValidationError("--nearest goes with --captions.")
    }
    let ofRouters = [routerEpochs, refinements, routerCaptions, routerCandidates]
    guard router != .none || ofRouters.allSatisfy({ $0 == nil }) else {
      throw ValidationError(
        "--router-epochs, --refinements, --router-captions and --router-candidates go with a --router.")
    }
    guard router != .captionMean || routerEpochs == nil && routerCandidates == nil else {
      throw ValidationError("--router-epochs and --router-candidates go with a router that is learned or anchored.")
    }
    guard refinements == nil || method == .paired else {
      throw ValidationError("--refinements goes with --method paired-kmeans: they are more steps of plain k-means.")
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
        captionLimit: routerCaptions ?? byDefault.captionLimit, refinements: refinements,
        candidates: routerCandidates))
    options.ordinals = try shards.map(OrdinalSet.init(parsing:))
    options.untilMoved = untilMoved
    options.nearest = nearest
    options.missing = missing
    options.badRows = badRows
    options.refine = refine?.codec
    return options
  }
}
