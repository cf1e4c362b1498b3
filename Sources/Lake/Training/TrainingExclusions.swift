// Rows that a training draws and leaves out as they are excluded. What is drawn follows from seed
// and shards as ever, and none is drawn in their place; the specification names them among what
// is left out, so that whoever trains again from it alone gets the same bytes, whatever is
// excluded by then.

internal import Base
internal import Catalog
internal import Foundation
internal import Indexer
internal import Logging

/// Which rows of the shards of a training must not be drawn.
struct TrainingExclusions: Sendable {
  /// Excluded rows of a source, by shard and digest of its bytes.
  typealias Rows = [Int64: [ContentDigest: [Int]]]

  /// By the place of the shards, where a record or a document says it; then nothing else counts.
  private let stated: [Int: [UInt32]]?
  private let images: Rows
  /// A pair goes with either row.
  private let captions: Rows

  init(stated: [Int: [UInt32]]) { (self.stated, images, captions) = (stated, [:], [:]) }

  init(images: Rows, captions: Rows) { (stated, self.images, self.captions) = (nil, images, captions) }

  /// The drawn rows of a pair that are left out.
  ///
  /// - Parameters:
  ///   - drawn: The rows that were drawn, ascending.
  ///   - pair: The pair of shards.
  ///   - image: The bytes of its image; nil where nobody has seen them: nothing is excluded of those.
  ///   - caption: Likewise.
  /// - Returns: Rows of `drawn`, ascending.
  func rows(
    of drawn: [UInt32], _ pair: TrainingPairs.Pair, image: ContentDigest?, caption: ContentDigest?
  ) -> [UInt32] {
    var out = Set(stated?[pair.ordinal] ?? [])
    if let image { out.formUnion((images[pair.image.id]?[image] ?? []).map { UInt32($0) }) }
    if let caption, let shard = pair.caption {
      out.formUnion((captions[shard.id]?[caption] ?? []).map { UInt32($0) })
    }
    return out.isEmpty ? [] : drawn.filter(out.contains)
  }

  /// As ``rows(of:_:image:caption:)``, for each pair, of the bytes that its shards were last seen to have.
  func rows(of sample: TrainingSample, _ pairs: TrainingPairs) -> [[UInt32]] {
    zip(sample.rows, pairs.pairs).map { drawn, pair in
      rows(of: drawn, pair, image: pair.image.revision?.digest, caption: pair.caption?.revision?.digest)
    }
  }
}

extension TrainingRun {
  /// What must not be drawn: what a record or document says, or else what the lake excludes.
  ///
  /// - Parameters:
  ///   - pairs: The pairs of shards.
  ///   - isDry: Whether nothing may be written.
  /// - Returns: It.
  /// - Throws: ``TarnError`` where a rule cannot be held against a shard; `.conflict` for a shard of which rows were
  ///   excluded of other bytes than it has.
  func exclusions(_ pairs: TrainingPairs, isDry: Bool) throws -> TrainingExclusions {
    if let stated = options.leftOut {
      if isContinuation { try requireNothingExcludedSince(pairs, stated) }
      return TrainingExclusions(stated: stated)
    }
    for side in pairs.sides {
      guard let source = pairs.source(side), try catalog.hasExclusions(source) else { continue }
      let shards = pairs.pairs.compactMap { $0.shard(side) }
      try catalog.applyRules(of: source, to: shards, recording: !isDry, cancellation) { logger.warning("\($0)") }
      let named = try catalog.exclusions(of: source, by: .named)
      for shard in shards {
        guard let digest = shard.revision?.digest, let of = named[shard.id], of[digest] == nil,
          let (other, rows) = of.min(by: { $0.key.hex < $1.key.hex })
        else { continue }
        throw TarnError.excludedOfOtherBytes(rows.count, shard, other, source)
      }
    }
    return try lakesExclusions(pairs)
  }

  /// What the lake excludes, as far as its lists and what rules found tell.
  func lakesExclusions(_ pairs: TrainingPairs) throws -> TrainingExclusions {
    TrainingExclusions(
      images: try catalog.exclusions(of: pairs.images),
      captions: try pairs.captions.map { try catalog.exclusions(of: $0) } ?? [:])
  }

  /// Refuses to go on with a training that draws what was excluded since it was begun.
  private func requireNothingExcludedSince(_ pairs: TrainingPairs, _ stated: [Int: [UInt32]]) throws {
    let excluded = try lakesExclusions(pairs).rows(of: sample(pairs), pairs)
    let count = zip(pairs.pairs, excluded).reduce(0) { sum, of in
      sum + Set(of.1).subtracting(stated[of.0.ordinal] ?? []).count
    }
    guard count > 0 else { return }
    throw TarnError(
      .conflict,
      "\(count.counted("row")) that the training of \(options.name) drew \(count == 1 ? "was" : "were") excluded since",
      hint: "`tarn remove \(options.name)` gives it up, `tarn gc --apply --grace 0s` takes what it gathered, and its "
        + "`tarn train` or `tarn plan train` again draws without them")
  }

  /// The training of a name that is the one that is asked for, whatever was excluded or bad when it was begun; nil where
  /// it is another one, or one that is not finished and drew what must go: that begins anew.
  ///
  /// - Parameters:
  ///   - existing: What has the name.
  ///   - excluded: Drawn rows of each pair that are excluded now.
  ///   - pairs: The pairs of shards.
  ///   - isDry: Whether nothing may be written.
  ///   - again: Its definition, with some rows of each pair left out.
  /// - Returns: It.
  func begun(
    _ existing: TrainedIndexRecord, _ excluded: [[UInt32]], _ pairs: TrainingPairs, isDry: Bool,
    again: ([[UInt32]]) -> TrainingDefinition
  ) -> TrainedIndexRecord? {
    let known = (try? existing.specification().leftOut) ?? [:]
    let leftOut = pairs.pairs.map { known[$0.ordinal] ?? [] }
    // What it left out follows from the same bytes, where bad rows are; else from what was excluded.
    let mayBeOfSame = options.badRows == .skip || zip(leftOut, excluded).allSatisfy { Set($0).isSubset(of: $1) }
    guard mayBeOfSame, again(leftOut).spec == existing.spec else { return nil }
    let count = zip(excluded, leftOut).reduce(0) { $0 + Set($1.0).subtracting($1.1).count }
    guard count > 0 else { return existing }
    let rows = count.counted("row")
    if existing.state == .ready {
      logger.error(
        "\(existing.name) was trained with \(rows) of what is excluded now; a training of another name is without")
      return existing
    }
    logger.warning("\(rows) that \(existing.name) drew \(count == 1 ? "is" : "are") excluded since; it begins anew")
    if !isDry {
      for path in [scratch(of: existing), catalog.layout.gatherScratch(options.name)] {
        try? FileManager.default.removeItem(atPath: path)
      }
    }
    return nil
  }
}

extension TarnError {
  /// What somebody is told whose work needs a shard of which rows were excluded when it had other bytes.
  static func excludedOfOtherBytes(
    _ count: Int, _ shard: Shard, _ other: ContentDigest, _ source: Source
  ) -> TarnError {
    let isAre = count == 1 ? "is" : "are"
    return TarnError(
      .conflict,
      "\(count.counted("row")) of \(shard.name) \(isAre) excluded from its bytes \(other.prefix(12)), and it has others now",
      hint: "`tarn exclude \(source.name) --confirm --reason TEXT` excludes the rows in the same places of the new ones"
    )
  }
}
