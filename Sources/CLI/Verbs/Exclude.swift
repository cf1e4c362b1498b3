internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn exclude SOURCE`: rows that must not be found.
struct Exclude: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exclude", abstract: "Take rows out of everything that is built from now on.",
    discussion: """
      Rows are named by their ids in the source, as `tarn search` and `tarn locate` have them. They go onto a list that
      is only ever added to, with the digest of the bytes whose rows they are: other bytes of the shard want --confirm, or
      lists of their own. The next `tarn build` of a name has holes there; no other id moves. Only outputs that hold such
      rows are written anew, from the outputs of the last version, without any shard.

      --match COLUMN --values FILE makes a rule instead: rows go whose companion (`tarn source add --companion-of`) has one
      of the values in that column, one a line, compared byte by byte. It is held against what is here now, and at each
      `tarn build` and `tarn plan build` against shards, revisions and companions that came since; where the companion is
      needed and not here, nothing is built. Values are kept as digests alone. How many are in no row that is here is told, with
      the first ten of them; --json names all.

      Sealed versions stay what they are until `tarn revoke` and `tarn gc --apply`, but no search shows such a row. `tarn sql "SELECT * FROM v_exclusion"`
      tells of every row whether a live version has it, and v_exclusion_holder which files of the lake still do. A mistake
      is answered with --undo, on a list too.

      EXAMPLES
        tarn exclude images --ids takedown.txt --reason 'asked for by their owner, case 17'
        tarn locate laion@1 1485 && echo 1485 | tarn exclude images --ids - --reason 'case 18'
        tarn exclude images --ids mistaken.txt --undo --reason 'case 17 was about another picture'
        tarn exclude images --match url --values urls.txt --reason 'case 19' --dry-run
        tarn exclude images --match meta.url --values urls.txt --reason 'case 19'

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var source: String

  @Option(
    help: ArgumentHelp("Row ids of it: one a line, or a .npy of int64; - for standard input.", valueName: "file"),
    completion: .file())
  var ids: String?

  @Option(help: ArgumentHelp("A column of a companion of it, for a rule.", valueName: "[companion.]column"))
  var match: String?

  @Option(
    help: ArgumentHelp("Values of the column, one a line; - for standard input.", valueName: "file"),
    completion: .file())
  var values: String?

  @Flag(help: "They may be found again.")
  var undo = false

  @Flag(help: "Exclude the rows in the same places of the bytes that came since.")
  var confirm = false

  @Flag(help: "Only say how many rows it would be.")
  var dryRun = false

  @Option(help: ArgumentHelp("Why; kept in the history.", valueName: "text"))
  var reason: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard reason.contains(where: { !$0.isWhitespace }) else { throw ValidationError("--reason says nothing.") }
    guard (match != nil) == (values != nil) else { throw ValidationError("--match COLUMN goes with --values FILE.") }
    guard [ids != nil, match != nil, confirm].count(where: { $0 }) == 1 else {
      throw ValidationError(
        "Rows are named in one way alone: by --ids FILE, by --match COLUMN --values FILE, or by --confirm.")
    }
    guard !(undo && confirm) else { throw ValidationError("--confirm excludes and --undo takes back.") }
  }

  func run() throws {
    let input = try (ids ?? values).map { try RowIDInput.named($0) }
    let catalog =
      try dryRun ? global.read() : writer.open(global, "exclude", source, on: [.source: [source]])
    let run = try ExcludeRun(catalog, of: source, reason: reason, cancellation: global.cancellation)
    let kind: ExclusionKind = undo ? .readmit : .exclude
    if let match, let input {
      show(try run.match(match, values: input, kind, dry: dryRun))
    } else {
      show(try input.map { try run.run($0, kind, dry: dryRun) } ?? run.confirm(dry: dryRun))
    }
    Output.flush()
  }

  private var done: String { undo ? "may be found again" : "excluded" }

  private func show(_ summary: ExcludeRun.Summary) {
    if global.json {
      Output.json([
        "source": .string(source), "list": summary.list.map { .count($0.number) } ?? .null,
        "rows": .count(dryRun ? summary.changedCount : summary.list?.rowCount ?? 0),
        "sha256": .optional(summary.list?.digest.hex), "undone": .bool(undo), "dry_run": .bool(dryRun),
        "held_by_rules": .count(summary.heldCount), "versions": .array(summary.versions.map { .string("\($0)") }),
      ])
      return
    }
    if dryRun {
      Output.line(
        "\(source): \(summary.changedCount.counted("row")) of \(summary.rowCount) named would "
          + (undo ? "be found again" : "be excluded"))
    } else if let list = summary.list {
      Output.line("list \(list.number) of \(source): \(list.rowCount.counted("row")) \(done)")
    } else {
      Output.line("\(source): the lists say that already")
    }
    if summary.heldCount > 0 {
      Output.line(
        "\(summary.heldCount.counted("row")) of these \(summary.heldCount == 1 ? "stays" : "stay") excluded by a rule: "
          + "--match COLUMN --values FILE --undo takes its values back")
    }
    if dryRun || summary.list != nil { tell(summary.versions) }
  }

  private func show(_ summary: ExcludeRun.RuleSummary) {
    let column = "\(summary.companion).\(summary.column.printable)"
    if global.json {
      Output.json([
        "source": .string(source), "rule": summary.rule.map { .count($0.number) } ?? .null,
        "companion": .string(summary.companion), "column": .string(summary.column),
        "values": .count(summary.valueCount), "values_changed": .count(summary.changedCount),
        "values_unmatched": .count(summary.unmatchedCount), "unmatched": .array(summary.unmatched.map { .string($0) }),
        "blank_lines": .count(summary.blankCount), "duplicates": .count(summary.duplicateCount),
        "with_white_space": .count(summary.spacedCount), "rows": .count(summary.rowCount),
        "shards_scanned": .count(summary.scannedCount), "shards_lacking": .count(summary.lackingCount),
        "sha256": .optional(summary.rule?.digest.hex), "undone": .bool(undo), "dry_run": .bool(dryRun),
        "versions": .array(summary.versions.map { .string("\($0)") }),
      ])
    } else {
      if dryRun {
        Output.line(
          "\(source): \(summary.changedCount.counted("value")) of \(column) would be "
            + "\(undo ? "taken back" : "a rule"), \(summary.rowCount.counted("row")) \(undo ? "found again" : "excluded")"
        )
      } else if let rule = summary.rule {
        Output.line(
          "rule \(rule.number) of \(source): \(rule.valueCount.counted("value")) of \(column), "
            + "\(summary.rowCount.counted("row")) \(done)")
      } else {
        Output.line("\(source): the rules say that already; \(summary.rowCount.counted("row")) more \(done)")
      }
      tellUnmatched(summary)
      tell(summary.versions)
    }
    let oddities = [
      (summary.blankCount, "blank line", "left out"), (summary.duplicateCount, "line", "said what one before did"),
      (summary.spacedCount, "value", "with white space at an end, which is part of it"),
    ].filter { $0.0 > 0 }.map { "\($0.0.counted($0.1)) \($0.2)" }
    if !oddities.isEmpty {
      let file = values == "-" ? "standard input" : values ?? ""
      Output.diagnostic("tarn: warning: \(file): \(oddities.joined(separator: ", "))")
    }
    if let lack = summary.lack {
      Output.diagnostic(
        "tarn: warning: \(summary.lackingCount.counted("shard")) \(summary.lackingCount == 1 ? "was" : "were") not looked at yet, and will "
          + "be when a version is planned: \(lack)")
    }
  }

  /// Most values that are named; `--json` has all.
  private static let namedCount = 10
  /// The widest that one is shown.
  private static let width = 100

  /// Names values that did nothing: who mistyped one would not see it otherwise.
  private func tellUnmatched(_ summary: ExcludeRun.RuleSummary) {
    let count = summary.unmatchedCount
    guard count > 0 else { return }
    let place = undo ? "of no rule" : "in no row" + (summary.lackingCount > 0 ? " that was looked at" : "")
    let named = summary.unmatched.prefix(Self.namedCount).map { value in
      let text = value.printable
      return text.columnCount <= Self.width ? text : text.prefix(columns: Self.width - 1) + "…"
    }
    let more = count > named.count && !named.isEmpty ? " and \(count - named.count) more" : ""
    Output.line(
      "\(count.counted("value")) \(count == 1 ? "is" : "are") \(place)"
        + (named.isEmpty ? "" : ": \(named.joined(separator: ", "))\(more)"))
  }

  private func tell(_ versions: [VersionName]) {
    guard !versions.isEmpty else { return }
    Output.line(
      "\(versions.map { "\($0)" }.joined(separator: ", ")) still \(versions.count == 1 ? "has" : "have") "
        + "them: build the next one, then `tarn revoke` and `tarn gc --apply`")
  }
}
