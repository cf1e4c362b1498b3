// Tasks that lie in an object store: no directory is shared, and whatever the store does,
// the version is that of one machine.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Logging
import Synchronization
import Testing
import TestSupport

/// A lake whose version of two outputs is made by workers that share a store alone.
struct StoredLake {
  static let place = "s3://bucket/some/tasks"
  static let prefix = "some/tasks/"

  let lake: LakeFixture
  let store: FakeStore

  /// A lake with its plan.
  init(_ options: [String] = ["--tasks", place]) throws {
    lake = try LakeFixture.make(.trained)
    store = try FakeStore()
    try PlannedLake.addUnseen(to: lake)
    try succeed(["plan", "build"] + PlannedLake.arguments + options)
  }

  func run(_ arguments: [String], environment: [String: String] = [:]) throws -> ProcessResult {
    try lake.run(arguments, environment: store.environment.merging(environment) { $1 })
  }

  @discardableResult
  func succeed(_ arguments: [String], location: SourceLocation = #_sourceLocation) throws -> ProcessResult {
    let result = try run(arguments)
    try #require(result.ending == .exit(0), "\(arguments): \(result.errorText)", sourceLocation: location)
    return result
  }

  /// A host's own directory.
  func host(_ name: String) throws -> String {
    let path = "\(lake.directory.path)/\(name)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  /// Carries a task out on a host.
  @discardableResult
  func work(_ number: Int, on name: String = "host", at place: String = place, exits status: Int32 = 0) throws
    -> ProcessResult
  {
    let host = try host(name)
    let result = try run([
      "worker", place, "--task", "\(number)", "--scratch", host, "--cache", host, "--patience", "0", "--quiet",
    ])
    #expect(result.ending == .exit(status), "\(result.errorText)")
    return result
  }

  func ingest(_ place: String = place) throws -> (ending: ProcessResult.Ending, answer: JSONValue, errors: String) {
    let result = try run(["ingest", place, "--json", "--patience", "0"])
    let line = result.outputText.split(separator: "\n").first.map(String.init) ?? ""
    return (result.ending, JSONValue(parsing: line) ?? .null, result.errorText)
  }

  /// The names of objects in a folder.
  func names(_ folder: String, prefix: String = prefix) -> [String] {
    store.objects.keys.filter { $0.hasPrefix("\(prefix)\(folder)/") }.sorted()
  }

  func sealedDigest() throws -> String {
    try lake.text("SELECT coalesce(version_sha256, state) FROM index_version WHERE name = 'v'")
  }

  /// How a worker in this process asks: it tries once, and does not wait.
  func configuration(partByteCount: Int = 64 << 20) -> FetchConfiguration {
    var fetch = FetchConfiguration()
    fetch.proxy = ""
    fetch.jobs = 1
    fetch.supplyInterval = .milliseconds(1)
    fetch.backoff.base = .milliseconds(1)
    fetch.backoff.cap = .milliseconds(1)
    fetch.attemptsPerMirror = 1
    fetch.storePartByteCount = partByteCount
    fetch.s3 = S3Settings(environment: store.environment)
    return fetch
  }

  /// Carries a task out in this process.
  func work(_ number: Int, in directory: String, _ fetch: FetchConfiguration) async throws -> TaskReceipt {
    let access = StoreAccess(fetch, patience: .zero, cache: directory, cancellation: Cancellation())
    let worker = TaskWorker(
      number, of: try TaskDirectory.open(Self.place, access),
      WorkerOptions(supply: SupplyOptions(fetch: fetch, patience: .zero), scratch: directory, tool: "tarn"),
      logger: Logger(label: "test"), cancellation: Cancellation()
    ) { _ in }
    return try await worker.run().receipt
  }
}

@Suite(.tags(.slow)) struct StoredTaskTests {
  @Test(arguments: [true, false]) func aStoreIsAllThatWorkersShare(knowsConditions: Bool) throws {
    let stored = try StoredLake()
    if !knowsConditions { stored.store.forgetConditions() }
    let lines = String(decoding: try #require(stored.store.objects[StoredLake.prefix + "run.txt"]), as: UTF8.self)
      .split(separator: "\n")
    #expect(lines.count == 2 && lines[1].hasSuffix("worker \(StoredLake.place) --task 1"), "\(lines)")
    try stored.work(0, on: "a")
    try stored.work(1, on: "b")
    #expect(stored.names("results").count == 2 && stored.names("receipts").count == 2)
    // Nothing is left but what the next worker of the host would fetch again.
    for name in ["a", "b"] {
      let left = try FileManager.default.subpathsOfDirectory(atPath: stored.host(name)).filter { $0.contains(".") }
      #expect(left.allSatisfy { $0.hasPrefix("tarn-\(getuid())-cache/") }, "\(left)")
    }
    let (ending, answer, errors) = try stored.ingest()
    #expect(ending == .exit(0), "\(errors)")
    #expect(answer["sha256"]?.string == (try PlannedLake.digest()))
    #expect(stored.names("results").isEmpty && stored.names("receipts").count == 2)
    try stored.lake.succeed(["verify", "--quiet"])
    // Done is done.
    #expect(try stored.work(0, on: "a").outputText.contains("was done before"))
    #expect(try stored.ingest().ending == .exit(0))
  }

  @Test func theTrainedIndexComesOnceToAHost() throws {
    let stored = try StoredLake()
    stored.store.fail()
    // All at once: one fetches, the others wait for it.
    let host = try stored.host("host")
    let workers = try [0, 1, 0].map { number in
      try stored.lake.start(
        ["worker", StoredLake.place, "--task", "\(number)", "--scratch", host, "--cache", host, "--quiet"],
        environment: stored.store.environment)
    }
    for worker in workers {
      let result = worker.finish()
      #expect(result.ending == .exit(0), "\(result.errorText)")
    }
    let asked = stored.store.requests.filter { $0.hasPrefix("GET") && $0.contains("/trained/") }
    #expect(asked.count == 1, "\(asked)")
    // What this machine's disk has changed is fetched again.
    let cache = "\(try stored.host("host"))/tarn-\(getuid())-cache"
    let name = try #require(try FileManager.default.contentsOfDirectory(atPath: cache).first { $0.hasSuffix(".faiss") })
    var bytes = try Disk.contents(of: "\(cache)/\(name)")
    bytes[bytes.count - 1] ^= 1
    try Data(bytes).write(to: URL(fileURLWithPath: "\(cache)/\(name)"))
    for key in stored.names("receipts") { stored.store.set(key, nil) }
    try stored.work(0)
    #expect(try Disk.digest(of: "\(cache)/\(name)").hex == name.prefix(64))
    try stored.work(1)
    #expect(try stored.ingest().ending == .exit(0))
    #expect(try stored.sealedDigest() == PlannedLake.digest())
  }

  /// Of two files that are read together the one that this machine's disk has changed is fetched again, alone.
  @Test func aDamagedCopyCostsNoOther() throws {
    let stored = try StoredLake()
    let host = try stored.host("host")
    let access = StoreAccess(stored.configuration(), patience: .zero, cache: host, cancellation: Cancellation())
    let tasks = try TaskDirectory.open(StoredLake.place, access)
    func share(_ bytes: [UInt8]) throws -> ContentDigest {
      try Data(bytes).write(to: URL(fileURLWithPath: host + "/matrix"))
      try tasks.share(matrix: host + "/matrix", .of(bytes))
      return .of(bytes)
    }
    let (rows, vectors) = (try share([1, 2, 3]), try share([4, 5, 6]))
    var searches = 0
    func search() throws {
      try tasks.readingMatrix(rows) { rowsPath in
        try tasks.readingMatrix(vectors) { vectorsPath in
          searches += 1
          guard try Disk.digest(of: rowsPath) == rows, try Disk.digest(of: vectorsPath) == vectors else {
            throw TarnError(.integrity, "one has other bytes")
          }
        }
      }
    }
    func fetches(_ digest: ContentDigest) -> Int {
      stored.store.requests.count { $0.hasPrefix("GET") && $0.contains(digest.hex) }
    }
    // What was shared may have been read back.
    let before = (rows: fetches(rows), vectors: fetches(vectors))
    try search()
    #expect(searches == 1 && fetches(rows) == before.rows + 1 && fetches(vectors) == before.vectors + 1)
    for (damaged, count) in [(rows, 3), (vectors, 5)] {
      try Data([9]).write(to: URL(fileURLWithPath: "\(host)/tarn-\(getuid())-cache/\(damaged.hex).npy"))
      try search()
      #expect(searches == count)
    }
    #expect(fetches(rows) == before.rows + 2 && fetches(vectors) == before.vectors + 2)
  }

  @Test func resultsAloneMayLieInAStore() throws {
    let directory = try LakeDirectory()
    let tasks = directory.path + "/tasks"
    let stored = try StoredLake(["--tasks", tasks, "--results", "s3://bucket/made/"])
    let lines = try String(contentsOfFile: tasks + "/run.txt", encoding: .utf8).split(separator: "\n")
    #expect(lines.count == 2 && lines[0].hasSuffix("worker . --task 0"), "\(lines)")
    #expect(stored.store.objects.isEmpty)
    // The plan says it, and another place is another plan.
    let other = try stored.run(
      ["plan", "build"] + PlannedLake.arguments + ["--tasks", tasks, "--results", "s3://bucket/other"])
    #expect(other.ending == .exit(64), "\(other.errorText)")
    try stored.work(0, at: tasks)
    #expect(try stored.ingest(tasks).ending == .exit(3))
    let again = try stored.succeed(["plan", "--again", tasks, "--json"])
    #expect(again.outputText.contains("\"again\":[1]"), "\(again.outputText)")
    try stored.work(1, at: tasks)
    #expect(stored.names("receipts", prefix: "made/").count == 2)
    for folder in ["results", "receipts"] {
      #expect(!FileManager.default.fileExists(atPath: "\(tasks)/\(folder)"))
    }
    #expect(try stored.ingest(tasks).ending == .exit(0))
    #expect(try stored.sealedDigest() == PlannedLake.digest())
  }

  @Test func anEngineFollowsReceiptsInAStore() throws {
    let directory = try LakeDirectory()
    let tasks = directory.path + "/tasks"
    let stored = try StoredLake(["--tasks", tasks, "--results", "s3://bucket/made"])
    try stored.succeed(["build"] + PlannedLake.arguments + ["--executor", "local:2", "--tasks", tasks, "--quiet"])
    #expect(try stored.sealedDigest() == PlannedLake.digest())
    #expect(stored.names("receipts", prefix: "made/").count == 2)
  }

  @Test func whatMayNotBe() throws {
    let stored = try StoredLake()
    for place in ["s3://", "s3://bucket/a?b", "s3://bucket/a%20b", "s3://bucket/a b"] {
      #expect(try stored.run(["worker", place, "--task", "0"]).ending == .exit(64), "\(place)")
    }
    for verb in ["build", "train"] {
      let more = verb == "build" ? PlannedLake.arguments : ["w", "--images", "images", "--nlist", "3"]
      let result = try stored.run([verb] + more + ["--executor", "local:1", "--tasks", StoredLake.place])
      #expect(result.ending == .exit(64) && result.errorText.contains("run.txt"), "\(result.errorText)")
    }
    let planned = try stored.run(
      ["plan", "build"] + PlannedLake.arguments + ["--tasks", StoredLake.place, "--results", "/tmp/results"])
    #expect(planned.ending == .exit(64), "\(planned.errorText)")
    #expect(try stored.run(["worker", "s3://bucket/other", "--task", "0"]).errorText.contains("no plan of tasks"))
    #expect(try stored.work(2, exits: 64).errorText.contains("no task 2"))
  }

  @Test func whatIsWrongInAStoreIsRefusedByName() throws {
    let stored = try StoredLake()
    try stored.work(0)
    try stored.work(1)
    // A receipt that is cut, and a result that is changed, whose writer says that it is not.
    let receipt = try #require(stored.names("receipts").first)
    stored.store.set(receipt, Array(try #require(stored.store.objects[receipt]).dropLast(9)))
    let (ending, answer, errors) = try stored.ingest()
    #expect(ending == .exit(20), "\(errors)")
    #expect(answer["refused"]?.elements.first?["reason"]?.string?.contains("is cut or changed") == true)
    #expect(answer["recorded"]?.elements == [.integer(1)])
    #expect(stored.names("receipts").count == 1 && stored.names("refused").count == 1)
    let result = try #require(stored.names("results").first)
    var bytes = try #require(stored.store.objects[result])
    bytes[bytes.count - 1] ^= 1
    try stored.work(0)
    stored.store.set(result, bytes, digest: String(result.split(separator: ".")[1]))
    let second = try stored.ingest()
    #expect(second.ending == .exit(20), "\(second.errors)")
    #expect(second.answer["refused"]?.elements.first?["reason"]?.string?.contains("SHA-256") == true)
    #expect(try stored.lake.texts("SELECT CAST(ordinal AS TEXT) FROM output_shard") == ["1"])
    // The worker does not take the object's word either.
    try stored.work(0)
    #expect(try stored.ingest().ending == .exit(0))
    #expect(try stored.sealedDigest() == PlannedLake.digest())
  }

  @Test func aTaskThatIsChangedIsNotCarriedOut() throws {
    let stored = try StoredLake()
    let key = try #require(stored.names("tasks").first)
    stored.store.set(key, Array(try #require(stored.store.objects[key]) + [0x20]))
    #expect(try stored.work(0, exits: 20).errorText.contains("s3://bucket/\(key)"))
    #expect(stored.names("receipts").isEmpty && stored.names("results").isEmpty)
  }

  /// Keys that may not write are told before anything is read, and what asks leaves nothing.
  @Test(arguments: ["results", "receipts"]) func whoMayNotWriteHearsItAtOnce(folder: String) throws {
    let stored = try StoredLake()
    let before = stored.store.objects
    stored.store.fail { _, request in
      (request.hasPrefix("PUT") || request.hasPrefix("POST")) && request.contains("/\(folder)/") ? .forbidden : nil
    }
    let refused = try stored.work(0, exits: 1)
    #expect(
      refused.errorText.contains("writing s3://bucket/some/tasks/\(folder)/")
        && refused.errorText.contains("AccessDenied"), "\(refused.errorText)")
    #expect(!stored.store.requests.contains { $0.contains("/trained/") }, "\(stored.store.requests)")
    stored.store.fail()
    #expect(stored.store.openUploadCount == 0)
    #expect(stored.store.objects.filter { !$0.key.contains("/failures/") } == before)
    try stored.work(0)
    #expect(stored.names(folder).count == 1 && stored.store.openUploadCount == 0)
  }

  @Test func anUploadThatWasCutGoesOnWhereItWas() async throws {
    let stored = try StoredLake()
    let host = try stored.host("host")
    let fetch = stored.configuration(partByteCount: 128)
    stored.store.fail { _, request in request.contains("partNumber=3&") ? .cut : nil }
    await #expect(throws: TarnError.self) { try await stored.work(0, in: host, fetch) }
    #expect(stored.store.openUploadCount == 1 && stored.names("receipts").isEmpty)
    stored.store.fail()
    let receipt = try await stored.work(0, in: host, fetch)
    let sent = stored.store.requests.filter { $0.hasPrefix("PUT") && $0.contains("partNumber=") }
    #expect(sent.count == (receipt.result.byteCount + 127) / 128 - 2, "\(sent)")
    #expect(stored.store.openUploadCount == 0)
    try stored.work(1)
    #expect(try stored.ingest().ending == .exit(0))
    #expect(try stored.sealedDigest() == PlannedLake.digest())
  }

  /// A worker and an ingest that are killed before any durable step go on, with a store as with a directory.
  @Test func killedAnywhereTheyGoOn() throws {
    let stored = try StoredLake()
    let clean = stored.store.objects
    let whole = try PlannedLake.digest()
    try stored.work(1)
    var step = 1
    while true {
      let host = try stored.host("killed-\(step)")
      let worker = ["worker", StoredLake.place, "--task", "0", "--scratch", host, "--cache", host, "--quiet"]
      let killed = try stored.run(worker, environment: ["TARN_FAULT": "kill@\(step)"])
      if killed.ending == .exit(0) { break }
      #expect(killed.ending == .signal(SIGKILL), "\(step): \(killed.errorText)")
      let again = try stored.run(worker)
      #expect(again.ending == .exit(0), "\(step): \(again.errorText)")
      #expect(stored.names("results").count == 2 && stored.store.openUploadCount == 0, "\(step)")
      for key in stored.store.objects.keys where clean[key] == nil && key.contains("/0000.") {
        stored.store.set(key, nil)
      }
      step += 1
    }
    #expect(step > 15)
    let made = stored.store.objects
    step = 1
    while true {
      let copy = StoredLake(lake: try stored.lake.copy(), store: stored.store)
      for (key, bytes) in made { stored.store.set(key, bytes) }
      let killed = try copy.run(["ingest", StoredLake.place, "--quiet"], environment: ["TARN_FAULT": "kill@\(step)"])
      let isWhole = killed.ending == .exit(0)
      #expect(isWhole || killed.ending == .signal(SIGKILL), "\(step): \(killed.errorText)")
      if !isWhole { try copy.succeed(["ingest", StoredLake.place, "--quiet"]) }
      #expect(try copy.sealedDigest() == whole, "\(step)")
      #expect(copy.names("results").isEmpty && copy.names("refused").isEmpty, "\(step)")
      let work = try FileManager.default.contentsOfDirectory(atPath: copy.lake.lake + "/artifacts/.work")
      #expect(work.isEmpty, "\(step): \(work)")
      if isWhole { break }
      step += TestRounds.count(3, full: 1)
    }
    #expect(step > 15)
  }

  /// The store fails from the k-th request on, for every k, until a worker needs no more.
  @Test(arguments: [FakeStore.Fault.refused, .cut, .lost, .garbled]) func aStoreThatFailsAnywhereCostsATryAndNoMore(
    fault: FakeStore.Fault
  ) async throws {
    let stored = try StoredLake()
    let fetch = stored.configuration(partByteCount: 128)
    let clean = stored.store.objects
    var digests: Set<ContentDigest> = []
    for first in 0... {
      // Every other time the next try is on another host.
      let (one, other) = (try stored.host("\(fault)-\(first)"), try stored.host("\(fault)-\(first)-\(first % 2)"))
      stored.store.fail { number, _ in number >= first ? fault : nil }
      let isWhole = (try? await stored.work(0, in: one, fetch)) != nil
      stored.store.fail()
      if !isWhole { _ = try await stored.work(0, in: first % 2 == 0 ? one : other, fetch) }
      #expect(stored.names("receipts").count <= 2 && stored.names("results").count == 1, "\(first)")
      digests.insert(.of(try #require(stored.store.objects[stored.names("results")[0]])))
      if isWhole {
        #expect(first > 10, "\(first)")
        break
      }
      for key in stored.store.objects.keys where clean[key] == nil { stored.store.set(key, nil) }
    }
    #expect(digests.count == 1)
    try stored.work(1)
    #expect(try stored.ingest().ending == .exit(0))
    #expect(try stored.sealedDigest() == PlannedLake.digest())
  }

  @Test(arguments: [FakeStore.Fault.refused, .lost, .garbled]) func aStoreThatFailsAnywhereWhileResultsAreTakenIn(
    fault: FakeStore.Fault
  ) throws {
    let stored = try StoredLake()
    try stored.work(0)
    try stored.work(1)
    let fetch = stored.configuration()
    let cache = try stored.host("ingest")
    var tries = 0
    while true {
      let first = tries
      // One garbled answer is enough to be taken for what it is not.
      stored.store.fail { number, _ in number == first || number > first && fault != .garbled ? fault : nil }
      let access = StoreAccess(fetch, patience: .zero, cache: cache, cancellation: Cancellation())
      do {
        let directory = try TaskDirectory.open(StoredLake.place, access)
        let catalog = try LakeCatalog.open(root: stored.lake.lake, command: "a test") {
          try TaskIngest.leases(in: $0, of: directory.plan())
        }
        let summary = try TaskIngest(
          catalog, directory, logger: Logger(label: "test"), cancellation: Cancellation(), report: { _ in }
        ).run()
        #expect(summary.isSealed && summary.refused.isEmpty)
        break
      } catch let error as TarnError {
        // What a garbled answer is called is the reader's to say.
        #expect(fault == .garbled || error.code == .temporary, "\(error)")
        #expect(error.description.contains(StoredLake.place), "\(error)")
        #expect(stored.names("refused").isEmpty)
      }
      tries += 1
    }
    #expect(tries > 10)
    stored.store.fail()
    #expect(try stored.sealedDigest() == PlannedLake.digest())
    try stored.lake.succeed(["verify", "--quiet"])
  }

  @Test(arguments: [FakeStore.Fault.refused, .cut, .lost]) func aStoreThatFailsAnywhereWhileAVersionIsPublished(
    fault: FakeStore.Fault
  ) async throws {
    let lake = try LakeFixture.make(.built)
    let store = try FakeStore()
    let stored = StoredLake(lake: lake, store: store)
    let catalog = try LakeCatalog.open(root: lake.lake, command: "a test") { _ in
      VerbLeases.of("push").leases([.version: ["v"]])
    }
    let version = try catalog.version(VersionName(parsing: "v@1"))
    let push = {
      try await PushRun(
        catalog, version, to: "s3://bucket/pub", configuration: stored.configuration(partByteCount: 128),
        patience: .zero, cancellation: Cancellation(), report: { _, _ in }
      ).run()
    }
    for first in 0... {
      store.fail { number, _ in number >= first ? fault : nil }
      let isWhole = (try? await push()) != nil
      store.fail()
      if !isWhole { _ = try await push() }
      for (key, bytes) in store.objects {
        let file = "\(try LakeFixture.published())/\(key.dropFirst("pub/".count))"
        #expect(try ContentDigest.of(bytes) == Disk.digest(of: file), "\(first): \(key)")
      }
      #expect(store.objects.count == 6, "\(first): \(store.objects.keys.sorted())")
      // An upload whose name never came cannot be gone on with; over a connection that was
      // open before, libcurl asks a second time by itself.
      #expect(store.openUploadCount <= (fault == .lost ? 2 : 0), "\(first)")
      if isWhole {
        #expect(first > 10)
        break
      }
      store.clear()
    }
  }

  @Test(arguments: [true, false]) func aTrainingGoesOverAStore(isWhole: Bool) throws {
    let alone = try LakeFixture.make(.synced)
    let options = ["t", "--images", "images", "--captions", "captions", "--nlist", "3", "--iterations", "2"]
    try alone.succeed(["train"] + options)
    let lake = try LakeFixture.make(.synced)
    let stored = StoredLake(lake: lake, store: try FakeStore())
    let tasks = isWhole ? StoredLake.place : lake.directory.path + "/tasks"
    try stored.succeed(
      ["plan", "train"] + options + ["--tasks", tasks] + (isWhole ? [] : ["--results", "s3://bucket/made"]))
    var rounds = 0
    while true {
      let scripts =
        isWhole ? stored.store.objects[StoredLake.prefix + "run.txt"] : try Disk.contents(of: tasks + "/run.txt")
      for line in String(decoding: try #require(scripts), as: UTF8.self).split(separator: "\n") {
        let number = try #require(line.split(separator: " ").last.flatMap { Int($0) })
        try stored.work(number, on: "host-\(rounds % 2)", at: tasks)
      }
      rounds += 1
      let result = try stored.run(["ingest", tasks, "--quiet"])
      if result.ending == .exit(0) { break }
      try #require(result.ending == .exit(3), "\(result.errorText)")
    }
    #expect(rounds == 3)
    let digest = "SELECT sha256 FROM trained_index WHERE name = 't'"
    #expect(try lake.text(digest) == alone.text(digest))
    #expect(stored.names("matrices").isEmpty)
    let made = stored.store.objects.keys.filter { $0.contains("/results/") || $0.contains("/receipts/") }
    #expect(!made.isEmpty && made.allSatisfy { $0.contains("/receipts/") }, "\(made)")
    try lake.succeed(["verify", "--quiet"])
  }

  @Test func theTasksOfAPlanAreTheSameWhereverTheyLie() throws {
    let stored = try StoredLake()
    let planned = try PlannedLake.make(done: false)
    let plan = try planned.tasks.plan()
    let there = String(decoding: try #require(stored.store.objects[StoredLake.prefix + "plan.json"]), as: UTF8.self)
    #expect(plan.tasks.count == 2 && !there.contains("results"))
    // But for the addresses of a lake's own files, which none of these inputs has.
    for (number, digest) in plan.tasks.enumerated() {
      #expect(stored.names("tasks").contains("\(StoredLake.prefix)tasks/000\(number).\(digest.hex).json"))
    }
  }
}

extension StoredLake {
  fileprivate init(lake: LakeFixture, store: FakeStore) {
    self.lake = lake
    self.store = store
  }
}
