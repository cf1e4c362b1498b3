// The search page: words, a row or a vector in, rows out, with pictures where the person wants them.

internal import Base
internal import Foundation
internal import Lake
internal import Report

/// What a person asks.
struct SearchForm {
  let version: String?
  let words: String
  /// What companions must say of the rows; empty for nothing.
  let condition: String
  let k: Int
  let nprobe: Int
  let showsPictures: Bool

  /// Reads the query of a GET or the body of a POST.
  init(_ request: ServeRequest, nprobe: Int) throws {
    let items =
      request.body.isEmpty
      ? request.target.items
      : RequestTarget.Item.all(in: Substring(String(decoding: request.body, as: UTF8.self)))
    guard let items else { throw TarnError(.usage, "the form cannot be read") }
    func value(_ name: String) -> String? { items.first { $0.name == name && !$0.value.isEmpty }?.value }
    version = value("version")
    words = (value("q") ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    condition = (value("where") ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    k = min(max(value("k").flatMap { Int($0) } ?? 10, 1), 200)
    self.nprobe = max(value("nprobe").flatMap { Int($0) } ?? nprobe, 1)
    showsPictures = value("pictures") != nil
  }

  /// What the words are: a vector in brackets, a row after a number sign, else words.
  func wanted() throws -> ServeHouse.Wanted {
    if words.hasPrefix("[") {
      guard let value = JSONValue(parsing: words) else { throw TarnError(.usage, "the vector is no JSON array") }
      return .vectors([try JSONBody.vector(value, "the vector")])
    }
    if words.hasPrefix("#"), let id = Int64(words.dropFirst()) { return .row(id) }
    return .encoded(.text(words))
  }
}

extension ServeHouse {
  /// `/search`: the form, and what was found.
  func searchPage(_ request: ServeRequest, done: @escaping Done) throws {
    let form = try SearchForm(request, nprobe: nprobe)
    guard !form.words.isEmpty else { return done(page(form, "")) }
    let told: Done = { [self] answer in
      // Errors of the search itself are told above the form.
      guard !answer.isGood, answer.contentType == ServeAnswer.jsonType else { return done(answer) }
      let text = JSONValue(parsing: String(decoding: answer.body, as: UTF8.self))?["message"]?.string ?? "it failed"
      var told = page(form, "<p class=\"alert\" role=\"alert\">\(Markup.text(text))</p>")
      told.status = answer.status
      done(told)
    }
    do {
      let version = try versions.named(form.version)
      let asked = Asked(
        k: form.k, nprobe: form.nprobe,
        condition: try condition(form.condition.isEmpty ? nil : form.condition, of: version), isGone: request.isGone)
      try find(form.wanted(), in: version, as: asked, done: told) { [self] found in
        let hits = found[0]
        let columns = try values(of: hits.map(\.id), in: version, request.isGone)
        return page(form, results(hits, columns, version, form))
      }
    } catch { told(.error(error)) }
  }

  private func page(_ form: SearchForm, _ found: String) -> ServeAnswer {
    let words = Markup.text(form.words)
    let hint =
      encoder == nil
      ? "a vector as a JSON array (this server has no encoder for words)"
      : "words, #ID for the neighbours of a row, or a vector as a JSON array"
    let body = """
      <form class="ask" action="/search" method="\((form.words + form.condition).utf8.count > 1000 ? "post" : "get")" role="search">
      <label for="q">Look for</label><input id="q" name="q" value="\(words)" aria-describedby="q-hint" autocomplete="off">
      <p id="q-hint" class="soft">\(hint)</p>
      <label for="where">Only rows where (may be empty)</label><input id="where" name="where" value="\(Markup.text(form.condition))"\
       aria-describedby="where-hint" autocomplete="off" spellcheck="false">
      <p id="where-hint" class="soft">\(Markup.text(conditionHint(form)))</p>
      <div class="row"><span class="field"><label for="version">Version</label> \(ServePage.choice(of: versions.all, chosen: form.version))
      </span><span class="field"><label for="k">Rows</label> <input id="k" name="k" type="number" min="1" max="200" value="\(form.k)">
      </span><span class="field"><label for="nprobe">Lists</label> <input id="nprobe" name="nprobe" type="number" min="1" value="\(form.nprobe)"></span>
      <span><input id="pictures" name="pictures" type="checkbox" value="1"\(form.showsPictures ? " checked" : "")>
      <label for="pictures">show pictures from the hosts they are on</label></span>
      <button>Search</button></div></form>
      \(found)
      """
    var answer = ServePage.answer("Search", at: "/search", body)
    answer.showsPictures = form.showsPictures
    return answer
  }

  /// What may be asked of the rows of the version that is chosen.
  private func conditionHint(_ form: SearchForm) -> String {
    guard let version = try? versions.named(form.version), let columns = version.columns, !columns.names.isEmpty else {
      return "a condition on columns of companions; none are shown of this version"
    }
    let names = columns.names.prefix(40).map { ColumnList.text(of: $0).printable }.joined(separator: ", ")
    return "a condition on columns, as width >= 512 AND NOT caption LIKE '%logo%'; there are \(names)"
  }

  private func results(
    _ hits: [Neighbor], _ columns: [[String: JSONValue]]?, _ version: ServedVersion, _ form: SearchForm
  ) -> String {
    let names = Set(columns?.flatMap(\.keys) ?? []).sorted()
    let rows = hits.enumerated().map { rank, hit -> [String] in
      let place = version.places.place(of: hit.id)
      let own = columns?[rank] ?? [:]
      let picture = form.showsPictures ? Self.picture(own, "row \(hit.id)") : nil
      // First what people look for, then whence it came.
      return ["\(rank + 1)"] + (form.showsPictures ? [picture ?? ""] : [])
        + [String(format: "%.4f", hit.score)] + names.map { name in Self.cell(own[name] ?? .null) }
        + ["\(hit.id)", Markup.text(place?.shard ?? ""), place.map { "\($0.row)" } ?? ""]
    }
    return "<h2>\(hits.count.counted("row"))</h2>"
      + ServePage.table(
        "Rows of \(version.name), the most similar first",
        ["rank"] + (form.showsPictures ? ["picture"] : []) + ["similarity"] + names + ["id", "shard", "row"], rows,
        stacks: true)
  }

  /// A picture from where its row says that it is.
  private static func picture(_ columns: [String: JSONValue], _ fallback: String) -> String? {
    guard let url = columns["url"]?.string, ["https://", "http://"].contains(where: url.lowercased().hasPrefix) else {
      return nil
    }
    let words = columns["caption"]?.string ?? columns["text"]?.string ?? fallback
    return
      "<img src=\"\(Markup.text(url))\" alt=\"\(Markup.text(words))\" loading=\"lazy\" referrerpolicy=\"no-referrer\">"
  }

  /// A value of a row; an address of the web may be followed.
  static func cell(_ value: JSONValue) -> String {
    guard let text = value.string else { return value == .null ? "" : Markup.text(value.text) }
    guard ["https://", "http://"].contains(where: text.lowercased().hasPrefix) else { return Markup.text(text) }
    let address = Markup.text(text)
    return "<a href=\"\(address)\" rel=\"noreferrer noopener\">\(address)</a>"
  }
}
