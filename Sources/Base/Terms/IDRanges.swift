// Ascending, disjoint ranges of row ids.

extension [Range<Int64>] {
  /// The first of ascending, disjoint ranges that does not end before an id.
  ///
  /// - Parameters:
  ///   - id: The id.
  ///   - start: Ranges before this one end before it.
  /// - Returns: Its place, or ``count``. A list has few of an output's ids and there may be
  ///   many ranges: they are searched in steps that double, then halve.
  package func place(of id: Int64, from start: Int) -> Int {
    guard start < count, self[start].upperBound <= id else { return start }
    var (low, step) = (start, 1)
    while low + step < count, self[low + step].upperBound <= id {
      low += step
      step *= 2
    }
    var high = Swift.min(low + step, count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if self[middle].upperBound <= id { low = middle } else { high = middle }
    }
    return high
  }
}

extension Range<Int64> {
  /// The range without some of its ids.
  ///
  /// - Parameter ids: Ids of the range, ascending.
  /// - Returns: What is left, ascending and disjoint, no piece empty.
  package func without(_ ids: [Int64]) -> [Range<Int64>] {
    var pieces: [Range<Int64>] = []
    var start = lowerBound
    for id in ids {
      if start < id { pieces.append(start..<id) }
      start = id + 1
    }
    if start < upperBound { pieces.append(start..<upperBound) }
    return pieces
  }
}
