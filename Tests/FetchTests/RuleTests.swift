// Rules of fetching that no other suite shows by itself: R8, R16, R17, S5, D5,
// D6, D7; and what a slow connection and a live limit do.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

@Suite struct RuleTests {
  @Test func r8ABodyThatEndsWithItsConnectionIsPartialUntilTheSizeIsReached() async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 2_000)
    let server = try HostileServer { request in
      request.precedingCount == 0
        ? .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .untilClose)
        : .file(shard, for: request)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")])])
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    #expect(run.attempts.map(\.outcome) == [.temporary, .succeeded])
    #expect(server.requests.last?.rangeStart == 9_000)
  }

  @Test func r16AFileOfTheRightSizeIsNotTakenForTheShard() async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 2_000)
    let server = try HostileServer { .file(shard, for: $0) }
    // As a downloader leaves it that sets the size first.
    try Data(count: shard.count).write(to: URL(fileURLWithPath: directory.path + "/1.part"))
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")], size: shard.count)])
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    #expect(server.requests.map(\.rangeStart) == [nil])
  }

  @Test func r16d6RoomThatIsAskedForDoesNotChangeTheSizeOfThePartFile() async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 500_000)
    let server = try HostileServer { _ in
      .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<3_000_000]), framing: .length(shard.count))
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")], size: shard.count)])
    #expect(run.failure()?.code == .temporary)
    var info = stat()
    #expect(stat(directory.path + "/1.part", &info) == 0)
    // Parked: the size is what came, and room for the rest was given back.
    #expect(info.st_size == 3_000_000)
    #expect(Int(info.st_blocks) * 512 < 3_300_000)
  }

  @Test func r17ARunThatCouldNotGetEverythingNamesWhatIsMissing() async throws {
    let lake = try TemporaryLake()
    let shard = makeShard(rows: 100)
    let server = try HostileServer { $0.target == "/1.npy" ? .answer(404) : .file(shard, for: $0) }
    _ = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: (0..<3).map { .init(name: "\($0).npy", urls: [server.url("/\($0).npy")]) }))
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    let summary = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
    #expect(summary.fetchedCount == 2)
    #expect(summary.failures.map(\.shard) == ["1.npy"])
    #expect(summary.failures.map(\.error.code) == [.absent])
  }

  @Test func r17WhatIsHereAndNowhereElseIsNamedAndNoFailure() async throws {
    let lake = try TemporaryLake()
    let shard = makeShard(rows: 100)
    let isGone = Mutex(false)
    let server = try HostileServer { request in
      let isAway = request.target == "/2.npy" || (request.target == "/1.npy" && isGone.withLock { $0 })
      return isAway ? .answer(404) : .file(shard, for: request)
    }
    _ = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: (0..<3).map { .init(name: "\($0).npy", urls: [server.url("/\($0).npy")]) }))
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    // What nobody ever gave is passed over on request alone.
    options.missing = .skip
    let first = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
    #expect(first.fetchedCount == 2 && first.failures.isEmpty)
    #expect(first.passedOver.map(\.name) == ["2.npy"])
    isGone.withLock { $0 = true }
    options.missing = .fail
    options.refresh = true
    let second = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
    #expect(second.withdrawn.map(\.name) == ["1.npy"] && second.unchangedCount == 2)
    #expect(second.failures.map(\.shard) == ["2.npy"])
    #expect(
      try lake.rows("SELECT shard || ' ' || state FROM v_shard WHERE last_error IS NOT NULL ORDER BY ordinal")
        == ["1.npy present", "2.npy absent"])
  }

  @Test(arguments: [
    "http://h/..", "http://h/.hidden", "http://h/-rf", "http://h/", "http://h/a%2Fb", "http://h/a%5Cb",
    "http://h/a%00b",
    "http://h/a%0Ab", "http://h/a%7Fb", "http://h/" + String(repeating: "a", count: 256),
  ])
  func s5NoNameLeavesTheDirectoryOfItsShards(url: String) {
    #expect(throws: TarnError.self) { try URLTemplate.fileName(of: url) }
  }

  @Test func d7WhoHasTheWholeLakeIsAlone() throws {
    let lake = try TemporaryLake()
    #expect(throws: TarnError.self) { try LakeCatalog.open(root: lake.root, writing: "gc") }
    #expect(throws: TarnError.self) { try LakeCatalog.open(root: lake.root, command: "pin", leasing: { _ in [] }) }
  }
}

@Suite struct RoomTests {
  /// A lake whose shard was probed when it was small, and has grown since.
  private func grownLake() throws -> (TemporaryLake, HostileServer, [UInt8]) {
    let lake = try TemporaryLake()
    let (small, grown) = (makeShard(rows: 100), makeShard(rows: 5_000))
    let server = try HostileServer { .file(grown, for: $0) }
    let source = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: [.init(name: "a.npy", urls: [server.url("/a.npy")])]))
    let shard = try lake.catalog.shards(of: source)[0]
    let mirror = try lake.catalog.locations(of: shard.id)[0].mirrorID
    try lake.catalog.recordProbes([
      ProbeRecord(shardID: shard.id, mirrorID: mirror, state: .present, byteCount: small.count)
    ])
    return (lake, server, grown)
  }

  private func sync(_ lake: TemporaryLake, budget: Int) async throws -> SyncSummary {
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    options.budget = budget
    return try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
  }

  @Test func d5AShardThatOutgrewItsReservationWaitsForALargerOne() async throws {
    let (lake, server, grown) = try grownLake()
    let summary = try await sync(lake, budget: grown.count)
    #expect(summary.fetchedCount == 1 && summary.failures.isEmpty)
    #expect(server.requests.count == 2)
    let facts = try lake.rows("SELECT state || ' ' || bytes || ' ' || coalesce(last_error, '-') FROM v_location")
    #expect(facts == ["present \(grown.count) -"])
    let outcomes = try lake.rows("SELECT outcome FROM v_transfer ORDER BY transfer")
    #expect(outcomes == ["interrupted", "complete"])
  }

  @Test func d5AShardThatOutgrewTheBudgetIsNotTakenIn() async throws {
    let (lake, server, grown) = try grownLake()
    let summary = try await sync(lake, budget: grown.count - 1)
    #expect(server.requests.count == 1)
    #expect(summary.fetchedCount == 0)
    #expect(summary.withoutRoom == ["a.npy"])
    let left = FileManager.default.enumerator(atPath: lake.catalog.layout.shards)?.compactMap { $0 as? String } ?? []
    #expect(left.allSatisfy { !$0.hasSuffix(".npy") && !$0.hasSuffix(".part") }, "\(left)")
    #expect(try lake.catalog.cachedByteCount() == 0)
    // The mirror is not to blame, and what it said is known to the next run.
    #expect(try lake.rows("SELECT state || ' ' || bytes FROM v_location") == ["present \(grown.count)"])
    #expect(try lake.rows("SELECT state FROM v_shard") == ["registered"])
    let again = try await sync(lake, budget: grown.count - 1)
    #expect(again.withoutRoom == ["a.npy"] && server.requests.count == 1)
    let last = try await sync(lake, budget: grown.count)
    #expect(last.fetchedCount == 1 && server.requests.count == 2)
  }

  @Test func d5WhatInterruptedTransfersLeftCountsAgainstTheBudget() async throws {
    let lake = try TemporaryLake()
    let whole = makeShard(rows: 5_000)
    let isCutting = Mutex(true)
    let server = try HostileServer { request in
      guard isCutting.withLock({ $0 }) else { return .file(whole, for: request) }
      return .answer(
        200, headers: ["ETag: \"x\""], body: Array(whole.prefix(whole.count / 2)), framing: .length(whole.count))
    }
    let source = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: (0..<5).map {
          .init(name: "\($0).npy", urls: [server.url("/\($0).npy")], expectedByteCount: whole.count)
        }))
    let budget = whole.count * 7 / 4
    func takenByteCount() throws -> Int {
      try FileManager.default.subpathsOfDirectory(atPath: lake.catalog.layout.shards).reduce(0) {
        $0 + (Disk.size(of: "\(lake.catalog.layout.shards)/\($1)") ?? 0)
      }
    }
    for _ in 0..<3 {
      let summary = try await sync(lake, budget: budget)
      #expect(summary.fetchedCount == 0 && !summary.withoutRoom.isEmpty)
      #expect(try takenByteCount() <= budget)
    }
    // What was begun is taken up first, and then there is room for what it leaves.
    isCutting.withLock { $0 = false }
    let last = try await sync(lake, budget: budget)
    #expect(last.fetchedCount == 1 && last.withoutRoom.count == 4, "\(last)")
    #expect(try lake.catalog.shards(of: source).count { $0.state == .present } == 1)
    #expect(try takenByteCount() <= budget)
  }

  @Test func d6RoomThatIsReservedAlreadyIsNotWaitedForAgain() async throws {
    let lake = try TemporaryLake()
    // Two large shards and a half fit above the floor: with the first one's room
    // counted twice there would be none for the other.
    let free = try FileSystem(of: lake.catalog.layout.shards).freeByteCount
    let rowCount = min(4 << 30, free / 4) / 8
    var header = "{'descr': '<f2', 'fortran_order': False, 'shape': (\(rowCount), 4), }"
    header += String(repeating: " ", count: 117 - header.utf8.count) + "\n"
    let start =
      [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0, UInt8(118), 0] + Array(header.utf8)
      + [UInt8](repeating: 0x3C, count: 3 << 20)
    let size = 128 + 8 * rowCount
    let small = makeShard(rows: 100)
    let last = DispatchSemaphore(value: 0)
    let wereTogether = Mutex(false)
    let cancellation = Cancellation()
    let part = lake.catalog.layout.partPath(source: "images", shard: "0.npy")
    let server = try HostileServer { request in
      switch request.target {
      case "/0.npy":
        let head = ScriptedAnswer.answer(200, body: start, framing: .length(size), then: .run {})
        return ScriptedAnswer(
          head.steps + [
            .run {
              let isAsked = last.wait(timeout: .now() + 30) == .success
              wereTogether.withLock { $0 = isAsked }
              cancellation.cancel()
            }
          ])
      case "/1.npy":
        // The third one's turn comes when the first has its room.
        for _ in 0..<3_000 where Disk.allocatedByteCount(of: part) < size { usleep(10_000) }
        return .file(small, for: request)
      default: return ScriptedAnswer([.run { last.signal() }, .stall])
      }
    }
    _ = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: (0..<3).map {
          .init(
            name: "\($0).npy", urls: [server.url("/\($0).npy")], expectedByteCount: $0 == 1 ? small.count : size)
        }))
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    options.fetch.supplyInterval = .milliseconds(50)
    options.fetch.jobs = 2
    options.keptFree = free - size * 5 / 2 - lake.catalog.reserve().catalogByteCount
    do {
      _ = try await SyncRun(lake.catalog, options, cancellation: cancellation) { _ in }.run()
      Issue.record("a run that was stopped did not say so")
    } catch let error as TarnError {
      #expect(error.code == .interrupted)
    }
    #expect(wereTogether.withLock { $0 })
  }

  @Test func r12ATroubledNetworkSaysNothingOfWhatAMirrorHas() async throws {
    let lake = try TemporaryLake()
    let server = try HostileServer { request in request.target == "/b.npy" ? .answer(403) : .answer(503) }
    _ = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: ["a", "b"].map { .init(name: "\($0).npy", urls: [server.url("/\($0).npy")]) }))
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    let summary = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
    #expect(Set(summary.failures.map(\.error.code)) == [.temporary, .refused])
    let facts = try lake.rows("SELECT state || ' ' || (last_error IS NULL) || (ask_again_at IS NULL) FROM v_location")
    #expect(facts == ["unknown 01", "faulty 00"])
  }
}

@Suite struct PaceTests {
  @Test func aConnectionMuchSlowerThanOthersToItsHostIsDrawnAgain() async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 40_000)
    let server = try HostileServer { request in
      // The first connection of the last shard is on a slow edge.
      let isSlow = request.target == "/4" && request.rangeStart == nil
      let start = request.rangeStart ?? 0
      let headers =
        ["ETag: \"1\""] + (start > 0 ? ["Content-Range: bytes \(start)-\(shard.count - 1)/\(shard.count)"] : [])
      let head = ScriptedAnswer.answer(
        start > 0 ? 206 : 200, headers: headers, framing: .length(shard.count - start), then: .run {})
      let (piece, pause): (Int, UInt32) = isSlow ? (500, 20_000) : (20_000, 20_000)
      let steps = stride(from: start, to: shard.count, by: piece).flatMap {
        [ScriptedAnswer.Step.send(Array(shard[$0..<min(shard.count, $0 + piece)])), .run { usleep(pause) }]
      }
      return ScriptedAnswer(head.steps + steps)
    }
    var configuration = quickConfiguration()
    configuration.reroll.window = .milliseconds(100)
    configuration.progressInterval = .milliseconds(10)
    configuration.jobs = 4
    let requests = (1...4).map { makeRequest(Int64($0), in: directory, from: [server.url("/\($0)")]) }
    let run = await fetch(requests, configuration: configuration)
    for id in 1...4 { #expect(bytes(at: try #require(run.shard(Int64(id))).path) == shard) }
    let slow = run.attempts.filter { $0.requestID == 4 }
    #expect(slow.first?.outcome == .restarted && slow.last?.outcome == .succeeded)
    #expect(slow.first?.errorText?.contains("slower") == true)
    #expect(slow.last.map { $0.offset > 0 } == true)
  }

  @Test func aLimitThatChangesWhileBytesComeIsObeyed() async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 100_000)
    let server = try HostileServer { .file(shard, for: $0) }
    let limit = Mutex<Int?>(200_000)
    var configuration = quickConfiguration()
    configuration.progressInterval = .milliseconds(20)
    configuration.liveBandwidth = { RateTimetable(bytesPerSecond: limit.withLock { $0 }) }
    let fetcher = Fetcher(configuration: configuration)
    let request = makeRequest(in: directory, from: [server.url("/a.npy")])
    let events = Mutex(0)
    // Under the limit it would take 4 s and two hundred reports; the second
    // report lifts it.
    try await fetcher.run([request]) { event in
      guard case .progress(_, let byteCount, _) = event else { return }
      let count = events.withLock { events in
        events += 1
        return events
      }
      if count <= 2, byteCount == shard.count { Issue.record("the limit was not kept") }
      if count == 2 { limit.withLock { $0 = nil } }
    }
    #expect(try directory.contents().contains { $0.hasSuffix(".npy") })
    #expect((2..<100).contains(events.withLock { $0 }))
  }
}

@Suite struct PacerTests {
  @Test(arguments: [5_000, 100_000, 20_000_000, 3_000_000_000])
  func theMeanRateIsTheOneThatWasAskedFor(rate: Int) {
    var pacer = Pacer()
    pacer.bytesPerSecond = rate
    let start = ContinuousClock.now
    var (now, taken) = (start, 0)
    while taken < 10 * rate {
      if pacer.take(16_384, at: now) {
        taken += 16_384
      } else {
        #expect(pacer.wait(at: now) > .zero)
        now += pacer.wait(at: now)
      }
    }
    let slack: Duration = .milliseconds(500 + 16_384 * 1_000 / rate)
    #expect(now - start > .seconds(10) - slack && now - start < .seconds(10) + slack, "\(now - start)")
  }

  /// Small files come no faster than one large one, however many are fetched at a time.
  @Test(arguments: [1, 4, 16]) func manySmallTransfersTogetherKeepTheLimit(jobs: Int) {
    let (limit, size, count) = (20_000, 9_700, 100)
    let start = ContinuousClock.now
    var (now, debt, begun, done) = (start, BandwidthDebt(), 0, 0)
    var running: [Pacer] = []
    func share() { for index in running.indices { running[index].bytesPerSecond = limit / max(1, running.count) } }
    while done < count {
      while running.count < jobs, begun < count {
        running.append(Pacer())
        share()
        running[running.count - 1].owe(debt.handOn(toOneAmong: running.count, rate: limit, at: now), at: now)
        begun += 1
      }
      // Each is taken whole, and ends with that.
      if let index = running.indices.first(where: { running[$0].take(size, at: now) }) {
        debt.add(running.remove(at: index).debt(at: now), at: now)
        share()
        done += 1
      } else {
        now += running.map { $0.wait(at: now) }.min() ?? .zero
      }
    }
    let (seconds, whole) = ((now - start).seconds, Double(size * count) / Double(limit))
    // Nobody waits for the last ones.
    #expect(seconds > whole - Double((jobs + 1) * size) / Double(limit), "\(seconds)")
    #expect(seconds < whole + 1, "\(seconds)")
  }

  /// Of many that end at once nobody's debt is one successor's alone: whoever begins waits no longer than a file takes
  /// at its share, and all together keep the limit.
  @Test(arguments: [(64, 1_000_000, 300_000), (64, 1_000_000, 512 << 10), (8, 200_000, 40_000)])
  func nobodyPaysForAll(jobs: Int, limit: Int, size: Int) {
    let (start, count) = (ContinuousClock.now, 10 * jobs)
    var (now, debt, begun, done) = (start, BandwidthDebt(), 0, 0)
    var running: [(pacer: Pacer, begunAt: ContinuousClock.Instant)] = []
    var longest = 0.0
    func share() {
      for place in running.indices { running[place].pacer.bytesPerSecond = limit / max(1, running.count) }
    }
    while done < count {
      while running.count < jobs, begun < count {
        running.append((Pacer(), now))
        share()
        let owed = debt.handOn(toOneAmong: running.count, rate: limit, at: now)
        running[running.count - 1].pacer.owe(owed, at: now)
        #expect(owed <= Double(size), "\(begun)")
        begun += 1
      }
      // All that may come whole, and end before anybody begins.
      var ended: [Int] = []
      for place in running.indices where running[place].pacer.take(size, at: now) { ended.append(place) }
      for place in ended.reversed() {
        let one = running.remove(at: place)
        longest = max(longest, (now - one.begunAt).seconds)
        debt.add(one.pacer.debt(at: now), at: now)
        done += 1
      }
      share()
      if ended.isEmpty { now += running.map { $0.pacer.wait(at: now) }.min() ?? .zero }
    }
    // At a slot's share of the limit.
    #expect(longest < Double(size * jobs) / Double(limit) + 1, "\(longest)")
    // Nobody waits for the last ones.
    let (seconds, whole) = ((now - start).seconds, Double(size * count) / Double(limit))
    #expect(seconds > whole - Double((jobs + 1) * size) / Double(limit), "\(seconds) of \(whole)")
    #expect(seconds < whole + 1, "\(seconds) of \(whole)")
  }

  /// What is left in the pool is lessened once by time in which the line was free.
  @Test func noFreeTimeCountsTwice() {
    let now = ContinuousClock.now
    var debt = BandwidthDebt()
    for _ in 0..<2 { debt.add(10_000, at: now) }
    let (first, second) = (
      debt.handOn(toOneAmong: 1, rate: 1_000, at: now + .seconds(4)),
      debt.handOn(toOneAmong: 1, rate: 1_000, at: now + .seconds(4))
    )
    #expect(first == 8_000 && second == 8_000)
  }

  @Test func nobodyPaysForTimeInWhichTheLineWasFree() {
    let now = ContinuousClock.now
    var debt = BandwidthDebt()
    for (count, seconds, expected) in [(2, 4, 10_000.0), (1, 4, 6_000), (1, 11, 0)] {
      debt.add(10_000, at: now)
      let owed = debt.handOn(toOneAmong: count, rate: 1_000, at: now + .seconds(seconds))
      #expect(owed == expected)
      let nothing = debt.handOn(toOneAmong: count, rate: 1_000, at: now + .seconds(seconds))
      #expect(nothing == 0)
    }
  }

  @Test func aPauseSavesNothingUpForABurst() {
    var pacer = Pacer()
    pacer.bytesPerSecond = 1_000_000
    let now = ContinuousClock.now
    _ = pacer.take(1, at: now)
    var burst = 0
    while pacer.take(1_000, at: now + .seconds(60)) { burst += 1_000 }
    #expect(burst <= 101_000)
  }
}

@Suite struct StoreTests {
  private func address(_ text: String, _ environment: [String: String], _ files: [String: String] = [:]) throws
    -> String
  {
    var configuration = FetchConfiguration()
    configuration.s3 = S3Settings(environment: environment) { files[$0] }
    return try configuration.s3Address(text)
  }

  @Test func anObjectIsAtAWSUnlessAnEndpointSaysOtherwise() throws {
    #expect(try address("s3://bucket/a/b c+d.npy", [:]) == "https://bucket.s3.us-east-1.amazonaws.com/a/b%20c%2Bd.npy")
    #expect(
      try address("s3://my.bucket/a.npy", ["AWS_REGION": "eu-west-1"])
        == "https://s3.eu-west-1.amazonaws.com/my.bucket/a.npy")
    #expect(
      try address("s3://bucket/a%20b.npy", ["AWS_ENDPOINT_URL": "http://127.0.0.1:9/"])
        == "http://127.0.0.1:9/bucket/a%20b.npy")
    for text in ["s3://", "s3://bucket", "s3://bucket/", "s3:///a.npy", "s3://u:p@bucket/a", "s3://b/a"] {
      #expect(throws: TarnError.self) { try address(text, [:]) }
    }
  }

  @Test func aProfileIsReadAsTheAWSToolsReadIt() throws {
    let files = [
      "/home/u/.aws/credentials": "[default]\naws_access_key_id = no\n[lab]\naws_access_key_id=KEY\n"
        + "aws_secret_access_key = SECRET\n",
      "/home/u/.aws/config": "# comment\n[profile lab]\nregion = eu-central-1\nendpoint_url = http://127.0.0.1:7\n",
    ]
    let settings = S3Settings(environment: ["HOME": "/home/u", "AWS_PROFILE": "lab"]) { files[$0] }
    #expect(settings.region == "eu-central-1")
    #expect(settings.endpoint == "http://127.0.0.1:7")
    #expect(settings.whyUnsigned == nil)
    let other = S3Settings(environment: ["HOME": "/home/u", "AWS_PROFILE": "none"]) { files[$0] }
    #expect(other.whyUnsigned != nil && other.region == "us-east-1")
  }

  /// Which half lacks, and which profile nobody wrote.
  @Test(
    arguments: [
      (["AWS_ACCESS_KEY_ID": "KEY"], "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not"),
      (
        ["AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_ACCESS_KEY_ID": ""],
        "AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not"
      ),
      (
        ["AWS_PROFILE": "none"],
        "AWS_PROFILE is 'none', and neither /home/u/.aws/credentials nor /home/u/.aws/config has that profile"
      ),
      (["AWS_PROFILE": "half"], "the profile 'half' has aws_access_key_id and no aws_secret_access_key"),
      (["AWS_PROFILE": "empty"], "no AWS_ACCESS_KEY_ID, and no key in the profile 'empty' that AWS_PROFILE names"),
      ([:], "no AWS_ACCESS_KEY_ID, and no key in a profile of ~/.aws"),
    ] as [([String: String], String)])
  func whatIsNotSignedSaysWhatLacks(environment: [String: String], said: String) {
    let files = [
      "/home/u/.aws/credentials": "[half]\naws_access_key_id = KEY\n",
      "/home/u/.aws/config": "[profile empty]\nregion = eu-west-1\n",
    ]
    let settings = S3Settings(environment: environment.merging(["HOME": "/home/u"]) { $1 }) { files[$0] }
    #expect(settings.whyUnsigned == said)
    let verdict = StoreAnswer(head: ResponseHead(statusCode: 403), body: []).verdict(
      unsigned: settings.whyUnsigned, at: Date(), cap: .seconds(1))
    guard case .refused(let error) = verdict else {
      Issue.record("\(verdict)")
      return
    }
    #expect(error.hint == "the request was not signed: \(said)")
  }

  @Test func s4ASecretOfAStoreIsInNoTextOfIt() {
    let settings = S3Settings(
      environment: [
        "AWS_ACCESS_KEY_ID": "planted-1", "AWS_SECRET_ACCESS_KEY": "planted-2", "AWS_SESSION_TOKEN": "planted-3",
      ]
    ) { _ in nil }
    var text = "\(settings) \(String(reflecting: settings))"
    dump(settings, to: &text)
    #expect(!text.contains("planted"))
  }
}
