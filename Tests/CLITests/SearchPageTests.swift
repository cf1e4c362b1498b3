// The search page as people meet it: what may be written into it, and what it says.

import Base
import Foundation
import Testing
import TestSupport

@Suite struct SearchPageTests {
  private static let vector = "%5B0.5,0.5,0.5,0.5,0,0,0,0%5D"

  private func page(_ served: ServedLake, _ query: String) throws -> (head: String, body: String) {
    try #require(served.ask("GET", "/search\(query)"))
  }

  @Test func aRowIsAWayToItsNeighbours() throws {
    let lake = try LakeFixture.make(.built)
    let served = try ServedLake(lake, ["--nprobe", "3"])
    defer { served.stop() }
    #expect(try page(served, "").body.contains("#ID for the neighbours of a row, or a vector"))
    let found = try page(served, "?q=%237&k=40").body
    for id in 0..<40 {
      #expect(found.contains("<a href=\"/search?q=%23\(id)&amp;version=v@1\">\(id)</a></td>"), "\(id)")
    }
    // Numbers stand to the right, as links too.
    #expect(found.contains("<td class=\"number\" data-head=\"id\"><a href="), "\(found)")
    for (words, needle) in [("%23abc", "'#abc' is no row"), ("a+cat", "it cannot search for words")] {
      let told = try page(served, "?q=\(words)")
      #expect(told.head.hasPrefix("HTTP/1.1 400 ") && told.body.contains(needle), "\(told)")
      // Neither members of JSON nor commands are for who looks at a page.
      #expect(!told.body.contains("embedding_input") && !told.body.contains("`tarn "), "\(told)")
    }
  }

  /// What is served is mapped, and who looks for a row's neighbours opens the files anew.
  @Test func aRowOfLostFilesIsNoFaultOfTheAsker() throws {
    let lake = try LakeFixture.make(.built)
    let served = try ServedLake(lake, ["--nprobe", "3"])
    defer { served.stop() }
    for name in ["artifacts", "versions"] { try FileManager.default.removeItem(atPath: "\(lake.lake)/\(name)") }
    let told = try page(served, "?q=%237")
    #expect(told.head.hasPrefix("HTTP/1.1 503 ") && told.body.contains("an output of v@1 is not at"), "\(told)")
    let answer = try #require(served.ask("POST", "/api/search", "{\"like\":7}"))
    #expect(answer.head.hasPrefix("HTTP/1.1 503 "), "\(answer)")
  }

  @Test func nearDuplicatesAreLeftOutWhereThatIsAsked() throws {
    let lake = try LakeFixture.make(.built)
    let served = try ServedLake(lake, ["--nprobe", "3"])
    defer { served.stop() }
    let apart = try lake.succeed([
      "search", "v@1", "--like", "3", "-k", "40", "--nprobe", "3", "--unique", "0.5", "--json", "--quiet",
    ])
    let ids = (JSONValue(parsing: apart.outputText)?["ids"]?.elements ?? []).compactMap(\.integer)
    let found = try page(served, "?q=%233&k=40&unique=0.5").body
    #expect(ids.count < 40 && found.contains("<h2>\(ids.count.counted("row"))</h2>"), "\(found)")
    #expect(found.contains("there are fewer than 40 rows apart") && found.contains("raise Near-duplicates from"))
    #expect(found.contains("name=\"unique\"") && found.contains("value=\"0.5\""))
    for wrong in ["0", "1.5", "x", "nan"] {
      let told = try page(served, "?q=\(Self.vector)&unique=\(wrong)")
      #expect(told.head.hasPrefix("HTTP/1.1 400 ") && told.body.contains("is no cosine"), "\(told)")
    }
  }

  @Test(arguments: ["/search", "/sql"]) func aFormThatCannotBeReadIsRefused(page: String) throws {
    let lake = try LakeFixture.make(.built)
    let served = try ServedLake(lake)
    defer { served.stop() }
    for (body, status) in [("q=%zz", 400), ("sql=SELECT+100%", 400), ("", 200)] {
      let type = "Content-Type: application/x-www-form-urlencoded\r\n"
      let told = try #require(served.ask("POST", page, body, headers: type))
      #expect(told.head.hasPrefix("HTTP/1.1 \(status) "), "\(told)")
      #expect(told.body.contains("the form cannot be read") == (status == 400), "\(told)")
    }
  }

  /// An encoder that has nothing for some words did its work; one that fails did not.
  @Test func wordsThatAnEncoderRefusesAreTheAskers() throws {
    let lake = try LakeFixture.make(.built)
    for (line, status) in [("{\"error\": \"no such words\"}", 422), ("no answer", 502)] {
      let script = lake.directory.path + "/refuse.sh"
      try Disk.writeAtomically(
        Array("while read -r asked; do echo '\(line)'; done\n".utf8), to: script)
      let served = try ServedLake(lake, ["--encoder", "sh \(script)"])
      defer { served.stop() }
      let told = try page(served, "?q=a+cat")
      let answer = try #require(served.ask("POST", "/api/search", "{\"text\":\"a cat\"}"))
      for (head, body) in [told, answer] {
        #expect(head.hasPrefix("HTTP/1.1 \(status) ") && body.contains(status == 422 ? "no such words" : "no answer"))
      }
    }
  }

  @Test func versionsAreToldInSizesThatPeopleRead() throws {
    let lake = try LakeFixture.make(.built)
    let served = try ServedLake(lake)
    defer { served.stop() }
    let count = try #require(Int(try lake.text("SELECT (bytes + refine_bytes) || '' FROM v_version")))
    let body = try #require(served.ask("GET", "/versions")).body
    #expect(body.contains(">\(ByteSize.text(count))</td>") && !body.contains(">\(count)</td>"), "\(body)")
  }
}
