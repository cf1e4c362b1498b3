// One small square a shard, in order: what is here, what is done, what is left.

internal import Base
internal import Foundation
internal import Lake

/// The shards of a source, or of a version, by state.
struct ShardGrid {
  /// What is drawn above it.
  let title: String
  /// States in shard order.
  let states: [String]

  /// States and what they mean, the least advanced first: a square that stands
  /// for several shards shows the first of these that one of them has.
  static let meanings: [(state: String, meaning: String)] = [
    ("failed", "no mirror gave good bytes"), ("absent", "on no mirror"), ("hole", "left out"),
    ("registered", "not here yet"), ("waiting", "to be encoded"), ("fetching", "being fetched"),
    ("evicting", "going"), ("evicted", "known, bytes gone"), ("present", "here"), ("encoded", "encoded"),
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
    let title = Markup.text(title)
    var parts = [
      "<svg class=\"shards\" viewBox=\"0 0 \(Self.columns * 10) \(rows * 10)\" role=\"img\" aria-label=\"\(title)\">"
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
  var section: String { "<section class=\"grid\"><h3>\(Markup.text(title))</h3>\n\(svg)\n\(legend)</section>" }
}

extension ShardGrid {
  /// The shards of every source.
  static func ofSources(_ console: QueryConsole) throws -> [ShardGrid] {
    try read(
      console,
      "SELECT s.name, h.state FROM shard h JOIN source s ON s.id = h.source_id ORDER BY s.name, h.ordinal")
  }

  /// The inputs of a version; of every version in work when none is named.
  static func ofVersions(_ console: QueryConsole, _ version: VersionName? = nil) throws -> [ShardGrid] {
    let which = version.map { "v.name = '\($0.name)' AND v.number = \($0.number)" } ?? "v.state <> 'abandoned'"
    return try read(
      console,
      """
      SELECT v.name || '@' || v.number, CASE WHEN i.is_hole THEN 'hole'
        WHEN EXISTS (SELECT 1 FROM output_shard o WHERE o.version_id = v.id AND o.ordinal = i.output_ordinal) THEN 'merged'
        WHEN EXISTS (SELECT 1 FROM shard_revision r JOIN segment g ON g.shard_sha256 = r.sha256
          AND g.trained_sha256 = t.sha256 AND g.bad_rows_policy = v.bad_rows_policy
          WHERE r.shard_id = i.shard_id AND r.revision = i.revision) THEN 'encoded'
        ELSE 'waiting' END
      FROM version_input i JOIN index_version v ON v.id = i.version_id JOIN trained_index t ON t.id = v.trained_index_id
      WHERE \(which) ORDER BY v.name, v.number, i.ordinal
      """)
  }

  private static func read(_ console: QueryConsole, _ sql: String) throws -> [ShardGrid] {
    var grids: [ShardGrid] = []
    var states: [String] = []
    var title: String?
    func close() {
      if let title { grids.append(ShardGrid(title: title, states: states)) }
    }
    try console.run(sql) { _, values in
      guard let values else { return }
      let name = Table.text(values[0])
      if name != title {
        close()
        (title, states) = (name, [])
      }
      states.append(Table.text(values[1]))
    }
    close()
    return grids
  }
}
