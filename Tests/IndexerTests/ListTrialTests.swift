// Lists on trial: what is told is what the definition says, and queries that captions
// say nothing of are noticed.

import Base
import Features
import Indexer
import Testing
import TestSupport

@Suite struct ListTrialTests {
  private static let dimension = 16

  /// Unit vectors; components outside of `range` are 0.
  private static func vectors(_ count: Int, in range: Range<Int> = 0..<dimension, seed: UInt64) -> [[Float]] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { _ in
      var row = (0..<dimension).map { range.contains($0) ? random.normal() : 0 }
      let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      for place in row.indices { row[place] /= length }
      return row
    }
  }

  private static func matrix(_ rows: [[Float]]) -> FeatureMatrix {
    FeatureMatrix(rows.flatMap(\.self), dimension: dimension)
  }

  private static func score(_ one: [Float], _ other: [Float]) -> Double {
    zip(one, other).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }

  /// The places of rows, the one with the greatest score first.
  private static func ranked(_ rows: [[Float]], for vector: [Float]) -> [Int] {
    let scores = rows.map { score($0, vector) }
    return scores.indices.sorted { scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1 }
  }

  /// What each query finds, the long way.
  private static func found(
    _ queries: [[Float]], _ images: [[Float]], _ captions: [[Float]]?, nlist: Int, refinements: Int = 0
  ) throws -> [Double] {
    let nearest = captions?.map { UInt32(ranked(images, for: $0)[0]) }
    let kmeans = try PairedKMeans(
      images: matrix(images), captions: matrix(captions ?? images), nearestImages: nearest, nlist: nlist, seed: 1,
      inputs: .of("test"))
    var state = try kmeans.initialState()
    for _ in 0..<ListTrial.iterations { try kmeans.step(&state) }
    if refinements > 0 {
      let steps = try PairedKMeans(
        images: matrix(images), captions: matrix(images), nearestImages: nil, nlist: nlist, seed: 1,
        inputs: .of("test"))
      state = KMeansState(iteration: 0, centroids: state.centroids, cells: [], history: [])
      for _ in 0..<refinements { try steps.step(&state) }
    }
    let centroids = (0..<nlist).map { Array(state.centroids[($0 * dimension)..<(($0 + 1) * dimension)]) }
    let lists = images.map { ranked(centroids, for: $0)[0] }
    return queries.map { query in
      let nearest = Set(ranked(images, for: query).prefix(ListTrial.k))
      var (left, found) = (ListTrial.share * Double(images.count), 0.0)
      for list in ranked(centroids, for: query) where left > 0 {
        let members = lists.indices.filter { lists[$0] == list }
        guard !members.isEmpty else { continue }
        found += Double(members.count { nearest.contains($0) }) * min(1, left / Double(members.count))
        left -= Double(members.count)
      }
      return found / Double(ListTrial.k)
    }
  }

  @Test func itTellsWhatItsDefinitionSays() throws {
    let (images, captions) = (Self.vectors(700, seed: 1), Self.vectors(700, seed: 2))
    let queries = Self.vectors(60, seed: 3)
    let trial = try #require(
      try ListTrial(images: Self.matrix(images), captions: Self.matrix(captions), queries: Self.matrix(queries)))
    #expect(trial.pairCount == 700 && trial.queryCount == 60 && trial.nlist >= ListTrial.leastLists)
    let paired = try Self.found(queries, images, captions, nlist: trial.nlist)
    let plain = try Self.found(queries, images, nil, nlist: trial.nlist)
    #expect(abs(trial.paired - paired.reduce(0, +) / 60) < 1e-9)
    #expect(abs(trial.plain - plain.reduce(0, +) / 60) < 1e-9)
    let leads = zip(paired, plain).map { $0 - $1 }
    let mean = leads.reduce(0, +) / 60
    let variance = leads.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 59
    #expect(abs(trial.error - (variance / 60).squareRoot()) < 1e-9)
  }

  @Test func listsAreThoseOfTheTraining() throws {
    let (images, captions) = (Self.vectors(700, seed: 1), Self.vectors(700, seed: 2))
    let queries = Self.vectors(60, seed: 3)
    func trial(_ lists: Int, _ refinements: Int = 0) throws -> ListTrial {
      try #require(
        try ListTrial(
          images: Self.matrix(images), captions: Self.matrix(captions), queries: Self.matrix(queries), lists: lists,
          refinements: refinements))
    }
    let (whole, most) = (try trial(1000), try trial(ListTrial.mostLists))
    #expect(whole == most)
    let (twenty, few) = (try trial(20), try trial(3))
    #expect(twenty.nlist == 20 && few.nlist == ListTrial.leastLists)
    let refined = try trial(20, 3)
    let paired = try Self.found(queries, images, captions, nlist: 20, refinements: 3)
    #expect(abs(refined.paired - paired.reduce(0, +) / 60) < 1e-9)
    #expect(refined.plain == twenty.plain && refined.paired != twenty.paired)
  }

  @Test func imagesThatNoCaptionSpeaksOfAreMissedInListsOfCaptions() throws {
    // Half of the images lie where no caption points.
    let images = Self.vectors(1000, in: 0..<8, seed: 4) + Self.vectors(1000, in: 8..<16, seed: 5)
    let captions = Self.vectors(2000, in: 0..<8, seed: 6)
    func trial(_ queries: [[Float]]) throws -> ListTrial {
      try #require(
        try ListTrial(images: Self.matrix(images), captions: Self.matrix(captions), queries: Self.matrix(queries)))
    }
    let unlike = try trial(Self.vectors(200, in: 8..<16, seed: 7))
    #expect(unlike.leader == .kmeans, "\(unlike)")
    #expect(unlike.plain > 3 * unlike.paired, "\(unlike)")
    // Captions that are their images make the lists that images make.
    let same = try #require(
      try ListTrial(images: Self.matrix(images), captions: Self.matrix(images), queries: Self.matrix(captions)))
    #expect(same.leader == nil && same.paired == same.plain && same.error == 0, "\(same)")
  }

  @Test func fewPairsOrQueriesSayNothing() throws {
    func isTried(_ pairs: Int, _ queries: Int) throws -> Bool {
      let images = Self.matrix(Self.vectors(pairs, seed: 8))
      return try ListTrial(images: images, captions: images, queries: Self.matrix(Self.vectors(queries, seed: 9)))
        != nil
    }
    #expect(try !isTried(63, 30))
    #expect(try !isTried(80, 29))
    #expect(try isTried(80, 30))
  }

  @Test func queriesThatTakeTurnsAreTakenOfBothKinds() {
    let rows = FeatureMatrix([Float](repeating: 1, count: 2000), dimension: 1).spreadRows(1000, seed: 2)
    #expect(rows.count == 1000 && zip(rows, rows.dropFirst()).allSatisfy { $0 < $1 })
    #expect((400...600).contains(rows.count { $0 % 2 == 0 }))
  }
}
