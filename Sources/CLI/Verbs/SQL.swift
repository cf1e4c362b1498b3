internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn sql`: ask the catalog.
struct SQL: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sql", abstract: "Ask the catalog in SQL; nothing can be changed.",
    discussion: """
      EXAMPLES
        tarn sql "SELECT * FROM v_build_progress"
        tarn sql "SELECT source, shard, last_error FROM v_shard WHERE last_error IS NOT NULL" --format csv
        tarn sql "SELECT version, output FROM v_version_input WHERE shard = 'img_emb_0007.npy'"
        tarn sql - < question.sql

      `tarn schema` lists the views and what their columns mean. Rows are printed as they are found: the first
      thousand settle how wide the columns of a table are, and an error may end a JSON document in its middle. Of
      columns with one name JSON calls the second NAME:1, the third NAME:2.

      Tables and CSV show characters that control a terminal, or are not seen, as '?'; JSON keeps them, escaped. A
      spreadsheet takes cells of CSV that begin with = + - or @ for formulas: import its columns as text.

      \(ExitStatus.help)
      """)

  @Argument(help: "One SELECT; - reads it from standard input.")
  var statement: String

  @Option(help: ArgumentHelp("table, csv, json or jsonl.", valueName: "format"))
  var format: TableFormat?

  @Option(help: ArgumentHelp("The longest the query may run (0 for no limit).", valueName: "duration"))
  var timeout: TimeSpan?

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  /// The longest statement that SQLite takes by default.
  private static let longest = 1_000_000

  func run() async throws {
    let limit = timeout?.duration ?? .seconds(60)
    let console = try QueryConsole(layout: global.read().layout, timeLimit: limit == .zero ? nil : limit)
    let registration = global.cancellation.whenCancelled { console.interrupt() }
    defer { withExtendedLifetime(registration) {} }
    // SQLite looks at limits between its steps, and one call of a function can take longer
    // than anybody waits; a signal ends the process by itself (Interruption).
    let end = ContinuousClock.now + limit + .milliseconds(1_500)
    let watch =
      limit == .zero
      ? nil
      : Task.detached { () throws -> Never in
        try await Task.sleep(until: end, clock: .continuous)
        Tarn.abandon(with: QueryConsole.overdue)
      }
    defer { watch?.cancel() }
    let format = format ?? (global.json ? .json : .table)
    let statement = statement == "-" ? try StandardInput.text(limit: Self.longest) : statement
    try await ThreadedWork("tarn-sql") { [statement] in try Query.run(statement, on: console, as: format) }.value()
  }
}

/// Queries that verbs print.
enum Query {
  /// Prints a query on the lake's views.
  ///
  /// - Parameters:
  ///   - sql: The query.
  ///   - global: Names the lake.
  ///   - kept: Query items of addresses that are shown, in columns named `url`.
  /// - Throws: ``TarnError``.
  static func print(_ sql: String, _ global: GlobalOptions, keeping kept: Set<String> = []) throws {
    let console = try QueryConsole(layout: global.read().layout, timeLimit: nil)
    let format: TableFormat = global.json ? .json : .table
    try run(sql, on: console, as: format) { column, value in
      guard case .text(let text) = value else { return value }
      switch column {
      case "url": return .text(AddressText(text).redacted(keeping: kept))
      // Nobody compares 64 digits by eye; programs get them all.
      case "sha256" where format == .table: return .text(String(text.prefix(12)))
      default: return value
      }
    }
  }

  /// Prints a query's rows as they come.
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
    var printer: RowPrinter?
    try console.run(sql) { columns, values in
      guard let values else {
        printer = RowPrinter(columns, as: format)
        return
      }
      printer?.add(zip(columns, values).map(shown))
    }
    printer?.end()
    Output.flush()
  }
}
