// What has to be said of an answer besides its rows: why they are fewer than were asked for, and what could not be looked at.
// The same sentences on a terminal, on a page and for programs.

internal import Base
internal import Indexer

/// What is said of an answer to some queries.
///
/// Pure.
package struct SearchNotes: Sendable {
  /// Who is told, and so what the things that can be raised are called.
  package enum Reader: Sendable {
    case terminal, program, page

    fileprivate var lists: String {
      switch self {
      case .terminal: "--nprobe"
      case .program: "nprobe"
      case .page: "Lists"
      }
    }

    fileprivate var closeness: String {
      switch self {
      case .terminal: "--unique"
      case .program: "unique"
      case .page: "Near-duplicates from"
      }
    }
  }

  /// Neighbours asked for.
  package var k: Int
  /// Lists asked for.
  package var nprobe: Int
  /// Lists that there are.
  package var listCount: Int
  /// The closeness from which on two rows count as one; nil where all count.
  package var unique: Double?
  /// Rows that may be found, where a condition says which; else nil.
  package var admittedCount: Int?
  /// What a condition could not be asked of, a line each.
  package var conditionNotes: [String]
  /// Rows of the version that are left out because they were excluded since it was made.
  package var hiddenCount = 0
  /// Whether rows were named that alone are searched, or are not.
  package var namesRows = false
  /// Whether something stands in the place of rows that there are not, so that nobody sees how many there are.
  package var fillsUp = false

  package init(
    k: Int, nprobe: Int, listCount: Int, unique: Double?, admittedCount: Int?, conditionNotes: [String]
  ) {
    self.k = k
    self.nprobe = nprobe
    self.listCount = listCount
    self.unique = unique
    self.admittedCount = admittedCount
    self.conditionNotes = conditionNotes
  }

  /// The sentences.
  ///
  /// - Parameters:
  ///   - counts: How many rows were found for each query.
  ///   - reader: Who is told.
  /// - Returns: One line each, nothing at its end.
  package func lines(_ counts: [Int], for reader: Reader) -> [String] {
    var lines: [String] = []
    if hiddenCount > 0 {
      lines.append(
        "\(hiddenCount.counted("row")) excluded since the version was made \(hiddenCount == 1 ? "is" : "are") left out")
    }
    lines += conditionNotes
    let lists = min(nprobe, listCount).counted("list")
    let canLookFurther = nprobe < listCount
    // Of fewer rows than these nobody is told what there cannot be.
    let most = min(k, admittedCount ?? k)
    let lackingCount = counts.count { $0 < most }
    if admittedCount == 0 {
      lines.append("the condition holds of no row that is searched")
    } else if let unique, lackingCount > 0 {
      // A cosine is no more than 1.
      let ways = [canLookFurther ? reader.lists : nil, unique < 1 ? reader.closeness : nil].compactMap(\.self)
      lines.append(
        "for \(lackingCount.counted("query", "queries")) there are fewer than \(most.counted("row")) apart in the lists "
          + "visited, or among \(VersionSearcher.candidatesPerRow * k) candidates"
          + (ways.isEmpty ? "" : "; raise \(ways.joined(separator: " or "))"))
    } else if let admittedCount, lackingCount > 0 {
      lines.append(
        "the condition holds of \(admittedCount.counted("row")), of which fewer than \(most) are in the \(lists) visited "
          + "for \(lackingCount.counted("query", "queries"))"
          + (canLookFurther ? "; raise \(reader.lists) to look further" : ""))
    }
    guard admittedCount == nil else { return lines }
    let emptyCount = counts.count { $0 == 0 }
    if namesRows, emptyCount > 0 {
      // None of them is fewer, too.
      lines.append(
        "for \(emptyCount) of \(counts.count.counted("query", "queries")) none of these rows is in the \(lists) visited"
          + (canLookFurther ? "; raise \(reader.lists) to look further" : ""))
    } else if fillsUp, unique == nil, lackingCount > 0 {
      lines.append(
        "for \(lackingCount) of \(counts.count.counted("query", "queries")) fewer than \(k) rows are in the \(lists) "
          + "visited, and -1 is in their place"
          + (canLookFurther ? "; raise \(reader.lists) to look further" : ": these are all lists"))
    }
    return lines
  }
}
