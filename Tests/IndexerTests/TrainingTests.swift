import Base
import Features
import Foundation
import Indexer
import Testing
import TestSupport

/// A directory that goes with the test.
private final class Directory {
  let path = NSTemporaryDirectory() + "tarn-training-\(UUID().uuidString)"
  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(atPath: path) }
}

private let inputs = ContentDigest.of("inputs")
private let pools = Result { try [1, 2, 3].map { try WorkerPool(threadCount: $0) } }

@Suite struct TrainingSampleTests {
  /// The rule as its documentation states it, by sorting all keys.
  private func reference(_ count: Int, _ rowCounts: [Int], _ seed: UInt64) -> [[UInt32]] {
    let g: UInt64 = 0x9E37_79B9_7F4A_7C15
    func mix(_ x: UInt64) -> UInt64 {
      var z = (x ^ (x >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    let total = rowCounts.reduce(0, +)
    let keys = (0..<UInt64(total)).map { mix(mix(seed &+ g) &+ ($0 + 1) &* g) }
    let chosen = Set((0..<total).sorted { keys[$0] < keys[$1] }.prefix(count))
    var first = 0
    return rowCounts.map { rows in
      defer { first += rows }
      return (0..<rows).filter { chosen.contains(first + $0) }.map { UInt32($0) }
    }
  }

  @Test(arguments: [1, 2, 17, 500, 999, 1000])
  func drawsExactlyThePairsOfTheDocumentedRule(count: Int) throws {
    let rowCounts = [300, 0, 1, 650, 49]
    for seed: UInt64 in [0, 1, .max] {
      let sample = try TrainingSample(count: count, rowCounts: rowCounts, seed: seed)
      #expect(sample.rows == reference(count, rowCounts, seed))
      #expect(sample.rows.map(\.count).reduce(0, +) == count && sample.count == count)
    }
  }

  @Test func reachesEveryShardAboutAsOftenAsItHasRows() throws {
    let sample = try TrainingSample(count: 20_000, rowCounts: [100_000, 200_000, 100_000], seed: 7)
    let counts = sample.rows.map(\.count)
    #expect(abs(counts[0] - 5000) < 400 && abs(counts[1] - 10_000) < 400, "\(counts)")
  }

  @Test func theDigestTellsSeedsCountsAndShardsApart() throws {
    let samples = try [
      TrainingSample(count: 10, rowCounts: [50, 50], seed: 1), TrainingSample(count: 10, rowCounts: [50, 50], seed: 2),
      TrainingSample(count: 11, rowCounts: [50, 50], seed: 1), TrainingSample(count: 10, rowCounts: [51, 49], seed: 1),
    ]
    #expect(Set(samples.map(\.digest)).count == 4)
    #expect(try TrainingSample(count: 10, rowCounts: [50, 50], seed: 1) == samples[0])
  }

  @Test func refusesMorePairsThanThereAre() throws {
    let error = try #require(throws: TarnError.self) { try TrainingSample(count: 6, rowCounts: [2, 3], seed: 0) }
    #expect(error.code == .usage && error.message == "6 training pairs were asked for and there are 5")
    #expect(throws: TarnError.self) { try TrainingSample(count: nil, rowCounts: [], seed: 0) }
    // A list, a server or a document may claim any number.
    let claimed = #expect(throws: TarnError.self) { try TrainingSample(count: 1, rowCounts: [2, 1 << 46], seed: 0) }
    #expect(claimed?.code == .unfit)
    #expect(try TrainingSample(count: nil, rowCounts: [2, 1], seed: 0).rows == [[0, 1], [0]])
  }
}

@Suite struct TrainingMatrixTests {
  @Test func gathersRowsInOrderIntoAFeatureFile() throws {
    let directory = try Directory()
    var random = SplitMix64(seed: 1)
    var paths: [String] = []
    for shard in 0..<2 {
      let path = directory.path + "/shard\(shard).npy"
      var writer = try TrainingMatrixWriter(
        creating: path + ".tmp", elementType: .float32, rowCount: 8, dimension: 5, normalisation: .refuse)
      let memory = try FeatureFile(unitFile(directory, random.unitRows(8, dimension: 5), dimension: 5))
      try writer.append(Array(0..<8), of: memory)
      try writer.finish(as: path)
      paths.append(path)
    }
    let shards = try paths.map { try FeatureFile($0, dimension: 5) }
    var writer = try TrainingMatrixWriter(
      creating: directory.path + "/t.tmp", elementType: .float32, rowCount: 5, dimension: 5)
    try writer.append([1, 3, 7], of: shards[0])
    try writer.append([0, 7], of: shards[1])
    let digest = try writer.finish(as: directory.path + "/t.npy")
    #expect(try Disk.digest(of: directory.path + "/t.npy") == digest)
    let gathered = try FeatureFile(directory.path + "/t.npy", dimension: 5, elementType: .float32)
    let expected =
      [1, 3, 7].flatMap { shards[0].matrix.floats(rows: $0..<($0 + 1)) }
      + [0, 7].flatMap { shards[1].matrix.floats(rows: $0..<($0 + 1)) }
    #expect(gathered.matrix.floats(rows: 0..<5) == expected)
  }

  @Test func refusesOrNormalisesRowsThatAreNotOfUnitLength() throws {
    let directory = try Directory()
    let file = try FeatureFile(unitFile(directory, [0.6, 0.8, 3, 4, .nan, 1], dimension: 2))
    func gather(_ rows: [UInt32], _ normalisation: Normalisation) throws -> [Float] {
      var writer = try TrainingMatrixWriter(
        creating: directory.path + "/n.tmp", elementType: .float32, rowCount: rows.count, dimension: 2,
        normalisation: normalisation)
      try writer.append(rows, of: file)
      try writer.finish(as: directory.path + "/n.npy")
      return try FeatureFile(directory.path + "/n.npy").matrix.floats(rows: 0..<rows.count)
    }
    #expect(try gather([1], .normalise) == [0.6, 0.8])
    #expect(try gather([0], .refuse) == [0.6, 0.8])
    let long = try #require(throws: TarnError.self) { try gather([0, 1], .refuse) }
    #expect(long.code == .badFeatures && long.message.hasSuffix("row 1 has length 5.0, not 1"))
    let nan = try #require(throws: TarnError.self) { try gather([2], .normalise) }
    #expect(nan.message.hasSuffix("row 2 holds a NaN"))
    let beyond = try #require(throws: TarnError.self) { try gather([3], .normalise) }
    #expect(beyond.code == .inputsMissing)
    #expect(!FileManager.default.fileExists(atPath: directory.path + "/n.tmp"), "a failed gather leaves nothing")
  }

  private func unitFile(_ directory: Directory, _ values: [Float], dimension: Int) throws -> String {
    let path = directory.path + "/raw-\(UUID().uuidString).npy"
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(values.count / dimension), \(dimension)), }\n"
    let head: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0, UInt8(text.utf8.count), 0] + Array(text.utf8)
    let body = values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) } }
    try Data(head + body).write(to: URL(fileURLWithPath: path))
    return path
  }
}

@Suite struct NearestImagesTests {
  @Test(arguments: available)
  func findsTheNearestOfAllImagesWhateverTheTiles(backend: AssignmentBackend) throws {
    var random = SplitMix64(seed: 21)
    let dimension = 24
    var images = random.unitRows(333, dimension: dimension)
    // Copies across blocks: the lowest image wins.
    images.replaceSubrange((200 * dimension)..<(260 * dimension), with: images[0..<(60 * dimension)])
    var captions = random.unitRows(140, dimension: dimension)
    captions.replaceSubrange(0..<(50 * dimension), with: images[(200 * dimension)..<(250 * dimension)])
    let expected = referenceWinners(of: captions, among: images, dimension: dimension)
    for (i, tile) in [(333, 140), (100, 33), (1, 140), (64, 1)].enumerated() {
      let search = try NearestImages(
        images: FeatureMatrix(images, dimension: dimension), captions: FeatureMatrix(captions, dimension: dimension),
        inputs: inputs, imagesPerTile: tile.0, captionsPerTile: tile.1, pool: pools.get()[i % 3], backend: backend)
      var state = search.initialState
      var tiles = 0
      try search.run(&state) { _ in tiles += 1 }
      #expect(state.images == expected.rows && state.scores == expected.scores)
      #expect(tiles == search.tileCount)
    }
  }

  private struct Stop: Error {}

  @Test func aRunKilledAfterAnyTileGoesOnThere() throws {
    let directory = try Directory()
    let path = directory.path + "/nearest.state"
    var random = SplitMix64(seed: 22)
    let images = FeatureMatrix(random.unitRows(90, dimension: 8), dimension: 8)
    let captions = FeatureMatrix(random.unitRows(70, dimension: 8), dimension: 8)
    func search() throws -> NearestImages {
      try NearestImages(images: images, captions: captions, inputs: inputs, imagesPerTile: 30, captionsPerTile: 20)
    }
    var whole = try search().initialState
    try search().run(&whole)
    var state = try search().initialState
    for expectedTile in 1...12 {
      #expect(throws: Stop.self) {
        try search().run(&state) {
          try search().save($0, as: path)
          throw Stop()
        }
      }
      state = try search().load(path)
      #expect(state.nextTile == expectedTile)
    }
    #expect(try search().tileCount == 12 && state == whole)
    // What room is asked for.
    #expect(Disk.size(of: path) == NearestImages.byteCount(captionCount: 70))
    let other = try NearestImages(images: images, captions: captions, inputs: .of("others"))
    #expect(try #require(throws: TarnError.self) { try other.load(path) }.code == .integrity)
    #expect(throws: TarnError.self) {
      try NearestImages(images: images, captions: FeatureMatrix([1, 0], dimension: 2), inputs: inputs)
    }
  }
}

@Suite struct PairedKMeansTests {
  /// Algorithm 1 and its rules, written straight down.
  struct Transcription {
    let images: [[Float]]
    let captions: [[Float]]
    let q: [Int]
    var centroids: [[Float]] = []

    func score(_ x: [Double], _ y: [Double]) -> Double {
      var s = [Double](repeating: 0, count: 16)
      for j in x.indices { s[j % 16] += x[j] * y[j] }
      for width in [8, 4, 2, 1] { for l in 0..<width { s[l] += s[l + width] } }
      return s[0]
    }
    func unit(_ x: [Double]) -> [Float] {
      let length = score(x, x).squareRoot()
      return x.map { Float($0 / length) }
    }

    mutating func start(nlist: Int, seed: UInt64) {
      var random = SplitMix64(seed: seed)
      var list = Set(q).sorted()
      for i in 0..<nlist {
        let j = i + Int(random.next().multipliedFullWidth(by: UInt64(list.count - i)).high)
        list.swapAt(i, j)
      }
      centroids = list.prefix(nlist).map { unit(images[$0].map(Double.init)) }
    }

    /// Returns the counts of the cells.
    mutating func iterate() -> [Int] {
      let cells = q.map { row in
        let scores = centroids.map { score(images[row].map(Double.init), $0.map(Double.init)) }
        return scores.indices.reduce(0) { scores[$1] > scores[$0] ? $1 : $0 }
      }
      let counts = centroids.indices.map { cell in cells.count { $0 == cell } }
      for cell in centroids.indices where counts[cell] > 0 {
        var sum = [Double](repeating: 0, count: images[0].count)
        for p in q.indices where cells[p] == cell { for j in sum.indices { sum[j] += Double(captions[p][j]) } }
        let mean = sum.map { $0 / Double(counts[cell]) }
        if mean.contains(where: { $0 != 0 }) { centroids[cell] = unit(mean) }
      }
      var sizes = counts
      for empty in sizes.indices where sizes[empty] == 0 {
        let big = sizes.indices.reduce(0) { sizes[$1] > sizes[$0] ? $1 : $0 }
        let old = centroids[big].map(Double.init)
        let up = old.indices.map { old[$0] * ($0 % 2 == 0 ? 1025.0 / 1024 : 1023.0 / 1024) }
        let down = old.indices.map { old[$0] * ($0 % 2 == 0 ? 1023.0 / 1024 : 1025.0 / 1024) }
        (centroids[empty], centroids[big]) = (unit(up), unit(down))
        sizes[empty] = sizes[big] / 2
        sizes[big] -= sizes[empty]
      }
      return counts
    }
  }

  private struct Data {
    let dimension: Int
    var images: [Float]
    var captions: [Float]
    var q: [UInt32]

    init(seed: UInt64, images imageCount: Int, captions captionCount: Int, dimension: Int) {
      var random = SplitMix64(seed: seed)
      self.dimension = dimension
      images = random.unitRows(imageCount, dimension: dimension)
      captions = random.unitRows(captionCount, dimension: dimension)
      q = referenceWinners(of: captions, among: images, dimension: dimension).rows
    }

    func training(_ nlist: Int, seed: UInt64 = 5, pool: WorkerPool? = nil, backend: AssignmentBackend? = nil)
      throws -> PairedKMeans
    {
      try PairedKMeans(
        images: FeatureMatrix(images, dimension: dimension), captions: FeatureMatrix(captions, dimension: dimension),
        nearestImages: q, nlist: nlist, seed: seed, inputs: inputs, pool: pool ?? pools.get()[1], backend: backend)
    }

    var transcription: Transcription {
      func rows(_ values: [Float]) -> [[Float]] {
        stride(from: 0, to: values.count, by: dimension).map { Array(values[$0..<($0 + dimension)]) }
      }
      return Transcription(images: rows(images), captions: rows(captions), q: q.map { Int($0) })
    }
  }

  @Test(arguments: [(300, 400, 17, 9), (80, 900, 5, 30), (500, 500, 40, 64), (40, 60, 1, 4), (30, 40, 20, 12)])
  func agreesBitForBitWithAStraightTranscription(images: Int, captions: Int, nlist: Int, dimension: Int) throws {
    let data = Data(seed: UInt64(images), images: images, captions: captions, dimension: dimension)
    let training = try data.training(nlist)
    var state = try training.initialState()
    var transcription = data.transcription
    transcription.start(nlist: nlist, seed: 5)
    #expect(state.centroids == transcription.centroids.flatMap { $0 })
    for iteration in 1...4 {
      let report = try training.step(&state)
      let counts = transcription.iterate()
      #expect(state.centroids == transcription.centroids.flatMap { $0 }, "iteration \(iteration)")
      #expect(report.emptyCells == counts.count { $0 == 0 } && report.largestCell == counts.max())
      let n = Double(captions)
      #expect(report.imbalance == Double(nlist) * counts.reduce(0) { $0 + Double($1 * $1) } / (n * n))
      #expect(state.iteration == iteration && state.history.last == report)
    }
    #expect(state.history[0].movedShare == 1)
  }

  @Test func refillsEmptyCellsBySplittingTheMostPopulousOne() throws {
    // Captions of one direction: after one update every centroid is the same,
    // so one cell gets all and the others are refilled from it.
    var data = Data(seed: 3, images: 60, captions: 120, dimension: 6)
    for p in 0..<120 { for j in 0..<6 { data.captions[p * 6 + j] = j == 2 ? 1 : 0 } }
    var transcription = data.transcription
    transcription.start(nlist: 9, seed: 5)
    let training = try data.training(9)
    var state = try training.initialState()
    try training.step(&state)
    _ = transcription.iterate()
    let report = try training.step(&state)
    _ = transcription.iterate()
    #expect(report.emptyCells == 8 && report.largestCell == 120)
    #expect(state.centroids == transcription.centroids.flatMap { $0 })
    #expect(state.centroids.allSatisfy { $0.isFinite })
  }

  @Test func captionsThatCancelLeaveTheirCentroid() throws {
    let training = try PairedKMeans(
      images: FeatureMatrix([1, 0], dimension: 2), captions: FeatureMatrix([0, 1, 0, -1], dimension: 2),
      nearestImages: [0, 0], nlist: 1, seed: 0, inputs: inputs)
    var state = try training.initialState()
    try training.step(&state)
    #expect(state.centroids == [1, 0])
  }

  @Test func givesTheSameBytesForEveryThreadCountAndBackend() throws {
    let data = Data(seed: 8, images: 700, captions: 1500, dimension: 33)
    var states: [KMeansState] = []
    for pool in try pools.get() {
      for backend in available {
        let training = try data.training(50, pool: pool, backend: backend)
        var state = try training.initialState()
        for _ in 0..<3 { try training.step(&state) }
        states.append(state)
      }
    }
    #expect(states.allSatisfy { $0 == states[0] })
    // Equal floats may differ in the sign of zero; stored bytes may not.
    let bits = states.map { $0.centroids.map(\.bitPattern) }
    #expect(bits.allSatisfy { $0 == bits[0] })
  }

  @Test func resumesAfterEachIterationToTheSameBytes() throws {
    let directory = try Directory()
    let path = directory.path + "/kmeans.state"
    let data = Data(seed: 9, images: 200, captions: 300, dimension: 10)
    var whole = try data.training(12).initialState()
    for _ in 0..<5 { try data.training(12).step(&whole) }
    var state = try data.training(12).initialState()
    for _ in 0..<5 {
      try data.training(12).save(state, as: path)
      state = try data.training(12).load(path)
      try data.training(12).step(&state)
    }
    #expect(state == whole)
    let digest = try data.training(12).save(state, as: path)
    #expect(try data.training(12).save(whole, as: path) == digest)
    #expect(try data.training(12).load(path) == whole)
  }

  @Test func refusesAStateThatIsDamagedOrAnotherComputations() throws {
    let directory = try Directory()
    let path = directory.path + "/kmeans.state"
    let data = Data(seed: 9, images: 200, captions: 300, dimension: 10)
    let training = try data.training(12)
    try training.save(training.initialState(), as: path)
    #expect(try #require(throws: TarnError.self) { try data.training(13).load(path) }.code == .integrity)
    #expect(try #require(throws: TarnError.self) { try data.training(12, seed: 6).load(path) }.code == .integrity)
    #expect(try #require(throws: TarnError.self) { try training.load(path + "x") }.code == .inputsMissing)
    var bytes = try Foundation.Data(contentsOf: URL(fileURLWithPath: path))
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: URL(fileURLWithPath: path))
    #expect(try #require(throws: TarnError.self) { try training.load(path) }.message.hasSuffix("is damaged"))
    try bytes.prefix(50).write(to: URL(fileURLWithPath: path))
    #expect(throws: TarnError.self) { try training.load(path) }
  }

  @Test func theControlIsSphericalKMeansOnTheImages() throws {
    let data = Data(seed: 10, images: 250, captions: 1, dimension: 7)
    let images = FeatureMatrix(data.images, dimension: 7)
    let control = try PairedKMeans(
      images: images, captions: images, nearestImages: nil, nlist: 11, seed: 5, inputs: inputs)
    var paired = data
    paired.captions = data.images
    paired.q = (0..<250).map { UInt32($0) }
    var (a, b) = (try control.initialState(), try paired.training(11).initialState())
    for _ in 0..<4 {
      try control.step(&a)
      try paired.training(11).step(&b)
    }
    #expect(control.method == .kmeans && a == b)
    let objectives = a.history.map(\.objective)
    #expect(zip(objectives, objectives.dropFirst()).allSatisfy { $0 <= $1 + 1e-7 }, "\(objectives)")
  }

  @Test func refusesMoreListsThanDistinctNearestImagesAndRowsThatAreNotUnit() throws {
    var data = Data(seed: 11, images: 50, captions: 20, dimension: 5)
    data.q = data.q.map { $0 % 4 }
    let error = try #require(throws: TarnError.self) { try data.training(21) }
    #expect(error.code == .unfit)
    #expect(error.message == "nlist is 21 and the training set has \(Set(data.q).count) distinct nearest images")
    #expect(throws: TarnError.self) { try data.training(0) }
    for j in 0..<5 { data.captions[7 * 5 + j] *= 2 }
    let long = try #require(throws: TarnError.self) { try data.training(2).initialState() }
    #expect(long.code == .badFeatures && long.message.hasPrefix("training caption 7 has length"))
  }
}
