// R21 beside a sync: a probe, the first look at a source and the mending of chunks outlive a
// server that is away, and give up when they have waited as long as was said. Minutes pass
// in a moment.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Logging
import Synchronization
import Testing
import TestSupport

private let shard = makeShard(rows: 50)

/// A server that is away from its second answer on, for a while.
private final class Away: Sendable {
  let clock = ScriptedClock(step: .seconds(2))
  let length: Duration
  let waits = Mutex<[HostWait]>([])
  private let state = Mutex<(count: Int, at: Duration?)>((0, nil))
  private let from: Int

  init(for length: Duration, from: Int = 2) { (self.length, self.from) = (length, from) }

  var options: WaitOptions {
    var options = WaitOptions()
    options.clock = { [clock] in clock.now }
    options.report = { [self] wait in waits.withLock { $0.append(wait) } }
    return options
  }

  func answer() -> ScriptedAnswer? {
    state.withLock { state in
      state.count += 1
      if state.count == from { state.at = clock.elapsed }
      return state.at.map { clock.elapsed - $0 < length } ?? false ? ScriptedAnswer([.reset]) : nil
    }
  }
}

@Suite struct WaitingTests {
  let lake: TemporaryLake
  init() throws { lake = try TemporaryLake() }

  private func source(_ urls: [(String) -> String], count: Int) throws -> Source {
    try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16,
        mirrors: urls.map { $0("/{ordinal}.npy") },
        shards: (0..<count).map { ordinal in .init(name: "\(ordinal).npy", urls: urls.map { $0("/\(ordinal).npy") }) }))
  }

  private func probe(
    _ source: Source, _ waits: WaitOptions, concurrency: Int = 4, _ cancellation: Cancellation = Cancellation()
  ) async throws -> ProbeSummary {
    try await ProbeRun(
      lake.catalog, source, ordinals: nil, concurrency: concurrency, configuration: quickConfiguration(), waits: waits,
      cancellation: cancellation, report: { _, _ in }
    ).run()
  }

  @Test(arguments: [30, 180, 900]) func r21AProbeOutlivesAnOutageWithinItsPatience(seconds: Int) async throws {
    let away = Away(for: .seconds(seconds))
    let server = try HostileServer { away.answer() ?? .file(shard, for: $0) }
    let other = try HostileServer { .file(shard, for: $0) }
    let source = try source([server.url, other.url], count: 40)
    var waits = away.options
    waits.patience = .seconds(600)
    let summary = try await probe(source, waits)
    let coverage = try lake.catalog.coverage(of: source)
    // The other host had no part in it, and was asked for nothing twice.
    #expect(coverage[1].presentCount == 40)
    #expect(Set(other.requests.map { "\($0.method) \($0.target)" }).count == other.requests.count)
    let pauses = away.waits.withLock { $0 }
    #expect(!pauses.isEmpty && pauses.allSatisfy { server.url("/").hasPrefix($0.host) && $0.until <= $0.patienceUntil })
    if seconds < 600 {
      #expect(summary.unreachableCount == 0 && coverage[0].presentCount == 40)
      #expect(away.clock.elapsed >= .seconds(seconds))
    } else {
      #expect(summary.unreachableCount > 0 && summary.answeredCount + summary.unreachableCount == 80)
      #expect(summary.firstUnreachable?.contains("did not recover") == true)
      // It ends with its patience, and not long after.
      #expect(away.clock.elapsed >= .seconds(590) && away.clock.elapsed < .seconds(900))
      let asked = server.requests.count
      #expect(asked < 200, "a host that is away was asked \(asked) times")
    }
  }

  /// One shard that never gets an answer holds up none of the others.
  @Test func r23AQuestionThatFailsForEverHoldsUpNoOther() async throws {
    let clock = ScriptedClock(step: .seconds(1))
    let server = try HostileServer { request in
      request.target == "/0.npy" ? ScriptedAnswer([.reset]) : .file(shard, for: request)
    }
    let source = try source([server.url], count: 30)
    var waits = WaitOptions()
    waits.clock = { clock.now }
    waits.patience = .seconds(60)
    let summary = try await probe(source, waits, concurrency: 1)
    #expect(summary.unreachableCount == 1)
    #expect(try lake.catalog.coverage(of: source)[0].presentCount == 29)
  }

  @Test func aWaitEndsWhenItIsCancelled() async throws {
    let server = try HostileServer { _ in ScriptedAnswer([.reset]) }
    let source = try source([server.url], count: 2)
    let cancellation = Cancellation()
    var waits = WaitOptions()
    waits.patience = .seconds(3_600)
    waits.report = { _ in cancellation.cancel() }
    await #expect(throws: TarnError.self) { try await probe(source, waits, cancellation) }
  }

  @Test(arguments: [30, 180]) func r21TheFirstLookAtASourceOutlivesAnOutage(seconds: Int) async throws {
    let away = Away(for: .seconds(seconds), from: 1)
    let server = try HostileServer { away.answer() ?? .file(shard, for: $0) }
    let registration = SourceRegistration(
      name: "images", modality: .image, dimension: nil, elementType: nil,
      place: .template(server.url("/{ordinal}.npy"), count: 2), mirrors: [], reconstructed: [], sizes: nil,
      digests: nil,
      tree: nil)
    var waits = away.options
    waits.patience = .seconds(60)
    func complete() async throws -> SourceRegistration {
      try await registration.completed(
        for: lake.catalog, configuration: quickConfiguration(), waits: waits, cancellation: Cancellation()
      ).registration
    }
    guard seconds > 60 else {
      let whole = try await complete()
      #expect(whole.dimension == 4)
      #expect(away.waits.withLock { !$0.isEmpty })
      return
    }
    let error = await #expect(throws: TarnError.self) { _ = try await complete() }
    #expect(error?.code == .temporary && error?.message.contains("did not recover") == true)
  }

  /// Who lacks the shard for good is asked once; who is away is waited for.
  @Test func aMirrorThatLacksItIsNoReasonToGiveUpOne() async throws {
    let away = Away(for: .seconds(20), from: 1)
    let lacking = try HostileServer { _ in .answer(404) }
    let server = try HostileServer { away.answer() ?? .file(shard, for: $0) }
    let registration = SourceRegistration(
      name: "images", modality: .image, dimension: nil, elementType: nil,
      place: .template(server.url("/{ordinal}.npy"), count: 2), mirrors: [lacking.url("/{ordinal}.npy")],
      reconstructed: [], sizes: nil, digests: nil, tree: nil)
    var waits = away.options
    waits.patience = .seconds(60)
    _ = try await registration.completed(
      for: lake.catalog, configuration: quickConfiguration(), waits: waits, cancellation: Cancellation())
    #expect(lacking.requests.count == 1)
  }

  @Test(arguments: [30, 180, 900]) func r21ChunksAreMendedAfterAnOutage(seconds: Int) async throws {
    let large = makeShard(rows: 5_000_000)
    let isAway = Mutex<Away?>(nil)
    let server = try HostileServer { request in
      isAway.withLock { $0 }?.answer() ?? .file(large, for: request)
    }
    _ = try source([server.url], count: 1)
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    _ = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
    let held = try lake.catalog.shards(of: lake.catalog.source(named: "images"))[0]
    let path = lake.catalog.layout.shards + "/" + (try #require(held.path))
    let file = try #require(FileHandle(forUpdatingAtPath: path))
    try file.seek(toOffset: 20 << 20)
    try file.write(contentsOf: [1, 2, 3])
    try file.close()
    let away = Away(for: .seconds(seconds), from: 1)
    isAway.withLock { $0 = away }
    var waits = away.options
    waits.patience = .seconds(600)
    let mender = ShardMender(
      lake.catalog, configuration: quickConfiguration(), waits: waits, cancellation: Cancellation())
    if seconds < 600 {
      #expect(try mender.mend(held)?.count == 1)
      #expect(try Disk.digest(of: path) == .of(large))
    } else {
      let error = #expect(throws: TarnError.self) { try mender.mend(held) }
      #expect(error?.code == .temporary)
    }
  }
}
