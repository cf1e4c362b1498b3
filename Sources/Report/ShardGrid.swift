// One small square a shard, in order: what is here, what is done, what is left.

/// The shards of a source, or of a version, by state.
package struct ShardGrid: Sendable {
  /// What is drawn above it.
  let title: String
  /// States in shard order.
  let states: [String]

  package init(title: String, states: [String]) { (self.title, self.states) = (title, states) }

  /// States and what they mean, the least advanced first: a square that stands
  /// for several shards shows the first of these that one of them has.
  static let meanings: [(state: String, meaning: String)] = [
    ("failed", "no mirror gave good bytes"), ("absent", "on no mirror"), ("hole", "left out"),
    ("registered", "not here yet"), ("waiting", "to be encoded"), ("fetching", "being fetched"),
    ("dropped", "dropped"), ("evicting", "going"), ("evicted", "known, bytes gone"), ("present", "here"),
    ("encoded", "encoded"),
    ("merged", "in an output"),
  ]

  private static let rank = Dictionary(
    uniqueKeysWithValues: meanings.enumerated().map { ($0.element.state, $0.offset) })
  /// Squares at most; a million shards share them.
  private static let maximum = 2400
  private static let columns = 80

  /// The grid as an SVG element.
  var svg: String {
    let perSquare = max(1, (states.count + Self.maximum - 1) / Self.maximum)
    let count = (states.count + perSquare - 1) / perSquare
    let rows = max((count + Self.columns - 1) / Self.columns, 1)
    // Of few shards no wider than they are, so that a narrow screen does not shrink them.
    let columns = max(min(count, Self.columns), 1)
    let title = Markup.text(title)
    var parts = [
      "<svg class=\"shards\" width=\"\(columns * 12)\" height=\"\(rows * 12)\" "
        + "viewBox=\"0 0 \(columns * 10) \(rows * 10)\" role=\"img\" aria-label=\"\(title)\">"
        + "<title>\(title)</title>"
    ]
    for square in 0..<count {
      let members = states[(square * perSquare)..<min((square + 1) * perSquare, states.count)]
      let state = members.min { (Self.rank[$0] ?? 0) < (Self.rank[$1] ?? 0) } ?? "registered"
      let name = members.count == 1 ? "\(square)" : "\(square * perSquare)–\(square * perSquare + members.count - 1)"
      parts.append(
        "<rect class=\"s-\(Markup.text(state))\" x=\"\(square % Self.columns * 10)\" "
          + "y=\"\(square / Self.columns * 10)\" width=\"9\" height=\"9\"><title>\(name): \(Markup.text(state))</title></rect>"
      )
    }
    return (parts + ["</svg>"]).joined(separator: "\n")
  }

  /// How many shards are in which state, for people.
  var legend: String {
    var counts: [String: Int] = [:]
    for state in states { counts[state, default: 0] += 1 }
    let items = Self.meanings.filter { counts[$0.state] != nil }.reversed().map { state, meaning in
      "<li><span class=\"key s-\(state)\"></span>\(counts[state] ?? 0) \(Markup.text(state)): \(Markup.text(meaning))</li>"
    }
    return "<ul class=\"legend\">\(items.joined())</ul>"
  }

  /// Title, grid and legend.
  package var section: String { "<section class=\"grid\"><h3>\(Markup.text(title))</h3>\n\(svg)\n\(legend)</section>" }
}
