internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn locate`: from row ids to shards and rows.
struct Locate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say where row ids come from: source, shard, row and URL.",
    discussion: """
      EXAMPLES
        tarn locate laion@1 0 1234567

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version.", valueName: "NAME[@N]"))
  var version: String

  @Argument(help: "Row ids, as search gives them.")
  var ids: [Int64]

  @Option(help: ArgumentHelp("table, csv, json or jsonl.", valueName: "format"))
  var format: TableFormat?

  @OptionGroup var global: GlobalOptions

  func run() throws {
    let catalog = try global.read()
    let name = try catalog.versionName(version)
    let format = format ?? (global.json ? .json : .table)
    var table = Table(["id", "source", "shard", "row", "sha256", "url"])
    for place in try LocateRun(catalog, cancellation: global.cancellation).run(ids, in: name) {
      table.add([
        .integer(place.id), .text(place.source), .text(place.shard), .integer(Int64(place.row)),
        place.revision.map { .text(format == .table ? $0.digest.prefix(12) : $0.digest.hex) } ?? .null,
        place.url.map { .text($0.withoutSecrets) } ?? .null,
      ])
    }
    table.print(as: format)
    Output.flush()
  }
}
