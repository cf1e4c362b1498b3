internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn doctor`: what is wrong with the lake, and what to do about it.
struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Examine the lake: the catalog, its files, the machine; each finding with what to do.",
    discussion: """
      Each line begins with ok, note, warning or problem. Nothing is changed, no lock is taken, and the bytes of shards
      and artifacts are not read: sizes are compared, and whether names of outputs are links to their files or copies.
      --recount first counts again the totals that `tarn status` shows, which no tarn lets go wrong.

      Directories outside the lake (--shards and --artifacts of `tarn init`) are marked as the lake's: no other lake may
      use them, and while one that holds files is not there or is empty, as where a volume is not mounted, nothing
      writes. --moved says that the lake was moved to where it is now, or that such a directory was made anew. --copied
      says that it is a copy: it gets an identity of its own, and directories of its own, into which what is in the
      original's was copied before.

      EXAMPLES
        tarn doctor
        tarn doctor --quiet
        tarn doctor --recount
        tarn doctor --json
        tarn doctor --moved
        cp -r /lake /copy && cp -r /nvme/shards /nvme/copied && tarn doctor --lake /copy --copied --shards /nvme/copied

      Ends with 20 when there is a problem, with 28 when the only one is a full disk, with 0 otherwise. With --quiet it
      prints warnings and problems alone, and so nothing of a lake that is well, as under cron.

      \(ExitStatus.help)
      """)

  @Flag(help: "Count the catalog's totals again first; this writes.")
  var recount = false

  @Flag(help: "Say first that the lake was moved here; this writes.")
  var moved = false

  @Flag(help: "Say first that the lake is a copy; this writes.")
  var copied = false

  @Option(
    help: ArgumentHelp("With --copied: its directory of fetched shards.", valueName: "dir"), completion: .directory)
  var shards: String?

  @Option(help: ArgumentHelp("With --copied: its directory of results.", valueName: "dir"), completion: .directory)
  var artifacts: String?

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard !(moved && copied) else { throw ValidationError("A lake was moved, or it is a copy: --moved or --copied.") }
    guard copied || (shards == nil && artifacts == nil) else {
      throw ValidationError("--shards and --artifacts go with --copied.")
    }
  }

  func run() throws {
    if moved || copied {
      let catalog = try LakeCatalog.open(
        root: global.lakeRoot(), writing: moved ? "doctor --moved" : "doctor --copied",
        wait: writer.wait?.duration ?? .zero, claiming: false)
      if moved {
        try catalog.acceptMove()
      } else {
        try catalog.becomeCopy(
          shards: shards.map(LakeLayout.absolute), artifacts: artifacts.map(LakeLayout.absolute))
      }
    }
    if recount { try writer.open(global, "doctor --recount").recountTotals() }
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
      for finding in findings where !global.quiet || finding.level.wantsSomebody {
        let level = finding.level.rawValue.padding(toLength: 7, withPad: " ", startingAt: 0)
        Output.line("\(level)  \(finding.what)\(finding.fix.map { "; \($0)" } ?? "")")
      }
    }
    Output.flush()
    guard problemCount == 0 else {
      let isRoom = findings.allSatisfy { $0.level != .problem || $0.check == "space" }
      throw Outcome(
        isRoom ? .disk : .integrity, "\(problemCount) problem\(problemCount == 1 ? "" : "s") found")
    }
  }
}
