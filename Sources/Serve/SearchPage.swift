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
  /// The closeness from which on two rows count as one, as it was written; empty where all count.
  let unique: String
  let showsPictures: Bool

  /// Reads the query of a GET or the body of a POST.
  init(_ request: ServeRequest, nprobe: Int) throws {
    let form = try request.form()
    version = form.value("version")
    words = (form.value("q") ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    condition = (form.value("where") ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    k = min(max(form.value("k").flatMap { Int($0) } ?? 10, 1), 200)
    self.nprobe = max(form.value("nprobe").flatMap { Int($0) } ?? nprobe, 1)
    unique = (form.value("unique") ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    showsPictures = form.value("pictures") != nil
  }

  /// The most bytes of a form that become an address.
  private static let addressByteCount = 1000

  /// The address at which a form that was posted is answered, to be reloaded and shared; nil for one that no
  /// address holds, as a vector, and for what came by its address.
  static func address(of request: ServeRequest) -> String? {
    guard !request.body.isEmpty, request.body.count <= addressByteCount, (try? request.form()) != nil else {
      return nil
    }
    let form = String(decoding: request.body, as: UTF8.self)
    return form.isVisibleASCII && !form.contains("#") ? "/search?\(form)" : nil
  }

  /// What the words are: a vector in brackets, a row after a number sign, else words.
  func wanted() throws -> RequestHandler.Wanted {
    if words.hasPrefix("[") {
      guard let value = JSONValue(parsing: words) else { throw TarnError(.usage, "the vector is no JSON array") }
      return .vectors([try JSONBody.vector(value, "the vector")])
    }
    if words.hasPrefix("#") {
      guard let id = Int64(words.dropFirst()) else {
        throw TarnError(
          .usage, "'\(words.printable)' is no row: that is # and the row's id, a whole number",
          hint: "words are written without #")
      }
      return .row(id)
    }
    return .encoded(.text(words))
  }

  /// The closeness from which on two rows count as one; nil where all count.
  func closeness() throws -> Double? {
    guard !unique.isEmpty else { return nil }
    guard let closeness = Double(unique), closeness > 0, closeness <= 1 else {
      throw TarnError(.usage, "'\(unique.printable)' is no cosine from which on rows are near-duplicates, above 0 to 1")
    }
    return closeness
  }

  /// The address of the neighbours of a row.
  static func address(ofRow id: RowID, in version: VersionName) -> String { "/search?q=%23\(id)&version=\(version)" }
}

extension RequestHandler {
  /// `/search`: the form, and what was found.
  func searchPage(_ request: ServeRequest, done: @escaping Done) throws {
    if let address = SearchForm.address(of: request) { return done(.elsewhere(address)) }
    let form = try SearchForm(request, nprobe: nprobe)
    guard !form.words.isEmpty else { return done(page(form, "")) }
    let told: Done = { [self] answer in
      // Errors of the search itself are told above the form.
      guard !answer.isGood, answer.contentType == ServeAnswer.jsonType else { return done(answer) }
      var told = page(form, ServePage.alert(answer.message))
      told.status = answer.status
      done(told)
    }
    do {
      let version = try versions.named(form.version)
      let asked = Asked(
        k: form.k, nprobe: form.nprobe, unique: try form.closeness(),
        condition: try condition(form.condition.isEmpty ? nil : form.condition, of: version), isGone: request.isGone)
      try find(form.wanted(), in: version, as: asked, done: told) { [self] found, asked in
        let hits = found[0]
        let columns = try values(of: hits.map(\.id), in: version, request.isGone)
        let notes = asked.notes([hits.count], in: version, for: .page).map(ServePage.note)
        return page(form, notes.joined() + results(hits, columns, version, form))
      }
    } catch { told(.error(error)) }
  }

  private func page(_ form: SearchForm, _ found: String) -> ServeAnswer {
    let words = Markup.text(form.words)
    let hint =
      encoder == nil
      ? "#ID for the neighbours of a row, or a vector as a JSON array (this server has no encoder for words)"
      : "words, #ID for the neighbours of a row, or a vector as a JSON array"
    let body = """
      <form class="ask" action="/search" method="post" role="search">
      <label for="q">Look for</label><input id="q" name="q" value="\(words)" aria-describedby="q-hint" autocomplete="off">
      <p id="q-hint" class="soft">\(hint)</p>
      <label for="where">Only rows where (may be empty)</label><input id="where" name="where" value="\(Markup.text(form.condition))"\
       aria-describedby="where-hint" autocomplete="off" spellcheck="false">
      <p id="where-hint" class="soft">\(Markup.text(conditionHint(form)))</p>
      <div class="row"><span class="field"><label for="version">Version</label> \(ServePage.choice(of: versions, chosen: form.version))
      </span><span class="field"><label for="k">Rows</label> <input id="k" name="k" type="number" min="1" max="200" value="\(form.k)">
      </span><span class="field"><label for="nprobe">Lists</label> <input id="nprobe" name="nprobe" type="number" min="1" value="\(form.nprobe)">
      </span><span class="field"><label for="unique">Near-duplicates from</label> <input id="unique" name="unique" type="number" min="0.01"\
       max="1" step="any" value="\(Markup.text(form.unique))" aria-describedby="unique-hint"></span>
      <span><input id="pictures" name="pictures" type="checkbox" value="1"\(form.showsPictures ? " checked" : "")>
      <label for="pictures">show pictures from the hosts they are on</label></span>
      <button>Search</button></div>
      <p id="unique-hint" class="soft">of rows with a cosine of at least so much, 0.94 is common, the best alone is shown; empty for all</p></form>
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
        + [Self.link(to: hit.id, in: version.name), Markup.text(place?.shard ?? ""), place.map { "\($0.row)" } ?? ""]
    }
    let lists = version.nlist.counted("list")
    let cut = form.nprobe > version.nlist ? "<p class=\"soft\">all \(lists) were visited</p>" : ""
    let found = "<h2>\(hits.count.counted("row"))</h2>\(cut)"
    guard !hits.isEmpty else { return found }
    return found
      + ServePage.table(
        "Rows of \(version.name), the most similar first",
        ["rank"] + (form.showsPictures ? ["picture"] : []) + ["similarity"] + names + ["id", "shard", "row"], rows,
        stacks: true)
  }

  /// A row's id, and the way to its neighbours.
  private static func link(to id: RowID, in version: VersionName) -> String {
    "<a href=\"\(Markup.text(SearchForm.address(ofRow: id, in: version)))\">\(id)</a>"
  }

  /// A picture from where its row says that it is.
  private static func picture(_ columns: [String: JSONValue], _ fallback: String) -> String? {
    guard let url = columns["url"]?.string, isOfTheWeb(url) else { return nil }
    let words = columns["caption"]?.string ?? columns["text"]?.string ?? fallback
    return
      "<img src=\"\(Markup.text(url))\" alt=\"\(Markup.text(words))\" loading=\"lazy\" referrerpolicy=\"no-referrer\">"
  }

  /// A value of a row; an address of the web may be followed.
  static func cell(_ value: JSONValue) -> String {
    guard let text = value.string else { return value == .null ? "" : Markup.text(value.text) }
    guard isOfTheWeb(text) else { return Markup.text(text) }
    let address = Markup.text(text)
    return "<a href=\"\(address)\" rel=\"noreferrer noopener\">\(address)</a>"
  }

  private static func isOfTheWeb(_ address: String) -> Bool {
    ["https://", "http://"].contains(where: address.lowercased().hasPrefix)
  }
}
