// Searching a version: the answer by definition, and FAISS's.

import Base
import CFaiss
import CRows
import Foundation
import FuzzReaders
import Indexer
import Testing

private let trainedDigest = ContentDigest.of("trained")

/// A version of several output shards, cut at row numbers.
private func version(_ sample: Sample, cuts: [Int], in scratch: Scratch, holes: Set<Int> = []) throws -> [String] {
  let inputs = try sample.segments(cuts: cuts, trainedDigest: trainedDigest, in: scratch, holes: holes)
  return try inputs.enumerated().map { number, input in
    let path = scratch.file("output-\(number).faiss")
    _ = try OutputShardMerge.write(
      [input], trained: sample.trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
    return path
  }
}

/// The answer by definition: decode every row, score it, sort.
private func bruteForce(_ sample: Sample, query: ArraySlice<Float>, lists: Set<UInt32>? = nil) -> [(Int, Double)] {
  let quantizer = sample.trained.quantizer
  let codes = sample.codes
  return (0..<sample.count).filter { lists?.contains(sample.lists[$0]) ?? true }.map { row in
    let code = codes[row * quantizer.codeByteCount..<(row + 1) * quantizer.codeByteCount]
    return (row, zip(query, quantizer.decode(code)).reduce(0) { $0 + Double($1.0) * Double($1.1) })
  }.sorted { $0.1 != $1.1 ? $0.1 > $1.1 : $0.0 < $1.0 }
}

struct SearchTests {
  @Test(arguments: VectorCodec.allCases)
  func scoresAreInnerProductsWithTheDecodedRows(codec: VectorCodec) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: codec, dimension: 16, nlist: 6, count: 500)
    let searcher = try VersionSearcher(outputShards: try version(sample, cuts: [123, 320], in: scratch))
    #expect((searcher.rowCount, searcher.nlist, searcher.dimension) == (500, 6, 16))
    var numbers = SeededNumbers(seed: 99)
    let queries = numbers.unitRows(25, dimension: 16)
    let result = try searcher.search(queries, k: 10, nprobe: 6)
    for query in 0..<25 {
      let expected = bruteForce(sample, query: queries[query * 16..<(query + 1) * 16])
      for (found, wanted) in zip(result.neighbors[query], expected) {
        #expect(abs(Double(found.score) - wanted.1) < 1e-5)
      }
      #expect(result.neighbors[query].first?.id == Int64(expected[0].0))
    }
  }

  @Test func theAnswerDoesNotDependOnShardsThreadsOrBatch() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 16, nlist: 8, count: 600)
    var numbers = SeededNumbers(seed: 5)
    let queries = numbers.unitRows(50, dimension: 16)
    let one = try VersionSearcher(outputShards: try version(sample, cuts: [], in: scratch))
    let expected = try one.search(queries, k: 7, nprobe: 3)
    let whole = try Scratch()
    let cut = try VersionSearcher(outputShards: try version(sample, cuts: [100, 100, 450], in: whole))
    for threads in [1, 2, 3] { #expect(try cut.search(queries, k: 7, nprobe: 3, threads: threads) == expected) }
    let lists = ranking(of: queries, sample).flatMap { $0.prefix(3) }
    #expect(try cut.search(queries, k: 7, lists: lists) == expected)
    #expect(cut.listSizes.reduce(0, +) == 600)
    for query in 0..<50 {
      let visited = lists[query * 3..<query * 3 + 3].reduce(0) { $0 + cut.listSizes[Int($1)] }
      #expect(expected.visitedRows[query] == visited)
      let alone = try cut.search(Array(queries[query * 16..<(query + 1) * 16]), k: 7, nprobe: 3)
      #expect(alone.neighbors[0] == expected.neighbors[query])
    }
  }

  @Test func stockFaissGivesTheSameNeighbours() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 16, nlist: 8, count: 400)
    let paths = try version(sample, cuts: [], in: scratch)
    var numbers = SeededNumbers(seed: 6)
    let queries = numbers.unitRows(9, dimension: 16)
    let found = try VersionSearcher(outputShards: paths).search(queries, k: 5, nprobe: 4)
    for map in [0, 1] as [Int32] {
      var index: OpaquePointer?
      #expect(cfaiss_open(paths[0], map, &index, nil, 0) == 0)
      let opened = try #require(index)
      defer { cfaiss_close(opened) }
      var description = cfaiss_description()
      #expect(cfaiss_describe(opened, &description, nil, 0) == 0)
      #expect(description.count == 400 && description.nlist == 8 && description.dimension == 16)
      #expect(description.code_size == 16 && description.by_residual == 0 && description.inner_product == 1)
      #expect(
        description.nprobe == 3 && description.is_trained == 1
          && description.quantizer == VectorCodec.sq8.faissQuantizerType)
      var ids = [Int64](repeating: 0, count: 45)
      var scores = [Float](repeating: 0, count: 45)
      #expect(cfaiss_search(opened, 2, 9, queries, 4, 5, &ids, &scores, nil, 0) == 0)
      #expect(ids == found.paddedIDs)
      #expect(zip(scores, found.paddedScores).allSatisfy { abs($0 - $1) < 1e-5 })
    }
  }

  @Test func equalScoresAreOrderedByID() throws {
    let scratch = try Scratch()
    // Ten identical rows in each of three output shards.
    let quantizer = try ScalarQuantizer(codec: .flat, dimension: 2)
    let trained = try TrainedIndex(centroids: [1, 0, 0, 1], quantizer: quantizer)
    let paths = try (0..<3).map { number in
      let path = scratch.file("s\(number)")
      _ = try SegmentWriter.write(
        SegmentDescription(
          codec: .flat, dimension: 2, nlist: 2, trainedIndex: trainedDigest, shard: ContentDigest.of("x")),
        assignments: (0..<10).map { $0 % 2 }, codes: quantizer.encode([Float](repeating: 0.5, count: 20)), to: path,
        temporaryPath: path + ".tmp")
      let output = scratch.file("o\(number)")
      _ = try OutputShardMerge.write(
        [MergeInput(segment: try SegmentFile(path: path), firstRowID: Int64(2 - number) * 10)], trained: trained,
        trainedDigest: trainedDigest, to: output, temporaryPath: output + ".tmp")
      return output
    }
    let result = try VersionSearcher(outputShards: paths).search([1, 1], k: 30, nprobe: 2)
    #expect(result.neighbors[0].map(\.id) == Array(0..<30))
    #expect(result.neighbors[0].allSatisfy { $0.score == 1 })
  }

  @Test func fewRowsAreAShortAnswerPaddedOnlyForFiles() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 8, nlist: 2, count: 6)
    let paths = try version(sample, cuts: [0, 3], in: scratch, holes: [1, 4])
    let result = try VersionSearcher(outputShards: paths).search(Array(sample.vectors.prefix(8)), k: 9, nprobe: 50)
    #expect(result.neighbors[0].count == 4)
    #expect(Set(result.neighbors[0].map(\.id)) == [0, 2, 3, 5])
    #expect(result.paddedIDs.count == 9 && result.paddedIDs.suffix(5).allSatisfy { $0 == -1 })
    #expect(result.paddedScores.suffix(5).allSatisfy { $0 == -.greatestFiniteMagnitude })
  }

  @Test func onlyTheVisitedListsAnswer() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .flat, dimension: 8, nlist: 5, count: 200)
    let searcher = try VersionSearcher(outputShards: try version(sample, cuts: [77], in: scratch))
    let query = Array(sample.vectors.prefix(8))
    let best = (0..<5).max { left, right in
      func score(_ list: Int) -> Float {
        zip(query, sample.trained.centroids[list * 8..<(list + 1) * 8]).reduce(0) { $0 + $1.0 * $1.1 }
      }
      return score(left) < score(right)
    }
    let expected = bruteForce(sample, query: query[...], lists: [UInt32(try #require(best))])
    let result = try searcher.search(query, k: 200, nprobe: 1)
    #expect(Set(result.neighbors[0].map { Int($0.id) }) == Set(expected.map(\.0)))
  }

  @Test(arguments: [1, 5, 40])
  func listsAreRankedByTheDefinition(nprobe: Int) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 24, nlist: 40, count: 400)
    let searcher = try VersionSearcher(outputShards: try version(sample, cuts: [30], in: scratch))
    var numbers = SeededNumbers(seed: 17)
    let queries = numbers.unitRows(30, dimension: 24)
    let found = try searcher.search(queries, k: 400, nprobe: nprobe, threads: 2)
    for (query, ranked) in ranking(of: queries, sample).enumerated() {
      let visited = Set(ranked.prefix(nprobe))
      let expected = (0..<400).filter { visited.contains(Int32(sample.lists[$0])) }
      #expect(Set(found.neighbors[query].map { Int($0.id) }) == Set(expected))
    }
  }

  /// More threads than processors: those that wait for others sleep, are woken, and every answer is the same.
  @Test func manyThreadsOnFewProcessorsEnd() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 24, nlist: 40, count: 2000)
    let searcher = try VersionSearcher(outputShards: try version(sample, cuts: [900], in: scratch))
    var numbers = SeededNumbers(seed: 19)
    let queries = numbers.unitRows(40, dimension: 24)
    let alone = try searcher.search(queries, k: 10, nprobe: 20)
    let count = 3 * ProcessInfo.processInfo.activeProcessorCount + 1
    for _ in 0..<50 { #expect(try searcher.search(queries, k: 10, nprobe: 20, threads: count) == alone) }
  }

  /// All lists of a sample in the order in which each query visits them: by
  /// the score of their centroid, of equal scores the lower list first.
  private func ranking(of queries: [Float], _ sample: Sample) -> [[Int32]] {
    let dimension = sample.trained.dimension
    return (0..<queries.count / dimension).map { query in
      let vector = Array(queries[query * dimension..<(query + 1) * dimension])
      let scores = (0..<sample.trained.nlist).map { list in
        crows_score(
          0, vector, Array(sample.trained.centroids[list * dimension..<(list + 1) * dimension]), dimension)
      }
      return (0..<Int32(scores.count)).sorted {
        let (left, right) = (scores[Int($0)], scores[Int($1)])
        return left != right ? left > right : $0 < $1
      }
    }
  }

  @Test func aListThatIsNotThereIsRefused() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 8, nlist: 3, count: 30)
    let searcher = try VersionSearcher(outputShards: try version(sample, cuts: [], in: scratch))
    let query = Array(sample.vectors.prefix(8))
    for lists in [[3], [-2], []] as [[Int32]] {
      if lists.isEmpty {
        #expect(try searcher.search(query, k: 1, lists: lists).neighbors == [[]])
      } else {
        expectRefusal(.usage) { _ = try searcher.search(query, k: 1, lists: lists) }
      }
    }
    let some = try searcher.search(query, k: 30, lists: [-1, 2])
    #expect(Set(some.neighbors[0].map { Int($0.id) }) == Set((0..<30).filter { sample.lists[$0] == 2 }))
  }

  @Test func anEmptyVersionAnswersNothing() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 8, nlist: 1, count: 0)
    let searcher = try VersionSearcher(outputShards: try version(sample, cuts: [], in: scratch))
    #expect(try searcher.search([Float](repeating: 1, count: 16), k: 3, nprobe: 1).neighbors == [[], []])
    #expect(try searcher.search([], k: 3, nprobe: 1).neighbors.isEmpty)
  }

  @Test func parametersAndFilesThatCannotBeMeantAreRefused() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 8, nlist: 2, count: 20)
    let paths = try version(sample, cuts: [10], in: scratch)
    let searcher = try VersionSearcher(outputShards: paths)
    let query = [Float](repeating: 1, count: 8)
    expectRefusal(.usage) { _ = try searcher.search(query, k: 0, nprobe: 1) }
    expectRefusal(.usage) { _ = try searcher.search(query, k: 1, nprobe: 0) }
    expectRefusal(.usage) { _ = try searcher.search(query, k: 1, nprobe: 1, threads: 0) }
    expectRefusal(.usage, naming: "8 dimensions") { _ = try searcher.search([1, 2, 3], k: 1, nprobe: 1) }
    expectRefusal(.badFeatures, naming: "query 1") {
      _ = try searcher.search(query + [.nan] + query.dropLast(), k: 1, nprobe: 1)
    }
    expectRefusal(.inputsMissing) { _ = try VersionSearcher(outputShards: []) }
    expectRefusal(.inputsMissing) { _ = try VersionSearcher(outputShards: [scratch.file("none")]) }
    let other = try Scratch()
    let foreign = try version(try Sample(codec: .sq4, dimension: 8, nlist: 2, count: 20, seed: 8), cuts: [], in: other)
    expectRefusal(.integrity, naming: "another trained index") {
      _ = try VersionSearcher(outputShards: paths + foreign)
    }
    try write(Array(try bytes(of: paths[1]).dropLast()), to: paths[1])
    expectRefusal(.integrity, naming: paths[1]) { _ = try VersionSearcher(outputShards: paths) }
  }

  @Test func theShimTurnsFaissExceptionsIntoText() throws {
    let scratch = try Scratch()
    var error = [CChar](repeating: 1, count: 40)
    var index: OpaquePointer?
    #expect(cfaiss_open(scratch.file("none"), 1, &index, &error, 40) == -1)
    #expect(index == nil)
    #expect(error.contains(0) && error[0] != 0)
    try write(Array("not an index".utf8), to: scratch.file("junk"))
    #expect(cfaiss_open(scratch.file("junk"), 0, &index, &error, 40) == -1)
    #expect(cfaiss_open(scratch.file("junk"), 0, &index, nil, 0) == -1)
    #expect(String(cString: cfaiss_version()) == "1.7.3")
  }
}
