internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn pack`: rows of companions, packed.
struct PackVerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pack", abstract: "Pack a companion's rows, so that search and locate find single ones quickly.",
    discussion: """
      Each shard that is in the lake becomes a file of compressed blocks with an index; one that has such a file is left
      as it is. Columns that hold lists or structures are left out, and told. A shard that cannot be read is told with
      its row, and the others are packed. The shards themselves may be evicted afterwards. Versions get what they had no
      companion for; --rebind has them take newer revisions too. Of several companions each is told by itself, and what one
      lacks keeps none of the others from being packed.

      EXAMPLES
        tarn pack meta
        tarn pack meta tags
        tarn pack meta --columns url,caption
        tarn pack meta --rebind

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("Which companions.", valueName: "companion"), completion: .sources)
  var sources: [String]

  @Option(help: ArgumentHelp("The columns that are kept, with commas (default: all).", valueName: "names"))
  var columns: String?

  @OptionGroup var range: ShardRangeOptions

  @Flag(help: "Versions take what the newest revisions say of their rows, in place of what they had.")
  var rebind = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, "pack", sources.joined(separator: " "), on: [.source: sources])
    var run = PackRun(catalog, cancellation: global.cancellation)
    run.columns = try columns.map { try ColumnList.names(in: $0) }
    run.ordinals = try range.ordinals()
    run.rebinds = rebind
    for name in sources { _ = try catalog.companion(named: name) }
    var shortfalls: [Outcome] = []
    for name in sources {
      let progress = global.progress(sources.count > 1 ? "pack \(name)" : "pack")
      let summary = try run.run(name) { done, total, rows in
        progress.update(done: Double(done), total: Double(total)) {
          "\(done)/\(total) shards, \(rows) rows of the next"
        }
      }
      progress.clear()
      show(summary, of: name)
      Output.flush()
      if let shortfall = Self.shortfall(summary, of: name) { shortfalls.append(shortfall) }
    }
    guard !shortfalls.isEmpty else { return }
    // The gravest ends the command, and is said by whoever does.
    let gravest = shortfalls.remove(at: shortfalls.firstIndex { $0.status == .integrity } ?? 0)
    for line in shortfalls.compactMap({ Failure($0)?.line }) { Output.diagnostic("tarn: \(line)") }
    throw gravest
  }

  /// Invariant 8: what was not done is not passed over.
  private static func shortfall(_ summary: PackSummary, of source: String) -> Outcome? {
    guard summary.misaligned.isEmpty else {
      return Outcome(.integrity, "\(summary.misaligned.count.counted("shard")) of \(source) misaligned")
    }
    guard summary.failures.isEmpty else {
      return Outcome(
        .integrity, "\(summary.failures.count.counted("shard")) of \(source) cannot be read, so not packed")
    }
    guard summary.missing.isEmpty else {
      return Outcome(
        .partial,
        "\(summary.missing.count.counted("shard")) of \(source) not in the lake, \(summary.missing[0]) first",
        hint: "run `tarn sync \(source)`")
    }
    return nil
  }

  private func show(_ summary: PackSummary, of source: String) {
    for line in MisalignedShard.lines(summary.misaligned) { Output.warn("\(line)") }
    for failure in summary.failures { Output.warn("\(failure.error)") }
    if global.json {
      let named: [String: JSONValue] = sources.count > 1 ? ["source": .string(source)] : [:]
      let facts: [String: JSONValue] = [
        "packed": .count(summary.packedCount), "bytes": .count(summary.packedByteCount),
        "kept": .count(summary.keptCount), "missing": .strings(summary.missing),
        "misaligned": .array(summary.misaligned.map { .string($0.shard) }), "bound": .count(summary.boundCount),
        "failed": .array(
          summary.failures.map { .object(["shard": .string($0.shard), "error": .string("\($0.error)")]) }),
        "without": .count(summary.withoutCount),
        "left_out": .array(
          summary.leftOut.map { .object(["column": .string($0.column), "cause": .string($0.cause)]) }),
      ]
      return Output.json(facts.merging(named) { $1 })
    }
    Output.line(
      (sources.count > 1 ? "\(source): " : "")
        + "\(summary.packedCount.counted("shard")) packed (\(ByteSize.text(summary.packedByteCount))), "
        + "\(summary.keptCount) had packs already")
    if summary.withoutCount > 0 {
      Output.line(
        "nothing is said of \(summary.withoutCount.counted("row")) that \(summary.withoutCount == 1 ? "is" : "are") excluded"
      )
    }
    if summary.boundCount > 0 { Output.line("\(summary.boundCount.counted("shard")) of versions got companions") }
    for column in summary.leftOut {
      Output.line(
        column.column.isEmpty
          ? "what has no name of a column is left out"
          : "column \(column.column.printable) is left out: it is \(column.cause)")
    }
  }
}
