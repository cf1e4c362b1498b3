// The scanning kernels against the definition: every level of the CPU, codec,
// shape and cut gives the rows, the scores and the order of brute force.

import Base
import CRows
import CScan
import Features
import Foundation
import Indexer
import Testing
import TestSupport

/// Rows and queries, and the answer by definition.
private struct Case {
  let quantizer: ScalarQuantizer
  let codes: [UInt8]
  let ids: [Int64]
  let queries: [Float]
  var dimension: Int { quantizer.dimension }

  /// Vectors of the given spread, encoded; `outliers` dimensions are much
  /// wider than the others.
  init(codec: VectorCodec, dimension: Int, rows: Int, queries: Int, seed: UInt64, outliers: Int = 0) throws {
    var random = SplitMix64(seed: seed)
    var scale = [Float](repeating: 1, count: dimension)
    for _ in 0..<outliers { scale[Int(random.next() % UInt64(dimension))] = 40 }
    func vectors(_ count: Int) -> [Float] {
      (0..<count * dimension).map { random.normal() * scale[$0 % dimension] + 0.3 }
    }
    let values = vectors(rows)
    var trainer = try RangeTrainer(codec: codec, dimension: dimension)
    trainer.add(values)
    quantizer = try trainer.finish()
    codes = quantizer.encode(values)
    // Distinct, not ascending, far apart.
    ids = (0..<rows).map { Int64(($0 * 7919) % rows) << 33 }
    self.queries = vectors(queries)
  }

  /// All rows of a query, best first.
  func bruteForce(_ query: Int) -> [(id: Int64, score: Double)] {
    let width = quantizer.codeByteCount
    let vector = Array(queries[query * dimension..<(query + 1) * dimension])
    return ids.indices.map { row in
      let decoded = quantizer.decode(codes[row * width..<(row + 1) * width])
      return (ids[row], crows_score(0, vector, decoded, dimension))
    }.sorted { $0.1 != $1.1 ? $0.1 > $1.1 : $0.0 < $1.0 }
  }

  /// The kernels' answer, shown in pieces of `height` rows; where rows lie apart, each from the last to the first, and
  /// where they are measured, with their radius.
  func scanned(
    level: Int32, k: Int, height: Int, atOnce: Bool = false, isScored: Bool = true, apart: Bool = false,
    isMeasured: Bool = false, counts: inout cscan_counts
  ) -> [[(id: Int64, score: Double)]] {
    let count = queries.count / dimension
    let width = quantizer.codeByteCount
    return quantizer.minima.withUnsafeBufferPointer { minima in
      quantizer.widths.withUnsafeBufferPointer { widths in
        var coder = cscan_coder()
        coder.codec = Int32(quantizer.codec.number)
        coder.dimension = dimension
        coder.code_size = width
        coder.minima = minima.baseAddress
        coder.widths = widths.baseAddress
        let plane = 2 * cscan_plane_size(&coder)
        let planes = UnsafeMutableRawPointer.allocate(byteCount: max(plane * count, 1), alignment: 64)
        let rowCount = cscan_capacity(k)
        let found = UnsafeMutablePointer<cscan_found>.allocate(capacity: rowCount * count)
        defer {
          planes.deallocate()
          found.deallocate()
        }
        return queries.withUnsafeBufferPointer { vectors in
          var states = (0..<count).map { query in
            var state = cscan_query()
            state.vector = vectors.baseAddress.map { $0 + query * dimension }
            state.plane = (planes + plane * query).assumingMemoryBound(to: Int8.self)
            state.found = found + rowCount * query
            state.at_once = atOnce ? 1 : 0
            state.k = k
            cscan_prepare(level, &coder, &state)
            return state
          }
          let which = (0..<UInt32(count)).map { $0 }
          return codes.withUnsafeBufferPointer { codes in
            for first in stride(from: 0, to: ids.count, by: height) {
              let shown = first..<min(first + height, ids.count)
              let own = apart ? shown.reversed().map { ids[$0] } : Array(ids[shown])
              let places = shown.reversed().map { row in codes.baseAddress.map { $0 + row * width } }
              own.withUnsafeBytes { ids in
                places.withUnsafeBufferPointer { places in
                  var rows = cscan_rows()
                  if apart {
                    rows.apart = places.baseAddress
                  } else {
                    rows.codes = codes.baseAddress.map { $0 + first * width }
                  }
                  rows.ids = ids.baseAddress?.assumingMemoryBound(to: UInt8.self)
                  rows.count = shown.count
                  if isMeasured {
                    // The fifth visitor is too few, the sixth enough.
                    var known: UInt32 = 0
                    #expect(cscan_radius(level, &coder, &rows, &known, 5) == 0)
                    rows.radius = cscan_radius(level, &coder, &rows, &known, 1)
                    #expect(rows.radius == cscan_radius(level, &coder, &rows, &known, 1))
                    #expect(isRadius(rows.radius, of: shown))
                  }
                  cscan_show(level, &coder, &rows, &states, which, count, &counts)
                }
              }
            }
            return states.indices.map { query in
              cscan_finish(level, &coder, &states[query], isScored ? 1 : 0, &counts)
              return (0..<states[query].count).map { (states[query].found[$0].id, states[query].found[$0].lower) }
            }
          }
        }
      }
    }
  }
}

extension Case {
  /// Whether it is the most that levels of some rows are from the middle, hardly rounded up.
  private func isRadius(_ radius: Double, of rows: Range<Int>) -> Bool {
    guard let steps = [VectorCodec.sq4: 15, .sq8: 255][quantizer.codec] else { return radius == 0 }
    let width = quantizer.codeByteCount
    let squares = rows.map { row in
      let code = codes[row * width..<(row + 1) * width].map { Int($0) }
      let levels = quantizer.codec == .sq4 ? code.flatMap { [$0 & 15, $0 >> 4] } : code
      return levels.reduce(0) { $0 + (2 * $1 - steps) * (2 * $1 - steps) }
    }
    let exact = Double(squares.max() ?? 0).squareRoot() / 2
    return radius > exact && radius < exact * (1 + 0x1p-21)
  }
}

struct ScanTests {
  private func expectDefinition(_ test: Case, k: Int, height: Int) {
    let count = test.queries.count / test.dimension
    let expected = (0..<count).map { test.bruteForce($0).prefix(k) }
    for level in SimdLevel.all {
      for way in 0..<4 {
        var counts = cscan_counts()
        let found = test.scanned(
          level: level, k: k, height: height, atOnce: way == 1, apart: way == 2, isMeasured: way == 3, counts: &counts)
        for query in 0..<count {
          #expect(found[query].map(\.id) == expected[query].map(\.id), "level \(level), query \(query)")
          #expect(found[query].map(\.score.bitPattern) == expected[query].map(\.score.bitPattern))
        }
        #expect(counts.scored >= UInt64(count * min(k, test.ids.count)))
      }
      var counts = cscan_counts()
      let told = test.scanned(level: level, k: k, height: height, isScored: false, counts: &counts)
      for query in 0..<count {
        #expect(told[query].map(\.id).sorted() == expected[query].map(\.id).sorted(), "level \(level), query \(query)")
      }
    }
  }

  @Test(arguments: VectorCodec.allCases, [1, 7, 16, 33, 127, 128, 130, 200, 512])
  func everyLevelFindsTheRowsOfTheDefinition(codec: VectorCodec, dimension: Int) throws {
    // 1...7 queries take every width of a tile, 203 rows a last tile that is not full.
    let queries = 1 + dimension % 7
    let test = try Case(codec: codec, dimension: dimension, rows: 203, queries: queries, seed: UInt64(dimension))
    expectDefinition(test, k: 10, height: 203)
    expectDefinition(test, k: 1, height: 50)
  }

  @Test(arguments: VectorCodec.allCases.filter(\.hasRanges))
  func outliersAndHugeValuesAreBoundedToo(codec: VectorCodec) throws {
    expectDefinition(
      try Case(codec: codec, dimension: 96, rows: 400, queries: 5, seed: 3, outliers: 2), k: 5, height: 64)
    let small = try Case(codec: codec, dimension: 20, rows: 60, queries: 4, seed: 4)
    for factor in [Float(0x1p-140), 0x1p-100, 0x1p90] {
      let quantizer = try ScalarQuantizer(
        codec: codec, dimension: 20, minima: small.quantizer.minima.map { $0 * factor },
        widths: small.quantizer.widths.map { $0 * factor })
      expectDefinition(small.with(quantizer, queries: small.queries), k: 7, height: 60)
      expectDefinition(small.with(quantizer, queries: small.queries.map { $0 * factor }), k: 7, height: 60)
    }
  }

  @Test(arguments: VectorCodec.allCases.filter(\.hasRanges))
  func equalRowsAndEmptyQueriesAreOrderedByID(codec: VectorCodec) throws {
    let test = try Case(codec: codec, dimension: 64, rows: 100, queries: 3, seed: 9)
    let zeros = test.with(test.quantizer, queries: [Float](repeating: 0, count: 64 * 5))
    expectDefinition(zeros, k: 30, height: 33)
    let flat = try ScalarQuantizer(
      codec: codec, dimension: 64, minima: test.quantizer.minima, widths: [Float](repeating: 0, count: 64))
    expectDefinition(test.with(flat, queries: test.queries), k: 30, height: 33)
  }

  @Test func mostRowsAreRuledOutByTheirBounds() throws {
    let test = try Case(codec: .sq4, dimension: 512, rows: 3000, queries: 4, seed: 12)
    for level in SimdLevel.all {
      var counts = cscan_counts()
      _ = test.scanned(level: level, k: 10, height: 1000, counts: &counts)
      #expect(counts.refined < 4 * 3000 / 3)
      #expect(counts.scored < 4 * 30)
      var measured = cscan_counts()
      _ = test.scanned(level: level, k: 10, height: 1000, isMeasured: true, counts: &measured)
      #expect(4 * measured.refined < 3 * counts.refined, "\(measured.refined) of \(counts.refined)")
    }
  }

  @Test(arguments: VectorCodec.allCases.filter(\.hasRanges))
  func rowsAsLikeAsTheirBoundsAreToldApart(codec: VectorCodec) throws {
    // Ten rows many times over: far more than k of them are within each other's bounds, the best ones come last.
    let test = try Case(codec: codec, dimension: 48, rows: 10, queries: 3, seed: 21)
    let query = Array(test.queries.prefix(48))
    let width = test.quantizer.codeByteCount
    let scores = (0..<10).map { row in
      crows_score(0, query, test.quantizer.decode(test.codes[row * width..<(row + 1) * width]), 48)
    }
    let order = (0..<10).sorted { scores[$0] < scores[$1] }
    let codes = (0..<400).flatMap { test.codes[order[$0 / 40] * width..<(order[$0 / 40] + 1) * width] }
    let ids = (0..<400).map { Int64(($0 * 7919) % 400) }
    let many = Case(quantizer: test.quantizer, codes: codes, ids: ids, queries: test.queries)
    for k in [1, 3, 60] { expectDefinition(many, k: k, height: 90) }
  }

  @Test(arguments: [15, 127, 255] as [Int32], [1, 31, 33, 127, 130, 768, 4096])
  func theGreatestSumsFit(greatest: Int32, dimension: Int) throws {
    // Every level and every weight at its greatest, the weights with both signs: seven queries take every
    // width of a tile. Levels of 127 are those of bytes that are known to have no greater one.
    let (queryCount, rowCount) = (7, 19)
    let codec: VectorCodec = greatest == 15 ? .sq4 : .sq8
    let ranges = [Float](repeating: 1, count: dimension)
    let byteCount = codec == .sq4 ? (dimension + 1) / 2 : dimension
    var codes = [UInt8](repeating: greatest == 127 ? 127 : 0xFF, count: rowCount * byteCount)
    if codec == .sq4 && dimension % 2 == 1 {
      for row in 1...rowCount { codes[row * byteCount - 1] = 0x0F }
    }
    let zeros = UnsafeMutablePointer<Float>.allocate(capacity: dimension + 64)
    zeros.initialize(repeating: 0, count: dimension + 64)
    let spread = UnsafeMutablePointer<cscan_spread>.allocate(capacity: 1)
    spread.initialize(
      to: cscan_spread(differences: zeros, middles: zeros, greatest: greatest, distance: (0, 0), radius: (0, 0)))
    defer {
      spread.deallocate()
      zeros.deallocate()
    }
    ranges.withUnsafeBufferPointer { ranges in
      var coder = cscan_coder()
      coder.codec = Int32(codec.number)
      (coder.dimension, coder.code_size) = (dimension, byteCount)
      (coder.minima, coder.widths) = (ranges.baseAddress, ranges.baseAddress)
      if greatest == 127 { coder.spread = UnsafePointer(spread) }
      let plane = cscan_plane_size(&coder)
      let vectors = (0..<queryCount).map { [Float](repeating: $0 % 2 == 0 ? 1 : -1, count: dimension) }
      let planes = UnsafeMutableRawPointer.allocate(byteCount: 2 * plane * queryCount, alignment: 64)
      defer { planes.deallocate() }
      for level in SimdLevel.all {
        let queries = vectors.enumerated().map { number, vector in
          vector.withUnsafeBufferPointer { vector in
            var query = cscan_query()
            query.vector = vector.baseAddress
            query.plane = (planes + 2 * plane * number).assumingMemoryBound(to: Int8.self)
            cscan_prepare(level, &coder, &query)
            return query
          }
        }
        var sums = [Int32](repeating: 0, count: queryCount * rowCount)
        codes.withUnsafeBufferPointer { codes in
          var rows = cscan_centroids()
          (rows.levels, rows.count) = (codes.baseAddress, rowCount)
          cscan_sum(level, &coder, &rows, 0, rowCount, queries, queryCount, &sums)
        }
        for query in 0..<queryCount {
          let expected = Int32((query % 2 == 0 ? 127 : -127) * Int(greatest) * dimension)
          #expect(sums[query * rowCount..<(query + 1) * rowCount].allSatisfy { $0 == expected }, "level \(level)")
        }
      }
    }
  }
}

extension Case {
  /// The same codes under another codec's ranges.
  fileprivate func with(_ quantizer: ScalarQuantizer, queries: [Float]) -> Case {
    Case(quantizer: quantizer, codes: codes, ids: ids, queries: queries)
  }

  fileprivate init(quantizer: ScalarQuantizer, codes: [UInt8], ids: [Int64], queries: [Float]) {
    (self.quantizer, self.codes, self.ids, self.queries) = (quantizer, codes, ids, queries)
  }
}
