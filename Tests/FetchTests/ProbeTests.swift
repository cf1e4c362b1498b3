// HEAD requests to mirrors that behave and mirrors that do not, and what the
// catalog makes of their answers.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

/// Asks about one shard on one mirror.
private func probe(
  _ url: String, size: Int? = nil, attempts: Int = 3
) async throws -> ProbeFinding.Answer {
  var configuration = quickConfiguration()
  configuration.attemptsPerMirror = attempts
  let answer = Mutex<ProbeFinding.Answer?>(nil)
  try await Prober(concurrency: 4, configuration: configuration).run([
    ProbeTarget(shardID: 1, mirror: FetchMirror(id: 1, url: url), expectedByteCount: size)
  ]) { finding in answer.withLock { $0 = finding.answer } }
  return try #require(answer.withLock { $0 })
}

private let shard = makeShard(rows: 50)

@Suite struct ProbeTests {
  @Test func learnsSizeAndValidatorWithoutTheBody() async throws {
    let server = try HostileServer { .file(shard, etag: "\"7\"", for: $0) }
    let answer = try await probe(server.url("/a.npy"))
    #expect(answer == .present(byteCount: shard.count, EntityValidator(etag: "\"7\"")))
    #expect(server.requests.map(\.method) == ["HEAD"])
  }

  @Test(arguments: [404, 410]) func r12SaysThatAMirrorLacksAShard(status: Int) async throws {
    let server = try HostileServer { _ in .answer(status) }
    #expect(try await probe(server.url("/a.npy")) == .absent)
    #expect(server.requests.count == 1)
  }

  @Test func r7RefusesAnotherSizeThanTheManifests() async throws {
    let server = try HostileServer { .file(shard, for: $0) }
    guard case .faulty(let cause) = try await probe(server.url("/a.npy"), size: 9) else {
      Issue.record("a wrong size was taken")
      return
    }
    #expect(cause.contains("where the file has 9"))
  }

  @Test(arguments: [400, 403, 405, 501]) func asksForOneByteWhereHeadIsRefused(status: Int) async throws {
    let server = try HostileServer { request in
      guard request.method == "GET" else { return .answer(status, framing: .none) }
      #expect(request.value("range") == "bytes=0-0")
      return .answer(206, headers: ["Content-Range: bytes 0-0/\(shard.count)"], body: [shard[0]])
    }
    let answer = try await probe(server.url("/a.npy"))
    #expect(answer == .present(byteCount: shard.count, EntityValidator()))
  }

  @Test func asksAgainWhileAServerIsInTrouble() async throws {
    let server = try HostileServer { request in
      request.precedingCount < 2
        ? .answer(503, headers: ["Retry-After: 0", "Content-Length: 0"], framing: .none) : .file(shard, for: request)
    }
    guard case .present = try await probe(server.url("/a.npy")) else {
      Issue.record("it gave up")
      return
    }
    let stuck = try HostileServer { _ in .answer(503, headers: ["Content-Length: 0"], framing: .none) }
    #expect(try await probe(stuck.url("/a.npy")) == .unreachable("the server answered 503"))
    #expect(stuck.requests.count == 3)
  }

  @Test func followsRedirectsButNotForEver() async throws {
    let server = try HostileServer { request in
      switch request.target {
      case "/a": .answer(302, headers: ["Location: /b"])
      case "/b": .file(shard, for: request)
      default: .answer(302, headers: ["Location: /loop"])
      }
    }
    #expect(try await probe(server.url("/a")) == .present(byteCount: shard.count, EntityValidator(etag: "\"1\"")))
    guard case .faulty = try await probe(server.url("/loop")) else {
      Issue.record("a loop led somewhere")
      return
    }
  }

  @Test func asksAboutALakeOfShardsOverFewConnections() async throws {
    let server = try HostileServer { request in
      ScriptedAnswer([.run { usleep(5_000) }] + ScriptedAnswer.file(shard, for: request).steps)
    }
    let targets = (0..<2_314).map {
      ProbeTarget(shardID: Int64($0), mirror: FetchMirror(id: 1, url: server.url("/\($0).npy")))
    }
    let count = Mutex(0)
    let begin = ContinuousClock.now
    try await Prober(concurrency: 32, configuration: quickConfiguration()).run(targets) { finding in
      if case .present = finding.answer { count.withLock { $0 += 1 } }
    }
    print("probe: 2,314 shards at 5 ms of latency in \(ContinuousClock.now - begin)")
    #expect(count.withLock { $0 } == 2_314)
    #expect(server.connectionCount <= 32)
  }

  @Test func stopsWhenItIsCancelled() async throws {
    let prober = Prober(concurrency: 1, configuration: quickConfiguration())
    let server = try HostileServer { _ in ScriptedAnswer([.run { prober.cancel() }, .stall]) }
    await #expect(throws: CancellationError.self) {
      try await prober.run([ProbeTarget(shardID: 1, mirror: FetchMirror(id: 1, url: server.url("/a")))]) { _ in }
    }
  }
}

@Suite struct ProbeRunTests {
  let lake: TemporaryLake
  init() throws { lake = try TemporaryLake() }

  /// Three shards on two mirrors: shard 1 is on neither, shard 2 differs.
  private func addSource(_ server: HostileServer) throws -> Source {
    try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16,
        mirrors: ["first", "second"],
        shards: (0..<3).map {
          .init(name: "\($0).npy", urls: [server.url("/first/\($0).npy"), server.url("/second/\($0).npy")])
        }))
  }

  private func script(_ request: HostileServer.Request) -> ScriptedAnswer {
    switch request.target {
    case "/first/0.npy", "/first/2.npy": .file(shard, for: request)
    case "/second/2.npy": .file(makeShard(rows: 60), for: request)
    default: .answer(404)
    }
  }

  @Test func keepsWhatTheMirrorsSay() async throws {
    let server = try HostileServer { [self] in script($0) }
    let source = try addSource(server)
    let summary = try await ProbeRun(
      lake.catalog, source, ordinals: nil, concurrency: 8, configuration: quickConfiguration(),
      cancellation: Cancellation(), report: { _, _ in }
    ).run()
    #expect(summary.answeredCount == 6)
    let coverage = try lake.catalog.coverage(of: source)
    #expect(coverage.map(\.presentCount) == [2, 1])
    #expect(coverage.map(\.absentCount) == [1, 2])
    #expect(coverage.map(\.byteCount) == [2 * shard.count, makeShard(rows: 60).count])
    #expect(try lake.catalog.shardsWithoutMirror(of: source).map(\.name) == ["1.npy"])
    let shards = try lake.catalog.shards(of: source)
    // Mirrors that disagree tell nothing.
    #expect(shards.map(\.likelyByteCount) == [shard.count, nil, nil])
  }

  @Test func aFactOutlivesAServerThatIsDown() async throws {
    let isDown = Mutex(false)
    let server = try HostileServer { [self] request in
      isDown.withLock { $0 } ? .answer(503, headers: ["Content-Length: 0"], framing: .none) : script(request)
    }
    let source = try addSource(server)
    for down in [false, true] {
      isDown.withLock { $0 = down }
      _ = try await ProbeRun(
        lake.catalog, source, ordinals: nil, concurrency: 8, configuration: quickConfiguration(),
        cancellation: Cancellation(), report: { _, _ in }
      ).run()
    }
    #expect(try lake.catalog.coverage(of: source).map(\.presentCount) == [2, 1])
  }

  @Test func aPlanSaysWhatASyncWouldDoAndChangesNothing() async throws {
    let server = try HostileServer { [self] in script($0) }
    let source = try addSource(server)
    _ = try await ProbeRun(
      lake.catalog, source, ordinals: nil, concurrency: 8, configuration: quickConfiguration(),
      cancellation: Cancellation(), report: { _, _ in }
    ).run()
    var options = SyncOptions()
    options.budget = 10
    let before = server.requests.count
    let plan = try SyncPlan(lake.catalog, options)
    #expect(plan.shards.map(\.name) == ["0.npy", "2.npy"])
    #expect(plan.missing.map(\.name) == ["1.npy"])
    #expect(plan.byteCount == shard.count)
    #expect(plan.unknownSizeCount == 1)
    #expect(!plan.fitsBudget && plan.fitsDisk && plan.bytesPerSecond == nil)
    #expect(server.requests.count == before)
    #expect(try lake.catalog.shards(of: source).map(\.state) == [.registered, .registered, .registered])

    options.budget = nil
    options.ordinals = try OrdinalSet(parsing: "0")
    options.fetch = quickConfiguration()
    let summary = try await SyncRun(lake.catalog, options, cancellation: Cancellation(), report: { _ in }).run()
    #expect(summary.fetchedCount == 1)
    let rest = try SyncPlan(lake.catalog, options)
    #expect(rest.presentCount == 1 && rest.shards.isEmpty)
    #expect(try #require(rest.bytesPerSecond) > 0)
  }

  @Test func r12AsksAMirrorThatLacksAShardLast() async throws {
    let server = try HostileServer { request in
      request.target == "/first/0.npy" ? .answer(404) : .file(shard, for: request)
    }
    let source = try addSource(server)
    _ = try await ProbeRun(
      lake.catalog, source, ordinals: nil, concurrency: 1, configuration: quickConfiguration(),
      cancellation: Cancellation(), report: { _, _ in }
    ).run()
    let before = server.requests.count
    var options = SyncOptions()
    options.ordinals = try OrdinalSet(parsing: "0")
    options.fetch = quickConfiguration()
    _ = try await SyncRun(lake.catalog, options, cancellation: Cancellation(), report: { _ in }).run()
    #expect(server.requests.dropFirst(before).map(\.target) == ["/second/0.npy"])
  }
}

@Suite struct DiskBacklogTests {
  @Test func r15ATransferPausesWhenTheDiskIsBehindAndIsWokenOnce() {
    let backlog = DiskBacklog()
    let full = DiskBacklog.fullByteCount
    backlog.add(full - 1)
    #expect(!backlog.awaitsRoom())
    backlog.add(1)
    #expect(backlog.awaitsRoom())
    // Still behind until half of it is written: no flutter.
    #expect(!backlog.remove(full / 4, failure: nil))
    #expect(backlog.awaitsRoom())
    #expect(backlog.remove(full / 4, failure: nil))
    #expect(!backlog.awaitsRoom())
    #expect(!backlog.remove(full / 4, failure: nil))
  }

  @Test func aFailedDiskWakesTheTransferAndIsKept() {
    let backlog = DiskBacklog()
    backlog.add(DiskBacklog.fullByteCount)
    #expect(backlog.awaitsRoom())
    #expect(backlog.remove(1, failure: TarnError(.diskFull, "full")))
    #expect(!backlog.awaitsRoom())
    _ = backlog.remove(1, failure: TarnError(.io, "later"))
    #expect(backlog.failure?.code == .diskFull)
  }
}
