// Paths that are relative, with parts that lead up: every verb means the same directory by
// them, the one that the working directory and the words give.

import Base
import Foundation
import Testing
import TestSupport

@Suite(.tags(.slow)) struct RelativePathTests {
  /// Runs tarn in the lake's directory.
  private func run(
    _ lake: LakeFixture, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> ProcessResult {
    try ProcessRunner.run(
      arguments, environment: ["TARN_THREADS": "1", "TARN_ENGINE": "sgemm"].merging(environment) { $1 },
      directory: lake.lake)
  }

  private static let plan = ["plan", "build", "w", "--trained", "t", "--images", "images", "--shards-per-output", "1"]

  @Test(arguments: ["../beside", "lnk/../../beside", "./versions/../../beside/."])
  func tasksGoWhereTheyAreSaidToGo(path: String) throws {
    let lake = try LakeFixture.make(.trained)
    let beside = lake.directory.path + "/beside"
    try FileManager.default.createSymbolicLink(atPath: lake.lake + "/lnk", withDestinationPath: "/usr/lib")
    let before = try FileManager.default.contentsOfDirectory(atPath: lake.lake).sorted()
    let planned = try run(lake, Self.plan + ["--tasks", path])
    #expect(planned.ending == .exit(0), "\(planned.errorText)")
    #expect(Disk.size(of: beside + "/plan.json") != nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: lake.lake).sorted() == before)
    try FileManager.default.createDirectory(atPath: beside + "/work", withIntermediateDirectories: false)
    try FileManager.default.createDirectory(atPath: beside + "/more", withIntermediateDirectories: false)
    for (arguments, environment) in [
      (["worker", path, "--task", "0", "--scratch", path + "/work"], [:]),
      (["worker", path, "--task", "1"], ["TMPDIR": path + "/more"]),
      (["plan", "--again", path], [:]),
      (["ingest", path], [:]),
    ] as [([String], [String: String])] {
      let result = try run(lake, arguments, environment: environment)
      #expect(result.ending == .exit(0), "\(arguments): \(result.errorText)")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: lake.lake).sorted() == before)
    #expect(try lake.texts("SELECT state FROM index_version WHERE name = 'w'") == ["sealed"])
  }

  @Test func anExecutorsTasksGoThereToo() throws {
    let lake = try LakeFixture.make(.trained)
    let build = ["build"] + Self.plan.dropFirst(2)
    let result = try run(lake, build + ["--executor", "local:1", "--tasks", "../beside"])
    #expect(result.ending == .exit(0), "\(result.errorText)")
    #expect(Disk.size(of: lake.directory.path + "/beside/plan.json") != nil)
  }

  @Test func aWorkerWorksInTheDirectoryThatItIsIn() throws {
    let lake = try LakeFixture.make(.trained)
    try lake.succeed(Self.plan + ["--tasks", lake.directory.path + "/beside"])
    let result = try ProcessRunner.run(
      ["worker", "..", "--task", "0"], directory: lake.directory.path + "/beside/tasks")
    #expect(result.ending == .exit(0), "\(result.errorText)")
  }
}
