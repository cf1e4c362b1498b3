internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn locate`: from row ids to shards and rows.
struct Locate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "locate", abstract: "Say where row ids come from: source, shard, row and URL.",
    discussion: """
      EXAMPLES
        tarn locate laion@1 0 1234567
        tarn locate laion@1 --ids found.npy --format csv
        tarn locate laion@1 0 --columns url,caption
        cut -d, -f3 found.csv | tail -n +2 | tarn locate laion@1 --ids -

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version.", valueName: "NAME[@N]"), completion: .versions)
  var version: String

  @Argument(help: "Row ids, as search gives them.")
  var ids: [Int64] = []

  @Option(
    name: .customLong("ids"),
    help: ArgumentHelp("Those of a file too: one a line, or a .npy of int64; - for standard input.", valueName: "file"),
    completion: .file())
  var file: String?

  @OptionGroup var shown: ColumnOptions

  @Option(help: ArgumentHelp("table, csv, json or jsonl.", valueName: "format"))
  var format: TableFormat?

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func validate() throws {
    guard !ids.isEmpty || file != nil else { throw ValidationError("Name a row id, or a file of them with --ids.") }
  }

  func run() throws {
    let catalog = try global.read()
    let name = try global.version(version, catalog)
    let format = format ?? (global.json ? .json : .table)
    let columns = try shown.columns(of: name, catalog)
    let own = ["id", "source", "shard", "row", "sha256", "url"]
    var table = Table(own + (columns?.titles(as: format, beside: own) ?? []), objects: [ShownColumns.member])
    let run = LocateRun(catalog, cancellation: global.cancellation)
    var ids = ids
    if let file { ids += try run.ids(in: .named(file), of: name) }
    let kept = Dictionary(
      try catalog.sources().map { ($0.name, $0.keptQuery) }, uniquingKeysWith: { first, _ in first })
    let values = try columns?.values(of: ids, global)
    let places = try run.run(ids, in: name)
    // Of columns it is said beside them.
    if columns == nil, !global.quiet, let hidden = try catalog.hiddenRows(of: name)?.held {
      let excluded = ids.filter(hidden.contains)
      if let first = excluded.first {
        let others = excluded.count == 1 ? "" : ", and \((excluded.count - 1).counted("other"))"
        Output.diagnostic("row \(first) of \(name) is excluded\(others): no search shows it")
      }
    }
    for (number, place) in places.enumerated() {
      table.add(
        [
          .integer(place.id), .text(place.source), .text(place.shard), .integer(Int64(place.row)),
          place.revision.map { .text(format == .table ? $0.digest.prefix(12) : $0.digest.hex) } ?? .null,
          place.url.map { .text(AddressText($0).redacted(keeping: kept[place.source] ?? [])) } ?? .null,
        ] + (columns?.cells(values?[number] ?? [:], as: format) ?? []))
    }
    table.print(as: format)
    Output.flush()
  }
}
