internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

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
struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Read again what the catalog vouches for, and name all that is damaged, missing or contradicts itself.",
    discussion: """
      Shards, segments, trained indexes, outputs and their names, lock files, documents, and the chain of the history. The
      files that were not read for longest come first, so that runs with a --budget add up to a whole verification.
      What the catalog states for good is held, field by field, against lock files, documents, specifications, digests and
      the history; what cannot be checked is said.

      Of a damaged shard the chunks of 16 MiB that differ are named. --repair fetches those alone, from any mirror, and
      proves each before it is written; a shard that cannot be mended so, or whose file is gone, is fetched whole, with the
      same bytes, where a version or a trained index rests on it, and evicted where nothing does. A file stays where it is
      until another is there, so that what no mirror gave, or only a command that was not allowed makes, is named again by
      the next run. Older revisions of shards, which no mirror is asked for, stay likewise, and go where nothing rests on
      them. What cannot be opened is named, and left alone. Hosts that fail for now are waited for as long as --patience
      says. It gives up damaged segments and nearest images (they are made again) and restores outputs from their other
      name or from their segments, under every name they have, which are links to one file again, as are names that
      were copies, and lock files and documents from the catalog. A trained index is taken from an output that was made
      with it, or else trained again, which takes as long as it took.

      The last line is the head of the history. Kept elsewhere, it finds out later whoever changed the catalog and
      computed the chain anew: --expect DIGEST says whether the history went through it, --expect NAME@N=DIGEST whether a
      version still has the digest that was noted.

      EXAMPLES
        tarn verify
        tarn verify --budget 10m
        tarn verify --budget 500GB --repair
        tarn verify --repair --patience 2h

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

  @Option(help: .patience(when: "With --repair", for: "a host that fails for now, e.g. 2h", unlessTold: .ofSync))
  var patience: TimeSpan?

  @OptionGroup(title: CommandOptions.title) var commands: CommandOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard repair || !commands.allowCommands else { throw ValidationError("--allow-commands goes with --repair.") }
    guard repair || patience == nil else { throw ValidationError("--patience goes with --repair.") }
  }

  func run() async throws {
    let catalog = try writer.open(global, "verify")
    let progress = global.progress("verify")
    var fetch = SyncOptions(patience: patience ?? .ofSync)
    fetch.fetch.commands = commands.rules
    fetch.fetch.followLimit(of: catalog)
    let run = VerifyRun(
      catalog, repairingWith: repair ? fetch : nil, expectations: expect, logger: global.logger("tarn.verify"),
      cancellation: global.cancellation
    ) { event in
      if case .waiting(let wait) = event { progress.note(wait.text) }
    }
    let (report, findings) = try await run.run(budget?.budget ?? VerifyBudget()) { done in
      progress.update(done: Double(done.checkedCount), total: nil) {
        "\(done.checkedCount.counted("file")), \(ByteSize.text(done.checkedByteCount))"
      }
    }
    progress.clear()
    let strangers = try catalog.strangers()
    let head = try catalog.historyHead()
    global.json
      ? try printJSON(report, findings, strangers, head, catalog) : try printText(report, findings, head, catalog)
    Output.flush()
    guard strangers.isEmpty else {
      throw Outcome(
        .integrity,
        "\(findings.count) damaged or missing, and \(strangers.count.counted("version")) that the catalog does not know: "
          + strangers.map { "\($0.name)" }.joined(separator: ", "))
    }
    guard findings.isEmpty else {
      throw Outcome(
        .integrity,
        "\(findings.count) damaged or missing"
          + (repair ? ", \(findings.count { $0.outcome == .restored }) of them restored" : ""),
        hint: repair ? nil : "--repair brings back what can be brought back")
    }
    try global.cancellation.check()
  }

  /// What to do about a file, when it is up to the user.
  private func advice(_ finding: VerifyFinding, _ catalog: LakeCatalog) throws -> String? {
    let (damage, outcome) = (finding.damage, finding.outcome)
    if outcome == .restored { return nil }
    if damage.isUnreadable { return "it must be readable by this user; nothing was done to it" }
    if outcome == .kept {
      let hint = finding.obstacle.map { $0.hint ?? $0.message }
      return "it stays where it is" + (hint.map { ": \($0)" } ?? "") + "; then `tarn verify --repair` again"
    }
    switch damage.file.kind {
    case .shard:
      guard outcome == .givenUp, !finding.isOfDropped else { return nil }
      let flag = finding.isOfCommands ? " --allow-commands" : ""
      return "`tarn sync \(damage.file.name.split(separator: "/").first ?? "")\(flag)` fetches it"
    case .keptRevision:
      let source = damage.file.name.split(separator: "/").first ?? ""
      return outcome == nil ? nil : "`tarn import \(source) FILE --keep-old` takes a copy in, if there is one"
    case .artifact(let kind) where kind.canBeMadeAgain: return outcome == nil ? nil : "made again when it is needed"
    case .artifact(.outputShard), .artifact(.refineShard):
      return try catalog.wayBack(toOutput: damage.file.digest)
    case .artifact: return outcome == nil ? nil : "run its `tarn train` again: the same inputs give the same bytes"
    case .outputName: return outcome == nil ? nil : "restore the file it belongs to first"
    case .lockFile, .document: return outcome == nil ? nil : "the catalog cannot prove what it said; restore the file"
    case .record:
      return
        "restore a backup of the catalog; without one, set it aside and `tarn rebuild-catalog` makes it from the lock files"
    case .history:
      let change = "something changed the catalog behind tarn's back"
      if case .brokenChain = damage.problem { return "compare it with a backup: \(change)" }
      return "compare it with a backup: an older catalog was put back, it was made again, or \(change)"
    }
  }

  private typealias Head = (event: Int, hash: String)

  private func printJSON(
    _ report: VerifyReport, _ findings: [VerifyFinding], _ strangers: [StrangerVersion], _ head: Head?,
    _ catalog: LakeCatalog
  ) throws {
    Output.json([
      "checked": .count(report.checkedCount), "bytes": .count(report.checkedByteCount),
      "left": .count(report.leftCount), "left_bytes": .count(report.leftByteCount),
      "oldest_check": .optional(report.oldestCheck),
      "copies": .strings(report.copies.map(\.path)),
      "unknown_versions": .array(strangers.map { .string("\($0.name)") }),
      "history": head.map { .object(["event": .count($0.event), "hash": .string($0.hash)]) } ?? .null,
      "unchecked": .array(report.unchecked.map(\.json)),
      "damages": .array(
        try findings.map { finding in
          .object([
            "of": .strings(try users(of: finding.damage.file, catalog)),
            "kind": .string(finding.damage.file.kind.word), "path": .string(finding.damage.file.path),
            "name": .string(finding.damage.file.name), "sha256": .optional(finding.damage.file.statedDigest?.hex),
            "message": .string(finding.damage.message), "fields": fields(finding.damage),
            "problem": .string(finding.damage.problem.word),
            "chunks": .optional(finding.damage.chunks),
            "repair": .optional(finding.outcome?.rawValue),
            "advice": .optional(try advice(finding, catalog)),
          ])
        }),
    ])
  }

  private func words(_ outcome: RepairOutcome) -> String {
    switch outcome {
    case .restored: "restored"
    case .givenUp: "given up"
    case .kept: "not replaced"
    case .lost: "lost"
    }
  }

  /// The statements that do not hold, for programs.
  private func fields(_ damage: Damage) -> JSONValue {
    guard case .statements(let differences) = damage.problem else { return .array([]) }
    return .array(differences.map(\.json))
  }

  /// The versions and trained indexes that an artifact is part of.
  private func users(of file: VouchedFile, _ catalog: LakeCatalog) throws -> [String] {
    guard case .artifact = file.kind else { return [] }
    return try catalog.users(of: file.digest)
  }

  private func printText(
    _ report: VerifyReport, _ findings: [VerifyFinding], _ head: Head?, _ catalog: LakeCatalog
  ) throws {
    for finding in findings {
      let (damage, outcome) = (finding.damage, finding.outcome)
      let users = try users(of: damage.file, catalog)
      let place = users.isEmpty ? "" : " of \(users.joined(separator: ", "))"
      // There is one history, whose name is its kind's.
      let kind = damage.file.kind == .history ? "" : damage.file.kind.word + " "
      let parts = [
        "\(damage.file.path) (\(kind)\(damage.file.name)\(place)) \(damage.message)",
        outcome.map(words), try advice(finding, catalog),
      ]
      Output.line(parts.compactMap(\.self).joined(separator: "; "))
    }
    Output.line(
      "\(report.checkedCount.counted("file")) read (\(ByteSize.text(report.checkedByteCount))), \(findings.count) damaged or missing"
        + (report.leftCount == 0
          ? ""
          : ", \(report.leftCount) left (\(ByteSize.text(report.leftByteCount))), read last \(report.oldestCheck ?? "never")")
    )
    if !report.copies.isEmpty {
      let bytes = report.copies.reduce(0) { $0 + ($1.byteCount ?? 0) }
      Output.line(
        "\(report.copies.count.counted("name")) of outputs beside the files in artifacts/ that they should be links to "
          + "(\(ByteSize.text(bytes)))\(repair ? ", linked again" : "; --repair links them again")")
    }
    for omission in report.unchecked { Output.line("not checked: \(omission.field), \(omission.reason)") }
    if let head { Output.line("head of the history: event \(head.event), \(head.hash)") }
  }
}
