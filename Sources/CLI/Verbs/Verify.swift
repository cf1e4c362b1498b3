internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake
internal import Synchronization

/// How much `verify` reads: a size (`10GB`) or a time (`10m`).
struct ReadingBudget: ExpressibleByArgument {
  let budget: VerifyBudget

  init?(argument: String) {
    if argument.lowercased().hasSuffix("b") {
      guard let size = ByteSize(argument: argument) else { return nil }
      budget = VerifyBudget(byteCount: size.byteCount)
    } else {
      guard let span = TimeSpan(argument: argument), span.duration > .zero else { return nil }
      budget = VerifyBudget(duration: span.duration)
    }
  }
}

extension Expectation: ExpressibleByArgument {
  public init?(argument: String) { self.init(parsing: argument) }
}

/// `tarn verify`: read everything again.
struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read again what the catalog vouches for, and name all that is damaged, missing or contradicts itself.",
    discussion: """
      Shards, segments, trained indexes, outputs and their names, lock files, documents, and the chain of the history. The
      files that were not read for longest come first, so that runs with a --budget add up to a whole verification.
      What the catalog states for good is held, field by field, against lock files, documents, specifications, digests and
      the history; what cannot be checked is said.

      Of a damaged shard the chunks of 16 MiB that differ are named. --repair fetches those alone, from any mirror, and
      proves each before it is written; a shard that cannot be mended so is evicted (`tarn sync` or `tarn build` fetches
      it whole). It gives up damaged segments and nearest
      images (they are made again) and restores outputs from their other name or from their segments, and lock files and
      documents from the catalog. A trained index is taken from an output that was made with it, or else trained again,
      which takes as long as it took.

      The last line is the head of the history. Kept elsewhere, it finds out later whoever changed the catalog and
      computed the chain anew: --expect DIGEST says whether the history went through it, --expect NAME@N=DIGEST whether a
      version still has the digest that was noted.

      EXAMPLES
        tarn verify
        tarn verify --budget 10m
        tarn verify --budget 500GB --repair
        tarn verify --expect 3f6d…9ab2 --expect laion@1=77c0…41e5      (64 digits each)

      Ends with 20 when something was found, repaired or not, and when the lake holds a sealed version that the catalog
      does not know, as after an older catalog was put back.

      \(ExitStatus.help)
      """)

  @Option(help: ArgumentHelp("Stop after reading for so long or so much, e.g. 10m or 500GB.", valueName: "budget"))
  var budget: ReadingBudget?

  @Flag(help: "Bring back what can be brought back.")
  var repair = false

  @Option(
    help: ArgumentHelp(
      "A digest that was kept elsewhere: of the history, or of a version. May be repeated.",
      valueName: "[name@n=]digest"))
  var expect: [Expectation] = []

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, verb: "verify", givesBack: true)
    let progress = global.progress("verify")
    let run = VerifyRun(
      catalog, repairs: repair, expectations: expect, logger: global.logger("tarn.verify"),
      cancellation: global.cancellation)
    let (report, findings) = try run.run(budget?.budget ?? VerifyBudget()) { done in
      progress.update(done: Double(done.checkedCount), total: nil) {
        "\(done.checkedCount) files, \(ByteSize.text(done.checkedByteCount))"
      }
    }
    progress.clear()
    let strangers = try catalog.strangers()
    let head = try catalog.historyHead()
    global.json ? printJSON(report, findings, strangers, head) : printText(report, findings, head)
    Output.flush()
    guard strangers.isEmpty else {
      throw Outcome(
        .integrity,
        "\(findings.count) damaged or missing, and \(strangers.count) versions that the catalog does not know: "
          + strangers.map { "\($0.name)" }.joined(separator: ", "))
    }
    guard findings.isEmpty else {
      throw Outcome(
        .integrity,
        "\(findings.count) damaged or missing" + (repair ? "" : "; --repair brings back what can be brought back"))
    }
    try global.cancellation.check()
  }

  /// What to do about a file, when it is up to the user.
  private func advice(_ damage: Damage, _ outcome: RepairOutcome?) -> String? {
    if outcome == .restored { return nil }
    switch damage.file.kind {
    case .shard:
      guard outcome == .givenUp else { return nil }
      return "`tarn sync \(damage.file.name.split(separator: "/").first ?? "")` fetches it"
    case .artifact(let kind) where kind.canBeMadeAgain: return outcome == nil ? nil : "made again when it is needed"
    case .artifact(.outputShard):
      return "`tarn reproduce NAME@N --into DIR` makes it again once its shards are in the lake; put it at this path"
    case .artifact: return outcome == nil ? nil : "run its `tarn train` again: the same inputs give the same bytes"
    case .outputName: return outcome == nil ? nil : "restore the file it belongs to first"
    case .lockFile, .document: return outcome == nil ? nil : "the catalog cannot prove what it said; restore the file"
    case .record:
      return
        "restore a backup of the catalog; without one, set it aside and `tarn rebuild-catalog` makes it from the lock files"
    case .history: return "compare it with a backup: something changed the catalog behind tarn's back"
    }
  }

  private typealias Head = (event: Int, hash: String)

  private func printJSON(
    _ report: VerifyReport, _ findings: [VerifyFinding], _ strangers: [StrangerVersion], _ head: Head?
  ) {
    Output.json([
      "checked": .count(report.checkedCount), "bytes": .count(report.checkedByteCount),
      "left": .count(report.leftCount), "left_bytes": .count(report.leftByteCount),
      "oldest_check": .optional(report.oldestCheck),
      "unknown_versions": .array(strangers.map { .string("\($0.name)") }),
      "history": head.map { .object(["event": .count($0.event), "hash": .string($0.hash)]) } ?? .null,
      "unchecked": .array(
        report.unchecked.map { .object(["what": .string($0.field), "why": .string($0.reason)]) }),
      "damages": .array(
        findings.map { finding in
          .object([
            "kind": .string(finding.damage.file.kind.word), "path": .string(finding.damage.file.path),
            "name": .string(finding.damage.file.name), "sha256": .string(finding.damage.file.digest.hex),
            "message": .string(finding.damage.message), "fields": fields(finding.damage),
            "chunks": .optional(finding.damage.chunks),
            "repair": .optional(finding.outcome?.rawValue),
            "advice": .optional(advice(finding.damage, finding.outcome)),
          ])
        }),
    ])
  }

  /// The statements that do not hold, for programs.
  private func fields(_ damage: Damage) -> JSONValue {
    guard case .statements(let differences) = damage.problem else { return .array([]) }
    return .array(
      differences.map {
        .object(["field": .string($0.field), "expected": .string($0.expected), "found": .string($0.found)])
      })
  }

  private func printText(_ report: VerifyReport, _ findings: [VerifyFinding], _ head: Head?) {
    for finding in findings {
      let (damage, outcome) = (finding.damage, finding.outcome)
      let parts = [
        "\(damage.file.path) (\(damage.file.kind.word) \(damage.file.name)) \(damage.message)",
        outcome.map { $0 == .restored ? "restored" : $0 == .givenUp ? "given up" : "lost" }, advice(damage, outcome),
      ]
      Output.line(parts.compactMap(\.self).joined(separator: "; "))
    }
    Output.line(
      "\(report.checkedCount) file\(report.checkedCount == 1 ? "" : "s") read (\(ByteSize.text(report.checkedByteCount))), \(findings.count) damaged or missing"
        + (report.leftCount == 0
          ? ""
          : ", \(report.leftCount) left (\(ByteSize.text(report.leftByteCount))), read last \(report.oldestCheck ?? "never")")
    )
    for omission in report.unchecked { Output.line("not checked: \(omission.field), \(omission.reason)") }
    if let head { Output.line("head of the history: event \(head.event), \(head.hash)") }
  }
}
