// Tiny lakes for the tests of the command line: sources of a few rows, over
// files and over HTTP, and what a lake holds in a form that can be compared.

import Base
import Catalog
import Features
import Foundation
import GRDB
import Synchronization
import Testing
import TestSupport

extension Tag {
  /// Takes more than a second.
  @Tag static var slow: Self
}

/// Feature files of unit rows, the same on every machine.
enum FeatureBytes {
  /// The bytes of a `.npy` file.
  static func npy(_ rowCount: Int, dimension: Int, _ elementType: ElementType = .float16, seed: UInt64) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    let rows = random.unitRows(rowCount, dimension: dimension)
    switch elementType {
    case .float16:
      return NpyHeader.bytes(descr: "<f2", rowCount: rowCount, columns: dimension)
        + rows.flatMap { value in littleEndian(Float16(value).bitPattern) }
    case .float32:
      return NpyHeader.bytes(descr: "<f4", rowCount: rowCount, columns: dimension)
        + rows.flatMap { value in littleEndian(value.bitPattern) }
    case .float64, .bfloat16, .uint8, .int8: preconditionFailure("no test asks for these")
    }
  }

  private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}

/// Two sources of paired rows: `images` on a web server, `captions` in a
/// directory.
final class FeatureSources: Sendable {
  static let dimension = 8
  static let shardCount = 2
  static let rowCount = 20

  let directory: LakeDirectory
  let server: HostileServer

  /// Makes the sources; `interfere` says what the server answers in place of a file.
  init(interfering interfere: @escaping @Sendable (HostileServer.Request) -> ScriptedAnswer? = { _ in nil }) throws {
    directory = try LakeDirectory()
    var images: [String: [UInt8]] = [:]
    for ordinal in 0..<Self.shardCount {
      images["/images/img_\(ordinal).npy"] = FeatureBytes.npy(
        Self.rowCount, dimension: Self.dimension, .float16, seed: UInt64(1 + ordinal))
    }
    let served = images
    server = try HostileServer { request in
      interfere(request) ?? served[request.target].map { .file($0, for: request) } ?? .answer(404)
    }
    try FileManager.default.createDirectory(atPath: directory.path + "/captions", withIntermediateDirectories: true)
    for ordinal in 0..<Self.shardCount {
      let bytes = FeatureBytes.npy(
        Self.rowCount, dimension: Self.dimension, .float32, seed: UInt64(101 + ordinal))
      try Data(bytes).write(to: URL(fileURLWithPath: "\(directory.path)/captions/txt_\(ordinal).npy"))
    }
  }
}

/// How far a lake is.
enum LakeStage: Int, CaseIterable {
  case empty, registered, synced, trained, built

  /// The arguments that lead from the stage before to this one.
  func arguments(_ sources: FeatureSources) -> [[String]] {
    let dimension = "\(FeatureSources.dimension)"
    switch self {
    case .empty: return []
    case .registered:
      return [
        [
          "source", "add", "images", "--url", sources.server.url("/images/img_{ordinal}.npy"), "--count",
          "\(FeatureSources.shardCount)", "--dimension", dimension,
        ],
        [
          "source", "add", "captions", "--directory", sources.directory.path + "/captions", "--dimension", dimension,
          "--dtype", "float32", "--modality", "text",
        ],
      ]
    case .synced: return [["sync", "--quiet"]]
    case .trained:
      return [
        [
          "train", "t", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2", "--quiet",
        ]
      ]
    case .built:
      return [["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1", "--quiet"]]
    }
  }
}

/// A directory of a test's own, in memory where the system offers that: these
/// tests are about the order of durable steps and not about the disk.
final class LakeDirectory: Sendable {
  let path: String

  init() throws {
    let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NSTemporaryDirectory()
    path = "\(parent)/tarn-test-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// A lake of a test's own.
final class LakeFixture: Sendable {
  let directory: LakeDirectory
  var lake: String { directory.path + "/lake" }

  private init(directory: LakeDirectory) { self.directory = directory }

  /// An empty directory, no lake yet.
  static func nothing() throws -> LakeFixture { LakeFixture(directory: try LakeDirectory()) }

  private struct Prototypes {
    var sources: FeatureSources?
    var lakes: [LakeStage: LakeFixture] = [:]
  }
  private static let prototypes = Mutex(Prototypes())

  /// The sources that every lake of these tests shares.
  static func sources() throws -> FeatureSources {
    try prototypes.withLock { prototypes in
      if let sources = prototypes.sources { return sources }
      let sources = try FeatureSources()
      prototypes.sources = sources
      // What is static is not released at the end, and its directories would stay.
      atexit { LakeFixture.prototypes.withLock { $0 = Prototypes() } }
      return sources
    }
  }

  /// A lake at a stage, copied from one that was brought there once.
  ///
  /// - Parameters:
  ///   - stage: How far it is.
  ///   - keepingLinks: Whether names of outputs are links to their artifacts, as where it was built.
  /// - Returns: The lake.
  /// - Throws: When a command that leads there fails.
  static func make(_ stage: LakeStage, keepingLinks: Bool = false) throws -> LakeFixture {
    let sources = try sources()
    return try prototypes.withLock { prototypes in
      for step in LakeStage.allCases where step.rawValue <= stage.rawValue && prototypes.lakes[step] == nil {
        guard let before = LakeStage(rawValue: step.rawValue - 1), let lake = prototypes.lakes[before] else {
          let lake = LakeFixture(directory: try LakeDirectory())
          try lake.succeed(["init", lake.lake])
          prototypes.lakes[step] = lake
          continue
        }
        let next = try lake.copy()
        for arguments in step.arguments(sources) { try next.succeed(arguments) }
        prototypes.lakes[step] = next
      }
      return try #require(prototypes.lakes[stage]).copy(keepingLinks: keepingLinks)
    }
  }

  private static let publication = Mutex<LakeDirectory?>(nil)

  /// A directory that the version of a lake that is built was pushed to.
  static func published() throws -> String {
    try publication.withLock { known in
      if let known { return known.path + "/published" }
      let directory = try LakeDirectory()
      try make(.built).succeed(["push", "v@1", directory.path + "/published", "--quiet"])
      known = directory
      atexit { LakeFixture.publication.withLock { $0 = nil } }
      return directory.path + "/published"
    }
  }

  /// The outputs of that version, as files that FAISS might have written.
  static func publishedOutputs() throws -> [String] {
    let directory = try published() + "/v@1"
    return try FileManager.default.contentsOfDirectory(atPath: directory).filter {
      $0.hasPrefix("v.") && $0.hasSuffix(".faiss")
    }
    .sorted().map { "\(directory)/\($0)" }
  }

  /// A lake whose last command was killed before its last commit.
  static func unfinished(_ stage: LakeStage) throws -> LakeFixture {
    let lake = try make(try #require(LakeStage(rawValue: stage.rawValue - 1)))
    try lake.kill(try #require(stage.arguments(sources()).first))
    return lake
  }

  /// Runs a command that is killed before its last commit.
  func kill(_ arguments: [String]) throws {
    let log = directory.path + "/all-steps"
    try #require(try copy().run(arguments, environment: ["TARN_FAULT_LOG": log]).ending == .exit(0))
    let steps = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
    let last = try #require(steps.last { $0.contains(" commit ") }).prefix { $0 != " " }
    try #require(try run(arguments, environment: ["TARN_FAULT": "kill@\(last)"]).ending == .signal(SIGKILL))
    try FileManager.default.removeItem(atPath: log)
  }

  /// A lake with the same bytes elsewhere.
  func copy() throws -> LakeFixture {
    let copy = LakeFixture(directory: try LakeDirectory())
    try FileManager.default.copyItem(atPath: lake, toPath: copy.lake)
    return copy
  }

  /// A lake with the same bytes elsewhere, in which two names of one file are
  /// two names of one file.
  func copy(keepingLinks: Bool) throws -> LakeFixture {
    guard keepingLinks else { return try copy() }
    let copy = LakeFixture(directory: try LakeDirectory())
    let process = try RunningProcess("/bin/cp", ["-a", lake, copy.lake], environment: ProcessRunner.environment)
    try #require(process.finish().ending == .exit(0))
    return copy
  }

  // MARK: Commands

  /// What tarn is told of this lake, of threads, and of the engine that starts
  /// soonest; by invariant 3 neither shows in any byte.
  private func environment(_ added: [String: String]) -> [String: String] {
    [
      "TARN_LAKE": lake, "TARN_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
      "TARN_ENGINE": "sgemm",
    ]
    .merging(added) { $1 }
  }

  /// A server that fails in a test fails for good, unless the test is of patience.
  private static func impatient(_ arguments: [String]) -> [String] {
    let isAsking = [["source", "probe"], ["source", "add"]].contains(Array(arguments.prefix(2)))
    let isMending = arguments.first == "verify" && arguments.contains("--repair")
    let isFetching =
      ["sync", "build"].contains(arguments.first) && !arguments.contains("--offline") || isAsking || isMending
    return isFetching && !arguments.contains("--patience") ? arguments + ["--patience", "0"] : arguments
  }

  /// Runs tarn on this lake.
  ///
  /// Whatever it says to do has to be there to be done.
  func run(_ arguments: [String], environment added: [String: String] = [:]) throws -> ProcessResult {
    let result = try ProcessRunner.run(Self.impatient(arguments), environment: environment(added))
    if let verb = try VerbOptions.verb(arguments), result.ending != .exit(0) {
      let unknown = try VerbOptions.unknown(in: result.errorText, saidBy: verb).filter { option in
        // What it was called with is told as it is.
        !arguments.contains { $0.hasPrefix(option) }
      }
      #expect(unknown.isEmpty, "tarn \(arguments.joined(separator: " ")) said \(result.errorText)")
    }
    return result
  }

  /// Runs tarn on this lake as ``OrdinaryUser``, whose it has to be to be written.
  func runOrdinarily(_ arguments: [String]) throws -> ProcessResult { try startOrdinarily(arguments).finish() }

  /// Starts tarn on this lake as ``OrdinaryUser``.
  func startOrdinarily(_ arguments: [String]) throws -> RunningProcess {
    let words = OrdinaryUser.prefix + [OrdinaryUser.tool] + Self.impatient(arguments)
    let variables = ProcessRunner.environment.merging(environment(["HOME": directory.path])) { $1 }
    return try RunningProcess(words[0], Array(words.dropFirst()), environment: variables)
  }

  /// Starts tarn on this lake.
  func start(_ arguments: [String], environment added: [String: String] = [:]) throws -> RunningProcess {
    try ProcessRunner.start(Self.impatient(arguments), environment: environment(added))
  }

  /// Runs tarn on this lake; it must succeed.
  @discardableResult
  func succeed(_ arguments: [String], location: SourceLocation = #_sourceLocation) throws -> ProcessResult {
    let result = try run(arguments)
    try #require(result.ending == .exit(0), "\(arguments): \(result.errorText)", sourceLocation: location)
    return result
  }

  // MARK: The catalog behind tarn's back

  /// Runs statements on the catalog behind its triggers: what no tarn would do.
  ///
  /// - Parameters:
  ///   - sql: The statements.
  ///   - recounting: Whether the totals follow, as they would by the triggers.
  /// - Throws: SQLite's error.
  func tamper(_ sql: String, recounting: Bool = true) throws {
    try Tampering.run(lake + "/catalog.sqlite", [sql] + (recounting ? TotalsTable.all.flatMap(\.recount) : []))
  }

  /// What a damaged page of a catalog holds.
  private static let damage = [UInt8](repeating: 0xA5, count: 4096)

  /// Overwrites the second page of the catalog.
  func damageCatalog() throws {
    for suffix in ["-wal", "-shm"] where Disk.size(of: lake + "/catalog.sqlite" + suffix) != nil {
      try FileManager.default.removeItem(atPath: lake + "/catalog.sqlite" + suffix)
    }
    let url = URL(fileURLWithPath: lake + "/catalog.sqlite")
    var bytes = try Data(contentsOf: url)
    bytes.replaceSubrange(4096..<8192, with: Self.damage)
    try bytes.write(to: url)
  }

  /// Whether a file of the lake's directory is the catalog that was damaged.
  func isDamaged(_ name: String) throws -> Bool {
    guard let bytes = FileManager.default.contents(atPath: "\(lake)/\(name)"), bytes.count >= 8192 else { return false }
    return bytes[4096..<8192].elementsEqual(Self.damage)
  }

  /// Drops the bytes of every image shard, as an eviction does.
  func evictImages() throws {
    let catalog = try LakeCatalog.open(root: lake, writing: "a test")
    for shard in try catalog.shards(of: catalog.source(named: "images")) { try catalog.evict(shard) }
  }

  /// One text from the catalog.
  func text(_ sql: String) throws -> String {
    let queue = try CatalogFile.open(lake + "/catalog.sqlite")
    defer { try? queue.close() }
    return try #require(try queue.read { try String.fetchOne($0, sql: sql) })
  }

  /// The texts of a query's first column.
  func texts(_ sql: String) throws -> [String] {
    let queue = try CatalogFile.open(lake + "/catalog.sqlite")
    defer { try? queue.close() }
    return try queue.read { try String.fetchAll($0, sql: sql) }
  }

  // MARK: Comparing

  /// Everything in the lake: each table row by row, each file with its digest.
  ///
  /// - Parameter lasting: Leaves out times, the records of events, of attempts,
  ///   of what mirrors were seen to have and of machines, the lake's name for
  ///   itself, and files that are no results: what two lakes with the same
  ///   results may differ in.
  /// - Returns: A line for each row and file, in order.
  /// - Throws: What SQLite or the file system says.
  func contents(lasting: Bool = false) throws -> [String] {
    try rows(lasting: lasting) + files(lasting: lasting)
  }

  private func rows(lasting: Bool) throws -> [String] {
    let queue = try CatalogFile.open(lake + "/catalog.sqlite")
    defer { try? queue.close() }
    return try queue.read { database in
      let tables = try String.fetchAll(
        database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
      let passing = [
        "event", "transfer", "command_run", "command_input", "shard_location", "reproduction", "sqlite_sequence",
      ]
      func isPassing(_ column: String) -> Bool { column.hasSuffix("_at") || ["environment", "uuid"].contains(column) }
      return try tables.filter { !lasting || !passing.contains($0) }.flatMap { table in
        try Row.fetchAll(database, sql: "SELECT * FROM \(table)").map { row in
          let columns = row.columnNames.filter { !lasting || !isPassing($0) }
          return "\(table): " + columns.map { "\($0)=\(row[$0] as DatabaseValue)" }.joined(separator: " ")
        }.sorted()
      }
    }
  }

  /// Every file below shards/, artifacts/ and versions/, with its digest.
  func files() throws -> [String] { try files(lasting: true) }

  private func files(lasting: Bool) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: lake).sorted().compactMap { path in
      let isResult =
        ["shards/", "artifacts/", "versions/"].contains(where: path.hasPrefix) && !path.hasPrefix("artifacts/.work/")
        && ![".tmp", ".part", ".resume", ".link"].contains(where: path.contains)
      // The catalog is compared by its rows, the lock by nobody.
      guard lasting ? isResult : !path.hasPrefix("catalog.sqlite") && path != "tarn.lock" else { return nil }
      guard Disk.size(of: "\(lake)/\(path)") != nil else { return nil }
      // That something was said of a version, and not when.
      if lasting, [".pinned", ".revoked"].contains(where: path.hasSuffix) { return path }
      return "\(path): \(try Disk.digest(of: "\(lake)/\(path)").hex)"
    }
  }
}
