// The screen of a lake that is watched: what it says, and that it never says more than fits.

import Base
import Catalog
import Foundation
import Lake
import Testing
import TestSupport

@Suite struct LakeScreenTests {
  private let start = ContinuousClock.now

  private func source(
    _ name: String, _ done: Int, of total: Int = 10, bytes: Double, moved: Double? = nil, past: Double? = nil
  ) -> LakeLook.Item {
    var item = LakeLook.Item(
      kind: .source, name: name, done: done, total: total, amount: bytes, wholeAmount: Double(total) * 1e9,
      isComplete: done == total)
    item.moved = moved ?? bytes
    item.pastRate = past
    return item
  }

  private func build(_ name: String, _ done: Int, rows: Double, whole: Double = 1e6) -> LakeLook.Item {
    .init(
      kind: .build, name: name, done: done, total: 10, amount: rows, wholeAmount: whole, isComplete: false,
      state: "building")
  }

  private func look(_ items: [LakeLook.Item], commands: [CommandAtWork] = [.init(text: "sync, pid 7")]) -> LakeLook {
    var look = LakeLook(root: "/data/lake", items: items)
    look.commands = commands
    look.rooms = [.init(freeByteCount: 8_000_000_000, keptByteCount: 1_000_000_000)]
    return look
  }

  private func screen(_ looks: LakeLook..., every seconds: Int = 30) -> LakeScreen {
    var screen = LakeScreen()
    for (place, look) in looks.enumerated() { screen.take(look, at: start + .seconds(seconds * place)) }
    return screen
  }

  private func lines(_ screen: LakeScreen, _ columns: Int = 80, _ rows: Int = 24) -> [String] {
    screen.lines(size: (columns, rows), clock: "12:00:00")
  }

  @Test func oneIterationIsNoSeveral() {
    func training(_ done: Int, of total: Int, isComplete: Bool) -> String {
      let item = LakeLook.Item(
        kind: .training, name: "t", done: done, total: total, amount: 0, wholeAmount: 1, isComplete: isComplete,
        state: "training")
      return lines(screen(look([item])), 120).joined(separator: "\n")
    }
    #expect(training(1, of: 1, isComplete: true).contains("1 iteration"))
    #expect(!training(1, of: 1, isComplete: true).contains("iterations"))
    #expect(training(0, of: 1, isComplete: false).contains("before the first of 1 iteration"))
    #expect(training(0, of: 2, isComplete: false).contains("before the first of 2 iterations"))
  }

  /// Who only looked has nothing to continue.
  @Test func whoIsToldToEndALookIsNotToldToContinueIt() throws {
    let lake = try LakeFixture.make(.registered)
    let process = try lake.start(["status", "--watch"])
    let descriptors = "/proc/\(process.processID)/fd"
    func isLooking() -> Bool {
      ((try? FileManager.default.contentsOfDirectory(atPath: descriptors)) ?? []).contains { name in
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(descriptors)/\(name)"))?
          .hasSuffix("/catalog.sqlite") == true
      }
    }
    for _ in 0..<6_000 where !isLooking() { usleep(10_000) }
    process.signal(SIGTERM)
    let result = process.finish()
    #expect(result.ending == .exit(143) && result.errorText.contains("interrupted"), "\(result.errorText)")
    #expect(!result.errorText.contains("again to continue"), "\(result.errorText)")
  }

  /// What a command that was killed has left says `fetching` until somebody writes.
  @Test func onlyWhatALivingCommandFetchesIsBeingFetched() throws {
    let lake = try LakeFixture.make(.registered)
    func fetching() throws -> Int64? {
      let line = try lake.succeed(["status", "--json"]).outputText.split(separator: "\n").first ?? ""
      let sources = JSONValue(parsing: String(line))?["sources"]?.elements ?? []
      return sources.first { $0["source"]?.string == "images" }?["fetching"]?.integer
    }
    do {
      let catalog = try LakeCatalog.open(root: lake.lake, command: "sync images") { _ in
        [Lease(.source, "images", .add)]
      }
      let shard = try #require(try catalog.shards(of: catalog.source(named: "images")).first)
      #expect(try catalog.reserve(shard, byteCount: 7, budget: nil))
      #expect(try fetching() == 1)
      withExtendedLifetime(catalog) {}
    }
    #expect(try fetching() == 0)
    #expect(try lake.text("SELECT fetching || '' FROM v_source WHERE source = 'images'") == "1")
  }

  /// Iterations are recorded as they are done, and nobody takes a training that was killed for one that goes on.
  @Test func aTrainingThatWasKilledHasItsIterationsAndIsStopped() throws {
    let lake = try LakeFixture.make(.synced)
    let train = try #require(LakeStage.trained.arguments(LakeFixture.sources()).first)
    let log = lake.directory.path + "/steps"
    try #require(try lake.copy().run(train, environment: ["TARN_FAULT_LOG": log]).ending == .exit(0))
    let saves = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").filter {
      $0.contains(" rename ") && $0.hasSuffix("/kmeans.state")
    }
    // The state of the second iteration never comes.
    let second = try #require(saves.dropFirst().first).prefix { $0 != " " }
    try #require(try lake.run(train, environment: ["TARN_FAULT": "kill@\(second)"]).ending == .signal(SIGKILL))
    func item() throws -> LakeLook.Item? {
      try LakeLook(LakeCatalog.open(root: lake.lake, writing: nil)).items.first { $0.kind == .training }
    }
    func row() throws -> JSONValue? {
      let line = try lake.succeed(["status", "--json"]).outputText.split(separator: "\n").first ?? ""
      return JSONValue(parsing: String(line))?["trained_indexes"]?.elements.first
    }
    let left = try #require(try item())
    #expect(left.done == 1 && left.total == 2 && left.isStopped)
    #expect(try row()?["iterations_done"]?.integer == 1)
    #expect(try row()?["stopped"] == .bool(true))
    let said = "training t: stopped; the same `tarn train` goes on"
    #expect(try lake.succeed(["status"]).outputText.contains(said))
    let shown = lines(screen(look([left], commands: [])), 120)
    #expect(shown.contains { $0.contains("1 of 2 iterations, stopped; the same `tarn train` goes on") }, "\(shown)")
    do {
      let catalog = try LakeCatalog.open(root: lake.lake, command: "train t") { _ in
        [Lease(.training, "t", .alter)]
      }
      #expect(try item()?.isStopped == false)
      #expect(try row()?["stopped"] == .bool(false))
      withExtendedLifetime(catalog) {}
    }
    try lake.succeed(train)
    #expect(try item()?.isStopped == false)
    #expect(try lake.text("SELECT count(*) || '' FROM training_iteration") == "2")
  }

  @Test func saysHowFastItGoesAndWhatIsLeft() {
    let shown = lines(
      screen(look([source("images", 1, bytes: 1e9)]), look([source("images", 4, bytes: 4e9)])))
    #expect(shown[0] == "12:00:00  lake /data/lake")
    #expect(shown[1] == "100 MB/s, 8.00 GB free")
    #expect(shown[2] == "held up by the network")
    #expect(shown[4] == "images  40 %  100 MB/s  1 min 0 s left  4/10 shards  4.00 GB", "\(shown)")
    #expect(shown[6] == "at work: sync, pid 7")
  }

  /// Narrower, whole columns go; nothing is cut that a wider line would not have cut.
  @Test func columnsGoFromTheEnd() {
    let screen = screen(
      look([source("images-of-laion", 1, bytes: 1e9), build("clips@1", 1, rows: 1e5)]),
      look([source("images-of-laion", 4, bytes: 4e9), build("clips@1", 2, rows: 2e5)]))
    let narrow = lines(screen, 60)
    #expect(narrow[4] == "images-of-laion  40 %     100 MB/s  1 min 0 s left", "\(narrow)")
    #expect(narrow[5] == "build clips@1    20 %  3333 rows/s  4 min 0 s left", "\(narrow)")
    #expect(lines(screen, 70)[4].hasSuffix("4/10 shards"), "\(lines(screen, 70))")
    #expect(lines(screen, 80)[4].hasSuffix("4.00 GB"))
  }

  /// Whatever there is to say, and however small the terminal.
  @Test func fitsEveryTerminal() {
    var full = look((0..<30).map { source("source-\($0)-絵文字の特徴", 3, bytes: 3e9) } + [build("b@1", 1, rows: 10)])
    full.faults = (0..<5).map { .init(at: "2026-01-01T00:00:0\($0).000Z", text: String(repeating: "é", count: 300)) }
    full.tasks = ["tasks of b@1, 9 tasks: 3 done", "failed task 3 on node7: out of memory\nand more"]
    full.commands = (0..<9).map { number in
      CommandAtWork(
        text: "sync \(number)",
        waits: [.init(host: "https://h\(number).example", until: Date(), patienceUntil: Date(), shardCount: 2)])
    }
    var screen = screen(full, full)
    for isRead in [true, false] {
      if !isRead { screen.take(TarnError(.locked, "the catalog is locked", hint: "wait"), since: "11:59:00") }
      for columns in [1, 2, 10, 39, 40, 59, 60, 80, 200] {
        for rows in [1, 2, 3, 5, 8, 10, 24, 60] {
          let shown = lines(screen, columns, rows)
          #expect(shown.count <= max(1, rows - 1), "\(columns)×\(rows): \(shown)")
          #expect(shown.allSatisfy { $0.columnCount <= max(1, columns - 1) }, "\(columns)×\(rows): \(shown)")
          #expect(!shown.joined().contains("\n"))
        }
      }
    }
    // Of a usual one each part has its share.
    let shown = lines(screen)
    for part in [
      "not read since 11:59:00, older below: the catalog is locked", "and ", "waits for https://h0.example", "failed ",
      "tasks of b@1",
    ] {
      #expect(shown.contains { $0.hasPrefix(part) }, "\(part): \(shown)")
    }
  }

  /// A catalog that cannot be read is a line, and the next look takes it away.
  @Test func aLakeThatCannotBeReadIsALine() {
    var screen = LakeScreen()
    #expect(!screen.hasNews)
    screen.take(TarnError(.locked, "the catalog is locked", hint: "wait"), since: "11:59:00")
    #expect(lines(screen) == ["12:00:00  not read since 11:59:00: the catalog is locked; wait"])
    screen.take(look([source("images", 1, bytes: 1e9)]), at: start)
    #expect(!lines(screen).joined().contains("locked"))
    screen.take(TarnError(.noLake, "/data/lake is gone"), since: "12:00:02")
    #expect(lines(screen)[1] == "not read since 12:00:02, older below: /data/lake is gone")
    #expect(lines(screen).contains { $0.hasPrefix("images") })
  }

  /// Since when there is nothing newer stays what it was, whatever the looks after that say.
  @Test func aLookThatIsWaitedForIsALine() {
    var screen = screen(look([source("images", 1, bytes: 1e9)]))
    screen.wait(since: "12:00:02")
    #expect(
      lines(screen, 120)[1]
        == "not read since 12:00:02, older below: the catalog does not answer; another program may have it locked")
    screen.take(TarnError(.locked, "the catalog is locked"), since: "12:00:02")
    screen.wait(since: "12:00:14")
    screen.take(TarnError(.locked, "the catalog is locked"), since: "12:00:14")
    #expect(lines(screen)[1] == "not read since 12:00:02, older below: the catalog is locked")
    #expect(lines(screen).contains { $0.hasPrefix("images") })
    screen.take(look([source("images", 1, bytes: 1e9)]), at: start)
    screen.wait(since: "12:01:00")
    #expect(lines(screen)[1].hasPrefix("not read since 12:01:00, "))
  }

  @Test func anEmptyLakeSaysWhatToDo() {
    let shown = lines(screen(look([], commands: [])))
    #expect(shown.last == "nothing is here yet: `tarn source add` registers a source", "\(shown)")
  }

  // MARK: Rates

  /// Bytes that were encoded and went again came all the same.
  @Test func whatWentAgainStillCame() {
    var meter = LakeMeter()
    meter.take(look([source("s", 4, bytes: 4e9, moved: 0)]), at: start)
    meter.take(look([source("s", 2, bytes: 2e9, moved: 3e9)]), at: start + .seconds(30))
    #expect(meter.byteRate == 1e8)
  }

  /// The first look says what the catalog does: of transfers that ended in the last minute.
  @Test func aWatchThatBeginsKnowsTheLastMinute() {
    var meter = LakeMeter()
    meter.take(look([source("s", 4, bytes: 4e9, moved: 0, past: 5e7)]), at: start)
    #expect(meter.byteRate == 5e7)
    meter.take(look([source("s", 4, bytes: 4e9, moved: 1e3)]), at: start + .seconds(2))
    #expect(meter.byteRate == 5e7)
    meter.take(look([source("s", 4, bytes: 4e9, moved: 1e9)]), at: start + .seconds(20))
    #expect(meter.byteRate == 5e7)
  }

  /// However long it is open, it keeps the looks of a minute.
  @Test func twoDaysOfLooksSayWhatTheLastMinuteDid() {
    var meter = LakeMeter()
    for second in stride(from: 0, to: 172_800, by: 30) {
      meter.take(look([source("s", 1, bytes: 1, moved: Double(second))]), at: start + .seconds(second))
    }
    #expect(meter.byteRate == 1)
  }

  // MARK: What holds it up

  private func bottleneck(_ first: LakeLook, _ second: LakeLook) -> String? {
    var meter = LakeMeter()
    meter.take(first, at: start)
    meter.take(second, at: start + .seconds(30))
    return meter.bottleneck
  }

  @Test func saysWhatHoldsItUp() {
    let still = look([source("s", 1, bytes: 1e9)])
    let moving = look([source("s", 2, bytes: 2e9)])
    #expect(bottleneck(still, moving) == "the network")
    #expect(bottleneck(still, still) == "nothing has moved in the last minute")
    var limited = moving
    limited.limit = "50MB/s"
    #expect(bottleneck(still, limited) == "the network, with the limit 50MB/s of `tarn limit`")
    var idle = still
    idle.commands = []
    #expect(bottleneck(idle, idle) == "nothing: no command is at work")
    idle.tasks = ["tasks of v@1, 3 tasks: 1 running"]
    #expect(bottleneck(idle, idle) == "workers elsewhere")
    let wait = HostWait(host: "https://h", until: Date(), patienceUntil: Date(), shardCount: 1)
    var waiting = still
    waiting.commands = [.init(text: "sync", waits: [wait])]
    #expect(bottleneck(still, waiting) == "the network: waiting for https://h")
    var full = moving
    full.rooms = [.init(freeByteCount: 1_000, keptByteCount: 2_000)]
    #expect(bottleneck(still, full)?.hasPrefix("the disk: 1.00 kB free, 2.00 kB stay so") == true)
    #expect(bottleneck(look([source("s", 10, bytes: 1e10)], commands: []), look([], commands: [])) == nil)
    let slow = look([source("s", 10, bytes: 1e10), build("v@1", 1, rows: 10)])
    let encoding = look([source("s", 10, bytes: 1e10), build("v@1", 2, rows: 20)])
    #expect(bottleneck(slow, encoding) == "assignment (v@1 encodes)")
    // The source takes longer than the rest of the build would.
    let fetching = look([source("s", 2, bytes: 1.1e9), build("v@1", 9, rows: 9.9e5)])
    #expect(bottleneck(look([source("s", 1, bytes: 1e9), build("v@1", 1, rows: 10)]), fetching) == "the network")
  }

  // MARK: A lake

  /// A pause that one command tells, another sees, until it is over or the command has ended.
  @Test func pausesAreSeenFromOutside() throws {
    let lake = try LakeFixture.make(.empty)
    let reader = try LakeCatalog.open(root: lake.lake, writing: nil)
    let writer = try LakeCatalog.open(root: lake.lake, command: "sync images", leasing: { _ in [] })
    let now = Date()
    let far = HostWait(
      host: "https://a", until: now + 3_600, patienceUntil: now + 7_200, shardCount: 3)
    writer.tell(far)
    writer.tell(.init(host: "https://b", until: now - 1, patienceUntil: now + 7_200, shardCount: 1))
    let seen = reader.commandsAtWork(at: now)
    #expect(seen.map(\.waits.count) == [1] && seen[0].text.hasPrefix("sync images, pid "), "\(seen)")
    #expect(seen[0].waits[0].host == "https://a" && seen[0].waits[0].shardCount == 3)
    #expect(abs(seen[0].waits[0].until.timeIntervalSince(far.until)) < 0.01)
    #expect(reader.commandsAtWork(at: now + 3_601).map(\.waits) == [[]])
    writer.tellNoWaits()
    #expect(reader.commandsAtWork(at: now).map(\.waits) == [[]])
    #expect(try FileManager.default.contentsOfDirectory(atPath: "\(lake.lake)/scratch") == [])
    writer.closing()
    #expect(reader.commandsAtWork(at: now).isEmpty)
  }

  /// Looks of a lake that fetches: what an earlier run left in parts is no speed.
  @Test func looksAddUpWhatCame() throws {
    let lake = try LakeFixture.make(.synced)
    let reader = try LakeCatalog.open(root: lake.lake, writing: nil)
    let first = try LakeLook(reader)
    let images = try #require(first.items.first { $0.kind == .source })
    #expect(images.moved == 0 && images.amount > 0, "\(images)")
    let second = try LakeLook(reader, after: first)
    #expect(second.items.first { $0.kind == .source }?.moved == 0)
    #expect(second.rooms.first.map { $0.freeByteCount > 0 } == true)
  }
}
