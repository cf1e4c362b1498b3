// Some columns of all rows of a pack or a file, one row after the other: for what looks at
// every row and keeps none.

internal import Base

/// Rows front to back.
///
/// Takes the memory of a block, or what the file's format takes. Belongs to one thread.
package final class RowScan {
  /// What rows are read from.
  private enum Origin {
    case pack(PackFile, block: Int, row: Int, bytes: [UInt8])
    case file(any RowReader)
  }

  private var origin: Origin
  private var record = RowRecord()
  private let columns: [String]
  private let path: String
  /// For each column as rows count them its place in ``values``.
  private var places: [Int?] = []
  private var row = 0
  /// The values of the row that was read last, one for each column asked for.
  package private(set) var values: [RowValue]

  /// Begins before the first row of a pack.
  ///
  /// - Parameters:
  ///   - pack: The pack.
  ///   - columns: What is read of it.
  ///   - mayLack: Whether it may have not all of them, which are null then.
  /// - Throws: ``TarnError`` as ``PackFile/values(ofRows:columns:checkpoint:)`` for its columns.
  package init(_ pack: PackFile, columns: [String], mayLack: Bool = false) throws {
    places = try pack.places(of: columns, mayLack: mayLack)
    origin = .pack(pack, block: 0, row: 0, bytes: [])
    (self.columns, path) = (columns, pack.path)
    values = columns.map { _ in .null }
  }

  /// Begins before the first row of a file, whose columns are known to be there.
  ///
  /// - Throws: ``TarnError`` as ``CompanionFile/values(ofRows:columns:checkpoint:)`` for its columns; `.io`.
  package init(_ file: CompanionFile, columns: [String]) throws {
    let reader = try file.records(only: Set(columns))
    // Members of JSON come as they do.
    if file.format.table != .jsonl { try requireColumns(columns, among: reader.columns, reader.leftOut, of: file.path) }
    origin = .file(reader)
    (self.columns, path) = (columns, file.path)
    values = columns.map { _ in .null }
  }

  /// Reads the next row.
  ///
  /// - Returns: Whether there was one.
  /// - Throws: ``TarnError`` `.integrity` for a damaged pack, `.badFeatures` for a file that cannot be read; `.io`.
  package func next() throws -> Bool {
    for place in values.indices { values[place] = .null }
    switch origin {
    case .pack(let pack, let block, let next, var bytes):
      guard block < pack.blockCount else { return false }
      // The enum's own copy goes before the bytes are replaced.
      if next == 0 { bytes = try pack.bytes(ofBlock: block) }
      guard let range = pack.range(ofRow: next, inBlock: block, of: bytes),
        RowRecord.read(bytes, range, places: places, into: &values)
      else { throw pack.damaged(row: row) }
      let isLast = next + 1 == pack.rowCount(ofBlock: block)
      origin = .pack(pack, block: isLast ? block + 1 : block, row: isLast ? 0 : next + 1, bytes: bytes)
    case .file(let reader):
      guard try reader.next(&record) else { return false }
      if places.count != reader.columns.count { places = reader.columns.map { columns.firstIndex(of: $0) } }
      guard RowRecord.read(record.bytes, 0..<record.bytes.count, places: places, into: &values) else {
        throw TarnError.companion(path, "row \(row) cannot be read")
      }
    }
    row += 1
    return true
  }
}
