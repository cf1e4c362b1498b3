// Searching some of the rows: as if the others were not there.

import Base
import FuzzReaders
import Indexer
import Testing

private let trainedDigest = ContentDigest.of("trained")

struct RowSubsetTests {
  private func searcher(_ sample: Sample, in scratch: Scratch, cuts: [Int]) throws -> VersionSearcher {
    let inputs = try sample.segments(cuts: cuts, trainedDigest: trainedDigest, in: scratch, holes: [5])
    return try VersionSearcher(
      outputShards: inputs.enumerated().map { number, input in
        let path = scratch.file("output-\(number).faiss")
        _ = try OutputShardMerge.write(
          [input], trained: sample.trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
        return path
      })
  }

  private static let shares: [Double] = [0, 0.003, 0.1, 0.5, 0.97, 1]

  /// The search of all rows, of whose whole answer the others are left out, is the
  /// answer; over all lists that is brute force.
  @Test(arguments: VectorCodec.allCases, [1, 3, 9])
  func isAFilterBeforeTheBestAreTaken(codec: VectorCodec, nprobe: Int) throws {
    let scratch = try Scratch()
    let (count, dimension) = (700, 16)
    let sample = try Sample(codec: codec, dimension: dimension, nlist: 9, count: count)
    let searcher = try searcher(sample, in: scratch, cuts: [120, 120, 400])
    var numbers = SeededNumbers(seed: 31)
    let queries = numbers.unitRows(21, dimension: dimension)
    let everything = try searcher.search(queries, k: count, nprobe: nprobe)
    for share in Self.shares {
      for isExcluding in [false, true] {
        var subset = RowSubset(excluding: isExcluding)
        var isIn = [Bool](repeating: false, count: count)
        for id in 0..<count where Double(numbers.next(below: 100_000)) < share * 100_000 {
          isIn[id] = true
          #expect(subset.insert(Int64(id)) && !subset.insert(Int64(id)))
        }
        #expect(subset.count == isIn.count { $0 })
        for (k, threads) in [(1, 1), (10, 2), (count, 3)] {
          let found = try searcher.search(queries, k: k, nprobe: nprobe, threads: threads, among: subset)
          for query in 0..<21 {
            let expected = everything.neighbors[query].filter { isIn[Int($0.id)] != isExcluding }.prefix(k)
            #expect(found.neighbors[query] == Array(expected), "share \(share), k \(k)")
          }
        }
      }
    }
  }

  @Test func ranges() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 8, nlist: 2, count: 300)
    let searcher = try searcher(sample, in: scratch, cuts: [])
    let query = Array(sample.vectors.prefix(8))
    for range in [0..<1, 100..<200, 299..<300, 0..<300] {
      var subset = RowSubset()
      for id in range { subset.insert(Int64(id)) }
      let found = try searcher.search(query, k: 300, nprobe: 2, among: subset)
      #expect(Set(found.neighbors[0].map(\.id)) == Set(range.map(Int64.init)).subtracting([5]))
    }
  }

  /// Against a set, in blocks far apart.
  @Test func isASet() {
    var numbers = SeededNumbers(seed: 8)
    var (subset, set) = (RowSubset(), Set<Int64>())
    let pool = (0..<400).map { _ in
      Int64(numbers.next(below: 70_000)) + Int64(numbers.next(below: 3)) * 65_536 * Int64(numbers.next(below: 1 << 20))
    }
    for _ in 0..<3000 {
      let id = pool[numbers.next(below: pool.count)]
      if numbers.next(below: 3) == 0 {
        subset.remove(id)
        set.remove(id)
      } else {
        #expect(subset.insert(id) == set.insert(id).inserted)
      }
      #expect(subset.count == set.count)
    }
    for id in pool + [1 << 40] {
      var copy = subset
      #expect(copy.insert(id) != set.contains(id))
    }
    subset.remove(-1)
    #expect(subset.count == set.count)
  }
}
