// The versions that a server answers for at one moment.

internal import Base
package import Lake

/// A version that is served.
package struct ServedVersion: Sendable {
  package let name: VersionName
  package let dimension: Int
  package let rowCount: Int
  let nlist: Int
  let places: VersionPlaces
  let columns: RowColumns?
  /// What the batcher searches; its files are unmapped with the last question of it.
  let searched: SearchedVersion
  /// The rows that nobody is shown; nil for none.
  let hidden: HiddenRows?
  /// What was known of rows when it was opened or looked at again.
  private(set) var state: ServingFacts.Rows

  init(_ version: SearchableVersion, at state: ServingFacts.Rows, threads: Int) {
    self.state = state
    (name, dimension, rowCount) = (version.name, version.dimension, version.rowCount)
    nlist = version.searcher.nlist
    (places, columns, hidden) = (version.places, version.columns, version.hidden)
    searched = SearchedVersion(version.searcher, hiding: version.hidden?.held, threads: threads)
  }

  private init(_ old: ServedVersion, columns: RowColumns?, hidden: HiddenRows?, searched: SearchedVersion) {
    (name, dimension, rowCount, nlist) = (old.name, old.dimension, old.rowCount, old.nlist)
    (places, state) = (old.places, old.state)
    (self.columns, self.hidden, self.searched) = (columns, hidden, searched)
  }

  /// The same, but for other rows that nobody is shown.
  func hiding(_ rows: HiddenRows?, threads: Int) -> ServedVersion {
    guard rows != hidden else { return self }
    return ServedVersion(
      self, columns: columns, hidden: rows, searched: searched.hiding(rows?.held, threads: threads))
  }

  /// The same, looked at again.
  func at(_ state: ServingFacts.Rows) -> ServedVersion {
    var version = self
    version.state = state
    return version
  }

  /// The same, but for other columns.
  func showing(_ columns: RowColumns?) -> ServedVersion {
    ServedVersion(self, columns: columns, hidden: hidden, searched: searched)
  }
}

/// The versions, in the order in which they were named.
package struct ServedVersions: Sendable {
  package let all: [ServedVersion]
  /// Those that were withdrawn.
  private let revoked: Set<VersionName>
  /// Those that are to be served and cannot be searched.
  let missing: [VersionName]
  /// How many versions and names were asked for that have nothing behind them any more.
  let unmetCount: Int
  /// Whether nobody has looked for too long what the catalog says of them.
  package var isUnwatched = false
  /// Whether versions are being opened, in which time nobody looks.
  package var isOpening = false

  package init(
    _ all: [ServedVersion] = [], revoked: Set<VersionName> = [], missing: [VersionName] = [], unmetCount: Int = 0
  ) {
    (self.all, self.revoked, self.missing, self.unmetCount) = (all, revoked, missing, unmetCount)
  }

  /// The version that is meant.
  ///
  /// - Parameter text: NAME@N; NAME for the newest that is served; nil for the first.
  /// - Returns: The version.
  /// - Throws: ``TarnError`` `.notFound`; ``GoneError`` for one that was revoked.
  package func named(_ text: String?) throws -> ServedVersion {
    guard let text else {
      guard let first = all.first else { throw TarnError(.notFound, "no version is served") }
      return first
    }
    let meant =
      all.first { "\($0.name)" == text }
      ?? all.filter { $0.name.name == text }.max { $0.name.number < $1.name.number }
    if let meant { return meant }
    let served = all.isEmpty ? "none is" : "served are \(all.map { "\($0.name)" }.joined(separator: ", "))"
    if revoked.contains(where: { "\($0)" == text || $0.name == text }) {
      throw GoneError("\(text.printable) was revoked", hint: served)
    }
    throw TarnError(.notFound, "no version '\(text.printable)' is served here", hint: served)
  }
}

extension ServedVersion {
  /// Whether a row is there and must not be shown.
  func hides(_ id: RowID) -> Bool { hidden?.all.contains(id) ?? false }

  /// What companions say of rows; nothing where none is shown.
  ///
  /// What is not here is null, and so is what is known of a row that must not be shown, as the catalog says now.
  func values(of ids: [RowID]) throws -> [[String: JSONValue]]? {
    try columns?.values(of: ids, cancellation: Cancellation()) { _ in }
  }
}
