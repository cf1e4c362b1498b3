// How values of a column are named that are in no row: who mistyped one would not see it otherwise.

internal import Base

enum UnmatchedValues {
  /// Most values that are named.
  static let namedCount = 10
  /// The widest that one is shown.
  private static let width = 100

  /// A value on one line, cut where it is long.
  static func short(_ value: String) -> String {
    let text = value.printable
    return text.columnCount <= width ? text : text.prefix(columns: width - 1) + "…"
  }
}
