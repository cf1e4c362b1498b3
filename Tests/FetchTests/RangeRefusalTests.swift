// R20: servers that refuse ranges and give the whole, and servers behind one
// address that tag the same bytes differently.

import Base
import Fetch
import Foundation
import Synchronization
import Testing
import TestSupport

@Suite struct RangeRefusalTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 3_000)

  init() throws { directory = try TemporaryDirectory() }

  /// A server whose first answer is cut; then ranges get `status`, and the whole is
  /// given if `givesWhole`.
  private func server(refusing status: Int, givesWhole: Bool = true) throws -> HostileServer {
    try HostileServer { [shard] request in
      if request.precedingCount == 0 {
        return .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
      }
      if request.rangeStart == nil, givesWhole { return .answer(200, headers: ["ETag: \"1\""], body: shard) }
      return .answer(status, body: Array("no".utf8))
    }
  }

  @Test(arguments: [400, 403, 404, 405, 406, 412, 500, 501], [true, false])
  func r20ARefusedRangeIsTriedOnceWhole(status: Int, isDigestKnown: Bool) async throws {
    let server = try server(refusing: status)
    let digest = isDigestKnown ? ContentDigest.of(shard) : nil
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")], digest: digest)])
    #expect(bytes(at: try #require(run.shard(), "\(String(describing: run.failure()))").path) == shard)
    #expect(run.attempts.map(\.outcome) == [.temporary, .restarted, .succeeded])
    #expect(run.attempts.map(\.offset) == [0, 9_000, 0])
    #expect(server.requests.count == 3)
  }

  @Test(arguments: [(403, TarnError.Code.refused), (404, .absent), (400, .refused)])
  func r20WhatIsRefusedWholeTooIsRefusedAndKeepsWhatArrived(status: Int, code: TarnError.Code) async throws {
    let server = try server(refusing: status, givesWhole: false)
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")])])
    // The first attempt was cut, which leaves most hope.
    #expect(run.failure()?.code == code)
    #expect(run.attempts.map(\.outcome).suffix(2) == [.restarted, code == .absent ? .absent : .refused])
    #expect(server.requests.map(\.rangeStart) == [nil, 9_000, nil])
    #expect(try directory.contents() == ["1.part", "1.part.resume"])
  }

  @Test func r20AServerInTroubleThatRecoversGoesOnFromWhatArrived() async throws {
    let server = try HostileServer { [shard] request in
      switch request.precedingCount {
      case 0: .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
      case 1, 2: .answer(500)
      default: .file(shard, for: request)
      }
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")])])
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    #expect(server.requests.map(\.rangeStart) == [nil, 9_000, nil, 9_000])
  }

  /// Cut each time, and each range refused: it ends, whatever comes.
  @Test func r20AServerThatCutsEveryWholeAndRefusesEveryRangeIsGivenUp() async throws {
    let server = try HostileServer { [shard] request in
      request.rangeStart == nil
        ? .answer(200, headers: ["ETag: \"1\""], body: Array(shard[..<9_000]), framing: .length(shard.count))
        : .answer(403)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")])])
    #expect(run.failure()?.code == .temporary)
    #expect(server.requests.count < 10)
  }
}

@Suite struct AlternatingTagTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 3_000)

  init() throws { directory = try TemporaryDirectory() }

  /// Servers of one address, each with a tag of its own, which each send a third
  /// more and break off.
  private func network() throws -> HostileServer {
    try HostileServer { [shard] request in
      let tag = "\"node-\(request.precedingCount)\""
      if let condition = request.value("if-range"), condition != tag {
        return .answer(200, headers: ["ETag: \(tag)"], body: Array(shard[..<9_000]), framing: .length(shard.count))
      }
      let start = request.rangeStart ?? 0
      let part = Array(shard[start..<min(start + 9_000, shard.count)])
      guard start > 0 else {
        return .answer(200, headers: ["ETag: \(tag)"], body: part, framing: .length(shard.count))
      }
      return .answer(
        206, headers: ["ETag: \(tag)", "Content-Range: bytes \(start)-\(shard.count - 1)/\(shard.count)"], body: part,
        framing: .length(shard.count - start))
    }
  }

  @Test func theDigestDecidesWhereTagsDiffer() async throws {
    let server = try network()
    let run = await fetch(
      [makeRequest(in: directory, from: [server.url("/a.npy")], digest: ContentDigest.of(shard))])
    #expect(bytes(at: try #require(run.shard(), "\(String(describing: run.failure()))").path) == shard)
    #expect(run.attempts.map(\.offset) == [0, 9_000, 18_000])
    #expect(server.requests.allSatisfy { $0.value("if-range") == nil })
  }

  @Test func withoutADigestNothingIsMixed() async throws {
    let server = try network()
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")])])
    #expect(run.failure()?.code == .temporary)
    #expect(run.attempts.allSatisfy { $0.outcome == .temporary })
  }

  /// Two servers with other bytes: the mixed file is found out, and the whole taken.
  @Test func aMixedFileIsFoundOutByItsDigest() async throws {
    let other = makeShard(rows: 3_000, seed: 9)
    let server = try HostileServer { [shard] request in
      guard let start = request.rangeStart else {
        return request.precedingCount == 0
          ? .answer(200, headers: ["ETag: \"a\""], body: Array(other[..<9_000]), framing: .length(other.count))
          : .file(shard, etag: "\"b\"", for: request)
      }
      return .answer(
        206, headers: ["ETag: \"b\"", "Content-Range: bytes \(start)-\(shard.count - 1)/\(shard.count)"],
        body: Array(shard[start...]))
    }
    let run = await fetch(
      [makeRequest(in: directory, from: [server.url("/a.npy")], digest: ContentDigest.of(shard))])
    #expect(bytes(at: try #require(run.shard()).path) == shard)
    #expect(run.attempts.map(\.outcome) == [.temporary, .restarted, .succeeded])
  }

  @Test(arguments: ["W/\"1\"", "\"1\""]) func aHintSaysWhatIsKept(tag: String) async throws {
    let server = try HostileServer { [shard] request in
      request.precedingCount == 0
        ? .answer(200, headers: ["ETag: \(tag)"], body: Array(shard[..<9_000]), framing: .length(shard.count))
        : .answer(503)
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")])])
    let hint = try #require(run.failure()?.hint)
    let isStrong = tag.hasPrefix("\"")
    #expect(hint.contains("what arrived is kept") == isStrong)
    #expect(hint.contains("begins at the start") == !isStrong)
    #expect(try directory.contents() == (isStrong ? ["1.part", "1.part.resume"] : []))
  }
}
