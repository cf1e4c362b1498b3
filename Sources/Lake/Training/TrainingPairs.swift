// Which shards a training reads, and what of them: pairs of shards at one place of
// both sources, the rows drawn from each, and the specification that says so.

internal import Base
internal import Catalog
internal import Indexer

/// The shards of a training: at each place one of images and, where the training
/// reads captions, one of theirs.
struct TrainingPairs: Sendable {
  /// Whose shards.
  enum Side: String, Sendable, CaseIterable {
    case image, caption
  }

  /// A shard of each source.
  struct Pair: Sendable {
    /// Its place in both sources.
    let ordinal: Int
    let image: Shard
    /// Nil for a training that looks at images only.
    let caption: Shard?
    let rowCount: Int

    func shard(_ side: Side) -> Shard? { side == .image ? image : caption }
  }

  /// The bytes of a pair's shards.
  struct Revisions: Sendable {
    let image: ShardRevision
    let caption: ShardRevision?
  }

  let images: Source
  let captions: Source?
  let pairs: [Pair]
  /// Pairs whose rows nobody knows: they are counted as none.
  var unknownCount = 0

  var sides: [Side] { captions == nil ? [.image] : [.image, .caption] }
  var rowCounts: [Int] { pairs.map(\.rowCount) }

  /// The source of a side; nil for captions of a training without.
  func source(_ side: Side) -> Source? { side == .image ? images : captions }

  /// What the shards were last seen to hold; nil if some were never seen.
  var revisions: [Revisions]? {
    var found: [Revisions] = []
    for pair in pairs {
      guard let image = pair.image.revision else { return nil }
      if let caption = pair.caption, caption.revision == nil { return nil }
      found.append(Revisions(image: image, caption: pair.caption?.revision))
    }
    return found
  }
}

/// A training on its way: what it reads and what it still needs.
struct TrainingPlan: Sendable {
  let pairs: TrainingPairs
  let sample: TrainingSample
  /// What must not be drawn.
  let exclusions: TrainingExclusions
  /// Drawn rows of each pair that are left out therefore.
  let excluded: [[UInt32]]
  /// The others.
  let rows: [[UInt32]]
  /// Its row, once all bytes are known; its specification may still lack the rows
  /// that are left out.
  let trained: TrainedIndexRecord?
  /// Rows that an earlier run gathered in full.
  let kept: GatheredPairs?
  /// Where drawn rows are kept until those of every shard are there.
  let pieces: TrainingPieces
  /// Pieces that are there.
  let found: [GatheredShards.Key: TrainingPieces.Piece]
  /// Shards whose pieces are not.
  let stream: ShardStream
}

extension TrainingRun {
  /// The pairs of shards that are trained on.
  ///
  /// - Parameters:
  ///   - lost: Shards that turned out not to be had.
  ///   - fetches: Whether shards that are not in the lake will be fetched.
  ///   - mayBeUnknown: Whether rows that nobody knows are no error.
  /// - Returns: Every pair that was asked for, less those left out and those of which a
  ///   shard was dropped.
  /// - Throws: ``TarnError`` `.usage` for sources that are not pairs,
  ///   `.inputsMissing` for a shard that is neither here nor to be fetched or left out.
  func pairs(without lost: Set<Int64>, fetches: Bool, mayBeUnknown: Bool = false) throws -> TrainingPairs {
    let images = try catalog.features(named: options.images, to: "be trained on")
    let captions = try captionSource(pairedWith: images)
    let imageShards = try catalog.shards(of: images, ordinals: options.ordinals)
    let captionShards = try captions.map { try catalog.shards(of: $0, ordinals: options.ordinals) }
    var lost = lost
    if fetches, options.missing == .skip {
      // What every mirror said that it lacks is not asked for; `tarn source probe` asks again.
      for source in [images, captions].compactMap(\.self) {
        lost.formUnion(try catalog.shardsWithoutMirror(of: source).map(\.id))
      }
    }
    if let captions, let captionShards, captionShards.count != imageShards.count {
      throw TarnError(
        .usage,
        "\(images.name) has \(imageShards.count) shards and \(captions.name) has \(captionShards.count): they are not pairs",
        hint: "row i of both must be one image and its caption; --shards trains on a part")
    }
    var pairs: [TrainingPairs.Pair] = []
    var unknownCount = 0
    var missing: [TrainingPairs.Side: [String]] = [:]
    var isAnyMissing = false
    var dropped: [Shard] = []
    for (place, image) in imageShards.enumerated() {
      let caption = captionShards?[place]
      if image.isDropped || caption?.isDropped == true {
        dropped.append(image.isDropped ? image : caption ?? image)
        continue
      }
      let isImageMissing = isMissing(image, lost, fetches: fetches)
      let isCaptionMissing = caption.map { isMissing($0, lost, fetches: fetches) } ?? false
      if isImageMissing { missing[.image, default: []].append(image.name) }
      if isCaptionMissing, let caption { missing[.caption, default: []].append(caption.name) }
      guard !isImageMissing, !isCaptionMissing else {
        isAnyMissing = true
        continue
      }
      var rows = try rowCount(of: image, images, orNil: mayBeUnknown)
      if let captions, let caption, let other = try rowCount(of: caption, captions, orNil: mayBeUnknown) {
        let own = rows ?? other
        guard own == other else {
          throw TarnError(
            .usage,
            "\(images.name)/\(image.name) has \(own) rows and \(captions.name)/\(caption.name) has \(other): "
              + "they are not pairs",
            hint: "row i of both must be one image and its caption")
        }
        rows = own
      }
      if rows == nil { unknownCount += 1 }
      pairs.append(.init(ordinal: image.ordinal, image: image, caption: caption, rowCount: rows ?? 0))
    }
    if pairs.isEmpty, !isAnyMissing, let first = dropped.first {
      throw TarnError.dropped(first, andOthers: dropped.count - 1)
    }
    if isAnyMissing, options.missing == .fail || pairs.isEmpty {
      let side: TrainingPairs.Side = missing[.image] == nil ? .caption : .image
      let source = side == .image ? images : captions ?? images
      throw source.missing(
        missing[side] ?? [], of: imageShards.count,
        hint: wayToShards(source, fetches: fetches, hasOthers: !pairs.isEmpty))
    }
    return TrainingPairs(images: images, captions: captions, pairs: pairs, unknownCount: unknownCount)
  }

  /// Whether a shard can be had neither here nor elsewhere, so that its pair is left
  /// out or refused.
  private func isMissing(_ shard: Shard, _ lost: Set<Int64>, fetches: Bool) -> Bool {
    guard options.missing == .skip else { return shard.revision == nil && !fetches }
    return shard.path == nil && (!fetches || lost.contains(shard.id))
  }

  /// What helps when shards are not in the lake; nil for a sync alone, where a record
  /// or a document says what to train on.
  ///
  /// - Parameters:
  ///   - source: Whose shards.
  ///   - fetches: Whether shards that are not in the lake will be fetched.
  ///   - hasOthers: Whether there are pairs without them.
  /// - Returns: The advice.
  func wayToShards(_ source: Source, fetches: Bool, hasOthers: Bool) -> String? {
    guard options.checksRoles else { return nil }
    var ways =
      fetches
      ? ["`tarn source probe \(source.name)` shows who has them"]
      : ["`tarn sync \(source.name)`", "fetch them meanwhile with --fetch or --budget"]
    if hasOthers {
      ways.append("train on others with --shards")
      if options.missing == .fail { ways.append("leave such pairs out with --missing skip") }
    }
    return ways.count == 1 ? ways[0] : ways.dropLast().joined(separator: ", ") + ", or " + ways[ways.count - 1]
  }

  private func rowCount(of shard: Shard, _ source: Source, orNil mayBeUnknown: Bool) throws -> Int? {
    let purpose = "what is drawn of the others depends on it"
    do {
      let count = try shard.plannedRowCount(in: source, for: purpose)
      // What a list or a server says of a shard that nobody here has seen may be anything.
      guard count <= TrainingSample.mostRows else {
        throw TarnError(
          .unfit,
          "\(source.name)/\(shard.name) is said to have \(count) rows, and no training draws from a shard of more than \(TrainingSample.mostRows)",
          hint: "leave it out with --shards, or correct what is said of it")
      }
      return count
    } catch let error as TarnError where error.code == .inputsMissing {
      if let silence = try catalog.silence(about: shard, in: source, for: purpose) { throw silence }
      guard mayBeUnknown else { throw error }
      return nil
    }
  }

  private func captionSource(pairedWith images: Source) throws -> Source? {
    guard options.method == .paired || options.router.method != .none else { return nil }
    guard let name = options.captions else {
      throw TarnError(
        .usage, options.method == .paired ? "paired k-means needs caption features" : "a router needs caption features",
        hint: "name their source with --captions, or use --method kmeans --router none")
    }
    let captions = try catalog.features(named: name, to: "be trained on")
    guard captions.dimension == images.dimension else {
      throw TarnError(
        .usage, "\(options.images) has dimension \(images.dimension) and \(name) has \(captions.dimension)",
        hint: "image and caption features must come from one model")
    }
    return captions
  }

  /// How many pairs of rows are drawn; of shards whose rows are not known as many as are asked for.
  ///
  /// - Throws: ``TarnError`` `.usage` for fewer than there are lists.
  func wantedCount(_ pairs: TrainingPairs) throws -> Int {
    let total = pairs.unknownCount > 0 ? ForeignNumber.sampleCount.range.upperBound : pairs.rowCounts.reduce(0, +)
    // More lists than rows are refused below, whatever 256 times their number is.
    let wanted = options.pairs ?? (options.nlist < total ? min(total, 256 * options.nlist) : total)
    guard options.nlist <= min(wanted, total) else {
      throw TarnError(
        .usage, "nlist is \(options.nlist) and there are \(min(wanted, total)) training rows",
        hint: "lower --nlist or \(wanted < total ? "raise --pairs" : "sync more shards")")
    }
    guard pairs.unknownCount == 0 || wanted <= total else {
      throw TarnError(
        .usage, "\(wanted) training pairs were asked for, and no source has so many", hint: "lower --pairs")
    }
    return wanted
  }

  /// The pairs of rows that are drawn.
  func sample(_ pairs: TrainingPairs) throws -> TrainingSample {
    let wanted = try wantedCount(pairs)
    return try TrainingSample(count: wanted, rowCounts: pairs.rowCounts, seed: UInt64(bitPattern: options.seed))
  }

  /// What determines the bytes of the trained index.
  ///
  /// The shards that were taken are named where they are not the first ones of their
  /// sources, rows that were left out and elements that were converted where there are any:
  /// a training of neither has the specification that it always had.
  ///
  /// - Parameters:
  ///   - pairs: The pairs of shards.
  ///   - revisions: Their bytes.
  ///   - sample: What was drawn.
  ///   - leftOut: For each pair the drawn rows that are excluded or bad on either side, ascending.
  /// - Returns: The definition.
  func definition(
    _ pairs: TrainingPairs, _ revisions: [TrainingPairs.Revisions], _ sample: TrainingSample, leftOut: [[UInt32]]
  ) -> TrainingDefinition {
    func list(_ revisions: [ShardRevision]) -> JSONValue {
      .array(revisions.map { .object(["rows": .count($0.rowCount), "sha256": .string($0.digest.hex)]) })
    }
    let (images, captions) = (revisions.map(\.image), revisions.compactMap(\.caption))
    var spec: [String: JSONValue] = [
      "format": .integer(1), "method": .string(options.method.rawValue), "nlist": .count(options.nlist),
      "dimension": .count(pairs.images.dimension), "codec": .string(options.codec.rawValue),
      "ranges": .string(options.ranges.text), "iterations": .count(options.iterations), "seed": .integer(options.seed),
      "normalisation": .string(options.normalisation.rawValue),
      "sample": .object([
        "rule": .string(TrainingSample.rule), "pairs": .count(sample.count), "sha256": .string(sample.digest.hex),
      ]),
      "images": list(images), "captions": pairs.captions == nil ? .null : list(captions),
    ]
    let conversions = [("images", pairs.images), ("captions", pairs.captions)].compactMap { role, source in
      source?.elementType.conversion.map { (role, JSONValue.string($0)) }
    }
    if !conversions.isEmpty {
      spec[TrainingSpecification.conversionMember] = .object(Dictionary(uniqueKeysWithValues: conversions))
    }
    let arrays = [("images", pairs.images), ("captions", pairs.captions)].compactMap { role, source in
      source?.array.map { (role, JSONValue.string($0)) }
    }
    if !arrays.isEmpty {
      spec[TrainingSpecification.arraysMember] = .object(Dictionary(uniqueKeysWithValues: arrays))
    }
    let ordinals = pairs.pairs.map(\.ordinal)
    if ordinals != Array(0..<ordinals.count) { spec["shards"] = .counts(ordinals) }
    let holes = zip(ordinals, leftOut).filter { !$1.isEmpty }
    if !holes.isEmpty {
      spec[TrainingSpecification.leftOutMember] = .array(
        holes.map { .object(["shard": .count($0), "rows": .array($1.map { .count(Int($0)) })]) })
    }
    let kept = sample.count - leftOut.reduce(0) { $0 + $1.count }
    let router = pairs.captions.flatMap {
      options.router.definition(captions: $0, pairs: kept)
    }
    if pairs.captions != nil, let nearest = options.nearest?.spec(imageCount: max(1, kept)) {
      spec[TrainingSpecification.nearestMember] = nearest
    }
    if let bound = options.untilMoved { spec[TrainingSpecification.untilMovedMember] = .string(bound.text) }
    if let refine = options.refine {
      spec[TrainingSpecification.refineMember] = TrainingSpecification.refineValue(refine)
    }
    if let router { spec["router"] = options.router.spec(captionCount: router.captionCount) }
    return TrainingDefinition(
      name: options.name, method: options.method.rawValue, codec: options.codec.rawValue, nlist: options.nlist,
      dimension: pairs.images.dimension, iterations: options.iterations, seed: options.seed,
      pairCount: sample.count, images: pairs.images, captions: options.method == .paired ? pairs.captions : nil,
      router: router, spec: JSONValue.object(spec).text,
      inputs: images.map { .init(role: TrainingPairs.Side.image.rawValue, revision: $0) }
        + captions.map { .init(role: TrainingPairs.Side.caption.rawValue, revision: $0) })
  }
}
