// Which shards of a source are meant, as people write it.

/// A set of ordinals as people write it: `0-39,57`.
package struct OrdinalSet: Sendable, Equatable {
  private let ranges: [ClosedRange<Int>]

  /// Parses `0-39,57`.
  ///
  /// - Parameter text: What the user wrote.
  /// - Throws: ``TarnError`` `.usage`.
  package init(parsing text: String) throws {
    var ranges: [ClosedRange<Int>] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      switch ends.count {
      case 1:
        guard let only = ends[0], only >= 0 else { throw OrdinalSet.malformed(text) }
        ranges.append(only...only)
      case 2:
        guard let first = ends[0], let last = ends[1], first >= 0, first <= last else {
          throw OrdinalSet.malformed(text)
        }
        ranges.append(first...last)
      default: throw OrdinalSet.malformed(text)
      }
    }
    self.ranges = ranges
  }

  /// The set of ordinals that ascend.
  package init(ascending ordinals: [Int]) {
    var ranges: [ClosedRange<Int>] = []
    for ordinal in ordinals {
      if let last = ranges.last, last.upperBound == ordinal - 1 {
        ranges[ranges.count - 1] = last.lowerBound...ordinal
      } else {
        ranges.append(ordinal...ordinal)
      }
    }
    self.ranges = ranges
  }

  /// As people write it: `0-39,57`.
  package var text: String { parts.joined(separator: ",") }

  /// Its ranges, each as people write it.
  var parts: [String] {
    ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
  }

  /// The greatest ordinal.
  package var last: Int? { ranges.map(\.upperBound).max() }

  /// Whether the set holds an ordinal.
  package func contains(_ ordinal: Int) -> Bool { ranges.contains { $0.contains(ordinal) } }

  private static func malformed(_ text: String) -> TarnError {
    TarnError(.usage, "'\(text.printable)' is no list of numbers", hint: "write numbers and ranges, e.g. 0-39,57")
  }
}
