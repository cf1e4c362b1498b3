// Answers without near-duplicates, by definition; and the vectors of rows by their ids.

import Base
import FuzzReaders
import Indexer
import Testing

private let trainedDigest = ContentDigest.of("trained")

private func searcher(_ sample: Sample, in scratch: Scratch, cuts: [Int], holes: Set<Int> = []) throws
  -> VersionSearcher
{
  let inputs = try sample.segments(cuts: cuts, trainedDigest: trainedDigest, in: scratch, holes: holes)
  return try VersionSearcher(
    outputShards: inputs.enumerated().map { number, input in
      let path = scratch.file("output-\(number).faiss")
      _ = try OutputShardMerge.write(
        [input], trained: sample.trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
      return path
    })
}

private func cosine(_ left: [Float], _ right: [Float]) -> Double? {
  func product(_ left: [Float], _ right: [Float]) -> Double {
    zip(left, right).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }
  let (a, b) = (product(left, left), product(right, right))
  return a > 0 && b > 0 ? product(left, right) / (a * b).squareRoot() : nil
}

/// The definition, word by word: kept unless one that is kept already is as close.
private func definition(_ vectors: [[Float]], _ threshold: Double) -> [Int] {
  vectors.indices.reduce(into: []) { kept, place in
    if !kept.contains(where: { cosine(vectors[$0], vectors[place]) ?? -2 >= threshold }) { kept.append(place) }
  }
}

struct NearDuplicatesTests {
  @Test(arguments: 0..<40)
  func keepsWhatTheDefinitionSays(seed: Int) throws {
    var numbers = SeededNumbers(seed: UInt64(seed))
    let dimension = 1 + numbers.next(below: 5)
    var vectors = (0..<numbers.next(below: 60)).map { _ in numbers.floats(dimension) }
    // Some twice, some in another length, some without any.
    for vector in vectors.prefix(8) {
      vectors.append(vector)
      vectors.append(vector.map { $0 * 3 })
      vectors.append([Float](repeating: 0, count: dimension))
    }
    for threshold in [0.1, 0.5, 0.9, 0.94, 0.999] {
      let kept = try NearDuplicates.kept(of: vectors, threshold: threshold)
      #expect(kept == definition(vectors, threshold))
      for (place, one) in kept.enumerated() {
        #expect(!kept[..<place].contains { cosine(vectors[$0], vectors[one]) ?? -2 >= threshold })
      }
      for left in vectors.indices where !kept.contains(left) {
        #expect(kept.contains { $0 < left && cosine(vectors[$0], vectors[left]) ?? -2 >= threshold })
      }
      for count in 0...3 {
        #expect(try NearDuplicates.kept(of: vectors, threshold: threshold, atMost: count) == Array(kept.prefix(count)))
      }
    }
  }

  @Test func ofAChainTheThirdIsKept() throws {
    let chain: [[Float]] = [0, 15, 30].map { angle in
      let turn = Float(angle) * .pi / 180
      return [1 - turn * turn / 2 + turn * turn * turn * turn / 24, turn - turn * turn * turn / 6]
    }
    // cos 15° is 0.966, cos 30° is 0.866.
    #expect(try NearDuplicates.kept(of: chain, threshold: 0.94) == [0, 2])
    #expect(try NearDuplicates.kept(of: chain, threshold: 0.86) == [0])
    #expect(try NearDuplicates.kept(of: chain, threshold: 0.97) == [0, 1, 2])
  }

  @Test func theSameVectorHasACosineOfOne() throws {
    var numbers = SeededNumbers(seed: 3)
    for _ in 0..<500 {
      let vector = numbers.floats(7)
      #expect(try NearDuplicates.kept(of: [vector, vector], threshold: 1) == [0])
    }
  }

  @Test(arguments: VectorCodec.allCases)
  func aSearchGivesTheBestThatAreApart(codec: VectorCodec) throws {
    let scratch = try Scratch()
    let (count, dimension) = (600, 3)
    let sample = try Sample(codec: codec, dimension: dimension, nlist: 7, count: count)
    let searcher = try searcher(sample, in: scratch, cuts: [90, 90, 333])
    var numbers = SeededNumbers(seed: 8)
    let queries = numbers.unitRows(9, dimension: dimension)
    let (codes, width) = (sample.codes, sample.trained.quantizer.codeByteCount)
    func vector(_ id: RowID) -> [Float] {
      sample.trained.quantizer.decode(codes[Int(id) * width..<(Int(id) + 1) * width])
    }
    var isShort = false
    for nprobe in [2, 7] {
      let everything = try searcher.search(queries, k: count, nprobe: nprobe)
      for threshold in [0.2, 0.94, 0.9999] {
        for k in [1, 4, 25] {
          let found = try searcher.searchUnique(queries, k: k, nprobe: nprobe, threads: 2, threshold: threshold)
          #expect(found.queryCount == 9 && found.k == k)
          #expect(found.visitedRows == everything.visitedRows)
          for query in 0..<9 {
            let candidates = everything.neighbors[query].prefix(16 * k)
            let kept = definition(candidates.map { vector($0.id) }, threshold).prefix(k)
            #expect(found.neighbors[query] == kept.map { candidates[$0] }, "\(threshold) \(k)")
            isShort = isShort || kept.count < k
          }
        }
      }
    }
    #expect(isShort, "no answer was short, so the bound was not met")
    #expect(throws: TarnError.self) { try searcher.searchUnique(queries, k: 3, nprobe: 1, threshold: 0) }
    #expect(throws: TarnError.self) { try searcher.searchUnique(queries, k: 3, nprobe: 1, threshold: 1.1) }
    // Asked as often as it may be, it can be ended each time.
    var (mostCalls, ended) = (0, 0)
    while true {
      var callCount = 0
      do {
        _ = try searcher.searchUnique(
          queries, k: 3, nprobe: 7, threshold: 0.2,
          checkpoint: {
            callCount += 1
            if callCount > mostCalls { throw TarnError.interrupted }
          })
        break
      } catch { ended += 1 }
      mostCalls += 1
    }
    #expect(ended > 18, "it looked \(ended) times, with nine queries that are gone through twice")
  }

  @Test(arguments: VectorCodec.allCases)
  func rowsAreDecodedByTheirIds(codec: VectorCodec) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: codec, dimension: 5, nlist: 6, count: 300)
    let searcher = try searcher(sample, in: scratch, cuts: [40, 200], holes: [17, 250])
    let (codes, width) = (sample.codes, sample.trained.quantizer.codeByteCount)
    // In no order: 131 and 306 have no divisor in common.
    var ids = (0..<306).map { RowID($0 * 131 % 306 - 2) }
    ids += ids.prefix(40)
    for (id, vector) in zip(ids, searcher.vectors(ofRows: ids)) {
      let isThere = (0..<300).contains(id) && ![17, 250].contains(id)
      #expect(
        vector == (isThere ? sample.trained.quantizer.decode(codes[Int(id) * width..<(Int(id) + 1) * width]) : nil),
        "row \(id)")
    }
    for list in 0..<Int32(6) {
      for (id, vector) in zip(ids, searcher.vectors(ofRows: ids, in: [list])) {
        #expect(
          (vector != nil) == ((0..<300).contains(id) && ![17, 250].contains(id) && sample.lists[Int(id)] == list))
      }
    }
  }
}
