// Patience with servers (R21, R22, R23): the policy as it ships under a clock of
// the test's own, and syncs that outlive outages of minutes in a moment.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Synchronization
import TestSupport
import Testing

@Suite struct HostPatienceTests {
  private let start = ContinuousClock.now

  @Test(arguments: [Duration.seconds(600), .seconds(7_200), .seconds(21_600)])
  func r21PausesDoubleAndNeverExceedAQuarterOfWhatIsLeft(limit: Duration) throws {
    var patience = HostPatience(limit: limit)
    var (now, pauses) = (start, [Duration]())
    while true {
      patience.failed(at: now)
      guard case .pausing(let until) = patience.standing(at: now) else { break }
      let left = limit - (now - start)
      #expect(until - now <= left / 4)
      pauses.append(until - now)
      now = until
      #expect(patience.standing(at: now) == .askable)
      patience.asks()
      patience.cameBack()
    }
    #expect(patience.standing(at: now) == .exhausted)
    #expect(Array(pauses.prefix(6)) == [1, 2, 4, 8, 16, 32].map { Duration.seconds($0) })
    // It is not given up before its time, nor asked without end.
    #expect(now - start <= limit && limit - (now - start) < .seconds(1))
    #expect(pauses.count < 60)
  }

  @Test func r21ATrickleProlongsNothingAndProgressDoes() {
    let limit = Duration.seconds(600)
    for (rate, isProlonged) in [(200, false), (1_747, false), (2_000, true)] {
      var patience = HostPatience(limit: limit)
      // Bytes come every second, and a question fails every second.
      let over = (0...3_600).first { second in
        patience.kept(rate)
        patience.failed(at: start + .seconds(second))
        return patience.standing(at: start + .seconds(second)) == .exhausted
      }
      #expect(over == (isProlonged ? nil : 600), "\(rate) bytes a second")
    }
  }

  @Test func r21QuestionsThatFailTogetherAreOneFailure() {
    var patience = HostPatience(limit: .seconds(600))
    for _ in 0..<64 { patience.failed(at: start) }
    #expect(patience.standing(at: start) == .pausing(until: start + .seconds(1)))
    // One asks at a time.
    let later = start + .seconds(2)
    #expect(patience.standing(at: later) == .askable)
    patience.asks()
    #expect(patience.standing(at: later) != .askable)
    patience.cameBack()
    #expect(patience.standing(at: later) == .askable)
    patience.delivered()
    #expect(patience.standing(at: later) == .well)
  }

  @Test func r21WhatAHostAsksForIsObeyedWhilePatienceLasts() {
    var patience = HostPatience(limit: .seconds(600))
    patience.failed(askingFor: .seconds(300), at: start)
    #expect(patience.standing(at: start) == .pausing(until: start + .seconds(300)))
    patience.failed(askingFor: .seconds(500), at: start + .seconds(300))
    #expect(patience.standing(at: start + .seconds(300)) == .pausing(until: start + .seconds(600)))
    patience.failed(at: start + .seconds(600))
    #expect(patience.standing(at: start + .seconds(600)) == .exhausted)
  }

  @Test func r21WithoutPatienceTheFirstFailureIsTheLast() {
    var patience = HostPatience(limit: .zero)
    patience.failed(askingFor: .seconds(1), at: start)
    #expect(patience.standing(at: start) == .exhausted)
  }

  @Test(arguments: 0..<200 as Range<UInt64>)
  func r21NoOrderOfEventsMovesTheEnd(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let limit = Duration.seconds(Int.random(in: 5...20_000, using: &random))
    var patience = HostPatience(limit: limit)
    var (now, since, kept) = (start, ContinuousClock.Instant?.none, 0)
    for _ in 0..<400 {
      now += .milliseconds(Int.random(in: 0...200_000, using: &random))
      switch Int.random(in: 0..<8, using: &random) {
      case 0:
        patience.delivered()
        (since, kept) = (nil, 0)
      case 1:
        let byteCount = Int.random(in: 1...600_000, using: &random)
        patience.kept(byteCount)
        if since != nil { kept += byteCount }
        if kept >= 1 << 20 { (since, kept) = (nil, 0) }
      case 2: patience.asks()
      case 3: patience.cameBack()
      default:
        patience.failed(
          askingFor: Bool.random(using: &random) ? .seconds(Int.random(in: 0...300, using: &random)) : nil, at: now)
        since = since ?? now
        // Over exactly when nothing worth a pause is left.
        let isOver = limit - (now - (since ?? now)) < HostPatience.shortestPause * 4
        if isOver { #expect(patience.standing(at: now) == .exhausted) }
      }
      guard let since else {
        #expect(patience.standing(at: now) == .well)
        continue
      }
      switch patience.standing(at: now) {
      case .well: Issue.record("well without progress")
      case .pausing(let until): #expect(until <= since + limit)
      case .askable: break
      case .exhausted: #expect(limit - (now - since) < HostPatience.shortestPause * 4)
      }
    }
  }
}

@Suite struct OutageTests {
  private static let shardCount = 6

  /// A lake of shards at one server.
  private func lake(at server: HostileServer, digests: [ContentDigest]? = nil) throws -> TemporaryLake {
    let lake = try TemporaryLake()
    _ = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: (0..<Self.shardCount).map {
          .init(name: "\($0).npy", urls: [server.url("/\($0).npy")], expectedDigest: digests?[$0])
        }))
    return lake
  }

  private func options(_ clock: ScriptedClock, patience: Duration) -> SyncOptions {
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    options.fetch.supplyInterval = .milliseconds(1)
    options.fetch.jobs = 2
    options.patience = patience
    options.clock = { clock.now }
    return options
  }

  private func shards() -> [[UInt8]] { (0..<Self.shardCount).map { makeShard(rows: 20_000, seed: UInt64(10 + $0)) } }

  private func fileName(_ request: HostileServer.Request) -> Int { Int(request.target.dropFirst().dropLast(4)) ?? 0 }

  /// Seconds that the server is gone, and the patience that it takes.
  @Test(arguments: [(30, 600), (180, 600), (900, 3_600)])
  func r21ASyncOutlivesAnOutage(outage: Int, patience: Int) async throws {
    let shards = shards()
    let clock = ScriptedClock(step: .milliseconds(500))
    let begun = Mutex<(count: Int, at: Duration?)>((0, nil))
    let server = try HostileServer { request in
      let (count, isGone) = begun.withLock { begun in
        begun.count += 1
        if begun.count == 3 { begun.at = clock.elapsed }
        return (begun.count, begun.at.map { clock.elapsed - $0 < .seconds(outage) } ?? false)
      }
      let bytes = shards[fileName(request)]
      // It goes in the middle of the third answer.
      if count == 3 {
        return .answer(
          200, headers: ["ETag: \"1\""], body: Array(bytes[..<70_000]), framing: .length(bytes.count), then: .reset)
      }
      return isGone ? ScriptedAnswer([.reset]) : .file(bytes, for: request)
    }
    let lake = try lake(at: server)
    let waits = Mutex<[HostWait]>([])
    let summary = try await SyncRun(
      lake.catalog, options(clock, patience: .seconds(patience)), cancellation: Cancellation()
    ) { event in
      if case .waiting(let wait) = event { waits.withLock { $0.append(wait) } }
    }.run()
    #expect(summary.fetchedCount == Self.shardCount && summary.failures.isEmpty, "\(summary.failures)")
    // The outage was met, and told.
    #expect(clock.elapsed >= .seconds(outage))
    #expect(waits.withLock { $0.contains { $0.host == server.url("") && $0.until <= $0.patienceUntil } })
    // Nothing was fetched twice, and the host was not bothered meanwhile.
    let received = try lake.rows("SELECT sum(received_bytes) FROM v_transfer")
    #expect(received == ["\(shards.map(\.count).reduce(0, +))"])
    #expect(server.requests.count < 120)
    for (ordinal, shard) in try lake.catalog.shards(of: lake.catalog.source(named: "images")).enumerated() {
      let path = lake.catalog.layout.shards + "/" + (try #require(shard.path))
      #expect(bytes(at: path) == shards[ordinal])
    }
  }

  @Test func r21WhenPatienceRunsOutEveryShardIsNamedAndTheFailureMayPass() async throws {
    let clock = ScriptedClock(step: .seconds(1))
    let server = try HostileServer { _ in ScriptedAnswer([.reset]) }
    let lake = try lake(at: server)
    let summary = try await SyncRun(
      lake.catalog, options(clock, patience: .seconds(600)), cancellation: Cancellation()
    ) { _ in }.run()
    #expect(Set(summary.failures.map(\.shard)).count == Self.shardCount)
    #expect(summary.failures.count == Self.shardCount)
    #expect(summary.failures.allSatisfy { $0.error.code == .temporary })
    #expect(clock.elapsed >= .seconds(590))
  }

  @Test(arguments: [true, false]) func r22APageIsWaitedOutAndKeepsWhatArrived(saysSo: Bool) async throws {
    let shards = shards()
    let clock = ScriptedClock(step: .seconds(1))
    let page = Array("<html><body>Back soon</body></html>".utf8)
    let begunAt = Mutex<Duration?>(nil)
    let server = try HostileServer { request in
      let since = begunAt.withLock { begunAt in
        defer { begunAt = begunAt ?? clock.elapsed }
        return begunAt
      }
      let bytes = shards[fileName(request)]
      guard let since else {
        return .answer(
          200, headers: ["ETag: \"1\""], body: Array(bytes[..<70_000]), framing: .length(bytes.count), then: .reset)
      }
      guard clock.elapsed - since < .seconds(120) else { return .file(bytes, for: request) }
      return .answer(200, headers: saysSo ? ["Content-Type: text/html; charset=utf-8"] : [], body: page)
    }
    let lake = try lake(at: server)
    let summary = try await SyncRun(
      lake.catalog, options(clock, patience: .seconds(600)), cancellation: Cancellation()
    ) { _ in }.run()
    #expect(summary.fetchedCount == Self.shardCount && summary.failures.isEmpty, "\(summary.failures)")
    #expect(server.requests.contains { $0.rangeStart == 70_000 && $0.precedingCount > 0 })
    // Bytes that do not say that they are a page take the place of what was held (R5).
    guard saysSo else { return }
    let resumed = try lake.rows("SELECT resumed_from FROM v_transfer WHERE outcome = 'complete' AND resumed_from > 0")
    #expect(resumed == ["70000"])
  }

  /// What a shard was answered is why it failed, and not that its host would not be asked again.
  @Test func r23ADefiniteAnswerStaysTheReasonWhenPatienceRunsOut() async throws {
    let clock = ScriptedClock(step: .seconds(1))
    let server = try HostileServer { request in
      fileName(request) == 1 ? .answer(404) : ScriptedAnswer([.reset])
    }
    let lake = try lake(at: server)
    let summary = try await SyncRun(
      lake.catalog, options(clock, patience: .seconds(600)), cancellation: Cancellation()
    ) { _ in }.run()
    #expect(summary.failures.count == Self.shardCount)
    let error = try #require(summary.failures.first { $0.shard == "1.npy" }?.error)
    #expect(error.code == .absent, "\(error)")
    let kept = try lake.rows("SELECT last_error FROM v_shard WHERE shard = '1.npy'")
    #expect(kept.first?.contains("not asked for") == false, "\(kept)")
  }

  @Test func r23ADefiniteAnswerGetsOneMoreRoundAtTheEnd() async throws {
    let shards = shards()
    let clock = ScriptedClock(step: .seconds(1))
    // One is not there for good, one was not there yet, one had other bytes at first.
    let server = try HostileServer { request in
      let ordinal = fileName(request)
      switch ordinal {
      case 0: return .answer(404)
      case 1 where request.precedingCount == 0: return .answer(404)
      case 2 where request.precedingCount == 0: return .file(shards[3], for: request)
      default: return .file(shards[ordinal], for: request)
      }
    }
    let lake = try lake(at: server, digests: shards.map { ContentDigest.of($0) })
    let summary = try await SyncRun(
      lake.catalog, options(clock, patience: .seconds(600)), cancellation: Cancellation()
    ) { _ in }.run()
    #expect(summary.fetchedCount == Self.shardCount - 1)
    #expect(summary.failures.map(\.shard) == ["0.npy"] && summary.failures.map(\.error.code) == [.absent])
    let asked = server.requests.map { fileName($0) }
    #expect(asked.filter { $0 == 0 }.count == 2)
    // After all the others.
    #expect(Set(asked.suffix(3)) == [0, 1, 2])
  }

  @Test func r23AHostThatWaitsHoldsUpNoOther() async throws {
    let shards = shards()
    let clock = ScriptedClock(step: .milliseconds(100))
    let dead = try HostileServer(onLoopback: 1) { _ in .answer(503, headers: ["Retry-After: 300"]) }
    let live = try HostileServer(onLoopback: 2) { .file(shards[fileName($0)], for: $0) }
    let lake = try TemporaryLake()
    _ = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: (0..<Self.shardCount).map {
          .init(name: "\($0).npy", urls: [($0 < 4 ? dead : live).url("/\($0).npy")])
        }))
    var options = options(clock, patience: .seconds(600))
    options.fetch.jobs = 1
    options.fetch.retryAfterCap = .seconds(300)
    let cancellation = Cancellation()
    let fetched = Mutex(0)
    let run = SyncRun(lake.catalog, options, cancellation: cancellation) { event in
      guard case .fetched = event else { return }
      // Both others came while the first asks for minutes: that is all there is to see.
      if fetched.withLock({
        $0 += 1; return $0
      }) == 2 {
        cancellation.cancel()
      }
    }
    await #expect(throws: TarnError.interrupted) { _ = try await run.run() }
    #expect(fetched.withLock { $0 } == 2)
    #expect(dead.requests.count == 1)
  }
}
