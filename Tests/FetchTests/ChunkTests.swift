// Chunks: their states prove what the whole digest proves, damage is found by
// them, and only what is damaged is fetched again.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

/// A shard of 41 MiB and a bit: two whole chunks and a short one.
private let large: [UInt8] = {
  var bytes = makeShard(rows: 41 << 17, dimension: 4, seed: 0)
  // A generator as slow as makeShard's for so many bytes would be a test's
  // whole time; what matters is that no two chunks are the same.
  for place in stride(from: 256, to: bytes.count, by: 4_096) { bytes[place] = UInt8(truncatingIfNeeded: place >> 12) }
  return bytes
}()

private func chunks(of bytes: [UInt8]) throws -> ShardChunks {
  let hasher = ChunkHasher()
  hasher.update(bytes.span.bytes)
  return try #require(
    ShardChunks(byteCount: bytes.count, digest: hasher.digestSoFar(), states: hasher.states))
}

@Suite struct ChunkHasherTests {
  @Test(arguments: [0, 1, 63, 64, 65, 16 << 20, (16 << 20) + 1, 33 << 20])
  func d8GivesTheDigestAndAStateForEachWholeChunk(byteCount: Int) {
    let bytes = Array(large[..<byteCount])
    let hasher = ChunkHasher()
    var random = SplitMix64(seed: UInt64(byteCount))
    var done = 0
    while done < byteCount {
      let count = min(byteCount - done, Int.random(in: 1...5_000_000, using: &random))
      hasher.update(bytes.span.bytes.extracting(done..<(done + count)))
      done += count
    }
    #expect(hasher.digestSoFar() == ContentDigest.of(bytes))
    #expect(hasher.states.count == 32 * (byteCount >> 24))
  }

  @Test func hashesOfManyThreadsDoNotMix() async {
    let strings = (0..<8).map { number in Array(large[(number * 100_003)..<(number * 100_003 + 3_000_001 + number)]) }
    let digests = await withTaskGroup(of: (Int, ContentDigest).self) { group in
      for (number, string) in strings.enumerated() {
        group.addTask {
          let hasher = ChunkHasher()
          for start in stride(from: 0, to: string.count, by: 70_001) {
            hasher.update(string.span.bytes.extracting(start..<min(string.count, start + 70_001)))
          }
          return (number, hasher.digestSoFar())
        }
      }
      return await group.reduce(into: [Int: ContentDigest]()) { $0[$1.0] = $1.1 }
    }
    for (number, string) in strings.enumerated() { #expect(digests[number] == ContentDigest.of(string)) }
  }

  @Test func aChunkIsRightOrNot() throws {
    let chunks = try chunks(of: large)
    func isRight(_ bytes: [UInt8], _ chunk: Int) -> Bool { chunks.isRight(bytes.span.bytes, chunk: chunk) }
    #expect(chunks.count == 3)
    for chunk in 0..<3 {
      var bytes = Array(large[chunks.range(of: chunk)])
      #expect(isRight(bytes, chunk))
      #expect(!isRight(bytes, (chunk + 1) % 3))
      #expect(!isRight(Array(bytes.dropLast()), chunk))
      bytes[bytes.count / 2] ^= 1
      #expect(!isRight(bytes, chunk))
    }
  }

  @Test func namesChunksInRuns() throws {
    let chunks = try #require(
      ShardChunks(byteCount: 87 << 24, digest: ContentDigest.of(""), states: Array(repeating: 0, count: 32 * 87)))
    #expect(chunks.text([3, 17, 18, 19, 40, 41]) == "3, 17-19, 40-41 of 87")
    #expect(ShardChunks(byteCount: 87 << 24, digest: ContentDigest.of(""), states: []) == nil)
  }
}

/// How a server answers, which a test may change.
private final class Script: Sendable {
  let answer = Mutex<@Sendable (HostileServer.Request) -> ScriptedAnswer> { .file(large, for: $0) }
}

@Suite(.serialized) struct ShardMenderTests {
  let lake: TemporaryLake
  let server: HostileServer
  /// What the first mirror does; the second is honest.
  private let first: Script
  private let run: SyncOptions

  init() throws {
    lake = try TemporaryLake()
    let first = Script()
    self.first = first
    server = try HostileServer { request in
      guard request.target == "/one/a.npy" else { return .file(large, for: request) }
      return first.answer.withLock { $0 }(request)
    }
    _ = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one", "two"],
        shards: [.init(name: "a.npy", urls: [server.url("/one/a.npy"), server.url("/two/a.npy")])]))
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    run = options
  }

  private func sync() async throws -> SyncSummary {
    try await SyncRun(lake.catalog, run, cancellation: Cancellation()) { _ in }.run()
  }

  private func shard() throws -> (Shard, path: String) {
    let shard = try lake.catalog.shards(of: lake.catalog.source(named: "images"))[0]
    return (shard, lake.catalog.layout.shards + "/" + (try #require(shard.path)))
  }

  private func mend() throws -> MendedChunks? {
    try ShardMender(lake.catalog, configuration: run.fetch, cancellation: Cancellation()).mend(shard().0)
  }

  /// Bytes of the first mirror and of the second that were asked for as ranges.
  private var ranges: [String] { server.requests.compactMap { $0.value("range").map { $0 } } }

  private func flip(_ place: Int, _ path: String) throws {
    let file = try #require(FileHandle(forUpdatingAtPath: path))
    try file.seek(toOffset: UInt64(place))
    try file.write(contentsOf: [large[place] ^ 0x10])
    try file.close()
  }

  @Test func onlyTheDamagedChunkIsFetchedAgain() async throws {
    #expect(try await sync().fetchedCount == 1)
    let (_, path) = try shard()
    try flip(20 << 20, path)
    let report = try lake.catalog.verify()
    let damage = try #require(report.damages.first)
    let found = try #require(try lake.catalog.damagedChunks(of: damage))
    #expect(found.damaged == [1])
    let mended = try #require(try mend())
    #expect(mended.text == "1 of 3" && mended.count == 1 && mended.byteCount == 16 << 20)
    #expect(bytes(at: path) == large)
    #expect(ranges == ["bytes=\(16 << 20)-\((32 << 20) - 1)"])
    #expect(try lake.catalog.verify().damages.isEmpty)
  }

  @Test func r10TakesEachChunkFromAMirrorThatProvesToHaveIt() async throws {
    _ = try await sync()
    let (_, path) = try shard()
    try flip(100, path)
    first.answer.withLock { answer in
      answer = { request in
        let start = request.rangeStart ?? 0
        let end = request.rangeEnd ?? 0
        return .answer(
          206, headers: ["Content-Range: bytes \(start)-\(end)/\(large.count)"],
          body: large[start...end].map { $0 ^ 1 })
      }
    }
    #expect(try mend()?.text == "0 of 3")
    #expect(bytes(at: path) == large)
    #expect(ranges.count == 2)
  }

  @Test func r19AServerThatIgnoresRangesLosesTheChunkToTheNextMirror() async throws {
    _ = try await sync()
    let (_, path) = try shard()
    try flip(40 << 20, path)
    first.answer.withLock { answer in answer = { _ in .answer(200, body: large) } }
    #expect(try mend()?.text == "2 of 3")
    #expect(bytes(at: path) == large)
  }

  @Test func aChunkThatNobodyHasLeavesTheFileAsItWas() async throws {
    _ = try await sync()
    let (shard, path) = try shard()
    try flip(100, path)
    let before = bytes(at: path)
    server.stop()
    var error: TarnError?
    do { _ = try mend() } catch let thrown as TarnError { error = thrown }
    #expect(error?.message.contains("chunk 0 of \(shard.name)") == true)
    #expect(bytes(at: path) == before)
  }

  @Test func syncMendsAShardThatWasCut() async throws {
    _ = try await sync()
    let (_, path) = try shard()
    #expect(truncate(path, 33 << 20) == 0)
    let threads = Mutex<[String]>([])
    let summary = try await SyncRun(lake.catalog, run, cancellation: Cancellation()) { progress in
      guard case .mended = progress else { return }
      let name = FileManager.default.contents(atPath: "/proc/thread-self/comm") ?? Data()
      threads.withLock { $0.append(String(decoding: name, as: UTF8.self)) }
    }.run()
    // It blocks, so it has a thread of its own.
    #expect(threads.withLock { $0 } == ["tarn-plan\n"])
    #expect(summary.mendedCount == 1 && summary.fetchedCount == 0 && summary.failures.isEmpty)
    #expect(bytes(at: path) == large)
    #expect(ranges == ["bytes=\(32 << 20)-\(large.count - 1)"])
  }

  @Test func syncMendsAShardThatGrewWithoutAByteFromAnywhere() async throws {
    _ = try await sync()
    let (_, path) = try shard()
    #expect(truncate(path, off_t(large.count + 5_000)) == 0)
    #expect(try await sync().mendedCount == 1)
    #expect(bytes(at: path) == large)
    #expect(ranges == [])
  }

  @Test func aShardThatDiffersAlmostEverywhereIsFetchedWhole() async throws {
    _ = try await sync()
    let (_, path) = try shard()
    #expect(truncate(path, 100) == 0)
    let summary = try await sync()
    #expect(summary.mendedCount == 0 && summary.fetchedCount == 1)
    #expect(bytes(at: try self.shard().path) == large)
  }
}

@Suite struct BoundedRangeTests {
  private func classify(_ status: Int, _ fields: [(String, String)]) -> Verdict {
    var question = RangeQuestion()
    question.offset = 0
    question.byteCount = 100
    question.expectedByteCount = 1_000
    question.rangeGuard = .digest
    return ResponseClassifier.classify(ResponseHead(statusCode: status, fields: fields), to: question, at: Date())
  }

  @Test func r4TakesExactlyTheBytesThatWereAskedFor() {
    guard case .acceptAtOffset = classify(206, [("Content-Range", "bytes 0-99/1000")]) else {
      Issue.record("a right answer was refused")
      return
    }
    for range in ["bytes 0-98/1000", "bytes 0-100/1000", "bytes 1-100/1000", "bytes 0-99/1001", "bytes */1000"] {
      guard case .nextMirror = classify(206, [("Content-Range", range)]) else {
        Issue.record("\(range) was accepted")
        continue
      }
    }
    guard case .nextMirror(.refused, _) = classify(200, [("Content-Length", "1000")]) else {
      Issue.record("a whole file was taken for a range")
      return
    }
  }
}
