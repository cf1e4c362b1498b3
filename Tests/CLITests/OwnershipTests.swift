// Directories outside a lake are one lake's: another one, and a copy of the lake,
// is refused before it touches a byte there.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct OwnershipTests {
  private static let build = ["build", "v", "--trained", "t", "--images", "images", "--quiet"]

  /// A lake whose shards and results are beside it.
  private func makeLake(upTo stage: LakeStage = .built) throws -> LakeFixture {
    let lake = try LakeFixture.nothing()
    try lake.succeed(["init", lake.lake, "--shards", lake.shards, "--artifacts", lake.artifacts])
    for step in LakeStage.allCases where step.rawValue <= stage.rawValue {
      for arguments in step.arguments(try LakeFixture.sources()) { try lake.succeed(arguments) }
    }
    return lake
  }

  /// Every file outside the lake with its digest, marks left out.
  private func bytes(_ lake: LakeFixture) throws -> [String] {
    try [lake.shards, lake.artifacts].flatMap { directory in
      try FileManager.default.subpathsOfDirectory(atPath: directory).sorted().compactMap { path in
        let whole = "\(directory)/\(path)"
        guard Disk.size(of: whole) != nil, path != ".tarn-owner" else { return nil }
        return "\(whole): \(try Disk.digest(of: whole).hex)"
      }
    }
  }

  private func mark(_ directory: String) throws -> [String: String] {
    try JSONDecoder().decode(
      [String: String].self, from: Data(contentsOf: URL(fileURLWithPath: directory + "/.tarn-owner")))
  }

  /// One text from the catalog of a lake.
  private func text(_ sql: String, of lake: String) throws -> String {
    let queue = try CatalogFile.open(lake + "/catalog.sqlite")
    defer { try? queue.close() }
    return try #require(try queue.read { try String.fetchOne($0, sql: sql) })
  }

  /// Changes the catalog of a lake behind tarn's back.
  private func change(_ lake: String, _ sql: String) throws {
    let queue = try CatalogFile.open(lake + "/catalog.sqlite")
    defer { try? queue.close() }
    try queue.write { try $0.execute(sql: sql) }
  }

  @Test func directoriesOutsideBearTheLakesName() throws {
    let lake = try makeLake()
    let expected = [
      "format": "tarn-owner-1", "lake": try lake.text("SELECT uuid FROM lake"),
      "root": try #require(realpath(lake.lake, nil).map { String(cString: $0) }),
    ]
    for directory in [lake.shards, lake.artifacts] {
      #expect(try mark(directory) == expected.merging(["directory": directory]) { $1 })
    }
    #expect(Disk.size(of: lake.lake + "/versions/.tarn-owner") == nil)
    // The mark is no stray file.
    #expect(!(try lake.succeed(["doctor"]).outputText.contains(".tarn-owner")))
    #expect(!(try lake.succeed(["gc"]).outputText.contains(".tarn-owner")))
    // A lake with everything inside has none, and may be copied freely.
    let inside = try LakeFixture.make(.built)
    try inside.succeed(["sync"])
    #expect(Disk.size(of: inside.lake + "/shards/.tarn-owner") == nil)
    try inside.copy().succeed(Self.build)
  }

  @Test func aSecondLakeIsRefused() throws {
    let lake = try makeLake()
    let before = try bytes(lake)
    let other = lake.directory.path + "/other"
    for (option, directory) in [
      ("--shards", lake.shards), ("--artifacts", lake.artifacts), ("--artifacts", lake.artifacts + "/deeper"),
      ("--shards", lake.lake + "/versions"), ("--shards", lake.lake + "/scratch/deeper"),
    ] {
      let refused = try lake.run(["init", other, option, directory])
      #expect(refused.ending == .exit(64), "\(directory)")
      #expect(refused.errorText.contains("belongs to another lake, in \(lake.lake)"), "\(refused.errorText)")
      #expect(Disk.size(of: other + "/catalog.sqlite") == nil)
    }
    // Beside another lake's directories there is room.
    try lake.succeed(["init", other, "--shards", lake.lake + "/else", "--artifacts", lake.directory.path + "/else"])
    #expect(try bytes(lake) == before)
  }

  /// Two lakes from before there were marks: the one that writes first has the
  /// directory, and `gc` of the other takes none of its bytes.
  @Test func anOldLakeTakesItsDirectoriesAndTheSecondIsRefused() throws {
    let lake = try makeLake()
    let second = lake.directory.path + "/second"
    try lake.succeed(["init", second])
    for directory in [lake.shards, lake.artifacts] {
      try FileManager.default.removeItem(atPath: directory + "/.tarn-owner")
    }
    try change(second, "UPDATE lake SET artifacts_directory = '\(lake.artifacts)', shards_directory = '\(lake.shards)'")
    let examined = try lake.succeed(["doctor"]).outputText
    #expect(examined.contains("does not say which lake it belongs to"))
    try lake.succeed(["sync"])
    let before = try bytes(lake)
    for arguments in [["gc", "--apply", "--grace", "0s"], ["sync"], ["verify", "--repair"]] {
      let refused = try lake.run(arguments + ["--lake", second])
      #expect(refused.ending == .exit(64))
      #expect(refused.errorText.contains("belongs to another lake, in \(lake.lake)"))
      #expect(refused.errorText.contains("`tarn doctor --copied --shards DIR --artifacts DIR`"))
    }
    let doctor = try lake.run(["doctor", "--lake", second])
    #expect(doctor.ending == .exit(20))
    #expect(doctor.outputText.contains("belongs to another lake, in \(lake.lake)"))
    #expect(try bytes(lake) == before)
    // Readers are free.
    try lake.succeed(["status", "--lake", second])
    // The way out that is named: directories of its own.
    try lake.succeed([
      "doctor", "--copied", "--shards", second + "/shards", "--artifacts", second + "/artifacts", "--lake", second,
    ])
    try lake.succeed(["sync", "--lake", second])
    #expect(try bytes(lake) == before)
    try lake.succeed(["verify"])
  }

  @Test func aCopyIsAskedAndMadeALakeOfItsOwn() throws {
    let lake = try makeLake()
    let before = try bytes(lake)
    let copy = lake.directory.path + "/copy"
    try FileManager.default.copyItem(atPath: lake.lake, toPath: copy)
    for arguments in [["evict", "images"], ["gc", "--apply"], ["sync"], Self.build + ["--bad-rows", "skip"]] {
      let refused = try lake.run(arguments + ["--lake", copy])
      #expect(refused.ending == .exit(64))
      #expect(refused.errorText.contains("belongs to this lake as it was in \(lake.lake)"))
      #expect(refused.errorText.contains("if it was moved, `tarn doctor --moved`; if this is a copy"))
    }
    // It was not moved: the lake is where it was.
    let moved = try lake.run(["doctor", "--moved", "--lake", copy])
    #expect(moved.ending == .exit(64))
    #expect(moved.errorText.contains("the lake is still in \(lake.lake): this is a copy of it"))
    // Its directories are to be its own.
    for arguments in [
      [], ["--shards", copy + "/shards"], ["--artifacts", lake.artifacts, "--shards", copy + "/shards"],
    ] {
      let refused = try lake.run(["doctor", "--copied", "--lake", copy] + arguments)
      #expect(refused.ending == .exit(64))
      #expect(refused.errorText.contains("name other directories with --shards and --artifacts of --copied"))
    }
    try FileManager.default.copyItem(atPath: lake.artifacts, toPath: lake.directory.path + "/copied")
    let asCopy = ["--shards", lake.shards + "2", "--artifacts", lake.directory.path + "/copied", "--lake", copy]
    // Doctor tells at once which files are not at their new place.
    #expect(try lake.run(["doctor", "--copied"] + asCopy).errorText.contains("4 problems found"))
    let both = try [lake.lake, copy].map { try text("SELECT uuid FROM lake", of: $0) }
    #expect(both[0] != both[1])
    #expect(try text("SELECT verb FROM event ORDER BY seq DESC LIMIT 1", of: copy) == "copied")
    #expect(try mark(lake.directory.path + "/copied")["lake"] == both[1])
    // The identity is guarded again.
    #expect(throws: (any Error).self) { try change(copy, "UPDATE lake SET uuid = '\(UUID().uuidString)'") }
    // Shards were not copied: they come again, and then all is whole in both.
    _ = try lake.run(["verify", "--repair", "--lake", copy])
    try lake.succeed(["sync", "--lake", copy])
    try lake.succeed(["verify", "--lake", copy])
    try lake.succeed(["revoke", "v@1", "--reason", "a test", "--lake", copy])
    try lake.succeed(["gc", "--apply", "--grace", "0s", "--lake", copy])
    try lake.succeed(["verify"])
    #expect(try bytes(lake) == before)
  }

  @Test func aCopyOfDirectoriesKeepsTheMarkAndIsTaken() throws {
    let lake = try makeLake()
    let copy = lake.directory.path + "/copy"
    for name in ["", "-shards", "-artifacts"] {
      try FileManager.default.copyItem(atPath: lake.lake + name, toPath: copy + name)
    }
    // As `cp -r` leaves them: with the original's mark, which is nobody's claim on the copy.
    try lake.succeed([
      "doctor", "--copied", "--shards", copy + "-shards", "--artifacts", copy + "-artifacts", "--lake", copy,
    ])
    try lake.succeed(["verify", "--lake", copy])
    try lake.succeed(["verify"])
  }

  @Test func aLakeThatWasMovedGoesOn() throws {
    let lake = try makeLake()
    let moved = lake.directory.path + "/moved"
    try FileManager.default.moveItem(atPath: lake.lake, toPath: moved)
    #expect(try lake.run(["sync", "--lake", moved]).ending == .exit(64))
    #expect(try lake.run(["doctor", "--lake", moved]).ending == .exit(20))
    try lake.succeed(["doctor", "--moved", "--lake", moved])
    #expect(try mark(lake.shards)["root"] == moved)
    try lake.succeed(["verify", "--lake", moved])
    // Once more changes nothing.
    let events = try text("SELECT CAST(count(*) AS TEXT) FROM event WHERE verb = 'moved'", of: moved)
    try lake.succeed(["doctor", "--moved", "--lake", moved])
    #expect(try text("SELECT CAST(count(*) AS TEXT) FROM event WHERE verb = 'moved'", of: moved) == events)
    #expect(try lake.run(["doctor", "--moved", "--copied"]).ending == .exit(64))
    #expect(try lake.run(["doctor", "--shards", "x"]).ending == .exit(64))
  }

  /// A link inside the lake leads outside of it.
  @Test func aLinkedDirectoryIsOutside() throws {
    let lake = try LakeFixture.make(.synced)
    try FileManager.default.moveItem(atPath: lake.lake + "/shards", toPath: lake.shards)
    try FileManager.default.createSymbolicLink(atPath: lake.lake + "/shards", withDestinationPath: lake.shards)
    try lake.succeed(["sync"])
    #expect(try mark(lake.shards)["lake"] == lake.text("SELECT uuid FROM lake"))
    let copy = lake.directory.path + "/copy"
    try FileManager.default.copyItem(atPath: lake.lake, toPath: copy)
    #expect(try lake.run(["evict", "images", "--lake", copy]).errorText.contains("if this is a copy"))
    // The same lake by another path is the same lake.
    let link = lake.directory.path + "/link"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: lake.lake)
    try lake.succeed(["sync", "--lake", link])
  }

  @Test func aRebuiltCatalogIsTheSameLake() throws {
    let lake = try makeLake()
    let uuid = try lake.text("SELECT uuid FROM lake")
    for suffix in ["", "-wal", "-shm"] where Disk.size(of: lake.lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake.lake + "/catalog.sqlite" + suffix)
    }
    let copy = lake.directory.path + "/copy"
    try FileManager.default.copyItem(atPath: lake.lake, toPath: copy)
    let rebuild = ["rebuild-catalog", "--shards", lake.shards, "--artifacts", lake.artifacts]
    #expect(try lake.run(rebuild + ["--lake", copy]).errorText.contains("belongs to another lake, in \(lake.lake)"))
    try lake.succeed(rebuild)
    #expect(try lake.text("SELECT uuid FROM lake") == uuid)
    try lake.succeed(["sync"])
  }

  @Test func aMarkThatCannotBeReadIsSaid() throws {
    let lake = try makeLake(upTo: .synced)
    try Data("{".utf8).write(to: URL(fileURLWithPath: lake.shards + "/.tarn-owner"))
    let refused = try lake.run(["sync"])
    #expect(refused.ending == .exit(20))
    #expect(refused.errorText.contains("if it belongs to this lake alone, remove that file"))
    #expect(try lake.run(["doctor"]).outputText.contains("does not say which lake the directory belongs to"))
  }

  /// As while a volume is not mounted: nothing is written in its place, and nothing is forgotten.
  @Test(arguments: [true, false]) func aDirectoryThatIsNotThereIsNotMadeAnew(isEmpty: Bool) throws {
    let lake = try makeLake()
    for directory in [lake.shards, lake.artifacts] {
      try FileManager.default.moveItem(atPath: directory, toPath: directory + "-away")
      if isEmpty { try Disk.makeDirectory(directory) }
      for arguments in [["sync"], ["evict", "images"], ["gc", "--apply", "--grace", "0s"], ["verify", "--repair"]] {
        let refused = try lake.run(arguments)
        #expect(refused.ending == .exit(1), "\(arguments): \(refused.outputText)")
        #expect(refused.errorText.contains("`mkdir -p \(directory)`, then `tarn doctor --moved`"))
      }
      #expect(try lake.run(["doctor"]).outputText.contains("problem  \(directory) is "))
      let expected: [String]? = isEmpty ? [] : nil
      #expect((try? FileManager.default.contentsOfDirectory(atPath: directory)) == expected)
      if isEmpty { try FileManager.default.removeItem(atPath: directory) }
      try FileManager.default.moveItem(atPath: directory + "-away", toPath: directory)
    }
    try lake.succeed(["verify"])
    // One that is lost is made anew, as the hint says, and filled again.
    try FileManager.default.removeItem(atPath: lake.shards)
    try Disk.makeDirectory(lake.shards)
    #expect(try lake.run(["doctor", "--moved"]).ending == .exit(20))
    try lake.succeed(["sync"])
    try lake.succeed(["verify"])
  }

  // MARK: Crashes

  /// What writes marks.
  enum Marking: String, CaseIterable, CustomTestStringConvertible {
    case initialisation = "init"
    /// A command of a lake from before there were marks.
    case adoption
    case moved, copied

    var testDescription: String { rawValue }
  }

  /// Killed, or the disk full or broken, before each step; then the same again,
  /// which must end as if nothing had happened, with every file where it was.
  @Test(.tags(.slow), arguments: Marking.allCases, TestRounds.isFull ? StepFault.allCases : [.kill, .brokenDisk])
  func marksAreWholeWhateverStepFails(marking: Marking, fault: StepFault) throws {
    var step = 0
    while step < 100 {
      let (lake, root, arguments) = try disturbed(marking)
      let log = lake.directory.path + "/steps"
      let environment = ["TARN_FAULT": fault.plan(step: step + 1), "TARN_FAULT_LOG": log]
      let faulty = try lake.run(arguments, environment: environment)
      let steps = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
      guard steps.count > step else {
        #expect(faulty.ending == .exit(0), "\(faulty.errorText)")
        break
      }
      let place = "\(fault.plan(step: step + 1)), before '\(steps[step])'"
      #expect(fault.allows(faulty.ending), "\(place): \(faulty.ending) \(faulty.errorText)")
      step += 1
      let again = try lake.run(arguments)
      // A lake that has its name is there.
      let isThere = marking == .initialisation && again.errorText.contains("there is a lake in")
      #expect(again.ending == .exit(0) || isThere, "\(place): \(again.errorText)")
      let uuid = try text("SELECT uuid FROM lake", of: root)
      let directories = try text("SELECT shards_directory || ' ' || artifacts_directory FROM lake", of: root)
      let marks = try directories.split(separator: " ").map { try mark(String($0)) }
      #expect(marks.count == 2 && marks.allSatisfy { $0["lake"] == uuid && $0["root"] == root }, "\(place): \(marks)")
      #expect(try lake.run(["sync", "--lake", root]).ending == .exit(0), "\(place)")
      let left = try directories.split(separator: " ").flatMap {
        try FileManager.default.contentsOfDirectory(atPath: String($0)).filter { $0.hasSuffix(".tmp") }
      }
      #expect(left.isEmpty, "\(place): \(left)")
    }
    #expect((6..<100).contains(step))
  }

  /// A lake before a command that marks its directories, where it will be, and the command.
  private func disturbed(_ marking: Marking) throws -> (lake: LakeFixture, root: String, arguments: [String]) {
    let lake = try LakeFixture.nothing()
    let make = ["init", lake.lake, "--shards", lake.shards, "--artifacts", lake.artifacts]
    if marking == .initialisation { return (lake, lake.lake, make) }
    try lake.succeed(make)
    let other = lake.directory.path + "/other"
    switch marking {
    case .initialisation: break
    case .adoption:
      for directory in [lake.shards, lake.artifacts] {
        try FileManager.default.removeItem(atPath: directory + "/.tarn-owner")
      }
      return (lake, lake.lake, ["sync"])
    case .moved: try FileManager.default.moveItem(atPath: lake.lake, toPath: other)
    case .copied:
      for name in ["", "-shards", "-artifacts"] {
        try FileManager.default.copyItem(atPath: lake.lake + name, toPath: other + name)
      }
      let directories = ["--shards", other + "-shards", "--artifacts", other + "-artifacts"]
      return (lake, other, ["doctor", "--copied", "--lake", other] + directories)
    }
    return (lake, other, ["doctor", "--moved", "--lake", other])
  }
}

extension LakeFixture {
  /// Where lakes of these tests keep shards beside them.
  fileprivate var shards: String { lake + "-shards" }
  fileprivate var artifacts: String { lake + "-artifacts" }
}
