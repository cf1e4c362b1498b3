// A pull outlives outages of its place for as long as it was told, and no longer: hours
// that pass in a moment, with the patience that is shipped.

import Base
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

@Suite struct PullOutageTests {
  /// How a place fails.
  enum Failure: CaseIterable {
    case reset, trickle, asksForYears, error

    func answer(_ bytes: [UInt8], _ request: HostileServer.Request) -> ScriptedAnswer {
      switch self {
      case .reset: return ScriptedAnswer([.reset])
      case .asksForYears: return .answer(503, headers: ["Retry-After: 99999999"])
      case .error: return .answer(500)
      case .trickle:
        // One more byte each time.
        let start = request.rangeStart ?? 0
        let range = ["Content-Range: bytes \(start)-\(bytes.count - 1)/\(bytes.count)"]
        return .answer(
          start == 0 ? 200 : 206, headers: start == 0 ? [] : range, body: [bytes[start]],
          framing: .length(bytes.count - start), then: .reset)
      }
    }
  }

  private struct Pulled {
    let result: Result<[String], any Error>
    let elapsed: Duration
    let waits: [String]
    let host: String
    let requestCount: Int
  }

  /// Pulls both outputs from a place some of whose files fail for a while.
  private func pull(
    _ failure: Failure, of isFailing: @escaping @Sendable (String) -> Bool, for length: Duration, patience: Duration,
    step: Duration = .milliseconds(500)
  ) async throws -> Pulled {
    let root = try LakeFixture.published()
    let clock = ScriptedClock(step: step)
    let server = try HostileServer { request in
      let path = root + request.target.dropFirst("/pub".count).replacing("%40", with: "@")
      guard let data = FileManager.default.contents(atPath: path) else { return .answer(404) }
      guard isFailing(request.target), clock.elapsed < length else { return .file(Array(data), for: request) }
      return failure.answer(Array(data), request)
    }
    var options = SyncOptions()
    options.fetch.proxy = ""
    options.fetch.supplyInterval = .milliseconds(1)
    options.patience = patience
    options.clock = { clock.now }
    let waits = Mutex<[String]>([])
    let report: @Sendable (PullProgress) -> Void = { progress in
      if case .waiting(let host, _, _) = progress { waits.withLock { $0.append(host) } }
    }
    let into = try LakeDirectory()
    let result: Result<[String], any Error>
    do {
      let found = try await Publication.find(
        server.url("/pub"), nil, options: options, cancellation: Cancellation(), report: report)
      result = .success(
        try await PullFilesRun(found, options: options, cancellation: Cancellation(), report: report)
          .run(["v.000.faiss", "v.001.faiss"], into: into.path + "/files"))
    } catch {
      result = .failure(error)
    }
    return Pulled(
      result: result, elapsed: clock.elapsed, waits: waits.withLock { $0 }, host: server.url(""),
      requestCount: server.requests.count)
  }

  @Test(arguments: Failure.allCases) func r21PatienceEnds(_ failure: Failure) async throws {
    let pulled = try await pull(
      failure, of: { $0.hasSuffix(".faiss") }, for: .seconds(1_000_000_000), patience: .seconds(60))
    let error = #expect(throws: TarnError.self) { try pulled.result.get() }
    #expect(error?.code == .temporary, "\(String(describing: error))")
    #expect(pulled.elapsed > .seconds(58) && pulled.elapsed < .seconds(120), "\(pulled.elapsed)")
    // It was told whom it waits for, once.
    #expect(pulled.waits == [pulled.host])
    #expect(pulled.requestCount < 40)
  }

  @Test(arguments: [Failure.reset, .error]) func r21APullOutlivesAnOutage(_ failure: Failure) async throws {
    let pulled = try await pull(
      failure, of: { $0.hasSuffix(".faiss") }, for: .seconds(900), patience: .seconds(7_200), step: .seconds(1))
    #expect(try pulled.result.get().count == 2)
    #expect(pulled.elapsed >= .seconds(900) && pulled.waits == [pulled.host])
  }

  @Test(arguments: ["index.json", "v.export.json"]) func r21DocumentsAreWaitedForToo(file: String) async throws {
    let healed = try await pull(
      .error, of: { $0.hasSuffix(file) }, for: .seconds(100), patience: .seconds(600), step: .seconds(1))
    #expect(try healed.result.get().count == 2)
    #expect(healed.waits == [healed.host])
    let over = try await pull(
      .asksForYears, of: { $0.hasSuffix(file) }, for: .seconds(1_000_000_000), patience: .seconds(60), step: .seconds(1)
    )
    #expect((#expect(throws: TarnError.self) { try over.result.get() })?.code == .temporary)
    #expect(over.elapsed > .seconds(58) && over.elapsed < .seconds(120) && over.waits == [over.host])
  }
}
