// The pipeline of the large files: bytes do not depend on buffers, and a disk
// that refuses leaves nothing.

import Base
import Foundation
import FuzzReaders
import Indexer
import Testing

private let trainedDigest = ContentDigest.of("trained")

private let plans = [
  BufferPlan(byteCount: 1, count: 2, batchByteCount: 1, codeByteCount: 1),
  BufferPlan(byteCount: 37, count: 3, batchByteCount: 100, codeByteCount: 14),
  BufferPlan(byteCount: 4096, count: 2, batchByteCount: 3000, codeByteCount: 1000),
  BufferPlan(byteCount: 10_000, count: 5, batchByteCount: 1 << 20),
]

struct FilesPipelineTests {
  @Test(arguments: plans.indices, [1, 40])
  func bytesAndDigestsDoNotDependOnBuffers(plan: Int, nlist: Int) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 9, nlist: nlist, count: 600)
    let inputs = try sample.segments(
      cuts: [100, 100, 450], trainedDigest: trainedDigest, in: scratch, holes: [3, 599])
    let expected = scratch.file("expected")
    let summary = try OutputShardMerge.write(
      inputs, trained: sample.trained, trainedDigest: trainedDigest, to: expected, temporaryPath: expected + ".tmp")
    #expect(try Disk.digest(of: expected) == summary.digest)
    let output = scratch.file("output")
    let found = try OutputShardMerge.write(
      inputs, trained: sample.trained, trainedDigest: trainedDigest, to: output, temporaryPath: output + ".tmp",
      buffers: plans[plan])
    #expect(found == summary)
    #expect(try bytes(of: output) == bytes(of: expected))
    try OutputShardFile.verify(
      output, trained: sample.trained, summary: summary, idsIn: inputs.map(\.ids), buffers: plans[plan])

    let segment = scratch.file("segment")
    let written = try SegmentWriter.write(
      sample.description(trainedDigest: trainedDigest, shard: "shard"), assignments: sample.lists, codes: sample.codes,
      to: segment, temporaryPath: segment + ".tmp", buffers: plans[plan])
    let again = try SegmentWriter.write(
      sample.description(trainedDigest: trainedDigest, shard: "shard"), assignments: sample.lists, codes: sample.codes,
      to: expected, temporaryPath: segment + ".tmp")
    #expect(written == again)
    #expect(try bytes(of: segment) == bytes(of: expected))
    try SegmentFile(path: segment).verify(buffers: plans[plan])
  }

  @Test(arguments: plans.indices)
  func damageIsNoticedWhateverTheBuffers(plan: Int) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 2, nlist: 3, count: 12)
    let path = try sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch)[0].segment.path
    let whole = try bytes(of: path)
    let rows = 192 + 8 * 4
    for position in rows..<(rows + 12 * (4 + 2)) {
      var damaged = whole
      damaged[position] ^= 1
      try write(damaged, to: path)
      let input = MergeInput(segment: try SegmentFile(path: path), firstRowID: 0)
      expectRefusal(.integrity, naming: "in list") { try input.segment.verify(buffers: plans[plan]) }
      expectRefusal(.integrity, naming: "in list") {
        _ = try OutputShardMerge.write(
          [input], trained: sample.trained, trainedDigest: trainedDigest, to: scratch.file("output"),
          temporaryPath: scratch.file("output.tmp"), buffers: plans[plan])
      }
    }
    #expect(scratch.names == ["segment-0"])
  }

  // Steps of this merge: 1 creates the file, 2 to 6 write it, 7 makes it
  // durable, 8 gives it its name, 9 makes the name durable. A merge returns
  // only when its threads have left, so one that is stuck exceeds the limit.
  @Test(arguments: [1, 2, 3, 6, 7, 8])
  func aDiskThatRefusesEndsTheMergeAndLeavesNothing(step: Int) async throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 30, nlist: 5, count: 500)
    let inputs = try sample.segments(cuts: [200], trainedDigest: trainedDigest, in: scratch)
    let before = scratch.names
    let (path, segments) = (scratch.path, inputs.map(\.segment.path))
    // FaultPlan is of the whole process, so the merge has one of its own.
    await #expect(processExitsWith: .success) {
      [path = path as String, segments = segments as [String], step = step as Int] in
      setenv("TARN_FAULT", "ENOSPC@\(step)", 1)
      let sample = try Sample(codec: .sq8, dimension: 30, nlist: 5, count: 500)
      let inputs = try segments.enumerated().map {
        MergeInput(segment: try SegmentFile(path: $1), firstRowID: Int64(200 * $0))
      }
      do {
        _ = try OutputShardMerge.write(
          inputs, trained: sample.trained, trainedDigest: trainedDigest, to: path + "/output",
          temporaryPath: path + "/output.tmp", buffers: BufferPlan(byteCount: 4096, count: 2, batchByteCount: 4000))
        exit(1)
      } catch let error as TarnError where error.code == .diskFull {
        exit(0)
      }
    }
    #expect(scratch.names == before)
  }
}
