// Numbers by a key that each has: captions by cell, images by list, queries by the
// lists they look through.

/// The numbers `0 ..< n` by key, ascending within each: a stable counting sort.
struct GroupedNumbers: Sendable {
  /// All numbers, those of key 0 first.
  private let order: [UInt32]
  /// Where each key begins in `order`, and the end.
  private let starts: [Int]

  /// Groups numbers.
  ///
  /// - Parameters:
  ///   - keys: The key of each number, `0 ..< keyCount`; at most 2^32 of them.
  ///   - keyCount: How many keys there may be.
  init(by keys: some RandomAccessCollection<UInt32>, keyCount: Int) {
    var starts = [Int](repeating: 0, count: keyCount + 1)
    for key in keys { starts[Int(key) + 1] += 1 }
    for key in 0..<keyCount { starts[key + 1] += starts[key] }
    var next = starts
    var order = [UInt32](repeating: 0, count: keys.count)
    for (number, key) in keys.enumerated() {
      order[next[Int(key)]] = UInt32(number)
      next[Int(key)] += 1
    }
    (self.order, self.starts) = (order, starts)
  }

  /// How many keys there may be.
  var keyCount: Int { starts.count - 1 }

  /// The numbers with a key.
  subscript(key: Int) -> ArraySlice<UInt32> { order[starts[key]..<starts[key + 1]] }
}
