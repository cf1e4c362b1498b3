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
  /// Rules that comments name, with one place each.
  private func citations() throws -> [String: String] {
    var cited: [String: String] = [:]
    let files = try ["Sources", "Tests/FetchTests", "Tests/CatalogTests"]
      .flatMap { try SourceTree.files(in: $0, ".swift", ".h", ".c", ".md") }
    for file in files {
      let isText = file.path.hasSuffix(".md")
      for line in file.text.split(separator: "\n") {
        let comment = isText ? line : line.firstRange(of: /\/\/|\/\*/).map { line[$0.lowerBound...] } ?? ""
        for match in comment.matches(of: /\b[RSD][0-9]{1,2}\b/) { cited[String(match.0)] = file.path }
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
          let isCited = file.text.contains(word)
          #expect(isCited, "\(file.path) does not cite \(rule.name)")
        }
      }
    }
  }

  @Test func everyRuleHasItsTest() throws {
    let files = try SourceTree.files(in: "Tests/FetchTests", ".swift")
    for rule in Rule.all(in: try SourceTree.file("docs/RULES.md").text) {
      #expect(!rule.tests.isEmpty, "\(rule.name) has no test")
      for test in rule.tests {
        let parts = test.split(separator: "/")
        try #require(parts.count == 2, "\(rule.name): \(test)")
        let (suite, name) = (try Regex("struct \(parts[0])\\b"), try Regex("func \(parts[1])\\("))
        #expect(
          files.contains { $0.code.contains(suite) && $0.code.contains(name) },
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
      for citation in file.text.matches(of: /\bDESIGN(?:'s)?,? (?:section )?([0-9](?:\.[0-9]b?)?)/) {
        count += 1
        #expect(headings.contains(String(citation.1)), "\(file.path) cites section \(citation.1) of DESIGN")
      }
    }
    #expect(count > 5, "citations are not seen")
  }

  /// The page of environment variables has each that the tool reads.
  @Test func everyEnvironmentVariableIsOnItsPage() throws {
    let page = try SourceTree.file("docs/reference/environment.md").text
    var count = 0
    for file in try SourceTree.files(in: "Sources", ".swift", ".c") {
      for name in file.text.matches(of: /"((?:TARN|AWS|HF|SLURM|OMP|OPENBLAS|SQLITE|SSL|CURL)_[A-Z][A-Z0-9_]*)"/) {
        count += 1
        #expect(page.contains("`\(name.1)`"), "\(file.path) reads \(name.1), which the page does not have")
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
      .flatMap { try SourceTree.files(in: $0, ".swift", ".c", ".h", ".sql", ".py", ".md") }
      .map(\.path) + [
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
