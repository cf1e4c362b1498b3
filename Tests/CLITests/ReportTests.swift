// The pages: well-formed, complete, and asking nothing of the network.

import Foundation
import FoundationXML
import Testing
import TestSupport

/// Counts what a page draws.
private final class PageReader: NSObject, XMLParserDelegate {
  private(set) var classes: [String: Int] = [:]
  private(set) var addresses: [String] = []
  private(set) var texts: [String] = []
  private(set) var scripts = 0
  private(set) var error: String?
  private var open: [String] = []

  init(_ page: String) {
    super.init()
    let parser = XMLParser(data: Data(page.utf8))
    parser.delegate = self
    if !parser.parse() { error = parser.parserError.map { "\($0) in line \(parser.lineNumber)" } ?? "not parsed" }
  }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
    attributes: [String: String]
  ) {
    if name == "script" { scripts += 1 }
    for word in (attributes["class"] ?? "").split(separator: " ") { classes["\(name).\(word)", default: 0] += 1 }
    addresses += ["src", "href", "xlink:href"].compactMap { attributes[$0] }
    open.append(name)
  }

  func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
    open.removeLast()
  }

  func parser(_ parser: XMLParser, foundCharacters text: String) { texts.append(text) }
}

@Suite struct ReportTests {
  /// The page without its doctype, as XML has it.
  private func read(_ path: String) throws -> PageReader {
    let page = try String(contentsOfFile: path, encoding: .utf8)
    #expect(page.hasPrefix("<!DOCTYPE html>"))
    #expect(page.contains("prefers-color-scheme:dark"))
    let reader = PageReader(page.replacing("<!DOCTYPE html>", with: ""))
    #expect(reader.error == nil, "\(reader.error ?? "")")
    #expect(reader.scripts == 0 && reader.addresses.isEmpty)
    #expect(!page.replacing("http://www.w3.org/1999/xhtml", with: "").contains("http"))
    return reader
  }

  @Test func anEvaluationIsDrawnWhole() throws {
    let lake = try LakeFixture.make(.built)
    try lake.succeed(["build", "w", "--trained", "t", "--images", "images", "--shards", "0", "--quiet"])
    let queries = lake.directory.path + "/<queries> & \"more\".npy"
    try Data(FeatureBytes.npy(30, dimension: 8, seed: 77)).write(to: URL(fileURLWithPath: queries))
    let page = lake.directory.path + "/report.html"
    try lake.succeed(["evaluate", "v@1", "w@1", "--queries", queries, "--nprobe", "1,2,3", "--report", page])
    let drawn = try read(page)
    // Two charts, two versions, three points.
    #expect(drawn.classes["svg.chart"] == 3)
    #expect(drawn.classes["polyline.recall"] == 4 && drawn.classes["polyline.routing"] == 4)
    #expect(drawn.classes["circle.dot"] == 12 && drawn.classes["line.error"] == 12)
    #expect(drawn.classes["rect.bar"] ?? 0 >= 2)
    // v has two shards, w one.
    #expect(drawn.classes["rect.s-merged"] == 3)
    #expect(drawn.classes["div.lineage"] == 2)
    let text = drawn.texts.joined()
    #expect(
      text.contains("<queries> & \"more\".npy") && text.contains("paired-kmeans"))
  }

  @Test func everyShardOfTheLakeHasItsSquare() throws {
    let lake = try LakeFixture.make(.built)
    try lake.tamper("UPDATE shard SET state = 'failed' WHERE ordinal = 1")
    let page = lake.directory.path + "/shards.html"
    try lake.succeed(["status", "--report", page])
    let drawn = try read(page)
    #expect(drawn.classes["svg.shards"] == 3)
    #expect(drawn.classes["rect.s-present"] == 2 && drawn.classes["rect.s-failed"] == 2)
    #expect(drawn.classes["rect.s-merged"] == 2)
    #expect(try lake.run(["status", "--report", page, "--watch"]).ending == .exit(64))
  }
}
