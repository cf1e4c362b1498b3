// Nothing to do, at every entry of the indexer: no rows, no lists that hold any,
// no inputs, only bad rows, one list, more neighbours than rows. Each answers as
// its docstring says, and none of them traps.

import Base
import Features
import Foundation
import Indexer
import Logging
import Report
import Testing
import TestSupport

private let dimension = 8
private let trainedDigest = ContentDigest.of("trained")
private let logger = Logger(label: "test")

private func matrix(_ rowCount: Int, seed: UInt64 = 1) -> FeatureMatrix {
  var random = SplitMix64(seed: seed)
  return FeatureMatrix(random.unitRows(rowCount, dimension: dimension), dimension: dimension)
}

/// A feature file of zeros, which are bad rows; or of none.
private func zeros(_ rowCount: Int, in scratch: Scratch) throws -> PinnedShard {
  let path = scratch.file("zeros-\(rowCount).npy")
  let body = [UInt8](repeating: 0, count: 4 * rowCount * dimension)
  try write(NpyHeader.bytes(descr: "<f4", rowCount: rowCount, columns: dimension) + body, to: path)
  return PinnedShard(
    path: path, digest: try Disk.digest(of: path), rowCount: rowCount, dimension: dimension, elementType: .float32,
    remedy: "nothing")
}

/// A version of one output that holds the given rows, all in list 0.
private func output(_ sample: Sample, in scratch: Scratch) throws -> String {
  let path = scratch.file("output-\(sample.count)")
  let inputs = try sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch)
  let summary = try OutputShardMerge.write(
    inputs, trained: sample.trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
  #expect(summary.rowCount == sample.count)
  try OutputShardFile.verify(path, trained: sample.trained, summary: summary, idsIn: inputs.map(\.ids))
  return path
}

/// One entry of the indexer with nothing, or too little, to work on.
private struct EmptyCase: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let check: @Sendable (_ pool: WorkerPool, _ scratch: Scratch) throws -> Void

  init(_ name: String, _ check: @escaping @Sendable (_ pool: WorkerPool, _ scratch: Scratch) throws -> Void) {
    (testDescription, self.check) = (name, check)
  }
}

private let assignmentCases = AssignmentBackend.allCases.filter(\.isAvailable).flatMap { backend in
  [
    EmptyCase("\(backend): winners of no vectors") { pool, _ in
      for rowCount in [1, 5] {
        let engine = try AssignmentEngine(rows: matrix(rowCount), backend: backend, pool: pool)
        #expect(try engine.best(of: matrix(0)) == Winners())
        #expect(try engine.best(of: matrix(3), in: 2..<2) == Winners())
        #expect(try engine.best(of: matrix(3), listed: []) == Winners())
        #expect(engine.statistics.vectors == 0)
      }
    },
    EmptyCase("\(backend): one row wins whatever comes") { pool, _ in
      let engine = try AssignmentEngine(rows: matrix(1), backend: backend, pool: pool)
      #expect(try engine.best(of: matrix(9, seed: 2)).rows == [UInt32](repeating: 0, count: 9))
      // Of vectors that are all no numbers nothing can be learnt, and the first is named.
      let bad = FeatureMatrix([Float](repeating: .nan, count: 3 * dimension), dimension: dimension)
      expectRefusal(.badFeatures, naming: "row 0") { _ = try engine.best(of: bad) }
    },
    EmptyCase("\(backend): no rows to compare with") { pool, _ in
      expectRefusal(.usage, naming: "no rows") {
        _ = try AssignmentEngine(rows: matrix(0), backend: backend, pool: pool)
      }
      expectRefusal(.usage, naming: "no rows") {
        _ = try AssignmentEngine(rows: matrix(4), in: 2..<2, backend: backend, pool: pool)
      }
    },
  ]
}

private let trainingCases = [
  EmptyCase("unit rows of none") { pool, _ in
    #expect(matrix(2).unitRows(1..<1, pool: pool).rowCount == 0)
  },
  EmptyCase("a sample of no pairs") { _, _ in
    for counts in [[], [0], [0, 0]] {
      expectRefusal(.usage, naming: "sync shards that hold rows") {
        _ = try TrainingSample(count: nil, rowCounts: counts, seed: 1)
      }
    }
    let sample = try TrainingSample(count: nil, rowCounts: [0, 1, 0], seed: 1)
    #expect(sample.rows == [[], [0], []])
  },
  EmptyCase("a training matrix of no rows") { _, scratch in
    let path = scratch.file("matrix.npy")
    let writer = try TrainingMatrixWriter(
      creating: path + ".tmp", elementType: .float32, rowCount: 0, dimension: dimension)
    try writer.finish(as: path)
    #expect(try FeatureFile(path).rowCount == 0)
  },
  EmptyCase("k-means of no images, and of one list") { pool, _ in
    expectRefusal(.unfit, naming: "0 images") {
      _ = try PairedKMeans(
        images: matrix(0), captions: matrix(0), nearestImages: nil, nlist: 1, seed: 1, inputs: .of("x"), pool: pool)
    }
    expectRefusal(.unfit, naming: "0 distinct nearest images") {
      _ = try PairedKMeans(
        images: matrix(3), captions: matrix(0), nearestImages: [], nlist: 1, seed: 1, inputs: .of("x"), pool: pool)
    }
    let training = try PairedKMeans(
      images: matrix(1), captions: matrix(1), nearestImages: nil, nlist: 1, seed: 1, inputs: .of("x"), pool: pool)
    var state = try training.initialState()
    let report = try training.step(&state)
    #expect(state.cells == [0] && report.emptyCells == 0 && report.imbalance == 1)
  },
  EmptyCase("nearest images of no captions, and among none") { pool, scratch in
    expectRefusal(.unfit, naming: "0 images") {
      _ = try NearestImages(images: matrix(0), captions: matrix(2), inputs: .of("x"), pool: pool)
    }
    let nearest = try NearestImages(images: matrix(2), captions: matrix(0), inputs: .of("x"), pool: pool)
    #expect(nearest.tileCount == 0)
    var state = nearest.initialState
    try nearest.run(&state)
    try nearest.save(state, as: scratch.file("nearest"))
    #expect(try nearest.load(scratch.file("nearest")) == state)
  },
  EmptyCase("labels of no queries, and among no images") { _, scratch in
    for (queries, images) in [(0, 3), (3, 0)] {
      let labels = RouterLabels(queries: matrix(queries), images: matrix(images), inputs: .of("x"))
      let found = try labels.find(resumingAt: scratch.file("labels")) { _ in }
      #expect(found.isEmpty)
      _ = try labels.save(found, as: scratch.file("labels"))
      #expect(try labels.load(scratch.file("labels")).isEmpty)
    }
  },
  EmptyCase("a router of one list that one caption trains") { pool, _ in
    let training = try RouterTraining(
      method: .learned, captions: matrix(1), labels: [0], listSizes: [0],
      centroids: matrix(1).floats(rows: 0..<1), epochs: 2, seed: 1, inputs: .of("x"), pool: pool)
    var state = training.initialState()
    while state.epoch < training.epochs { training.step(&state) }
    #expect(state.weights.allSatisfy(\.isFinite) && state.losses.allSatisfy { abs($0) < 1e-6 })
  },
  EmptyCase("ranges of no rows, and codes of none") { _, _ in
    for codec in VectorCodec.allCases {
      var trainer = try RangeTrainer(codec: codec, dimension: dimension)
      trainer.add([])
      if codec.hasRanges {
        expectRefusal(.badFeatures, naming: "no rows") { _ = try trainer.finish() }
        trainer.add(matrix(1).floats(rows: 0..<1))
      }
      #expect(try trainer.finish().encode([]).isEmpty)
    }
  },
]

private let buildCases = VectorCodec.allCases.map { codec in
  EmptyCase("\(codec): a shard of no rows, and of bad ones alone") { pool, scratch in
    for nlist in [1, 4] {
      let sample = try Sample(codec: codec, dimension: dimension, nlist: nlist, count: 4)
      for normalisation in Normalisation.allCases {
        for rowCount in [0, 5, 600] {
          let shard = try zeros(rowCount, in: scratch)
          let path = scratch.file("segment")
          let encoder = try ShardEncoder(
            sample.trained, digest: trainedDigest, badRows: .skip, normalisation: normalisation, rowCount: rowCount,
            pool: pool, logger: logger)
          let result = try encoder.encode(shard.read(), to: path) { _ in }
          #expect(result.badRowCount == rowCount && result.segment.storedRowCount == 0)
          let segment = try SegmentFile(path: path)
          #expect(segment.rowCount == rowCount && segment.storedRowCount == 0)
          try segment.verify()
        }
      }
    }
  }
}

private let searchCases = [
  EmptyCase("a merge of no segments") { _, scratch in
    let sample = try Sample(codec: .sq4, dimension: dimension, nlist: 3, count: 0)
    let path = scratch.file("output")
    let summary = try OutputShardMerge.write(
      [], trained: sample.trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
    #expect(summary.rowCount == 0 && summary.listDigests.count == 3)
    try OutputShardFile.verify(path, trained: sample.trained, summary: summary, idsIn: [])
    #expect(try OutputShardFile(path: path).contents(ofList: 2).ids.isEmpty)
  },
  EmptyCase("a search of no outputs, of no rows, for no queries, for more than there are") { _, scratch in
    expectRefusal(.inputsMissing) { _ = try VersionSearcher(outputShards: []) }
    for codec in VectorCodec.allCases {
      for (count, nlist) in [(0, 1), (0, 4), (3, 1), (3, 4)] {
        let sample = try Sample(codec: codec, dimension: dimension, nlist: nlist, count: count)
        let searcher = try VersionSearcher(outputShards: [try output(sample, in: scratch)])
        let queries = matrix(2, seed: 9).floats(rows: 0..<2)
        for threads in [1, 3] {
          for k in [1, 10, 300, 65_536] {
            #expect(try searcher.search([], k: k, nprobe: 1, threads: threads).neighbors.isEmpty)
            let all = try searcher.search(queries, k: k, nprobe: 1000, threads: threads)
            #expect(all.counts == [min(k, count), min(k, count)] && all.visitedRows == [count, count])
            #expect(all.paddedIDs.count == 2 * k && all.paddedIDs.count { $0 == -1 } == 2 * (k - min(k, count)))
          }
          #expect(try searcher.search(queries, k: 3, lists: [], threads: threads).counts == [0, 0])
          #expect(try searcher.search(queries, k: 3, lists: [-1, -1], threads: threads).counts == [0, 0])
          #expect(try searcher.search([], k: 3, lists: [], threads: threads).neighbors.isEmpty)
        }
      }
    }
  },
  EmptyCase("exact neighbours of no queries, and among no rows") { pool, scratch in
    var none = try ExactNeighbors(queries: matrix(0), k: 3, pool: pool)
    try none.add(matrix(5))
    #expect(none.ids.isEmpty)
    var found = try ExactNeighbors(queries: matrix(2), k: 3, pool: pool)
    try found.add(matrix(0))
    for normalisation in Normalisation.allCases {
      try found.add(zeros(0, in: scratch).open().matrix, firstID: 0, normalisation) { _ in }
      try found.add(zeros(5, in: scratch).open().matrix, firstID: 0, normalisation) { _ in }
    }
    #expect(found.counts == [0, 0] && found.ids == [RowID](repeating: -1, count: 6) && found.found(for: 1).isEmpty)
    _ = try found.save(as: scratch.file("truth"), inputs: .of("x"))
    try found.load(scratch.file("truth"), inputs: .of("x"))
    try found.add(matrix(1))
    #expect(found.counts == [1, 1])
  },
  EmptyCase("recall of no queries, and over no rows") { pool, scratch in
    for (queryCount, count) in [(0, 3), (0, 0), (2, 0)] {
      let sample = try Sample(codec: .sq8, dimension: dimension, nlist: 2, count: count)
      let path = try output(sample, in: scratch)
      let queries = matrix(queryCount, seed: 3)
      let truth = try ExactNeighbors(queries: queries, k: 2, pool: pool)
      var filing = Filing(wanted: truth.ids)
      #expect(filing.imbalance == 1 && filing.histogram.isEmpty)
      try filing.add(OutputShardFile(path: path))
      #expect(count > 0 || filing.imbalance == 1 && filing.histogram == [2])
      let floats = queries.floats(rows: 0..<queryCount)
      let searcher = try VersionSearcher(outputShards: [path])
      let result = try searcher.search(floats, k: 2, nprobe: 1)
      let point = try RecallMeasure(truth: truth, filing: filing, queries: floats)
        .point(nprobe: 1, result, from: searcher, depths: [1, 2], seconds: 1)
      #expect(point.vectorsScanned == 0)
      #expect(point.recalls == [1, 2].map { RecallPoint(k: $0, recall: 0, standardError: 0, routingRecall: 0) })
    }
  },
  EmptyCase("re-ranking what was not found") { _, scratch in
    let sample = try Sample(codec: .sq4, dimension: dimension, nlist: 2, count: 0)
    let searcher = try VersionSearcher(outputShards: [try output(sample, in: scratch)])
    let reranker = Reranker(ranges: [], dimension: dimension, normalisation: .refuse) { _ in
      throw TarnError(.inputsMissing, "nothing is opened")
    }
    for queryCount in [0, 2] {
      let queries = matrix(queryCount, seed: 3).floats(rows: 0..<queryCount)
      let found = try searcher.search(queries, k: 4, nprobe: 2)
      #expect(try reranker.rerank(found, queries: queries, k: 2).counts == [Int](repeating: 0, count: queryCount))
    }
  },
  EmptyCase("a page of nothing") { _, _ in
    for points in [[], [EvaluationPoint(nprobe: 1, vectorsScanned: 0, seconds: 1, recalls: [])]] {
      let evaluation = Evaluation(
        version: VersionName(name: "b", number: 1), queries: "q", queriesDigest: .of("q"), queryCount: 0, rowCount: 0,
        nlist: 1, truthDigest: .of("t"), threads: 1, imbalance: 1, listSizes: [], environment: "{}", points: points)
      let grids = [ShardGrid(title: "b", states: [])]
      let page = ReportPage.evaluations([evaluation], k: 10, lineages: [Lineage([])], grids: grids, footer: "").text
      #expect(!page.contains("nan") && !page.contains("inf\""))
    }
    #expect(!ReportPage.shards(of: "lake", sources: [], versions: [], footer: "").text.isEmpty)
  },
]

@Suite struct EmptySetTests {
  @Test(arguments: assignmentCases + trainingCases + buildCases + searchCases)
  fileprivate func nothingToDoIsAnAnswer(_ empty: EmptyCase) throws {
    for threads in [1, 3] { try empty.check(WorkerPool(threadCount: threads), Scratch()) }
  }

  /// The last block of a shard, or one in its middle, may have bad rows alone.
  @Test(arguments: [30_720, 30_721])
  func aBlockOfBadRowsAloneIsLeftOut(zeroCount: Int) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: dimension, nlist: 4, count: 20)
    let path = scratch.file("shard.npy")
    // A block is 30,720 rows: the first is bad whole, and after it 20 rows are good.
    try write(
      NpyHeader.bytes(descr: "<f4", rowCount: zeroCount + 20, columns: dimension)
        + [UInt8](repeating: 0, count: 4 * zeroCount * dimension)
        + sample.vectors.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) } },
      to: path)
    let shard = PinnedShard(
      path: path, digest: try Disk.digest(of: path), rowCount: zeroCount + 20, dimension: dimension,
      elementType: .float32, remedy: "nothing")
    let encoder = try ShardEncoder(
      sample.trained, digest: trainedDigest, badRows: .skip, normalisation: .refuse, rowCount: 1, logger: logger)
    let result = try encoder.encode(shard.read(), to: scratch.file("segment")) { _ in }
    #expect(result.badRowCount == zeroCount && result.segment.storedRowCount == 20)
    try SegmentFile(path: scratch.file("segment")).verify()
  }
}
