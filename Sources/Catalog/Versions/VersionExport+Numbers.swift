// The numbers of a document, which somebody else wrote: let in through one door,
// and what they tell of shards whose bytes the version does not hold.

internal import Base

extension VersionExport {
  /// Lets the document's numbers in.
  ///
  /// - Parameter place: The document's file.
  /// - Throws: ``TarnError`` `.usage` for one that cannot be meant.
  func checkNumbers(in place: String) throws(TarnError) {
    for source in sources {
      try ForeignNumber.dimension.check(source.dimension, "a dimension", in: place)
      for shard in source.shards {
        if let bytes = shard.bytes { try ForeignNumber.byteCount.check(bytes, "a number of bytes", in: place) }
        if let other = shard.trainedOn {
          try ForeignNumber.byteCount.check(other.bytes, "a number of bytes", in: place)
        }
        if let rows = shard.rows { try ForeignNumber.rowCount.check(rows, "a number of rows", in: place) }
      }
    }
    try ForeignNumber.count.check(trained.nlist, "a number of lists", in: place)
    try ForeignNumber.setting.check(trained.iterations, "a number of iterations", in: place)
    try ForeignNumber.sampleCount.check(trained.pairs, "a number of training rows", in: place)
    try ForeignNumber.setting.check(shardsPerOutput, "a number of shards", in: place)
    for input in inputs {
      try ForeignNumber.ordinal.check(input.ordinal, "a shard's place", in: place)
      if let bytes = input.bytes { try ForeignNumber.byteCount.check(bytes, "a number of bytes", in: place) }
      try ForeignNumber.rowID.check(Int(input.firstId), "a row id", in: place)
      try ForeignNumber.rowCount.check(input.rows, "a number of rows", in: place)
      try ForeignNumber.ordinal.check(input.output, "an output's place", in: place)
      guard let excluded = input.excluded else { continue }
      let ascends = zip(excluded, excluded.dropFirst()).allSatisfy { $0 < $1 }
      guard input.sha256 != nil, let first = excluded.first, let last = excluded.last, first >= 0, last < input.rows,
        ascends
      else {
        throw TarnError(.usage, "\(place): what it excludes of \(input.shard.printable) are no rows of it")
      }
    }
    for output in outputs {
      try ForeignNumber.ordinal.check(output.output, "an output's place", in: place)
      try ForeignNumber.byteCount.check(output.bytes, "a number of bytes", in: place)
      try ForeignNumber.rowCount.check(output.rows, "a number of rows", in: place)
      if let refine = output.refine { try ForeignNumber.byteCount.check(refine.bytes, "a number of bytes", in: place) }
    }
  }

  /// The rows of what the version and its training took, by digest.
  var pinnedRowCounts: [ContentDigest: Int] {
    var counts: [ContentDigest: Int] = [:]
    let specification = JSONValue(parsing: trained.spec)
    for listed in ["images", "captions"].flatMap({ specification?[$0]?.elements ?? [] }) {
      guard let digest = listed["sha256"]?.string.flatMap({ ContentDigest(hex: $0) }),
        let rows = listed["rows"]?.count, ForeignNumber.rowCount.holds(rows)
      else { continue }
      counts[digest] = rows
    }
    for input in inputs { if let digest = input.sha256 { counts[digest] = input.rows } }
    return counts
  }

  /// The rows of shards whose bytes the version does not hold, by their place: what
  /// is said of them, what their holes have, and what one shard between two inputs
  /// leaves for its ids.
  package func statedRowCounts(of source: Source) -> [Int: Int] {
    var counts: [Int: Int] = [:]
    for (ordinal, shard) in source.shards.enumerated() { counts[ordinal] = shard.rows }
    guard source.name == self.source else { return counts }
    var (next, firstID) = (0, 0)
    for input in inputs {
      if input.ordinal == next + 1 {
        let gap = Int(input.firstId) - firstID
        if ForeignNumber.rowCount.holds(gap), counts[next] == nil { counts[next] = gap }
      }
      if input.sha256 == nil { counts[input.ordinal] = input.rows }
      (next, firstID) = (input.ordinal + 1, Int(input.firstId).addingSaturated(input.rows))
    }
    return counts
  }
}
