// Codes that refine: what a segment and a file hold, held against codes of each row made one by
// one, and what a search makes of them, held against its definition.

import Base
import CCodec
import CRows
import CScan
import Features
import Indexer
import Testing

private let trainedDigest = ContentDigest.of("trained")

/// A sample with segments that have codes that refine, and all that these must be.
private struct RefinedSample {
  let sample: Sample
  let trained: TrainedIndex
  let refine: ScalarQuantizer
  let holes: Set<Int>

  init(_ codec: VectorCodec, count: Int = 300, dimension: Int = 9, holes: Set<Int> = [3, 299]) throws {
    sample = try Sample(codec: .sq4, dimension: dimension, nlist: 4, count: count)
    var trainer = try RangeTrainer(codec: codec, dimension: dimension, statistic: codec.defaultRanges)
    trainer.add(sample.vectors)
    refine = try trainer.finish()
    trained = try TrainedIndex(
      centroids: sample.trained.centroids, quantizer: sample.trained.quantizer, refine: refine, nprobe: 3)
    self.holes = holes
  }

  /// The code of a row; 0 in a hole.
  func code(ofRow row: Int) -> [UInt8] {
    holes.contains(row)
      ? [UInt8](repeating: 0, count: refine.codeByteCount) : refine.encode(sample.rows(row..<row + 1))
  }

  /// Opens the files that outputs of segments are written to, and those that refine them.
  func searcher(_ parts: [[MergeInput]], _ name: String, in scratch: Scratch) throws -> VersionSearcher {
    var (outputs, places): ([String], [RefinePlace]) = ([], [])
    for (number, part) in parts.enumerated() {
      let path = scratch.file("\(name)-\(number)")
      _ = try OutputShardMerge.write(
        part, trained: trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
      let ids = part[0].ids.lowerBound..<part[part.count - 1].ids.upperBound
      _ = try RefineFile.write(part, trained: trained, ids: ids, keeping: part.map(\.ids), to: path + ".refine")
      outputs.append(path)
      places.append(RefinePlace(path: path + ".refine", ids: ids))
    }
    return try VersionSearcher(outputShards: outputs, refinedBy: places)
  }

  /// Segments of the rows cut at `cuts`, with `gap` ids between each and the next.
  func segments(cuts: [Int], gap: Int64 = 0, in scratch: Scratch, buffers: BufferPlan = BufferPlan()) throws
    -> [MergeInput]
  {
    let edges = [0] + cuts + [sample.count]
    let width = trained.quantizer.codeByteCount
    return try zip(edges, edges.dropFirst()).enumerated().map { number, edge in
      let path = scratch.file("refined-\(number)")
      let description = SegmentDescription(
        codec: .sq4, dimension: sample.dimension, nlist: trained.nlist, trainedIndex: trainedDigest,
        shard: .of("shard \(number)"), refine: refine.codec)
      _ = try SegmentWriter.write(
        description,
        assignments: (edge.0..<edge.1).map { holes.contains($0) ? SegmentWriter.skippedRow : sample.lists[$0] },
        to: path, temporaryPath: path + ".tmp", buffers: buffers,
        refine: { rows, codes in
          // Of a hole, too: that must not be kept.
          let made = refine.encode(sample.rows(edge.0 + rows.lowerBound..<edge.0 + rows.upperBound))
          _ = codes.update(fromContentsOf: made)
        },
        codes: { order, places, codes in
          for row in edge.0..<edge.1 where places.contains(Int(order.places[row - edge.0])) {
            let code = trained.quantizer.encode(sample.rows(row..<row + 1))
            for (byte, value) in code.enumerated() {
              codes[(Int(order.places[row - edge.0]) - places.lowerBound) * width + byte] = value
            }
          }
        })
      return MergeInput(segment: try SegmentFile(path: path), firstRowID: Int64(edge.0) + gap * Int64(number))
    }
  }
}

struct RefineTests {
  /// Property 1 of RefineFile: code i is that of the row first + i, and everything else is 0.
  @Test(arguments: VectorCodec.refining, [Int64(0), 7])
  func codeIIsThatOfTheRowFirstPlusI(codec: VectorCodec, gap: Int64) throws {
    let scratch = try Scratch()
    let refined = try RefinedSample(codec)
    // Buffers of a few rows, so that pieces are cut everywhere.
    let inputs = try refined.segments(
      cuts: [90, 90, 200], gap: gap, in: scratch, buffers: BufferPlan(byteCount: 100, count: 2))
    for input in inputs { try input.segment.verify() }
    var numbers = SeededNumbers(seed: 11)
    let (first, end) = (inputs[0].ids.lowerBound, inputs[3].ids.upperBound + 5)
    for excludedCount in [0, 1, 40] {
      let excluded = Set((0..<excludedCount).map { _ in Int64(numbers.next(below: 300)) })
      let ranges = inputs.flatMap { input in input.ids.without(excluded.filter(input.ids.contains).sorted()) }
      let path = scratch.file("refine.faiss")
      let summary = try RefineFile.write(
        inputs, trained: refined.trained, ids: first..<end, keeping: ranges, to: path)
      try RefineFile.verify(path, summary)
      #expect(
        try RefineFile.read(path, trained: refined.trained, ids: first..<end, keeping: ranges) == summary)
      #expect(
        summary.byteCount
          == RefineFile.byteCount(codec, dimension: refined.sample.dimension, count: Int(end - first)))
      let file = try RefineFile(path: path)
      #expect(file.count == Int(end - first) && file.quantizer == refined.refine)
      var expected = [UInt8](repeating: 0, count: file.count * refined.refine.codeByteCount)
      let edges = [0, 90, 90, 200, 300]
      for (number, input) in inputs.enumerated() {
        for row in edges[number]..<edges[number + 1] {
          let id = input.firstRowID + Int64(row - edges[number])
          guard ranges.contains(where: { $0.contains(id) }) else { continue }
          let start = Int(id - first) * refined.refine.codeByteCount
          expected.replaceSubrange(start..<start + refined.refine.codeByteCount, with: refined.code(ofRow: row))
        }
      }
      #expect(try bytes(of: path).suffix(expected.count).elementsEqual(expected))
      // A file that is cut out of one with more rows is the same.
      let whole = scratch.file("whole.faiss")
      _ = try RefineFile.write(
        inputs, trained: refined.trained, ids: first..<end, keeping: inputs.map(\.ids), to: whole)
      let cut = scratch.file("cut.faiss")
      #expect(
        try RefineFile(path: whole).write(ids: first..<end, keeping: ranges, to: cut, checkpoint: {}) == summary)
      #expect(try bytes(of: cut) == bytes(of: path))
      if excludedCount > 0 {
        expectRefusal(.integrity, naming: "to be without") {
          _ = try RefineFile.read(whole, trained: refined.trained, ids: first..<end, keeping: ranges)
        }
      }
    }
  }

  /// A document says which ids there are.
  @Test func moreIdsThanThereAreEndNothingAndAreLeft() throws {
    let scratch = try Scratch()
    let refined = try RefinedSample(.sq8)
    let path = scratch.file("refine.faiss")
    for end in [(Int64(1) << 48) + 1, 1 << 62] {
      expectRefusal(.integrity, naming: path) {
        _ = try RefineFile.write([], trained: refined.trained, ids: 0..<end, keeping: [], to: path)
      }
    }
    // What lies between rows can be long: it is asked whether to stop there, too.
    var asked = 0
    expectRefusal(.interrupted) {
      _ = try RefineFile.write([], trained: refined.trained, ids: 0..<(1 << 40), keeping: [], to: path) {
        asked += 1
        if asked == 3 { throw TarnError.interrupted }
      }
    }
    #expect(scratch.names.isEmpty)
  }

  @Test func refusesAFileThatIsCutOrOfAnother() throws {
    let scratch = try Scratch()
    let refined = try RefinedSample(.sq8, count: 12, dimension: 3, holes: [])
    let inputs = try refined.segments(cuts: [], in: scratch)
    let path = scratch.file("refine.faiss")
    _ = try RefineFile.write(inputs, trained: refined.trained, ids: 0..<12, keeping: [0..<12], to: path)
    let whole = try bytes(of: path)
    let damaged = scratch.file("damaged.faiss")
    for count in 0..<whole.count {
      try write(Array(whole.prefix(count)), to: damaged)
      expectRefusal(.integrity, naming: damaged) { _ = try RefineFile(path: damaged) }
    }
    try write(whole + [0], to: damaged)
    expectRefusal(.integrity, naming: damaged) { _ = try RefineFile(path: damaged) }
    // Whatever byte of the head is another: refused, or found to be of another trained index.
    for place in 0..<whole.count - 12 * 3 {
      var other = whole
      other[place] ^= 0x41
      try write(other, to: damaged)
      expectRefusal(.integrity, naming: damaged) {
        _ = try RefineFile.read(damaged, trained: refined.trained, ids: 0..<12, keeping: [0..<12])
      }
    }
    expectRefusal(.integrity, naming: "of 12 ids") {
      _ = try RefineFile.read(path, trained: refined.trained, ids: 0..<13, keeping: [0..<13])
    }
  }

  @Test func aSegmentVouchesForItsCodesThatRefine() throws {
    let scratch = try Scratch()
    let refined = try RefinedSample(.sq8, count: 20, dimension: 4, holes: [5])
    let input = try #require(try refined.segments(cuts: [], in: scratch).first)
    let whole = try bytes(of: input.segment.path)
    // Codes, 32 bytes of digest at the end.
    for place in [whole.count - 33, whole.count - 32 - 20 * 4, whole.count - 1] {
      var damaged = whole
      damaged[place] ^= 1
      let path = scratch.file("damaged")
      try write(damaged, to: path)
      let segment = try SegmentFile(path: path)
      expectRefusal(.integrity, naming: "refine") { try segment.verify() }
      expectRefusal(.integrity, naming: "refine") {
        _ = try RefineFile.write(
          [MergeInput(segment: segment, firstRowID: 0)], trained: refined.trained, ids: 0..<20, keeping: [0..<20],
          to: scratch.file("out"))
      }
      #expect(!scratch.names.contains("out"))
    }
    try write(whole.dropLast(), to: scratch.file("short"))
    expectRefusal(.integrity) { _ = try SegmentFile(path: scratch.file("short")) }
  }

  @Test func aSegmentIsProvedByWhatRefinesToo() throws {
    let scratch = try Scratch()
    let refined = try RefinedSample(.sq8, count: 40, dimension: 4, holes: [5])
    let inputs = try refined.segments(cuts: [20], in: scratch)
    let path = scratch.file("output.faiss")
    _ = try OutputShardMerge.write(
      inputs, trained: refined.trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
    let output = try OutputShardFile(path: path)
    let refining = scratch.file("refine.faiss")
    _ = try RefineFile.write(inputs, trained: refined.trained, ids: 0..<40, keeping: [0..<40], to: refining)
    let good = try RefineFile(path: refining)
    #expect(try SegmentProof.proved(inputs, by: output, refine: (good, 0)) == [true, true])
    #expect(try SegmentProof.proved(inputs, by: output) == [false, false])
    var other = try bytes(of: refining)
    other[other.count - 1] ^= 1
    try write(other, to: refining)
    #expect(try SegmentProof.proved(inputs, by: output, refine: (RefineFile(path: refining), 0)) == [true, false])
  }

  @Test(arguments: VectorCodec.refining, [false, true])
  func aTrainedIndexKeepsWhatRefines(codec: VectorCodec, hasAssigner: Bool) throws {
    let scratch = try Scratch()
    let refined = try RefinedSample(codec)
    let whole = try TrainedIndex(
      centroids: refined.trained.centroids, assigner: hasAssigner ? refined.trained.centroids : nil,
      quantizer: refined.trained.quantizer, refine: refined.refine)
    let path = scratch.file("trained.faiss")
    let made = try TrainedIndexFile.write(whole, to: path, temporaryPath: path + ".tmp")
    #expect(try TrainedIndexFile.read(path, digest: made.digest) == whole)
    #expect(
      TrainedIndexFile.byteCount(codec: .sq4, dimension: 9, nlist: 4, hasAssigner: hasAssigner, refine: codec)
        == made.byteCount)
    try write(try bytes(of: path) + [1], to: path)
    expectRefusal(.integrity, naming: "codec that refines") { _ = try TrainedIndexFile.read(path) }
    expectRefusal(.usage) {
      _ = try TrainedIndex(
        centroids: refined.trained.centroids, quantizer: refined.trained.quantizer,
        refine: refined.sample.trained.quantizer)
    }
  }

  /// The rows with the greatest scores of their codes, ordered by those of the codes that refine.
  @Test(arguments: VectorCodec.refining) func aSearchAnswersAsItsDefinition(codec: VectorCodec) throws {
    let scratch = try Scratch()
    let refined = try RefinedSample(codec, count: 500, dimension: 16, holes: [3, 200])
    let inputs = try refined.segments(cuts: [123, 320], gap: 4, in: scratch)
    let one = try refined.searcher([inputs], "one", in: scratch)
    let cut = try refined.searcher(inputs.map { [$0] }, "cut", in: scratch)
    var rowOfID: [Int64: Int] = [:]
    for (number, input) in inputs.enumerated() {
      let start = [0, 123, 320][number]
      for row in 0..<input.segment.rowCount { rowOfID[input.firstRowID + Int64(row)] = start + row }
    }
    var numbers = SeededNumbers(seed: 5)
    let queries = numbers.unitRows(40, dimension: 16)
    for (k, candidates) in [(1, 1), (5, 20), (10, 33), (10, 100), (100, 100), (400, 600)] {
      let found = try one.search(queries, k: k, refining: candidates, nprobe: 3)
      let plain = try one.search(queries, k: candidates, nprobe: 3)
      for query in 0..<40 {
        let vector = Array(queries[query * 16..<(query + 1) * 16])
        let expected = plain.neighbors(ofQuery: query).map { neighbor -> (Int64, Double) in
          let decoded = refined.refine.decode(refined.code(ofRow: rowOfID[neighbor.id] ?? -1))
          return (neighbor.id, crows_score(SimdLevel.current, vector, decoded, 16))
        }.sorted { $0.1 != $1.1 ? $0.1 > $1.1 : $0.0 < $1.0 }.prefix(k)
        #expect(found.neighbors(ofQuery: query).map(\.id) == expected.map(\.0))
        #expect(found.neighbors(ofQuery: query).map(\.score) == expected.map { Float($0.1) })
        #expect(found.visitedRows[query] == plain.visitedRows[query])
      }
      for threads in 1...3 {
        #expect(try cut.search(queries, k: k, refining: candidates, nprobe: 3, threads: threads) == found)
      }
      let last = Array(queries.suffix(16))
      #expect(
        try cut.search(last, k: k, refining: candidates, nprobe: 3).neighbors(ofQuery: 0)
          == found.neighbors(ofQuery: 39))
    }
    #expect(one.candidates(for: 10) == 100 && one.candidates(for: 200) == 200)
    #expect(one.candidates(for: 10, refining: 0) == nil && one.candidates(for: 10, refining: 40) == 40)
    let plain = try VersionSearcher(outputShards: [scratch.file("one-0")])
    #expect(plain.candidates(for: 10) == nil)
    #expect(
      try plain.search(queries, k: 7, refining: nil, nprobe: 3) == plain.search(queries, k: 7, nprobe: 3))
    expectRefusal(.integrity) {
      _ = try VersionSearcher(
        outputShards: [scratch.file("one-0")], refinedBy: [RefinePlace(path: scratch.file("one-0.refine"), ids: 0..<7)])
    }
    expectRefusal(.inputsMissing) {
      _ = try VersionSearcher(
        outputShards: [scratch.file("one-0")], refinedBy: [RefinePlace(path: scratch.file("none"), ids: 0..<508)])
    }
    expectRefusal(.usage) { _ = try one.search(queries, k: 8, refining: 7, nprobe: 1) }
  }

  /// Which rows are nearly the same is told by the better codes, and not by those of the lists.
  @Test(arguments: VectorCodec.refining) func nearDuplicatesAreThoseOfTheBetterCodes(codec: VectorCodec) throws {
    let scratch = try Scratch()
    let refined = try RefinedSample(codec, count: 500, dimension: 6, holes: [3])
    let inputs = try refined.segments(cuts: [123, 320], in: scratch)
    let searcher = try refined.searcher(inputs.map { [$0] }, "cut", in: scratch)
    var numbers = SeededNumbers(seed: 6)
    let queries = numbers.unitRows(20, dimension: 6)
    let everything = try searcher.search(queries, k: 500, refining: 500, nprobe: 4)
    var isOther = false
    for (k, threshold) in [(1, 0.5), (4, 0.9), (10, 0.97), (10, 0.6)] {
      let found = try searcher.searchUnique(
        queries, k: k, nprobe: 4, threshold: threshold,
        candidates: { try searcher.search($0, k: $1, refining: 500, nprobe: 4) })
      for query in 0..<20 {
        let candidates = Array(everything.neighbors(ofQuery: query).prefix(16 * k))
        let best = candidates.map { refined.refine.decode(refined.code(ofRow: Int($0.id))) }
        let kept = try NearDuplicates.kept(of: best, threshold: threshold, atMost: k)
        #expect(found.neighbors(ofQuery: query) == kept.map { candidates[$0] }, "\(k) \(threshold)")
        let coded = searcher.vectors(ofRows: candidates.map(\.id)).map { $0 ?? [] }
        isOther = try isOther || NearDuplicates.kept(of: coded, threshold: threshold, atMost: k) != kept
      }
    }
    #expect(isOther, "four bits say the same of all")
    // So is what a row is searched with.
    let vectors = try searcher.bestVectors(ofRows: [7, 3, 499, 501])
    #expect(vectors == [7, nil, 499, nil].map { $0.map { refined.refine.decode(refined.code(ofRow: $0)) } })
  }
}
