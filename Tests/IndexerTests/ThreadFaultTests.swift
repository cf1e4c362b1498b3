// A system that gives no more threads, at each of those that a part of the indexer
// makes: an error, and what was begun is gone.

import Base
import Foundation
import FuzzReaders
import Indexer
import Testing

private let trainedDigest = ContentDigest.of("trained")

@Suite struct ThreadFaultTests {
  /// The error of a body that gets fewer threads than it asks for.
  private static func refusal(atThread number: Int, _ body: () throws -> Void) -> TarnError? {
    setenv("TARN_FAULT", "thread@\(number)", 1)
    do {
      try body()
      return nil
    } catch {
      return error as? TarnError
    }
  }

  // The plan is of the whole process and counts from its first thread on, so each
  // number has a process of its own.
  @Test(arguments: [1, 2, 3])
  func aPoolThatLacksAThreadIsNone(number: Int) async {
    await #expect(processExitsWith: .success) { [number = number as Int] in
      let error = Self.refusal(atThread: number) { _ = try WorkerPool(threadCount: 4) }
      exit(error?.code == .io && error?.message.contains("cannot start a thread") == true ? 0 : 1)
    }
  }

  @Test func aPoolOfOneThreadNeedsNoOther() async {
    await #expect(processExitsWith: .success) {
      exit(Self.refusal(atThread: 1) { _ = try WorkerPool(threadCount: 1) } == nil ? 0 : 1)
    }
  }

  @Test func workWithoutAThreadIsAnErrorForWhoeverWaits() async {
    await #expect(processExitsWith: .success) {
      let error = Self.refusal(atThread: 1) { try ThreadedWork("work") {}.wait() }
      exit(error?.code == .io ? 0 : 1)
    }
  }

  /// A file that is written has a thread that hashes and one that writes.
  @Test(arguments: [1, 2, 3])
  func aFileWhoseThreadsCannotBeMadeIsNotBegun(number: Int) async throws {
    let scratch = try Scratch()
    let path = scratch.file("segment")
    await #expect(processExitsWith: .success) { [number = number as Int, path = path as String] in
      let sample = try Sample(codec: .sq8, dimension: 4, nlist: 2, count: 9)
      let error = Self.refusal(atThread: number) {
        _ = try SegmentWriter.write(
          sample.description(trainedDigest: trainedDigest, shard: "shard"), assignments: sample.lists,
          codes: sample.codes, to: path, temporaryPath: path + ".tmp")
      }
      exit((error?.code == .io) == (number < 3) ? 0 : 1)
    }
    #expect(scratch.names == (number < 3 ? [] : ["segment"]))
  }

  @Test(arguments: [1, 2, 3])
  func aSearchWhoseThreadsCannotBeMadeIsAnError(number: Int) async throws {
    let scratch = try Scratch()
    let sample = try Sample(codec: .sq8, dimension: 4, nlist: 2, count: 3000)
    let output = scratch.file("output")
    _ = try OutputShardMerge.write(
      sample.segments(cuts: [], trainedDigest: trainedDigest, in: scratch), trained: sample.trained,
      trainedDigest: trainedDigest, to: output, temporaryPath: output + ".tmp")
    await #expect(processExitsWith: .success) { [number = number as Int, output = output as String] in
      let searcher = try VersionSearcher(outputShards: [output])
      let queries = [Float](repeating: 0.5, count: 4 * 100)
      let error = Self.refusal(atThread: number) {
        _ = try searcher.search(queries, k: 3, nprobe: 2, threads: 3)
      }
      // It is taken up with the threads that there are.
      _ = try searcher.search(queries, k: 3, nprobe: 2, threads: 1)
      exit((error?.code == .io) == (number < 3) ? 0 : 1)
    }
  }
}
