// Pages of what the catalog says: the lake and its versions.

internal import Base
internal import Foundation
internal import Lake
internal import Report

extension RequestHandler {
  /// A page that needs the catalog alone.
  func catalogPage(_ page: ServeRoute.Page) throws -> ServeAnswer {
    let catalog = try LakeCatalog.open(root: lake, writing: nil)
    let picture = LakePicture(catalog)
    switch page {
    case .lake: return try lakePage(picture)
    case .versions: return try versionsPage(picture)
    case .version(let name): return try versionPage(catalog, picture, VersionName(parsing: name))
    case .search, .sql: preconditionFailure("these pages have lanes of their own")
    }
  }

  /// The parts in `#live` are put in the place of those before by the page's script, each by its id.
  private func lakePage(_ picture: LakePicture) throws -> ServeAnswer {
    let all = try watch.look()
    let (moving, resting) = (all.filter { !$0.item.isComplete }, all.filter(\.item.isComplete))
    var body = "<p id=\"looked\" class=\"soft\">\(Markup.text(lake))</p><div id=\"live\"><section id=\"moving\">"
    body +=
      moving.isEmpty
      ? "<p>Nothing is under way.</p>"
      : ServePage.table(
        "What is under way", ["what", "done", "amount", "rate", "left", "held up by", "failed", "state"],
        moving.map { one in
          Self.cells(one) + [
            Markup.text(one.rate.map { Self.rate($0, one.unit) } ?? ""),
            Markup.text(one.secondsLeft.map { TimeSpan.text(seconds: $0) } ?? ""), Markup.text(one.bottleneck ?? ""),
            one.item.failed == 0 ? "" : "\(one.item.failed)", Markup.text(one.state),
          ]
        })
    body += "</section>" + (try watch.surroundings { try surroundings(picture) }) + "<section id=\"resting\">"
    if !resting.isEmpty {
      body += "<h2>At rest</h2>"
      body += ServePage.table(
        "What is whole", ["what", "done", "amount", "state"], resting.map { Self.cells($0) + [Markup.text($0.state)] })
    }
    return ServePage.answer("Lake", at: "/", body + "</section></div>")
  }

  /// The first cells of a thing's row: what it is and how far.
  private static func cells(_ one: LakeWatch.Moving) -> [String] {
    let item = one.item
    let amount = item.kind == .source ? ByteSize.text(Int(item.amount)) : "\(Int(item.amount)) \(one.unit)"
    return [
      Markup.text("\(item.kind.rawValue) \(item.name)"),
      "<progress max=\"\(max(item.total, 1))\" value=\"\(item.done)\" aria-label=\"\(Markup.text(item.name))\"></progress> "
        + "\(item.done)/\(item.total)", Markup.text(amount),
    ]
  }

  /// Faults, shards and events.
  private func surroundings(_ picture: LakePicture) throws -> String {
    let faults = try picture.rows(
      "SELECT source, shard, coalesce(last_error, '') FROM v_shard WHERE state IN ('absent', 'failed') ORDER BY source, ordinal LIMIT 20"
    ).map { row in row.map { Markup.text(Self.text($0)) } }
    var body = "<section id=\"faults\">"
    if !faults.isEmpty {
      body +=
        "<h2>Last errors</h2>" + ServePage.table("Shards that did not come", ["source", "shard", "error"], faults)
    }
    let events = try picture.rows("SELECT at, verb, subject FROM v_event ORDER BY seq DESC LIMIT 15").map { row in
      let at = Self.text(row[0])
      // To the second, in UTC: 2026-01-01 12:00:00.
      let short = String(at.prefix(19)).replacing("T", with: " ")
      return ["<time datetime=\"\(Markup.text(at))\">\(Markup.text(short))</time>"]
        + row.dropFirst().map { Markup.text(Self.text($0)) }
    }
    let shards = try grids(picture.sources(), squares: Self.liveSquareCount)
    return body + "</section><section id=\"shards\"><h2>Shards</h2>" + shards
      + "</section><section id=\"events\"><h2>What happened last</h2>"
      + ServePage.table("Events, in UTC", ["at", "what", "to what"], events) + "</section>"
  }

  private static func rate(_ value: Double, _ unit: String) -> String {
    unit == "bytes" ? "\(ByteSize.text(Int(value)))/s" : String(format: "%.1f \(unit)/s", value)
  }

  /// Squares of all sources together on the page that is asked for every two seconds.
  private static let liveSquareCount = 1200

  /// Squares for shards, so many for all at most.
  private func grids(_ states: [LakePicture.States], squares: Int = 2400) throws -> String {
    let grids = ShardGrid.sharing(squares, states)
    let left = states.count - grids.count
    return grids.map(\.section).joined(separator: "\n") + (left == 0 ? "" : "<p>\(left) more are not drawn.</p>")
  }

  private static func text(_ value: SQLValue) -> String {
    switch value {
    case .null: ""
    case .integer(let value): String(value)
    case .real(let value): "\(value)"
    case .text(let value): value
    case .blob: "(bytes)"
    }
  }

  private func versionsPage(_ picture: LakePicture) throws -> ServeAnswer {
    let served = Set(versions.all.map { "\($0.name)" })
    let rows = try picture.rows(
      """
      SELECT version, state, source, trained_index, codec, nlist, rows, bytes, coalesce(sealed_at, '')
      FROM v_version ORDER BY name, number
      """
    ).map { row in
      var texts = row.map { Markup.text(Self.text($0)) }
      if case .integer(let count) = row[7] { texts[7] = ByteSize.text(Int(count)) }
      return ["<a href=\"/versions/\(texts[0])\">\(texts[0])</a>"] + texts.dropFirst()
        + [served.contains(Self.text(row[0])) ? "yes" : ""]
    }
    return ServePage.answer(
      "Versions", at: "/versions",
      ServePage.table(
        "Index versions",
        ["version", "state", "source", "trained index", "codec", "nlist", "rows", "bytes", "sealed", "served"], rows))
  }

  private func versionPage(_ catalog: LakeCatalog, _ picture: LakePicture, _ name: VersionName) throws -> ServeAnswer {
    let version = try catalog.version(name)
    var body = "<p>\(Markup.text(version.state.rawValue))"
    if versions.all.contains(where: { $0.name == name }) {
      body += ", <a href=\"/search?version=\(Markup.text("\(name)"))\">search it</a>"
    }
    body += "</p><h2>Lineage</h2>"
    body += Lineage(try picture.lineage(of: name).map { Lineage.Step($0.title, $0.lines) }).section
    for evaluation in try picture.evaluations(of: name, atMost: 3) {
      let k = evaluation.points.first?.recalls.last?.k ?? 1
      body += ReportPage.curves(of: [evaluation], k: k)
    }
    body += "<h2>Shards</h2>" + (try grids(picture.versions(name)))
    return ServePage.answer("\(name)", at: "/versions", body)
  }
}
