// A lake whose version is made by workers, at the moment before its results are taken in.

import Base
import Catalog
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

/// A lake whose version of two outputs was planned, over a source of which only the
/// number of rows is known, and the directory of the tasks.
final class PlannedLake: Sendable {
  let lake: LakeFixture
  let tasks: TaskDirectory
  private static let prototype = Mutex<PlannedLake?>(nil)

  private init(_ lake: LakeFixture) {
    self.lake = lake
    tasks = TaskDirectory(lake.directory.path + "/tasks")
  }

  /// What is planned: `unseen` has the addresses of `images`, and none of its digests.
  static let arguments = ["v", "--trained", "t", "--images", "unseen", "--shards-per-output", "1"]

  /// A lake with its plan, of which both tasks were carried out if that is asked for.
  static func make(done: Bool = true) throws -> PlannedLake {
    let whole = try prototype.withLock { made in
      if let made { return made }
      let new = try planned()
      for number in 0..<2 { try new.work(number) }
      made = new
      atexit { PlannedLake.prototype.withLock { $0 = nil } }
      return new
    }
    let copy = PlannedLake(try whole.lake.copy())
    try FileManager.default.copyItem(atPath: whole.tasks.path, toPath: copy.tasks.path)
    if !done {
      for directory in [copy.tasks.results, copy.tasks.receipts] {
        for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
          try FileManager.default.removeItem(atPath: "\(directory)/\(name)")
        }
      }
    }
    return copy
  }

  /// Registers the source.
  static func addUnseen(to lake: LakeFixture) throws {
    try lake.succeed([
      "source", "add", "unseen", "--url", LakeFixture.sources().server.url("/images/img_{ordinal}.npy"), "--count",
      "\(FeatureSources.shardCount)", "--dimension", "\(FeatureSources.dimension)",
    ])
  }

  private static func planned() throws -> PlannedLake {
    let new = PlannedLake(try LakeFixture.make(.trained))
    try addUnseen(to: new.lake)
    try new.lake.succeed(["plan", "build"] + arguments + ["--tasks", new.tasks.path])
    return new
  }

  private static let localDigest = Mutex<String?>(nil)

  /// The digest that a build on one machine gives.
  static func digest() throws -> String {
    try localDigest.withLock { known in
      if let known { return known }
      let local = try make(done: false)
      try local.lake.succeed(["build"] + arguments)
      let digest = try local.sealedDigest()
      known = digest
      return digest
    }
  }

  var scratch: String { lake.directory.path + "/scratch" }

  /// Carries a task out.
  @discardableResult func work(_ number: Int, exits status: Int32 = 0) throws -> ProcessResult {
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    let result = try lake.run([
      "worker", tasks.path, "--task", "\(number)", "--scratch", scratch, "--patience", "0", "--quiet",
    ])
    #expect(result.ending == .exit(status), "\(result.errorText)")
    return result
  }

  func receiptPath(_ number: Int) throws -> String {
    "\(tasks.receipts)/\(try #require(try tasks.receiptNames()[number]?.first))"
  }

  func resultPath(_ number: Int) throws -> String {
    "\(tasks.results)/\(try #require(try tasks.resultNames()[number]?.first { $0.hasSuffix(".faiss") }))"
  }

  /// Writes a receipt that says something else, under the name of its digest.
  func rewrite(_ number: Int, keeping: Bool = false, _ change: (inout [String: JSONValue]) -> Void) throws {
    let path = try receiptPath(number)
    let value = try JSONValue(reading: try Disk.contents(of: path))
    guard case .object(var members) = value else { throw TarnError(.integrity, "no object") }
    change(&members)
    let bytes = Array(JSONValue.object(members).text.utf8)
    if !keeping { try FileManager.default.removeItem(atPath: path) }
    try Disk.writeAtomically(bytes, to: tasks.receiptPath(number, .of(bytes)))
  }

  /// Takes in what is there.
  func ingest(_ options: [String] = []) throws -> (ending: ProcessResult.Ending, answer: JSONValue, errors: String) {
    let result = try lake.run(["ingest", tasks.path, "--json"] + options)
    let line = result.outputText.split(separator: "\n").first.map(String.init) ?? ""
    return (result.ending, JSONValue(parsing: line) ?? .null, result.errorText)
  }

  /// Outputs that are recorded, and inputs that are bound to bytes.
  func standing() throws -> (outputs: [String], bound: [String]) {
    (
      try lake.texts("SELECT CAST(ordinal AS TEXT) FROM output_shard ORDER BY ordinal"),
      try lake.texts("SELECT CAST(ordinal AS TEXT) FROM version_input WHERE revision IS NOT NULL ORDER BY ordinal")
    )
  }

  func sealedDigest() throws -> String {
    try lake.text("SELECT coalesce(version_sha256, state) FROM index_version WHERE name = 'v'")
  }
}
