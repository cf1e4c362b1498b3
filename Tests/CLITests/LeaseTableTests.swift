// Which verbs may run at a time: the table has every verb, docs/LEASES.md shows the
// table, and each verb is started while the leases of each other one are held.

import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct LeaseTableTests {
  /// What the leases are held on.
  private static let names: [Lease.Kind: [String]] = [
    .source: ["images"], .mirrors: ["images"], .training: ["t"], .version: ["v"],
    .truth: ["images"], .rebuild: ["v@1"],
  ]
  private static let otherNames = names.mapValues { $0.map { "other-\($0)" } }

  @Test func everyVerbIsInTheTable() throws {
    let rows = VerbLeases.all.map(\.verb)
    #expect(Set(rows).count == rows.count)
    let verbs = try ToolDescription.verbs().map { $0.joined(separator: " ") }
    for verb in verbs {
      #expect(rows.contains { $0 == verb || $0.hasPrefix(verb + " ") }, "VerbLeases does not have '\(verb)'")
    }
    // Whatever is in it is a verb, with an option or a few words behind it, or `plan --again`.
    for row in rows where row != "plan" {
      #expect(verbs.contains { row == $0 || row.hasPrefix($0 + " ") }, "no verb is '\(row)'")
    }
  }

  @Test func theDocumentShowsTheTable() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let document = try String(contentsOf: root.appending(path: "docs/LEASES.md"), encoding: .utf8)
    let expected = Self.table
    #expect(document.contains(expected), "docs/LEASES.md lacks this table:\n\(expected)")
  }

  /// Rows of the document: verbs that take the same, what that is, and the verbs that
  /// they wait for.
  private static var table: String {
    let writers = VerbLeases.all.filter {
      switch $0.need {
      case .nothing, .transaction: false
      case .leases, .wholeLake: true
      }
    }
    var rows: [(verbs: [String], rest: String)] = []
    for row in VerbLeases.all {
      let takes: String
      switch row.need {
      case .nothing: takes = "nothing: it reads"
      case .transaction: takes = "one transaction"
      case .wholeLake: takes = "the whole lake"
      case .leases(let uses):
        takes = uses.isEmpty ? "its place beside others" : uses.map { "\($0.kind): \($0.use)" }.joined(separator: ", ")
      }
      let always = writers.filter { !row.goesWith($0, onTheSame: false) }
      let same = writers.filter { row.goesWith($0, onTheSame: false) && !row.goesWith($0, onTheSame: true) }
      func list(_ verbs: [VerbLeases]) -> String { verbs.map { "`\($0.verb)`" }.joined(separator: ", ") }
      let waits: String
      if case .wholeLake = row.need {
        waits = "every verb that writes, but `limit`"
      } else {
        let ofAll = always.isEmpty ? "" : "those that take the whole lake"
        let ofSame = same.isEmpty ? "" : "on the same: \(list(same))"
        waits = [ofAll, ofSame].filter { !$0.isEmpty }.joined(separator: "; ")
      }
      let rest = "\(takes) | \(waits.isEmpty ? "none" : waits)"
      if let index = rows.firstIndex(where: { $0.rest == rest }) {
        rows[index].verbs.append("`\(row.verb)`")
      } else {
        rows.append((["`\(row.verb)`"], rest))
      }
    }
    return rows.map { "| \($0.verbs.joined(separator: ", ")) | \($0.rest) |" }.joined(separator: "\n")
  }

  // MARK: Pairs

  /// A call of each row, which gets as far as its leases and then changes nothing.
  private static func call(_ verb: String, _ lake: LakeFixture, _ sources: FeatureSources) throws -> [String]? {
    let captions = sources.directory.path + "/captions"
    let build = ["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1"]
    let document = lake.directory.path + "/v.json"
    return switch verb {
    case "sync --dry-run", "source list", "status", "versions", "gc", "doctor", "schema", "schema --migrate", "evict",
      "gc --apply", "verify", "rebuild-catalog", "doctor --moved", "doctor --recount":
      verb.split(separator: " ").map(String.init) + (verb == "evict" ? ["none"] : [])
    case "source show", "source export", "source mirror list", "source probe":
      verb.split(separator: " ").map(String.init) + ["images"]
    case "doctor --copied":
      ["doctor", "--copied", "--shards", lake.directory.path + "/s", "--artifacts", lake.directory.path + "/a"]
    case "sql": ["sql", "SELECT 1"]
    case "show", "export": [verb, "v@1"]
    case "search": ["search", "v@1", "--queries", captions + "/txt_0.npy"]
    case "locate": ["locate", "v@1", "0"]
    // An address that is nobody's: it ends once it has read what it needs.
    case "serve": ["serve", "v@1", "--listen", "192.0.2.1:7700", "--no-auth"]
    case "convert": ["convert", captions + "/txt_0.npy", lake.directory.path + "/converted.npz"]
    case "diff": ["diff", "v@1", "v@1"]
    case "backup": ["backup", lake.directory.path + "/backup.sqlite"]
    case "limit": ["limit", "10MB/s"]
    case "pin", "unpin": [verb, "v@1"]
    case "revoke": ["revoke", "none@1", "--reason", "x"]
    case "source add": ["source", "add", "images", "--directory", captions, "--dimension", "8", "--dtype", "float32"]
    case "source mirror add": ["source", "mirror", "add", "images", "https://host.example/one.npy"]
    case "source mirror order": ["source", "mirror", "order", "images", "0"]
    case "source mirror remove": ["source", "mirror", "remove", "images", "0"]
    case "source set": ["source", "set", "images", "--modality", "image"]
    case "source rename": ["source", "rename", "images", "pictures"]
    case "source drop-shards": ["source", "drop-shards", "images", "--shards", "1"]
    case "exclude": ["exclude", "images", "--confirm", "--reason", "a test"]
    case "source remove": ["source", "remove", "images"]
    case "sync": ["sync", "images", "--budget", "1"]
    case "sync of what is there": ["sync", "images"]
    case "sync --refresh": ["sync", "images", "--refresh", "--budget", "1"]
    case "pack": ["pack", "images"]
    case "import": ["import", "images", "/none/img_0.npy"]
    case "train": ["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "1000"]
    case "plan train":
      [
        "plan", "train", "t", "--images", "images", "--method", "kmeans", "--nlist", "1000", "--tasks",
        lake.directory.path + "/rounds",
      ]
    case "plan train --fetch":
      [
        "plan", "train", "t", "--images", "images", "--method", "kmeans", "--nlist", "1000", "--fetch", "--tasks",
        lake.directory.path + "/rounds",
      ]
    case "build --dry-run": build + ["--dry-run"]
    case "plan build --dry-run":
      ["plan", "build"] + build.dropFirst() + ["--tasks", lake.directory.path + "/told", "--dry-run"]
    case "plan train --dry-run":
      [
        "plan", "train", "t", "--images", "images", "--method", "kmeans", "--nlist", "1000", "--tasks",
        lake.directory.path + "/told", "--dry-run",
      ]
    case "train --dry-run":
      ["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "1000", "--dry-run"]
    case "train --fetch": ["train", "t", "--images", "images", "--method", "kmeans", "--nlist", "1000", "--fetch"]
    case "source extend": ["source", "extend", "images", "--count", "2"]
    case "source refresh": ["source", "refresh", "images"]
    case "source refresh --dry-run": ["source", "refresh", "images", "--dry-run"]
    case "build": build + ["--budget", "1"]
    case "build of what is there": build
    case "plan build": ["plan", "build"] + build.dropFirst() + ["--tasks", lake.directory.path + "/tasks"]
    case "plan": ["plan", "--again", lake.directory.path + "/tasks"]
    case "worker": ["worker", lake.directory.path + "/tasks", "--task", "0"]
    case "ingest": ["ingest", lake.directory.path + "/tasks"]
    case "evaluate": ["evaluate", "v@1", "--queries", "/none.npy"]
    case "evaluate --fetch": ["evaluate", "v@1", "--queries", "/none.npy", "--fetch"]
    case "reproduce": ["reproduce", "v@1", "--into", lake.lake]
    case "reproduce --fetch": ["reproduce", "v@1", "--into", lake.lake, "--fetch"]
    case "reproduce --from": ["reproduce", "--from", document]
    case "push": ["push", "v@1", lake.directory.path + "/published"]
    case "pull": ["pull", try LakeFixture.published(), "v@1"]
    case "adopt trained": ["adopt", "trained", "t", "/none.index"]
    case "adopt version": ["adopt", "version", "v", "/none.index", "--trained", "t", "--source", "images"]
    case "abandon": ["abandon", "v@1"]
    case "abandon a training": ["abandon", "t"]
    case "remove": ["remove", "t"]
    case "rename": ["rename", "t", "u"]
    // Where a lake is it reads, and where none is nobody else can be.
    case "init": nil
    default: throw NoCall(verb: verb)
    }
  }

  private struct NoCall: Error {
    let verb: String
  }

  /// Rows with needs of their own: the others are held as these are.
  private static var held: [VerbLeases] {
    var seen: Set<[Lease]> = []
    return VerbLeases.all.filter { row in
      guard case .leases = row.need else { return false }
      return seen.insert(row.leases(names)).inserted
    }
  }

  private static func isReading(_ row: VerbLeases) -> Bool {
    switch row.need {
    case .nothing, .transaction: true
    case .leases, .wholeLake: false
    }
  }

  private static func isWhole(_ row: VerbLeases) -> Bool { if case .wholeLake = row.need { true } else { false } }

  /// Writes what verbs are told of beside the lake.
  private static func prepare(_ lake: LakeFixture, _ sources: FeatureSources) throws {
    let document = try lake.succeed(["export", "v@1"])
    try Data(document.output).write(to: URL(fileURLWithPath: lake.directory.path + "/v.json"))
    let plan = try call("plan build", lake, sources)
    try lake.succeed(try #require(plan))
  }

  /// Starts verbs while leases are held, and says which did not do as the table says.
  private static func wrong(
    _ rows: [VerbLeases], while leases: [Lease], expecting: (VerbLeases) -> Bool
  ) throws -> [String] {
    let sources = try LakeFixture.sources()
    let whole = try LakeFixture.make(.built)
    let empty = try whole.copy()
    try empty.evictImages()
    var wrong: [String] = []
    for lake in [whole, empty] {
      try prepare(lake, sources)
      let holder = try LakeCatalog.open(root: lake.lake, command: "a test", leasing: { _ in leases })
      try withExtendedLifetime(holder) {
        // A sync or a build that has something to fetch needs a lake that lacks it.
        for row in rows where ["sync", "build"].contains(row.verb) == (lake === empty) {
          guard let call = try call(row.verb, lake, sources) else { continue }
          let result = try lake.run(call)
          let isRefused = result.ending == .exit(11)
          if isRefused == expecting(row) { wrong.append("\(call): \(result.ending) \(result.errorText)") }
          if isRefused, !result.errorText.contains("a test") { wrong.append("\(call): \(result.errorText)") }
        }
      }
    }
    return wrong
  }

  @Test(.tags(.slow)) func everyPairBehavesAsTheTableSays() throws {
    for first in Self.held {
      // Whoever takes the whole lake waits for each of them alike.
      let others = VerbLeases.all.filter { !Self.isReading($0) && !Self.isWhole($0) } + [VerbLeases.of("gc --apply")]
      let wrong = try Self.wrong(others, while: first.leases(Self.names)) { $0.goesWith(first, onTheSame: true) }
      #expect(wrong.isEmpty, "while '\(first.verb)' runs:\n\(wrong.joined(separator: "\n"))")
    }
  }

  @Test(.tags(.slow)) func whoWorksOnOtherThingsHoldsUpThoseAloneThatTakeTheWholeLake() throws {
    let leases = Lease.Kind.allCases.flatMap { kind in
      (Self.otherNames[kind] ?? []).map { Lease(kind, $0, .alter) }
    }
    let wrong = try Self.wrong(VerbLeases.all, while: leases) { !Self.isWhole($0) }
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  @Test(.tags(.slow)) func whoHasTheWholeLakeHoldsUpAllThatWrite() throws {
    let lake = try LakeFixture.make(.built)
    let sources = try LakeFixture.sources()
    try Self.prepare(lake, sources)
    let holder = try LakeCatalog.open(root: lake.lake, writing: "a test")
    try withExtendedLifetime(holder) {
      for row in VerbLeases.all {
        guard let call = try Self.call(row.verb, lake, sources) else { continue }
        let result = try lake.run(call)
        #expect((result.ending == .exit(11)) == !Self.isReading(row), "\(call): \(result.ending) \(result.errorText)")
      }
    }
  }
}
