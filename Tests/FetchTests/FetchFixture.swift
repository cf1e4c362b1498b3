// What the tests of fetching share: small shards, a temporary directory, a
// patient configuration that does not wait, and a recorder of events.

import Base
import Fetch
import Foundation
import Synchronization
import TestSupport

/// A directory that goes away with its owner.
final class TemporaryDirectory: Sendable {
  let path: String

  /// Makes one, in memory where thousands of syncs are none of the test's business.
  init(inMemory: Bool = false) throws {
    let memory = "/dev/shm"
    let parent =
      inMemory && FileManager.default.isWritableFile(atPath: memory)
      ? URL(fileURLWithPath: memory) : FileManager.default.temporaryDirectory
    let url = parent.appendingPathComponent("tarn-fetch-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func contents() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

/// The bytes of a `.npy` file of float16 rows, from a seed.
func makeShard(rows: Int, dimension: Int = 4, descr: String = "<f2", seed: UInt64 = 1) -> [UInt8] {
  var text = "{'descr': '\(descr)', 'fortran_order': False, 'shape': (\(rows), \(dimension)), }"
  while (10 + text.utf8.count + 1) % 64 != 0 { text += " " }
  text += "\n"
  var bytes: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0]
  bytes += [UInt8(text.utf8.count & 255), UInt8(text.utf8.count >> 8)] + Array(text.utf8)
  var state = seed
  for _ in 0..<(rows * dimension * (descr == "<f4" ? 4 : 2)) {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    bytes.append(UInt8(state >> 56))
  }
  return bytes
}

/// A run of the fetcher over one directory, and what it reported.
struct FetchRun {
  var events: [FetchEvent] = []
  var error: (any Error)?

  var attempts: [TransferAttempt] {
    events.compactMap { if case .attemptEnded(let attempt) = $0 { attempt } else { nil } }
  }

  func result(_ id: Int64 = 1) -> Result<FetchResult, TarnError>? {
    events.compactMap { event -> Result<FetchResult, TarnError>? in
      if case .finished(id, let result) = event { result } else { nil }
    }.first
  }

  func shard(_ id: Int64 = 1) -> FetchedShard? {
    if case .success(.fetched(let shard)) = result(id) { shard } else { nil }
  }

  func failure(_ id: Int64 = 1) -> TarnError? {
    if case .failure(let error) = result(id) { error } else { nil }
  }
}

/// A configuration whose waits are a millisecond and whose limits are small.
func quickConfiguration() -> FetchConfiguration {
  var configuration = FetchConfiguration()
  configuration.backoff.base = .milliseconds(1)
  configuration.backoff.cap = .milliseconds(1)
  configuration.retryAfterCap = .milliseconds(1)
  configuration.watch.stallTimeout = .seconds(60)
  configuration.watch.stallByteCount = 1
  configuration.watch.answerTimeout = .seconds(60)
  configuration.attemptsPerMirror = 3
  configuration.jitterSeed = 7
  configuration.proxy = ""
  return configuration
}

/// A quick one for which 127.0.0.2 lies out in the world, so that servers of a test
/// can stand inside and outside.
func outsideConfiguration() -> FetchConfiguration {
  var configuration = quickConfiguration()
  configuration.addressScope = { $0 == "127.0.0.2" ? .world : AddressScope(of: $0) }
  return configuration
}

/// A request for `name` in a directory.
func makeRequest(
  _ id: Int64 = 1, in directory: TemporaryDirectory, from urls: [String], size: Int? = nil,
  digest: ContentDigest? = nil, dimension: Int = 4, elementType: ElementType = .float16,
  condition: EntityValidator? = nil
) -> FetchRequest {
  let path = directory.path
  return FetchRequest(
    id: id, mirrors: urls.enumerated().map { FetchMirror(id: Int64($0.offset + 1), url: $0.element) },
    partPath: "\(path)/\(id).part",
    expectation: ShardExpectation(byteCount: size, digest: digest, dimension: dimension, elementType: elementType),
    condition: condition, finalPath: { "\(path)/\(id)-\($0.prefix(16)).npy" })
}

/// Runs requests to their ends.
func fetch(
  _ requests: [FetchRequest], configuration: FetchConfiguration = quickConfiguration(),
  on fetcher: Fetcher? = nil
) async -> FetchRun {
  let events = Mutex<[FetchEvent]>([])
  var run = FetchRun()
  do {
    try await (fetcher ?? Fetcher(configuration: configuration)).run(requests) { event in
      events.withLock { $0.append(event) }
    }
  } catch {
    run.error = error
  }
  run.events = events.withLock { $0 }
  return run
}

func bytes(at path: String) -> [UInt8]? { FileManager.default.contents(atPath: path).map { Array($0) } }
