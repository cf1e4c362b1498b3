// Thousands of servers, each with faults drawn from a seed: every request ends,
// with the right bytes or an error that is true.

import Base
import Fetch
import Foundation
import Synchronization
import Testing
import TestSupport

/// What can go wrong with one answer, and what that says of its mirror.
private enum Fault: CaseIterable {
  // Passing: the mirror may do better next time.
  case cut, cutChunked, reset, resetAtOnce, closeAtOnce, busy, busyForAWhile, early, gateway, wrongStart
  case noRange, multipart, unsatisfiable, rangeIgnored, weak, changed
  // Lasting: it will not do.
  case wrongTotal, absent, gone, html, refused, short, long, gzip, anotherDimension, redirectLoop, redirectToFile

  static let passing: [Fault] = Array(allCases.prefix(16))
}

/// The servers of one seed: one, two or three mirrors of one shard.
private struct Schedule {
  let seed: Int
  let shard: [UInt8]
  let mirrorCount: Int
  /// Whether the last mirror has at most two faults that pass and then behaves.
  let mustConverge: Bool
  let isDigestKnown: Bool
  let isSizeKnown: Bool

  init(seed: Int) {
    self.seed = seed
    var random = SplitMix64(seed: UInt64(seed))
    shard = makeShard(rows: Int.random(in: 1...400, using: &random), seed: UInt64(seed) | 1)
    mirrorCount = Int.random(in: 1...3, using: &random)
    mustConverge = Bool.random(using: &random)
    // A lie about content that is well formed can only be told by a digest.
    isDigestKnown = Bool.random(using: &random)
    isSizeKnown = Bool.random(using: &random)
  }

  func answer(_ request: HostileServer.Request, mirror: Int) -> ScriptedAnswer {
    var random = SplitMix64(seed: UInt64(seed) << 20 ^ UInt64(mirror) << 12 ^ UInt64(request.precedingCount))
    let behaves = mustConverge && mirror == mirrorCount - 1
    if behaves && request.precedingCount >= 2 || Int.random(in: 0..<3, using: &random) == 0 {
      return .file(shard, for: request)
    }
    let faults = behaves ? Fault.passing : Fault.allCases
    return answer(faults[Int.random(in: 0..<faults.count, using: &random)], request, &random)
  }

  private func answer(
    _ fault: Fault, _ request: HostileServer.Request, _ random: inout SplitMix64
  ) -> ScriptedAnswer {
    let tag = "ETag: \"1\""
    let start = min(request.rangeStart ?? 0, shard.count - 1)
    let rest = Array(shard[start...])
    let some = Array(rest.prefix(Int.random(in: 0..<rest.count, using: &random)))
    let status = start > 0 ? 206 : 200
    let range = "Content-Range: bytes \(start)-\(shard.count - 1)/\(shard.count)"
    let headers = start > 0 ? [tag, range] : [tag]
    switch fault {
    case .cut: return .answer(status, headers: headers, body: some, framing: .length(rest.count))
    case .cutChunked: return .answer(status, headers: headers, body: some, framing: .chunked, then: .close)
    case .reset: return .answer(status, headers: headers, body: some, framing: .length(rest.count), then: .reset)
    case .resetAtOnce: return ScriptedAnswer([.reset])
    case .closeAtOnce: return ScriptedAnswer([.close])
    case .busy: return .answer(503)
    case .busyForAWhile: return .answer(429, headers: ["Retry-After: 100000000"])
    case .early: return .answer(425)
    case .gateway: return .answer(502, body: Array("<html>bad gateway".utf8))
    case .wrongTotal where start > 0:
      let longer = "Content-Range: bytes \(start)-\(shard.count)/\(shard.count + 1)"
      return .answer(206, headers: [tag, longer], body: rest)
    case .wrongStart where start > 0:
      return .answer(206, headers: [tag, "Content-Range: bytes 0-\(rest.count - 1)/\(shard.count)"], body: rest)
    case .noRange where start > 0: return .answer(206, headers: [tag], body: rest)
    case .multipart where start > 0:
      return .answer(206, headers: [tag, "Content-Type: multipart/byteranges; boundary=b"], body: rest)
    case .unsatisfiable where start > 0: return .answer(416, headers: ["Content-Range: bytes */\(start)"])
    case .rangeIgnored: return .answer(200, headers: [tag], body: shard)
    case .weak: return .file(shard, etag: "W/\"1\"", for: request)
    case .changed: return .file(shard, etag: "\"\(request.precedingCount + 2)\"", for: request)
    case .wrongTotal, .wrongStart, .noRange, .multipart, .unsatisfiable: return .answer(500)
    case .absent: return .answer(404)
    case .gone: return .answer(410)
    case .html: return .answer(200, body: Array("<html>welcome".utf8))
    case .refused: return .answer(403)
    case .short: return .answer(200, body: Array(shard.dropLast(8)))
    case .long: return .answer(200, body: shard + [0, 0, 0, 0, 0, 0, 0, 0])
    case .gzip: return .answer(200, headers: ["Content-Encoding: gzip"], body: shard)
    case .anotherDimension: return .answer(200, body: makeShard(rows: 3, dimension: 5))
    case .redirectLoop: return .answer(302, headers: ["Location: \(request.target)"])
    case .redirectToFile: return .answer(302, headers: ["Location: file:///etc/passwd"])
    }
  }
}

@Suite(.serialized) struct FaultScheduleTests {
  private static let count = 10_000
  private static let batchCount = 500

  /// `/SEED/MIRROR` answered by the schedule of that seed.
  private static func serve(_ request: HostileServer.Request) -> ScriptedAnswer {
    let parts = request.target.split(separator: "/").compactMap { Int($0) }
    guard parts.count == 2 else { return .answer(500) }
    return Schedule(seed: parts[0]).answer(request, mirror: parts[1])
  }

  @Test func everyScheduleEndsInTheRightBytesOrATrueError() async throws {
    var tally = (right: 0, errors: 0, attempts: 0, most: 0)
    for first in stride(from: 0, to: Self.count, by: Self.batchCount) {
      let directory = try TemporaryDirectory(inMemory: true)
      let server = try HostileServer { Self.serve($0) }
      let schedules = (first..<(first + Self.batchCount)).map(Schedule.init)
      let requests = schedules.map { schedule in
        makeRequest(
          Int64(schedule.seed), in: directory,
          from: (0..<schedule.mirrorCount).map { server.url("/\(schedule.seed)/\($0)") },
          size: schedule.isSizeKnown ? schedule.shard.count : nil,
          digest: schedule.isDigestKnown ? ContentDigest.of(schedule.shard) : nil)
      }
      var configuration = quickConfiguration()
      configuration.jobs = 16
      configuration.transfersPerHost = 16
      configuration.attemptsPerMirror = 5
      // One host serves all the mirrors here; its refusals are not of one piece.
      configuration.refusalsPerHost = .max
      configuration.retryAfterCap = .zero
      configuration.backoff.base = .zero
      let run = await fetch(requests, configuration: configuration)
      #expect(run.error == nil)
      var results: [Int64: Result<FetchResult, TarnError>] = [:]
      var attempts: [Int64: Int] = [:]
      for event in run.events {
        switch event {
        case .finished(let id, let result):
          #expect(results.updateValue(result, forKey: id) == nil, "seed \(id) ended twice")
        case .attemptEnded(let attempt): attempts[attempt.requestID, default: 0] += 1
        default: break
        }
      }
      for schedule in schedules {
        let result = try #require(results[Int64(schedule.seed)], "seed \(schedule.seed) has no end")
        check(schedule, result, &tally)
      }
      tally.attempts += attempts.values.reduce(0, +)
      tally.most = max(tally.most, attempts.values.max() ?? 0)
    }
    print(
      "fault schedules: \(Self.count) tried, \(tally.right) right files, \(tally.errors) true errors, "
        + "\(tally.attempts) attempts, at most \(tally.most) for one")
    #expect(tally.right + tally.errors == Self.count)
    #expect(tally.most < quickConfiguration().attemptsPerRequest, "a schedule looped until it was stopped")
  }

  private func check(
    _ schedule: Schedule, _ result: Result<FetchResult, TarnError>,
    _ tally: inout (right: Int, errors: Int, attempts: Int, most: Int)
  ) {
    switch result {
    case .success(.fetched(let fetched)):
      let got = bytes(at: fetched.path)
      #expect(got == schedule.shard, "seed \(schedule.seed): wrong bytes")
      if got == schedule.shard { tally.right += 1 }
    case .success(.unchanged), .success(.outgrown): Issue.record("seed \(schedule.seed): unchanged without a condition")
    case .failure(let error):
      #expect(!schedule.mustConverge, "seed \(schedule.seed) has a good mirror: \(error)")
      #expect([.absent, .refused, .temporary, .integrity].contains(error.code), "seed \(schedule.seed): \(error)")
      tally.errors += 1
    }
  }
}
