import Base
import CKernels
import CRows
import Features
import Foundation
import Indexer
import Logging
import Testing
import TestSupport

/// The definition, written out: lanes, tree, greatest score, lowest row.
func referenceScore(_ x: ArraySlice<Float>, _ y: ArraySlice<Float>) -> Double {
  var s = [Double](repeating: 0, count: 16)
  for (j, (a, b)) in zip(x, y).enumerated() { s[j % 16] += Double(a) * Double(b) }
  for width in [8, 4, 2, 1] { for l in 0..<width { s[l] += s[l + width] } }
  return s[0]
}

func referenceWinners(of vectors: [Float], among rows: [Float], dimension: Int) -> Winners {
  var winners = Winners()
  for i in 0..<(vectors.count / dimension) {
    var best = (score: -Double.infinity, row: UInt32(0))
    for c in 0..<(rows.count / dimension) {
      let score = referenceScore(
        vectors[(i * dimension)..<((i + 1) * dimension)], rows[(c * dimension)..<((c + 1) * dimension)])
      if score > best.score { best = (score, UInt32(c)) }
    }
    winners.rows.append(best.row)
    winners.scores.append(best.score)
  }
  return winners
}

/// The backends that this CPU can carry out.
let available = AssignmentBackend.allCases.filter(\.isAvailable)

/// The forms of the int8 engine that it can carry out, plain C among them.
let cascadeForms = CascadeForm.allCases.filter(\.isAvailable)

/// Each backend, the int8 engine in each of its forms.
let assignmentWays: [(backend: AssignmentBackend, form: CascadeForm?)] =
  cascadeForms.map { (.int8, $0) } + available.filter { $0 != .int8 }.map { ($0, nil) }

@Suite struct AssignmentTests {
  static let pools = Result { try [1, 2, 3].map { try WorkerPool(threadCount: $0) } }

  /// One random problem; `kind` chooses what makes it hard.
  struct Problem {
    var vectors: [Float]
    var rows: [Float]
    let dimension: Int
    let kind: Int

    init(seed: UInt64) {
      var random = SplitMix64(seed: seed)
      kind = Int(seed % 12)
      let wide = seed % 61 == 0
      dimension = wide ? 1 + Int(random.next() % 2048) : 1 + Int(random.next() % 70)
      let rowCount = kind == 0 ? 1 : 1 + Int(random.next() % (wide ? 40 : 150))
      let vectorCount = 1 + Int(random.next() % (wide ? 6 : 30))
      vectors = random.unitRows(vectorCount, dimension: dimension)
      rows = random.unitRows(rowCount, dimension: dimension)
      let d = dimension
      func copy(_ from: Int, _ to: Int) { for j in 0..<d { rows[to * d + j] = rows[from * d + j] } }
      switch kind {
      case 1:  // Duplicated rows: exact ties.
        for c in 0..<rowCount { copy(Int(random.next() % UInt64(rowCount)), c) }
      case 2:  // Neighbours one ulp apart in one element.
        for c in 1..<max(rowCount, 1) {
          copy(0, c)
          let j = c * d + Int(random.next() % UInt64(d))
          rows[j] = random.next() % 2 == 0 ? rows[j].nextUp : rows[j].nextDown
        }
      case 3:  // Small integers: many exact ties of different rows.
        for i in rows.indices { rows[i] = Float(Int(random.next() % 5) - 2) }
        for i in vectors.indices { vectors[i] = Float(Int(random.next() % 5) - 2) }
      case 4:  // Products that underflow binary32.
        for i in rows.indices { rows[i] *= 0x1p-120 }
        for i in vectors.indices { vectors[i] *= 0x1p-20 }
      case 5:  // Subnormal elements.
        for i in rows.indices { rows[i] *= 0x1p-140 }
      case 6:  // Sums that overflow binary32.
        for i in rows.indices { rows[i] *= 0x1p100 }
        for i in vectors.indices { vectors[i] *= 0x1p40 }
      case 7:  // Norms that differ by orders of magnitude.
        for i in rows.indices { rows[i] *= Float(sign: .plus, exponent: Int(random.next() % 60) - 30, significand: 1) }
      case 8:  // One dominant dimension.
        for c in 0..<rowCount { rows[c * d] = 1000 }
        for i in 0..<vectorCount { vectors[i * d] = -999 }
      case 9:  // A common mean far larger than what tells rows apart.
        for i in rows.indices { rows[i] = 1 + rows[i] * 0x1p-18 }
        for i in vectors.indices { vectors[i] = 1 + vectors[i] * 0x1p-2 }
      case 10:  // Zero vectors and zero rows.
        for j in 0..<d { vectors[j] = 0 }
        for j in 0..<d { rows[(rowCount / 2) * d + j] = 0 }
        for i in rows.indices { rows[i] = -abs(rows[i]) }
      case 11:  // The greatest finite elements.
        for i in rows.indices where i % 3 == 0 {
          rows[i] = random.next() % 2 == 0 ? .greatestFiniteMagnitude : -.greatestFiniteMagnitude
        }
        for i in vectors.indices where i % 5 == 0 { vectors[i] = .greatestFiniteMagnitude }
      default: break
      }
    }
  }

  @Test(arguments: 0..<12)
  func everyBackendThreadCountAndTileFindsTheBruteForceWinner(kind: Int) throws {
    var servedByInt8 = 0, balanced = 0
    for number in 0..<100 {
      let problem = Problem(seed: UInt64(number * 12 + kind))
      let expected = referenceWinners(of: problem.vectors, among: problem.rows, dimension: problem.dimension)
      let vectors = FeatureMatrix(problem.vectors, dimension: problem.dimension)
      let rows = FeatureMatrix(problem.rows, dimension: problem.dimension)
      let tiles = [[256, 1, 7], [5, 256, 2], [3, 64, 256]][number % 3]
      for (backend, form) in assignmentWays {
        for (i, pool) in try Self.pools.get().enumerated() {
          // Axes of wide rows take a second to find; once is enough.
          if backend == .int8, problem.dimension > 128, i != number % 3 { continue }
          let engine = try AssignmentEngine(
            rows: rows, backend: backend, pool: pool, tileVectors: tiles[i],
            shape: SliceShape.allCases[(number + i) % 3], form: form)
          let found = try engine.best(of: vectors)
          #expect(
            found == expected,
            "case \(number) of kind \(kind), \(backend) \(String(describing: form)), \(pool.threadCount) threads, tiles of \(tiles[i])"
          )
          if engine.sliceWidth != nil { servedByInt8 += 1 }
          if engine.isBalanced == true { balanced += 1 }
          guard i == number % 3 else { continue }
          let guesses = Self.guesses(number, expected, problem)
          #expect(
            try engine.best(of: vectors, guessing: guesses) == expected,
            "case \(number) of kind \(kind), \(backend) \(String(describing: form)), guessed")
          let turned = Array((0..<UInt32(vectors.rowCount)).reversed())
          let listed = try engine.best(of: vectors, listed: turned, guessing: guesses.reversed())
          #expect(listed == Winners(rows: expected.rows.reversed(), scores: expected.scores.reversed()))
        }
      }
    }
    // One row needs no engine, and tiny or huge rows are out of its range.
    if ![0, 4, 5, 6, 11].contains(kind) {
      #expect(servedByInt8 > 200 * cascadeForms.count && balanced > 50 * cascadeForms.count)
    }
  }

  /// Guesses of a kind: the winners, the last rows that tie with them, any rows, numbers
  /// that are no rows', and always the last row.
  static func guesses(_ kind: Int, _ expected: Winners, _ problem: Problem) -> [UInt32] {
    let (d, count) = (problem.dimension, problem.rows.count / problem.dimension)
    return expected.rows.enumerated().map { i, row in
      switch kind % 5 {
      case 0: return row
      case 1:
        let x = problem.vectors[(i * d)..<((i + 1) * d)]
        let last = (0..<count).last { referenceScore(x, problem.rows[($0 * d)..<(($0 + 1) * d)]) == expected.scores[i] }
        return UInt32(last ?? 0)
      case 2: return UInt32((i * 7 + kind) % count)
      case 3: return i % 2 == 0 ? UInt32.max : UInt32(count)
      default: return UInt32(count - 1)
      }
    }
  }

  /// The greatest lower bound there is leaves no more rows to the second look than any
  /// other does, and fewer where the first guess misses some winner.
  @Test(arguments: cascadeForms)
  func theLastWinnerSparesSecondLooks(form: CascadeForm) throws {
    var random = SplitMix64(seed: 77)
    let rows = FeatureMatrix(random.unitRows(3000, dimension: 64), dimension: 64)
    let vectors = FeatureMatrix(random.unitRows(200, dimension: 64), dimension: 64)
    func search(_ guesses: [UInt32]?) throws -> (Winners, Int) {
      let engine = try AssignmentEngine(rows: rows, backend: .int8, tileVectors: 50, form: form)
      let found = try engine.best(of: vectors, guessing: guesses)
      return (found, engine.statistics.looked)
    }
    let (found, looked) = try search(nil)
    let (again, lookedAgain) = try search(found.rows)
    #expect(again == found)
    #expect(lookedAgain < looked)
  }

  @Test(arguments: [(1500, 300, 33), (2049, 70, 128), (4100, 20, 768)])
  func manyTilesOfRowsGiveTheBruteForceWinner(rowCount: Int, vectorCount: Int, dimension: Int) throws {
    var random = SplitMix64(seed: UInt64(rowCount))
    var values = random.unitRows(rowCount, dimension: dimension)
    // Copies in other tiles: the lowest must win.
    for c in 0..<(rowCount / 3) {
      let to = rowCount - 1 - c
      for j in 0..<dimension { values[to * dimension + j] = values[c * dimension + j] }
    }
    let queries = random.unitRows(vectorCount, dimension: dimension)
    let expected = referenceWinners(of: queries, among: values, dimension: dimension)
    for (backend, form) in assignmentWays {
      let engine = try AssignmentEngine(
        rows: FeatureMatrix(values, dimension: dimension), backend: backend, pool: Self.pools.get()[1], form: form)
      #expect(try engine.best(of: FeatureMatrix(queries, dimension: dimension)) == expected)
      #expect(engine.statistics.vectors == vectorCount)
    }
  }

  /// Rows around a common mean with a falling spectrum, and vectors of another
  /// mean: what the cascade is made for.
  @Test(arguments: [(3000, 200, 96, 1), (2000, 130, 512, 2), (700, 60, 769, 3), (5000, 90, 33, 0), (65, 40, 257, 1)])
  func theCascadeServesAndNarrowsTheSlice(rowCount: Int, vectorCount: Int, dimension: Int, power: Int) throws {
    var random = SplitMix64(seed: UInt64(dimension))
    func features(_ count: Int, mean: Float) -> [Float] {
      var rows: [Float] = []
      for _ in 0..<count {
        var row = (0..<dimension).map { j in random.normal() * pow(Float(j + 1), -Float(power) / 2) }
        row[dimension - 1] += mean
        let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
        rows += row.map { $0 / length }
      }
      return rows
    }
    let values = features(rowCount, mean: 1)
    let queries = features(vectorCount, mean: -0.5)
    let expected = referenceWinners(of: queries, among: values, dimension: dimension)
    for (form, tile) in cascadeForms.flatMap({ [($0, 240), ($0, 17)] }) {
      let engine = try AssignmentEngine(
        rows: FeatureMatrix(values, dimension: dimension), backend: .int8, pool: Self.pools.get()[1],
        tileVectors: tile, form: form)
      #expect(try engine.best(of: FeatureMatrix(queries, dimension: dimension)) == expected)
      let width = try #require(engine.sliceWidth, "sgemm served")
      if power > 1 { #expect(width < dimension / 2) }
      #expect(engine.statistics.fallbacks == 0)
      if rowCount > 1000 { #expect(engine.statistics.looked < rowCount * vectorCount / 2) }
    }
  }

  /// Vectors are long where rows are short: common axes must hold both.
  @Test(arguments: cascadeForms)
  func differentSpectraOfVectorsAndRowsAreBalanced(form: CascadeForm) throws {
    var random = SplitMix64(seed: 5)
    let dimension = 160
    func features(_ count: Int, from first: Int) -> [Float] {
      (0..<(count * dimension)).map { i in
        random.normal() * pow(Float((i + first) % dimension + 1), -0.7)
      }
    }
    let rows = features(6000, from: 0), queries = features(300, from: 60)
    let engine = try AssignmentEngine(
      rows: FeatureMatrix(rows, dimension: dimension), backend: .int8, pool: Self.pools.get()[1], tileVectors: 100,
      form: form)
    #expect(
      try engine.best(of: FeatureMatrix(queries, dimension: dimension))
        == referenceWinners(of: queries, among: rows, dimension: dimension))
    #expect(engine.isBalanced == true && engine.statistics.fallbacks == 0)
    #expect(engine.statistics.looked < 6000 * 300 / 8)
  }

  /// Axes of such rows would take minutes to find, and gigabytes.
  @Test(arguments: [4097, 33_000])
  func veryWideRowsAreNotTurned(dimension: Int) throws {
    var random = SplitMix64(seed: 13)
    let (values, queries) = (random.unitRows(9, dimension: dimension), random.unitRows(7, dimension: dimension))
    let expected = referenceWinners(of: queries, among: values, dimension: dimension)
    for form in cascadeForms {
      let engine = try AssignmentEngine(
        rows: FeatureMatrix(values, dimension: dimension), backend: .int8, pool: Self.pools.get()[1], form: form)
      #expect(try engine.best(of: FeatureMatrix(queries, dimension: dimension)) == expected)
      #expect(engine.sliceWidth == nil)
    }
  }

  /// Preparing costs the cube of the dimension: it pays for work that grows with it.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["TARN_ENGINE"] == nil))
  func widerRowsArePreparedForMoreWork() {
    for dimension in [1, 100, 768] {
      #expect(AssignmentEngine.minimumInt8Work(nil, dimension: dimension) == 0x1p38)
    }
    #expect(AssignmentEngine.minimumInt8Work(nil, dimension: 1536) == 0x1p41)
    #expect(AssignmentEngine.minimumInt8Work(nil, dimension: 3072) == 0x1p44)
    #expect(AssignmentEngine.minimumInt8Work(.int8, dimension: 3072) == 0)
  }

  @Test(.enabled(if: AssignmentBackend.int8.isAvailable))
  func aSelfTestSeesAWrongKernel() {
    #expect(AssignmentBackend.int8SelfTestSeesSpoiledRows)
  }

  @Test(arguments: cascadeForms)
  func vectorsOutOfTheCascadesRangeAreServedToo(form: CascadeForm) throws {
    var random = SplitMix64(seed: 31)
    let values = random.unitRows(300, dimension: 40)
    var queries = random.unitRows(50, dimension: 40)
    for j in 0..<40 { queries[7 * 40 + j] *= 0x1p60 }
    for j in 0..<40 { queries[9 * 40 + j] *= 0x1p-60 }
    for j in 0..<40 { queries[11 * 40 + j] = 0 }
    for j in 0..<40 { queries[13 * 40 + j] *= 300 }
    let expected = referenceWinners(of: queries, among: values, dimension: 40)
    let engine = try AssignmentEngine(
      rows: FeatureMatrix(values, dimension: 40), backend: .int8, tileVectors: 10, form: form)
    // The first vectors are the sample: ordinary ones.
    #expect(try engine.best(of: FeatureMatrix(random.unitRows(64, dimension: 40), dimension: 40)).rows.count == 64)
    #expect(try engine.best(of: FeatureMatrix(queries, dimension: 40)) == expected)
    #expect(engine.sliceWidth != nil && engine.statistics.fallbacks > 0)
  }

  /// Whatever the integers of a form, at the limits of its range in all places
  /// at once too, where sums of a few products are as large as they can be.
  @Test(arguments: cascadeForms, [Int32(0), 1])
  func productsOfAFormAreExact(form: CascadeForm, tail: Int32) {
    var (rowMost, rowOffset, vectorMost): (Int32, Int32, Int32) = (0, 0, 0)
    unsafe ckernels_form_range(form.rawValue, tail, &rowMost, &rowOffset, &vectorMost)
    var random = SplitMix64(seed: 21)
    for (number, quads) in [2, 4, 6, 64, 66, 192].enumerated() {
      for extremes in [false, true] {
        func element(_ range: ClosedRange<Int32>) -> Int32 {
          if extremes { return random.next() % 4 == 0 ? range.lowerBound : range.upperBound }
          return range.lowerBound + Int32(random.next() % UInt64(range.count))
        }
        let rows = (0..<(quads * 256)).map { _ in element((-rowMost - 1)...rowMost) }
        let vectors = (0..<(quads * 24)).map { _ in element(-vectorMost...vectorMost) }
        let offsets = (0..<64).map { _ in Int32(truncatingIfNeeded: random.next() % 1000) - 500 }
        var products = [Int32](repeating: 0, count: 6 * 64)
        unsafe ckernels_form_products(
          form.rawValue, rows.map { UInt8(truncatingIfNeeded: $0 + rowOffset) },
          vectors.map { Int8(truncatingIfNeeded: $0) }, quads, offsets, &products)
        for v in 0..<6 {
          for r in 0..<64 {
            var sum = offsets[r]
            for i in 0..<(4 * quads) {
              sum += (rows[i / 4 * 256 + r * 4 + i % 4] + rowOffset) * vectors[i / 4 * 24 + v * 4 + i % 4]
            }
            #expect(products[v * 64 + r] == sum, "\(form), case \(number), vector \(v), row \(r)")
          }
        }
      }
    }
  }

  @Test func moreTiesThanThereIsRoomForCandidatesGoToTheLowestRow() throws {
    var random = SplitMix64(seed: 9)
    let row = random.unitRows(1, dimension: 40)
    let worse = row.map { $0 * 0.5 }
    let rows = FeatureMatrix((0..<3000).flatMap { $0 < 7 ? worse : row }, dimension: 40)
    for (backend, form) in assignmentWays {
      let found = try AssignmentEngine(rows: rows, backend: backend, form: form).best(
        of: FeatureMatrix(row, dimension: 40))
      #expect(found.rows == [7])
    }
  }

  @Test func scoresHaveTheSameBitsAtEveryLevel() {
    var random = SplitMix64(seed: 11)
    for dimension in Array(1...70) + [127, 128, 129, 768, 1023, 2048] {
      let x = (0..<dimension).map { _ in
        random.normal() * Float(sign: .plus, exponent: Int(random.next() % 40) - 20, significand: 1)
      }
      let y = (0..<dimension).map { _ in random.normal() }
      let expected = referenceScore(x[...], y[...])
      for level in SimdLevel.all {
        let score = unsafe crows_score(level, x, y, dimension)
        #expect(score.bitPattern == expected.bitPattern, "dimension \(dimension), level \(level)")
      }
    }
  }

  @Test func listedRowsAndRangesAreWidenedFromFloat16() throws {
    var random = SplitMix64(seed: 12)
    let dimension = 19
    let halves = (0..<(50 * dimension)).map { _ in Float16(random.normal()) }
    let path = NSTemporaryDirectory() + "tarn-assign-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(halves.flatMap { [UInt8($0.bitPattern & 255), UInt8($0.bitPattern >> 8)] }).write(
      to: URL(fileURLWithPath: path))
    let matrix = try FeatureMatrix(
      mapping: path, byteOffset: 0, elementType: .float16, rowCount: 50, dimension: dimension)
    let floats = halves.map { Float($0) }
    let engine = try AssignmentEngine(rows: matrix, in: 10..<40, tileVectors: 4)
    let expected = referenceWinners(
      of: floats, among: Array(floats[(10 * dimension)..<(40 * dimension)]), dimension: dimension)
    #expect(try engine.best(of: matrix) == expected)
    #expect(try engine.best(of: matrix, in: 3..<9).rows == Array(expected.rows[3..<9]))
    let listed = try engine.best(of: matrix, listed: [49, 0, 0, 7, 31, 8])
    #expect(listed.rows == [49, 0, 0, 7, 31, 8].map { expected.rows[$0] })
    #expect(listed.scores == [49, 0, 0, 7, 31, 8].map { expected.scores[$0] })
  }

  @Test func refusesRowsAndVectorsThatAreNotFinite() throws {
    let good = FeatureMatrix([1, 2, 3, 4, 0, 0], dimension: 2)
    let bad = FeatureMatrix([1, 2, 0, 0, .nan, 4, 5, .infinity], dimension: 2)
    let rows = try #require(throws: TarnError.self) { _ = try AssignmentEngine(rows: bad) }
    #expect(rows.code == .badFeatures && rows.message.contains("row 2 "))
    let engine = try AssignmentEngine(rows: good, tileVectors: 1)
    let vectors = try #require(throws: TarnError.self) { _ = try engine.best(of: bad) }
    #expect(vectors.code == .badFeatures && vectors.message.contains("row 2 "))
    let listed = try #require(throws: TarnError.self) { _ = try engine.best(of: bad, listed: [0, 3, 1]) }
    #expect(listed.message.contains("row 3 "))
    #expect(throws: TarnError.self) { _ = try engine.best(of: FeatureMatrix([1, 2, 3], dimension: 3)) }
    #expect(throws: TarnError.self) { _ = try AssignmentEngine(rows: FeatureMatrix([], dimension: 3)) }
    #expect(try engine.best(of: FeatureMatrix([], dimension: 2)) == Winners())
  }

  @Test func theEnvironmentForcesABackendByName() throws {
    let logger = Logger(label: "test")
    for backend in available {
      #expect(backend.isSound, "\(backend)")
      #expect(try AssignmentBackend.choose(logger: logger, environment: ["TARN_ENGINE": backend.rawValue]) == backend)
    }
    #expect(try AssignmentBackend.choose(logger: logger, environment: [:]) == available[0])
    let error = try #require(throws: TarnError.self) {
      _ = try AssignmentBackend.choose(logger: logger, environment: ["TARN_ENGINE": "abacus"])
    }
    #expect(error.code == .usage && error.message.contains("abacus"))
  }

  @Test func aBlasThatDoesNotKnowTheCpuIsTold() {
    #expect(AssignmentBackend.adviceOnBlas(core: "Haswell", level: 3) == nil)
    #expect(AssignmentBackend.adviceOnBlas(core: "Prescott", level: 0) == nil)
    #expect(AssignmentBackend.adviceOnBlas(core: "Prescott", level: 1)?.contains("OPENBLAS_CORETYPE=Haswell") == true)
    #expect(AssignmentBackend.adviceOnBlas(core: "Nehalem", level: 3)?.contains("OPENBLAS_CORETYPE=SkylakeX") == true)
  }

  @Test func aPoolCarriesOutEveryTaskOnceAndNoThreadTwiceAtATime() throws {
    for pool in try Self.pools.get() {
      for count in [0, 1, 2, 97] {
        nonisolated(unsafe) let seen = UnsafeMutablePointer<Int32>.allocate(capacity: 128)
        nonisolated(unsafe) let busy = UnsafeMutablePointer<Int32>.allocate(capacity: 8)
        unsafe seen.initialize(repeating: 0, count: 128)
        unsafe busy.initialize(repeating: 0, count: 8)
        pool.run(count) { task, worker in
          unsafe busy[worker] += 1
          unsafe precondition(busy[worker] == 1)
          unsafe seen[task] += 1
          unsafe busy[worker] -= 1
        }
        for task in 0..<128 { #expect(unsafe seen[task] == (task < count ? 1 : 0)) }
        unsafe seen.deallocate()
        unsafe busy.deallocate()
      }
    }
  }
}
