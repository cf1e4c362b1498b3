// Damaged files against every reader: whatever the bytes, an answer or an error
// of tarn's, never a crash. A short run with every test; `make fuzz` goes on.

import Catalog
import Foundation
import Indexer
import TestSupport
import Testing

/// Changes files as damage and malice do.
private struct Mutator {
  var random: SplitMix64
  /// Numbers that readers compute with.
  private static let numbers: [UInt64] = [
    0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000,
    0xFFFF_FFFF, 1 << 40,
    1 << 62, .max >> 1, .max,
  ]

  private mutating func below(_ bound: Int) -> Int {
    bound < 1 ? 0 : Int(random.next() % UInt64(bound))
  }

  mutating func changed(_ seed: [UInt8], with other: [UInt8]) -> [UInt8] {
    var file = seed
    for _ in 0...below(4) {
      guard !file.isEmpty else { return other }
      let at = below(file.count)
      switch below(9) {
      case 0: file[at] ^= 1 << UInt8(below(8))
      case 1: file[at] = UInt8(truncatingIfNeeded: random.next())
      case 2: file.removeLast(below(file.count))
      case 3: file.removeSubrange(at..<min(file.count, at + below(16)))
      case 4:
        file.insert(
          contentsOf: (0..<below(12)).map { _ in UInt8(truncatingIfNeeded: random.next()) }, at: at)
      case 5:
        file.insert(contentsOf: file[at..<min(file.count, at + below(64))], at: below(file.count))
      case 6, 7:
        let (number, width) = (Self.numbers[below(Self.numbers.count)], 1 << below(4))
        for i in 0..<min(width, file.count - at) {
          file[at + i] = UInt8(truncatingIfNeeded: number >> UInt64(8 * i))
        }
      default: file = Array(file[..<at] + other[below(other.count)...])
      }
    }
    return file
  }
}

struct FuzzTests {
  /// How long each reader is tried; a fixed number of files without it.
  private static let seconds = ProcessInfo.processInfo.environment["TARN_FUZZ_SECONDS"].flatMap {
    Double($0)
  }

  /// Reads changed files until the time is up; gives how many were read and
  /// how many of them were good.
  private func fuzz(
    _ name: String, seeds: [[UInt8]], count: Int, _ read: (String) throws -> Void
  ) throws -> (tried: Int, good: Int) {
    let scratch = try Scratch()
    let path = scratch.file("changed.\(name)")
    var mutator = Mutator(random: SplitMix64(seed: 41))
    var corpus = seeds
    var (tried, good) = (0, 0)
    let start = Date()
    while Self.seconds.map({ Date().timeIntervalSince(start) < $0 }) ?? (tried < count) {
      let seed = corpus[Int(mutator.random.next() % UInt64(corpus.count))]
      let file = mutator.changed(seed, with: seeds[tried % seeds.count])
      try Data(file).write(to: URL(fileURLWithPath: path))
      tried += 1
      do {
        try read(path)
        good += 1
        // What still passes is a better start than what began it.
        if corpus.count < 4096, file.count < 1 << 16 { corpus.append(file) }
      } catch let error as IndexerError {
        #expect(!error.message.contains("\n"))
        #expect([.badFeatures, .integrity, .usage].contains(error.code), "\(error)")
      }
    }
    if Self.seconds != nil { print("fuzz \(name): \(tried) files, \(good) of them readable") }
    return (tried, good)
  }

  @Test(arguments: FeatureFiles.all.map { $0.name })
  func featureFilesOfAnyBytes(name: String) throws {
    let seeds = FeatureFiles.all.filter { $0.name == name }.map { $0.bytes }
    let counts = try fuzz(name, seeds: seeds, count: 800) { path in
      let file = try FeatureFile(path)
      _ = file.matrix.firstBadRow()
      _ = file.matrix.floats(rows: 0..<min(file.rowCount, 10))
    }
    #expect(counts.good > 0 && counts.good < counts.tried)
  }

  @Test(arguments: [VectorCodec.sq4, .fp16])
  func indexFilesOfAnyBytes(codec: VectorCodec) throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: codec, dimension: 6, nlist: 4, count: 40)
    let digest = ContentDigest.of("trained")
    let inputs = try sample.segments(cuts: [20], trainedDigest: digest, in: scratch)
    let path = scratch.file("good.faiss")
    _ = try OutputShardMerge.write(
      inputs, trained: sample.trained, trainedDigest: digest, to: path, temporaryPath: path + ".tmp"
    )
    let queries = Array(sample.vectors.prefix(12))
    let counts = try fuzz("faiss", seeds: [try bytes(of: path)], count: 500) { path in
      let searcher = try VersionSearcher(outputShards: [path])
      let query = Array(queries.prefix(searcher.dimension))
      guard query.count == searcher.dimension else { return }
      _ = try searcher.search(query, k: 5, nprobe: 3)
    }
    #expect(counts.good > 0 && counts.good < counts.tried)
  }

  @Test func segmentsOfAnyBytes() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq4, dimension: 6, nlist: 4, count: 40)
    _ = try sample.segments(cuts: [], trainedDigest: ContentDigest.of("trained"), in: scratch)
    let counts = try fuzz("segment", seeds: [try bytes(of: scratch.file("segment-0"))], count: 800) { path in
      _ = try SegmentFile(path: path)
    }
    #expect(counts.tried > 0)
  }
}
