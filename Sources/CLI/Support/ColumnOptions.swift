// What `--columns` shows beside rows: values of companions, cut and clean in tables, whole
// everywhere else.

internal import ArgumentParser
internal import Base
internal import Lake

/// The option of verbs that show rows.
struct ColumnOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What companions say of each row: names with commas, those that have one in double quotes; "
        + "COMPANION.NAME where several have it.", valueName: "names"))
  var columns: String?

  /// The columns that were asked for; nil for none.
  func columns(of version: VersionName, _ catalog: LakeCatalog) throws -> ShownColumns? {
    try names.map { ShownColumns(try RowColumns(catalog, catalog.version(version), names: $0)) }
  }

  /// The names that were given; nil for none.
  var names: [String]? {
    get throws {
      try columns.map { try ColumnList.names(in: $0) }
    }
  }
}

/// Columns that are shown beside rows.
struct ShownColumns {
  private let source: RowColumns

  /// The widest that a value is in a table.
  private static let width = 60

  init(_ source: RowColumns) { self.source = source }

  /// The values of rows; what is not known is told once.
  func values(of ids: [Int64], _ global: GlobalOptions) throws -> [[String: JSONValue]] {
    try source.values(of: ids, cancellation: global.cancellation) { text in
      global.note("tarn: \(text)")
    }
  }

  /// What the object of them all is called.
  static let member = "columns"

  /// Names of the columns of a table: each for people, one object for programs.
  ///
  /// - Parameters:
  ///   - format: How the table is printed.
  ///   - own: The columns that the table has besides. One of a companion that is called as one of
  ///     them is told as the member that it is in JSON: `columns.url`.
  /// - Returns: The names, each once.
  func titles(as format: TableFormat, beside own: [String]) -> [String] {
    if format.isForPrograms { return [Self.member] }
    var taken = Set(own)
    return source.names.map { name in
      var title = name.printable
      while !taken.insert(title).inserted { title = "\(Self.member).\(title)" }
      return title
    }
  }

  /// The cells of a row.
  func cells(_ values: [String: JSONValue], as format: TableFormat) -> [SQLValue] {
    switch format {
    // The table knows that this is JSON.
    case .json, .jsonl: [.text(JSONValue.object(values).text)]
    case .csv: source.names.map { Self.cell(values[$0] ?? .null) }
    case .table: source.names.map { Self.short(Self.cell(values[$0] ?? .null)) }
    }
  }

  private static func cell(_ value: JSONValue) -> SQLValue {
    switch value {
    case .null: .null
    case .integer(let number): .integer(number)
    case .string(let text): .text(text)
    case .bool, .number, .array, .object: .text(value.text)
    }
  }

  private static func short(_ cell: SQLValue) -> SQLValue {
    guard case .text(let text) = cell else { return cell }
    let line = String(text.unicodeScalars.prefix(4 * width)).printableLine
    let fits = line.columnCount <= width && text.unicodeScalars.count <= 4 * width
    return .text(fits ? line : line.prefix(columns: width - 1) + "…")
  }
}
