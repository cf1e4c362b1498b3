// The process killed, or the disk full or broken, before each durable step of every
// command below; then the same command again, which must end with the bytes and rows
// of a run that nothing disturbed. As SQLite's own tests do.

import Base
import Catalog
import Foundation
import GRDB
import Synchronization
import Testing
import TestSupport

/// What happens at a step.
enum StepFault: String, CaseIterable, CustomTestStringConvertible {
  case kill = "kill@"
  case fullDisk = "ENOSPC@"
  case brokenDisk = "EIO@"
  case fullDiskFromThereOn = "ENOSPC@+"

  /// The text of `TARN_FAULT` for a step.
  func plan(step: Int) -> String {
    let plus = rawValue.hasSuffix("+")
    return (plus ? String(rawValue.dropLast()) : rawValue) + "\(step)" + (plus ? "+" : "")
  }

  /// How the command may end that met the fault, and otherwise ends with success; a single
  /// failure that it could do without may go unnoticed.
  func allows(_ ending: ProcessResult.Ending, success: ProcessResult.Ending = .exit(0)) -> Bool {
    switch self {
    case .kill: ending == .signal(SIGKILL)
    case .fullDisk: [.exit(28), success].contains(ending)
    case .fullDiskFromThereOn: ending == .exit(28)
    // 1 failure, 3 some shards failed.
    case .brokenDisk: [.exit(1), .exit(3), success].contains(ending)
    }
  }

  var testDescription: String { plan(step: 1).replacing("1", with: "N") }
}

/// A command that is disturbed.
enum DisturbedCommand: String, CaseIterable, CustomTestStringConvertible {
  case sync, train, build
  /// A sync whose shards are written by commands.
  case commandSync = "sync by commands"
  /// A build whose shards are not in the lake and fetched meanwhile.
  case fetchingBuild = "build that fetches"
  /// A training whose images are not in the lake and fetched meanwhile.
  case fetchingTrain = "train that fetches"
  /// A training that finds nearest images, and those of its router, in lists.
  case listingTrain = "train by lists"
  /// A training that goes on to refine its lists and to train a router.
  case routedTrain = "train with a router"
  /// The removal of a revoked version's files.
  case gc
  /// Of a build that died before its seal.
  case abandonBuild = "abandon a build"
  /// Of a training that died before it was ready.
  case abandonTraining = "abandon a training"
  /// Of files that two sources read, and of both sources.
  case sharedSync = "sync of shared files"
  case sharedEvict = "evict of shared files"
  case remove, rename
  case dropShards = "drop shards"
  /// Of a companion's two shards.
  case pack
  /// Of rows, and the build that rewrites the outputs that have them.
  case exclude
  case buildWithout = "build without excluded rows"
  /// Of rows that a companion's column names; the build that looks at a companion that came
  /// later; the pack that says nothing of excluded rows any more.
  case excludeByRule = "exclude by a rule"
  case buildByRule = "build that looks for a rule's rows"
  case packWithout = "pack without excluded rows"
  case backup
  /// Of a sealed version into a directory, and from there into an empty lake.
  case push, pull
  /// Into a lake that has another version of that name.
  case pullAs = "pull --as"
  /// Of a trained index and of files with rows that are no lake's any more.
  case adoptTrained = "adopt trained"
  case adoptVersion = "adopt version"
  /// A version written as tasks, one of those carried out, and the results taken in.
  case planBuild = "plan build"
  case worker, ingest
  /// A training's first search written as tasks, one of those carried out, the rows found
  /// taken in and the next search written, and the last rows found taken in.
  case planTrain = "plan train"
  case searchWorker = "worker of a search"
  case ingestRound = "ingest of a search"
  case ingestLastRound = "ingest of the last search"
  /// A command that writes, in a lake whose catalog is of an older schema.
  case migrationFromFirst = "migration from schema 1"
  case migrationFromSecond = "migration from schema 2"
  /// In a lake whose catalog has a damaged page, and that lost a trained index.
  case rebuild = "rebuild-catalog"

  private var stage: LakeStage {
    switch self {
    case .sync, .dropShards: .synced
    case .planTrain, .searchWorker, .ingestRound, .ingestLastRound: .trained
    case .planBuild, .worker, .ingest: .trained
    case .train, .fetchingTrain, .listingTrain, .routedTrain, .abandonTraining, .remove, .rename: .trained
    case .build, .fetchingBuild, .abandonBuild, .pack: .built
    case .pull, .sharedSync, .sharedEvict, .commandSync, .adoptTrained: .empty
    case .pullAs, .adoptVersion: .trained
    case .exclude, .buildWithout, .excludeByRule, .buildByRule, .packWithout: .built
    case .gc, .backup, .push, .migrationFromFirst, .migrationFromSecond, .rebuild: .built
    }
  }

  /// The lake before the command.
  func lake() throws -> LakeFixture {
    switch self {
    case .gc:
      let lake = try LakeFixture.make(.built)
      try lake.succeed(["revoke", "v@1", "--reason", "no longer wanted"])
      return lake
    case .backup:
      let lake = try LakeFixture.make(.built)
      try lake.succeed(["backup", lake.lake + "/backup.sqlite"])
      return lake
    case .migrationFromFirst, .migrationFromSecond:
      let lake = try LakeFixture.make(.built)
      try OldCatalog.age(lake.lake, toSchema: self == .migrationFromFirst ? 1 : 2)
      return lake
    case .rebuild:
      let lake = try LakeFixture.make(.built)
      try lake.damageCatalog()
      // Taken from an output again, before the catalog has its name.
      try FileManager.default.removeItem(atPath: lake.lake + "/artifacts/trained")
      return lake
    case .abandonBuild, .abandonTraining: return try LakeFixture.unfinished(stage)
    case .planBuild, .worker, .ingest:
      let lake = try LakeFixture.make(.trained)
      // Workers that fetch, and results of shards that nobody here has seen.
      try PlannedLake.addUnseen(to: lake)
      guard self != .planBuild else { return lake }
      for arguments in [Self.planBuild.arguments(in:), Self.worker.arguments(in:)].prefix(self == .worker ? 1 : 2) {
        try lake.succeed(arguments(lake))
      }
      if self == .ingest { try lake.succeed(Self.secondWorker(in: lake)) }
      return lake
    case .planTrain: return try LakeFixture.make(.synced)
    case .searchWorker, .ingestRound, .ingestLastRound:
      var lake = try LakeFixture.make(.synced)
      try lake.succeed(Self.planTrain.arguments(in: lake))
      guard self != .searchWorker else { return lake }
      for number in 0..<20 {
        try lake.succeed(Self.worker.arguments(in: lake, task: number))
        let before = try lake.copy()
        let ingested = try lake.run(Self.ingest.arguments(in: lake))
        if ingested.ending == (self == .ingestRound ? .exit(3) : .exit(0)) { return before }
        lake = try before.copy()
        try #require(lake.run(Self.ingest.arguments(in: lake)).ending == .exit(3))
      }
      throw TarnError(.refused, "the training has more rounds than it can have")
    case .pack:
      let lake = try LakeFixture.make(.built)
      try Disk.makeDirectory(lake.directory.path + "/meta")
      for ordinal in 0..<FeatureSources.shardCount {
        try Disk.writeAtomically(
          Array(CompanionTests.lines(ordinal).utf8), to: "\(lake.directory.path)/meta/m_\(ordinal).jsonl")
      }
      try lake.succeed([
        "source", "add", "meta", "--companion-of", "images", "--directory", lake.directory.path + "/meta",
      ])
      try lake.succeed(["sync", "meta", "--quiet"])
      return lake
    case .excludeByRule: return try Self.pack.lake()
    case .buildByRule:
      let lake = try Self.pack.lake()
      try lake.evict("meta", [0, 1])
      try lake.succeed(Self.excludeByRule.arguments(in: lake))
      try lake.succeed(["sync", "meta", "--quiet"])
      return lake
    case .packWithout:
      let lake = try Self.pack.lake()
      try lake.succeed(Self.pack.arguments(in: lake))
      try lake.succeed(Self.excludeByRule.arguments(in: lake))
      return lake
    case .exclude: return try LakeFixture.make(.built)
    case .buildWithout:
      let lake = try LakeFixture.make(.built)
      try lake.succeed(Self.exclude.arguments(in: lake))
      try lake.evictImages()
      return lake
    case .remove, .rename: return try LakeFixture.make(.trained)
    case .dropShards: return try LakeFixture.make(.synced)
    case .push: return try LakeFixture.make(.built)
    case .pullAs:
      let lake = try LakeFixture.make(.trained)
      try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2"])
      return lake
    case .pull, .adoptTrained: return try LakeFixture.make(.empty)
    case .adoptVersion: return try LakeFixture.make(.trained)
    case .commandSync:
      let lake = try LakeFixture.make(.empty)
      let captions = try LakeFixture.sources().directory.path + "/captions/txt_{ordinal}.npy"
      try lake.succeed([
        "source", "add", "computed", "--url", "command:cp {input} {output}", "--input", captions, "--count", "2",
        "--shard-names", "made_{ordinal}.npy", "--dimension", "\(FeatureSources.dimension)", "--dtype", "float32",
      ])
      return lake
    case .sharedSync: return try ArraySources.lake()
    case .sharedEvict:
      let lake = try ArraySources.lake()
      try lake.succeed(Self.sharedSync.arguments(in: lake))
      return lake
    case .sync, .train, .fetchingTrain, .listingTrain, .routedTrain, .build, .fetchingBuild: break
    }
    let lake = try LakeFixture.make(try #require(LakeStage(rawValue: stage.rawValue - 1)))
    if self == .fetchingBuild || self == .fetchingTrain { try lake.evictImages() }
    return lake
  }

  /// How it ends that nothing disturbs.
  var success: ProcessResult.Ending { self == .ingestRound ? .exit(3) : .exit(0) }

  private func arguments(in lake: LakeFixture, task: Int) throws -> [String] {
    var arguments = try arguments(in: lake)
    if let place = arguments.firstIndex(of: "--task") { arguments[place + 1] = "\(task)" }
    return arguments
  }

  func arguments(in lake: LakeFixture) throws -> [String] {
    switch self {
    // One at a time: steps have an order then.
    case .commandSync: return ["sync", "--allow-commands", "--jobs", "1", "--quiet"]
    case .planTrain:
      return try ["plan"] + Self.train.arguments(in: lake) + ["--tasks", lake.lake + "/tasks"]
    case .searchWorker: return try Self.worker.arguments(in: lake)
    case .ingestRound, .ingestLastRound: return try Self.ingest.arguments(in: lake)
    case .gc: return ["gc", "--apply", "--segments", "--grace", "0s", "--quiet"]
    case .abandonBuild: return ["abandon", "v@1"]
    case .abandonTraining: return ["abandon", "t"]
    case .remove: return ["remove", "t"]
    case .sharedSync: return ["sync", "texts", "images", "--quiet"]
    case .sharedEvict: return ["evict", "texts"]
    case .rename: return ["rename", "t", "u"]
    case .pack, .packWithout: return ["pack", "meta", "--quiet"]
    case .excludeByRule:
      let values = lake.directory.path + "/values"
      try "https://h/0/1\nhttps://h/1/2\n".write(toFile: values, atomically: true, encoding: .utf8)
      return ["exclude", "images", "--match", "meta.url", "--values", values, "--reason", "a test"]
    case .dropShards: return ["source", "drop-shards", "images", "--shards", "0"]
    case .exclude:
      let ids = lake.directory.path + "/ids"
      try "1\n\(FeatureSources.rowCount + 2)\n".write(toFile: ids, atomically: true, encoding: .utf8)
      return ["exclude", "images", "--ids", ids, "--reason", "a test"]
    case .buildWithout, .buildByRule:
      return ["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1", "--quiet"]
    case .backup: return ["backup", lake.lake + "/backup.sqlite"]
    case .push: return ["push", "v@1", published(by: lake), "--quiet", "--jobs", "1"]
    case .pull: return ["pull", try LakeFixture.published(), "--quiet", "--jobs", "1", "--patience", "0"]
    case .pullAs:
      return [
        "pull", try LakeFixture.published(), "--as", "theirs", "--quiet", "--jobs", "1", "--patience", "0",
      ]
    case .adoptTrained:
      return ["adopt", "trained", "a", try LakeFixture.published() + "/v@1/trained.faiss", "--quiet"]
    case .adoptVersion:
      let files = try LakeFixture.publishedOutputs()
      return ["adopt", "version", "a"] + files + ["--trained", "t", "--source", "images", "--quiet"]
    case .planBuild:
      return ["plan", "build"] + PlannedLake.arguments + ["--tasks", lake.lake + "/tasks", "--quiet"]
    case .worker:
      return [
        "worker", lake.lake + "/tasks", "--task", "0", "--scratch", lake.directory.path, "--patience", "0", "--quiet",
      ]
    case .ingest: return ["ingest", lake.lake + "/tasks", "--quiet"]
    case .migrationFromFirst, .migrationFromSecond: return ["pin", "v@1", "--reason", "a test"]
    case .rebuild: return ["rebuild-catalog", "--quiet"]
    case .fetchingTrain:
      return try #require(stage.arguments(LakeFixture.sources()).first)
        + ["--fetch", "--patience", "0", "--bad-rows", "skip"]
    case .listingTrain:
      let training = try #require(stage.arguments(LakeFixture.sources()).first)
      return training + ["--nearest", "index:1", "--router", "caption-mean", "--refinements", "1"]
    case .routedTrain:
      let training = try #require(stage.arguments(LakeFixture.sources()).first)
      return training + ["--router", "learned", "--router-epochs", "2", "--refinements", "2"]
    case .sync, .train, .build, .fetchingBuild: return try #require(stage.arguments(LakeFixture.sources()).first)
    }
  }

  private func published(by lake: LakeFixture) -> String { lake.directory.path + "/published" }

  /// What it leaves outside the lake: each file with its digest.
  func publication(by lake: LakeFixture) throws -> [String] {
    guard self == .push else { return [] }
    let directory = published(by: lake)
    return try FileManager.default.subpathsOfDirectory(atPath: directory).sorted().compactMap { path in
      Disk.size(of: "\(directory)/\(path)") == nil ? nil : "\(path): \(try Disk.digest(of: "\(directory)/\(path)").hex)"
    }
  }

  private static func secondWorker(in lake: LakeFixture) throws -> [String] {
    try Self.worker.arguments(in: lake, task: 1)
  }

  /// What shows whether it did what it was to do, once it has succeeded.
  func afterwards(in lake: LakeFixture) throws -> [[String]] {
    switch self {
    case .planBuild:
      [try Self.worker.arguments(in: lake), try Self.secondWorker(in: lake), try Self.ingest.arguments(in: lake)]
    // The rounds that are left, by workers that find what is there.
    case .planTrain, .searchWorker, .ingestRound:
      [try Self.train.arguments(in: lake) + ["--executor", "local:1", "--tasks", lake.lake + "/tasks"]]
    case .worker: [try Self.secondWorker(in: lake), try Self.ingest.arguments(in: lake)]
    default: []
    }
  }

  /// The fewest steps that it has.
  var leastSteps: Int {
    switch self {
    case .abandonTraining, .remove, .rename, .dropShards, .exclude: 1
    case .abandonBuild, .backup, .adoptTrained, .sharedEvict: 3
    case .excludeByRule: 2
    case .searchWorker, .buildWithout, .buildByRule, .pack, .packWithout: 5
    case .migrationFromFirst, .migrationFromSecond, .rebuild: 5
    case .sync, .commandSync, .train, .fetchingTrain, .listingTrain, .routedTrain, .build, .fetchingBuild, .gc, .push,
      .pull, .pullAs,
      .adoptVersion, .sharedSync, .planBuild, .worker, .ingest, .planTrain, .ingestRound, .ingestLastRound:
      10
    }
  }

  /// Copies of the catalog that must be whole whenever they are there.
  func copies(in lake: LakeFixture) -> [String] {
    switch self {
    case .backup: [lake.lake + "/backup.sqlite"]
    case .migrationFromFirst: [lake.lake + "/catalog.sqlite.backup-schema1"]
    case .migrationFromSecond: [lake.lake + "/catalog.sqlite.backup-schema2"]
    case .sync, .commandSync, .train, .fetchingTrain, .listingTrain, .routedTrain, .build, .fetchingBuild, .gc,
      .rebuild,
      .abandonBuild, .abandonTraining, .remove, .rename, .dropShards, .exclude, .buildWithout, .excludeByRule,
      .buildByRule,
      .pack, .packWithout, .push, .pull,
      .pullAs, .adoptTrained, .adoptVersion, .sharedSync, .sharedEvict, .planBuild, .worker, .ingest, .planTrain,
      .searchWorker,
      .ingestRound, .ingestLastRound:
      []
    }
  }

  /// Whether the lake has no catalog that can be asked until it has succeeded.
  var makesTheCatalog: Bool { self == .rebuild }

  var testDescription: String { rawValue }
}

@Suite(.tags(.slow)) struct CrashLoopTests {
  /// More steps than any of these commands has.
  private static let stepLimit = 1000

  /// How far apart the steps are that a fault is tried at, and which is first.
  ///
  /// All with `make test-full`, and of short commands always. Otherwise every fourth is killed
  /// at and every twelfth has another fault, and each command and fault begins elsewhere.
  private static func stride(_ command: DisturbedCommand, _ fault: StepFault) -> (first: Int, width: Int) {
    guard !TestRounds.isFull, command.leastSteps > 3 else { return (0, 1) }
    let width = fault == .kill ? 4 : 12
    let number =
      (DisturbedCommand.allCases.firstIndex(of: command) ?? 0) + 2 * (StepFault.allCases.firstIndex(of: fault) ?? 0)
    return (number % min(width, command.leastSteps), width)
  }

  /// The lake before a command, and what is in it after one that nothing disturbed.
  private struct Undisturbed: Sendable {
    let before: LakeFixture
    let expected: [String]

    init(_ command: DisturbedCommand) throws {
      before = try command.lake()
      let undisturbed = try before.copy()
      let whole = try undisturbed.run(command.arguments(in: undisturbed))
      try #require(whole.ending == command.success, "\(whole.errorText)")
      for arguments in try command.afterwards(in: undisturbed) { try undisturbed.succeed(arguments) }
      expected = try undisturbed.contents(lasting: true) + command.publication(by: undisturbed)
    }

    private static let known = Mutex<[DisturbedCommand: (made: Undisturbed, uses: Int)]>([:])

    /// What is static is not released at the end, and where not every fault is tried directories would stay.
    private static let isLetGo: Void = {
      atexit { Undisturbed.known.withLock { $0 = [:] } }
    }()

    /// Made once for all faults of a command, and let go with the last of them.
    static func of(_ command: DisturbedCommand) throws -> Undisturbed {
      isLetGo
      return try known.withLock { known in
        if let (made, uses) = known[command] {
          known[command] = uses + 1 < StepFault.allCases.count ? (made, uses + 1) : nil
          return made
        }
        let made = try Undisturbed(command)
        known[command] = (made, 1)
        return made
      }
    }
  }

  @Test(arguments: DisturbedCommand.allCases, StepFault.allCases)
  func endsWithTheSameBytesWhateverStepFails(command: DisturbedCommand, fault: StepFault) throws {
    let undisturbed = try Undisturbed.of(command)
    let (before, expected) = (undisturbed.before, undisturbed.expected)
    var violations: [String] = []
    let (first, width) = Self.stride(command, fault)
    var step = first
    var tried = 0
    while step < Self.stepLimit {
      let lake = try before.copy()
      let arguments = try command.arguments(in: lake)
      let log = lake.directory.path + "/steps"
      let plan = fault.plan(step: step + 1)
      let faulty = try lake.run(arguments, environment: ["TARN_FAULT": plan, "TARN_FAULT_LOG": log])
      let logged = try? String(contentsOfFile: log, encoding: .utf8)
      let stepsDone = try #require(
        logged, "\(plan): no step was come to, and it ended with \(faulty.ending): \(faulty.errorText)"
      ).split(separator: "\n")
      guard stepsDone.count > step else {
        #expect(faulty.ending == command.success, "a run without its fault failed: \(faulty.errorText)")
        break
      }
      let place = "\(plan), before '\(stepsDone[step])'"
      step += width
      tried += 1
      violations += try violationsAfter(faulty, fault, in: lake, command).map { "\(place): \($0)" }
      violations += try damagedCopies(command, in: lake).map { "\(place): \($0)" }
      let again = try lake.run(arguments)
      // A catalog that has its name already is good, and stays.
      let isThereAlready = command.makesTheCatalog && again.errorText.contains("is whole and stays as it is")
      if again.ending != command.success && !isThereAlready {
        violations.append("\(place): the next run ended with \(again.ending): \(again.errorText)")
      } else {
        for arguments in try command.afterwards(in: lake) { try lake.succeed(arguments) }
        let found = try lake.contents(lasting: true) + command.publication(by: lake)
        violations += found.difference(from: expected).map { "\(place): \($0)" }
        let missing = command.copies(in: lake).filter { Disk.size(of: $0) == nil }
        violations += missing.map { "\(place): \($0) is not there in the end" }
        violations += try damagedCopies(command, in: lake).map { "\(place), in the end: \($0)" }
        // What the dead one held is settled, and nothing is held in the end.
        let held = try FileManager.default.contentsOfDirectory(atPath: lake.lake + "/leases")
        if !held.isEmpty { violations.append("\(place): leases \(held) are left") }
      }
    }
    print(
      "crash loop: \(command.rawValue), \(fault.testDescription), steps tried \(tried), violations \(violations.count)")
    #expect(violations.isEmpty, "\(violations.prefix(5).joined(separator: "\n"))")
    #expect((command.leastSteps..<Self.stepLimit).contains(step))
  }

  /// Copies of the catalog that are there and not whole.
  private func damagedCopies(_ command: DisturbedCommand, in lake: LakeFixture) throws -> [String] {
    try command.copies(in: lake).filter { Disk.size(of: $0) != nil }.compactMap { path in
      let queue = try CatalogFile.open(path)
      defer { try? queue.close() }
      return try queue.read { database in
        let isWhole = try String.fetchAll(database, sql: "PRAGMA integrity_check") == ["ok"]
        let inputs = try Int.fetchOne(database, sql: "SELECT count(*) FROM version_input")
        return isWhole && inputs == FeatureSources.shardCount ? nil : "\(path) is no whole copy"
      }
    }
  }

  /// What is wrong right after the fault.
  private func violationsAfter(
    _ faulty: ProcessResult, _ fault: StepFault, in lake: LakeFixture, _ command: DisturbedCommand
  ) throws -> [String] {
    var violations: [String] = []
    // A pin holds without its file, and that is told.
    let isWithoutMark = faulty.ending == command.success && faulty.errorText.contains("v.pinned.tmp")
    if !fault.allows(faulty.ending, success: command.success), !isWithoutMark {
      violations.append("ended with \(faulty.ending): \(faulty.errorText)")
    }
    if case .exit(let status) = faulty.ending, status != 0, faulty.ending != command.success {
      let isClear = faulty.errorLines.allSatisfy { $0.hasPrefix("tarn: ") && !$0.contains("Error(") }
      if faulty.errorLines.isEmpty || !isClear { violations.append("said '\(faulty.errorText)'") }
    }
    if command.makesTheCatalog {
      // The damaged one is kept, under its own name or beside it.
      let kept = try ["catalog.sqlite", "catalog.sqlite.damaged-1"].filter { try lake.isDamaged($0) }
      if kept.count != 1 { violations.append("damaged catalogs kept: \(kept)") }
      if kept == ["catalog.sqlite"] || Disk.size(of: lake.lake + "/catalog.sqlite") == nil { return violations }
    }
    let schema = try lake.text("SELECT CAST(user_version AS TEXT) FROM pragma_user_version")
    if schema != "\(LakeCatalog.schemaNumber)" {
      // Not migrated: whole as it was, and who reads it is told what migrates it.
      let doctor = try lake.run(["doctor", "--quiet"])
      let isTold = doctor.ending == .exit(12) && doctor.errorText.contains("tarn schema --migrate")
      if !isTold { violations.append("doctor of a catalog of schema \(schema): \(doctor.errorText)") }
      if try lake.text("PRAGMA integrity_check") != "ok" {
        violations.append("the catalog of schema \(schema) is damaged")
      }
      return violations
    }
    if fault == .kill {
      let doctor = try lake.run(["doctor", "--quiet"])
      if doctor.ending != .exit(0) { violations.append("doctor: \(doctor.outputText)") }
    } else {
      let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
      let problems = try LakeExamination(catalog).findings().filter { $0.level == .problem }
      violations += problems.map { "doctor: \($0.what)" }
    }
    if let broken = try LakeCatalog.open(root: lake.lake, writing: nil).firstBrokenEvent() {
      violations.append("event \(broken) breaks the chain")
    }
    return violations
  }
}
