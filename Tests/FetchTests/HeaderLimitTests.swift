// Header lines without end, wherever a server may send them, and lines longer than
// libcurl takes: the server's fault, found early, and the next mirror is asked.

import Base
import Fetch
import Foundation
import Synchronization
import Testing
import TestSupport

/// Where a server never stops sending lines.
private enum Flood: String, CaseIterable, CustomTestStringConvertible {
  case head, informational, trailers, trailerOfOneLine, headerOfOneLine, chunkExtension

  var testDescription: String { rawValue }

  /// What is sent first, and then again and again.
  func parts(_ shard: [UInt8]) -> (first: [UInt8], again: [UInt8]) {
    let line = "X-Flood: " + String(repeating: "y", count: 1_000) + "\r\n"
    let lines = Array(String(repeating: line, count: 64).utf8)
    let letters = [UInt8](repeating: 0x79, count: 64 << 10)
    let head = Array("HTTP/1.1 200 OK\r\n".utf8)
    let chunked = head + Array("Transfer-Encoding: chunked\r\n\r\n".utf8)
    let body = Array("\(String(shard.count, radix: 16))\r\n".utf8) + shard + Array("\r\n0\r\n".utf8)
    switch self {
    case .head: return (head, lines)
    case .informational:
      return ([], Array(String(repeating: "HTTP/1.1 103 Early Hints\r\n\(line)\r\n", count: 64).utf8))
    case .trailers: return (chunked + body, lines)
    case .trailerOfOneLine: return (chunked + body + Array("X-Flood: ".utf8), letters)
    case .headerOfOneLine: return (head + Array("X-Flood: ".utf8), letters)
    case .chunkExtension: return (chunked + Array("10;".utf8), letters)
    }
  }
}

@Suite struct HeaderLimitTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 3_000)

  init() throws { directory = try TemporaryDirectory() }

  /// A server that sends up to 64 MiB of header lines, and counts what went out.
  private func flooding(_ flood: Flood, _ sent: Mutex<Int>.Box) throws -> HostileServer {
    let parts = flood.parts(shard)
    let good = shard
    return try HostileServer { request in
      guard request.target == "/flood.npy" else { return .file(good, for: request) }
      let again = (0..<1_024).flatMap { _ in
        [ScriptedAnswer.Step.send(parts.again), .run { sent.value.withLock { $0 += parts.again.count } }]
      }
      return ScriptedAnswer([.send(parts.first)] + again + [.stall])
    }
  }

  @Test(arguments: Flood.allCases) fileprivate func aFloodIsTheServersFaultAndTheNextMirrorIsAsked(flood: Flood)
    async throws
  {
    let sent = Mutex<Int>.Box()
    let server = try flooding(flood, sent)
    var configuration = quickConfiguration()
    // What brings no line is not heard, and is silence.
    if flood == .chunkExtension { configuration.watch.stallTimeout = .milliseconds(300) }
    configuration.attemptsPerMirror = 1
    let run = await fetch(
      [makeRequest(in: directory, from: [server.url("/flood.npy"), server.url("/good.npy")])],
      configuration: configuration)
    #expect(run.shard()?.mirrorID == 2)
    // Of one endless line of a chunked body libcurl says no more than that it broke off.
    let isBroken = flood == .chunkExtension || flood == .trailerOfOneLine
    #expect(run.attempts.first?.outcome == (isBroken ? .temporary : .integrity))
    #expect(run.attempts.count == 2)
    let count = sent.value.withLock { $0 }
    print("header flood, \(flood.rawValue): \(count >> 10) KiB went out before the connection was closed")
    // What the limit lets in, and what sockets hold.
    if flood != .chunkExtension { #expect(count < 16 << 20) }
  }

  @Test(arguments: [Flood.head, .informational, .headerOfOneLine]) fileprivate func aProbeSaysSo(flood: Flood)
    async throws
  {
    let sent = Mutex<Int>.Box()
    let server = try flooding(flood, sent)
    let answer = Mutex<ProbeFinding.Answer?>(nil)
    try await Prober(configuration: quickConfiguration()).run(
      [ProbeTarget(shardID: 1, mirror: FetchMirror(id: 1, url: server.url("/flood.npy")))]
    ) { finding in answer.withLock { $0 = finding.answer } }
    guard case .faulty(let cause) = answer.withLock({ $0 }) else {
      Issue.record("\(String(describing: answer.withLock { $0 }))")
      return
    }
    #expect(cause.contains("header"))
    #expect(sent.value.withLock { $0 } < 16 << 20)
  }

  /// Trailers that are few are no fault.
  @Test func aTrailerIsTolerated() async throws {
    let parts = Flood.trailers.parts(shard)
    let server = try HostileServer { _ in
      ScriptedAnswer([.send(parts.first + Array("X-Checksum: 1\r\n\r\n".utf8))])
    }
    let run = await fetch([makeRequest(in: directory, from: [server.url("/a.npy")])])
    #expect(bytes(at: try #require(run.shard()).path) == shard)
  }
}

extension Mutex where Value == Int {
  /// A count that a server's threads and a test share.
  fileprivate final class Box: Sendable {
    let value = Mutex<Int>(0)
  }
}
