// The lists of an index that somebody else wrote, read from its file and written as an output
// shard of tarn's: the same codes under the same ids, each list in the order of its ids.
//
// Memory: the ids of one list, and a bit for each id of the file's range, or 8 bytes for each
// row where that is less. Codes pass in pieces.

internal import Base

extension ForeignIndex {
  /// Most bytes of codes that are in memory at a time.
  private static let pieceByteCount = 16 << 20
  /// Most bytes of a list whose ids are out of order.
  private static let mostUnordered = 1 << 30

  /// The least and the greatest row id, once every id was looked at.
  ///
  /// - Parameter checkpoint: Called once a list; what it throws ends the work.
  /// - Returns: The range of ids.
  /// - Throws: ``TarnError`` `.integrity` for an id that is negative, too large, or there
  ///   twice; `.usage` for an index without rows.
  package func ids(checkpoint: () throws -> Void) throws -> ClosedRange<Int64> {
    var (least, greatest) = (Int64.max, Int64.min)
    for list in lists.indices where lists[list].size > 0 {
      try checkpoint()
      for id in try ids(ofList: list) {
        least = min(least, id)
        greatest = max(greatest, id)
      }
    }
    guard least <= greatest else {
      let others = unfiledRowCount == 0 ? "" : ": \(unfiledRowCount) that it counts are in none of its lists"
      throw TarnError(
        .usage, "\(file.path) holds no rows\(others)",
        hint: "leave it out; `tarn adopt trained` takes empty ones")
    }
    guard least >= 0, ForeignNumber.rowID.holds(Int(greatest)) else {
      throw TarnError(
        .usage, "\(file.path) has the row id \(least < 0 ? least : greatest)",
        hint: "row ids of tarn are 0 to \(ForeignNumber.rowID.range.upperBound); add the rows with such ids")
    }
    guard ForeignNumber.rowCount.holds(Int(greatest - least) + 1) else {
      throw TarnError(
        .usage, "the row ids of \(file.path) are \(least) to \(greatest), further apart than the rows of any file",
        hint: "add the rows with ids that count them")
    }
    try requireOnce(least...greatest, checkpoint)
    return least...greatest
  }

  private func requireOnce(_ range: ClosedRange<Int64>, _ checkpoint: () throws -> Void) throws {
    func twice(_ id: Int64) -> TarnError {
      TarnError(
        .integrity, "\(file.path) has the row id \(id) twice", hint: "add every row with an id of its own")
    }
    let span = Int(range.upperBound - range.lowerBound) + 1
    guard span / 8 <= 8 * rowCount + (1 << 20) else {
      var all: [Int64] = []
      all.reserveCapacity(rowCount)
      for list in lists.indices where lists[list].size > 0 { all += try ids(ofList: list) }
      all.sort()
      if let place = all.indices.dropFirst().first(where: { all[$0] == all[$0 - 1] }) { throw twice(all[place]) }
      return
    }
    var seen = [UInt64](repeating: 0, count: (span + 63) / 64)
    for list in lists.indices where lists[list].size > 0 {
      try checkpoint()
      for id in try ids(ofList: list) {
        let place = Int(id - range.lowerBound)
        // The file may have changed since its range was found.
        guard seen.indices.contains(place / 64), place >= 0 else { throw changed }
        guard seen[place / 64] & (1 << (place % 64)) == 0 else { throw twice(id) }
        seen[place / 64] |= 1 << (place % 64)
      }
    }
  }

  private var changed: TarnError {
    TarnError(.integrity, "\(file.path) changed while it was read", hint: "wait until nothing writes to it")
  }

  private func ids(ofList list: Int) throws -> [Int64] {
    let (offset, size) = lists[list]
    var ids = [Int64](repeating: 0, count: size)
    try unsafe ids.withUnsafeMutableBytes {
      try unsafe file.read(into: $0, at: offset + size * trained.quantizer.codeByteCount)
    }
    return ids
  }

  /// Writes the rows as an output shard.
  ///
  /// - Parameters:
  ///   - known: The trained index that the output carries, which ``require(_:named:)`` let pass.
  ///   - path: The final name; what is there is replaced.
  ///   - checkpoint: Called with the rows that are written; what it throws ends the work and leaves nothing.
  /// - Throws: ``TarnError`` `.io` or `.integrity` when reading fails; when the disk
  ///   refuses.
  package func write(under known: TrainedIndex, to path: String, checkpoint: (Int) throws -> Void) throws {
    let width = known.quantizer.codeByteCount
    let writer = try FileWriter(creating: path + ".tmp")
    let sizes = lists.isEmpty ? [UInt64](repeating: 0, count: known.nlist) : lists.map { UInt64($0.size) }
    try FaissFile.writeHeader(known.searched, listSizes: sizes, to: writer)
    var done = 0
    for list in lists.indices where lists[list].size > 0 {
      try checkpoint(done)
      let (offset, size) = lists[list]
      let ids = try ids(ofList: list)
      done += size
      if zip(ids, ids.dropFirst()).allSatisfy({ $0 < $1 }) {
        for start in stride(from: 0, to: size * width, by: Self.pieceByteCount) {
          try writer.append(codes(at: offset + start, count: min(Self.pieceByteCount, size * width - start)))
        }
        try writer.append(ids.map(\.littleEndian))
        continue
      }
      guard size * width <= Self.mostUnordered else {
        throw TarnError(
          .usage, "list \(list) of \(file.path) has \(size) rows whose ids do not ascend, too many to put in order",
          hint: "add the rows in the order of their ids")
      }
      let codes = try codes(at: offset, count: size * width)
      let order = ids.indices.sorted { ids[$0] < ids[$1] }
      for row in order { try writer.append(Array(codes[(row * width)..<((row + 1) * width)])) }
      try writer.append(order.map { ids[$0].littleEndian })
    }
    _ = try writer.finish(as: path)
  }

  private func codes(at offset: Int, count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try file.read(into: &bytes, at: offset, count: count)
    return bytes
  }
}
