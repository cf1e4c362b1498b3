// The pick of the best centroids against the definition, on every level of the CPU: levels of 7 bits,
// their parts and the bounds of both only say which centroids need no score.

import Base
import CRows
import CScan
import Features
import Indexer
import Testing
import TestSupport

/// Centroids and queries, and the answer by definition.
private struct Centroids {
  let dimension: Int
  let values: [Float]
  let queries: [Float]
  var count: Int { values.count / dimension }
  var queryCount: Int { queries.count / dimension }

  init(dimension: Int, count: Int, queries: Int, seed: UInt64, _ shape: (_ row: Int, _ value: Float) -> Float = { $1 })
  {
    var random = SplitMix64(seed: seed)
    self.dimension = dimension
    values = (0..<count * dimension).map { shape($0 / dimension, random.normal()) }
    self.queries = (0..<queries * dimension).map { _ in random.normal() }
  }

  init(dimension: Int, values: [Float], queries: [Float]) {
    (self.dimension, self.values, self.queries) = (dimension, values, queries)
  }

  /// The best centroids of a query.
  func bruteForce(_ query: Int, k: Int) -> Set<Int64> {
    let vector = Array(queries[query * dimension..<(query + 1) * dimension])
    let scored = (0..<count).map { row in
      (row, crows_score(0, vector, Array(values[row * dimension..<(row + 1) * dimension]), dimension))
    }
    return Set(scored.sorted { $0.1 != $1.1 ? $0.1 > $1.1 : $0.0 < $1.0 }.prefix(k).map { Int64($0.0) })
  }

  /// The kernels' answer, best first by their lower bounds.
  func picked(level: Int32, k: Int, counts: inout cscan_counts) throws -> [[(id: Int64, lower: Double)]] {
    var trainer = try RangeTrainer(codec: .sq8, dimension: dimension)
    trainer.add(values)
    let ranges = try trainer.finish()
    let quantizer = try ScalarQuantizer(
      codec: .sq8, dimension: dimension, minima: ranges.minima, widths: ranges.widths.map { 2 * $0 })
    let levels = quantizer.encode(values)
    var parts = [UInt8](repeating: 0, count: levels.count)
    var coder = cscan_coder()
    coder.codec = Int32(VectorCodec.sq8.number)
    (coder.dimension, coder.code_size) = (dimension, dimension)
    let plane = cscan_plane_size(&coder)
    let floats = UnsafeMutablePointer<Float>.allocate(capacity: 2 * plane + 2 * dimension)
    let spread = UnsafeMutablePointer<cscan_spread>.allocate(capacity: 1)
    let planes = UnsafeMutableRawPointer.allocate(byteCount: 2 * plane * queryCount, alignment: 64)
    let found = UnsafeMutablePointer<cscan_found>.allocate(capacity: cscan_capacity(k))
    defer {
      floats.deallocate()
      spread.deallocate()
      planes.deallocate()
      found.deallocate()
    }
    for j in 0..<dimension {
      (floats[j], floats[dimension + j]) = (quantizer.minima[j], quantizer.widths[j])
    }
    (coder.minima, coder.widths) = (UnsafePointer(floats), UnsafePointer(floats + dimension))
    spread.initialize(to: cscan_spread())
    (spread.pointee.differences, spread.pointee.middles) = (floats + 2 * dimension, floats + 2 * dimension + plane)
    cscan_measure(level, &coder, levels, values, count, &parts, spread)
    coder.spread = UnsafePointer(spread)
    return queries.withUnsafeBufferPointer { queries in
      values.withUnsafeBytes { exact in
        levels.withUnsafeBufferPointer { levels in
          parts.withUnsafeBufferPointer { parts in
            var rows = cscan_centroids(
              levels: levels.baseAddress, parts: parts.baseAddress,
              exact: exact.baseAddress?.assumingMemoryBound(to: UInt8.self), count: count)
            var states = (0..<queryCount).map { query in
              var state = cscan_query()
              state.vector = queries.baseAddress.map { $0 + query * dimension }
              state.plane = (planes + 2 * plane * query).assumingMemoryBound(to: Int8.self)
              (state.found, state.k) = (found, k)
              cscan_prepare(level, &coder, &state)
              return state
            }
            var sums = [Int32](repeating: 0, count: queryCount * count)
            // In two goes, of which the second begins anywhere.
            for piece in [0..<count / 3, count / 3..<count] {
              cscan_sum(level, &coder, &rows, piece.lowerBound, piece.upperBound, states, queryCount, &sums)
            }
            return states.indices.map { query in
              sums.withUnsafeMutableBufferPointer { sums in
                cscan_pick(
                  level, &coder, &rows, &states[query], sums.baseAddress.map { $0 + query * count }, &counts)
              }
              return (0..<states[query].count).map { (found[$0].id, found[$0].lower) }
            }
          }
        }
      }
    }
  }
}

struct CentroidPickTests {
  private func expectDefinition(_ test: Centroids, k: Int) throws {
    let expected = (0..<test.queryCount).map { test.bruteForce($0, k: k) }
    for level in SimdLevel.all {
      var counts = cscan_counts()
      let found = try test.picked(level: level, k: k, counts: &counts)
      for query in 0..<test.queryCount {
        #expect(found[query].count == min(k, test.count))
        #expect(Set(found[query].map(\.id)) == expected[query], "level \(level), query \(query), k \(k)")
        #expect(found[query].map(\.lower) == found[query].map(\.lower).sorted(by: >))
      }
    }
  }

  @Test(arguments: [1, 7, 16, 33, 63, 64, 65, 128, 200, 768]) func thePickIsTheBest(dimension: Int) throws {
    // 1...7 queries take every width of a tile.
    let test = Centroids(dimension: dimension, count: 211, queries: 1 + dimension % 7, seed: UInt64(dimension))
    for k in [1, 16, 100, 210, 211, 300] { try expectDefinition(test, k: k) }
  }

  @Test func rowsThatOnlyTheirPartsOrTheirFloatsTellApart() throws {
    // Twenty rows, many times over with a little less each time: by less than a level, less than a part, nothing.
    for little in [Float(1e-3), 1e-5, 1e-7, 0] {
      let test = Centroids(dimension: 48, count: 20, queries: 3, seed: 5)
      let many = (0..<25).flatMap { turn in test.values.map { $0 * (1 - little * Float(turn)) } }
      let all = Centroids(dimension: 48, values: many, queries: test.queries)
      for k in [1, 5, 24, 25, 26, 130] { try expectDefinition(all, k: k) }
    }
  }

  @Test(arguments: [Float(0x1p-140), 0x1p-120, 0x1p-60, 1, 0x1p60, 0x1p90]) func hugeAndTinyOnesToo(factor: Float)
    throws
  {
    let plain = Centroids(dimension: 40, count: 90, queries: 4, seed: 8)
    let sized = Centroids(
      dimension: 40, values: plain.values.enumerated().map { $1 * factor * ($0 % 40 == 3 ? 50 : 1) },
      queries: plain.queries)
    try expectDefinition(sized, k: 9)
    try expectDefinition(
      Centroids(dimension: 40, values: plain.values, queries: plain.queries.map { $0 * factor }), k: 9)
    try expectDefinition(
      Centroids(dimension: 40, values: sized.values, queries: [Float](repeating: 0, count: 80)), k: 9)
    // All in one place, in all components but one, and in one of them.
    try expectDefinition(
      Centroids(
        dimension: 40, values: plain.values.indices.map { $0 % 40 == 7 ? plain.values[$0] : factor },
        queries: plain.queries),
      k: 9)
    try expectDefinition(
      Centroids(
        dimension: 40, values: plain.values.indices.map { $0 % 40 == 7 ? factor : plain.values[$0] },
        queries: plain.queries),
      k: 9)
  }

  @Test func hardlyAnyIsScored() throws {
    let test = Centroids(dimension: 512, count: 3000, queries: 8, seed: 12)
    for level in SimdLevel.all {
      var counts = cscan_counts()
      _ = try test.picked(level: level, k: 16, counts: &counts)
      #expect(counts.scored < 8 * 4)
      #expect(counts.refined < 8 * 3000 / 4)
    }
  }
}
