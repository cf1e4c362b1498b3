// Segments: their bytes, and what is refused.

import Base
import Foundation
import FuzzReaders
import Indexer
import Testing

private let trainedDigest = ContentDigest.of("trained")

struct FilesSegmentTests {
  @Test func theBytesFollowFromTheInputsAlone() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 10, nlist: 5, count: 200)
    let paths = ["a", "b"].map(scratch.file)
    let summaries = try paths.map {
      try SegmentWriter.write(
        sample.description(trainedDigest: trainedDigest, shard: "s"), assignments: sample.lists,
        codes: sample.codes, to: $0, temporaryPath: $0 + ".tmp")
    }
    #expect(summaries[0] == summaries[1])
    #expect(try bytes(of: paths[0]) == bytes(of: paths[1]))
    #expect(try Disk.digest(of: paths[0]) == summaries[0].digest)
    #expect(Disk.size(of: paths[0]) == summaries[0].byteCount)
    #expect(scratch.names.sorted() == ["a", "b"])
  }

  @Test func theLayoutIsTheDocumentedOne() throws {
    let scratch = try Scratch()
    let path = scratch.file("segment")
    let description = SegmentDescription(
      codec: .sq8, dimension: 2, nlist: 3, trainedIndex: trainedDigest, shard: ContentDigest.of("shard"))
    _ = try SegmentWriter.write(
      description, assignments: [2, SegmentWriter.skippedRow, 0, 2], codes: [10, 11, 20, 21, 30, 31, 40, 41],
      to: path, temporaryPath: path + ".tmp")
    let file = try bytes(of: path)
    #expect(file.starts(with: Array("TARNSEG\n".utf8)))
    func little(_ values: [UInt64]) -> [UInt8] { values.flatMap { v in (0..<8).map { UInt8(v >> (8 * $0) & 255) } } }
    #expect(Array(file[24..<48]) == little([3, 4, 3]))
    #expect(Array(file[48..<80]) == trainedDigest.bytes)
    #expect(Array(file[160..<192]) == ContentDigest.of(file[0..<160]).bytes)
    #expect(Array(file[192..<224]) == little([0, 1, 1, 3]))
    let rows: [UInt8] = [2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]
    let codes: [UInt8] = [30, 31, 10, 11, 40, 41]
    #expect(Array(file[224..<236]) == rows)
    #expect(Array(file[236..<242]) == codes)
    let digests = [rows[0..<4] + codes[0..<2], [], rows[4...] + codes[2...]].flatMap {
      ContentDigest.of($0).bytes.prefix(16)
    }
    #expect(Array(file[242..<290]) == digests)
    #expect(Array(file[290...]) == ContentDigest.of(file[0..<224] + digests).bytes)
    let segment = try SegmentFile(path: path)
    #expect(segment.description == description)
    #expect((segment.rowCount, segment.storedRowCount) == (4, 3))
    #expect((0..<3).map(segment.size) == [1, 0, 2])
    try segment.verify()
  }

  @Test func aSegmentCutAnywhereIsRefused() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 4, nlist: 3, count: 12)
    let path = try sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch)[0].segment.path
    let whole = try bytes(of: path)
    for count in 0..<whole.count {
      try write(Array(whole.prefix(count)), to: path)
      expectRefusal(.integrity, naming: path) { _ = try SegmentFile(path: path) }
    }
    try write(whole + [0], to: path)
    expectRefusal(.integrity, naming: path) { _ = try SegmentFile(path: path) }
  }

  @Test func everyFlippedBitOfASegmentIsNoticed() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 4, nlist: 3, count: 12)
    let path = try sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch)[0].segment.path
    let whole = try bytes(of: path)
    for position in whole.indices {
      var flipped = whole
      flipped[position] ^= UInt8(1 << (position % 8))
      try write(flipped, to: path)
      expectRefusal(.integrity, naming: path) { try SegmentFile(path: path).verify() }
    }
  }

  @Test func aConsistentHeaderWithHugeSizesIsRefused() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 4, nlist: 3, count: 12)
    let path = try sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch)[0].segment.path
    let whole = try bytes(of: path)
    for (position, value) in [(24, UInt8(0x0F)), (27, 0x0F), (31, 0x7F), (36, 0xFF), (39, 0xFF), (44, 0xFF), (16, 0)] {
      var hostile = whole
      hostile[position] = value
      hostile.replaceSubrange(160..<192, with: ContentDigest.of(hostile[0..<160]).bytes)
      try write(hostile, to: path)
      expectRefusal(.integrity, naming: path) { _ = try SegmentFile(path: path) }
    }
  }

  @Test func assignmentsThatCannotBeMeantAreRefusedAndLeaveNothing() throws {
    let scratch = try Scratch()
    let path = scratch.file("segment")
    let description = SegmentDescription(
      codec: .sq8, dimension: 2, nlist: 3, trainedIndex: trainedDigest, shard: trainedDigest)
    expectRefusal(.usage, naming: "row 1") {
      _ = try SegmentWriter.write(
        description, assignments: [0, 3], codes: [1, 2, 3, 4], to: path, temporaryPath: path + ".tmp")
    }
    // What the caller finds out too late leaves nothing either.
    for isReady in [false, true] {
      let late = TarnError(.integrity, "too late")
      #expect(throws: late) {
        _ = try SegmentWriter.write(
          description, assignments: [0, 1], to: path, temporaryPath: path + ".tmp",
          ready: { if isReady { throw late } }, codes: { _, _, _ in if !isReady { throw late } })
      }
    }
    #expect(scratch.names.isEmpty)
    expectRefusal(.inputsMissing) { _ = try SegmentFile(path: path) }
  }

  @Test(arguments: [0, 5]) func aShardMayLeaveNoRowAtAll(rowCount: Int) throws {
    let scratch = try Scratch()
    let path = scratch.file("segment")
    let description = SegmentDescription(
      codec: .flat, dimension: 2, nlist: 1, trainedIndex: trainedDigest, shard: trainedDigest)
    let summary = try SegmentWriter.write(
      description, assignments: [UInt32](repeating: SegmentWriter.skippedRow, count: rowCount),
      codes: [UInt8](repeating: 9, count: 8 * rowCount), to: path, temporaryPath: path + ".tmp")
    #expect((summary.rowCount, summary.storedRowCount) == (rowCount, 0))
    try SegmentFile(path: path).verify()
  }
}
