// A server and its catalog where what is open of it does not tell that somebody wrote, and where the files of a version
// are not what it says.

import Base
import Foundation
import Glibc
import Testing
import TestSupport

@Suite struct ServeCatalogTests {
  private static let search = "{\"version\":\"v@1\",\"vectors\":[[0.5,0.5,0.5,0.5,0,0,0,0]],\"k\":40,\"nprobe\":3}"

  /// The rows that a server finds, all that it shows; nil where it answers otherwise.
  private func rows(_ served: ServedLake) throws -> [Int64]? {
    let answer = try #require(served.ask("POST", "/api/search", Self.search))
    guard answer.head.hasPrefix("HTTP/1.1 200 ") else { return nil }
    return JSONValue(parsing: answer.body)?["ids"]?.elements.compactMap(\.integer)
  }

  private func until(_ holds: () throws -> Bool, line: Int = #line) throws {
    for _ in 0..<600 {
      if try holds() { return }
      usleep(50_000)
    }
    Issue.record("what line \(line) waits for never came")
  }

  /// Excludes a row and revokes the version, and waits until a server shows neither.
  private func takeDown(_ lake: LakeFixture, _ served: ServedLake) throws {
    let ids = lake.directory.path + "/ids.txt"
    try Disk.writeAtomically(Array("3\n".utf8), to: ids)
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "a test"])
    try until { try rows(served)?.contains(3) == false }
    try lake.succeed(["revoke", "v@1", "--reason", "a test"])
    try until { try #require(served.ask("POST", "/api/search", Self.search)).head.hasPrefix("HTTP/1.1 410 ") }
    #expect(served.ask("GET", "/readyz")?.head.hasPrefix("HTTP/1.1 503 ") == true)
  }

  /// A file that has lost its name says for ever what it said.
  @Test func aCatalogThatTookTheNameOfAnotherIsRead() throws {
    let lake = try LakeFixture.make(.built)
    let served = try ServedLake(lake, ["v@1"])
    defer { served.stop() }
    #expect(try rows(served)?.count == 40)
    for suffix in ["", "-wal", "-shm"] { unlink(lake.lake + "/catalog.sqlite" + suffix) }
    try lake.succeed(["rebuild-catalog", "--allow-inside", "--quiet"])
    try takeDown(lake, served)
  }

  /// Whoever can write nothing beside the catalog reads a copy of it in memory.
  @Test(.enabled(if: geteuid() == 0 && OrdinaryUser.isThere)) func aCopyOfTheCatalogIsMadeAnew() throws {
    let lake = try LakeFixture.make(.built)
    // With a log there would be no copy.
    try #require(Disk.size(of: lake.lake + "/catalog.sqlite-wal") == nil)
    let served = try ServedLake(lake, ["v@1"], isOrdinary: true)
    defer { served.stop() }
    #expect(try rows(served)?.count == 40)
    try takeDown(lake, served)
  }

  /// Removes an output of a version that was just built under both its names.
  private func lose(_ output: String, _ lake: LakeFixture) throws {
    let wanted = try #require(Disk.identity(of: output))
    let directory = lake.lake + "/artifacts/outputs"
    for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
      if Disk.identity(of: "\(directory)/\(name)") == wanted { unlink("\(directory)/\(name)") }
    }
    unlink(output)
  }

  /// A version that nobody named and that is lost keeps a server that starts from no other.
  @Test func whatIsLostIsLeftOutWhereNobodyNamedIt() throws {
    let lake = try LakeFixture.make(.built)
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet"])
    try lose(lake.lake + "/versions/w@1/w.000.faiss", lake)
    let named = try lake.run(["serve", "v", "w", "--listen", "127.0.0.1:0"])
    #expect(named.ending == .exit(21), "\(named.errorText)")
    let served = try ServedLake(lake)
    let found = try? rows(served)
    let readiness = served.ask("GET", "/readyz")?.head
    served.process.signal(SIGTERM)
    let text = served.process.finish().errorText
    #expect(found?.count == 40)
    #expect(readiness?.hasPrefix("HTTP/1.1 503 ") == true, "\(readiness ?? "")")
    #expect(text.contains("w@1 cannot be served"), "\(text)")
    // Where there is no other, there is nothing to serve.
    for output in ["v.000.faiss", "v.001.faiss"] { unlink("\(lake.lake)/versions/v@1/\(output)") }
    try FileManager.default.removeItem(atPath: lake.lake + "/artifacts/outputs")
    let last = try lake.run(["serve", "--listen", "127.0.0.1:0"])
    #expect(last.ending == .exit(21), "\(last.errorText)")
  }
}
