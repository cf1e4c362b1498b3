// The codecs against FAISS's own encoder, and their paths against each other.

import Base
import CCodec
import CFaiss
import Features
import Indexer
import TestSupport
import Testing

/// Values where an encoder goes wrong: range ends, level edges and their
/// neighbours, values outside, signed zeros.
private func awkwardRows(_ quantizer: ScalarQuantizer, seed: UInt64) -> [Float] {
  var numbers = SeededNumbers(seed: seed)
  let d = quantizer.dimension
  var rows: [Float] = []
  for level in 0..<64 {
    for j in 0..<d {
      let (low, width) = (quantizer.minima[j], quantizer.widths[j])
      let edge = low + width * Float(numbers.next(below: 256)) / (level % 2 == 0 ? 255 : 15)
      switch (level + j) % 8 {
      case 0: rows.append(edge)
      case 1: rows.append(edge.nextUp)
      case 2: rows.append(edge.nextDown)
      case 3: rows.append(low)
      case 4: rows.append(low + width)
      case 5: rows.append(low - abs(width) - 1)
      case 6: rows.append((low + width + 1) * 1e30)
      default: rows.append(numbers.next(below: 2) == 0 ? 0 : -0.0)
      }
    }
  }
  return rows + numbers.floats(d * 500, in: -1.5...1.5)
}

private func ranges(_ codec: VectorCodec, dimension: Int, seed: UInt64) throws -> ScalarQuantizer {
  var numbers = SeededNumbers(seed: seed)
  let minima = numbers.floats(dimension)
  var widths = numbers.floats(dimension, in: 0...1.5)
  // An empty range, the least one, and one whose levels FAISS rounds.
  widths[0] = 0
  if dimension > 2 {
    widths[1] = .leastNonzeroMagnitude
    widths[2] = 1e-7
  }
  return try ScalarQuantizer(codec: codec, dimension: dimension, minima: minima, widths: widths)
}

struct CodecTests {
  @Test(arguments: VectorCodec.allCases.filter(\.hasRanges), [1, 2, 7, 8, 33, 512, 515, 768, 1025])
  func encodesAsFaissDoes(codec: VectorCodec, dimension: Int) throws {
    let quantizer = try ranges(codec, dimension: dimension, seed: UInt64(dimension))
    let rows = awkwardRows(quantizer, seed: 3)
    let trained = try TrainedIndex(centroids: [Float](repeating: 0, count: dimension), quantizer: quantizer)
    var expected = [UInt8](repeating: 0xAA, count: rows.count / dimension * quantizer.codeByteCount)
    try withRecipe(trained) { cfaiss_encode($0, Int64(rows.count / dimension), rows, &expected, $1, 256) }
    #expect(quantizer.encode(rows) == expected)
  }

  @Test(arguments: VectorCodec.allCases.filter(\.hasRanges), [1, 31, 512, 771])
  func everyInstructionSetGivesTheSameCodes(codec: VectorCodec, dimension: Int) throws {
    let quantizer = try ranges(codec, dimension: dimension, seed: 11)
    let rows = awkwardRows(quantizer, seed: 5)
    let count = rows.count / dimension
    let levels = SimdLevel.all.map { level in
      var codes = [UInt8](repeating: 0x55, count: count * quantizer.codeByteCount)
      ccodec_encode(
        level, Int32(codec.number), rows, count, dimension, quantizer.minima, quantizer.widths, &codes)
      return codes
    }
    for codes in levels { #expect(codes == levels[0]) }
  }

  @Test func everyInstructionSetRoundsEveryKindOfFloatToTheSameHalf() {
    var numbers = SeededNumbers(seed: 17)
    var floats: [Float] = []
    // Every half, the tie above it, and both neighbours of the tie.
    for bits in UInt16.min...UInt16.max where Float16(bitPattern: bits).isFinite {
      let half = Float16(bitPattern: bits)
      let next = Float16(bitPattern: bits &+ 1)
      let middle = next.isFinite ? (Float(half) + Float(next)) / 2 : Float(half)
      floats += [Float(half), middle, middle.nextUp, middle.nextDown]
    }
    floats += [65_519.996, 65_520, 1e30, -1e30, .leastNonzeroMagnitude, -.leastNonzeroMagnitude]
    while floats.count < 400_000 {
      let value = Float(bitPattern: UInt32(truncatingIfNeeded: numbers.next()))
      if value.isFinite { floats.append(value) }
    }
    let expected = floats.map { Float16($0).bitPattern }
    for level in SimdLevel.all {
      var halves = [UInt16](repeating: 1, count: floats.count)
      halves.withUnsafeMutableBytes {
        ccodec_encode(
          level, Int32(CCODEC_FP16.rawValue), floats, 1, floats.count, nil, nil,
          $0.baseAddress?.assumingMemoryBound(to: UInt8.self))
      }
      #expect(halves == expected)
    }
  }

  @Test func halvesAreThoseOfFaissExceptForTies() throws {
    // Debian's libfaiss, built without F16C, rounds ties away from zero.
    var numbers = SeededNumbers(seed: 23)
    let rows = numbers.floats(8 * 4000, in: -2...2).filter { abs($0) > 1e-4 }.dropLast(7)
    let count = rows.count / 8
    let values = Array(rows.prefix(count * 8))
    let quantizer = try ScalarQuantizer(codec: .fp16, dimension: 8)
    let trained = try TrainedIndex(centroids: [Float](repeating: 0, count: 8), quantizer: quantizer)
    var expected = [UInt8](repeating: 0, count: 16 * count)
    try withRecipe(trained) { cfaiss_encode($0, Int64(count), values, &expected, $1, 256) }
    let found = quantizer.encode(values)
    for i in values.indices where values[i].bitPattern & 0x1FFF != 0x1000 {
      #expect(found[2 * i] == expected[2 * i] && found[2 * i + 1] == expected[2 * i + 1])
    }
    // What is a half already has no tie, and is the same everywhere.
    let halves = values.map { Float(Float16($0)) }
    try withRecipe(trained) { cfaiss_encode($0, Int64(count), halves, &expected, $1, 256) }
    #expect(quantizer.encode(halves) == expected)
  }

  @Test(arguments: VectorCodec.allCases.filter { $0.faissQuantizerType != nil }, [1, 2, 7, 13, 33, 515])
  func decodesAsFaissDoesAtEveryLevel(codec: VectorCodec, dimension: Int) throws {
    let count = 40
    let quantizer =
      codec.hasRanges
      ? try ranges(codec, dimension: dimension, seed: 41) : try ScalarQuantizer(codec: codec, dimension: dimension)
    let width = quantizer.codeByteCount
    var numbers = SeededNumbers(seed: 43)
    let codes =
      codec.hasRanges
      ? (0..<count * width).map { _ in UInt8(numbers.next(below: 256)) }
      : quantizer.encode(numbers.floats(count * dimension, in: -2...2))
    let trained = try TrainedIndex(centroids: [Float](repeating: 0, count: dimension), quantizer: quantizer)
    var expected = [Float](repeating: .nan, count: count * dimension)
    try withRecipe(trained) { cfaiss_decode($0, Int64(count), codes, &expected, $1, 256) }
    for level in SimdLevel.all {
      var rows = [Float](repeating: .nan, count: count * dimension)
      for row in 0..<count {
        ccodec_decode(
          level, Int32(codec.number), Array(codes[row * width..<(row + 1) * width]), dimension, quantizer.minima,
          quantizer.widths, &rows[row * dimension])
      }
      #expect(rows.map(\.bitPattern) == expected.map(\.bitPattern))
    }
  }

  @Test(arguments: VectorCodec.allCases)
  func decodesToTheMiddleOfTheLevelThatWasEncoded(codec: VectorCodec) throws {
    let sample = try Sample(codec: codec, dimension: 13, nlist: 1, count: 40)
    let quantizer = sample.trained.quantizer
    let codes = quantizer.encode(sample.vectors)
    for row in 0..<sample.count {
      let code = codes[row * quantizer.codeByteCount..<(row + 1) * quantizer.codeByteCount]
      for (j, value) in quantizer.decode(code).enumerated() {
        let error = abs(value - sample.vectors[row * 13 + j])
        if codec.hasRanges {
          let steps = Float(1 << codec.bitsPerComponent - 1)
          #expect(error <= quantizer.widths[j] / steps * 0.51)
        } else {
          #expect(error <= (codec.bitsPerComponent == 32 ? 0 : 0.0005))
        }
      }
    }
  }

  @Test func theCatalogListsTheSameCodecs() throws {
    let listed = try TemporaryLake().rows(
      "SELECT name || ' ' || bit_count || ' ' || has_ranges FROM codec ORDER BY name")
    #expect(
      listed == VectorCodec.allCases.map { "\($0.rawValue) \($0.bitsPerComponent) \($0.hasRanges ? 1 : 0)" }.sorted())
  }

  @Test func rangesDoNotDependOnTheCutOrOrderOfTheRows() throws {
    var numbers = SeededNumbers(seed: 31)
    var rows = (0..<300).map { _ in numbers.floats(9) }
    rows[5][3] = 0
    rows[6][3] = -0.0
    for statistic in [RangeStatistic.minmax, .quantiles(0.01)] {
      var whole = try RangeTrainer(codec: .sq4, dimension: 9, statistic: statistic)
      whole.add(rows.flatMap { $0 })
      var cut = try RangeTrainer(codec: .sq4, dimension: 9, statistic: statistic)
      for row in rows.reversed() { cut.add(row) }
      #expect(try whole.finish() == cut.finish())
    }
  }

  @Test func minmaxRangesCoverTheRowsExactly() throws {
    var trainer = try RangeTrainer(codec: .sq8, dimension: 2)
    trainer.add(([1, -5, 3, 7, 2, 0] as [Float]))
    let quantizer = try trainer.finish()
    #expect(quantizer.minima == [1, -5])
    #expect(quantizer.widths == [2, 12])
  }

  @Test func quantileRangesLeaveTheTailsOut() throws {
    var trainer = try RangeTrainer(codec: .sq4, dimension: 1, statistic: .quantiles(0.1))
    trainer.add((-50..<50).map { Float($0) })
    let quantizer = try trainer.finish()
    #expect(quantizer.minima == [-40])
    #expect(quantizer.widths == [79])
    #expect(quantizer.statistic == .quantiles(0.1))
  }

  @Test func refusesRangesThatCannotBeMeant() throws {
    expectRefusal(.usage) { _ = try ScalarQuantizer(codec: .sq4, dimension: 2, minima: [0], widths: [1]) }
    expectRefusal(.usage) { _ = try ScalarQuantizer(codec: .sq4, dimension: 1, minima: [.nan], widths: [1]) }
    expectRefusal(.usage) { _ = try ScalarQuantizer(codec: .sq8, dimension: 1, minima: [0], widths: [-1]) }
    expectRefusal(.usage) { _ = try ScalarQuantizer(codec: .flat, dimension: 1, minima: [0], widths: [1]) }
    expectRefusal(.usage) { _ = try RangeTrainer(codec: .sq4, dimension: 1, statistic: .quantiles(0.5)) }
    expectRefusal(.badFeatures) { _ = try RangeTrainer(codec: .sq4, dimension: 1).finish() }
    var wide = try RangeTrainer(codec: .sq4, dimension: 1)
    wide.add(([-3e38, 3e38] as [Float]))
    expectRefusal(.badFeatures, naming: "dimension 0") { _ = try wide.finish() }
  }
}
