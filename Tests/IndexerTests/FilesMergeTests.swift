// The merge: its output is the file FAISS itself would write, and its guards.

import Base
import Foundation
import Indexer
import Testing

private let trainedDigest = ContentDigest.of("trained")

private func merge(_ sample: Sample, _ inputs: [MergeInput], to path: String) throws -> OutputShardSummary {
  try OutputShardMerge.write(
    inputs, trained: sample.trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
}

struct FilesMergeTests {
  @Test(arguments: VectorCodec.allCases, [1, 4, 300])
  func outputIsByteEqualToFaissOwnWhateverTheCut(codec: VectorCodec, nlist: Int) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: codec, dimension: 9, nlist: nlist, count: 700)
    try sample.writeWithFaiss(to: scratch.file("faiss"), rows: Array(0..<700), ids: (0..<700).map { Int64($0) })
    let expected = try bytes(of: scratch.file("faiss"))
    for cuts in [[], [1], [200, 200, 650]] {
      let inputs = try sample.segments(cuts: cuts, trainedDigest: trainedDigest, in: scratch)
      let path = scratch.file("output")
      let summary = try merge(sample, inputs, to: path)
      #expect(try bytes(of: path) == expected)
      #expect(summary.digest == ContentDigest.of(expected))
      #expect((summary.byteCount, summary.rowCount) == (expected.count, 700))
      try OutputShardFile.verify(path, trained: sample.trained, summary: summary, idsIn: inputs.map(\.ids))
    }
  }

  @Test(arguments: [0, 1, 2, 3, 4, 5, 9, 10])
  func listSizesAreStoredAsFaissChoosesTo(occupied: Int) throws {
    let scratch = try Scratch()
    let count = occupied == 0 ? 0 : 60
    let sample = try Sample(codec: .sq4, dimension: 4, nlist: 10, count: count, occupiedLists: max(occupied, 1))
    try sample.writeWithFaiss(to: scratch.file("faiss"), rows: Array(0..<count), ids: (0..<count).map { Int64($0) })
    _ = try merge(
      sample, try sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch), to: scratch.file("output"))
    #expect(try bytes(of: scratch.file("output")) == bytes(of: scratch.file("faiss")))
  }

  @Test func listsLongerThanEveryBufferStreamThrough() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 5, nlist: 1, count: 300_000)
    try sample.writeWithFaiss(
      to: scratch.file("faiss"), rows: Array(0..<300_000), ids: (0..<300_000).map { Int64($0) })
    let inputs = try sample.segments(cuts: [20_001, 130_003], trainedDigest: trainedDigest, in: scratch)
    let summary = try merge(sample, inputs, to: scratch.file("output"))
    #expect(try Disk.digest(of: scratch.file("faiss")) == summary.digest)
    try OutputShardFile.verify(
      scratch.file("output"), trained: sample.trained, summary: summary, idsIn: inputs.map(\.ids))
  }

  @Test func holesKeepTheirIDs() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 6, nlist: 3, count: 90)
    let holes: Set = [0, 17, 29, 30, 31, 89]
    var inputs = try sample.segments(cuts: [30, 60], trainedDigest: trainedDigest, in: scratch, holes: holes)
    // The middle shard is missing: its ids stay free.
    inputs.remove(at: 1)
    inputs[1] = MergeInput(segment: inputs[1].segment, firstRowID: 1_000_000_000_060)
    let summary = try merge(sample, inputs, to: scratch.file("output"))
    let kept = (Array(0..<30) + Array(60..<90)).filter { !holes.contains($0) }
    try sample.writeWithFaiss(
      to: scratch.file("faiss"), rows: kept, ids: kept.map { Int64($0 < 30 ? $0 : 1_000_000_000_000 + $0) })
    #expect(try bytes(of: scratch.file("output")) == bytes(of: scratch.file("faiss")))
    #expect(summary.rowCount == kept.count)
    let shard = try OutputShardFile(path: scratch.file("output"))
    let ids = try (0..<3).flatMap { try shard.contents(ofList: $0).ids }
    #expect(Set(ids).count == kept.count && !ids.contains(17))
  }

  @Test func noSegmentsGiveAnEmptyOutputShard() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .fp16, dimension: 6, nlist: 3, count: 0)
    let summary = try merge(sample, [], to: scratch.file("output"))
    try sample.writeWithFaiss(to: scratch.file("faiss"), rows: [], ids: [])
    #expect(try bytes(of: scratch.file("output")) == bytes(of: scratch.file("faiss")))
    try OutputShardFile.verify(scratch.file("output"), trained: sample.trained, summary: summary, idsIn: [])
  }

  @Test func listDigestsAreOfTheListsBytesInTheFile() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 3, nlist: 4, count: 50)
    let summary = try merge(
      sample, try sample.segments(cuts: [9], trainedDigest: trainedDigest, in: scratch), to: scratch.file("output"))
    let shard = try OutputShardFile(path: scratch.file("output"))
    for list in 0..<4 {
      let (codes, ids) = try shard.contents(ofList: list)
      let idBytes = ids.flatMap { id in (0..<8).map { UInt8(truncatingIfNeeded: id >> (8 * Int64($0))) } }
      #expect(Array(summary.listDigests[list]) == Array(ContentDigest.of(codes + idBytes).bytes.prefix(16)))
    }
    #expect(summary.listDigests.root == ContentDigest.of(summary.listDigests.bytes))
    #expect(ListDigests(bytes: summary.listDigests.bytes) == summary.listDigests)
  }

  @Test func segmentsThatDoNotBelongAreRefusedAndNothingIsWritten() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 4, nlist: 3, count: 30)
    let inputs = try sample.segments(cuts: [10, 20], trainedDigest: trainedDigest, in: scratch)
    let before = Set(scratch.names)
    let output = scratch.file("output")
    func at(_ i: Int, _ first: Int64) -> MergeInput { MergeInput(segment: inputs[i].segment, firstRowID: first) }
    for wrong in [[at(0, 0), at(1, 9)], [at(1, 10), at(0, 0)], [at(0, -1)], [at(0, .max - 3)]] {
      expectRefusal(.integrity, naming: "ids start") { _ = try merge(sample, wrong, to: output) }
    }
    expectRefusal(.integrity, naming: "trained index") {
      _ = try OutputShardMerge.write(
        inputs, trained: sample.trained, trainedDigest: ContentDigest.of("other ranges"), to: output,
        temporaryPath: output + ".tmp")
    }
    expectRefusal(.integrity, naming: "31") {
      _ = try OutputShardMerge.write(
        inputs, trained: sample.trained, trainedDigest: trainedDigest, to: output, temporaryPath: output + ".tmp",
        expectedRowCount: 31)
    }
    for other in [
      try Sample(codec: .sq8, dimension: 4, nlist: 3, count: 5),
      try Sample(codec: .sq4, dimension: 3, nlist: 3, count: 5),
      try Sample(codec: .sq4, dimension: 4, nlist: 2, count: 5),
    ] {
      expectRefusal(.integrity, naming: "nlist") { _ = try merge(other, inputs, to: output) }
    }
    #expect(Set(scratch.names) == before)
  }

  @Test func aDamagedSegmentStopsTheMerge() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 4, nlist: 3, count: 30)
    let path = try sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch)[0].segment.path
    var damaged = try bytes(of: path)
    damaged[damaged.count - 32 - 3 * 16 - 1] ^= 4
    try write(damaged, to: path)
    let input = MergeInput(segment: try SegmentFile(path: path), firstRowID: 0)
    expectRefusal(.integrity, naming: "list 2") { _ = try merge(sample, [input], to: scratch.file("output")) }
    #expect(scratch.names == ["segment-0"])
  }

  @Test func aMergeThatIsStoppedLeavesNothing() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 4, nlist: 3, count: 30)
    let inputs = try sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch)
    var calls = 0
    expectRefusal(.interrupted) {
      _ = try OutputShardMerge.write(
        inputs, trained: sample.trained, trainedDigest: trainedDigest, to: scratch.file("output"),
        temporaryPath: scratch.file("output.tmp")
      ) {
        calls += 1
        if calls == 2 { throw TarnError(.interrupted, "stopped") }
      }
    }
    #expect(scratch.names == ["segment-0"])
  }

  @Test func readingBackNamesTheListThatDiffers() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 4, nlist: 3, count: 30)
    let inputs = try sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch)
    let path = scratch.file("output")
    let summary = try merge(sample, inputs, to: path)
    let whole = try bytes(of: path)
    let listBytes = 30 * (2 + 8)
    for position in whole.indices {
      var flipped = whole
      flipped[position] ^= 1
      try write(flipped, to: path)
      expectRefusal(.integrity, naming: position < whole.count - listBytes ? path : "list") {
        try OutputShardFile.verify(path, trained: sample.trained, summary: summary, idsIn: inputs.map(\.ids))
      }
    }
    for count in 0..<whole.count {
      try write(Array(whole.prefix(count)), to: path)
      expectRefusal(.integrity, naming: path) { _ = try OutputShardFile(path: path) }
    }
  }
}
