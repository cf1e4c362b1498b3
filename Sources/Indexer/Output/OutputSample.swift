// An output shard with some of its rows: what a version would be, had it been built
// from some of its shards.

internal import Base

extension OutputShardFile {
  /// Writes an output shard with the rows of some ids alone.
  ///
  /// - Parameters:
  ///   - ranges: The ids, ascending and disjoint.
  ///   - path: The final name; what is there is replaced.
  ///   - checkpoint: Called once a list; what it throws ends the work and leaves nothing.
  /// - Throws: ``TarnError`` `.io` or `.integrity` when reading fails; when the disk
  ///   refuses.
  package func write(idsIn ranges: [Range<Int64>], to path: String, checkpoint: () throws -> Void) throws {
    var sizes = [UInt64](repeating: 0, count: trained.nlist)
    for list in 0..<trained.nlist {
      try checkpoint()
      sizes[list] = UInt64(try rows(ofList: list, in: ranges).count)
    }
    let writer = try FileWriter(creating: path + ".tmp")
    try FaissFile.writeHeader(trained, listSizes: sizes, to: writer)
    let width = trained.quantizer.codeByteCount
    for list in 0..<trained.nlist where sizes[list] > 0 {
      try checkpoint()
      let (codes, ids) = try contents(ofList: list)
      let rows = try rows(ofList: list, in: ranges)
      for row in rows { try writer.append(Array(codes[(row * width)..<((row + 1) * width)])) }
      try writer.append(rows.map { ids[$0].littleEndian })
    }
    _ = try writer.finish(as: path)
  }

  /// Places in a list of the rows whose ids are in some ranges.
  private func rows(ofList list: Int, in ranges: [Range<Int64>]) throws -> [Int] {
    var next = 0
    return try ids(ofList: list).enumerated().compactMap { place, id in
      while next < ranges.count, ranges[next].upperBound <= id { next += 1 }
      return next < ranges.count && ranges[next].contains(id) ? place : nil
    }
  }
}
