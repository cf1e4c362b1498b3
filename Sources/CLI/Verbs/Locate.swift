internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn locate`: from row ids to shards and rows.
struct Locate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "locate", abstract: "Say where row ids come from: source, shard, row and URL.",
    discussion: """
      --match COLUMN --values FILE finds ids instead: of the rows whose companion (`tarn source add --companion-of`) has one of
      the values in that column, one a line, compared byte by byte as `tarn exclude` compares them. Values that no row has are
      told on standard error; where no row has any, that is an error.

      EXAMPLES
        tarn locate laion@1 0 1234567
        tarn locate laion@1 --ids found.npy --format csv
        tarn locate laion@1 0 --columns url,caption
        tarn locate laion@1 --match uid --values uids.txt --columns uid
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

  @Option(
    help: ArgumentHelp("A column of a companion, to find rows by its values.", valueName: "[companion.]column"))
  var match: String?

  @Option(
    help: ArgumentHelp("Values of the column, one a line; - for standard input.", valueName: "file"),
    completion: .file())
  var values: String?

  @OptionGroup var shown: ColumnOptions

  @Option(help: ArgumentHelp("table, csv, json or jsonl.", valueName: "format"))
  var format: TableFormat?

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func validate() throws {
    guard (match != nil) == (values != nil) else { throw ValidationError("--match COLUMN goes with --values FILE.") }
    let namesIDs = !ids.isEmpty || file != nil
    guard namesIDs || match != nil else {
      throw ValidationError("Name a row id, a file of them with --ids, or values of a column with --match.")
    }
    guard !(namesIDs && match != nil) else {
      throw ValidationError("--match finds ids, and none is named beside it.")
    }
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
    if let match, let values { ids = try matched(match, values, run, name) }
    let kept = Dictionary(
      try catalog.sources().map { ($0.name, $0.keptQuery) }, uniquingKeysWith: { first, _ in first })
    let places = try run.run(ids, in: name, passingOverBadRows: match != nil)
    if places.count < ids.count {
      let count = ids.count - places.count
      global.note(
        "tarn: \(count.counted("row")) with these values \(count == 1 ? "was" : "were") bad when \(name) was built, and "
          + "\(count == 1 ? "is" : "are") not in the index")
      ids = places.map(\.id)
    }
    let said = try columns?.values(of: ids, global)
    // Of columns it is said beside them.
    if columns == nil, let hidden = try catalog.hiddenRows(of: name)?.held {
      let excluded = ids.filter(hidden.contains)
      if let first = excluded.first {
        let others = excluded.count == 1 ? "" : ", and \((excluded.count - 1).counted("other"))"
        global.note("row \(first) of \(name) is excluded\(others): no search shows it")
      }
    }
    for (number, place) in places.enumerated() {
      table.add(
        [
          .integer(place.id), .text(place.source), .text(place.shard), .integer(Int64(place.row)),
          place.revision.map { .text(format == .table ? $0.digest.prefix(12) : $0.digest.hex) } ?? .null,
          place.url.map { .text(AddressText($0).redacted(keeping: kept[place.source] ?? [])) } ?? .null,
        ] + (columns?.cells(said?[number] ?? [:], as: format) ?? []))
    }
    table.print(as: format)
    Output.flush()
  }

  /// The ids of rows with values of a column; says which values no row has.
  private func matched(
    _ column: String, _ values: String, _ run: LocateRun, _ name: VersionName
  ) throws -> [Int64] {
    let found = try run.ids(matching: column, values: .named(values), of: name)
    let unmatched = found.unmatched.map { UnmatchedValues.short($0) }.listed(UnmatchedValues.namedCount)
    guard !found.ids.isEmpty else {
      throw TarnError(
        .notFound, "no row of \(name) has one of these values in '\(column.printable)': \(unmatched)",
        hint: "they are compared byte by byte, one a line")
    }
    for note in found.notes { global.note("tarn: \(note)") }
    if !found.unmatched.isEmpty {
      let count = found.unmatched.count
      global.note(
        "tarn: \(count) of \(found.valueCount.counted("value")) \(count == 1 ? "is" : "are") in no row: \(unmatched)")
    }
    return found.ids
  }
}
