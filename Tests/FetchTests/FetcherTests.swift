// The fetcher against servers that behave and servers that do not: what ends
// up on disk, what is asked again, and what is reported.

import Base
import Fetch
import Foundation
import Synchronization
import Testing
import TestSupport

@Suite struct FetcherTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 5_000)

  init() throws { directory = try TemporaryDirectory() }

  @Test func fetchesAWholeShardUnderItsFinalName() async throws {
    let server = try HostileServer { [shard] in .file(shard, for: $0) }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")], size: shard.count)])
    let fetched = try #require(run.shard())
    #expect(run.error == nil)
    #expect(bytes(at: fetched.path) == shard)
    #expect(fetched.digest == ContentDigest.of(shard))
    #expect(fetched.rowCount == 5_000)
    #expect(fetched.validator.etag == "\"1\"")
    #expect(try directory.contents() == ["1-\(fetched.digest.prefix(16)).npy"])
    #expect(run.attempts.map(\.outcome) == [.succeeded])
    #expect(run.attempts.first?.receivedByteCount == shard.count)
  }

  @Test func r1AsksForUnencodedBytes() async throws {
    let server = try HostileServer { [shard] in .file(shard, for: $0) }
    _ = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    #expect(server.requests.map { $0.value("accept-encoding") } == ["identity"])
  }

  @Test func fetchesManyShardsAtATimeAndPullsOnlyIntoFreeSlots() async throws {
    let server = try HostileServer { .file(makeShard(rows: 2_000, seed: UInt64($0.target.utf8.count)), for: $0) }
    var configuration = quickConfiguration()
    configuration.jobs = 3
    let counts = Mutex((pulled: 0, finished: 0, mostOpen: 0))
    let requests = (1...12).map {
      makeRequest(Int64($0), in: directory, from: [server.url("/" + String(repeating: "x", count: $0))])
    }
    try await Fetcher(configuration: configuration).run(
      pulling: {
        counts.withLock { counts in
          guard counts.pulled < requests.count else { return .finished }
          counts.pulled += 1
          counts.mostOpen = max(counts.mostOpen, counts.pulled - counts.finished)
          return .request(requests[counts.pulled - 1])
        }
      },
      onEvent: { event in
        if case .finished(_, .success) = event { counts.withLock { $0.finished += 1 } }
      })
    counts.withLock {
      #expect($0.finished == 12)
      #expect($0.mostOpen == 3)
    }
  }

  @Test func r12MovesToTheNextMirrorOnAbsenceWithoutARetry() async throws {
    let server = try HostileServer { [shard] request in
      request.target == "/1" ? .answer(404, body: Array("no".utf8)) : .file(shard, for: request)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/1"), server.url("/2")])])
    #expect(run.shard()?.mirrorID == 2)
    #expect(run.attempts.map(\.outcome) == [.absent, .succeeded])
    #expect(run.attempts.map(\.httpStatus) == [404, 200])
    #expect(server.requests.count == 2)
  }

  @Test(arguments: [404, 410]) func reportsAbsenceOnEveryMirror(status: Int) async throws {
    let server = try HostileServer { _ in .answer(status) }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/1"), server.url("/2")])])
    #expect(run.failure()?.code == .absent)
    #expect(try directory.contents() == [])
  }

  @Test(arguments: [408, 429, 500, 502, 503]) func r12RetriesAServerInTrouble(status: Int) async throws {
    let server = try HostileServer { [shard] request in
      request.precedingCount < 2 ? .answer(status, headers: ["Retry-After: 0"]) : .file(shard, for: request)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    #expect(run.shard() != nil)
    #expect(run.attempts.map(\.outcome) == [.temporary, .temporary, .succeeded])
  }

  @Test func givesUpOnAServerThatStaysInTroubleAndSaysTemporary() async throws {
    let server = try HostileServer { _ in .answer(503, headers: ["Retry-After: 100000000"]) }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    #expect(run.failure()?.code == .temporary)
    #expect(run.failure()?.code == .temporary)
    #expect(server.requests.count == 3)
  }

  @Test func r12CountsAttemptsAnewWhenBytesArrive() async throws {
    let step = shard.count / 8
    let server = try HostileServer { [shard] request in
      let start = request.rangeStart ?? 0
      let body = Array(shard[start..<min(shard.count, start + step)])
      let headers = ["ETag: \"1\"", "Content-Range: bytes \(start)-\(shard.count - 1)/\(shard.count)"]
      return .answer(
        start == 0 ? 200 : 206, headers: start == 0 ? ["ETag: \"1\""] : headers, body: body,
        framing: .length(shard.count - start), then: .close)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a")], size: shard.count)])
    let fetched = try #require(run.shard())
    #expect(bytes(at: fetched.path) == shard)
    #expect(run.attempts.count > 3)
  }

  @Test func resumesAfterARestartWithIfRangeAndFromTheRightByte() async throws {
    let cut = 20_000
    let server = try HostileServer { [shard] request in
      switch request.precedingCount {
      case 0:
        .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<cut]), framing: .length(shard.count))
      case 1, 2: .answer(503)
      default: .file(shard, for: request)
      }
    }
    let first = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    #expect(first.failure()?.code == .temporary)
    #expect(try directory.contents() == ["1.part", "1.part.resume"])
    let second = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    let fetched = try #require(second.shard())
    #expect(bytes(at: fetched.path) == shard)
    #expect(second.attempts.map(\.offset) == [cut])
    #expect(second.attempts.map(\.receivedByteCount) == [shard.count - cut])
    #expect(server.requests.last?.value("range") == "bytes=\(cut)-")
    #expect(server.requests.last?.value("if-range") == "\"1\"")
    #expect(try directory.contents().count == 1)
  }

  /// A tag that no request can carry is no reason to ask nobody.
  @Test func r2ATagThatIsNoneIsPassedOver() async throws {
    let server = try HostileServer { [shard] request in
      request.precedingCount == 0
        ? .answer(200, headers: ["ETag: \"a\tb\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
        : .file(shard, for: request)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    #expect(run.attempts.map(\.offset) == [0, 0])
    let odd = EntityValidator(etag: "\"a\tb\"")
    let second = await fetch([makeRequest(2, in: directory, from: [server.url("/a")], condition: odd)])
    #expect(second.shard(2) != nil)
    #expect(server.requests.allSatisfy { $0.value("if-range") == nil && $0.value("if-none-match") == nil })
  }

  @Test func r2APartThatWasKeptWithSuchATagBeginsAnew() async throws {
    let server = try HostileServer { [shard] request in
      switch request.precedingCount {
      case 0:
        .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
      case 1, 2: .answer(503)
      default: .file(shard, for: request)
      }
    }
    _ = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    let path = directory.path + "/1.part.resume"
    let point = String(decoding: try #require(bytes(at: path)), as: UTF8.self)
    let odd = point.replacing(#"\"1\""#, with: #"\"a\tb\""#)
    #expect(odd != point)
    try Data(odd.utf8).write(to: URL(fileURLWithPath: path))
    let second = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    #expect(second.attempts.map(\.offset) == [0])
    #expect(bytes(at: try #require(second.shard()).path) == shard)
  }

  @Test func d8DropsAPartialThatRottedOnDisk() async throws {
    let server = try HostileServer { [shard] request in
      switch request.precedingCount {
      case 0:
        .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
      case 1, 2: .answer(503)
      default: .file(shard, for: request)
      }
    }
    _ = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    var partial = try #require(bytes(at: directory.path + "/1.part"))
    partial[5_000] ^= 1
    try Data(partial).write(to: URL(fileURLWithPath: directory.path + "/1.part"))
    let second = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    #expect(second.attempts.map(\.offset) == [0])
    #expect(bytes(at: try #require(second.shard()).path) == shard)
  }

  @Test func r10NeverContinuesOneMirrorsBytesWithAnothers() async throws {
    let other = makeShard(rows: 5_000, seed: 9)
    let server = try HostileServer { [shard] request in
      request.target == "/1"
        ? .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
        : .file(other, for: request)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/1"), server.url("/2")])])
    #expect(bytes(at: try #require(run.shard()).path) == other)
    #expect(server.requests.last?.rangeStart == nil)
  }

  @Test func d9MovesToTheNextMirrorOnAWrongDigest() async throws {
    let server = try HostileServer { [shard] request in
      .file(request.target == "/1" ? makeShard(rows: 5_000, seed: 3) : shard, for: request)
    }
    let digest = ContentDigest.of(shard)
    let run = await fetch([makeRequest(in: directory, from: [server.url("/1"), server.url("/2")], digest: digest)])
    #expect(run.shard()?.digest == digest)
    #expect(run.attempts.map(\.outcome) == [.integrity, .succeeded])
  }

  @Test func refusesAWrongDigestFromEveryMirrorAndKeepsNothing() async throws {
    let server = try HostileServer { [shard] in .file(shard, for: $0) }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/1")], digest: ContentDigest.of("other"))])
    #expect(run.failure()?.code == .integrity)
    #expect(try directory.contents() == [])
  }

  @Test(arguments: [
    (Array("<!doctype html><html>sorry".utf8), "HTML"), (makeShard(rows: 9, dimension: 5), "elements where"),
    (makeShard(rows: 9, descr: "<f4"), "float32"), ([], "too few"),
    (Array(makeShard(rows: 9)[..<100]), "too few"), (Array(makeShard(rows: 9)[..<150]), "declares 200"),
  ])
  func r11RefusesWhatIsNotTheShard(body: [UInt8], cause: String) async throws {
    let server = try HostileServer { _ in .answer(200, body: body) }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    let error = try #require(run.failure())
    #expect(error.code == .integrity)
    #expect(error.message.contains(cause), "\(error.message)")
    #expect(server.requests.count == 1)
    #expect(try directory.contents() == [])
  }

  @Test func asksOnlyForANewerRevision() async throws {
    let server = try HostileServer { [shard] in .file(shard, etag: "\"2\"", for: $0) }
    let held = EntityValidator(etag: "\"2\"")
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a")], condition: held)])
    guard case .success(.unchanged(mirrorID: 1)) = run.result() else {
      Issue.record("not unchanged: \(String(describing: run.result()))")
      return
    }
    let older = EntityValidator(etag: "\"1\"")
    let second = await fetch([makeRequest(in: directory, from: [server.url("/a")], condition: older)])
    #expect(second.shard()?.digest == ContentDigest.of(shard))
    #expect(try directory.contents().count == 1)
  }

  @Test func givesUpAStalledTransferAndContinuesIt() async throws {
    let server = try HostileServer { [shard] request in
      request.precedingCount == 0
        ? .answer(
          200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count), then: .stall)
        : .file(shard, for: request)
    }
    var configuration = quickConfiguration()
    configuration.watch.stallTimeout = .milliseconds(300)
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a")])], configuration: configuration)
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    #expect(run.attempts.map(\.offset) == [0, 9_000])
  }

  @Test func keepsWhatArrivedWhenItIsStopped() async throws {
    let fetcher = Fetcher(configuration: quickConfiguration())
    let server = try HostileServer { [shard] request in
      guard request.precedingCount == 0 else { return .file(shard, for: request) }
      let answer = ScriptedAnswer.answer(
        200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count), then: .stall)
      return answer
    }
    var configuration = quickConfiguration()
    configuration.progressInterval = .milliseconds(1)
    let stoppable = Fetcher(configuration: configuration)
    let events = Mutex<[FetchEvent]>([])
    await #expect(throws: CancellationError.self) {
      try await stoppable.run([makeRequest(in: directory, from: [server.url("/a")])]) { event in
        events.withLock { $0.append(event) }
        if case .progress(_, let count, _) = event, count == 9_000 { stoppable.cancel() }
      }
    }
    let first = FetchRun(events: events.withLock { $0 })
    #expect(first.failure()?.code == .interrupted)
    #expect(first.attempts.map(\.outcome) == [.interrupted])
    let second = await fetch([makeRequest(in: directory, from: [server.url("/a")])], on: fetcher)
    #expect(second.attempts.map(\.offset) == [9_000])
    #expect(bytes(at: try #require(second.shard()).path) == shard)
  }

  @Test func stopsWhenItsTaskIsCancelled() async throws {
    let server = try HostileServer { _ in ScriptedAnswer([.stall]) }
    let fetcher = Fetcher(configuration: quickConfiguration())
    let request = makeRequest(in: directory, from: [server.url("/a")])
    let (started, signal) = AsyncStream.makeStream(of: Void.self)
    let task = Task {
      try await fetcher.run([request]) { if case .started = $0 { signal.yield() } }
    }
    for await _ in started { break }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
  }

  @Test func asksTheSupplyAgainAfterItHeldBack() async throws {
    let server = try HostileServer { [shard] in .file(shard, for: $0) }
    let request = makeRequest(in: directory, from: [server.url("/a")])
    let calls = Mutex(0)
    let finished = Mutex(0)
    var configuration = quickConfiguration()
    configuration.supplyInterval = .milliseconds(1)
    try await Fetcher(configuration: configuration).run(
      pulling: {
        let call = calls.withLock { calls in
          calls += 1
          return calls
        }
        return call < 3 ? .notYet : call == 3 ? .request(request) : .finished
      },
      onEvent: { if case .finished(_, .success) = $0 { finished.withLock { $0 += 1 } } })
    #expect(finished.withLock { $0 } == 1)
  }

  @Test func leavesAHostAloneAfterItRefusedOften() async throws {
    let server = try HostileServer { _ in .answer(403) }
    var configuration = quickConfiguration()
    configuration.jobs = 1
    let requests = (1...6).map { makeRequest(Int64($0), in: directory, from: [server.url("/\($0)")]) }
    let run = await fetch(requests, configuration: configuration)
    #expect((1...6).allSatisfy { run.failure($0)?.code == .refused })
    #expect(server.requests.count == configuration.refusalsPerHost)
  }

  @Test func asksNoHostForMoreAtATimeThanItsLimit() async throws {
    let counts = Mutex((open: 0, most: 0))
    // Larger than the buffers of a socket, so that answers can overlap.
    let shard = makeShard(rows: 1_000_000)
    let server = try HostileServer { request in
      counts.withLock { counts in
        counts.open += 1
        counts.most = max(counts.most, counts.open)
      }
      guard case .send(let bytes)? = ScriptedAnswer.file(shard, for: request).steps.first else { return .answer(500) }
      // Open until its last byte, which the client must have to go on.
      return ScriptedAnswer([
        .send(bytes.dropLast()), .run { counts.withLock { $0.open -= 1 } }, .send(Array(bytes.suffix(1))),
      ])
    }
    var configuration = quickConfiguration()
    configuration.jobs = 8
    configuration.transfersPerHost = 1
    let requests = (1...8).map { makeRequest(Int64($0), in: directory, from: [server.url("/\($0)")]) }
    let run = await fetch(requests, configuration: configuration)
    #expect((1...8).allSatisfy { run.shard($0) != nil })
    #expect(counts.withLock { $0.most } == 1)
  }

  @Test func reportsARefusedConnectionAsTemporary() async throws {
    let server = try HostileServer { _ in .answer(200) }
    let url = server.url("/a")
    server.stop()
    let run = await fetch([makeRequest(in: directory, from: [url])])
    #expect(run.failure()?.code == .temporary)
    #expect(run.attempts.count == 3)
  }

  @Test(arguments: ["ftp://host/a", "not an address", "http://", "gopher://x/"])
  func refusesAnAddressThatItCannotFetch(url: String) async throws {
    let run = await fetch([makeRequest(in: directory, from: [url])])
    #expect(run.failure()?.code == .usage)
  }
}
