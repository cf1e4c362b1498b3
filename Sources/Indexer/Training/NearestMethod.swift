// How the nearest images of training captions are found, as far as it can be chosen.

package import Base

/// How the nearest images of captions, and of a router's queries, are found.
package enum NearestMethod: Sendable, Equatable {
  /// Over all images of the training.
  case exact
  /// In the lists of an ``ImageIndex`` that rank best for the query, so many of them.
  case index(nprobe: Int)

  /// Lists that are looked through where nobody says how many.
  package static let defaultProbes = 128
  /// How many can be asked for.
  package static let probes = 1...1 << 20

  /// Reads `exact`, `index` or `index:NPROBE`; nil for anything else.
  package init?(parsing text: String) {
    switch text {
    case "exact": self = .exact
    case "index": self = .index(nprobe: Self.defaultProbes)
    default:
      guard text.hasPrefix("index:"), let nprobe = Int(text.dropFirst(6)), Self.probes.contains(nprobe),
        text == "index:\(nprobe)"
      else { return nil }
      self = .index(nprobe: nprobe)
    }
  }

  /// As it is written, with all that was chosen.
  package var text: String {
    switch self {
    case .exact: "exact"
    case .index(let nprobe): "index:\(nprobe)"
    }
  }

  /// What of it determines the bytes.
  ///
  /// - Parameter imageCount: Training images.
  /// - Returns: The member of a specification; nil for the exact search, of which those from
  ///   before it was an option say nothing.
  package func spec(imageCount: Int) -> JSONValue? {
    guard case .index = self else { return nil }
    let plan = ImageIndexPlan(imageCount: imageCount)
    return .object([
      "by": .string(text), "rule": .string(ImageIndexPlan.rule), "nlist": .count(plan.nlist),
      "sample": .count(plan.sampleCount), "iterations": .count(ImageIndexPlan.iterations),
    ])
  }

  /// Scores from which an exact search is a matter of hours: a warning says then what
  /// it comes to.
  package static let manyScores = 0x1p40

  /// What a query is compared with.
  ///
  /// - Parameter imageCount: Training images.
  /// - Returns: Vectors, centroids among them, about.
  package func comparisons(imageCount: Int) -> Int {
    guard case .index(let nprobe) = self else { return imageCount }
    let nlist = ImageIndexPlan(imageCount: imageCount).nlist
    return nlist + imageCount * min(nprobe, nlist) / nlist
  }
}

/// The sizes of an ``ImageIndex``; they follow from the number of images.
package struct ImageIndexPlan: Sendable, Equatable {
  /// The name of the rule, for specifications.
  package static let rule = "kmeans-lists-1"
  /// Iterations of k-means on the sample.
  package static let iterations = 5
  /// Images of the sample for each list, at most.
  private static let sampleShare = 64

  /// Lists: the greatest power of two whose square is at most 16 times the images.
  package let nlist: Int
  /// Images that k-means sees.
  package let sampleCount: Int

  /// The sizes for so many images, `1...`.
  package init(imageCount: Int) {
    var nlist = 1
    while 4 * nlist * nlist <= 16 * imageCount, 2 * nlist <= imageCount { nlist *= 2 }
    self.nlist = nlist
    sampleCount = min(imageCount, nlist * Self.sampleShare)
  }

  /// The sample: the images that a seeded shuffle puts first, ascending.
  ///
  /// - Parameters:
  ///   - imageCount: Training images.
  ///   - seed: The training's.
  /// - Returns: Their rows.
  package func sample(of imageCount: Int, seed: UInt64) -> [UInt32] {
    var random = SplitMix64(seed: SplitMix64.mix(seed ^ 0x6E65_6172_6573_7400))
    var order = (0..<UInt32(imageCount)).map(\.self)
    order.shuffleFirst(min(sampleCount, imageCount - 1), by: &random)
    return order.prefix(sampleCount).sorted()
  }
}
