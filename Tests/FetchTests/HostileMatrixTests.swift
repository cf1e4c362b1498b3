// Every hostile answer, fresh and on resume, with the size known and unknown:
// right bytes or a named error, and never wrong bytes.

import Base
import Catalog
import Features
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

/// A way to answer a request for a shard, the partial being `held` bytes long.
private struct HostileAnswer: Sendable, CustomTestStringConvertible {
  let name: String
  let answer: @Sendable (_ shard: [UInt8], _ request: HostileServer.Request) -> ScriptedAnswer

  var testDescription: String { name }

  init(
    _ name: String, _ answer: @escaping @Sendable (_ shard: [UInt8], _ request: HostileServer.Request) -> ScriptedAnswer
  ) {
    self.name = name
    self.answer = answer
  }
}

private let tag = "ETag: \"1\""

/// A 206 for what was asked, or an honest 200 when no range was.
private func ranged(
  _ shard: [UInt8], _ request: HostileServer.Request,
  _ answer: (_ rest: [UInt8], _ start: Int, _ total: Int) -> ScriptedAnswer
) -> ScriptedAnswer {
  guard let start = request.rangeStart, start < shard.count else { return .file(shard, for: request) }
  return answer(Array(shard[start...]), start, shard.count)
}

/// Header lines beyond what any answer has.
private let flood = Array(String(repeating: "X-Flood: \(String(repeating: "y", count: 1_000))\r\n", count: 1_024).utf8)

/// Answers that are wrong by their numbers or their size, and ranges refused by
/// servers that give the whole.
private let numberAnswers: [HostileAnswer] =
  [400, 403, 404, 405, 406, 412, 500, 501].map { status in
    HostileAnswer("\(status) to a range, the whole else") { shard, request in
      request.rangeStart == nil ? .file(shard, for: request) : .answer(status, body: Array("no".utf8))
    }
  } + [
    HostileAnswer("403 to a range, the whole cut") { shard, request in
      request.rangeStart == nil
        ? .answer(200, headers: [tag], body: Array(shard[..<6_000]), framing: .length(shard.count)) : .answer(403)
    },
    HostileAnswer("200 of more bytes than a file can have") { shard, _ in
      .answer(200, headers: [tag], body: shard, framing: .length(999_999_999_999_999_999))
    },
    HostileAnswer("200 of as many bytes as a file can have") { shard, _ in
      .answer(200, headers: [tag], body: shard, framing: .length(1 << 48))
    },
    HostileAnswer("a length beyond whole numbers") { shard, _ in
      .answer(200, headers: ["Content-Length: 99999999999999999999999"], body: shard, framing: .untilClose)
    },
    HostileAnswer("a negative length") { shard, _ in
      .answer(200, headers: ["Content-Length: -1"], body: shard, framing: .untilClose)
    },
    HostileAnswer("206 of a total beyond whole numbers") { shard, request in
      ranged(shard, request) { rest, start, total in
        .answer(206, headers: [tag, "Content-Range: bytes \(start)-\(total - 1)/99999999999999999999"], body: rest)
      }
    },
    HostileAnswer("206 of tags that differ each time") { shard, request in
      ranged(shard, request) { rest, start, total in
        .answer(
          206,
          headers: ["ETag: \"n\(request.precedingCount)\"", "Content-Range: bytes \(start)-\(total - 1)/\(total)"],
          body: rest)
      }
    },
    HostileAnswer("a flood of trailers") { shard, _ in
      let size = String(shard.count, radix: 16)
      let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(size)\r\n"
      return ScriptedAnswer([.send(Array(start.utf8) + shard + Array("\r\n0\r\n".utf8) + flood), .stall])
    },
    HostileAnswer("a trailer") { shard, _ in
      let size = String(shard.count, radix: 16)
      let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(size)\r\n"
      return ScriptedAnswer([.send(Array(start.utf8) + shard + Array("\r\n0\r\nX-Sum: 1\r\n\r\n".utf8))])
    },
    HostileAnswer("a flood of early hints") { _, _ in
      let hint = Array("HTTP/1.1 103 Early Hints\r\nLink: \(String(repeating: "y", count: 900))\r\n\r\n".utf8)
      return ScriptedAnswer([.send(Array(repeatElement(hint, count: 1_024).joined())), .stall])
    },
    HostileAnswer("a header line of a mebibyte") { shard, _ in
      .answer(200, headers: ["X-Long: " + String(repeating: "y", count: 1 << 20)], body: shard)
    },
    HostileAnswer("Retry-After beyond whole numbers") { _, _ in
      .answer(503, headers: ["Retry-After: 99999999999999999999999"])
    },
  ]

private let bodyAnswers: [HostileAnswer] = [
  HostileAnswer("200 whole, range ignored") { shard, _ in .answer(200, body: shard) },
  HostileAnswer("200 whole, range ignored, same ETag") { shard, _ in .answer(200, headers: [tag], body: shard) },
  HostileAnswer("200 of only the rest") { shard, request in
    .answer(200, headers: [tag], body: Array(shard[(request.rangeStart ?? 0)...]))
  },
  HostileAnswer("200 of length = offset") { shard, request in
    .answer(200, body: Array(shard[..<(request.rangeStart ?? shard.count)]))
  },
  HostileAnswer("200 with a Content-Range") { shard, request in
    ranged(shard, request) { rest, start, total in
      .answer(200, headers: [tag, "Content-Range: bytes \(start)-\(total - 1)/\(total)"], body: rest)
    }
  },
  HostileAnswer("206 of another total") { shard, request in
    ranged(shard, request) { rest, start, total in
      .answer(206, headers: [tag, "Content-Range: bytes \(start)-\(total - 1)/\(total + 577)"], body: rest)
    }
  },
  HostileAnswer("206 from an earlier byte") { shard, request in
    ranged(shard, request) { _, start, total in
      let first = max(0, start - 36)
      return .answer(
        206, headers: [tag, "Content-Range: bytes \(first)-\(total - 1)/\(total)"], body: Array(shard[first...]))
    }
  },
  HostileAnswer("206 that lies about where it starts") { shard, request in
    ranged(shard, request) { rest, start, total in
      .answer(
        206, headers: [tag, "Content-Range: bytes \(start)-\(total - 1)/\(total)"], body: Array(shard[..<rest.count]))
    }
  },
  HostileAnswer("206 with bytes */T") { shard, request in
    ranged(shard, request) { rest, _, total in
      .answer(206, headers: [tag, "Content-Range: bytes */\(total)"], body: rest)
    }
  },
  HostileAnswer("206 multipart") { shard, request in
    ranged(shard, request) { rest, _, _ in
      .answer(
        206, headers: [tag, "Content-Type: multipart/byteranges; boundary=b"], body: Array("--b\r\n".utf8) + rest)
    }
  },
  HostileAnswer("206 without Content-Range") { shard, request in
    ranged(shard, request) { rest, _, _ in .answer(206, headers: [tag], body: rest) }
  },
  HostileAnswer("206 without a length, cut") { shard, request in
    ranged(shard, request) { rest, start, total in
      .answer(
        206, headers: [tag, "Content-Range: bytes \(start)-\(total - 1)/\(total)"],
        body: Array(rest[..<(rest.count / 2)]),
        framing: .untilClose)
    }
  },
  HostileAnswer("206 of another ETag") { shard, request in
    ranged(shard, request) { rest, start, total in
      .answer(
        206, headers: ["ETag: \"9\"", "Content-Range: bytes \(start)-\(total - 1)/\(total)"],
        body: rest.map { $0 ^ 1 })
    }
  },
  HostileAnswer("206 to everything") { shard, request in
    let start = min(request.rangeStart ?? 0, shard.count - 1)
    return .answer(
      206, headers: [tag, "Content-Range: bytes \(start)-\(shard.count - 1)/\(shard.count)"],
      body: Array(shard[start...]))
  },
  HostileAnswer("416 with the true total") { shard, request in
    request.rangeStart == nil
      ? .file(shard, for: request) : .answer(416, headers: ["Content-Range: bytes */\(shard.count)"], body: [1, 2, 3])
  },
  HostileAnswer("416 that lies: complete") { shard, request in
    guard let start = request.rangeStart else { return .file(shard, for: request) }
    return .answer(416, headers: ["Content-Range: bytes */\(start)"], body: Array("error page".utf8))
  },
  HostileAnswer("416 to everything") { _, _ in .answer(416, body: Array("error page".utf8)) },
  HostileAnswer("200 without a length, cut") { shard, _ in
    .answer(200, headers: [tag], body: Array(shard[..<(shard.count / 2)]), framing: .untilClose)
  },
  HostileAnswer("200 with a length, cut") { shard, _ in
    .answer(200, headers: [tag], body: Array(shard[..<(shard.count / 2)]), framing: .length(shard.count))
  },
  HostileAnswer("200 chunked, cut") { shard, _ in
    .answer(200, headers: [tag], body: Array(shard[..<(shard.count / 2)]), framing: .chunked, then: .close)
  },
  HostileAnswer("200 chunked, whole") { shard, _ in .answer(200, body: shard, framing: .chunked) },
  HostileAnswer("200 until close, whole") { shard, _ in .answer(200, body: shard, framing: .untilClose) },
  HostileAnswer("200 chunked, more than the shard") { shard, _ in
    .answer(200, body: shard + [0, 0, 0, 0], framing: .chunked)
  },
  HostileAnswer("200 until close, more than the shard") { shard, _ in
    .answer(200, body: shard + shard, framing: .untilClose)
  },
  HostileAnswer("200 shorter, honest about it") { shard, _ in .answer(200, body: Array(shard.dropLast(8))) },
  HostileAnswer("200 empty") { _, _ in .answer(200) },
  HostileAnswer("200 HTML") { _, _ in .answer(200, headers: ["Content-Type: text/html"], body: Array("<html>".utf8)) },
  HostileAnswer("200 gzip despite identity") { shard, _ in
    .answer(200, headers: ["Content-Encoding: gzip"], body: shard)
  },
  HostileAnswer("two Content-Lengths") { shard, _ in
    .answer(200, headers: ["Content-Length: 5"], body: shard)
  },
  HostileAnswer("Content-Length beside chunked") { shard, _ in
    .answer(200, headers: ["Content-Length: 7"], body: shard, framing: .chunked)
  },
  HostileAnswer("reset in the middle") { shard, request in
    ranged(shard, request) { rest, start, total in
      .answer(
        206, headers: [tag, "Content-Range: bytes \(start)-\(total - 1)/\(total)"],
        body: Array(rest[..<(rest.count / 2)]),
        framing: .length(rest.count), then: .reset)
    }
  },
  HostileAnswer("reset at once") { _, _ in ScriptedAnswer([.reset]) },
  HostileAnswer("close at once") { _, _ in ScriptedAnswer([.close]) },
  HostileAnswer("silence") { _, _ in ScriptedAnswer([.stall]) },
  HostileAnswer("not HTTP") { _, _ in ScriptedAnswer([.send(Array("SSH-2.0-x\r\n\r\n".utf8)), .close]) },
  HostileAnswer("HTTP/0.9 body") { shard, _ in ScriptedAnswer([.send(shard), .close]) },
  HostileAnswer("a status line without end") { _, _ in
    ScriptedAnswer([.send(Array("HTTP/1.1 200".utf8)), .close])
  },
  HostileAnswer("a flood of headers") { shard, _ in
    .answer(200, headers: (0..<6_000).map { "X-\($0): " + String(repeating: "y", count: 60) }, body: shard)
  },
  HostileAnswer("an ETag for each request") { shard, request in
    .file(shard, etag: "\"\(request.precedingCount + 100)\"", for: request)
  },
  HostileAnswer("a weak ETag") { shard, request in .file(shard, etag: "W/\"1\"", for: request) },
  HostileAnswer("the file changed") { shard, request in
    .file(makeShard(rows: 2_000, seed: 77), etag: "\"2\"", for: request)
  },
  HostileAnswer("the file grew") { shard, request in
    .file(makeShard(rows: 2_500, seed: 1), etag: "\"2\"", for: request)
  },
  HostileAnswer("503 with junk") { _, _ in .answer(503, headers: ["Retry-After: soon"], body: [0]) },
  HostileAnswer("503 for a long time") { _, _ in .answer(503, headers: ["Retry-After: 100000000"]) },
  HostileAnswer("503 until the past") { _, _ in
    .answer(503, headers: ["Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"])
  },
  HostileAnswer("a redirect loop") { _, request in .answer(302, headers: ["Location: \(request.target)"]) },
  HostileAnswer("a redirect to a file") { _, _ in .answer(302, headers: ["Location: file:///etc/passwd"]) },
  HostileAnswer("a redirect to ftp") { _, _ in .answer(302, headers: ["Location: ftp://127.0.0.1/x"]) },
  HostileAnswer("a redirect with a password") { _, _ in .answer(302, headers: ["Location: http://u:p@127.0.0.1:1/x"]) },
  HostileAnswer("204") { _, _ in .answer(204) },
  HostileAnswer("304 unasked") { _, _ in .answer(304) },
  HostileAnswer("101") { _, _ in ScriptedAnswer([.send(Array("HTTP/1.1 101 Switching\r\n\r\n".utf8)), .close]) },
]

private let hostileAnswers = bodyAnswers + numberAnswers

/// What libcurl by itself makes of the same answers, through its own tool.
///
/// Taken: it ended with 0; wrong: and the file was not the shard.
private let curlTally = Mutex((cells: 0, taken: 0, wrong: 0))

/// Cells tried and files accepted, over the whole matrix.
private let tally = Mutex((cells: 0, accepted: 0, errors: 0, wrong: 0, untellable: 0))

/// Questions of probes, and those that took another size for the shard's.
private let probeTally = Mutex((cells: 0, present: 0, wrong: 0))

/// Servers that heal after three answers: tried, survived, wrong bytes.
private let healTally = Mutex((cells: 0, survived: 0, wrong: 0))

@Suite(.serialized) struct HostileMatrixTests {
  @Test(arguments: hostileAnswers) fileprivate func endsInTheRightBytesOrANamedError(hostile: HostileAnswer)
    async throws
  {
    for isSizeKnown in [false, true] {
      for isRowCountAsked in [false, true] {
        try await tryProbe(hostile, isSizeKnown: isSizeKnown, isRowCountAsked: isRowCountAsked)
      }
    }
    for isResumed in [false, true] {
      try tryCurl(hostile, isResumed: isResumed)
      for isSizeKnown in [false, true] {
        for isDigestKnown in [false, true] {
          try await tryCell(hostile, isResumed: isResumed, isSizeKnown: isSizeKnown, isDigestKnown: isDigestKnown)
        }
      }
    }
  }

  /// A server that answers three times like this and then as it should: with
  /// patience all comes that is not refused for good before.
  @Test(arguments: hostileAnswers) fileprivate func r21OutlivesAServerThatHeals(hostile: HostileAnswer) async throws {
    for isDigestKnown in [false, true] {
      let lake = try TemporaryLake()
      let shard = makeShard(rows: 2_000)
      let server = try HostileServer { $0.precedingCount < 3 ? hostile.answer(shard, $0) : .file(shard, for: $0) }
      let source = try lake.catalog.addSource(
        SourceDefinition(
          name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
          shards: [
            .init(
              name: "a.npy", urls: [server.url("/a.npy")], expectedDigest: isDigestKnown ? ContentDigest.of(shard) : nil
            )
          ]))
      let clock = ScriptedClock(step: .seconds(1))
      var options = SyncOptions()
      options.fetch = quickConfiguration()
      if hostile.name == "silence" { options.fetch.watch.answerTimeout = .milliseconds(30) }
      // One attempt a round, so that patience and nothing else survives.
      options.fetch.attemptsPerMirror = 1
      options.fetch.supplyInterval = .milliseconds(1)
      options.patience = .seconds(600)
      options.clock = { clock.now }
      let summary = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
      healTally.withLock { $0.cells += 1 }
      guard let error = summary.failures.first?.error else {
        let path = try #require(try lake.catalog.shards(of: source)[0].path)
        let got = try #require(bytes(at: lake.catalog.layout.shards + "/" + path))
        let served = [shard, makeShard(rows: 2_000, seed: 77), makeShard(rows: 2_500, seed: 1)]
        let isRight = isDigestKnown ? got == shard : served.contains(got)
        healTally.withLock { if isRight { $0.survived += 1 } else { $0.wrong += 1 } }
        #expect(isRight, "\(hostile.name): wrong bytes")
        continue
      }
      // What may pass is never the end, and what is definite was asked once more.
      #expect([.integrity, .refused, .absent].contains(error.code), "\(hostile.name): \(error)")
      #expect(error.code == .refused || server.requests.count > 1, "\(hostile.name): \(error)")
    }
  }

  @Test func printsTheTally() {
    healTally.withLock {
      print("  servers that heal: \($0.cells) tried, \($0.survived) survived, \($0.wrong) of them with wrong bytes")
      #expect($0.wrong == 0)
    }
    tally.withLock {
      print(
        "hostile matrix: \($0.cells) cells tried, \($0.accepted) right files, \($0.errors) named errors, "
          + "\($0.wrong) accepted wrongly")
      print(
        "  besides, \($0.untellable) files were the lie itself: a 206 for the very range, total and ETag, with other bytes. "
          + "It contradicts nothing that HTTP says, so only a known SHA-256 can tell it; these are the cells without one "
          + "(trust on first use), and with one the same answer is refused")
      #expect($0.wrong == 0)
    }
    probeTally.withLock {
      print("  probes: \($0.cells) questions, \($0.present) present, \($0.wrong) of a wrong size or number of rows")
      #expect($0.wrong == 0)
    }
    let peak = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8))?.split(separator: "\n")
      .first { $0.hasPrefix("VmHWM") }?.split(separator: " ").dropFirst().joined(separator: " ")
    print("  the most memory that this process held, other tests included: \(peak ?? "not known")")
    curlTally.withLock {
      print(
        $0.cells == 0
          ? "  curl is not installed: nothing to compare with"
          : "  libcurl alone (curl, fresh and with --continue-at): \($0.cells) cells tried, \($0.taken) ended with 0, "
            + "\($0.wrong) of them with wrong bytes")
    }
  }

  /// The same answer to curl, which knows neither size nor digest.
  private func tryCurl(_ hostile: HostileAnswer, isResumed: Bool) throws {
    let tool = "/usr/bin/curl"
    guard FileManager.default.isExecutableFile(atPath: tool) else { return }
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 2_000)
    let server = try HostileServer { hostile.answer(shard, $0) }
    let file = directory.path + "/a.npy"
    if isResumed { try Data(shard[..<6_000]).write(to: URL(fileURLWithPath: file)) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: tool)
    process.arguments =
      ["--disable", "--silent", "--fail", "--location", "--noproxy", "*", "--max-time", "1", "--output", file]
      + (isResumed ? ["--continue-at", "-"] : []) + [server.url("/a.npy")]
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    let served = [shard, makeShard(rows: 2_000, seed: 77), makeShard(rows: 2_500, seed: 1)]
    curlTally.withLock { tally in
      tally.cells += 1
      guard process.terminationStatus == 0 else { return }
      tally.taken += 1
      if !served.contains(bytes(at: file) ?? []) { tally.wrong += 1 }
    }
  }

  /// The same answer to a probe.
  private func tryProbe(_ hostile: HostileAnswer, isSizeKnown: Bool, isRowCountAsked: Bool) async throws {
    let shard = makeShard(rows: 2_000)
    let server = try HostileServer { hostile.answer(shard, $0) }
    var configuration = quickConfiguration()
    if hostile.name == "silence" { configuration.probeTimeout = .milliseconds(60) }
    let found = Mutex<ProbeFinding?>(nil)
    try await Prober(configuration: configuration).run([
      ProbeTarget(
        shardID: 1, mirror: FetchMirror(id: 1, url: server.url("/a.npy")),
        expectedByteCount: isSizeKnown ? shard.count : nil,
        kind: isRowCountAsked ? ProbeTarget.Kind(format: .npy, dimension: 4, elementType: .float16) : nil)
    ]) { finding in found.withLock { $0 = finding } }
    let finding = try #require(found.withLock { $0 }, "\(hostile.name): no end")
    let cell = "probe, \(hostile.name), size \(isSizeKnown), rows \(isRowCountAsked)"
    probeTally.withLock { tally in
      tally.cells += 1
      guard case .present(let size, _) = finding.answer else { return }
      tally.present += 1
      let isWrong =
        isSizeKnown && size != nil && size != shard.count || size.map { !ForeignNumber.byteCount.holds($0) } ?? false
        || ![nil, 2_000, 2_500].contains(finding.rowCount)
      if isWrong { tally.wrong += 1 }
      #expect(!isWrong, "\(cell): \(finding)")
    }
  }

  private func tryCell(
    _ hostile: HostileAnswer, isResumed: Bool, isSizeKnown: Bool, isDigestKnown: Bool
  ) async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 2_000)
    let isHostile = Mutex(!isResumed)
    let server = try HostileServer { request in
      if isHostile.withLock({ $0 }) { return hostile.answer(shard, request) }
      return request.precedingCount == 0
        ? .answer(200, headers: [tag], body: Array(shard[..<6_000]), framing: .length(shard.count)) : .answer(503)
    }
    let request = makeRequest(
      in: directory, from: [server.url("/a.npy")], size: isSizeKnown ? shard.count : nil,
      digest: isDigestKnown ? ContentDigest.of(shard) : nil)
    var configuration = quickConfiguration()
    if isResumed {
      let first = await fetch([request], configuration: configuration)
      try #require(first.failure()?.code == .temporary, "the partial was not made")
      isHostile.withLock { $0 = true }
    }
    let cell = "\(hostile.name), resumed \(isResumed), size \(isSizeKnown), digest \(isDigestKnown)"
    if hostile.name == "silence" { configuration.watch.answerTimeout = .milliseconds(30) }
    let run = await fetch([request], configuration: configuration)
    let result = try #require(run.result(), "\(cell): no end")
    // A changed file is right if it is one whole revision that was served.
    let served = [shard, makeShard(rows: 2_000, seed: 77), makeShard(rows: 2_500, seed: 1)]
    tally.withLock { $0.cells += 1 }
    switch result {
    case .success(.fetched(let fetched)):
      let got = try #require(bytes(at: fetched.path))
      let isRight = isDigestKnown ? got == shard : served.contains(got)
      // A well-formed lie about content: without a digest nothing can tell it
      // from the truth. That is what trust on first use means.
      let isUntellable =
        hostile.name == "206 that lies about where it starts" && isResumed && !isDigestKnown
      tally.withLock { tally in
        if isRight { tally.accepted += 1 } else if isUntellable { tally.untellable += 1 } else { tally.wrong += 1 }
      }
      #expect(isRight || isUntellable, "\(cell): wrong bytes accepted")
      #expect(fetched.digest == ContentDigest.of(got), "\(cell)")
    case .success(.unchanged), .success(.outgrown): Issue.record("\(cell): neither bytes nor an error")
    case .failure(let error):
      tally.withLock { $0.errors += 1 }
      #expect(!error.message.isEmpty)
      #expect(error.code != .io && error.code != .diskFull && error.code != .usage, "\(cell): \(error)")
      let left = try directory.contents()
      #expect(left.allSatisfy { $0.hasPrefix("1.part") }, "\(cell): \(left)")
    }
  }
}
