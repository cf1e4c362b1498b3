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

  @Argument(help: ArgumentHelp("The version.", valueName: "NAME@N"))
  var version: String

  @Argument(help: "Row ids, as search gives them.")
  var ids: [Int64]

  @Option(help: ArgumentHelp("table, csv, json or jsonl.", valueName: "format"))
  var format: TableFormat?

  @OptionGroup var global: GlobalOptions

  func run() throws {
    let catalog = try global.read()
    let version = try catalog.version(VersionName(parsing: version))
    try catalog.requireBorneOut(version)
    var table = Table(["id", "source", "shard", "row", "sha256", "url"])
    for (id, place) in zip(ids, try catalog.locate(ids, in: version)) {
      guard let place else {
        throw TarnError(
          .notFound, "\(version.name) has no row \(id)",
          hint: "its ids are in `tarn sql \"SELECT * FROM v_version_input\"`")
      }
      guard let revision = place.revision else {
        throw TarnError(
          .notFound, "row \(id) of \(version.name) is in a hole: \(place.shard) was missing when it was built")
      }
      table.add([
        .integer(id), .text(place.source), .text(place.shard), .integer(Int64(place.row)),
        .text(revision.digest.prefix(12)), place.url.map { .text($0) } ?? .null,
      ])
    }
    table.print(as: format ?? (global.json ? .json : .table))
    Output.flush()
  }
}
