// The SQL page: a statement, or one of the questions that people ask, and its rows.

internal import Base
internal import Lake
internal import Report

extension RequestHandler {
  private static let shownRowCount = 200

  /// `/sql`.
  func sqlPage(_ request: ServeRequest) throws -> ServeAnswer {
    let form = try request.form()
    var statement = form.value("sql") ?? ""
    if let canned = form.value("canned").flatMap({ name in CannedQuery.all.first { $0.name == name } }) {
      statement = canned.sql(
        with: Dictionary(
          canned.parameters.compactMap { name in form.value(name).map { (name, $0) } },
          uniquingKeysWith: { first, _ in first }))
    }
    var found = ""
    if !statement.isEmpty { found = try rows(of: statement, request) }
    let body = """
      <form class="ask" action="/sql" method="post"><label for="sql">SELECT</label>
      <textarea id="sql" name="sql" rows="6" spellcheck="false">\(Self.lines(statement))</textarea>
      <div class="row"><button>Ask</button></div></form>
      \(found)
      <h2>Questions</h2>
      \(CannedQuery.all.map(Self.form).joined(separator: "\n"))
      """
    return ServePage.answer("SQL", at: "/sql", body)
  }

  /// Text of several lines, in an element.
  private static func lines(_ text: String) -> String {
    // Browsers send lines with CRLF, which is one Character.
    text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map { Markup.text(String($0)) }.joined(
      separator: "\n")
  }

  private static func form(_ query: CannedQuery) -> String {
    let fields = query.parameters.map { name in
      let id = "\(query.name)-\(name)"
      return "<label for=\"\(id)\">\(name)</label><input id=\"\(id)\" name=\"\(name)\">"
    }
    return
      "<form class=\"canned\" action=\"/sql\" method=\"get\"><input type=\"hidden\" name=\"canned\" value=\"\(query.name)\">"
      + "<button>\(Markup.text(query.title))</button>\(fields.joined())</form>"
  }

  private func rows(of statement: String, _ request: ServeRequest) throws -> String {
    let body = JSONValue.object(["sql": .string(statement), "first": .count(Self.shownRowCount)])
    let answer = try sqlAnswer(
      ServeRequest(
        head: request.head, target: request.target, route: request.route, body: Array(body.text.utf8),
        isGone: request.isGone))
    guard answer.isGood else { return ServePage.alert(answer.message) }
    let lines = String(decoding: answer.body, as: UTF8.self).split(separator: "\n").map { line in
      String(line.trimmingPrefix("[")).replacing(/[,\]]$/, with: "")
    }.filter { !$0.isEmpty }
    guard let first = lines.first, case .object(let members)? = JSONValue(parsing: first) else {
      return "<p>No rows.</p>"
    }
    // Members stand in the order of the SELECT. A name in quotes with a colon behind it is in no string: quotes are escaped
    // there.
    let columns = members.keys.sorted { left, right in
      let places = [left, right].map { name in
        first.firstRange(of: "\(JSONValue.string(name).text):")?.lowerBound ?? first.endIndex
      }
      return places[0] < places[1]
    }
    let cells = lines.map { line -> [String] in
      let row = JSONValue(parsing: line)
      return columns.map { Self.cell(row?[$0] ?? .null) }
    }
    let more = answer.headers["Tarn-More"] == nil ? "" : "<p>These are the first \(cells.count) rows.</p>"
    return more + ServePage.table("\(cells.count.counted("row"))", columns, cells)
  }
}
