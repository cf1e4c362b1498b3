// Binary search, once for all.

extension RandomAccessCollection where Index == Int {
  /// The first place from which on a condition holds.
  ///
  /// - Parameter isLater: False of every element before that place, true of it and of those behind.
  /// - Returns: The place; ``endIndex`` where it holds of none.
  @inlinable package func partitioningIndex(where isLater: (Element) -> Bool) -> Int {
    var (low, high) = (startIndex, endIndex)
    while low < high {
      let middle = low + (high - low) / 2
      if isLater(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
