// The columns of all rows of a shard, which may come from several companions.

internal import Base
internal import Catalog
internal import Companions

/// What is read of a shard: of each companion that has some of the columns, which.
struct ScannedShard {
  struct Part {
    let companion: BoundCompanion
    /// Names in the companion, each once, with its places among those asked for: `url` and `meta.url` may be one column.
    private(set) var columns: [(name: String, places: [Int])] = []

    init(_ companion: BoundCompanion) { self.companion = companion }

    /// Adds a column, or another place of one that is there.
    mutating func add(_ name: String, at place: Int) {
      if let known = columns.firstIndex(where: { $0.name == name }) {
        columns[known].places.append(place)
      } else {
        columns.append((name, [place]))
      }
    }
  }

  let name: String
  let firstID: Int64
  let rowCount: Int
  let parts: [Part]
  /// Rows of which nothing is said any more: excluded ones.
  let unsaid: Set<Int>
  /// Those of its rows of which the version has ids, ascending; of others nothing is said.
  let rows: [Range<Int>]
}

/// Rows of a shard front to back.
///
/// Belongs to one thread.
struct RowScans {
  private let shard: String
  private let unsaid: Set<Int>
  private var rows: ArraySlice<Range<Int>>
  private var row = 0
  /// Whether the version has the row that was read last.
  private(set) var isOfVersion = false
  private var scans: [(scan: RowScan, places: [[Int]])] = []
  /// Of each column asked for the value in the row that was read last; null where nothing is known.
  private(set) var values: [RowValue]

  /// Begins before the first row.
  ///
  /// - Parameters:
  ///   - shard: What is read; nil for nothing.
  ///   - columns: What was asked for.
  /// - Throws: ``TarnError`` as ``RowScan`` does.
  init(_ shard: ScannedShard?, of columns: RowColumns) throws {
    self.shard = shard?.name ?? ""
    unsaid = shard?.unsaid ?? []
    rows = (shard?.rows ?? [])[...]
    values = columns.names.map { _ in .null }
    scans =
      try shard.map { shard in
        try shard.parts.map { (try columns.scan($0, of: shard), $0.columns.map(\.places)) }
      } ?? []
  }

  /// Reads the next row.
  ///
  /// - Throws: ``TarnError`` `.integrity` where a companion has none, or is damaged; `.badFeatures`, `.io`.
  mutating func next() throws {
    while let first = rows.first, first.upperBound <= row { rows.removeFirst() }
    isOfVersion = rows.first?.contains(row) ?? false
    let isUnsaid = !isOfVersion || unsaid.contains(row)
    row += 1
    for (scan, places) in scans {
      guard try scan.next() else {
        throw TarnError(.integrity, "a companion has fewer rows of \(shard) than the catalog counts")
      }
      for (own, places) in places.enumerated() {
        for place in places { values[place] = isUnsaid ? .null : scan.values[own] }
      }
    }
  }
}
