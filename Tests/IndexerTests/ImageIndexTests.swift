import Base
import Features
import Foundation
import Indexer
import Testing
import TestSupport

/// Training images with duplicates and close neighbours, in a file, and captions near them.
private struct Problem {
  let directory: TemporaryDirectory
  let path: String
  let digest: ContentDigest
  let images: FeatureMatrix
  let captions: FeatureMatrix
  let seed: UInt64 = 5

  init(_ imageCount: Int, _ captionCount: Int, dimension: Int, seed: UInt64) throws {
    directory = try TemporaryDirectory()
    var random = SplitMix64(seed: seed)
    var values = random.unitRows(imageCount, dimension: dimension)
    // Every seventh row is an earlier one: exact ties.
    for row in stride(from: 6, to: imageCount, by: 7) {
      let from = random.next(below: row)
      for j in 0..<dimension { values[row * dimension + j] = values[from * dimension + j] }
    }
    images = FeatureMatrix(values, dimension: dimension)
    captions = FeatureMatrix(random.unitRows(captionCount, dimension: dimension), dimension: dimension)
    path = directory.path + "/images.npy"
    let head = NpyHeader.bytes(descr: "<f4", rowCount: imageCount, columns: dimension)
    try (Data(head) + values.withUnsafeBytes { Data($0) }).write(to: URL(fileURLWithPath: path))
    digest = .of("images \(seed)")
  }

  func index(
    in place: String = "work", blockRowCount: Int = 1 << 18, tileByteCount: Int = 1 << 30, pool: WorkerPool? = nil,
    backend: AssignmentBackend? = nil, checkpoint: (ImageIndex.Progress) throws -> Void = { _ in }
  ) throws -> ImageIndex {
    try Disk.makeDirectory(directory.path + "/" + place)
    return try ImageIndex(
      of: path, digest: digest, seed: seed, in: directory.path + "/" + place, blockRowCount: blockRowCount,
      savingEvery: .zero, tileByteCount: tileByteCount, pool: pool, backend: backend, checkpoint: checkpoint)
  }

  func found(
    _ k: Int, nprobe: Int, by index: ImageIndex, in place: String = "work", blockCount: Int? = nil,
    checkpoint: (ImageIndex.Progress) throws -> Void = { _ in }
  ) throws -> RowsFound {
    try index.find(
      k, of: captions, nprobe: nprobe, inputs: .of("captions"), resumingAt: directory.path + "/\(place)/found.state",
      blockCount: blockCount, savingEvery: .zero, checkpoint: checkpoint)
  }

  /// Numbers by falling score, of equal ones ascending.
  private static func ranked(
    _ numbers: some Sequence<Int>, _ score: (Int) -> Double
  ) -> [(number: Int, score: Double)] {
    numbers.map { (number: $0, score: score($0)) }.sorted { a, b in
      if a.score != b.score { return a.score > b.score }
      return a.number < b.number
    }
  }

  /// The search as its documentation has it, by scores alone.
  func reference(_ k: Int, nprobe: Int) throws -> (rows: [UInt32], scores: [Double]) {
    let d = images.dimension
    let all = images.floats(rows: 0..<images.rowCount)
    func row(_ i: Int) -> ArraySlice<Float> { all[(i * d)..<((i + 1) * d)] }
    let plan = ImageIndexPlan(imageCount: images.rowCount)
    let sample = plan.sample(of: images.rowCount, seed: seed)
    let matrix = FeatureMatrix(images.floats(ofRows: sample.map(Int.init)), dimension: d)
    let kmeans = try PairedKMeans(
      images: matrix, captions: matrix, nearestImages: nil, nlist: plan.nlist, seed: seed, inputs: .of("reference"))
    var state = try kmeans.initialState()
    for _ in 0..<ImageIndexPlan.iterations { try kmeans.step(&state) }
    let filed = referenceWinners(of: all, among: state.centroids, dimension: d).rows
    var (rows, scores): ([UInt32], [Double]) = ([], [])
    for caption in 0..<captions.rowCount {
      let query = captions.floats(rows: caption..<(caption + 1))[...]
      let lists = Self.ranked(0..<plan.nlist) { referenceScore(query, state.centroids[($0 * d)..<(($0 + 1) * d)]) }
      let probed = Set(lists.prefix(nprobe).map { UInt32($0.number) })
      var candidates = (0..<images.rowCount).filter { probed.contains(filed[$0]) }
      if candidates.count < k { candidates = Array(0..<images.rowCount) }
      for found in Self.ranked(candidates, { referenceScore(query, row($0)) }).prefix(k) {
        rows.append(UInt32(found.number))
        scores.append(found.score)
      }
    }
    return (rows, scores)
  }
}

private struct Stop: Error {}

@Suite struct ImageIndexTests {
  @Test(arguments: [
    (1, 1), (2, 2), (15, 8), (16, 16), (4096, 256), (26_609, 512), (2_000_000, 4096), (20_000_000, 16_384),
  ])
  func listsFollowFromTheNumberOfImages(imageCount: Int, nlist: Int) {
    let plan = ImageIndexPlan(imageCount: imageCount)
    #expect(plan.nlist == nlist && plan.sampleCount == min(imageCount, 64 * nlist))
    guard imageCount < 5000 else { return }
    let sample = plan.sample(of: imageCount, seed: 1)
    #expect(sample.count == plan.sampleCount && Set(sample).count == sample.count && sample == sample.sorted())
    #expect(sample.allSatisfy { Int($0) < imageCount })
  }

  @Test(arguments: [(1, 1), (1, 3), (4, 2), (20, 1), (20, 5)])
  func findsWhatIsBestInTheListsByScoresAlone(k: Int, nprobe: Int) throws {
    for (number, sizes) in [(190, 40, 24), (70, 33, 5), (3, 9, 8)].enumerated() {
      let problem = try Problem(sizes.0, sizes.1, dimension: sizes.2, seed: UInt64(number))
      let width = min(k, sizes.0)
      let expected = try problem.reference(width, nprobe: nprobe)
      let found = try problem.found(k, nprobe: nprobe, by: problem.index())
      #expect(found == RowsFound(k: width, rows: expected.rows, scores: expected.scores), "\(sizes)")
    }
  }

  @Test func ofAllListsItIsTheExactSearch() throws {
    let problem = try Problem(300, 80, dimension: 16, seed: 9)
    let search = try NearestImages(images: problem.images, captions: problem.captions, inputs: .of("x"))
    var state = search.initialState
    try search.run(&state)
    let found = try problem.found(1, nprobe: 1 << 20, by: problem.index())
    #expect(found.rows == state.images && found.scores == state.scores)
    let agreement = try NearestAgreement(
      of: found.rows, images: problem.images, captions: problem.captions, inputs: .of("x"))
    #expect(agreement.agreed == 80 && agreement.sampled == 80)
    var other = found.rows
    other[3] = (other[3] + 1) % 300
    other[7] = (other[7] + 1) % 300
    #expect(
      try NearestAgreement(of: other, images: problem.images, captions: problem.captions, inputs: .of("x")).agreed == 78
    )
  }

  @Test func theSameForEveryThreadCountBackendAndBlock() throws {
    let problem = try Problem(200, 60, dimension: 20, seed: 3)
    for k in [1, 3] {
      let expected = try problem.found(k, nprobe: 2, by: problem.index(in: "first\(k)"), in: "first\(k)")
      for (number, backend) in available.enumerated() {
        let pool = try WorkerPool(threadCount: 1 + number % 3)
        let place = "other\(k)-\(number)"
        let index = try problem.index(in: place, blockRowCount: 37, pool: pool, backend: backend)
        #expect(try problem.found(k, nprobe: 2, by: index, in: place, blockCount: 7 + number) == expected, "\(backend)")
      }
    }
  }

  /// Lists longer than a tile, as long as one, and several in one.
  @Test(.enabled(if: AssignmentBackend.int8.isAvailable), arguments: [1, 3, 6, 20, 100])
  func theSameWhateverFitsATile(images: Int) throws {
    let problem = try Problem(400, 90, dimension: 20, seed: 8)
    let expected = try problem.reference(1, nprobe: 3)
    let index = try problem.index(tileByteCount: images * 4 * 20, backend: .int8)
    let found = try problem.found(1, nprobe: 3, by: index)
    #expect(found == RowsFound(k: 1, rows: expected.rows, scores: expected.scores))
  }

  /// Stopped at each checkpoint in turn, and gone on with, it finds the same.
  @Test func aRunKilledAnywhereGoesOn() throws {
    let problem = try Problem(120, 30, dimension: 12, seed: 4)
    let expected = try problem.found(2, nprobe: 2, by: problem.index(in: "whole"), in: "whole", blockCount: 8)
    var stops = 0
    for turn in 0... {
      let place = "turn\(turn)"
      var left = turn
      func once(_: ImageIndex.Progress) throws {
        if left == 0 { throw Stop() }
        left -= 1
      }
      func run(_ checkpoint: (ImageIndex.Progress) throws -> Void) throws -> RowsFound {
        let index = try problem.index(in: place, blockRowCount: 50, checkpoint: checkpoint)
        return try problem.found(2, nprobe: 2, by: index, in: place, blockCount: 8, checkpoint: checkpoint)
      }
      do {
        #expect(try run(once) == expected)
        break
      } catch is Stop {
        stops += 1
        #expect(try run { _ in } == expected, "stopped at checkpoint \(turn)")
      }
    }
    #expect(stops > 15)
  }

  /// States that are damaged or of another computation are not used.
  @Test func startsOverFromWhatIsNoStateOfIt() throws {
    let problem = try Problem(120, 30, dimension: 12, seed: 4)
    let expected = try problem.found(1, nprobe: 2, by: problem.index(), in: "work")
    let work = problem.directory.path + "/work"
    for name in ["nearest-lists.state", "found.state"] {
      var bytes = try Data(contentsOf: URL(fileURLWithPath: "\(work)/\(name)"))
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: URL(fileURLWithPath: "\(work)/\(name)"))
    }
    #expect(try problem.found(1, nprobe: 2, by: problem.index()) == expected)
    let wider = try problem.found(1, nprobe: 3, by: problem.index())
    #expect(zip(wider.scores, expected.scores).allSatisfy { $0 >= $1 })
    #expect(wider == (try problem.found(1, nprobe: 3, by: problem.index(in: "fresh"), in: "fresh")))
  }

  /// What is there and cannot be read is not begun anew without a word.
  @Test func aStateThatCannotBeReadEndsIt() throws {
    let problem = try Problem(120, 30, dimension: 12, seed: 4)
    let work = problem.directory.path + "/work"
    let index = try problem.index()
    for name in ["nearest-lists.state", "nearest-kmeans.state", "found.state"] {
      try? FileManager.default.removeItem(atPath: "\(work)/\(name)")
      try Disk.makeDirectory("\(work)/\(name)")
      var stepCount = 0
      expectRefusal(.io, naming: name) {
        if name == "found.state" {
          _ = try problem.found(1, nprobe: 2, by: index) { _ in stepCount += 1 }
        } else {
          _ = try problem.index { _ in stepCount += 1 }
        }
      }
      #expect(stepCount == 0, "\(name)")
      try FileManager.default.removeItem(atPath: "\(work)/\(name)")
    }
  }

  @Test func aMethodIsReadAsItIsWritten() throws {
    #expect(NearestMethod(parsing: "exact") == .exact && NearestMethod(parsing: "index:7") == .index(nprobe: 7))
    #expect(NearestMethod(parsing: "index") == .index(nprobe: NearestMethod.defaultProbes))
    for text in [
      "", "Exact", "index:", "index:0", "index:-1", "index:+5", "index:07", "index: 7", "ivf:7", "index:7:7",
    ] {
      #expect(NearestMethod(parsing: text) == nil, "\(text)")
    }
    #expect(NearestMethod.exact.spec(imageCount: 10) == nil)
    let spec = try #require(NearestMethod.index(nprobe: 9).spec(imageCount: 1000)).text
    #expect(spec == #"{"by":"index:9","iterations":5,"nlist":64,"rule":"kmeans-lists-1","sample":1000}"#)
    let read = try TrainingSpecification(parsing: #"{"format":1,"method":"paired-kmeans","nearest":\#(spec)}"#)
    #expect(read.nearest == .index(nprobe: 9))
    #expect(try TrainingSpecification(parsing: #"{"format":1}"#).nearest == .exact)
    for other in [#"{"by":"index","rule":"kmeans-lists-1"}"#, #"{"by":"index:9","rule":"other"}"#] {
      #expect(throws: TarnError.self) { try TrainingSpecification(parsing: #"{"format":1,"nearest":\#(other)}"#) }
    }
  }
}
