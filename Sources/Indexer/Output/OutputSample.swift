// An output shard with some of its rows: what a version would be, had it been built
// from some of its shards, and what it is without the rows that must not be found.

internal import Base

extension OutputShardFile {
  /// Writes an output shard with the rows of some ids alone.
  ///
  /// The bytes are those of a merge of what is left, so that an output without some rows
  /// is the same whether it is made from its segments or from an output that has more.
  ///
  /// - Parameters:
  ///   - ranges: The ids, ascending and disjoint.
  ///   - path: The final name; what is there is replaced.
  ///   - checkpoint: Called once a list; what it throws ends the work and leaves nothing.
  /// - Returns: What was written.
  /// - Throws: ``TarnError`` `.io` or `.integrity` when reading fails; when the disk
  ///   refuses.
  @discardableResult
  package func write(
    idsIn ranges: [Range<Int64>], to path: String, checkpoint: () throws -> Void
  ) throws -> OutputShardSummary {
    var sizes = [UInt64](repeating: 0, count: trained.nlist)
    for list in 0..<trained.nlist {
      try checkpoint()
      try eachPiece(of: list, in: ranges) { _, kept in sizes[list] += UInt64(kept.count) }
    }
    let width = trained.quantizer.codeByteCount
    let writer = try FileWriter(creating: path + ".tmp")
    try FaissFile.writeHeader(trained, listSizes: sizes, to: writer)
    try writer.beginLists(.contiguous(listSizes: sizes, entryByteCount: width + 8))
    for list in 0..<trained.nlist where sizes[list] > 0 {
      try checkpoint()
      try eachPiece(of: list, in: ranges) { rows, kept in
        guard !kept.isEmpty else { return }
        let codes = try codes(ofList: list, rows: rows)
        if kept.count == rows.count { return try writer.append(codes) }
        for row in kept { try writer.append(Array(codes[(row * width)..<((row + 1) * width)])) }
      }
      try eachPiece(of: list, in: ranges) { rows, kept in
        guard !kept.isEmpty else { return }
        let ids = try ids(ofList: list, rows: rows)
        try writer.append(kept.map { ids[$0].littleEndian })
      }
    }
    let digests = try writer.finishLists()
    let (digest, byteCount) = try writer.finish(as: path)
    return OutputShardSummary(
      digest: digest, byteCount: byteCount, rowCount: Int(sizes.reduce(0, +)), listDigests: digests)
  }

  /// Hands out a list in pieces: which rows, and which of these have ids in some ranges,
  /// as places in the piece.
  private func eachPiece(
    of list: Int, in ranges: [Range<Int64>], _ body: (_ rows: Range<Int>, _ kept: [Int]) throws -> Void
  ) throws {
    var next = 0
    try eachPiece(of: list) { rows in
      let kept = try ids(ofList: list, rows: rows).enumerated().compactMap { place, id in
        next = ranges.place(of: id, from: next)
        return next < ranges.count && ranges[next].contains(id) ? place : nil
      }
      try body(rows, kept)
    }
  }
}
