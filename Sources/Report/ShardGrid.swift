// One small square a shard, in order: what is here, what is done, what is left.

/// The shards of a source, or of a version, by state.
package struct ShardGrid: Sendable {
  /// What is drawn above it.
  let title: String
  /// States in shard order.
  let states: [String]
  /// Squares at most; a million shards share them.
  let most: Int

  /// Makes a grid.
  ///
  /// - Parameters:
  ///   - title: What is drawn above it.
  ///   - states: States in shard order.
  ///   - most: Squares at most.
  package init(title: String, states: [String], squares most: Int = 2400) {
    (self.title, self.states, self.most) = (title, states, most)
  }

  /// Grids that share so many squares.
  ///
  /// - Parameters:
  ///   - most: Squares of all of them together, at most.
  ///   - parts: What each is of.
  /// - Returns: One for each of the first of these, as many as there are squares.
  package static func sharing(_ most: Int, _ parts: [(title: String, states: [String])]) -> [ShardGrid] {
    let each = max(1, most / max(1, parts.count))
    return parts.prefix(most).map { ShardGrid(title: $0.title, states: $0.states, squares: each) }
  }

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
  private static let columns = 80

  /// The grid as an SVG element.
  var svg: String {
    let perSquare = max(1, (states.count + most - 1) / most)
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
      let first = square * perSquare
      let name = members.count == 1 ? "\(first)" : "\(first)–\(first + members.count - 1)"
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
