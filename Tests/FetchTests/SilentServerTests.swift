// Servers that fall silent, in real time and with everything as it ships. These
// tests wait out the real timeouts beside the others; nothing bounds them from
// above but that the runs end.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Synchronization
import TestSupport
import Testing

/// The defaults, without the environment's proxy.
private var shipped: FetchConfiguration {
  var configuration = FetchConfiguration()
  configuration.proxy = ""
  return configuration
}

@Suite struct SilentServerTests {
  /// Silence on the first request, each target in its way.
  private func answer(_ request: HostileServer.Request, _ shard: [UInt8]) -> ScriptedAnswer {
    guard request.precedingCount == 0 else { return .file(shard, for: request) }
    let start = ScriptedAnswer.answer(
      200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count), then: .stall)
    switch request.target {
    case "/in-the-head": return ScriptedAnswer([.send(Array("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nX".utf8)), .stall])
    case "/in-the-body": return start
    case "/trickle":
      // 200 bytes a second, for as long as anybody reads.
      let drops = (0..<150).flatMap { second in
        [ScriptedAnswer.Step.send(Array(shard[(9_000 + 200 * second)...].prefix(200))), .run { usleep(1_000_000) }]
      }
      return ScriptedAnswer(start.steps.dropLast() + drops)
    // A redirect's answer is awaited no longer than another's.
    case "/redirect": return .answer(302, headers: ["Location: /behind-it"])
    default: return ScriptedAnswer([.stall])
    }
  }

  @Test(.timeLimit(.minutes(10))) func r14EverySilenceIsRetriedAndTheRunGoesOn() async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 5_000)
    let targets = ["/before-the-head", "/in-the-head", "/in-the-body", "/trickle", "/redirect"]
    // A host each: beside others its slowness would tell earlier.
    let servers = try (1...5).map { try HostileServer(onLoopback: $0) { answer($0, shard) } }
    // Nothing names them once the requests are made: they stop with their last owner.
    defer { withExtendedLifetime(servers) {} }
    let requests = targets.enumerated().map {
      makeRequest(Int64($0.offset), in: directory, from: [servers[$0.offset].url($0.element)])
    }
    var configuration = shipped
    configuration.jobs = 5
    let begin = ContinuousClock.now
    let run = await fetch(requests, configuration: configuration)
    print("silence: retried and over after \(ContinuousClock.now - begin)")
    #expect(run.error == nil)
    for (id, target) in targets.enumerated() {
      #expect(bytes(at: try #require(run.shard(Int64(id)), "\(target)").path) == shard, "\(target)")
      let attempts = run.attempts.filter { $0.requestID == id }
      #expect(attempts.map(\.outcome) == [.temporary, .succeeded], "\(target)")
      let first = try #require(attempts.first)
      #expect(first.endedAt.timeIntervalSince(first.startedAt) >= 29, "\(target)")
      let cause = ["/in-the-body", "/trickle"].contains(target) ? "stalled" : "no answer within 30 s"
      #expect(first.errorText?.contains(cause) == true, "\(target): \(first.errorText ?? "")")
    }
    // What had come was not asked for again.
    #expect(run.attempts.last { $0.requestID == 2 }?.offset == 9_000)
  }

  @Test(.timeLimit(.minutes(10))) func aProbeOfASilentServerEnds() async throws {
    let silent = try HostileServer { request in
      guard request.method == "HEAD", request.target == "/drip" else { return ScriptedAnswer([.stall]) }
      let drops = (0..<600).flatMap { _ in [ScriptedAnswer.Step.send([0x61]), .run { usleep(500_000) }] }
      return ScriptedAnswer([.send(Array("HTTP/1.1 200 OK\r\n".utf8))] + drops)
    }
    let shard = makeShard(rows: 50)
    let honest = try HostileServer(onLoopback: 2) { .file(shard, for: $0) }
    // More questions than are asked at a time: a dead host costs its minute once.
    var targets = ["/drip", "/a", "/b", "/c"].enumerated().map {
      ProbeTarget(shardID: Int64($0.offset), mirror: FetchMirror(id: 1, url: silent.url($0.element)))
    }
    targets += (4..<40).map { ProbeTarget(shardID: $0, mirror: FetchMirror(id: 1, url: silent.url("/\($0)"))) }
    targets.append(ProbeTarget(shardID: 40, mirror: FetchMirror(id: 2, url: honest.url("/a"))))
    let answers = Mutex<[Int64: ProbeFinding.Answer]>([:])
    let begin = ContinuousClock.now
    try await Prober(concurrency: 4, configuration: shipped).run(targets) { finding in
      answers.withLock { $0[finding.shardID] = finding.answer }
    }
    print("silence: a probe was over after \(ContinuousClock.now - begin)")
    let found = answers.withLock { $0 }
    #expect(found.count == 41)
    for id in 0..<40 {
      guard case .unreachable(let cause)? = found[Int64(id)] else {
        Issue.record("\(id): \(String(describing: found[Int64(id)]))")
        continue
      }
      #expect(cause.contains("no answer") || cause.contains("answered nothing"), "\(id): \(cause)")
    }
    #expect(found[40] == .present(byteCount: shard.count, EntityValidator(etag: "\"1\"")))
    #expect(silent.requests.count == 8)
  }

  @Test(.timeLimit(.minutes(10))) func aChunkIsAskedForAgainWhenItsServerFallsSilent() async throws {
    let lake = try TemporaryLake()
    let shard = makeShard(rows: 5_000)
    let ranges = Mutex(0)
    let server = try HostileServer { request in
      guard request.rangeStart != nil else { return .file(shard, for: request) }
      let count = ranges.withLock { count in
        count += 1
        return count
      }
      return count == 1 ? ScriptedAnswer([.stall]) : .file(shard, for: request)
    }
    let source = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: [.init(name: "a.npy", urls: [server.url("/a.npy")])]))
    var options = SyncOptions()
    options.fetch = shipped
    #expect(try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run().fetchedCount == 1)
    let path = try lake.catalog.layout.shards + "/" + #require(try lake.catalog.shards(of: source)[0].path)
    #expect(truncate(path, 20_000) == 0)
    #expect(try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run().mendedCount == 1)
    #expect(bytes(at: path) == shard)
    #expect(ranges.withLock { $0 } == 2)
  }
}
