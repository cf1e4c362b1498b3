// The frame of every page: its head, the way to the others, and how errors are told to people.

internal import Base
internal import Foundation
internal import Lake
internal import Report

/// Pages of HTML.
enum ServePage {
  private static let places: [(path: String, title: String)] = [
    ("/", "Lake"), ("/search", "Search"), ("/versions", "Versions"), ("/sql", "SQL"),
  ]

  /// A page.
  ///
  /// - Parameters:
  ///   - title: What it is of.
  ///   - path: The place in the list of pages that it belongs to.
  ///   - body: Elements.
  /// - Returns: The page's text.
  static func text(_ title: String, at path: String?, _ body: String) -> String {
    let title = Markup.text(title)
    let links = places.map { place in
      "<li><a href=\"\(place.path)\"\(place.path == path ? " aria-current=\"page\"" : "")>\(place.title)</a></li>"
    }
    return """
      <!DOCTYPE html>
      <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark"><title>\(title) – tarn</title>
      <link rel="stylesheet" href="/assets/tarn.css"><link rel="icon" href="data:,">
      <script src="/assets/tarn.js" defer></script></head>
      <body><a class="skip" href="#main">to the content</a>
      <header><nav aria-label="Pages"><ul>\(links.joined())</ul></nav></header>
      <main id="main"><h1>\(title)</h1>
      \(body)
      </main><footer>tarn \(Markup.text(Tool.version))</footer></body></html>

      """
  }

  static func answer(_ title: String, at path: String?, _ body: String) -> ServeAnswer {
    .page(text(title, at: path, body))
  }

  /// What went wrong, as a page.
  static func error(_ error: any Error) -> ServeAnswer {
    let known = ServeAnswer.error(error)
    let cause = (error as? TarnError).map(\.description) ?? "\(error)"
    return .page(text("That did not work", at: nil, alert(cause)), status: known.status)
  }

  /// A refusal that programs would be told, as a page.
  static func refusal(_ answer: ServeAnswer) -> ServeAnswer {
    var told = ServeAnswer.page(text("That did not work", at: nil, alert(answer.message)), status: answer.status)
    told.headers = answer.headers
    return told
  }

  /// What went wrong, within a page.
  static func alert(_ text: String) -> String {
    "<p class=\"alert\" role=\"alert\">\(Markup.text(withoutCommands(text)))</p>"
  }

  /// What has to be said of an answer.
  static func note(_ text: String) -> String { "<p class=\"soft\">\(Markup.text(withoutCommands(text)))</p>" }

  /// A sentence without what only whoever has the lake can do: commands to run and documents to read.
  ///
  /// - Parameter text: Clauses with semicolons between them.
  /// - Returns: Those of them that say what is so; all where none is left.
  static func withoutCommands(_ text: String) -> String {
    let clauses = text.components(separatedBy: "; ")
    var kept: [String] = []
    for clause in clauses {
      guard clause.contains("`tarn ") || clause.contains("docs/") else {
        kept.append(clause)
        continue
      }
      // How many others it is said of stands at the end.
      guard let last = kept.last, let others = clause.range(of: " (and "), clause.hasSuffix(")") else { continue }
      kept[kept.count - 1] = last + clause[others.lowerBound...]
    }
    return kept.isEmpty ? text : kept.joined(separator: "; ")
  }

  static let notFound = ServeAnswer.page(
    text("Nothing is here", at: nil, "<p>There is no page at this address.</p>"), status: 404)

  /// A table that scrolls within the page where it is wide.
  ///
  /// - Parameters:
  ///   - caption: What it shows.
  ///   - heads: Of its columns.
  ///   - rows: Cells, which are markup.
  ///   - stacks: Whether a narrow screen shows a row's cells below each other, each with its head.
  /// - Returns: Elements.
  static func table(_ caption: String, _ heads: [String], _ rows: [[String]], stacks: Bool = false) -> String {
    let caption = Markup.text(caption)
    // A column of numbers stands to the right, one of text to the left.
    let areNumbers = heads.indices.map { column in
      rows.contains { !$0[column].isEmpty } && rows.allSatisfy { $0[column].isEmpty || isNumber($0[column]) }
    }
    func cells(_ tag: String, _ texts: [String]) -> String {
      texts.enumerated().map { column, text in
        let head = stacks && tag == "td" ? " data-head=\"\(Markup.text(heads[column]))\"" : ""
        return "<\(tag)\(areNumbers[column] ? " class=\"number\"" : "")\(head)>\(text)</\(tag.prefix(2))>"
      }.joined()
    }
    let head = cells("th scope=\"col\"", heads.map(Markup.text))
    let lines = rows.map { row in "<tr>\(cells("td", row))</tr>" }
    return
      "<div class=\"scroll\(stacks ? " stack" : "")\" tabindex=\"0\" role=\"region\" aria-label=\"\(caption)\"><table><caption>\(caption)</caption>"
      + "<thead><tr>\(head)</tr></thead><tbody>\(lines.joined(separator: "\n"))</tbody></table></div>"
  }

  /// Whether a cell is a number, or a link that is called one.
  private static func isNumber(_ cell: String) -> Bool {
    guard cell.hasPrefix("<a "), cell.hasSuffix("</a>") else { return Double(cell) != nil }
    return Double(cell.drop { $0 != ">" }.dropFirst().dropLast(4)) != nil
  }

  /// A choice of the versions that are served; the one is chosen that a text means, as a search takes it.
  static func choice(of versions: ServedVersions, chosen: String?) -> String {
    let meant = try? versions.named(chosen).name
    let options = versions.all.map { version in
      let name = Markup.text("\(version.name)")
      return "<option value=\"\(name)\"\(version.name == meant ? " selected" : "")>\(name)</option>"
    }
    return "<select id=\"version\" name=\"version\">\(options.joined())</select>"
  }
}
