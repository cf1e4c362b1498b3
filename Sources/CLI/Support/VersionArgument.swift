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
    let name = try catalog.versionName(text)
    if text != "\(name)", !quiet, !json {
      let state = try catalog.version(name).state
      let kind = state == .sealed ? "sealed version" : "version, \(state.rawValue)"
      Output.diagnostic("\(text) is \(name), its newest \(kind)")
    }
    return name
  }
}
