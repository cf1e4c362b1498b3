// What stays free of a disk, and what becomes of shards for which there is no room.

import Base
import Catalog
import Fetch
import Foundation
import Lake
import Synchronization
import Testing
import TestSupport

@Suite struct ReserveTests {
  private static func disk(_ byteCount: Int, free: Int, device: UInt64 = 1) -> FileSystem {
    FileSystem(path: "/", byteCount: byteCount, freeByteCount: free, device: device)
  }

  /// Against the rule as it is written, over many sizes.
  @Test func d11TheLesserOfAShareAndAGigabyteStaysFreeAndMoreIfThatIsSaid() {
    var random = SplitMix64(seed: 11)
    for _ in 0..<20_000 {
      let size = Int.random(in: 0..<(1 << Int.random(in: 1..<50)), using: &random)
      let free = Int.random(in: 0...size, using: &random)
      let kept = Bool.random(using: &random) ? 0 : Int.random(in: 0...(2 * size), using: &random)
      let need = Int.random(in: 0...size, using: &random)
      let promised = Bool.random(using: &random) ? 0 : Int.random(in: 0...size, using: &random)
      let hasCatalog = Bool.random(using: &random)
      let reserve = DiskReserve(keptFree: kept, catalogByteCount: 3_000_000, catalogDevice: hasCatalog ? 1 : 2)
      var expected = size / 100 < 1_000_000_000 ? size / 100 : 1_000_000_000
      if kept > expected { expected = kept }
      if hasCatalog { expected += 3_000_000 }
      let disk = Self.disk(size, free: free)
      #expect(reserve.byteCount(on: disk) == expected)
      let fits = need + promised + expected <= free
      let verdict = reserve.verdict(on: "x", taking: need, of: disk, promised: promised)
      #expect((verdict == .goes) == fits)
      let waiting = reserve.verdict(on: "x", taking: need, of: disk, promised: promised, mayComeBack: true)
      #expect(waiting == (fits ? .goes : .waits))
      guard !fits else { continue }
      guard case .refused(let error) = verdict else {
        Issue.record("neither goes nor is refused")
        continue
      }
      let missing = ByteSize.text(need + promised + expected - free)
      #expect(error.code == .diskFull)
      #expect(error.message.hasSuffix("at /, where \(ByteSize.text(free)) are free: \(missing) are missing"))
    }
  }

  @Test func d11LessThanTheRuleSaysLowersNothing() {
    let disk = Self.disk(1 << 40, free: 1 << 39)
    #expect(DiskReserve(keptFree: 1).byteCount(on: disk) == DiskReserve().byteCount(on: disk))
    #expect(DiskReserve(keptFree: 1 << 35).byteCount(on: disk) == 1 << 35)
    #expect(DiskReserve(keptFree: .max, catalogByteCount: 5, catalogDevice: 1).byteCount(on: disk) == .max)
  }

  private func lake(_ urls: [String]) throws -> TemporaryLake {
    let lake = try TemporaryLake()
    _ = try lake.catalog.addSource(
      SourceDefinition(
        name: "images", modality: .image, dimension: 4, elementType: .float16, mirrors: ["one"],
        shards: urls.enumerated().map { .init(name: "\($0.offset).npy", urls: [$0.element]) }))
    return lake
  }

  /// Leaves so much of this machine's disk for the lake.
  private func leaving(_ byteCount: Int, in lake: TemporaryLake) throws -> SyncOptions {
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    let free = try FileSystem(of: lake.catalog.layout.shards).freeByteCount
    options.keptFree = free - lake.catalog.reserve().catalogByteCount - byteCount
    return options
  }

  /// Nobody knows the sizes: the first bytes tell them, and one request is enough.
  @Test func d12AShardOfUnknownSizeIsJudgedByItsFirstBytesAndAskedForOnce() async throws {
    let shard = makeShard(rows: 1_000)
    let server = try HostileServer { .file(shard, for: $0) }
    let lake = try lake((0..<3).map { server.url("/\($0).npy") })
    var options = SyncOptions()
    options.fetch = quickConfiguration()
    let summary = try await SyncRun(lake.catalog, options, cancellation: Cancellation()) { _ in }.run()
    #expect(summary.fetchedCount == 3 && server.requests.count == 3)
  }

  /// A header and a length that agree on 2 TB are no reason to fill the disk.
  @Test(arguments: [false, true])
  func d12AShardThatDoesNotFitWritesNothing(isLocal: Bool) async throws {
    let size = 1 << 34
    let rows = (size - 128) / 8
    var text = "{'descr': '<f2', 'fortran_order': False, 'shape': (\(rows), 4), }"
    text += String(repeating: " ", count: 117 - text.utf8.count) + "\n"
    let start: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0, 118, 0] + Array(text.utf8)
    let server = try HostileServer { _ in
      .answer(200, body: start + [UInt8](repeating: 0, count: 1 << 20), framing: .length(size), then: .stall)
    }
    defer { server.stop() }
    let directory = try TemporaryDirectory()
    let file = directory.path + "/0.npy"
    try Data(start).write(to: URL(fileURLWithPath: file))
    #expect(truncate(file, off_t(size)) == 0)
    let lake = try lake([isLocal ? "file://" + file : server.url("/0.npy")])
    // Half of it would fit, whatever others do to this disk meanwhile.
    let summary = try await SyncRun(
      lake.catalog, leaving(size / 2, in: lake), cancellation: Cancellation()
    ) { _ in }.run()
    #expect(summary.withoutRoom == ["0.npy"] && summary.fetchedCount == 0)
    #expect(summary.noRoom?.code == .diskFull)
    #expect(summary.noRoom?.message.hasPrefix("the disk is full: 0.npy of images takes 17.2 GB") == true)
    let left = FileManager.default.enumerator(atPath: lake.catalog.layout.shards)?.compactMap { $0 as? String } ?? []
    #expect(left.allSatisfy { !$0.hasSuffix(".npy") && !$0.hasSuffix(".part") }, "\(left)")
  }

  /// Others fill the disk while it comes: the transfer ends, what arrived is kept, and
  /// the next one goes on.
  @Test func d12AShardEndsAtTheReserveAndKeepsWhatArrived() async throws {
    let directory = try TemporaryDirectory()
    let shard = makeShard(rows: 3 << 20)
    let server = try HostileServer { .file(shard, for: $0) }
    var request = makeRequest(in: directory, from: [server.url("/a.npy")])
    let looks = Mutex(0)
    request.lackOfRoom = {
      looks.withLock { count -> TarnError? in
        count += 1
        return count == 1 ? nil : TarnError(.diskFull, "the disk is full: a test", place: "/")
      }
    }
    let run = await fetch([request])
    #expect(run.failure()?.code == .diskFull && run.failure()?.place == "/")
    let held = Disk.size(of: directory.path + "/1.part") ?? 0
    #expect((8 << 20..<9 << 20).contains(held) && Disk.size(of: directory.path + "/1.part.resume") != nil)
    request.lackOfRoom = { nil }
    let again = await fetch([request])
    #expect(again.attempts.first?.offset == held)
    #expect(bytes(at: try #require(again.shard()).path) == shard)
  }

  /// The ballast is laid with the lake, and again by who writes next.
  @Test func d13ALakeHoldsRoomForItsCatalog() throws {
    let directory = try TemporaryDirectory()
    let root = directory.path + "/lake"
    let place = root + "/catalog.sqlite-ballast"
    _ = try LakeCatalog.create(root: root, shards: "shards", artifacts: "artifacts")
    #expect(Disk.allocatedByteCount(of: place) >= 1 << 20)
    try Disk.remove(place)
    _ = try LakeCatalog.open(root: root, writing: nil)
    #expect(Disk.size(of: place) == nil)
    _ = try LakeCatalog.open(root: root, writing: "test")
    #expect(Disk.allocatedByteCount(of: place) >= 1 << 20)
    // No room besides what the user wants free: it is left out.
    try Disk.remove(place)
    _ = try LakeCatalog.open(root: root, writing: "test", keepingFree: 1 << 60)
    #expect(Disk.size(of: place) == nil)
  }
}
