// The documents against the tree: rules that the code cites, and files and tests
// that the documents name.

import Testing

/// A row of docs/RULES.md.
private struct Rule {
  let name: String
  let files: [String]
  let tests: [String]

  /// The rules of a document, one a row of its tables.
  static func all(in text: String) -> [Rule] {
    text.split(separator: "\n").compactMap { line in
      let cells = line.split(separator: "|").map { $0.trimmingPrefix(/\s+/) }
      guard cells.count == 4, let name = cells[0].firstMatch(of: /^[RSD][0-9]+(?= )/) else { return nil }
      let quoted = cells.map { cell in cell.matches(of: /`([^`]+)`/).map { String($0.1) } }
      return Rule(name: String(name.0), files: quoted[2], tests: quoted[3])
    }
  }
}

@Suite struct DocumentTests {
  /// A line from the mark of its comment on; nothing of one without.
  private static func comment(in line: Substring.UTF8View) -> Substring.UTF8View {
    var rest = line
    while let start = rest.firstIndex(of: UInt8(ascii: "/")) {
      rest = rest[start...]
      if rest.starts(with: "//".utf8) || rest.starts(with: "/*".utf8) { return rest }
      rest = rest.dropFirst()
    }
    return rest[rest.endIndex...]
  }

  /// Whether a letter of rules stands before a digit: an expression takes as long for a line as this for a file.
  private static func mayCite(_ text: Substring.UTF8View) -> Bool {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    return zip(text, text.dropFirst()).contains { "RSD".utf8.contains($0) && digits.contains($1) }
  }

  /// Rules that comments name, with one place each.
  private func citations() throws -> [String: String] {
    var cited: [String: String] = [:]
    let files = try ["Sources", "Tests/FetchTests", "Tests/CatalogTests"]
      .flatMap { try SourceTree.files(in: $0, ".swift", ".h", ".c", ".md") }
    for file in files {
      let isText = file.path.hasSuffix(".md")
      for line in file.text.utf8.split(separator: UInt8(ascii: "\n")) {
        let comment = isText ? line : Self.comment(in: line)
        guard Self.mayCite(comment) else { continue }
        for match in Substring(comment).matches(of: /\b[RSD][0-9]{1,2}\b/) { cited[String(match.0)] = file.path }
      }
    }
    return cited
  }

  @Test func everyRuleThatIsCitedIsDefined() throws {
    let rules = Rule.all(in: try SourceTree.file("docs/RULES.md").text)
    let names = Set(rules.map(\.name))
    #expect(names.count == rules.count, "a rule is defined twice")
    let cited = try citations()
    #expect(cited.count > 20, "citations are not seen")
    for (name, place) in cited.sorted(by: { $0.key < $1.key }) {
      #expect(names.contains(name), "\(place) cites \(name), which docs/RULES.md does not define")
    }
  }

  @Test func everyRuleIsCitedWhereItIsKept() throws {
    let sources = try SourceTree.swiftSources()
    for rule in Rule.all(in: try SourceTree.file("docs/RULES.md").text) {
      #expect(!rule.files.isEmpty, "\(rule.name) is kept nowhere")
      for name in rule.files {
        let found = sources.filter { $0.path.hasSuffix("/" + name) }
        #expect(found.count == 1, "\(rule.name) names \(name), of which there are \(found.count)")
        let word = try Regex("\\b\(rule.name)\\b")
        for file in found {
          let isCited = file.lines(holding: rule.name).contains { $0.contains(word) }
          #expect(isCited, "\(file.path) does not cite \(rule.name)")
        }
      }
    }
  }

  @Test func everyRuleHasItsTest() throws {
    // One look at each file, however many rules there are.
    let declared = try SourceTree.files(in: "Tests/FetchTests", ".swift").map { file in
      Set(file.code.matches(of: /struct \w+\b|func \w+\(/).map { String($0.0) })
    }
    for rule in Rule.all(in: try SourceTree.file("docs/RULES.md").text) {
      #expect(!rule.tests.isEmpty, "\(rule.name) has no test")
      for test in rule.tests {
        let parts = test.split(separator: "/")
        try #require(parts.count == 2, "\(rule.name): \(test)")
        #expect(
          declared.contains { $0.contains("struct \(parts[0])") && $0.contains("func \(parts[1])(") },
          "\(rule.name) names \(test), which is no test")
      }
    }
  }

  /// The code cites DESIGN by section: each of them is there.
  @Test func everySectionThatIsCitedIsThere() throws {
    let headings = Set(
      try SourceTree.file("docs/DESIGN.md").text.matches(of: /(?m)^##+ ([0-9](?:\.[0-9]b?)?)\b/).map { String($0.1) })
    var count = 0
    let files = try ["Sources", "Tests", "docs"].flatMap {
      try SourceTree.files(in: $0, ".swift", ".c", ".h", ".md", ".py")
    }
    for file in files {
      for line in file.lines(holding: "DESIGN") {
        for citation in line.matches(of: /\bDESIGN(?:'s)?,? (?:section )?([0-9](?:\.[0-9]b?)?)/) {
          count += 1
          #expect(headings.contains(String(citation.1)), "\(file.path) cites section \(citation.1) of DESIGN")
        }
      }
    }
    #expect(count > 5, "citations are not seen")
  }

  /// The page of environment variables has each that the tool reads.
  @Test func everyEnvironmentVariableIsOnItsPage() throws {
    let page = try SourceTree.file("docs/reference/environment.md").text
    var count = 0
    for file in try SourceTree.files(in: "Sources", ".swift", ".c") {
      for line in file.lines(holding: "_") {
        for name in line.matches(of: /"((?:TARN|AWS|HF|SLURM|OMP|OPENBLAS|SQLITE|SSL|CURL)_[A-Z][A-Z0-9_]*)"/) {
          count += 1
          #expect(page.contains("`\(name.1)`"), "\(file.path) reads \(name.1), which the page does not have")
        }
      }
    }
    #expect(count > 20, "variables are not seen")
  }

  /// A Swift file that a document names is there, once: names of moved and removed
  /// files do not stay behind.
  @Test(arguments: [
    "docs/ARCHITECTURE.md", "docs/DESIGN.md", "docs/COMPANIONS.md", "docs/LEASES.md", "docs/PACK.md", "docs/PARQUET.md",
    "docs/PUBLISH.md", "docs/REFINE.md", "docs/RULES.md", "docs/SERVE.md", "CONTRIBUTING.md", "SECURITY.md",
  ])
  func filesThatADocumentNamesAreThere(document: String) throws {
    let names =
      try ["Sources", "Tests", "Migrations", "scripts"]
      .flatMap { try SourceTree.paths(in: $0, [".swift", ".c", ".h", ".sql", ".py", ".md"]) } + [
        "Package.swift", "README.md", "CHANGELOG.md", "docs/DESIGN.md", "docs/ARCHITECTURE.md", "docs/SQL.md",
        "docs/COMPANIONS.md", "docs/LEASES.md", "docs/PACK.md", "docs/PARQUET.md", "docs/PUBLISH.md", "docs/REFINE.md",
        "docs/SERVE.md", "docs/WORDS.md",
      ]
    // NN is a number to be chosen.
    for match in try SourceTree.file(document).text.matches(of: /`([\w\/+.-]+\.(?:swift|c|h|sql|py|md))`/)
    where !match.1.contains("NN_") {
      let count = names.count { $0 == match.1 || $0.hasSuffix("/" + match.1) }
      #expect(count == 1, "\(document) names \(match.1), of which there are \(count)")
    }
  }
}
