// What somebody may have meant who wrote a word that is not known.

/// Words that a few slips of the fingers lie between.
package enum NearWords {
  /// Most that are asked about.
  private static let count = 3
  /// Names may be as long as a file's; what is longer than this was no slip.
  private static let lengthLimit = 128

  /// Asks whether a known word was meant.
  ///
  /// - Parameters:
  ///   - word: What was written.
  ///   - known: What could stand in its place.
  /// - Returns: `did you mean 'images'?`; nil where nothing is near.
  package static func question(_ word: String, among known: some Sequence<String>) -> String? {
    guard (1...lengthLimit).contains(word.count) else { return nil }
    let near = Array(Set(known)).filter { $0 != word && $0.count <= lengthLimit && isNear(word, $0) }
      .map { ($0, distance(Array(word.lowercased()), Array($0.lowercased()))) }
      .sorted { ($0.1, $0.0) < ($1.1, $1.0) }.prefix(count).map { "'\($0.0.printable)'" }
    return near.isEmpty ? nil : "did you mean \(near.joined(separator: " or "))?"
  }

  /// Whether a few slips lie between two words, or one begins the other.
  private static func isNear(_ word: String, _ other: String) -> Bool {
    if word.count >= 3, other.hasPrefix(word) || word.hasPrefix(other) && other.count >= 3 { return true }
    let (word, other) = (word.lowercased(), other.lowercased())
    return distance(Array(word), Array(other)) <= max(1, min(word.count, other.count) / 3)
      // Nothing of a word of one or two letters is left by a slip.
      && (min(word.count, other.count) > 2 || word.first == other.first || word == other)
  }

  /// Letters to insert, take out, replace, or swap with their neighbour.
  package static func distance(_ a: [Character], _ b: [Character]) -> Int {
    var rows = [Array(0...b.count)]
    for i in 0..<a.count {
      var row = [i + 1]
      for j in 0..<b.count {
        var least = min(rows[i][j] + (a[i] == b[j] ? 0 : 1), rows[i][j + 1] + 1, row[j] + 1)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, rows[i - 1][j - 1] + 1) }
        row.append(least)
      }
      rows.append(row)
    }
    return rows[a.count][b.count]
  }
}
