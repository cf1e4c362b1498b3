// Redirects and the secrets that must not follow them, and shards that are
// files on this machine.

import Base
import Fetch
import Foundation
import Synchronization
import Testing
import TestSupport

@Suite struct RedirectTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 3_000)

  init() throws { directory = try TemporaryDirectory() }

  @Test func s1SendsAnOriginsHeadersToNoOther() async throws {
    let target = try HostileServer { [shard] in .file(shard, for: $0) }
    let targetURL = target.url("/real")
    let first = try HostileServer { _ in .answer(302, headers: ["Location: \(targetURL)"]) }
    var configuration = quickConfiguration()
    let origin = "http://127.0.0.1:\(first.port)"
    configuration.headers = { $0 == origin ? ["X-Api-Key: planted-secret"] : [] }
    let run = await fetch([makeRequest(in: directory, from: [first.url("/a")])], configuration: configuration)
    #expect(run.shard() != nil)
    #expect(first.requests.map { $0.value("x-api-key") } == ["planted-secret"])
    #expect(target.requests.map { $0.value("x-api-key") } == [nil])
    #expect(!"\(run.events)".contains("planted-secret"))
  }

  @Test func s1s3KeepsNameAndPasswordOfAMirrorFromOtherHosts() async throws {
    let target = try HostileServer { [shard] in .file(shard, for: $0) }
    let targetURL = target.url("/real")
    let first = try HostileServer { _ in .answer(302, headers: ["Location: \(targetURL)"]) }
    let url = "http://user:planted-secret@127.0.0.1:\(first.port)/a?token=planted-secret"
    let run = await fetch([makeRequest(in: directory, from: [url])])
    #expect(run.shard() != nil)
    #expect(first.requests.first?.value("authorization") != nil)
    #expect(target.requests.first?.value("authorization") == nil)
    #expect(!"\(run.events)".contains("planted-secret"))
  }

  @Test(arguments: [1, 5, 6]) func followsAtMostFiveRedirects(count: Int) async throws {
    let server = try HostileServer { [shard] request in
      let step = Int(request.target.dropFirst()) ?? 0
      return step < count ? .answer(302, headers: ["Location: /\(step + 1)"]) : .file(shard, for: request)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/0")])])
    #expect((run.shard() != nil) == (count <= 5))
    if count > 5 { #expect(run.failure()?.code == .refused) }
    #expect(run.attempts.count == 1)
  }

  @Test func r18ResumesFromTheMirrorsAddressAndNotTheRedirects() async throws {
    let server = try HostileServer { [shard] request in
      if request.target == "/a" { return .answer(302, headers: ["Location: /signed\(request.precedingCount)"]) }
      return request.target == "/signed0"
        ? .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
        : .file(shard, for: request)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a")])])
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    #expect(server.requests.map(\.target) == ["/a", "/signed0", "/a", "/signed1"])
    #expect(server.requests.last?.rangeStart == 9_000)
  }

  @Test func s4KeepsSecretsOutOfErrorsAndOffTheDisk() async throws {
    let server = try HostileServer { [shard] request in
      request.precedingCount == 0
        ? .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
        : .answer(503)
    }
    let url = "http://u:planted-secret@127.0.0.1:\(server.port)/a?sig=planted-secret"
    let run = await fetch([makeRequest(in: directory, from: [url])])
    #expect(run.failure()?.code == .temporary)
    #expect(!"\(run.events)".contains("planted-secret"))
    let point = try #require(bytes(at: directory.path + "/1.part.resume"))
    #expect(!String(decoding: point, as: UTF8.self).contains("planted-secret"))
  }
}

/// How long was waited, in a time of its own.
private final class WaitedTime: Sendable {
  private let total = Mutex(Duration.zero)
  var sum: Duration { total.withLock { $0 } }
  func add(_ time: Duration) { total.withLock { $0 += time } }
}

@Suite struct LocalFileTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 300_000)

  init() throws { directory = try TemporaryDirectory() }

  private func place(_ bytes: [UInt8]) throws -> String {
    let path = directory.path + "/a shard.npy"
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return "file://" + path.replacingOccurrences(of: " ", with: "%20")
  }

  @Test func takesAFileThroughTheSameChecks() async throws {
    let url = try place(shard)
    let run = await fetch([makeRequest(in: directory, from: [url], size: shard.count, digest: .of(shard))])
    let fetched = try #require(run.shard())
    #expect(bytes(at: fetched.path) == shard)
    #expect(run.attempts.map(\.receivedByteCount) == [shard.count])
    let again = await fetch([makeRequest(in: directory, from: [url], condition: fetched.validator)])
    guard case .success(.unchanged) = again.result() else {
      Issue.record("copied again: \(String(describing: again.result()))")
      return
    }
  }

  @Test func refusesAFileThatIsNotTheShard() async throws {
    let wrong = await fetch([makeRequest(in: directory, from: [try place(shard)], size: 5)])
    #expect(wrong.failure()?.code == .integrity)
    let cut = await fetch([makeRequest(in: directory, from: [try place(Array(shard.dropLast(2)))])])
    #expect(cut.failure()?.code == .integrity)
    let directoryURL = "file://" + directory.path
    let notAFile = await fetch([makeRequest(in: directory, from: [directoryURL])])
    #expect(notAFile.failure()?.code == .integrity)
    #expect(try directory.contents() == ["a shard.npy"])
  }

  /// As any transfer; by a clock that waits alone move.
  @Test func isCopiedNoFasterThanTheLimitSays() async throws {
    let (start, waited) = (ContinuousClock.now, WaitedTime())
    var configuration = quickConfiguration()
    configuration.bytesPerSecondLimit = 500_000
    configuration.copyClock = { start + waited.sum }
    configuration.copyPause = { waited.add($0) }
    let run = await fetch(
      [makeRequest(in: directory, from: [try place(shard)], size: shard.count)], configuration: configuration)
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    // 2.4 MB.
    let seconds = Double(shard.count) / 500_000
    #expect(abs(waited.sum.seconds - seconds) < 0.3, "\(waited.sum)")
    // Without one nobody waits.
    let free = WaitedTime()
    configuration.bytesPerSecondLimit = nil
    configuration.copyPause = { free.add($0) }
    let next = try TemporaryDirectory()
    let other = await fetch(
      [makeRequest(in: next, from: [try place(shard)], size: shard.count)], configuration: configuration)
    #expect(other.shard() != nil && free.sum == .zero)
  }

  /// Each of them is less than is read at a time.
  @Test func manySmallFilesAreCopiedNoFasterThanTheLimitSays() async throws {
    let (start, waited) = (ContinuousClock.now, WaitedTime())
    var configuration = quickConfiguration()
    configuration.bytesPerSecondLimit = 20_000
    configuration.jobs = 1
    configuration.copyClock = { start + waited.sum }
    configuration.copyPause = { waited.add($0) }
    let small = makeShard(rows: 1_200)
    let url = try place(small)
    let run = await fetch(
      (1...20).map { makeRequest(Int64($0), in: directory, from: [url], size: small.count) },
      configuration: configuration)
    for id in 1...20 { #expect(run.shard(Int64(id)) != nil) }
    // The last one is paid by nobody.
    let seconds = Double(19 * small.count) / 20_000
    #expect(abs(waited.sum.seconds - seconds) < 0.1 * seconds, "\(waited.sum)")
  }

  @Test func saysThatAFileIsAbsentAndTakesTheNextMirror() async throws {
    let missing = "file://\(directory.path)/none.npy"
    let run = await fetch([makeRequest(in: directory, from: [missing, try place(shard)])])
    #expect(run.shard()?.mirrorID == 2)
    #expect(run.attempts.map(\.outcome) == [.absent, .succeeded])
  }
}
