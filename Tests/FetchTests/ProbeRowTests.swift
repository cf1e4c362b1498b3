// What a probe learns where HEAD says too little: sizes from a range of one byte or
// from the head of the whole, rows from the first bytes of the file.

import Base
import Catalog
import Features
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

private let shard = makeShard(rows: 50)

/// Asks about one shard.
private func probe(
  _ server: HostileServer, kind: ProbeTarget.Kind? = nil, size: Int? = nil,
  configuration: FetchConfiguration = quickConfiguration()
) async throws -> ProbeFinding {
  let found = Mutex<ProbeFinding?>(nil)
  try await Prober(configuration: configuration).run([
    ProbeTarget(
      shardID: 1, mirror: FetchMirror(id: 1, url: server.url("/a.npy")), expectedByteCount: size, kind: kind)
  ]) { finding in found.withLock { $0 = finding } }
  return try #require(found.withLock { $0 })
}

@Suite struct ProbeLengthTests {
  @Test(arguments: [["Content-Length: 0"], [], ["Transfer-Encoding: chunked"]])
  func aHeadThatSaysNoLengthIsAskedForOneByte(headers: [String]) async throws {
    let server = try HostileServer { request in
      request.method == "HEAD" ? .answer(200, headers: headers, framing: .none) : .file(shard, for: request)
    }
    #expect(try await probe(server).answer == .present(byteCount: shard.count, EntityValidator(etag: "\"1\"")))
    #expect(server.requests.map(\.method) == ["HEAD", "GET"])
    #expect(server.requests.last?.value("range") == "bytes=0-0")
  }

  @Test func aLengthThatNobodySaysIsNotKnown() async throws {
    let server = try HostileServer { request in
      request.method == "HEAD"
        ? .answer(200, headers: ["Content-Length: 0"], framing: .none)
        : .answer(206, headers: ["Content-Range: bytes 0-0/*"], body: [shard[0]])
    }
    #expect(try await probe(server).answer == .present(byteCount: nil, EntityValidator()))
    let endless = try HostileServer { request in
      request.method == "HEAD" ? .answer(200, framing: .none) : .answer(200, body: shard, framing: .untilClose)
    }
    #expect(try await probe(endless).answer == .present(byteCount: nil, EntityValidator()))
  }

  @Test func anEmptyFileIsOne() async throws {
    let server = try HostileServer { request in
      request.rangeStart == nil
        ? .answer(200, headers: ["Content-Length: 0"], framing: .none)
        : .answer(416, headers: ["Content-Range: bytes */0"])
    }
    #expect(try await probe(server).answer == .faulty("an empty file"))
  }

  @Test(arguments: [400, 403, 404, 405, 416, 500, 501]) func r20ARefusedRangeIsNoRefusedFile(status: Int) async throws {
    let server = try HostileServer { request in
      if request.method == "HEAD" { return .answer(200, framing: .none) }
      return request.rangeStart == nil ? .answer(200, body: shard) : .answer(status)
    }
    #expect(try await probe(server).answer == .present(byteCount: shard.count, EntityValidator()))
    #expect(server.requests.count == 3)
  }

  @Test(arguments: ["999999999999999999", "281474976710657", "99999999999999999999999", "-1", "1e9", "12, 13"])
  func aLengthThatNoFileHasIsRefused(length: String) async throws {
    let server = try HostileServer { _ in .answer(200, headers: ["Content-Length: \(length)"], framing: .none) }
    switch try await probe(server).answer {
    case .faulty(let cause): #expect(cause.contains("Content-Length"))
    // libcurl itself breaks some of them off.
    case .unreachable: break
    case let answer: Issue.record("\(answer)")
    }
    let ranged = try HostileServer { request in
      request.method == "HEAD"
        ? .answer(200, framing: .none)
        : .answer(206, headers: ["Content-Range: bytes 0-0/\(length)"], body: [0])
    }
    #expect(try await probe(ranged).answer == .present(byteCount: nil, EntityValidator()))
  }
}

@Suite struct ProbeRowTests {
  private let kind = ProbeTarget.Kind(format: .npy, dimension: 4, elementType: .float16)

  /// A `.npy` file of 100 rows whose header has so many bytes.
  private func file(header: Int, dimension: Int = 4) -> [UInt8] {
    var text = "{'descr': '<f2', 'fortran_order': False, 'shape': (100, \(dimension)), }"
    text += String(repeating: " ", count: header - 11 - text.utf8.count) + "\n"
    let length = [UInt8(text.utf8.count & 255), UInt8(text.utf8.count >> 8)]
    return [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0] + length + Array(text.utf8)
      + [UInt8](repeating: 0x3C, count: 100 * dimension * 2)
  }

  @Test(arguments: [80, 96, 128, 4_096, 5_008, 65_536]) func theBeginningOfAFileTellsItsRows(header: Int) async throws {
    let file = file(header: header)
    let server = try HostileServer { .file(file, for: $0) }
    let finding = try await probe(server, kind: kind)
    #expect(finding.rowCount == 100)
    #expect(finding.answer == .present(byteCount: file.count, EntityValidator(etag: "\"1\"")))
  }

  @Test func aServerThatIgnoresRangesTellsThemToo() async throws {
    let file = file(header: 80) + []
    let server = try HostileServer { request in
      request.method == "HEAD" ? .file(file, for: request) : .answer(200, body: file)
    }
    #expect(try await probe(server, kind: kind).rowCount == 100)
  }

  @Test(arguments: [403, 404, 501]) func whoDoesNotSayLeavesItUnknown(status: Int) async throws {
    let server = try HostileServer { request in
      request.method == "HEAD" ? .file(shard, for: request) : .answer(status)
    }
    let finding = try await probe(server, kind: kind)
    #expect(finding.rowCount == nil)
    #expect(finding.answer == .present(byteCount: shard.count, EntityValidator(etag: "\"1\"")))
  }

  /// R12: a trouble is no answer, whatever was asked; R13: nor is what it asks for passed over.
  @Test(arguments: [408, 425, 429, 500, 503]) func r12ATroubleWithTheBeginningPasses(status: Int) async throws {
    let server = try HostileServer { request in
      request.method == "HEAD" || request.precedingCount > 2
        ? .file(shard, for: request) : .answer(status, headers: ["Retry-After: 0"])
    }
    let finding = try await probe(server, kind: kind)
    #expect(finding.rowCount == 50)
    let stuck = try HostileServer { request in
      request.method == "HEAD" ? .file(shard, for: request) : .answer(status, headers: ["Retry-After: 7"])
    }
    var configuration = quickConfiguration()
    configuration.retryAfterCap = .seconds(300)
    configuration.probeTimeout = .seconds(3)
    let found = try await probe(stuck, kind: kind, configuration: configuration)
    #expect(found.answer == .unreachable("the server answered \(status)"))
    let wait = try #require(found.retryAfter)
    #expect(wait > .seconds(3) && wait <= .seconds(7), "\(wait)")
  }

  @Test(arguments: [400, 403, 404, 405, 416, 500, 501])
  func r20ARefusedRangeIsNoRefusedBeginning(status: Int) async throws {
    let server = try HostileServer { request in
      request.rangeStart == nil ? .file(shard, for: request) : .answer(status)
    }
    #expect(try await probe(server, kind: kind).rowCount == 50)
    #expect(server.requests.map(\.method) == ["HEAD", "GET", "GET"])
  }

  @Test func anotherFileIsFoundOut() async throws {
    let page = Array("<html>".utf8) + [UInt8](repeating: 0x20, count: 900)
    let files = [page, file(header: 128, dimension: 5), file(header: 128).dropLast(8) + []]
    for file in files {
      let server = try HostileServer { .file(file, for: $0) }
      guard case .faulty = try await probe(server, kind: kind).answer else {
        Issue.record("taken for the shard")
        continue
      }
    }
  }

  /// A size alone says nothing: 1,680 bytes are 100 rows behind an old header, and
  /// 97 behind a new one.
  @Test func rowsOfALakeComeFromHeadsAndListsAndNeverFromASize() async throws {
    let file = file(header: 80, dimension: 8)
    let (lake, server) = (try TemporaryLake(), try HostileServer { .file(file, for: $0) })
    #expect(file.count == 1_680)
    func add(_ name: String, rows: Int?) throws -> Source {
      try lake.catalog.addSource(
        SourceDefinition(
          name: name, modality: .image, dimension: 8, elementType: .float16, mirrors: ["m"],
          shards: [
            .init(
              name: "a.npy", urls: [server.url("/a.npy")], expectedByteCount: file.count, expectedRowCount: rows)
          ]))
    }
    let sized = try add("sized", rows: nil)
    #expect(try lake.catalog.shards(of: sized)[0].knownRowCount == nil)
    #expect(FeatureFormat.npy.rowCount(ofByteCount: file.count, dimension: 8, elementType: .float16) == nil)
    #expect(try lake.catalog.shards(of: add("listed", rows: 100))[0].knownRowCount == 100)
    _ = try await ProbeRun(
      lake.catalog, sized, ordinals: nil, concurrency: 1, configuration: quickConfiguration(),
      cancellation: Cancellation(), report: { _, _ in }
    ).run()
    #expect(try lake.catalog.shards(of: sized)[0].knownRowCount == 100)
    // Known now, and not asked for again.
    let before = server.requests.count
    _ = try await ProbeRun(
      lake.catalog, sized, ordinals: nil, concurrency: 1, configuration: quickConfiguration(),
      cancellation: Cancellation(), report: { _, _ in }
    ).run()
    #expect(server.requests.dropFirst(before).map(\.method) == ["HEAD"])
    #expect(try lake.catalog.shards(of: sized)[0].knownRowCount == 100)
  }

  /// A transfer that ended as the file was larger than its room has seen it, and asked nobody for its rows.
  @Test func whatATransferSawIsNoAnswerAboutRows() throws {
    let lake = try TemporaryLake()
    let source = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 8, elementType: .float16, mirrors: ["m"],
        shards: [.init(name: "a.npy", urls: ["http://localhost/a.npy"])]))
    let shard = try lake.catalog.shards(of: source)[0]
    let mirrorID = try lake.catalog.locations(of: shard.id)[0].mirrorID
    try lake.catalog.recordTransfer(
      TransferRecord(
        shardID: shard.id, mirrorID: mirrorID, url: "http://localhost/a.npy", startedAt: "2026-01-01T00:00:00.000Z",
        endedAt: "2026-01-01T00:00:01.000Z", resumedFrom: 0, receivedByteCount: 8, httpStatus: 200,
        outcome: .interrupted, error: nil, seen: .present, seenByteCount: 1_680))
    #expect(try lake.catalog.locations(of: shard.id)[0].state == .present)
    #expect(try !lake.catalog.wasAskedForRows(of: shard.id))
    #expect(try lake.catalog.shardsWithoutRows(of: source).isEmpty)
    try lake.catalog.recordProbes([ProbeRecord(shardID: shard.id, mirrorID: mirrorID, state: .present)])
    #expect(try lake.catalog.wasAskedForRows(of: shard.id))
    #expect(try lake.catalog.shardsWithoutRows(of: source).map(\.name) == ["a.npy"])
  }

  @Test func aCoverageWithoutSizesHasNone() async throws {
    let lake = try TemporaryLake()
    let server = try HostileServer { request in
      request.method == "HEAD" ? .answer(200, framing: .none) : .answer(200, body: shard, framing: .untilClose)
    }
    let source = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["m"],
        shards: [.init(name: "a.npy", urls: [server.url("/a.npy")])]))
    _ = try await ProbeRun(
      lake.catalog, source, ordinals: nil, concurrency: 1, configuration: quickConfiguration(),
      cancellation: Cancellation(), report: { _, _ in }
    ).run()
    let coverage = try lake.catalog.coverage(of: source)
    #expect(coverage.map(\.presentCount) == [1])
    #expect(coverage.map(\.byteCount) == [nil])
  }
}
