// Evictions that were cut short, by a kill or by a directory that refuses, and what
// runs after them.

import Base
import Foundation
import Lake
import Testing
import TestSupport

@Suite struct EvictionTests {
  /// A lake in which the first image shard is half evicted, as a kill leaves it.
  private static func halfEvicted() throws -> LakeFixture {
    let lake = try LakeFixture.make(.trained)
    try lake.kill(["evict", "images", "--shards", "0"])
    try #require(try state(of: "img_0.npy", in: lake) == "evicting")
    return lake
  }

  private static func state(of shard: String, in lake: LakeFixture) throws -> String {
    try lake.text("SELECT state FROM shard WHERE name = '\(shard)'")
  }

  /// It counted as there, so that the command took the source for reading alone, and was
  /// gone when the work began.
  @Test(arguments: [["build", "v", "--trained", "t", "--images", "images"], ["sync", "images"], ["sync"]])
  func whatIsHalfEvictedIsFetchedAgain(command: [String]) throws {
    let lake = try Self.halfEvicted()
    let result = try lake.run(command + ["--quiet"])
    #expect(result.ending == .exit(0), "\(result.ending) \(result.errorText)")
    #expect(try Self.state(of: "img_0.npy", in: lake) == "present")
  }

  @Test func whatIsHalfEvictedIsNotTrainedOn() throws {
    let lake = try Self.halfEvicted()
    let arguments = ["train", "u", "--images", "images", "--method", "kmeans", "--nlist", "2", "--quiet"]
    let refused = try lake.run(arguments)
    #expect(refused.ending == .exit(21), "\(refused.ending) \(refused.errorText)")
    try lake.succeed(arguments + ["--fetch"])
  }
}

/// A directory that this user may not write, as one of another user's.
@Suite(.enabled(if: OrdinaryUser.isThere)) struct ClosedDirectoryTests {
  private func state(of shard: String, in lake: LakeFixture) throws -> String {
    try lake.text("SELECT state FROM shard WHERE name = '\(shard)'")
  }

  @Test func anEvictionThatCannotBeChangesNothing() throws {
    let lake = try LakeFixture.make(.trained)
    try OrdinaryUser.own(lake.lake)
    let directory = lake.lake + "/shards/images"
    try OrdinaryUser.closing(directory) {
      let refused = try lake.runOrdinarily(["evict", "images"])
      #expect(refused.ending == .exit(1) && refused.errorLines.count == 1, "\(refused.errorText)")
      #expect(refused.errorText.contains("cannot remove \(directory)/img_0."), "\(refused.errorText)")
      #expect(refused.errorText.contains("; \(directory) must be writable by this user"), "\(refused.errorText)")
      #expect(try state(of: "img_0.npy", in: lake) == "present")
      let build = ["build", "v", "--trained", "t", "--images", "images"]
      let built = try lake.runOrdinarily(build + ["--quiet"])
      #expect(built.ending == .exit(0) && built.errors.isEmpty, "\(built.errorText)")
    }
  }

  /// One file that stays stopped every command that settles what others left.
  @Test func whatCannotBeSettledStopsNothingElse() throws {
    let lake = try LakeFixture.make(.trained)
    try lake.kill(["evict", "images", "--shards", "0"])
    // Killed between the file and the row; here it is still to go.
    let path = try lake.text("SELECT path FROM stored_bytes WHERE kind = 'shard' AND state = 'deleting'")
    try Data([1]).write(to: URL(fileURLWithPath: "\(lake.lake)/shards/\(path)"))
    try OrdinaryUser.own(lake.lake)
    let directory = lake.lake + "/shards/images"
    try OrdinaryUser.closing(directory) {
      for arguments in [["verify"], ["gc", "--apply"], ["sync", "captions"], ["evict", "captions"]] {
        let result = try lake.runOrdinarily(arguments)
        #expect(result.ending == .exit(0), "\(arguments): \(result.errorText)")
        let warnings = result.errorLines.filter { $0.hasPrefix("tarn: warning: ") }
        #expect(warnings.count == 1 && warnings[0].contains("cannot remove \(lake.lake)/shards/\(path)"), "\(warnings)")
      }
      #expect(try state(of: "img_0.npy", in: lake) == "evicting")
      #expect(try lake.runOrdinarily(["sync", "captions", "--quiet"]).errors.isEmpty)
      // Whose it is, and what to do.
      let doctor = try lake.runOrdinarily(["doctor", "--quiet"])
      #expect(doctor.ending == .exit(0), "\(doctor.errorText)")
      let lines = doctor.outputText.split(separator: "\n").filter { $0.hasPrefix("warning") && $0.contains(directory) }
      #expect(lines.count == 2 && lines.allSatisfy { $0.contains("`chmod -R g+w \(directory)`") }, "\(lines)")
      #expect(lines.contains { $0.contains("images/img_0.npy is half evicted, and stays so: \(directory), of ") })
      // What needs that very directory says so before anybody is asked.
      let transfers = try lake.transferCount()
      let refused = try lake.runOrdinarily(["sync", "images", "--quiet"])
      #expect(refused.ending == .exit(1) && refused.errorLines.count == 1, "\(refused.errorText)")
      #expect(refused.errorText.contains("cannot write into \(directory): "), "\(refused.errorText)")
      #expect(try lake.transferCount() == transfers)
    }
    let fetched = try lake.runOrdinarily(["sync", "images", "--quiet"])
    #expect(fetched.ending == .exit(0) && fetched.errors.isEmpty, "\(fetched.errorText)")
    #expect(try state(of: "img_0.npy", in: lake) == "present")
  }
  /// Not after hours of work.
  @Test func aWorkerThatCannotLeaveItsResultDoesNotBegin() throws {
    let planned = try PlannedLake.make(done: false)
    try FileManager.default.createDirectory(atPath: planned.scratch, withIntermediateDirectories: true)
    for directory in [planned.tasks.path, planned.scratch] { try OrdinaryUser.own(directory) }
    let work = [
      "worker", planned.tasks.path, "--task", "0", "--scratch", planned.scratch, "--patience", "0", "--quiet",
    ]
    try OrdinaryUser.closing(planned.tasks.results) {
      let refused = try planned.lake.runOrdinarily(work)
      #expect(refused.ending == .exit(1) && refused.errorLines.count == 1, "\(refused.errorText)")
      #expect(refused.errorText.contains("cannot write into \(planned.tasks.results): "), "\(refused.errorText)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: planned.scratch).isEmpty)
    }
    let done = try planned.lake.runOrdinarily(work)
    #expect(done.ending == .exit(0), "\(done.errorText)")
  }
}
