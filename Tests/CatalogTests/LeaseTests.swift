// Several writers of one lake: what may be held at a time, what a process leaves
// that died, and what none may take from a living one.

import Base
import Foundation
import Glibc
import GRDB
import Testing
import TestSupport

import Catalog

/// A lake that nobody has open.
private final class IdleLake {
  private let directory: TemporaryDirectory
  let root: String
  var layout: LakeLayout { LakeLayout(root: root) }

  init(sources: [String: Int] = [:]) throws {
    directory = try TemporaryDirectory(inMemory: true)
    root = directory.path + "/lake"
    let catalog = try LakeCatalog.create(root: root, shards: "shards", artifacts: "artifacts")
    for (name, count) in sources { _ = try CatalogFixture(catalog).source(name, count: count) }
  }

  /// Opens it as a command that has these leases.
  func open(_ command: String = "test", _ leases: Lease...) throws -> LakeCatalog {
    try LakeCatalog.open(root: root, command: command, leasing: { _ in leases })
  }

  /// Files of commands.
  var leaseFiles: [String] { (try? FileManager.default.contentsOfDirectory(atPath: layout.leases)) ?? [] }

  /// Puts a file there as a command would have left it.
  func leave(_ token: String, host: String, boot: String, holding: Lease...) throws {
    let document = JSONValue.object([
      "format": .integer(1), "pid": .integer(4242), "command": .string("sync a"),
      "since": .string("2026-01-01T00:00:00Z"), "host": .string(host), "boot": .string(boot),
      "leases": .array(holding.map { .string($0.record) }),
    ])
    try Disk.makeDirectory(layout.leases)
    try Disk.writeAtomically(Array(document.text.utf8), to: "\(layout.leases)/\(token)")
  }
}

/// Whether everybody may read the one file of a command.
private func isSeenByOthers() throws -> Bool {
  let lake = try IdleLake()
  let catalog = try lake.open("sync a", Lease(.source, "a", .add))
  return withExtendedLifetime(catalog) {
    let files = lake.leaseFiles
    var info = stat()
    return files.count == 1 && stat("\(lake.layout.leases)/\(files[0])", &info) == 0 && info.st_mode & 0o444 == 0o444
  }
}

/// The error that something ends with.
private func refusal(_ body: () throws -> Void) -> TarnError? {
  do {
    try body()
    return nil
  } catch {
    return error as? TarnError
  }
}

@Suite struct LeaseTests {
  /// The table of DESIGN, said again.
  private static let together: Set<Set<Lease.Use>> = [
    [.look], [.look, .read], [.look, .add], [.look, .change], [.read], [.read, .add],
  ]

  @Test func usesGoTogetherAsTheDesignSays() {
    for first in Lease.Use.allCases {
      for second in Lease.Use.allCases {
        #expect(first.goesWith(second) == Self.together.contains([first, second]), "\(first) and \(second)")
        for kind in Lease.Kind.allCases {
          let lease = Lease(kind, "a", first)
          #expect(lease.goesWith(Lease(kind, "a", second)) == first.goesWith(second))
          #expect(lease.goesWith(Lease(kind, "b", second)))
          for other in Lease.Kind.allCases where other != kind { #expect(lease.goesWith(Lease(other, "a", second))) }
        }
      }
    }
  }

  @Test func theFileOfAHolderSaysAllOfIt() throws {
    let leases = Lease.Kind.allCases.flatMap { kind in Lease.Use.allCases.map { Lease(kind, "a name", $0) } }
    for holding in [Holding.wholeLake, .leases([]), .leases(leases)] {
      let holder = LeaseHolder(command: "sync images", holding: holding)
      #expect(LeaseHolder(parsing: holder.text) == holder)
      // What was not written to its end says nothing.
      for length in 0..<(holder.text.utf8.count - 1) {
        #expect(LeaseHolder(parsing: String(holder.text.prefix(length))) == nil)
      }
    }
    // What a later tarn leases is believed to be everything.
    let later = LeaseHolder(command: "x", holding: .leases([Lease(.source, "a", .look)])).text
    #expect(LeaseHolder(parsing: later.replacing("look source", with: "peek source"))?.holding == .wholeLake)
  }

  /// Too few descriptors, or another user's umask: nobody is taken for dead by who cannot look.
  @Test func aFileThatCannotBeLookedAtIsALivingHolders() throws {
    let lake = try IdleLake()
    try Disk.makeDirectory(lake.layout.leases)
    let directory = open(lake.layout.leases, O_RDONLY | O_DIRECTORY)
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { for descriptor in [directory, listener] { close(descriptor) } }
    // A socket cannot be opened, whoever asks. Its address is short, as addresses are.
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: "/proc/self/fd/\(directory)/4242-abcd".utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) }
    }
    try #require(bound == 0)
    let error = try #require(refusal { _ = try lake.open("sync a", Lease(.source, "a", .add)) })
    #expect(error.code == .locked && error.message.contains("leases/4242-abcd cannot be opened"), "\(error)")
    #expect(lake.leaseFiles == ["4242-abcd"])
    try Disk.remove(lake.layout.leases + "/4242-abcd")
    // A link is nobody's.
    symlink(lake.layout.catalog, lake.layout.leases + "/link")
    _ = try lake.open("sync a", Lease(.source, "a", .add))
  }

  /// Whatever its user's umask is, which is the whole process's.
  @Test func othersCanSeeWhoHoldsALake() async {
    await #expect(processExitsWith: .success) {
      umask(0o077)
      exit(try isSeenByOthers() ? 0 : 1)
    }
  }

  @Test func whatIsHeldIsRefusedByNameAndTheRestIsNot() throws {
    let lake = try IdleLake()
    var first: LakeCatalog? = try lake.open("sync a", Lease(.source, "a", .add))
    let error = try #require(refusal { _ = try lake.open("import a", Lease(.source, "a", .change)) })
    #expect(error.code == .locked)
    for part in ["another tarn", "source a", "pid \(getpid())", "sync a", "adds to source a", "since 20"] {
      #expect(error.message.contains(part), "\(error)")
    }
    #expect(error.hint?.contains("--wait") == true)
    // Others, another use, none at all.
    for lease in [Lease(.source, "b", .change), Lease(.source, "a", .read), Lease(.training, "a", .alter)] {
      _ = try lake.open("other", lease)
    }
    _ = try lake.open("pin")
    let whole = try #require(refusal { _ = try LakeCatalog.open(root: lake.root, writing: "gc --apply") })
    #expect(whole.code == .locked && whole.message.contains("sync a, since"), "\(whole)")
    #expect(first != nil)
    first = nil
    #expect(lake.leaseFiles.isEmpty)
    let gc = try LakeCatalog.open(root: lake.root, writing: "gc --apply")
    let refused = try #require(refusal { _ = try lake.open("pin") })
    #expect(refused.code == .locked && refused.message.contains("gc --apply"), "\(refused)")
    withExtendedLifetime(gc) {}
  }

  /// Whoever took the file away that it was to read.
  @Test func whoOnlyReadsIsRefusedToFetch() throws {
    let lake = try IdleLake(sources: ["a": 1])
    let catalog = try lake.open("sync a", Lease(.source, "a", .read))
    let shard = try #require(try catalog.shards(of: catalog.source(named: "a")).first)
    let error = try #require(refusal { _ = try catalog.reserve(shard, byteCount: 1, budget: nil) })
    #expect(error.code == .locked && error.hint == "run the same command again", "\(error)")
  }

  @Test func leasesAreTakenAllOrNone() throws {
    let lake = try IdleLake()
    let first = try lake.open("sync b", Lease(.source, "b", .add))
    #expect(refusal { _ = try lake.open("train", Lease(.training, "t", .alter), Lease(.source, "b", .change)) } != nil)
    #expect(lake.leaseFiles.count == 1)
    _ = try lake.open("train", Lease(.training, "t", .alter))
    withExtendedLifetime(first) {}
  }

  @Test func whoWaitsGetsItWhenItIsFree() async throws {
    let lake = try IdleLake()
    let root = lake.root
    var first: LakeCatalog? = try lake.open("sync a", Lease(.source, "a", .add))
    let isAsking = DispatchSemaphore(value: 0)
    let waiting = ThreadedWork("waiting") {
      _ = try LakeCatalog.open(root: root, command: "sync a", wait: .seconds(86_400)) { _ in
        isAsking.signal()
        return [Lease(.source, "a", .add)]
      }
    }
    try await ThreadedWork("asking") { isAsking.wait() }.value()
    #expect(first != nil)
    first = nil
    try await waiting.value()
  }

  // MARK: What died

  @Test func aDeadProcessHoldsNothingAndItsWorkingFilesGo() throws {
    let lake = try IdleLake()
    let here = LeaseHolder.Machine.this
    try lake.leave("4242-dead", host: here.host, boot: here.boot, holding: Lease(.source, "a", .alter))
    try Disk.makeDirectory(lake.layout.artifactScratch)
    try Disk.makeDirectory(lake.layout.scratch + "/4242-dead.reproduce-v@1")
    let paths = ["4242-dead.segment", "4242-dead.output.faiss.tmp", "4242-alive.segment", "segment"]
    for path in paths + ["../../scratch/4242-dead.reproduce-v@1/x", "../../scratch/train-1"] {
      try Disk.writeAtomically([1], to: lake.layout.artifactScratch + "/" + path)
    }
    let catalog = try lake.open("sync a", Lease(.source, "a", .add))
    let left = try FileManager.default.contentsOfDirectory(atPath: lake.layout.artifactScratch).sorted()
    #expect(left == ["4242-alive.segment", "segment"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: lake.layout.scratch) == ["train-1"])
    #expect(lake.leaseFiles.count == 1 && lake.leaseFiles != ["4242-dead"])
    withExtendedLifetime(catalog) {}
  }

  @Test func whatALiveFileDoesNotSayIsEverything() throws {
    let lake = try IdleLake()
    try Disk.makeDirectory(lake.layout.leases)
    let path = lake.layout.leases + "/1-1"
    try Disk.writeAtomically([], to: path)
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    #expect(flock(descriptor, LOCK_EX | LOCK_NB) == 0)
    #expect(refusal { _ = try lake.open("pin") }?.message.contains("the whole lake") == true)
    // For processes that other tests start at this moment, too.
    #expect(flock(descriptor, LOCK_UN) == 0)
    close(descriptor)
    _ = try lake.open("pin")
  }

  @Test func aLakeIsOpenOnOneHostAtATime() throws {
    let lake = try IdleLake()
    let here = LeaseHolder.Machine.this
    try lake.leave("4242-far", host: "far.example", boot: "another", holding: Lease(.source, "a", .look))
    for open in [{ _ = try lake.open("pin") }, { _ = try LakeCatalog.open(root: lake.root, writing: "gc --apply") }] {
      let error = try #require(refusal { try open() })
      #expect(error.code == .locked && error.message.contains("far.example") && error.message.contains("4242"))
      #expect(error.hint?.contains("\(lake.layout.leases)/4242-far") == true)
    }
    // A reader asks nobody.
    _ = try LakeCatalog.open(root: lake.root, writing: nil)
    // This host before it was started again, and a container of it.
    try FileManager.default.removeItem(atPath: lake.layout.leases + "/4242-far")
    try lake.leave("4242-before", host: here.host, boot: "another", holding: Lease(.source, "a", .alter))
    try lake.leave("4242-inside", host: "container", boot: here.boot, holding: Lease(.source, "a", .alter))
    _ = try lake.open("sync a", Lease(.source, "a", .add))
    #expect(lake.leaseFiles.isEmpty)
  }

  // MARK: What none may take from a living one

  @Test func aReservationEndsWithItsProcessAndNotBefore() throws {
    let lake = try IdleLake(sources: ["a": 1, "b": 1])
    var first: LakeCatalog? = try lake.open("sync a", Lease(.source, "a", .add))
    let second = try lake.open("sync b", Lease(.source, "b", .add))
    let (a, b) = (try second.source(named: "a"), try second.source(named: "b"))
    let (mine, other) = (try second.shards(of: a)[0], try second.shards(of: b)[0])
    #expect(try first?.reserve(mine, byteCount: 60, budget: 100) == true)
    try second.settleInterruptedShards()
    #expect(try second.shard(id: mine.id).state == .fetching)
    #expect(try second.cachedByteCount() == 60)
    #expect(try !second.reserve(other, byteCount: 50, budget: 100))
    #expect(try second.outstandingByteCount(besides: []) == 60)
    #expect(try second.outstandingByteCount(besides: [mine.id]) == 0)
    // It dies: the room is had again without another command.
    first = nil
    #expect(try second.reserve(other, byteCount: 50, budget: 100))
    #expect(try second.shard(id: mine.id).state == .registered)
    #expect(try second.shard(id: other.id).state == .fetching)
    // Its own is never taken for a dead one's.
    #expect(try !second.reserve(other, byteCount: 101, budget: 100))
    #expect(try second.shard(id: other.id).state == .fetching)
  }

  @Test func partsOfAnotherCountAgainstTheBudgetAsTheyAreNow() throws {
    let lake = try IdleLake(sources: ["a": 1, "b": 2])
    let first = try lake.open("sync a", Lease(.source, "a", .add))
    let second = try lake.open("sync b", Lease(.source, "b", .add))
    let shard = try first.shards(of: first.source(named: "a"))[0]
    let others = try second.shards(of: second.source(named: "b"))
    #expect(try second.reserve(others[0], byteCount: 10, budget: 100))
    let part = lake.layout.partPath(source: "a", shard: shard.name)
    try Disk.makeDirectory(part.parentPath)
    for length in [40, 70, 20] {
      #expect(try first.reserve(shard, byteCount: 80, budget: 1000))
      try Data(count: length).write(to: URL(fileURLWithPath: part))
      // The reservation covers the part.
      #expect(try !second.reserve(others[1], byteCount: 11, budget: 100))
      #expect(try second.reserve(others[1], byteCount: 10, budget: 100))
      try second.endFetch(shardID: others[1].id, as: nil, error: nil)
      try first.endFetch(shardID: shard.id, as: nil, error: nil)
      #expect(try !second.reserve(others[1], byteCount: 91 - length, budget: 100))
      #expect(try second.reserve(others[1], byteCount: 90 - length, budget: 100))
      try second.endFetch(shardID: others[1].id, as: nil, error: nil)
    }
  }

  /// Gives the shard of the source `a` its bytes.
  private func fetched(_ lake: IdleLake) throws -> Source {
    let fixture = CatalogFixture(try lake.open("sync", Lease(.source, "a", .add)))
    let images = try fixture.catalog.source(named: "a")
    try fixture.fetch(0, of: images, "bytes")
    return images
  }

  @Test func oneSpecificationIsTrainedByOneAtATime() throws {
    let lake = try IdleLake(sources: ["a": 1])
    let images = try fetched(lake)
    var first: LakeCatalog? = try lake.open("train t", Lease(.training, "t", .alter))
    _ = try CatalogFixture(try #require(first)).planTraining("t", images)
    let second = try lake.open("train u", Lease(.training, "u", .alter))
    let error = try #require(refusal { _ = try CatalogFixture(second).planTraining("u", images) })
    #expect(error.code == .locked && error.message.contains("train t, since"), "\(error)")
    _ = try CatalogFixture(second).planTraining("u", images, seed: 2)
    first = nil
    _ = try CatalogFixture(second).planTraining("u", images)
  }

  @Test func manyWritersLoseNoUpdate() async throws {
    let lake = try IdleLake(sources: ["a": 1])
    let root = lake.root
    let (writers, rounds) = (4, TestRounds.count(15, full: 150))
    let works = (0..<writers).map { writer in
      ThreadedWork("writer") {
        for round in 0..<rounds {
          // Opened anew each time: opening and closing meet transactions, too.
          let catalog = try LakeCatalog.open(root: root, command: "source add") { _ in
            [Lease(.source, "s-\(writer)-\(round)", .alter)]
          }
          try catalog.settleInterruptedShards()
          _ = try CatalogFixture(catalog).source("s-\(writer)-\(round)", count: 2)
        }
      }
    }
    for work in works { try await work.value() }
    let catalog = try LakeCatalog.open(root: root, writing: nil)
    #expect(try catalog.firstBrokenEvent() == nil)
    #expect(try catalog.sources().count == 1 + writers * rounds)
    #expect(try catalog.events().count == 1 + writers * rounds)
    #expect(try catalog.wrongTotals() == [])
    #expect(lake.leaseFiles.isEmpty)
  }

  @Test func whatAnotherCommitsBetweenTwoLooksIsNoDifference() async throws {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    let name = VersionName(name: "laion", number: 1)
    let catalog = lake.catalog
    let pinning = ThreadedWork("pinning") {
      for _ in 0..<TestRounds.count(100, full: 1000) {
        _ = try catalog.pin(name, reason: "a test")
        _ = try catalog.unpin(name)
      }
    }
    let reader = try LakeCatalog.open(root: lake.root, writing: nil)
    for _ in 0..<TestRounds.count(100, full: 1000) {
      #expect(try reader.requireBorneOut(reader.version(name)).isClean)
    }
    try await pinning.value()
  }

  @Test func whoMigratesHasTheWholeLake() throws {
    let lake = try IdleLake(sources: ["a": 1])
    try OldCatalog.age(lake.root, toSchema: 9)
    var lock: WriterLock? = try WriterLock(path: lake.layout.lock, command: "another")
    #expect(refusal { _ = try lake.open("pin") }?.code == .locked)
    #expect(lock != nil)
    lock = nil
    let catalog = try lake.open("sync a", Lease(.source, "a", .add))
    #expect(try catalog.sources().map(\.name) == ["a"])
    #expect(Disk.size(of: lake.layout.catalog + ".backup-schema9") != nil)
    #expect(lake.leaseFiles.count == 1)
  }
}
