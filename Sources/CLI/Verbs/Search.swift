internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn search`: nearest rows of queries.
struct Search: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Search a version: the rows with the greatest inner product with each query.",
    discussion: """
      With --output OUT the answer is OUT.ids.npy (int64, [n × k], -1 where there is none) and OUT.scores.npy (float32,
      [n × k]); otherwise a table with the place of each row, or with --json one line for each query.

      Queries are \(FeatureFormat.enumeration) files; of what torch.save wrote they hold one tensor, and nothing in them
      is executed. --rerank F finds F·k rows and keeps the k best by their original features, whose shards must be in the
      lake.

      --ids FILE searches these rows alone, --exclude-ids FILE all but these, as if the version had no others: a file has one
      row id a line, or is a .npy of int64.

      Files are searched as they lie there. Damage that leaves one in shape gives other rows; --check reads all of them
      first, as `tarn verify` does.

      EXAMPLES
        tarn search laion@1 --queries captions.npy -k 10 --nprobe 8
        tarn search laion@1 --queries captions.npy -k 100 --nprobe 64 --output answers
        tarn search laion@1 --queries captions.pt -k 10 --nprobe 64 --rerank 4
        tarn search laion@1 --queries captions.npy -k 10 --nprobe 64 --exclude-ids taken-down.txt

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version; NAME for the newest.", valueName: "NAME[@N]"))
  var version: String

  @Option(help: ArgumentHelp("Queries: a feature file, [n × dimension].", valueName: "file"))
  var queries: String

  @Option(name: .short, help: ArgumentHelp("Neighbours for each query.", valueName: "k"))
  var k: Int = 10

  @Option(help: ArgumentHelp("Lists visited for each query.", valueName: "n"))
  var nprobe: Int = 8

  @Option(help: ArgumentHelp("Write OUT.ids.npy and OUT.scores.npy.", valueName: "out"))
  var output: String?

  @Option(help: ArgumentHelp("Find F·k rows and order them by their original features.", valueName: "f"))
  var rerank: Int?

  @Option(
    help: ArgumentHelp(
      "Row ids to search alone: one a line, or a .npy of int64; - for standard input.", valueName: "file"))
  var ids: String?

  @Option(help: ArgumentHelp("Row ids not to find, likewise.", valueName: "file"))
  var excludeIds: String?

  @Option(help: ArgumentHelp("Threads (default: all processors).", valueName: "n"))
  var threads: Int?

  @Option(help: ArgumentHelp("table, csv, json or jsonl: a row for each neighbour.", valueName: "format"))
  var format: TableFormat?

  @Flag(help: "Read every file of the version first and check its SHA-256.")
  var check = false

  @OptionGroup var global: GlobalOptions

  func validate() throws {
    guard format == nil || output == nil else {
      throw ValidationError("--output writes .npy files; --format does not go with it.")
    }
    guard ids != "-" || excludeIds != "-" else {
      throw ValidationError("--ids and --exclude-ids cannot both be standard input.")
    }
    if let rerank, !(1...1000).contains(rerank) { throw ValidationError("--rerank is 1 to 1000.") }
  }

  func run() throws {
    let catalog = try global.read()
    let name = try catalog.versionName(version)
    if let output {
      let files = SearchResult.files(of: output)
      for file in [files.ids, files.scores] { try OutputPlace.check(file, besides: catalog.layout) }
    }
    let options = SearchOptions(
      version: name, queries: queries, k: k, nprobe: nprobe, rerank: rerank, checksFiles: check,
      threads: threads ?? ProcessInfo.processInfo.activeProcessorCount,
      ids: try ids.map(RowIDInput.named), excludedIDs: try excludeIds.map(RowIDInput.named))
    let found = try SearchRun(catalog, options, cancellation: global.cancellation).run()
    // With all lists visited there would be fewer neighbours only where there are fewer rows.
    let emptyCount = found.neighbors.count(where: \.isEmpty)
    if ids != nil || excludeIds != nil, emptyCount > 0, !global.quiet {
      Output.diagnostic(
        "tarn: for \(emptyCount) of \(found.neighbors.count.counted("query", "queries")) none of these rows is in the "
          + "\(nprobe.counted("list")) visited; raise --nprobe to look further")
    }
    let version = try catalog.version(name)
    if let output {
      try found.write(to: output)
      let files = SearchResult.files(of: output)
      if global.json {
        Output.json([
          "ids": .string(files.ids), "scores": .string(files.scores), "queries": .count(found.neighbors.count),
          "k": .count(k),
        ])
      } else if !global.quiet {
        Output.diagnostic(
          "\(files.ids) and \(files.scores): \(found.neighbors.count.counted("query", "queries")), k \(k)")
      }
    } else if global.json, format == nil {
      try printLines(found, catalog, version)
    } else {
      try printTable(found, catalog, version)
    }
    Output.flush()
  }

  private func printLines(_ found: SearchResult, _ catalog: LakeCatalog, _ version: IndexVersion) throws {
    let all = try catalog.locate(found.neighbors.joined().map(\.id), in: version)
    var next = 0
    for (query, row) in found.neighbors.enumerated() {
      let places = all[next..<next + row.count]
      next += row.count
      Output.json([
        "query": .count(query), "ids": .array(row.map { .integer($0.id) }),
        "scores": .array(row.map { .number(Double($0.score)) }),
        "shards": .array(places.map { $0.map { .string($0.shard) } ?? .null }),
        "rows": .array(places.map { $0.map { .count($0.row) } ?? .null }),
      ])
    }
  }

  private func printTable(_ found: SearchResult, _ catalog: LakeCatalog, _ version: IndexVersion) throws {
    var table = Table(["query", "rank", "id", "score", "shard", "row"])
    var places = try catalog.locate(found.neighbors.joined().map(\.id), in: version)[...]
    for (query, row) in found.neighbors.enumerated() {
      for (rank, neighbor) in row.enumerated() {
        let place = places.popFirst() ?? nil
        table.add([
          .integer(Int64(query)), .integer(Int64(rank + 1)), .integer(neighbor.id),
          .text(String(format: "%.6f", neighbor.score)), .text(place?.shard ?? ""),
          place.map { .integer(Int64($0.row)) } ?? .null,
        ])
      }
    }
    table.print(as: format ?? .table)
  }
}
