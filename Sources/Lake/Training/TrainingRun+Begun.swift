// An unfinished training of the same name: its iterations are not discarded because options were mistyped.

internal import Base
internal import Catalog
internal import Indexer
internal import Logging

extension TrainingRun {
  /// Refuses options that differ from those that an unfinished training of the name was begun with, once it has done
  /// iterations; one that has none is replaced, with a warning.
  ///
  /// Other shards, bytes or excluded rows are not refused, as the user did not choose them: the training begins anew
  /// with them.
  ///
  /// - Parameters:
  ///   - existing: The trained index that has the name.
  ///   - pairs: The pairs of shards.
  ///   - pairCount: Pairs that are drawn now.
  ///   - isDry: Whether nothing may be written.
  /// - Throws: ``TarnError`` `.conflict`.
  func requireSameOptions(
    as existing: TrainedIndexRecord, _ pairs: TrainingPairs, pairCount: Int, isDry: Bool
  ) throws {
    guard options.checksRoles, existing.state == .training else { return }
    let others = try said(of: existing, pairs, pairCount: pairCount).filter { $0.begun != $0.now }
    guard !others.isEmpty else { return }
    let (begun, now) = (others.map(\.begun).joined(separator: ", "), others.map(\.now).joined(separator: ", "))
    let done = try catalog.iterations(of: existing).count
    guard done > 0 else {
      if !isDry { logger.warning("\(existing.name) was begun with \(begun), and no iteration is done; it gives way") }
      return
    }
    throw TarnError(
      .conflict,
      "\(existing.name) was begun with \(begun), not \(now), and \(done) of \(existing.iterations) iterations are done",
      hint: "say \(begun) to go on, choose another name, or give it up with `tarn abandon \(existing.name)`")
  }

  /// Each option as it was when a training was begun, and as it is now.
  private func said(
    of existing: TrainedIndexRecord, _ pairs: TrainingPairs, pairCount: Int
  ) throws -> [(begun: String, now: String)] {
    func option(_ name: String, _ begun: String?, _ now: String?) -> (begun: String, now: String) {
      (begun.map { "\(name) \($0)" } ?? "no \(name)", now.map { "\(name) \($0)" } ?? "no \(name)")
    }
    let known = try existing.specification()
    let (images, captions) = (
      try catalog.source(id: existing.imageSourceID), try existing.captionSourceID.map { try catalog.source(id: $0) }
    )
    func scaling(_ normalisation: Normalisation) -> String {
      normalisation == .normalise ? "--normalise" : "no --normalise"
    }
    let method = options.router.method
    var said: [(begun: String, now: String)] = [
      option("--images", images.name, pairs.images.name), option("--captions", captions?.name, pairs.captions?.name),
      option("--method", existing.method, options.method.rawValue),
      option("--nlist", "\(existing.nlist)", "\(options.nlist)"),
      option("--iterations", "\(existing.iterations)", "\(options.iterations)"),
      option("--until-moved", known.untilMoved?.text, options.untilMoved?.text),
      option("--seed", "\(existing.seed)", "\(options.seed)"),
      option("--codec", existing.codec, options.codec.rawValue),
      option("--refine", existing.refine, options.refine?.rawValue),
      option("--router", existing.router, method == .none ? nil : method.rawValue),
      (begun: scaling(known.normalisation), now: scaling(options.normalisation)),
    ]
    if options.pairs != nil { said.append(option("--pairs", "\(existing.pairCount)", "\(pairCount)")) }
    // With another codec the default is another one.
    if existing.codec == options.codec.rawValue {
      said.append(option("--ranges", known.ranges.text, options.ranges.text))
    }
    if captions != nil, pairs.captions != nil {
      said.append(option("--nearest", known.nearest.text, (options.nearest ?? .exact).text))
    }
    guard method != .none, existing.router == method.rawValue else { return said }
    let (before, router) = (known.router, options.router)
    said += [
      option("--router-epochs", "\(before.epochs)", "\(router.epochs)"),
      option("--refinements", "\(before.refinements)", "\(router.refinements)"),
      option("--router-candidates", before.candidates.map { "\($0)" }, router.candidates.map { "\($0)" }),
    ]
    // The record has how many captions there were, the option how many there may be.
    let kept = existing.pairCount - known.leftOut.values.reduce(0) { $0 + $1.count }
    if min(router.captionLimit, kept) != before.captionLimit {
      said.append(option("--router-captions", "\(before.captionLimit)", "\(router.captionLimit)"))
    }
    return said
  }

  /// Plans a training, or continues one; warns where an unfinished one is replaced, as shards or their bytes have changed.
  ///
  /// - Parameter definition: What is trained now.
  /// - Returns: Its row.
  /// - Throws: ``TarnError`` `.conflict` when the name means something else.
  func planTraining(_ definition: TrainingDefinition) throws -> TrainedIndexRecord {
    if let existing = try catalog.findTrainedIndex(named: options.name), existing.state == .training,
      let before = JSONValue(parsing: existing.spec), let now = JSONValue(parsing: definition.spec),
      ["images", "captions", "shards"].contains(where: { before[$0] != now[$0] })
    {
      let done = try catalog.iterations(of: existing).count.counted("iteration")
      logger.warning(
        "\(existing.name) was begun with other shards, or other bytes of them; it begins anew, without \(done)")
    }
    return try catalog.planTraining(definition)
  }
}
