// Segments that an output bears out, and what any change of one does.

import Base
import FuzzReaders
import Indexer
import Synchronization
import Testing

private let trainedDigest = ContentDigest.of("trained")

struct SegmentProofTests {
  private func merged(_ inputs: [MergeInput], _ sample: Sample, in scratch: Scratch) throws -> OutputShardFile {
    let path = scratch.file("output.faiss")
    _ = try OutputShardMerge.write(
      inputs, trained: sample.trained, trainedDigest: trainedDigest, to: path, temporaryPath: path + ".tmp")
    return try OutputShardFile(path: path)
  }

  @Test(arguments: VectorCodec.allCases, [1, 7])
  func whatAnOutputWasMergedFromIsBorneOut(codec: VectorCodec, nlist: Int) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: codec, dimension: 8, nlist: nlist, count: 300)
    let inputs = try sample.segments(cuts: [90, 90, 200], trainedDigest: trainedDigest, in: scratch, holes: [3, 299])
    let output = try merged(inputs, sample, in: scratch)
    #expect(try SegmentProof.proved(inputs, by: output) == [true, true, true, true])
    // Some of them alone, as where others are gone.
    #expect(try SegmentProof.proved([inputs[0], inputs[3]], by: output) == [true, true])
    // Under other ids, or in the place of another one.
    let moved = MergeInput(segment: inputs[0].segment, firstRowID: 1)
    #expect(try SegmentProof.proved([moved], by: output) == [false])
    let swapped = MergeInput(segment: inputs[2].segment, firstRowID: 0)
    #expect(try SegmentProof.proved([swapped], by: output) == [false])
    let other = try Scratch()
    let foreign = try Sample(codec: codec, dimension: 8, nlist: nlist, count: 300, seed: 8)
    let strange = try foreign.segments(cuts: [90, 90, 200], trainedDigest: trainedDigest, in: other, holes: [3, 299])
    #expect(try SegmentProof.proved(strange, by: output).first == false)
    let wide = try Sample(codec: codec, dimension: 9, nlist: nlist, count: 300)
    let wider = try wide.segments(cuts: [90, 90, 200], trainedDigest: trainedDigest, in: Scratch(), holes: [3, 299])
    #expect(try SegmentProof.proved(wider, by: output) == [false, false, false, false])
  }

  /// A disk that fails says nothing of what a segment holds.
  @Test func whatCannotBeReadIsNotDisproved() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 4, nlist: 3, count: 40)
    let inputs = try sample.segments(cuts: [20], trainedDigest: trainedDigest, in: scratch)
    let output = try merged(inputs, sample, in: scratch)
    let whole = try bytes(of: inputs[0].segment.path)
    let failing = Mutex(Int.max)
    let file = InputFile(named: "segment", byteCount: whole.count) { output, offset in
      let left = failing.withLock { left in
        left -= 1
        return left
      }
      guard left >= 0 else { throw TarnError(.io, "the disk fails") }
      output.copyBytes(from: whole[offset..<(offset + output.count)])
    }
    let segment = try SegmentFile(file)
    for excluded in [[], [39]] {
      var reads = 0
      while reads < 1000 {
        failing.withLock { $0 = reads }
        let input = MergeInput(segment: segment, firstRowID: 0, excluded: excluded)
        do {
          #expect(try SegmentProof.proved([input, inputs[1]], by: output) == [true, true])
          break
        } catch let error as TarnError {
          #expect(error.code == .io, "\(error)")
        }
        reads += 1
      }
      #expect((3..<1000).contains(reads))
    }
  }

  /// One list, one code or one hole that differs, in a segment that is whole in itself.
  @Test func noOtherContentIsBorneOut() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 4, nlist: 3, count: 40)
    let inputs = try sample.segments(cuts: [20], trainedDigest: trainedDigest, in: scratch)
    let output = try merged(inputs, sample, in: scratch)
    let codes = Array(sample.codes[..<(20 * 4)])
    let lists = Array(sample.lists[..<20])
    func isBorneOut(_ lists: [UInt32], _ codes: [UInt8]) throws -> Bool {
      let path = scratch.file("forged")
      _ = try SegmentWriter.write(
        sample.description(trainedDigest: trainedDigest, shard: "shard 0"), assignments: lists, codes: codes, to: path,
        temporaryPath: path + ".tmp")
      return try SegmentProof.proved(
        [MergeInput(segment: SegmentFile(path: path), firstRowID: 0), inputs[1]], by: output) == [true, true]
    }
    #expect(try isBorneOut(lists, codes))
    for row in 0..<20 {
      var otherList = lists
      otherList[row] = (lists[row] + 1) % 3
      #expect(try !isBorneOut(otherList, codes), "row \(row) in another list")
      otherList[row] = SegmentWriter.skippedRow
      #expect(try !isBorneOut(otherList, codes), "row \(row) left out")
      for byte in 0..<4 {
        var otherCodes = codes
        otherCodes[row * 4 + byte] ^= 1
        #expect(try !isBorneOut(lists, otherCodes), "byte \(byte) of row \(row)")
      }
    }
    #expect(try !isBorneOut(lists + [0], codes + [0, 0, 0, 0]))
    // Whole as a file, and with digests that are not those of its lists.
    var bytes = try bytes(of: inputs[0].segment.path)
    bytes[192 + 8 * 4] ^= 1
    try write(bytes, to: scratch.file("broken"))
    let broken = MergeInput(segment: try SegmentFile(path: scratch.file("broken")), firstRowID: 0)
    #expect(try SegmentProof.proved([broken], by: output) == [false])
  }
}
