// When k-means has converged: a share of captions that still change cells.

/// A share of the captions, in percent with up to four decimals: k-means ends with the
/// first iteration, after its first, that moves no more of them.
///
/// It is a whole number of millionths and compared in whole numbers, so that no machine
/// rounds it otherwise.
package struct ConvergenceBound: Sendable, Equatable {
  /// The share in millionths, `0..<1_000_000`.
  package let millionths: Int

  /// Reads a share such as `0.1%`; nil for anything else.
  ///
  /// - Parameter text: Digits, perhaps a point and up to four more, and `%`; below 100.
  package init?(parsing text: String) {
    guard text.utf8.last == UInt8(ascii: "%") else { return nil }
    let parts = text.dropLast().split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let decimals = parts.count == 2 ? String(parts[1]) : "0"
    guard let whole = Self.digits(parts[0], atMost: 2), Self.digits(decimals[...], atMost: 4) != nil,
      let fraction = Int(decimals + String(repeating: "0", count: 4 - decimals.utf8.count))
    else { return nil }
    millionths = whole * 10_000 + fraction
  }

  private static func digits(_ text: Substring, atMost count: Int) -> Int? {
    let bytes = text.utf8
    guard (1...count).contains(bytes.count), bytes.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    return Int(text)
  }

  /// The one way in which a specification writes it: no zero that says nothing.
  package var text: String {
    let (whole, fraction) = millionths.quotientAndRemainder(dividingBy: 10_000)
    guard fraction > 0 else { return "\(whole)%" }
    var decimals = String(String(10_000 + fraction).dropFirst())
    while decimals.last == "0" { decimals.removeLast() }
    return "\(whole).\(decimals)%"
  }

  /// Whether a training is over.
  ///
  /// - Parameters:
  ///   - history: What the iterations so far did.
  ///   - captionCount: Captions, `1...2^32`.
  /// - Returns: Whether the last iteration, other than the first, moved no larger share.
  package func isReached(by history: [KMeansIteration], captionCount: Int) -> Bool {
    guard history.count > 1, let last = history.last else { return false }
    // The share is a quotient of two numbers below 2^32: times the number it rounds to what was counted.
    let moved = Int((last.movedShare * Double(captionCount)).rounded())
    return moved * 1_000_000 <= millionths * captionCount
  }
}
