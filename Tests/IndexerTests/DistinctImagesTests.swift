// What is told of distinct nearest images before they are searched.

import Base
import Features
import Indexer
import TestSupport
import Testing

@Suite struct DistinctImagesTests {
  @Test func distinctRowsAreCountedByTheirBytesUpToALimit() {
    var random = SplitMix64(seed: 4)
    let rows = random.unitRows(10, dimension: 6)
    let matrix = FeatureMatrix((0..<40).flatMap { rows[($0 % 10 * 6)..<($0 % 10 * 6 + 6)] }, dimension: 6)
    #expect(DistinctImages.count(in: matrix, upTo: 100) == 10)
    for limit in [1, 9, 10, 11] { #expect(DistinctImages.count(in: matrix, upTo: limit) == min(limit, 10)) }
  }

  @Test func theBoundHoldsWhateverTheRest() {
    var random = SplitMix64(seed: 5)
    for _ in 0..<200 {
      let pairs = 20 + random.next(below: 200)
      let images = (0..<pairs).map { _ in UInt32(random.next(below: 1 + random.next(below: 40))) }
      let sample = images.prefix(1 + random.next(below: pairs))
      // Never refuses what would have worked.
      #expect(DistinctImages.most(found: Array(sample), of: pairs) >= Set(images).count)
      #expect(DistinctImages.guess(found: Array(sample), of: pairs) >= Set(sample).count)
      #expect(DistinctImages.guess(found: Array(sample), of: pairs) <= pairs)
    }
    #expect(DistinctImages.most(found: images(7, of: 100), of: 100) == 7)
  }

  private func images(_ distinct: Int, of count: Int) -> [UInt32] { (0..<count).map { UInt32($0 % distinct) } }

  @Test(arguments: [300, 3_000, 30_000]) func theGuessIsNearForImagesThatAreEquallyNear(distinct: Int) {
    var random = SplitMix64(seed: UInt64(distinct))
    let sample = (0..<6_000).map { _ in UInt32(random.next(below: distinct)) }
    let guess = DistinctImages.guess(found: sample, of: 1_000_000)
    #expect(abs(guess - distinct) < distinct / 5, "\(guess)")
  }

  @Test func theSampleIsSpreadOverAllCaptionsAndSmall() {
    #expect(DistinctImages.sample(of: DistinctImages.leastPairs - 1, nlist: 64).isEmpty)
    #expect(DistinctImages.sample(of: 400_000, nlist: 1_000).count == 2_000)
    #expect(DistinctImages.sample(of: 20_000, nlist: 4_096).count == 1_000)
    let rows = DistinctImages.sample(of: 20_000_000, nlist: 131_072)
    #expect(rows.count == 32_768 && zip(rows, rows.dropFirst()).allSatisfy { $0 < $1 })
    #expect(rows.first.map { $0 < 700 } == true && rows.last.map { $0 < 20_000_000 && $0 > 19_999_000 } == true)
  }
}
