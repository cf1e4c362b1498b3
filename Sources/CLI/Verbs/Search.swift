internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn search`: nearest rows of queries.
struct Search: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "search", abstract: "Search a version: the rows with the greatest inner product with each query.",
    discussion: """
      What is searched for is a file of queries, texts or pictures that an encoder makes vectors of, or rows of the version: \
      one of --queries, --text, --image and --like, the last three as often as wanted.

      With --output OUT the answer is OUT.ids.npy (int64, [n × k], -1 where there is none, which is told) and OUT.scores.npy (float32,
      [n × k]); otherwise a table with the place of each row, or with --json one line for each query.

      Queries are \(FeatureFormat.enumeration) files; of what torch.save wrote they hold one tensor, and nothing in them
      is executed. --rerank F finds F·k rows and keeps the k best by their original features, whose shards must be in the
      lake. Of these the rows alone are read that are wanted; of an .npz whose arrays are deflated the array is unpacked.

      A version of a trained index with --refine keeps a better code of each row beside its outputs: the 100 best rows of a
      query (or -k, if that is more) are ordered again by it, without any shard. --refine N says how many, 0 none.

      --ids FILE searches only these rows, --exclude-ids FILE all others, as if the version had no more: a file has one
      row id a line, or is a .npy of int64. Rows that `tarn exclude` took out since the version was made are left out too, and told.

      tarn hosts no model. --encoder names a program, which is started once, reads {"text": …} or {"image": PATH}, a line each, \
      and writes {"embedding": […]} or {"error": …}; or an https:// address that is asked as OpenAI's /v1/embeddings is, with the \
      key in TARN_ENCODER_KEY. docs/WORDS.md says all of it.

      --where searches the rows alone of which companions say that a condition holds, likewise before the best are taken: =, !=, <, <=, \
      >, >=, IN ('a', 'b'), LIKE '%a_' (% any text, _ any character, \\% and \\_ these signs), CONTAINS 'a', IS NULL, AND, OR, NOT and \
      parentheses, of columns and of numbers, texts in single quotes, TRUE and FALSE. docs/COMPANIONS.md says what types and nulls do.

      --unique T shows, of rows whose codes (the better ones, where there are such) stand for vectors with a cosine of at least T, \
      the best one.

      --columns shows what companions of the source say of each row; what is not here is null, and told. Of a version that was \
      adopted these are companions of its files, or, where those have none, of the source that its --source named.

      Files are searched as they lie there. Damage that leaves one in shape gives other rows; --check reads all of them
      first, as `tarn verify` does.

      EXAMPLES
        tarn search laion@1 --queries captions.npy -k 10 --nprobe 8
        tarn search laion@1 --queries captions.npy -k 10 --columns url,caption
        tarn search laion@1 --queries captions.npy -k 100 --nprobe 64 --output answers
        tarn search laion@1 --queries captions.pt -k 10 --nprobe 64 --rerank 4
        tarn search laion@1 --queries captions.npy -k 10 --nprobe 64 --exclude-ids taken-down.txt
        tarn search laion@1 --queries captions.npy --where "width >= 512 AND NOT caption LIKE '%logo%'"
        tarn search laion@1 --text "a red bicycle" --encoder 'python3 encode.py' --unique 0.94
        tarn search laion@1 --like 1485

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version; NAME for the newest.", valueName: "NAME[@N]"), completion: .versions)
  var version: String

  @Option(help: ArgumentHelp("Queries: a feature file, [n × dimension].", valueName: "file"), completion: .file())
  var queries: String?

  @Option(help: ArgumentHelp("A text to search for (repeatable).", valueName: "text"))
  var text: [String] = []

  @Option(help: ArgumentHelp("A picture to search for (repeatable).", valueName: "file"), completion: .file())
  var image: [String] = []

  // A number below 0 is no option, and is told that there is no such row.
  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp("A row to search for, by its id (repeatable).", valueName: "id"))
  var like: [Int64] = []

  @OptionGroup(title: EncoderOptions.title) var encoding: EncoderOptions

  @Option(help: ArgumentHelp("Which array of an .npz, or column of a .parquet file.", valueName: "name"))
  var queriesArray: String?

  @Option(name: .short, help: ArgumentHelp("Neighbours for each query.", valueName: "k"))
  var k: Int = 10

  @Option(name: .customLong("nprobe"), help: ArgumentHelp("Lists visited for each query (default: 8).", valueName: "n"))
  var askedLists: Int?

  @Option(help: ArgumentHelp("Write OUT.ids.npy and OUT.scores.npy.", valueName: "out"), completion: .file())
  var output: String?

  @Option(help: ArgumentHelp("Find F·k rows and order them by their original features.", valueName: "f"))
  var rerank: Int?

  @OptionGroup var refined: RefinedRowsOptions

  @Option(
    help: ArgumentHelp(
      "Row ids to search alone: one a line, or a .npy of int64; - for standard input.", valueName: "file"),
    completion: .file())
  var ids: String?

  @Option(help: ArgumentHelp("Row ids not to find, likewise.", valueName: "file"), completion: .file())
  var excludeIds: String?

  @Option(
    help: ArgumentHelp(
      "A condition on columns of companions; rows of which it holds are searched alone.", valueName: "condition"))
  var `where`: String?

  @Option(help: ArgumentHelp("Of rows with a cosine of at least T show the best (0.94 is common).", valueName: "t"))
  var unique: Double?

  @OptionGroup var shown: ColumnOptions

  @Option(help: ArgumentHelp("Threads (default: TARN_THREADS, else all processors).", valueName: "n"))
  var threads: Int?

  @Option(help: ArgumentHelp("table, csv, json or jsonl: a row for each neighbour.", valueName: "format"))
  var format: TableFormat?

  @Flag(help: "Read every file of the version first and check its SHA-256.")
  var check = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  private var nprobe: Int { askedLists ?? 8 }

  func validate() throws {
    let kinds = [queries != nil, !text.isEmpty, !image.isEmpty, !like.isEmpty].count { $0 }
    guard kinds == 1 else {
      throw ValidationError("one of --queries, --text, --image and --like says what to search for.")
    }
    guard queriesArray == nil || queries != nil else { throw ValidationError("--queries-array goes with --queries.") }
    guard !encoding.isGiven || !text.isEmpty || !image.isEmpty else {
      throw ValidationError("--encoder, --encoder-model, --encoder-timeout and --normalise go with --text and --image.")
    }
    if let unique, !(unique > 0 && unique <= 1) { throw ValidationError("--unique is above 0 and at most 1.") }
    guard format == nil || output == nil else {
      throw ValidationError("--output writes .npy files; --format does not go with it.")
    }
    guard shown.columns == nil || output == nil else {
      throw ValidationError("--output writes .npy files of ids and scores; --columns does not go with it.")
    }
    guard ids != "-" || excludeIds != "-" else {
      throw ValidationError("--ids and --exclude-ids cannot both be standard input.")
    }
    if let threads, !(1...4096).contains(threads) { throw ValidationError("--threads is 1 to 4096.") }
    if let rerank, !(1...1000).contains(rerank) { throw ValidationError("--rerank is 1 to 1000.") }
    try refined.validate(for: max(0, min(k, 65_536)) * (rerank ?? 1))
  }

  func run() throws {
    let catalog = try global.read()
    let name = try global.version(version, catalog)
    if let output {
      let files = SearchResult.files(of: output)
      for file in [files.ids, files.scores] { try OutputPlace.check(file, besides: catalog.layout) }
    }
    let columns = try shown.columns(of: name, catalog)
    let condition = try `where`.map { try WhereCondition(parsing: $0) }
    let encoder = text.isEmpty && image.isEmpty ? nil : try encoding.make()
    var options = SearchOptions(
      version: name, queries: try asked(encoder), k: k, nprobe: nprobe, rerank: rerank, checksFiles: check,
      threads: try threads ?? ThreadCount.ofProcess(),
      ids: try ids.map(RowIDInput.named), excludedIDs: try excludeIds.map(RowIDInput.named), condition: condition,
      unique: unique)
    options.refine = refined.count
    let answer: SearchAnswer
    do {
      answer = try SearchRun(catalog, options, cancellation: global.cancellation).run()
    } catch {
      encoder?.close(atOnce: true)
      throw error
    }
    encoder?.close(atOnce: false)
    let found = answer.result
    let version = try catalog.version(name)
    version.warnWhereRevoked()
    tell(of: answer)
    try global.tellOfLists(of: version, asked: askedLists.map { [$0] } ?? [], catalog)
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
      try printLines(answer, catalog, version, columns)
    } else {
      try printTable(found, catalog, version, columns)
    }
    Output.flush()
  }

  /// What is searched for.
  private func asked(_ encoder: (any FeatureEncoder)?) throws -> SearchQueries {
    if let queries { return .file(queries, array: queriesArray) }
    guard let encoder else { return .rows(like) }
    let texts = try text.map { text throws -> EncoderQuery in
      guard !text.isEmpty, text.utf8.count <= EncoderQuery.mostTextByteCount else {
        throw TarnError(.usage, "a text has 1 to \(EncoderQuery.mostTextByteCount) bytes")
      }
      return .text(text)
    }
    let images = try image.map { path throws -> EncoderQuery in
      guard Disk.size(of: path) != nil else {
        throw TarnError(.usage, "\(path.printable) is not there, or no regular file", hint: "name a picture")
      }
      return .image(path: absolute(path))
    }
    return .encoded(texts + images, by: encoder, normalises: encoding.normalise)
  }

  /// Says where the vectors of rows came from, and what else has to be said of an answer.
  private func tell(of answer: SearchAnswer) {
    guard !global.quiet else { return }
    for (id, origin) in zip(like, answer.origins) {
      Output.diagnostic(
        "tarn: row \(id): "
          + (origin == .shard ? "its features, from its shard" : "what its code in the index stands for"))
    }
    var notes = answer.notes
    // People see in a table where there are fewer rows; files have -1.
    notes.fillsUp = output != nil
    for line in notes.lines(answer.result.counts, for: .terminal) { Output.diagnostic("tarn: \(line)") }
  }

  /// What a query is, for a line of JSON.
  private func name(ofQuery query: Int, _ origins: [VectorOrigin]) -> [String: JSONValue] {
    if !text.isEmpty { return ["text": .string(text[query])] }
    if !image.isEmpty { return ["image": .string(image[query])] }
    if !like.isEmpty { return ["like": .integer(like[query]), "vector": .string(origins[query].rawValue)] }
    return [:]
  }

  private func printLines(
    _ answer: SearchAnswer, _ catalog: LakeCatalog, _ version: IndexVersion, _ columns: ShownColumns?
  ) throws {
    let found = answer.result
    let values = try columns?.values(of: found.neighbors.joined().map(\.id), global)
    let all = try catalog.locate(found.neighbors.joined().map(\.id), in: version)
    var next = 0
    for (query, row) in found.neighbors.enumerated() {
      let places = all[next..<next + row.count]
      let shown = values?[next..<next + row.count]
      next += row.count
      var line = SearchLine.json(query: query, row, places: places.map { $0.map { ($0.shard, $0.row) } })
      if let shown { line["columns"] = .array(shown.map { .object($0) }) }
      Output.json(line.merging(name(ofQuery: query, answer.origins)) { $1 })
    }
  }

  private func printTable(
    _ found: SearchResult, _ catalog: LakeCatalog, _ version: IndexVersion, _ columns: ShownColumns?
  ) throws {
    let format = format ?? .table
    let own = ["query", "rank", "id", "score", "shard", "row"]
    var table = Table(own + (columns?.titles(as: format, beside: own) ?? []), objects: [ShownColumns.member])
    var values = try columns?.values(of: found.neighbors.joined().map(\.id), global)[...]
    var places = try catalog.locate(found.neighbors.joined().map(\.id), in: version)[...]
    for (query, row) in found.neighbors.enumerated() {
      for (rank, neighbor) in row.enumerated() {
        let place = places.popFirst() ?? nil
        // To programs the number that --json tells.
        let score: SQLValue =
          format.isForPrograms ? .real(Double(neighbor.score)) : .text(String(format: "%.6f", neighbor.score))
        let cells: [SQLValue] = [
          .integer(Int64(query)), .integer(Int64(rank + 1)), .integer(neighbor.id), score,
          place.map { .text($0.shard) } ?? .null, place.map { .integer(Int64($0.row)) } ?? .null,
        ]
        table.add(cells + (columns?.cells(values?.popFirst() ?? [:], as: format) ?? []))
      }
    }
    table.print(as: format)
  }
}
