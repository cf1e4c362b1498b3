// The process killed, or the disk full, before each durable step of a fetch;
// then an undisturbed run over what is left. Each fault has a process of its
// own, as FaultPlan reads its plan once.

import Base
import Fetch
import Foundation
import Testing
import TestSupport

/// Fetches one shard in a child process with small resume points.
private func fetchInChild(_ directory: String, _ url: String) async -> TarnError.Code? {
  var configuration = quickConfiguration()
  configuration.checkpointByteCount = 1 << 20
  let request = FetchRequest(
    id: 1, mirrors: [FetchMirror(id: 1, url: url)], partPath: directory + "/1.part",
    expectation: ShardExpectation(dimension: 4, elementType: .float16),
    finalPath: { "\(directory)/1-\($0.prefix(16)).npy" })
  return await fetch([request], configuration: configuration).failure()?.code
}

@Suite(.serialized) struct CrashTests {
  let directory: TemporaryDirectory
  let shard = makeShard(rows: 500_000)
  let server: HostileServer

  init() throws {
    directory = try TemporaryDirectory()
    let shard = shard
    server = try HostileServer { .file(shard, for: $0) }
  }

  @Test(arguments: 1...12) func d1d2ContinuesAfterAKillBeforeAnyDurableStep(step: Int) async throws {
    let (path, url) = (directory.path, server.url("/a.npy"))
    // Create, four writes, fsync, rename, fsync and unlink are nine; how many
    // resume points come on top depends on how the bytes arrive.
    _ = await #expect(processExitsWith: .signal(SIGKILL)) {
      [path = path as String, url = url as String, step = step as Int] in
      setenv("TARN_FAULT", "kill@\(step)", 1)
      _ = await fetchInChild(path, url)
      if step > 9 { kill(getpid(), SIGKILL) }
    }
    let run = await fetch([makeRequest(in: directory, from: [url])])
    let fetched = try #require(run.shard())
    #expect(bytes(at: fetched.path) == shard)
    #expect(try directory.contents().filter { !$0.hasSuffix(".tmp") } == ["1-\(fetched.digest.prefix(16)).npy"])
  }

  @Test func d10BytesThatComeInDripsAreWrittenInMebibytes() async throws {
    let dripping = try HostileServer { [shard] _ in
      let head = ScriptedAnswer.answer(200, headers: ["ETag: \"1\""], framing: .length(shard.count), then: .run {})
      let drips = stride(from: 0, to: shard.count, by: 3_001).map {
        ScriptedAnswer.Step.send(Array(shard[$0..<min(shard.count, $0 + 3_001)]))
      }
      return ScriptedAnswer(head.steps + drips)
    }
    let (path, url) = (directory.path, dripping.url("/a.npy"))
    _ = await #expect(processExitsWith: .success) { [path = path as String, url = url as String] in
      setenv("TARN_FAULT_LOG", path + "/steps", 1)
      exit(await fetchInChild(path, url) == nil ? 0 : 1)
    }
    let steps = String(decoding: bytes(at: directory.path + "/steps") ?? [], as: UTF8.self)
    let writes = steps.split(separator: "\n").count { $0.contains(" write ") && $0.hasSuffix(".part") }
    #expect(writes == (shard.count + (1 << 20) - 1) >> 20, "\(steps)")
  }

  @Test(arguments: 1...8) func d4ParksOnAFullDiskAndContinuesWhenThereIsSpace(step: Int) async throws {
    let (path, url) = (directory.path, server.url("/a.npy"))
    _ = await #expect(processExitsWith: .success) { [path = path as String, url = url as String, step = step as Int] in
      setenv("TARN_FAULT", "ENOSPC@\(step)+", 1)
      let code = await fetchInChild(path, url)
      exit(code == .diskFull ? 0 : 1)
    }
    let run = await fetch([makeRequest(in: directory, from: [url])])
    #expect(bytes(at: try #require(run.shard()).path) == shard)
  }

  /// Linux says once that bytes could not be written, and to the sync that asks first: that of a resume point.
  @Test func d4EndsAtASyncThatFailedOnce() async throws {
    let url = server.url("/a.npy")
    func steps(_ name: String, fault: String?) async throws -> [Substring] {
      let path = directory.path + "/" + name
      try Disk.makeDirectory(path)
      _ = await #expect(processExitsWith: .success) {
        [path = path as String, url = url as String, fault = fault as String?] in
        setenv("TARN_FAULT_LOG", path + "/steps", 1)
        if let fault { setenv("TARN_FAULT", fault, 1) }
        exit(await fetchInChild(path, url) == (fault == nil ? nil : .io) ? 0 : 1)
      }
      return String(decoding: bytes(at: path + "/steps") ?? [], as: UTF8.self).split(separator: "\n")
    }
    let whole = try await steps("whole", fault: nil)
    let syncs = whole.indices.filter { whole[$0].contains(" fsync ") && whole[$0].hasSuffix(".part") }
    try #require(syncs.count > 1, "\(whole)")
    for (number, step) in syncs.enumerated() {
      let done = try await steps("fault-\(number)", fault: "EIO@\(step + 1)")
      try #require(done.count > step && done[step].contains(" fsync "), "\(done)")
      let later = done[(step + 1)...].filter { !$0.contains(" unlink ") && !$0.contains(" create ") }
      #expect(later.allSatisfy { !$0.contains(".part") && !$0.contains(".npy") }, "\(done)")
    }
  }
}
