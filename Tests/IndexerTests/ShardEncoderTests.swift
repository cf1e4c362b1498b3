// Encoding a shard: the segment is the one that its rows, its lists and its codes
// make, whatever memory is given; and memory does not grow with the codes.

import Base
import Features
import Foundation
import FuzzReaders
import Indexer
import Logging
import Synchronization
import Testing

private let logger = Logger(label: "test")
private let trainedDigest = ContentDigest.of("trained")

/// Writes float32 rows as a shard.
private func shard(_ rows: [Float], dimension: Int, in scratch: Scratch) throws -> PinnedShard {
  let path = scratch.file("shard.npy")
  let body = rows.withUnsafeBytes { Array($0) }
  try write(NpyHeader.bytes(descr: "<f4", rowCount: rows.count / dimension, columns: dimension) + body, to: path)
  return PinnedShard(
    path: path, digest: try Disk.digest(of: path), rowCount: rows.count / dimension, dimension: dimension,
    elementType: .float32, remedy: "nothing")
}

/// The memory of the process that is no file's, in bytes.
private func anonymousBytes() -> Int {
  let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
  let line = status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") } ?? ""
  return 1024 * (line.split(separator: " ").compactMap { Int($0) }.first ?? 0)
}

@Suite struct ShardEncoderTests {
  /// Eviction may take the name away, and another command put the same bytes, or others, in its place.
  @Test(arguments: ["none", "gone", "replaced"]) func aShardIsWhatWasOpened(change: String) throws {
    let scratch = try Scratch()
    let rows: [Float] = [1, 2, 3, 4, 5, 6]
    let pinned = try shard(rows, dimension: 3, in: scratch)
    let reading = try pinned.read()
    if change == "gone" { try Disk.remove(pinned.path) }
    if change == "replaced" {
      try write(Array("others".utf8), to: pinned.path + ".new")
      try Disk.moveIntoPlace(pinned.path + ".new", pinned.path)
    }
    try reading.requireDigest()
    #expect(reading.file.matrix.floats(rows: 0..<2) == rows)
  }

  @Test(arguments: VectorCodec.allCases, Normalisation.allCases)
  func theSegmentIsThatOfItsListsAndCodes(codec: VectorCodec, normalisation: Normalisation) throws {
    let scratch = try Scratch()
    let (dimension, count) = (5, 700)
    let sample = try Sample(codec: codec, dimension: dimension, nlist: 6, count: count)
    // Rows as they are encoded, and as they lie in the shard.
    var (rows, stored) = (sample.vectors, sample.vectors)
    if normalisation == .normalise {
      stored = rows.map { $0 * 3 }
      rows = FeatureMatrix(stored, dimension: dimension).scoredRows(0..<count, .normalise)
    }
    let bad: Set<Int> = [0, 255, 256, 300, 699]
    for row in bad { for j in 0..<dimension { stored[row * dimension + j] = 0 } }
    let winners = referenceWinners(of: rows, among: sample.trained.centroids, dimension: dimension)
    let expected = scratch.file("expected")
    let shard = try shard(stored, dimension: dimension, in: scratch)
    let summary = try SegmentWriter.write(
      SegmentDescription(
        codec: codec, dimension: dimension, nlist: 6, trainedIndex: trainedDigest, shard: shard.digest),
      assignments: (0..<count).map { bad.contains($0) ? SegmentWriter.skippedRow : winners.rows[$0] },
      codes: sample.trained.quantizer.encode(rows), to: expected, temporaryPath: expected + ".tmp")
    for threads in [1, 3] {
      let encoder = try ShardEncoder(
        sample.trained, digest: trainedDigest, badRows: .skip, normalisation: normalisation, rowCount: count,
        pool: WorkerPool(threadCount: threads), logger: logger)
      for codeByteCount in [1, 100, 1 << 20] {
        let path = scratch.file("segment")
        var reports = 0
        let result = try encoder.encode(
          shard.read(), to: path, buffers: BufferPlan(codeByteCount: codeByteCount),
          report: { _ in reports += 1 })
        #expect(result.segment == summary && result.badRowCount == bad.count)
        #expect(try bytes(of: path) == bytes(of: expected))
        let perPart = max(1, codeByteCount / sample.trained.quantizer.codeByteCount)
        #expect(reports == 1 + (count - bad.count + perPart - 1) / perPart)
      }
    }
  }

  @Test func aShardThatIsAnotherLeavesNothing() throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 4, nlist: 2, count: 50)
    let pinned = try shard(sample.vectors, dimension: 4, in: scratch)
    let other = PinnedShard(
      path: pinned.path, digest: .of("other"), rowCount: 50, dimension: 4, elementType: .float32, remedy: "fetch it")
    let encoder = try ShardEncoder(
      sample.trained, digest: trainedDigest, badRows: .fail, normalisation: .refuse, rowCount: 50, logger: logger)
    expectRefusal(.integrity, naming: "has changed") {
      _ = try encoder.encode(other.read(), to: scratch.file("segment")) { _ in }
    }
    #expect(scratch.names == ["shard.npy"])
  }

  /// Codes of 8 and of 96 MB, of which 2 MB are held: what is anonymous must be
  /// nearly the same, where it once grew by them.
  @Test func memoryDoesNotGrowWithTheCodesOfAShard() async throws {
    let scratch = try Scratch()
    for rowCount in [4096, 49_152] {
      let header = NpyHeader.bytes(descr: "<f2", rowCount: rowCount, columns: 512)
      // One in the first place, as a half: rows of unit length.
      let row: [UInt8] = [0, 0x3C] + [UInt8](repeating: 0, count: 1022)
      let block = [[UInt8]](repeating: row, count: 4096).flatMap(\.self)
      let file = scratch.file("\(rowCount).npy")
      try write(header, to: file)
      let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
      try handle.seekToEnd()
      for _ in 0..<(rowCount / 4096) { try handle.write(contentsOf: Data(block)) }
      try handle.close()
    }
    let path = scratch.path
    await #expect(processExitsWith: .success) { [path = path as String] in
      let sample = try Sample(codec: .flat, dimension: 512, nlist: 4, count: 8)
      let peaks = try [4096, 49_152].map { rowCount in
        let shard = PinnedShard(
          path: "\(path)/\(rowCount).npy", digest: try Disk.digest(of: "\(path)/\(rowCount).npy"), rowCount: rowCount,
          dimension: 512, elementType: .float16, remedy: "nothing")
        let encoder = try ShardEncoder(
          sample.trained, digest: trainedDigest, badRows: .fail, normalisation: .refuse, rowCount: rowCount,
          pool: WorkerPool(threadCount: 2), logger: logger)
        let isDone = Atomic(false)
        let peak = ThreadedWork("look") {
          var peak = 0
          while !isDone.load(ordering: .relaxed) {
            peak = max(peak, anonymousBytes())
            usleep(300)
          }
          return peak
        }
        _ = try encoder.encode(
          shard.read(), to: path + "/segment", buffers: BufferPlan(byteCount: 1 << 20, codeByteCount: 2 << 20)
        ) { _ in }
        isDone.store(true, ordering: .relaxed)
        return try peak.wait()
      }
      // Blocks of rows, and 12 bytes a row, take up to 20 MB more of the larger one.
      print("encoding: \(peaks[0] >> 20) and \(peaks[1] >> 20) MB anonymous")
      exit(peaks[1] < peaks[0] + (40 << 20) ? 0 : 1)
    }
  }
}
