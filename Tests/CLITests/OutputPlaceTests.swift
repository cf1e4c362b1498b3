// Paths that users name for output: a lake's files are not written over, whichever
// lake's, under whatever name; and a place that cannot be is told before the work.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct OutputPlaceTests {
  /// Two lakes, one of them with its directories elsewhere, and what lies beside them.
  private func makeLakes() throws -> (lake: LakeFixture, other: String) {
    let lake = try LakeFixture.make(.built)
    let other = lake.directory.path + "/other"
    try lake.succeed(["init", other, "--artifacts", other + "-artifacts"])
    try Data(FeatureBytes.npy(3, dimension: 8, seed: 9)).write(
      to: URL(fileURLWithPath: lake.directory.path + "/queries.npy"))
    for (name, target) in [
      ("to-catalog", lake.lake + "/catalog.sqlite"), ("to-lock", "lake/versions/v@1/v.lock.json"),
      ("to-other", other + "/catalog.sqlite"), ("to-shards", "lake/shards"), ("to-nothing", "lake/artifacts/new"),
    ] {
      try FileManager.default.createSymbolicLink(
        atPath: "\(lake.directory.path)/\(name)", withDestinationPath: target)
    }
    try lake.succeed(["backup", lake.directory.path + "/copy.sqlite"])
    return (lake, other)
  }

  /// The verbs that write a file, each with the file's name left open.
  private func verbs(_ lake: LakeFixture) -> [(arguments: [String], suffix: String)] {
    let queries = lake.directory.path + "/queries.npy"
    return [
      (["status", "--report"], ""), (["evaluate", "v@1", "--queries", queries, "--nprobe", "1", "--report"], ""),
      (["backup"], ""), (["search", "v@1", "--queries", queries, "--output"], ".ids.npy"),
    ]
  }

  /// Places that nothing may be written to, with what is said of them.
  private func forbidden(_ lake: LakeFixture, _ other: String) -> [(path: String, reason: String)] {
    let own = [lake.lake, other].flatMap { root in
      ["catalog.sqlite", "catalog.sqlite-wal", "tarn.lock", "shards/x", "versions/v@1/new", "scratch/x"].map {
        ("\(root)/\($0)", "among its own files")
      }
    }
    let beside = lake.directory.path
    return own + [
      (lake.lake + "/artifacts/outputs/x", "among its own files"), (other + "-artifacts/x", "among its own files"),
      (other + "-artifacts/deeper/x", "among its own files"), (beside + "/to-catalog", "among its own files"),
      (beside + "/to-lock", "among its own files"), (beside + "/to-other", "among its own files"),
      (beside + "/to-shards/x", "among its own files"), (beside + "/to-nothing", "among its own files"),
      ("\(beside)/lake/../lake/./catalog.sqlite", "among its own files"), (beside, "is a directory"),
      (beside + "/nowhere/x", "there is no directory \(beside)/nowhere"), ("/dev/null", "is not a regular file"),
    ]
  }

  @Test func noLakesFileIsWrittenOver() throws {
    let (lake, other) = try makeLakes()
    // A command that writes to its lake moves its log into its catalog.
    let changing = ["tarn.lock", "lake/catalog.sqlite", "to-catalog"]
    func bytes() throws -> [String] {
      try FileManager.default.subpathsOfDirectory(atPath: lake.directory.path).sorted().compactMap { path in
        let whole = lake.directory.path + "/" + path
        guard Disk.size(of: whole) != nil, !path.hasSuffix("-wal"), !path.hasSuffix("-shm") else { return nil }
        return changing.contains(where: path.hasSuffix) ? path : "\(path) \(try Disk.digest(of: whole))"
      }
    }
    try lake.succeed(["gc"])
    let before = try bytes()
    for (path, reason) in forbidden(lake, other) {
      for (arguments, suffix) in verbs(lake) where suffix.isEmpty {
        let result = try lake.run(arguments + [path])
        #expect(result.ending == .exit(64), "\(arguments.first ?? "") \(path): \(result.errorText)")
        #expect(result.errorText.contains(reason), "\(arguments.first ?? "") \(path): \(result.errorText)")
        #expect(result.errorText.count { $0 == "\n" } == 1)
      }
    }
    // Under the names that `search --output` gives.
    for name in ["lake/shards/x", "other-artifacts/x", "nowhere/x"] {
      let search = try #require(verbs(lake).last).arguments
      #expect(try lake.run(search + ["\(lake.directory.path)/\(name)"]).ending == .exit(64), "\(name)")
    }
    let changed = try bytes().difference(from: before)
    #expect(changed.isEmpty, "\(changed)")
    #expect(try lake.texts("SELECT CAST(count(*) AS TEXT) FROM evaluation") == ["0"])
  }

  /// A catalog is one under any name, and a copy of one is written over by `backup` alone.
  @Test func aCatalogIsKnownByItsBytes() throws {
    let (lake, other) = try makeLakes()
    let copy = lake.directory.path + "/copy.sqlite"
    #expect(try lake.run(["status", "--report", copy]).errorText.contains("is a backup of a catalog"))
    try lake.succeed(["backup", copy])
    let moved = lake.directory.path + "/moved.sqlite"
    try FileManager.default.copyItem(atPath: other + "/catalog.sqlite", toPath: moved)
    for arguments in [["backup", moved], ["status", "--report", moved]] {
      let result = try lake.run(arguments)
      #expect(result.ending == .exit(64))
      #expect(result.errorText.contains("is the catalog of a lake"))
    }
    let notes = lake.directory.path + "/notes.txt"
    try Data("notes".utf8).write(to: URL(fileURLWithPath: notes))
    #expect(try lake.run(["backup", notes]).errorText.contains("exists and is not a backup of a catalog"))
    #expect(try String(contentsOfFile: notes, encoding: .utf8) == "notes")
    // A restored copy is the lake's again, before any command has written to it.
    for suffix in ["-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite")
    try FileManager.default.copyItem(atPath: copy, toPath: lake.lake + "/catalog.sqlite")
    #expect(try lake.run(["backup", lake.lake + "/catalog.sqlite", "--lake", other]).ending == .exit(64))
  }

  /// That a place can be written is found out without a file that a kill would leave there.
  @Test func aPlaceIsTriedWithoutAName() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("tarn-test-\(UUID().uuidString)").path
    try Disk.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    func change() throws -> Date? {
      try FileManager.default.attributesOfItem(atPath: directory)[.modificationDate] as? Date
    }
    let long = Date(timeIntervalSince1970: 1_000_000_000)
    try FileManager.default.setAttributes([.modificationDate: long], ofItemAtPath: directory)
    guard let file = UnnamedFile.openNeverNamed(in: directory) else { return }
    close(file)
    try OutputPlace.check(directory + "/report.html", besides: nil)
    #expect(try change() == long)
  }

  @Test func otherPlacesAreWritten() throws {
    let (lake, _) = try makeLakes()
    for path in ["\(lake.lake)/report", "\(lake.directory.path)/report", "\(lake.lake)/catalog.sqlite.mine"] {
      for (arguments, suffix) in verbs(lake) {
        let file = "\(path)-\(arguments[0])"
        for _ in 0..<2 { try lake.succeed(arguments + [file]) }
        #expect(Disk.size(of: file + suffix) != nil)
      }
    }
  }

  @Test func aDirectoryForRebuiltFilesIsNoLakes() throws {
    let (lake, other) = try makeLakes()
    let beside = lake.directory.path
    for (path, reason) in [
      (lake.lake + "/new", "is in the lake"), (lake.lake + "/versions/new", "is in the lake"),
      (other + "/shards/new", "is in the lake"), (other + "-artifacts/new", "is in the lake"),
      (other + "-artifacts", "is in the lake"), (beside + "/to-shards/new", "is in the lake"),
      (beside + "/to-shards", "is in the lake"), (beside, "holds other files"),
      (beside + "/queries.npy", "is not a directory"),
    ] {
      let result = try lake.run(["reproduce", "v@1", "--into", path])
      #expect(result.ending == .exit(64), "\(path)")
      #expect(result.errorText.contains(reason), "\(path): \(result.errorText)")
    }
    #expect(try lake.texts("SELECT CAST(count(*) AS TEXT) FROM reproduction") == ["0"])
    try lake.succeed(["reproduce", "v@1", "--into", beside + "/new/deeper"])
  }

  @Test func aLakeIsNotMadeAmongAnothersFiles() throws {
    let (lake, other) = try makeLakes()
    for path in [
      lake.lake + "/shards/new", lake.lake + "/versions", other + "-artifacts/new", lake.directory.path + "/to-shards",
    ] {
      let result = try lake.run(["init", path])
      #expect(result.ending == .exit(64), "\(path)")
      #expect(result.errorText.contains("among its own files"), "\(path): \(result.errorText)")
    }
    try lake.succeed(["init", lake.lake + "/below"])
  }
}
