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
      lists of their own. Ids count the rows that the shards have now; where they are other rows in a sealed version, as a
      shard was replaced by one with another number of rows since, a warning says so, and --json names all as `moved`. The
      next `tarn build` of a name has holes there; no other id moves. Only outputs that hold such
      rows are written anew, from the outputs of the last version, without any shard. A `tarn train` leaves drawn rows out
      that are excluded, of images and of captions, and their pairs with them; one that was begun before begins anew. A
      trained index that is ready stays: it has no rows, but means of them. Rows of the same pairs in the source that it was
      trained with are named, and excluded by a list of their own.

      --match COLUMN --values FILE makes a rule instead: rows go whose companion (`tarn source add --companion-of`) has one
      of the values in that column, one a line, compared byte by byte. It is held against what is here now, and at each
      `tarn build` and `tarn plan build` against shards, revisions and companions that came since; where the companion is
      needed and not here, nothing is built. A version that was planned before the rule is held against it before it is
      sealed, and one that is pulled, with the bytes that workers or its publisher saw. Values are kept as digests alone. How many are in no row that is here is told, with
      the first ten of them; --json names all, and with --dry-run the rows that would go, as `found`: id, shard and row.

      What lies beside the tasks of a training or a build (`tarn plan`), drawn rows and what workers found or made, is named as
      far as it is there, and so by `tarn abandon` and `tarn remove`: no command takes it away.

      Sealed versions stay what they are until `tarn revoke` and `tarn gc --apply`, but no search shows such a row. `tarn sql "SELECT * FROM v_exclusion"`
      tells of every row whether a live version has it, and v_exclusion_holder which files of the lake, and which copies that were pushed or exported, still do. A version
      that was planned before, and is not sealed, may have such rows once it is: it is named here, and `tarn build` and
      `tarn ingest` say so when they seal it. A mistake is answered with --undo, on a list too.

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

  @OptionGroup var why: ReasonOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
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
    let run = try ExcludeRun(catalog, of: source, reason: why.reason, cancellation: global.cancellation)
    let kind: ExclusionKind = undo ? .readmit : .exclude
    if let match, let input {
      let summary = try run.match(match, values: input, kind, dry: dryRun)
      // A program that asks again asks for what is left.
      let isTold = !undo && (summary.rule != nil || summary.rowCount > 0 || global.json)
      let left = try Left(after: run, isTold: isTold, dry: dryRun)
      try show(summary, left, catalog)
    } else {
      let summary = try input.map { try run.run($0, kind, dry: dryRun) } ?? run.confirm(dry: dryRun)
      var left = try Left(after: run, isTold: !undo && (summary.list != nil || global.json), dry: dryRun)
      left.named = summary.ids
      try show(summary, left, catalog)
    }
    Output.flush()
  }

  /// What an exclusion leaves, which is somebody's to take away.
  private struct Left {
    /// Ids of the file that named rows.
    var named: Set<Int64> = []
    var partners: [ExcludeRun.Partner] = []
    var trainings: [String] = []
    var versions: [VersionName] = []
    var tasks: [(subject: String, folders: [String])] = []

    init(after run: ExcludeRun, isTold: Bool, dry isDry: Bool) throws {
      guard isTold, !isDry else { return }
      (partners, trainings) = (try run.partners(), try run.unfinishedTrainings())
      versions = try run.unfinishedVersions()
      tasks = try run.placesOfTasks()
    }

    var json: [String: JSONValue] {
      [
        "paired": .array(
          partners.map { partner in
            .object(["source": .string(partner.source), "ids": .array(partner.ids.map { .integer($0) })])
          }),
        "unfinished_trainings": .strings(trainings),
        "unfinished_versions": .strings(versions.map { "\($0)" }),
        "tasks": .array(
          tasks.map { .object(["of": .string($0.subject), "folders": .strings($0.folders)]) }),
      ]
    }
  }

  private func tell(_ left: Left) {
    for partner in left.partners {
      let named = partner.ids.prefix(3).map { "\($0)" }.joined(separator: ", ")
      let more = partner.ids.count > 3 ? " and \(partner.ids.count - 3) more" : ""
      Output.line(
        "\(partner.source) still has \(partner.ids.count.counted("row")) of the same pairs, \(named)\(more): "
          + way(toExcludeRowsOf: partner, left.named))
    }
    for name in left.versions {
      Output.line(
        "\(name) is not finished, and may have been planned with them: `tarn abandon \(name)`, and the next version is "
          + "begun without them (its tasks in another directory)")
    }
    for name in left.trainings {
      Output.line(
        "the training of \(name) is not finished, and may have gathered them in scratch/: its `tarn train` again begins "
          + "anew without them, or `tarn remove \(name)` and `tarn gc --apply --grace 0s`")
    }
    for (subject, folders) in left.tasks { Output.line(TaskPlace.words(subject, folders)) }
  }

  /// The command that excludes the other rows of pairs.
  private func way(toExcludeRowsOf partner: ExcludeRun.Partner, _ named: Set<Int64>) -> String {
    if partner.readsSameFiles, let match, let values, values != "-" {
      return "`tarn exclude \(partner.source) --match \(QuotedWords.quoted(match)) --values "
        + "\(QuotedWords.quoted(values)) --reason TEXT`"
    }
    // What an earlier list took out here is not in this one.
    if partner.haveSameIDs, let ids, ids != "-", named.isSuperset(of: partner.ids) {
      return "`tarn exclude \(partner.source) --ids \(QuotedWords.quoted(ids)) --reason TEXT`"
    }
    // Where shards that were not trained on have other lengths, an id of the one is another row of the other.
    return (partner.haveSameIDs ? "" : "they have other ids there: ")
      + "`tarn exclude \(partner.source) --ids FILE --reason TEXT`, with the ids that the same command tells with --json, "
      + "as `paired`"
  }

  private var done: String { undo ? "may be found again" : "excluded" }

  private func json(_ moved: [ExcludeRun.MovedRow]) -> JSONValue {
    .array(
      moved.map { row in
        .object([
          "id": .integer(row.id), "version": .string("\(row.version)"), "shard": .string(row.shard),
          "row": .count(row.row), "id_now": row.newID.map { .integer($0) } ?? .null,
        ])
      })
  }

  /// Ids that somebody took from a version of other ids are of other rows, which goes with no error.
  private func warn(of moved: [ExcludeRun.MovedRow]) {
    guard let first = moved.first else { return }
    let now = first.newID.map { "is \($0) now" } ?? "has no id now"
    Output.warn(
      "\(moved.count.counted("id")) named \(moved.count == 1 ? "is" : "are") of another row in sealed versions, as a shard "
        + "has another number of rows now: \(first.id) is row \(first.row) of \(first.shard) in \(first.version), which "
        + "\(now); --json tells all as `moved`, and --undo takes back what was not meant")
  }

  private func show(_ summary: ExcludeRun.Summary, _ left: Left, _ catalog: LakeCatalog) throws {
    if !undo { warn(of: summary.moved) }
    if global.json {
      let told: [String: JSONValue] = [
        "source": .string(source), "list": summary.list.map { .count($0.number) } ?? .null,
        "rows": .count(dryRun ? summary.changedCount : summary.list?.rowCount ?? 0),
        "sha256": .optional(summary.list?.digest.hex), "undone": .bool(undo), "dry_run": .bool(dryRun),
        "held_by_rules": .count(summary.heldCount), "versions": .array(summary.versions.map { .string("\($0)") }),
        "published": try published(summary.versions, catalog),
        "moved": json(summary.moved),
      ]
      Output.json(told.merging(left.json) { $1 })
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
    if dryRun || summary.list != nil { try tell(summary.versions, catalog) }
    tell(left)
  }

  private func show(_ summary: ExcludeRun.RuleSummary, _ left: Left, _ catalog: LakeCatalog) throws {
    let column = "\(summary.companion).\(summary.column.printable)"
    if global.json {
      var document: [String: JSONValue] = [
        "source": .string(source), "rule": summary.rule.map { .count($0.number) } ?? .null,
        "companion": .string(summary.companion), "column": .string(summary.column),
        "values": .count(summary.valueCount), "values_changed": .count(summary.changedCount),
        "values_unmatched": .count(summary.unmatchedCount), "unmatched": .strings(summary.unmatched),
        "blank_lines": .count(summary.blankCount), "duplicates": .count(summary.duplicateCount),
        "with_white_space": .count(summary.spacedCount), "rows": .count(summary.rowCount),
        "shards_scanned": .count(summary.scannedCount), "shards_lacking": .count(summary.lackingCount),
        "sha256": .optional(summary.rule?.digest.hex), "undone": .bool(undo), "dry_run": .bool(dryRun),
        "versions": .array(summary.versions.map { .string("\($0)") }),
        "published": try published(summary.versions, catalog),
      ]
      if dryRun, !undo {
        document["found"] = .array(
          summary.rows.map { row in
            .object(["id": row.id.map { .integer($0) } ?? .null, "shard": .string(row.shard), "row": .count(row.row)])
          })
      }
      Output.json(document.merging(left.json) { $1 })
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
      try tell(summary.versions, catalog)
      tell(left)
    }
    let oddities = [
      (summary.blankCount, "blank line", "left out"), (summary.duplicateCount, "line", "said what one before did"),
      (summary.spacedCount, "value", "with white space at an end, which is part of it"),
    ].filter { $0.0 > 0 }.map { "\($0.0.counted($0.1)) \($0.2)" }
    if !oddities.isEmpty {
      let file = values == "-" ? "standard input" : values ?? ""
      global.note("tarn: warning: \(file): \(oddities.joined(separator: ", "))")
    }
    if let lack = summary.lack {
      Output.warn(
        "\(summary.lackingCount.counted("shard")) \(summary.lackingCount == 1 ? "was" : "were") not looked at yet, and will "
          + "be when a version is planned, sealed or pulled: \(lack)")
    }
  }

  /// Names values that did nothing: who mistyped one would not see it otherwise.
  private func tellUnmatched(_ summary: ExcludeRun.RuleSummary) {
    let count = summary.unmatchedCount
    guard count > 0 else { return }
    let place = undo ? "of no rule" : "in no row" + (summary.lackingCount > 0 ? " that was looked at" : "")
    let named = summary.unmatched.prefix(UnmatchedValues.namedCount).map(UnmatchedValues.short)
    let more = count > named.count && !named.isEmpty ? " and \(count - named.count) more" : ""
    Output.line(
      "\(count.counted("value")) \(count == 1 ? "is" : "are") \(place)"
        + (named.isEmpty ? "" : ": \(named.joined(separator: ", "))\(more)"))
  }

  /// Where copies of versions are that have such rows.
  private func published(_ versions: [VersionName], _ catalog: LakeCatalog) throws -> JSONValue {
    .array(
      try versions.flatMap { name in
        try catalog.publications(of: name).map {
          JSONValue.object(["version": .string("\(name)"), "place": .string($0.place)])
        }
      })
  }

  private func tell(_ versions: [VersionName], _ catalog: LakeCatalog) throws {
    guard !versions.isEmpty else { return }
    let adopted = try versions.filter { try catalog.source(id: catalog.version($0).sourceID).isAdopted }
    let built = versions.filter { !adopted.contains($0) }
    if !built.isEmpty {
      Output.line(
        "\(built.map { "\($0)" }.joined(separator: ", ")) still \(built.count == 1 ? "has" : "have") "
          + "them: build the next one, then `tarn revoke` and `tarn gc --apply`")
    }
    // No build makes the next one of what was adopted.
    for name in adopted {
      Output.line(
        "\(name) was adopted and may have them in its files, and shows none of them: "
          + "`tarn revoke \(name) --reason TEXT` and `tarn gc --apply` remove the files")
    }
    if !undo { for name in versions { try catalog.tellOfPublications(of: name) } }
  }
}
