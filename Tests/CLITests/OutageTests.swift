// A build that fetches outlives outages of minutes, which pass in a moment.

import Base
import Catalog
import Foundation
import Lake
import Logging
import Synchronization
import TestSupport
import Testing

@Suite struct BuildOutageTests {
  @Test(.tags(.slow), arguments: [30, 180, 900]) func r21ABuildOutlivesAnOutage(seconds: Int) async throws {
    let outage = Outage()
    let sources = try FeatureSources { _ in outage.answer() }
    let lake = try LakeFixture.nothing()
    try lake.succeed(["init", lake.lake])
    for stage in [LakeStage.registered, .synced, .trained] {
      for arguments in stage.arguments(sources) { try lake.succeed(arguments) }
    }
    try lake.succeed(["evict", "images"])
    let before = sources.server.requests.count
    outage.length.withLock { $0 = .seconds(seconds) }
    let catalog = try LakeCatalog.open(root: lake.lake, writing: "a test")
    var fetch = SyncOptions()
    fetch.fetch.proxy = ""
    fetch.fetch.jobs = 1
    fetch.fetch.supplyInterval = .milliseconds(1)
    fetch.fetch.backoff.cap = .milliseconds(1)
    fetch.patience = .seconds(7_200)
    fetch.clock = { outage.clock.now }
    let options = BuildOptions(
      name: "v", trained: "t", images: "images", shardsPerOutput: 1, fetches: true, environment: "{}")
    let run = BuildRun(catalog, options, logger: Logger(label: "test"), cancellation: Cancellation()) { _ in }
    let waits = Mutex(0)
    let result = try await run.run(fetching: fetch) { event in
      if case .waiting = event { waits.withLock { $0 += 1 } }
    }
    #expect(result.version.state == .sealed)
    #expect(waits.withLock { $0 } > 0 && outage.clock.elapsed >= .seconds(seconds))
    // Each shard came once; the questions in between brought nothing.
    let received = try lake.texts(
      "SELECT received_bytes FROM v_transfer WHERE source = 'images' AND received_bytes > 0")
    #expect(received.count == 2 * FeatureSources.shardCount)
    #expect(sources.server.requests.count - before < 150)
  }

  @Test(.tags(.slow)) func whoIsWaitedForIsSaid() throws {
    let sources = try FeatureSources { _ in ScriptedAnswer([.reset]) }
    let lake = try LakeFixture.nothing()
    try lake.succeed(["init", lake.lake])
    for arguments in LakeStage.registered.arguments(sources) { try lake.succeed(arguments) }
    let told = try lake.run(["sync", "images", "--patience", "2s"])
    #expect(told.ending == .exit(75) && told.errorText.contains("waiting for \(sources.server.url("")) until "))
    let events = try lake.run(["sync", "images", "--patience", "2s", "--json"])
    #expect(events.ending == .exit(75), "\(events.errorText)")
    #expect(events.outputText.contains("\"type\":\"waiting\"") && events.outputText.contains("\"patience_until\":"))
    #expect(try lake.run(["sync", "--patience", "soon"]).ending == .exit(64))
    #expect(try lake.run(["reproduce", "v@1", "--patience", "1h"]).ending == .exit(64))
  }
}
