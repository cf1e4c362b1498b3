internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake
internal import Report

/// `tarn evaluate`: what versions find of what exact search finds.
struct Evaluate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Measure the recall of versions against exact search over the original features.",
    discussion: """
      Exact search reads every shard of the version once; its answer is kept for the next version of the same rows. With
      --fetch what is not in the lake is fetched meanwhile; within --budget a shard goes once it was compared. With
      --missing skip the version is measured as if it had the shards alone that are here, and the record says which.
      recall@k is the share of the k nearest rows that came back, routing the share whose list was visited: what lies
      between is the codec's loss, less what codes that refine bring back. scanned is the share of all rows that a query's lists hold. The rate is of searches
      for -k rows. ±95% is half of the 95 % interval, 1.96 times the standard error over the queries (standard_error in --json):
      what differs by less may be chance. Of several versions a second table has recall at 1, 2 and 4 % of the rows scanned, linear
      between two measured nprobe, and - where --nprobe has none on both sides of it; --json has that of each version as
      recall_where_scanned, null for such. A version is measured as it was built: a warning says how many of its rows were
      excluded since. Results are kept: `tarn show NAME@N`, or the view v_evaluation. While it
      runs, what would change or drop the shards that it reads waits, and so does another evaluation over the same source;
      other commands go on (docs/LEASES.md).

      EXAMPLES
        tarn evaluate laion@1 --queries captions.npy
        tarn evaluate paired@1 plain@1 --queries captions.npy --nprobe 1,4,16 --report recall.html
        tarn evaluate laion@1 --queries captions.npy --nprobe 8 --require recall@10=0.9
        tarn evaluate laion@1 --queries captions.npy --budget 100GB
        tarn evaluate laion@1 --queries captions.npy --missing skip

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The versions; NAME for the newest.", valueName: "NAME[@N]"), completion: .versions)
  var versions: [String]

  @Option(
    help: ArgumentHelp("Queries: a feature file of the version's dimension.", valueName: "file"), completion: .file())
  var queries: String

  @Option(name: .short, help: ArgumentHelp("The deepest recall, measured beside those at 1 and 10.", valueName: "k"))
  var k: Int = 100

  @Option(
    help: ArgumentHelp(
      "Lists visited for each query, each measured (default: 1,2,4,8,16,32,64).", valueName: "n,n,…"))
  var nprobe: NumberList?

  @Option(help: ArgumentHelp("Exit with 25 if a version lacks it at the greatest nprobe.", valueName: "recall@k=x"))
  var require: [Requirement] = []

  @Option(
    help: ArgumentHelp("Write a page with curves, list sizes, lineage and shards.", valueName: "file.html"),
    completion: .file())
  var report: String?

  @Option(help: ArgumentHelp("Threads (default: TARN_THREADS, else all processors).", valueName: "n"))
  var threads: Int?

  @Option(
    help: ArgumentHelp(
      "Shards that are not in the lake: fail, or skip and measure over the others.", valueName: "policy"))
  var missing: MissingPolicy = .fail

  @Option(
    help: ArgumentHelp("Of an adopted version: the source whose rows its ids count.", valueName: "source"),
    completion: .sources)
  var source: String?

  @Option(
    help: ArgumentHelp(
      "Of an adopted version: the exact neighbours of each query, a .npy of int64, [queries × k or more].",
      valueName: "file"), completion: .file())
  var truth: String?

  @OptionGroup var refined: RefinedRowsOptions

  @OptionGroup(title: StreamOptions.title) var stream: StreamOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    try refined.validate(for: k)
    if let threads, !(1...4096).contains(threads) { throw ValidationError("--threads is 1 to 4096.") }
    try stream.validate(fetchesAnyway: false)
    guard source == nil || truth == nil else {
      throw ValidationError("--source and --truth both say what is true; give one of them.")
    }
    guard truth == nil || !stream.isFetching else {
      throw ValidationError("with --truth no shard is read; --fetch and --budget do not go with it.")
    }
    guard !versions.isEmpty else { throw ValidationError("name a version: NAME@N") }
    guard missing == .fail || !stream.isFetching else {
      throw ValidationError("--missing skip measures over what is in the lake; --fetch and --budget do not go with it.")
    }
    for requirement in require where !EvaluationRun.depths(upTo: k).contains(requirement.k) {
      throw ValidationError("recall@\(requirement.k) is not measured; it is with -k \(requirement.k)")
    }
  }

  func run() async throws {
    let verb = stream.isFetching ? "evaluate --fetch" : "evaluate"
    let catalog = try writer.open(
      global, "evaluate \(versions.joined(separator: " "))", keeping: room
    ) { try $0.leases(of: verb, overVersions: versions, and: source) }
    let names = try versions.map { try global.version($0, catalog) }
    if let report { try OutputPlace.check(report, besides: catalog.layout) }
    let progress = global.progress("evaluate")
    var options = EvaluationOptions(
      queries: queries, k: k, nprobes: nprobe?.numbers ?? [1, 2, 4, 8, 16, 32, 64],
      threads: try threads ?? ThreadCount.ofProcess(), environment: Tool.environment)
    options.missing = missing
    options.refine = refined.count
    (options.source, options.truth) = (source, truth)
    let run = try EvaluationRun(catalog, options, cancellation: global.cancellation) { event in
      switch event {
      case .exact(let done, let rows):
        progress.update(done: Double(done), total: Double(rows)) { "exact search, \(done)/\(rows) rows" }
      case .sampling(let output, let count):
        progress.update(done: Double(output), total: Double(count)) { "taking a sample, file \(output + 1)/\(count)" }
      case .locating(let output, let count):
        progress.update(done: Double(output), total: Double(count)) { "reading ids, file \(output + 1)/\(count)" }
      case .searching(let nprobe): progress.update(done: 0, total: nil) { "searching, nprobe \(nprobe)" }
      }
    }
    // Before the first: what cannot be measured is told before hours of work.
    let fetch = stream.options(catalog)
    for name in names { try run.check(name, fetches: fetch != nil) }
    let revisions = FetchedRevisions()
    var evaluations: [Evaluation] = []
    for name in names {
      evaluations.append(try await run.run(name, fetching: fetch, follow: revisions.following(progress)))
    }
    progress.clear()
    // They are measured as they were built: what is shown of them is another thing.
    for name in names { catalog.warnOfExcludedRows(name, "what was measured counts") }
    for version in try names.map({ try catalog.version($0) }) {
      version.warnWhereRevoked()
      try global.tellOfLists(of: version, asked: nprobe?.numbers ?? [], catalog)
    }
    let failures = evaluations.flatMap { evaluation in require.compactMap { $0.failure(of: evaluation) } }
    if global.json {
      Output.json([
        "evaluations": .array(evaluations.map { .object($0.json) }), "failures": .strings(failures),
        "revised": revisions.json,
      ])
    } else {
      printTable(evaluations)
    }
    Output.flush()
    if let report {
      let page = try ReportPage.of(evaluations, k: EvaluationRun.depths(upTo: k).last { $0 <= 10 } ?? k, catalog)
      try Disk.writeAtomically(Array(page.text.utf8), to: report)
    }
    guard failures.isEmpty else { throw Outcome(.belowRequirement, failures.joined(separator: "; ")) }
  }

  private func printTable(_ evaluations: [Evaluation]) {
    let depths = EvaluationRun.depths(upTo: k)
    var table = Table(
      ["version", "nprobe", "scanned"] + depths.flatMap { ["recall@\($0)", "±95%", "routing@\($0)"] } + [
        "queries/s", "shards",
      ])
    for evaluation in evaluations {
      let shards = evaluation.sample.map { OrdinalSet(ascending: $0).text } ?? "all"
      for point in evaluation.points {
        let share = point.vectorsScanned / Double(max(evaluation.rowCount, 1))
        // Half of the 95 % interval behind each recall, so that nobody reads more digits than there are.
        let recalls = point.recalls.flatMap { [$0.recall, 1.96 * $0.standardError, $0.routingRecall] }
        let rate = Double(evaluation.queryCount) / point.seconds
        var row: [SQLValue] = [.text("\(evaluation.version)"), .integer(Int64(point.nprobe))]
        row.append(.text(String(format: "%.3f %%", 100 * share)))
        row += recalls.map { .text(String(format: "%.4f", $0)) }
        table.add(row + [.text(String(format: "%.0f", rate)), .text(shards)])
      }
    }
    table.print(as: .table)
    for evaluation in evaluations {
      Output.line(
        "\(evaluation.version): \(evaluation.queryCount.counted("query", "queries")), "
          + "\(evaluation.rowCount.counted("row")) in \(evaluation.nlist) "
          + "lists, imbalance \(String(format: "%.2f", evaluation.imbalance))"
          + (evaluation.sample.map { ", measured over shards \(OrdinalSet(ascending: $0).text) alone" } ?? "")
          + (evaluation.refinedRows.map { ", the best \($0) ordered again by codes that refine" } ?? ""))
    }
    if evaluations.count > 1 { printComparison(evaluations, at: depths.last { $0 <= 10 } ?? k) }
  }

  /// Which version is better: at one nprobe each scans another part of its rows.
  private func printComparison(_ evaluations: [Evaluation], at depth: Int) {
    let shares = Evaluation.comparedShares
    let found = evaluations.map { evaluation in shares.map { evaluation.recall(at: depth, whereScanned: $0) } }
    guard found.joined().contains(where: { $0 != nil }) else { return }
    var table = Table(["recall@\(depth)"] + shares.map { String(format: "%g %% scanned", 100 * $0) })
    for (evaluation, recalls) in zip(evaluations, found) {
      let cells = recalls.map { recall in SQLValue.text(recall.map { String(format: "%.3f", $0) } ?? "-") }
      table.add([.text("\(evaluation.version)")] + cells)
    }
    Output.line("")
    table.print(as: .table)
  }
}

extension Evaluation {
  /// The evaluation as a JSON document.
  var json: [String: JSONValue] {
    [
      "version": .string("\(version)"), "queries": .string(queries), "queries_sha256": .string(queriesDigest.hex),
      "query_count": .count(queryCount), "rows": .count(rowCount), "nlist": .count(nlist),
      "refined_rows": .optionalCount(refinedRows),
      "sample_shards": sample.map { .counts($0) } ?? .null,
      "recall_where_scanned": .array(
        Evaluation.comparedShares.flatMap { share -> [JSONValue] in
          (points.first?.recalls ?? []).map { point -> JSONValue in
            .object([
              "share": .number(share), "k": .count(point.k),
              "recall": recall(at: point.k, whereScanned: share).map { .number($0) } ?? .null,
            ])
          }
        }),
      "imbalance": .number(imbalance), "list_sizes": .counts(listSizes), "threads": .count(threads),
      "points": .array(
        points.map { point in
          .object([
            "nprobe": .count(point.nprobe), "vectors_scanned": .number(point.vectorsScanned),
            "share_scanned": .number(point.vectorsScanned / Double(max(rowCount, 1))),
            "queries_per_second": .number(Double(queryCount) / point.seconds),
            "recalls": .array(
              point.recalls.map {
                .object([
                  "k": .count($0.k), "recall": .number($0.recall), "standard_error": .number($0.standardError),
                  "routing_recall": .number($0.routingRecall),
                ])
              }),
          ])
        }),
    ]
  }
}

/// Positive numbers with commas between: `1,2,4`.
struct NumberList: ExpressibleByArgument {
  let numbers: [Int]

  init?(argument: String) {
    let numbers = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
    guard !numbers.isEmpty, numbers.allSatisfy({ ($0 ?? 0) >= 1 }) else { return nil }
    self.numbers = numbers.compactMap { $0 }
  }
}

/// A recall that a version must have: `recall@10=0.9`.
struct Requirement: ExpressibleByArgument {
  let k: Int
  let recall: Double

  init?(argument: String) {
    let halves = argument.split(separator: "=", omittingEmptySubsequences: false)
    guard halves.count == 2, halves[0].hasPrefix("recall@"), let k = Int(halves[0].dropFirst(7)), k >= 1,
      let recall = Double(halves[1]), (0...1).contains(recall)
    else { return nil }
    (self.k, self.recall) = (k, recall)
  }

  /// Why an evaluation does not meet it; nil when it does.
  func failure(of evaluation: Evaluation) -> String? {
    guard let point = evaluation.points.last, let found = point.recalls.first(where: { $0.k == k }) else { return nil }
    guard found.recall < recall else { return nil }
    return "\(evaluation.version) has recall@\(k) \(String(format: "%.4f", found.recall)) at nprobe \(point.nprobe), "
      + "less than \(recall)"
  }
}
