// Many processes on one lake: writers that wait for each other, readers that
// wait for nobody.

import Base
import Catalog
import Foundation
import Synchronization
import Testing
import TestSupport

@Suite(.tags(.slow)) struct ConcurrencyTests {
  private static let writerCount = 4
  private static let readerCount = 4

  /// How long they go on; the benchmark asks for a minute.
  private static let duration: Duration = {
    let seconds = ProcessInfo.processInfo.environment["TARN_CONTENTION_SECONDS"].flatMap { Double($0) }
    return .milliseconds(Int64(1000 * (seconds ?? 3)))
  }()

  private struct Tally {
    var writes = 0
    var reads = 0
    var events = 0
    var failures: [String] = []
  }

  private final class Scoreboard: Sendable {
    let tally = Mutex(Tally())
  }

  @Test func writersWaitForEachOtherAndReadersForNobody() async throws {
    let lake = try LakeFixture.make(.built)
    let before = try LakeCatalog.open(root: lake.lake, writing: nil).events().count
    let captions = try LakeFixture.sources().directory.path + "/captions"
    let scoreboard = Scoreboard()
    let deadline = ContinuousClock.now + Self.duration
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<Self.writerCount {
        group.addTask {
          try await Self.onThread {
            var round = 0
            repeat {
              let commands = Self.writing(writer, round, captions)
              for (arguments, eventCount) in commands {
                Self.run(lake, arguments + ["--wait", "60s"], scoreboard) {
                  $0.writes += 1
                  $0.events += eventCount
                }
              }
              round += 1
            } while ContinuousClock.now < deadline
          }
        }
      }
      for reader in 0..<Self.readerCount {
        group.addTask {
          try await Self.onThread {
            var round = reader
            repeat {
              Self.run(lake, Self.reading(round, lake), scoreboard) { $0.reads += 1 }
              round += 1
            } while ContinuousClock.now < deadline
          }
        }
      }
      try await group.waitForAll()
    }
    let result = scoreboard.tally.withLock { $0 }
    print(
      "contention: \(Self.duration), \(Self.writerCount) writers \(result.writes) commands, \(Self.readerCount) readers",
      "\(result.reads) commands, \(result.failures.count) failures, \(result.events) events")
    #expect(result.failures.isEmpty, "\(result.failures.prefix(3).joined(separator: "\n"))")
    #expect(result.writes >= Self.writerCount && result.reads >= Self.readerCount)
    let catalog = try LakeCatalog.open(root: lake.lake, writing: nil)
    #expect(try catalog.firstBrokenEvent() == nil)
    #expect(try catalog.events().count == before + result.events)
    #expect(try catalog.wrongTotals() == [])
    #expect(try lake.run(["doctor", "--quiet"]).ending == .exit(0))
  }

  /// What a writer does in a round, and how many events each leaves.
  private static func writing(_ writer: Int, _ round: Int, _ captions: String) -> [([String], Int)] {
    switch writer % 4 {
    case 0: return [(["pin", "v@1", "--reason", "contention"], 1), (["unpin", "v@1"], 1)]
    case 1: return [(["gc", "--apply", "--quiet"], 0), (["sync", "images", "--quiet"], 0)]
    case 2: return [(["verify", "--quiet"], 0)]
    default:
      return [
        (
          [
            "source", "add", "s-\(writer)-\(round)", "--directory", captions, "--dimension", "8", "--dtype", "float32",
          ], 1
        )
      ]
    }
  }

  private static func reading(_ round: Int, _ lake: LakeFixture) -> [String] {
    switch round % 5 {
    case 0: return ["status", "--json"]
    case 1: return ["sql", "SELECT count(*) FROM v_event", "--format", "csv"]
    case 2: return ["versions"]
    case 3: return ["show", "v@1", "--json"]
    default: return ["backup", "\(lake.directory.path)/backup-\(round).sqlite"]
    }
  }

  private static func run(
    _ lake: LakeFixture, _ arguments: [String], _ scoreboard: Scoreboard, counting: (inout Tally) -> Void
  ) {
    do {
      let result = try lake.run(arguments)
      scoreboard.tally.withLock { tally in
        if result.ending == .exit(0) {
          counting(&tally)
        } else {
          tally.failures.append("\(arguments): \(result.ending) \(result.errorText)")
        }
      }
    } catch {
      scoreboard.tally.withLock { $0.failures.append("\(arguments): \(error)") }
    }
  }

  /// Waiting for a process blocks a thread, which the tasks' own must not do.
  private static func onThread(_ body: @escaping @Sendable () -> Void) async throws {
    try await ThreadedWork("contender", body).value()
  }
}
