internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn doctor`: what is wrong with the lake, and what to do about it.
struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Examine the lake: the catalog, its files, the machine; each finding with what to do.",
    discussion: """
      Each line begins with ok, note, warning or problem. Nothing is changed, no lock is taken, and the bytes of shards
      and artifacts are not read: sizes are compared. --recount first counts again the totals that `tarn status` shows,
      which no tarn lets go wrong.

      EXAMPLES
        tarn doctor
        tarn doctor --quiet                 only what is not ok
        tarn doctor --recount
        tarn doctor --json

      Ends with 20 when there is a problem, with 0 otherwise.

      \(ExitStatus.help)
      """)

  @Flag(help: "Count the catalog's totals again first; this writes.")
  var recount = false

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    if recount { try writer.open(global, verb: "doctor --recount").recountTotals() }
    let findings = try LakeExamination(global.read()).findings()
    let problemCount = findings.count { $0.level == .problem }
    if global.json {
      Output.json([
        "findings": .array(
          findings.map { finding in
            .object([
              "level": .string(finding.level.rawValue), "check": .string(finding.check), "what": .string(finding.what),
              "fix": .optional(finding.fix),
            ])
          }),
        "problems": .count(problemCount), "warnings": .count(findings.count { $0.level == .warning }),
      ])
    } else {
      for finding in findings where !global.quiet || finding.level != .ok {
        let level = finding.level.rawValue.padding(toLength: 7, withPad: " ", startingAt: 0)
        Output.line("\(level)  \(finding.what)\(finding.fix.map { "; \($0)" } ?? "")")
      }
    }
    Output.flush()
    guard problemCount == 0 else {
      throw Outcome(.integrity, "\(problemCount) problem\(problemCount == 1 ? "" : "s") found")
    }
  }
}
