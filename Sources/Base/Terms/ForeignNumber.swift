// Numbers that others chose: the one door for lengths, counts and offsets out of
// answers, lists and documents, and sums of them that cannot overflow. Pure.

/// What a number from elsewhere counts, and how large it can be.
///
/// The bounds are far above anything real, and so far below the largest whole
/// number that products and sums of what passed them stay within it.
package enum ForeignNumber: Sendable {
  /// Bytes of a file, which has some: 256 TiB at most.
  case byteCount
  /// Rows of a shard.
  case rowCount
  /// A row id, or one past the last.
  case rowID
  /// Elements of a row.
  case dimension
  /// A shard's or an output's place.
  case ordinal
  /// Inverted lists.
  case count
  /// Iterations, or shards of an output: chosen, and nothing is as large as they are.
  case setting
  /// Rows drawn for training.
  case sampleCount

  /// What such a number may be.
  package var range: ClosedRange<Int> {
    switch self {
    case .byteCount: 1...(1 << 48)
    case .rowCount: 0...(1 << 46)
    case .rowID: 0...(1 << 62)
    case .dimension: 1...65_536
    case .ordinal: 0...9_999_999
    case .count: 1...10_000_000
    case .setting: 1...(1 << 38)
    case .sampleCount: 1...(1 << 40)
    }
  }

  /// The most bytes that the shards of one source can have together.
  package static let mostBytesOfASource = 1 << 60

  /// Whether a number can be meant.
  package func holds(_ value: Int) -> Bool { range.contains(value) }

  /// Lets a number in.
  ///
  /// - Parameters:
  ///   - value: The number.
  ///   - what: What it is said to be, for the message.
  ///   - place: The file or host that says so.
  /// - Returns: The number.
  /// - Throws: ``TarnError`` `.usage` naming the place.
  @discardableResult
  package func check(_ value: Int, _ what: String, in place: String) throws(TarnError) -> Int {
    guard holds(value) else {
      throw TarnError(
        .usage, "\(place): \(value) cannot be \(what)", hint: "it is \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }
}

extension Int {
  /// The sum, or the largest number where that is larger.
  package func addingSaturated(_ other: Int) -> Int {
    let (sum, overflows) = addingReportingOverflow(other)
    return overflows ? (other < 0 ? .min : .max) : sum
  }

  /// The product of two that are no negative ones, or the largest number where that is larger.
  package func multipliedSaturated(by other: Int) -> Int {
    let (product, overflows) = multipliedReportingOverflow(by: other)
    return overflows ? .max : product
  }
}

extension Sequence<Int> {
  /// The sum of all, or the largest number where that is larger.
  package var saturatedSum: Int { reduce(0) { $0.addingSaturated($1) } }
}
