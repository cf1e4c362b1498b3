// Trained indexes and output shards: the bytes are FAISS's own, and nothing
// else is read.

import Base
import CFaiss
import Indexer
import Testing

/// A trained index on disk, with its digest.
private func write(_ sample: Sample, in scratch: Scratch) throws -> (path: String, digest: ContentDigest) {
  let path = scratch.file("trained.faiss")
  return (path, try TrainedIndexFile.write(sample.trained, to: path, temporaryPath: path + ".tmp").digest)
}

struct FilesFaissTests {
  @Test(arguments: VectorCodec.allCases, [1, 2, 9])
  func trainedIndexIsByteEqualToFaissOwn(codec: VectorCodec, nlist: Int) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: codec, dimension: 11, nlist: nlist, count: 20)
    let (path, digest) = try write(sample, in: scratch)
    try sample.writeWithFaiss(to: scratch.file("faiss"), rows: [], ids: [])
    #expect(try bytes(of: path) == bytes(of: scratch.file("faiss")))
    #expect(try TrainedIndexFile.read(path, digest: digest) == sample.trained)
    #expect(try TrainedIndexFile.read(scratch.file("faiss")) == sample.trained)
  }

  @Test(arguments: VectorCodec.allCases, [false, true])
  func theSizeOfATrainedIndexFollowsFromItsShape(codec: VectorCodec, hasAssigner: Bool) throws {
    let scratch = try Scratch()
    let trained = try Sample(codec: codec, dimension: 11, nlist: 5, count: 20).trained
    let whole = try TrainedIndex(
      centroids: trained.centroids, assigner: hasAssigner ? trained.centroids : nil, quantizer: trained.quantizer)
    let path = scratch.file("trained.faiss")
    let byteCount = try TrainedIndexFile.write(whole, to: path, temporaryPath: path + ".tmp").byteCount
    #expect(
      TrainedIndexFile.byteCount(codec: codec, dimension: 11, nlist: 5, hasAssigner: hasAssigner) == byteCount)
    #expect(TrainedIndexFile.byteCount(codec: codec, dimension: 11, nlist: .max, hasAssigner: hasAssigner) == nil)
  }

  @Test func quantileRangesKeepTheirStatisticInTheFile() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 6, nlist: 2, count: 200, statistic: .quantiles(0.02))
    let (path, _) = try write(sample, in: scratch)
    try sample.writeWithFaiss(to: scratch.file("faiss"), rows: [], ids: [])
    #expect(try bytes(of: path) == bytes(of: scratch.file("faiss")))
    #expect(try TrainedIndexFile.read(path) == sample.trained)
  }

  @Test func refusesATrainedIndexCutAnywhere() throws {
    let scratch = try Scratch()
    let (path, _) = try write(try Sample(codec: .sq4, dimension: 3, nlist: 2, count: 9), in: scratch)
    let whole = try bytes(of: path)
    for count in 0..<whole.count {
      try write(Array(whole.prefix(count)), to: path)
      expectRefusal(.integrity, naming: path) { _ = try TrainedIndexFile.read(path) }
    }
    try write(whole + [0], to: path)
    expectRefusal(.integrity, naming: path) { _ = try TrainedIndexFile.read(path) }
  }

  /// What helps is said, whatever of the file is damaged.
  @Test func aDamagedFileNamesWhatMakesItAgain() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 3, nlist: 2, count: 9)
    let (path, digest) = try write(sample, in: scratch)
    let whole = try bytes(of: path)
    for damaged in [Array(whole.prefix(5)), [UInt8](repeating: 0, count: whole.count), whole + [0]] {
      try write(damaged, to: path)
      expectRefusal(.integrity, naming: "expected \(digest.prefix(12)); `tarn verify --repair` brings it back") {
        _ = try TrainedIndexFile.read(path, digest: digest)
      }
      expectRefusal(.integrity, naming: "; remove it") {
        _ = try TrainedIndexFile.read(path, digest: digest, remedy: "remove it")
      }
      expectRefusal(.integrity, naming: "; run `tarn verify --repair`") { _ = try OutputShardFile(path: path) }
      expectRefusal(.integrity, naming: "; run `tarn verify --repair`") { _ = try RefineFile(path: path) }
      expectRefusal(.integrity, naming: "; delete the segment and build it again") { _ = try SegmentFile(path: path) }
    }
  }

  @Test func everyFlippedBitOfATrainedIndexIsNoticed() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 3, nlist: 2, count: 9)
    let (path, digest) = try write(sample, in: scratch)
    let whole = try bytes(of: path)
    for position in whole.indices {
      for bit in 0..<8 {
        var flipped = whole
        flipped[position] ^= 1 << bit
        try write(flipped, to: path)
        expectRefusal(.integrity, naming: path) { _ = try TrainedIndexFile.read(path, digest: digest) }
        // Without the digest a flip in a float can pass, but is seen.
        if let read = try? TrainedIndexFile.read(path) { #expect(read != sample.trained) }
      }
    }
  }

  @Test func hugeSizesAreRefusedBeforeMemoryIsTaken() throws {
    let scratch = try Scratch()
    let (path, _) = try write(try Sample(codec: .sq4, dimension: 3, nlist: 2, count: 9), in: scratch)
    let whole = try bytes(of: path)
    for position in 0..<(whole.count - 8) {
      var hostile = whole
      for i in 0..<8 { hostile[position + i] = i == 7 ? 0x0F : 0xFF }
      try write(hostile, to: path)
      _ = try? TrainedIndexFile.read(path)
    }
  }

  @Test func aTrainedIndexWithRowsOrOfAnotherMakeIsRefused() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 4, nlist: 2, count: 5)
    try sample.writeWithFaiss(to: scratch.file("full"), rows: [0, 1], ids: [0, 1])
    expectRefusal(.integrity, naming: "2 rows") { _ = try TrainedIndexFile.read(scratch.file("full")) }
    expectRefusal(.inputsMissing) { _ = try TrainedIndexFile.read(scratch.file("none")) }
    expectRefusal(.io) { _ = try TrainedIndexFile.read(scratch.path) }
    let (path, _) = try write(sample, in: scratch)
    expectRefusal(.integrity, naming: "SHA-256") {
      _ = try TrainedIndexFile.read(path, digest: ContentDigest.of("another"))
    }
  }

  @Test func partsThatDoNotFitAreRefused() throws {
    let quantizer = try ScalarQuantizer(codec: .flat, dimension: 4)
    expectRefusal(.usage) { _ = try TrainedIndex(centroids: [], quantizer: quantizer) }
    expectRefusal(.usage) { _ = try TrainedIndex(centroids: [1, 2, 3], quantizer: quantizer) }
    expectRefusal(.usage) { _ = try TrainedIndex(centroids: [1, 2, 3, .nan], quantizer: quantizer) }
    expectRefusal(.usage) { _ = try TrainedIndex(centroids: [1, 2, 3, 4], quantizer: quantizer, nprobe: 0) }
  }
}
