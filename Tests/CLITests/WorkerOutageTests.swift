// A worker outlives outages of its sources for as long as it was told, and no longer:
// hours that pass in a moment, with the patience that is shipped.

import Base
import Fetch
import Foundation
import Lake
import Logging
import Synchronization
import Testing
import TestSupport

@Suite(.tags(.slow)) struct WorkerOutageTests {
  /// A task of two shards, carried out while their server is gone for a while.
  private func work(
    through length: Duration
  ) async throws -> (result: Result<TaskReceipt, any Error>, Outage, waits: Int) {
    let outage = Outage()
    let sources = try FeatureSources { _ in outage.answer() }
    let lake = try LakeFixture.nothing()
    try lake.succeed(["init", lake.lake])
    for stage in [LakeStage.registered, .synced, .trained] {
      for arguments in stage.arguments(sources) { try lake.succeed(arguments) }
    }
    try lake.succeed(["evict", "images"])
    let tasks = TaskDirectory(lake.directory.path + "/tasks")
    try lake.succeed(["plan", "build", "v", "--trained", "t", "--images", "images", "--tasks", tasks.path])
    outage.length.withLock { $0 = length }
    var fetch = FetchConfiguration()
    fetch.proxy = ""
    fetch.jobs = 1
    fetch.supplyInterval = .milliseconds(1)
    fetch.backoff.cap = .milliseconds(1)
    let supply = SupplyOptions(fetch: fetch, patience: .seconds(7_200)) { outage.clock.now }
    let waits = Mutex(0)
    let worker = TaskWorker(
      0, of: tasks, WorkerOptions(supply: supply, scratch: lake.directory.path, tool: "tarn"),
      logger: Logger(label: "test"), cancellation: Cancellation()
    ) { event in
      if case .waiting = event { waits.withLock { $0 += 1 } }
    }
    do {
      let receipt = try await worker.run().receipt
      return (.success(receipt), outage, waits.withLock { $0 })
    } catch {
      return (.failure(error), outage, waits.withLock { $0 })
    }
  }

  @Test(arguments: [30, 900]) func r21AWorkerOutlivesAnOutage(seconds: Int) async throws {
    let (result, outage, waits) = try await work(through: .seconds(seconds))
    #expect(try result.get().inputs.allSatisfy { $0.seen != nil })
    #expect(waits > 0 && outage.clock.elapsed >= .seconds(seconds))
  }

  @Test func r21PatienceEnds() async throws {
    let (result, outage, _) = try await work(through: .seconds(1_000_000))
    let error = #expect(throws: TarnError.self) { try result.get() }
    #expect(error?.code == .temporary)
    #expect(outage.clock.elapsed > .seconds(7_000) && outage.clock.elapsed < .seconds(20_000))
  }
}
