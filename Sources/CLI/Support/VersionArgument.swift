// The version that an argument names: NAME@N, or NAME for the newest, which is told.

internal import Base
internal import Lake

extension GlobalOptions {
  /// The version that a user means; where only its name was said, which one it is goes to stderr.
  ///
  /// - Parameters:
  ///   - text: `NAME@N`, or `NAME` for the newest of its versions: of those that are sealed if there are any.
  ///   - catalog: The lake.
  /// - Returns: `NAME@N`.
  /// - Throws: ``TarnError`` `.usage`, `.notFound`.
  func version(_ text: String, _ catalog: LakeCatalog) throws -> VersionName {
    guard let newest = try catalog.newestVersion(of: text) else { return try VersionName(parsing: text) }
    if !json {
      let kind = newest.state == .sealed ? "sealed version" : "version, \(newest.state.rawValue)"
      note("\(text) is \(newest.name), its newest \(kind)")
    }
    return newest.name
  }
}
