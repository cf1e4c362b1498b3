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

/// `tarn verify`: read everything again.
struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read again what the catalog vouches for, and name every file that is damaged or missing.",
    discussion: """
      Shards, segments, trained indexes, outputs, their names and lock files, and the chain of the history. The files
      that were not read for longest come first, so that runs with a --budget add up to a whole verification.

      Of a damaged shard the chunks of 16 MiB that differ are named. --repair fetches those alone, from any mirror, and
      proves each before it is written; a shard that cannot be mended so is evicted (`tarn sync` or `tarn build` fetches
      it whole). It gives up damaged segments and nearest
      images (they are made again) and restores outputs from their other name or from their segments. A trained index is
      taken from an output that was made with it, or else trained again, which takes as long as it took.

      EXAMPLES
        tarn verify
        tarn verify --budget 10m
        tarn verify --budget 500GB --repair

      Ends with 20 when something was found, repaired or not, and when the lake holds a sealed version that the catalog
      does not know, as after an older catalog was put back.

      \(ExitStatus.help)
      """)

  @Option(help: ArgumentHelp("Stop after reading for so long or so much, e.g. 10m or 500GB.", valueName: "budget"))
  var budget: ReadingBudget?

  @Flag(help: "Bring back what can be brought back.")
  var repair = false

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, verb: "verify")
    let progress = global.progress("verify")
    let run = VerifyRun(
      catalog, repairs: repair, logger: global.logger("tarn.verify"), cancellation: global.cancellation)
    let (report, findings) = try run.run(budget?.budget ?? VerifyBudget()) { done in
      progress.update(done: Double(done.checkedCount), total: nil) {
        "\(done.checkedCount) files, \(ByteSize.text(done.checkedByteCount))"
      }
    }
    progress.clear()
    let strangers = try catalog.strangers()
    global.json ? printJSON(report, findings, strangers) : printText(report, findings)
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
    case .outputName, .lockFile: return outcome == nil ? nil : "restore the file it belongs to first"
    case .history: return "compare it with a backup: something changed the catalog behind tarn's back"
    }
  }

  private func printJSON(_ report: VerifyReport, _ findings: [VerifyFinding], _ strangers: [StrangerVersion]) {
    Output.json([
      "checked": .count(report.checkedCount), "bytes": .count(report.checkedByteCount),
      "left": .count(report.leftCount), "left_bytes": .count(report.leftByteCount),
      "oldest_check": .optional(report.oldestCheck),
      "unknown_versions": .array(strangers.map { .string("\($0.name)") }),
      "damages": .array(
        findings.map { finding in
          .object([
            "kind": .string(finding.damage.file.kind.word), "path": .string(finding.damage.file.path),
            "name": .string(finding.damage.file.name), "sha256": .string(finding.damage.file.digest.hex),
            "message": .string(finding.damage.message), "chunks": .optional(finding.damage.chunks),
            "repair": .optional(finding.outcome?.rawValue),
            "advice": .optional(advice(finding.damage, finding.outcome)),
          ])
        }),
    ])
  }

  private func printText(_ report: VerifyReport, _ findings: [VerifyFinding]) {
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
  }
}
