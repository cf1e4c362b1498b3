// Dropped shards at the command line: whatever is dropped, trainings and versions are those
// of the shards that are left, ids are those of all, and a lake that lost its catalog or a
// lake elsewhere comes to the same.

import Base
import Catalog
import Foundation
import TestSupport
import Testing

@Suite(.tags(.slow)) struct TombstoneCommandTests {
  private static let train = [
    "train", "t", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "2", "--quiet",
  ]
  private static let build = [
    "build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet",
  ]

  private func list(_ ordinals: some Sequence<Int>) -> String {
    ordinals.map { "\($0)" }.joined(separator: ",")
  }

  /// What a user sees of a version: its digest, and each shard with its ids.
  private func version(_ lake: LakeFixture) throws -> [String] {
    try lake.texts("SELECT sha256 FROM v_version ORDER BY version")
      + lake.texts(
        "SELECT ordinal || ' ' || first_id || ' ' || rows || ' ' || is_hole FROM v_version_input ORDER BY input")
  }

  private func dropped(_ lake: LakeFixture) throws -> [String] {
    try lake.texts("SELECT source || ' ' || ordinal || ' ' || rows FROM v_shard WHERE state = 'dropped' ORDER BY 1")
  }

  @Test(arguments: 0..<UInt64(TestRounds.isFull ? 12 : 4)) func whatIsBuiltIsWhatIsLeft(seed: UInt64) throws {
    var random = SplitMix64(seed: 77 + seed)
    func chance(_ percent: UInt64) -> Bool { random.next() % 100 < percent }
    let rowCounts = (0..<6).map { _ in 5 + Int(random.next() % 14) }
    let shards = PairedShards(rowCounts, seed: 3 + seed)
    // One is on neither side, so that there is something to train on.
    let left = Int(random.next() % 6)
    let images = (0..<6).filter { $0 != left && chance(35) }
    let captions = (0..<6).filter { $0 != left && chance(35) }
    let lake = try shards.lake()
    try lake.evict("images", images.filter { _ in chance(50) })
    let transfers = try lake.transferCount()
    if !images.isEmpty { try lake.succeed(["source", "drop-shards", "images", "--shards", list(images)]) }
    if !captions.isEmpty { try lake.succeed(["source", "drop-shards", "captions", "--shards", list(captions)]) }
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(["source", "probe", "images", "--quiet"])
    #expect(try lake.transferCount() == transfers)
    try lake.succeed(Self.train)
    try lake.succeed(Self.build)
    try lake.succeed(["verify"])
    try lake.succeed(["doctor"])

    // The same as of somebody who names the shards.
    let pairs = (0..<6).filter { !images.contains($0) && !captions.contains($0) }
    let kept = (0..<6).filter { !images.contains($0) }
    let named = try shards.lake()
    try named.succeed(Self.train + ["--shards", list(pairs)])
    try named.succeed(Self.build + ["--shards", list(kept)])
    #expect(try version(lake) == version(named))

    // Ids by brute force: those of all shards, whoever is dropped.
    var firstIDs: [Int] = []
    for ordinal in 0..<6 { firstIDs.append(rowCounts[..<ordinal].reduce(0, +)) }
    #expect(
      try version(lake).dropFirst() == kept.map { "\($0) \(firstIDs[$0]) \(rowCounts[$0]) 0" }[...])
    for ordinal in 0..<6 {
      let located = try lake.run(["locate", "v", "\(firstIDs[ordinal] + rowCounts[ordinal] - 1)", "--format", "csv"])
      if kept.contains(ordinal) {
        #expect(located.outputText.contains("images_\(ordinal).npy"), "\(located.errorText)")
      } else {
        #expect(located.ending != .exit(0) && located.errorText.contains("has no row"), "\(located.errorText)")
      }
    }

    // Elsewhere, and after the catalog was lost.
    let (before, tombstones) = (try version(lake), try dropped(lake))
    #expect(tombstones.count == images.count + captions.count)
    let document = lake.directory.path + "/v.json"
    let elsewhere = try LakeFixture.nothing()
    try elsewhere.succeed(["init", elsewhere.lake])
    try lake.succeed(["export", "v"]).outputText.write(toFile: document, atomically: true, encoding: .utf8)
    try elsewhere.succeed(["reproduce", "--from", document, "--allow-inside", "--patience", "0"])
    #expect(try version(elsewhere).dropFirst() == before.dropFirst())
    #expect(try dropped(elsewhere) == tombstones)
    try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite")
    try lake.succeed(["rebuild-catalog", "--quiet"])
    #expect(try version(lake) == before)
    #expect(try dropped(lake) == tombstones)
    try lake.succeed(["verify"])
  }

  @Test func whatRestsOnIsNamedAndTheRestIsDroppedAndTakenBack() throws {
    let lake = try PairedShards([6, 7, 8, 9], seed: 1).lake()
    try lake.succeed(Self.train + ["--shards", "0-1"])
    try lake.succeed(Self.build + ["--shards", "0,2"])
    let pinned = try lake.run(["source", "drop-shards", "images", "--shards", "2-3"])
    #expect(pinned.ending == .exit(64) && pinned.errorText.contains("v@1 rests on it"), "\(pinned.errorText)")
    let trained = try lake.run(["source", "drop-shards", "captions", "--shards", "1"])
    #expect(trained.errorText.contains("the trained index t rests on it"), "\(trained.errorText)")
    #expect(try dropped(lake).isEmpty)
    let drop = ["source", "drop-shards", "images", "--shards", "3"]
    #expect(try lake.succeed(drop).outputText == "images has 3 shards, 1 fewer; 1 dropped shard keeps ids\n")
    #expect(try lake.succeed(drop).outputText == "images has 3 shards, 0 fewer; 1 dropped shard keeps ids\n")
    let file = lake.directory.path + "/images/images_3.npy"
    let asked = [["sync", "images", "--shards", "3"], ["import", "images", file], Self.build + ["--shards", "3"]]
    for arguments in asked {
      let refused = try lake.run(arguments)
      #expect(refused.ending == .exit(64) && refused.errorText.contains("--undo"), "\(refused.errorText)")
    }
    // The directory is as it was: a refresh brings nothing back and misses nothing.
    #expect(try lake.succeed(["source", "refresh", "images"]).outputText.contains("0 more"))
    try lake.succeed(["evict", "images", "--shards", "3"])
    #expect(try lake.succeed(drop + ["--undo"]).outputText == "images has 4 shards, 1 taken back\n")
    try lake.succeed(["sync", "--quiet"])
    try lake.succeed(Self.build)
    let first = "SELECT first_id || '' FROM v_version_input WHERE version = 'v@2' AND ordinal = 3"
    #expect(try lake.texts(first) == ["21"])
    try lake.succeed(["verify"])
    try lake.succeed(["reproduce", "v@1", "--quiet"])
  }
}
