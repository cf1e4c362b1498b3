internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn sql`: ask the catalog.
struct SQL: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sql", abstract: "Ask the catalog in SQL; nothing can be changed.",
    discussion: """
      EXAMPLES
        tarn sql "SELECT * FROM v_build_progress"
        tarn sql "SELECT shard, last_error FROM v_shard WHERE state = 'failed'" --format csv
        tarn sql "SELECT version, output FROM v_version_input WHERE shard = 'img_emb_0007.npy'"

      `tarn schema` lists the views and what their columns mean.

      \(ExitStatus.help)
      """)

  @Argument(help: "One SELECT.")
  var statement: String

  @Option(help: ArgumentHelp("table, csv, json or jsonl.", valueName: "format"))
  var format: TableFormat?

  @Option(help: ArgumentHelp("The longest the query may run (0 for no limit).", valueName: "duration"))
  var timeout: TimeSpan?

  @OptionGroup var global: GlobalOptions

  func run() throws {
    let limit = timeout?.duration ?? .seconds(60)
    let console = try QueryConsole(layout: global.read().layout, timeLimit: limit == .zero ? nil : limit)
    let registration = global.cancellation.whenCancelled { console.interrupt() }
    defer { withExtendedLifetime(registration) {} }
    try Query.run(statement, on: console, as: format ?? (global.json ? .json : .table))
  }
}

/// Queries that verbs print.
enum Query {
  /// Prints a query on the lake's views.
  ///
  /// - Parameters:
  ///   - sql: The query.
  ///   - global: Names the lake.
  ///   - format: How to print; nil for what `--json` says.
  ///   - kept: Query items of addresses that are shown, in columns named `url`.
  /// - Throws: ``TarnError``.
  static func print(
    _ sql: String, _ global: GlobalOptions, format: TableFormat? = nil, keeping kept: Set<String> = []
  ) throws {
    let console = try QueryConsole(layout: global.read().layout, timeLimit: nil)
    try run(sql, on: console, as: format ?? (global.json ? .json : .table)) { column, value in
      guard column == "url", case .text(let text) = value else { return value }
      return .text(AddressText(text).redacted(keeping: kept))
    }
  }

  /// Prints a query's rows; all but tables and JSON documents as they come.
  ///
  /// - Parameters:
  ///   - sql: The query.
  ///   - console: Where it runs.
  ///   - format: How to print.
  ///   - shown: What is printed for a value of a column.
  /// - Throws: ``TarnError``.
  static func run(
    _ sql: String, on console: QueryConsole, as format: TableFormat,
    showing shown: (_ column: String, SQLValue) -> SQLValue = { $1 }
  ) throws {
    var table = Table([])
    try console.run(sql) { columns, values in
      let values = values.map { zip(columns, $0).map(shown) }
      switch (format, values) {
      case (.jsonl, let values?): Output.json(Table.object(columns, values))
      case (_, nil): table = Table(columns)
      case (_, let values?): table.add(values)
      }
    }
    if format != .jsonl { table.print(as: format) }
    Output.flush()
  }
}
