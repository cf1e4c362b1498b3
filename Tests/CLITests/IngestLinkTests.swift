// Results that have another name than the one they are taken in by: what the lake has of
// them is its own.

import Base
import Foundation
import Testing
import TestSupport

@Suite(.tags(.slow)) struct IngestLinkTests {
  @Test func aResultWithAnotherNameIsCopied() throws {
    let planned = try PlannedLake.make()
    let elsewhere = planned.lake.directory.path + "/elsewhere.faiss"
    try FileManager.default.linkItem(atPath: planned.resultPath(0), toPath: elsewhere)
    #expect(try planned.ingest().ending == .exit(0))
    // What the lake has is its own.
    try Data("gone".utf8).write(to: URL(fileURLWithPath: elsewhere))
    let verify = try planned.lake.run(["verify", "--quiet"])
    #expect(verify.ending == .exit(0), "\(verify.outputText)")
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }
}
