internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn source probe NAME`: ask every mirror what it has.
struct SourceProbe: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "probe", abstract: "Ask every mirror of a source which shards it has; no shard is fetched.",
    discussion: """
      Where the rows of a shard are not known, its first bytes are asked for, too, and those of .npz, .pt and .parquet
      files that tell them: so the ids of a version can be planned. `tarn sync` asks mirrors that lack a shard last. No
      mirror is asked for one shard longer than a minute at a time. A host that fails for now is left alone for 1, 2, 4 s …
      and asked again until --patience has passed without an answer; other hosts go on. Ends with 75 when only patience ran
      out, with 3 when shards are on no mirror or served wrongly. rows_untold
      in --json counts the shards that mirrors have and whose rows nobody tells.

      EXAMPLES
        tarn source probe images
        tarn source probe images --shards 0-99 --json

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @OptionGroup var range: ShardRangeOptions

  @Option(help: ArgumentHelp("Questions under way at a time.", valueName: "n"))
  var jobs: Int = 32

  @Option(help: .patience(for: "a host that fails for now, e.g. 1h"))
  var patience: TimeSpan = .ofSync

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard (1...256).contains(jobs) else { throw ValidationError("--jobs is 1 to 256.") }
  }

  func run() async throws {
    let catalog = try writer.open(global, "source probe", name, on: [.source: [name]])
    let source = try catalog.fileSource(of: catalog.source(named: name))
    var configuration = FetchConfiguration.ofTool
    configuration.attemptsPerMirror = 3
    let progress = global.progress("probe")
    var waits = WaitOptions()
    waits.patience = patience.duration
    waits.report = { wait in
      catalog.tell(wait)
      progress.note(wait.text)
    }
    defer { catalog.tellNoWaits() }
    let run = ProbeRun(
      catalog, source, ordinals: try range.ordinals(), concurrency: jobs,
      configuration: configuration, waits: waits, cancellation: global.cancellation
    ) { done, total in
      progress.update(done: Double(done), total: Double(total)) { "\(done)/\(total) asked" }
    }
    let summary = try await run.run()
    progress.clear()
    let mirrors = try catalog.coverage(of: source)
    let lacking = try catalog.shardsWithoutMirror(of: source)
    let wrong = try catalog.shardsServedWrongly(of: source)
    let untold = try catalog.untoldRows(of: source, range.ordinals())
    let kept = source.keptQuery
    global.json
      ? printJSON(mirrors, lacking, wrong, summary, untoldCount: untold?.count ?? 0, keeping: kept)
      : printTable(mirrors, lacking, wrong, keeping: kept)
    if !global.json, let untold {
      let (of, are) = untold.count == 1 ? ("its server gives", "is") : ("their servers give", "are")
      Output.line(
        "the rows of \(untold.count.counted("shard")) \(are) told by nobody, as \(of) out no parts of files: \(untold.way)"
      )
    }
    Output.flush()
    if summary.unreachableCount > 0 {
      throw Outcome(
        lacking.isEmpty && wrong.isEmpty ? .temporary : .partial,
        "\(summary.unreachableCount.counted("question")) \(summary.unreachableCount == 1 ? "was" : "were") not answered: \(summary.firstUnreachable ?? "no reason")",
        hint: "run it again to retry")
    }
    if !lacking.isEmpty || !wrong.isEmpty {
      throw Outcome(.partial, summary.wayIn.map { _ in "access was refused" }, hint: summary.wayIn)
    }
  }

  private func printTable(
    _ mirrors: [MirrorCoverage], _ lacking: [Shard], _ wrong: [(name: String, error: String)],
    keeping kept: Set<String>
  ) {
    var table = Table(["mirror", "present", "absent", "faulty", "unknown", "size", "template"])
    for mirror in mirrors {
      table.add([
        .integer(Int64(mirror.priority)), .integer(Int64(mirror.presentCount)), .integer(Int64(mirror.absentCount)),
        .integer(Int64(mirror.faultyCount)), .integer(Int64(mirror.unknownCount)),
        .text(mirror.byteCount.map(ByteSize.text) ?? "not known"),
        .text(AddressText(mirror.template).redacted(keeping: kept)),
      ])
    }
    table.print(as: .table)
    if !lacking.isEmpty {
      let shown = lacking.map(\.name).listed(20)
      Output.line("on no mirror: \(lacking.count.counted("shard")): \(shown)")
    }
    if let first = wrong.first {
      Output.line(
        "refused or wrong on every mirror: \(wrong.count.counted("shard")); the first, \(first.name): \(first.error)")
    }
  }

  private func printJSON(
    _ mirrors: [MirrorCoverage], _ lacking: [Shard], _ wrong: [(name: String, error: String)], _ summary: ProbeSummary,
    untoldCount: Int, keeping kept: Set<String>
  ) {
    Output.json([
      "source": .string(name),
      "mirrors": .array(
        mirrors.map { mirror in
          .object([
            "mirror": .count(mirror.priority),
            "template": .string(AddressText(mirror.template).redacted(keeping: kept)),
            "provenance": .string(mirror.provenance), "present": .count(mirror.presentCount),
            "absent": .count(mirror.absentCount), "faulty": .count(mirror.faultyCount),
            "unknown": .count(mirror.unknownCount), "bytes": .optionalCount(mirror.byteCount),
          ])
        }),
      "on_no_mirror": .array(lacking.map { .string($0.name) }),
      "served_wrongly": .array(wrong.map { .object(["shard": .string($0.name), "error": .string($0.error)]) }),
      "rows_untold": .count(untoldCount),
      "answered": .count(summary.answeredCount),
      "unreachable": .count(summary.unreachableCount),
    ])
  }
}
