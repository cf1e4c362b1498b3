// How many distinct images a training can have, told before the search for the
// nearest image of every caption.

internal import Base
package import Features

/// Bounds and guesses of the number of distinct nearest images, which paired k-means
/// needs as many of as lists.
///
/// Equal images tie, and the lowest wins; equal captions have one nearest image. So
/// there are no more distinct nearest images than distinct images, nor than distinct
/// captions, both by their bytes. That is certain. How many there are is guessed from
/// the nearest images of a few captions.
package enum DistinctImages {
  /// Pairs below which the search itself takes no time worth a guess.
  package static let leastPairs = 16_384

  /// Counts rows that differ in their bytes, no further than it must.
  ///
  /// - Parameters:
  ///   - matrix: The rows.
  ///   - limit: Where counting ends, `1...`.
  /// - Returns: Distinct rows, at most `limit`.
  package static func count(in matrix: FeatureMatrix, upTo limit: Int) -> Int {
    var seen: Set<ContentDigest> = []
    for row in 0..<matrix.rowCount where seen.count < limit {
      let bytes = unsafe UnsafeRawBufferPointer(start: matrix.address(ofRow: row), count: matrix.rowByteCount)
      var hasher = Sha256()
      unsafe hasher.update(bytes.bytes)
      seen.insert(hasher.finalize())
    }
    return seen.count
  }

  /// Captions whose nearest images are searched first: twice the lists, but no more
  /// than a twentieth of all and 32,768; one drawn from each of as many equal stretches, so that no order of the
  /// captions misleads.
  ///
  /// - Parameters:
  ///   - pairs: Pairs of the training.
  ///   - nlist: Lists.
  /// - Returns: Their rows, ascending; none of fewer than ``leastPairs`` pairs.
  package static func sample(of pairs: Int, nlist: Int) -> [Int] {
    guard pairs >= leastPairs else { return [] }
    let count = max(1, min(2 * nlist, pairs / 20, 32_768))
    var random = SplitMix64(seed: 1)
    return random.oneOfEach(count, of: pairs)
  }

  /// The most distinct nearest images that there can be: those found, and one for
  /// each caption that was not looked at.
  ///
  /// - Parameters:
  ///   - found: Nearest images of a sample.
  ///   - pairs: Pairs of the training.
  /// - Returns: The bound.
  package static func most(found: [UInt32], of pairs: Int) -> Int { Set(found).count + pairs - found.count }

  /// A guess at the number of distinct nearest images: Chao's estimate (1984, in the
  /// form without bias) from those seen once and twice in a sample.
  ///
  /// It is low rather than high where some images are nearest to very many captions.
  ///
  /// - Parameters:
  ///   - found: Nearest images of a sample.
  ///   - pairs: Pairs of the training.
  /// - Returns: The guess, no more than there can be.
  package static func guess(found: [UInt32], of pairs: Int) -> Int {
    var times: [UInt32: Int] = [:]
    for image in found { times[image, default: 0] += 1 }
    let (once, twice) = (times.values.count { $0 == 1 }, times.values.count { $0 == 2 })
    let unseen = once * max(0, once - 1) / (2 * (twice + 1))
    return min(times.count + unseen, most(found: found, of: pairs))
  }
}
