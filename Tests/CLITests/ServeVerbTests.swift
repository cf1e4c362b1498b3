// `tarn serve` as a process: what it prints, what it answers, and how it ends.

import Base
import Catalog
import Foundation
import Lake
import Testing
import TestSupport

@Suite struct ServeVerbTests {
  private typealias Served = ServedLake

  private func serve(_ lake: LakeFixture, _ options: [String] = []) throws -> Served {
    try ServedLake(lake, options)
  }

  /// What ends as it was told has done its work: service managers take anything but 0 for a failure.
  @Test func itSaysWhereItListensAndEndsWhenItIsTold() throws {
    let lake = try LakeFixture.make(.built)
    for signal in [SIGTERM, SIGINT] {
      let served = try serve(lake, ["--json"])
      served.process.signal(signal)
      let result = served.process.finish()
      #expect(result.ending == .exit(0), "\(result.errorText)")
      let first = try #require(result.outputText.split(separator: "\n").first)
      let said = try JSONSerialization.jsonObject(with: Data(first.utf8)) as? [String: Any]
      #expect(said?["address"] as? String == "127.0.0.1:\(served.port)")
      #expect(said?["versions"] as? [String] == ["v@1"])
    }
  }

  /// What is under way when it is told to end gets the time that was said, and nobody else is taken in.
  @Test func answersUnderWayGetTheTimeThatWasSaid() throws {
    let lake = try LakeFixture.make(.built)
    let served = try serve(lake, ["--grace", "2m", "--log"])
    let client = try #require(LoopbackClient(port: served.port))
    let body = "{\"sql\":\"SELECT 1 AS a\"}"
    client.send(
      "POST /api/sql HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: \(body.utf8.count)\r\n\r\n")
    #expect(client.readAnswer()?.head.hasPrefix("HTTP/1.1 100 ") == true)
    served.process.signal(SIGTERM)
    for _ in 0..<600 where LoopbackClient(port: served.port) != nil { usleep(50_000) }
    // Longer than a server gives that was told nothing.
    usleep(2_500_000)
    client.send(body)
    let answer = try #require(client.readAnswer())
    #expect(answer.head.hasPrefix("HTTP/1.1 200 ") && answer.head.contains("Connection: close"), "\(answer.head)")
    #expect(answer.body.replacing(" ", with: "") == "[{\"a\":1}]\n")
    let result = served.process.finish()
    #expect(result.ending == .exit(0), "\(result.errorText)")
    let lines = result.errorText.split(separator: "\n").filter { $0.contains(" 127.0.0.1 POST ") }
    #expect(lines.count == 1 && lines[0].contains(" POST /api/sql 200 \(answer.body.utf8.count) "), "\(lines)")
    #expect(!result.errorText.contains("SELECT"))
    #expect(try lake.run(["serve", "--grace", "11m"]).ending == .exit(64))
  }

  @Test func anAPIPathAnswersWhatItsVerbPrints() throws {
    let lake = try LakeFixture.make(.built)
    let served = try serve(lake)
    defer {
      served.process.signal(SIGTERM)
      _ = served.process.finish()
    }
    for (target, verb) in [
      ("/api/status", ["status"]), ("/api/versions", ["versions"]), ("/api/sources", ["source", "list"]),
      ("/api/show?name=v", ["show", "v"]), ("/api/show?name=t", ["show", "t"]),
      ("/api/locate?version=v%401&id=0&id=39", ["locate", "v@1", "0", "39"]),
    ] {
      let answer = try #require(served.ask("GET", target))
      #expect(answer.head.hasPrefix("HTTP/1.1 200 "))
      #expect(answer.body == (try lake.succeed(verb + ["--json"])).outputText, "\(target)")
    }
    let sql = "SELECT shard, rows FROM v_shard ORDER BY shard"
    let rows = try #require(served.ask("POST", "/api/sql", "{\"sql\":\"\(sql)\"}"))
    #expect(rows.body == (try lake.succeed(["sql", sql, "--json"])).outputText)
    // What it refuses, it refuses in JSON.
    for (method, target, body, status) in [
      ("GET", "/api/show?name=--help", "", 400), ("GET", "/api/show?name=none%401", "", 400),
      ("GET", "/api/locate?id=-1", "", 400), ("GET", "/api/locate?id=40", "", 400),
      ("POST", "/api/sql", "{\"sql\":\"DELETE FROM shard\"}", 400),
      ("POST", "/api/sql", "{\"sql\":\"ATTACH 'x' AS y\"}", 400), ("POST", "/api/sql", "{}", 400),
    ] {
      let answer = try #require(served.ask(method, target, body))
      #expect(answer.head.hasPrefix("HTTP/1.1 \(status) "), "\(target): \(answer.head)")
      let document = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
      #expect((document?["error"] as? [String: Any])?["status"] as? Int == status, "\(answer.body)")
    }
  }

  /// Neither a row that was excluded since nor one that the version was made without has a place that a server tells.
  @Test func nothingIsLocatedOfExcludedRows() throws {
    let lake = try LakeFixture.make(.built)
    let ids = lake.directory.path + "/ids"
    try Disk.writeAtomically(Array("3\n25\n".utf8), to: ids)
    try lake.succeed(["exclude", "images", "--ids", ids, "--reason", "case 17"])
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "1", "--quiet"])
    let served = try serve(lake)
    defer {
      served.process.signal(SIGTERM)
      _ = served.process.finish()
    }
    for version in ["v%401", "v%402", "v"] {
      let answer = try #require(served.ask("GET", "/api/locate?version=\(version)&id=2&id=3&id=25&id=26&id=3"))
      #expect(answer.head.hasPrefix("HTTP/1.1 200 "), "\(answer.body)")
      let rows = JSONValue(parsing: answer.body)?.elements ?? []
      #expect(rows.map { $0["id"]?.integer } == [2, 3, 25, 26, 3])
      #expect(rows.map { $0["row"] } == [.integer(2), .null, .null, .integer(6), .null])
      #expect(rows.map { $0["excluded"] } == [nil, .bool(true), .bool(true), nil, .bool(true)])
      for row in [rows[1], rows[2]] {
        for member in ["source", "shard", "sha256", "url"] { #expect(row[member] == .null, "\(row)") }
      }
      #expect(!answer.body.contains("case 17"))
      let alone = try #require(served.ask("GET", "/api/locate?version=\(version)&id=3"))
      #expect(alone.head.hasPrefix("HTTP/1.1 200 ") && JSONValue(parsing: alone.body)?.elements.count == 1)
    }
    #expect(try #require(served.ask("GET", "/api/locate?version=none&id=3")).head.hasPrefix("HTTP/1.1 400 "))
    // Who has the lake is told the place, and that search does not show it.
    let located = try lake.run(["locate", "v@1", "3"])
    #expect(
      located.ending == .exit(0) && located.errorText.contains("row 3 of v@1 is excluded"), "\(located.errorText)")
    #expect(try lake.succeed(["locate", "v@1", "2"]).errorText.isEmpty)
    #expect(try lake.run(["locate", "v@2", "3"]).errorText.contains("is excluded (case 17)"))
  }

  /// A condition finds what `tarn search --where` finds, the first time and when it is kept.
  @Test func aConditionIsAskedBeforeTheBestAreTaken() throws {
    let lake = try LakeFixture.make(.built)
    let directory = lake.directory.path + "/meta"
    try Disk.makeDirectory(directory)
    for ordinal in 0..<2 {
      let lines = (0..<20).map { "{\"n\":\($0),\"secret\":\($0)}\n" }.joined()
      try Disk.writeAtomically(Array(lines.utf8), to: "\(directory)/m_\(ordinal).jsonl")
    }
    try lake.succeed(["source", "add", "meta", "--companion-of", "images", "--directory", directory])
    try lake.succeed(["sync", "meta"])
    try lake.succeed(["pack", "meta"])
    let served = try serve(lake, ["--columns", "n", "--nprobe", "3"])
    defer {
      served.process.signal(SIGTERM)
      _ = served.process.finish()
    }
    let vector = "[1,0.5,-0.25,0.1,0.2,-0.3,0.4,0.6]"
    func ids(_ body: String) throws -> [Int64] {
      let answer = try #require(served.ask("POST", "/api/search", body))
      #expect(answer.head.hasPrefix("HTTP/1.1 200 "), "\(answer.body)")
      return (JSONValue(parsing: answer.body)?["ids"]?.elements ?? []).compactMap(\.integer)
    }
    let all = try ids("{\"version\":\"v\",\"vectors\":[\(vector)],\"k\":40}")
    let expected = Array(all.filter { $0 % 20 >= 15 }.prefix(4))
    for _ in 0..<2 {
      #expect(try ids("{\"version\":\"v\",\"vectors\":[\(vector)],\"k\":4,\"where\":\"n >= 15\"}") == expected)
      let knn = try #require(
        served.ask(
          "POST", "/knn-service",
          "{\"modality\":\"image\",\"num_images\":4,\"indice_name\":null,\"embedding_input\":\(vector),\"where\":\"n>=15\"}"
        ))
      #expect(
        (JSONValue(parsing: knn.body)?.elements ?? []).compactMap { $0["id"]?.integer } == expected, "\(knn.body)")
      #expect(!knn.head.lowercased().contains("tarn-where"))
    }
    let metrics = try #require(served.ask("GET", "/metrics")).body
    #expect(metrics.contains("tarn_filters 1\n") && metrics.contains("tarn_filter_hits_total 3\n"), "\(metrics)")
    // A row's neighbours, of which the verb asks.
    let like = try lake.succeed([
      "search", "v@1", "--like", "3", "-k", "4", "--nprobe", "3", "--where", "n >= 15", "--json",
    ])
    #expect(
      try ids("{\"version\":\"v\",\"like\":3,\"k\":4,\"where\":\"n >= 15\"}")
        == (JSONValue(parsing: like.outputText)?["ids"]?.elements ?? []).compactMap(\.integer))
    for (condition, word) in [
      ("n >=", "at character 5"), ("secret = 1", "not shown"), ("ghost = 1", "shown are n"),
      (String(repeating: "(", count: 100) + "n=1", "within each other"),
    ] {
      let answer = try #require(
        served.ask("POST", "/api/search", "{\"version\":\"v\",\"vectors\":[\(vector)],\"where\":\"\(condition)\"}"))
      #expect(answer.head.hasPrefix("HTTP/1.1 400 ") && answer.body.contains(word), "\(answer.body)")
    }
    let unknown = try #require(
      served.ask("POST", "/api/search", "{\"version\":\"v\",\"vectors\":[\(vector)],\"where\":\"n = 'x'\"}"))
    #expect(unknown.head.contains("Tarn-Where: unknown"), "\(unknown.head)")
    try expectNotes(served, vector)
    // All columns that are shown, or those that are named of them; no others.
    for wanted in ["\"vectors\":[\(vector)]", "\"like\":3"] {
      func ask(_ columns: String) throws -> (head: String, body: String) {
        try #require(
          served.ask("POST", "/api/search", "{\"version\":\"v\",\(wanted),\"k\":2,\"columns\":\(columns)}"))
      }
      func told(_ columns: String) throws -> [JSONValue]? {
        JSONValue(parsing: try ask(columns).body)?["columns"]?.elements
      }
      let shown = try told("true")
      #expect(shown?.count == 2 && shown?.first?["n"]?.integer != nil)
      #expect(try told("[\"n\"]") == shown)
      #expect(try told("[]")?.map(\.text) == ["{}", "{}"])
      #expect(try told("false") == nil)
      for (columns, word) in [
        ("[\"secret\"]", "columns asks for the column 'secret', which is not shown"), ("[1]", "no string"),
        ("\"n\"", "neither true, false nor an array"),
      ] {
        let answer = try ask(columns)
        #expect(answer.head.hasPrefix("HTTP/1.1 400 ") && answer.body.contains(word), "\(answer.body)")
      }
    }
  }

  /// What the terminal is told of an answer, programs and people are.
  private func expectNotes(_ served: Served, _ vector: String) throws {
    func line(_ members: String) throws -> JSONValue {
      let answer = try #require(served.ask("POST", "/api/search", "{\"version\":\"v\",\(members)}"))
      return try #require(JSONValue(parsing: answer.body), "\(answer.body)")
    }
    func notes(_ members: String) throws -> [String] {
      (try line(members)["notes"]?.elements ?? []).compactMap(\.string)
    }
    #expect(try line("\"vectors\":[\(vector)]")["notes"] == nil)
    for wanted in ["\"vectors\":[\(vector)]", "\"like\":3"] {
      #expect(
        try notes("\(wanted),\"k\":40,\"nprobe\":1,\"where\":\"n >= 0\"").contains {
          $0.contains("holds of 40 rows, of which fewer than 40 are in the 1 list visited")
            && $0.hasSuffix("raise nprobe to look further")
        }, "\(wanted)")
      let mixed = try notes("\(wanted),\"where\":\"n = 'x'\"")
      #expect(mixed.contains("the condition holds of no row that is searched"), "\(mixed)")
      #expect(mixed.contains { $0.contains("'n' has in some rows") }, "\(mixed)")
    }
    let written = "%5B\(vector.dropFirst().dropLast())%5D"
    let page = try #require(served.ask("GET", "/search?q=\(written)&k=40&nprobe=1&where=n+%3E%3D+0")).body
    #expect(page.contains("<p class=\"soft\">the condition holds of 40 rows"), "\(page)")
    #expect(page.contains("raise Lists to look further"))
    let none = try #require(served.ask("GET", "/search?q=\(written)&where=n+%3D+%27x%27")).body
    #expect(none.contains("holds of no row") && none.contains("'n' has in some rows") && !none.contains("<table"))
  }

  /// An encoder that notes what it is asked in `log`, and answers once there is a file `go`.
  private func encoder(_ lake: LakeFixture) throws -> (command: String, log: String, go: String) {
    let directory = lake.directory.path
    let (script, log, go) = ("\(directory)/encode.sh", "\(directory)/asked", "\(directory)/go")
    let lines = [
      "tee -a \"$1\" | while read -r line; do", "while [ ! -e \"$2\" ]; do sleep 0.05; done",
      "echo '{\"embedding\": [1,0,0,0,0,0,0,0]}'", "done", "",
    ]
    try Disk.writeAtomically(Array(lines.joined(separator: "\n").utf8), to: script)
    return ("sh \(script) \(log) \(go)", log, go)
  }

  /// What is still worked on when a server ends has nobody to tell it to, and says nothing of that.
  @Test func whatIsWorkedOnAtTheEndSaysNothing() throws {
    let lake = try LakeFixture.make(.built)
    let encoder = try encoder(lake)
    let served = try serve(lake, ["--encoder", encoder.command])
    let client = try #require(LoopbackClient(port: served.port))
    let body = "{\"version\":\"v\",\"text\":\"a cat\"}"
    client.send("POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
    try until { Disk.size(of: encoder.log) ?? 0 > 0 }
    served.process.signal(SIGTERM)
    let result = withExtendedLifetime(client) { served.process.finish() }
    #expect(result.ending == .exit(0))
    #expect(!result.errorText.contains("ERROR") && !result.errorText.contains("EventLoop"), "\(result.errorText)")
  }

  /// Who has gone away keeps the encoder from nobody.
  @Test func wordsOfWhoHasGoneAreNotEncoded() throws {
    let lake = try LakeFixture.make(.built)
    let (command, log, go) = try encoder(lake)
    let served = try serve(lake, ["--encoder", command])
    defer {
      served.process.signal(SIGTERM)
      _ = served.process.finish()
    }
    func send(_ words: String) throws -> LoopbackClient {
      let client = try #require(LoopbackClient(port: served.port))
      let body = "{\"version\":\"v\",\"text\":\"\(words)\"}"
      client.send("POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
      return client
    }
    func asked() -> String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }
    func metric(_ name: String) throws -> Int {
      let lines = try #require(served.ask("GET", "/metrics")).body.split(separator: "\n")
      let line = try #require(lines.first { $0.hasPrefix(name + " ") })
      return try #require(Int(line.dropFirst(name.count + 1)))
    }
    // As many as the server asks its encoder at a time.
    let held = try (0..<4).map { try send("held \($0)") }
    try until { asked().split(separator: "\n").count == 4 }
    var gone = try (0..<10).map { try send("gone \($0)") }
    try until { try metric("tarn_waiting{lane=\"words\"}") == 10 }
    gone.removeAll()
    // Those four, and the one that asks.
    try until { try metric("tarn_connections") <= 5 }
    try Disk.writeAtomically([UInt8](), to: go)
    for client in held { #expect(client.readAnswer()?.head.hasPrefix("HTTP/1.1 200 ") == true) }
    let after = try #require(served.ask("POST", "/api/search", "{\"version\":\"v\",\"text\":\"after\"}"))
    #expect(after.head.hasPrefix("HTTP/1.1 200 "), "\(after.body)")
    #expect(asked().contains("after") && !asked().contains("gone"), "\(asked())")
  }

  /// More lists than there are is no error, and told.
  @Test func thatThereAreFewerListsIsToldInAHeader() throws {
    let lake = try LakeFixture.make(.built)
    let served = try serve(lake)
    defer {
      served.process.signal(SIGTERM)
      _ = served.process.finish()
    }
    let vector = "[0.5,0.5,0.5,0.5,0,0,0,0]"
    for (nprobe, isCut) in [(3, false), (4, true), (64, true)] {
      for wanted in ["\"vectors\":[\(vector)]", "\"like\":3"] {
        let body = "{\"version\":\"v\",\(wanted),\"nprobe\":\(nprobe)}"
        let answer = try #require(served.ask("POST", "/api/search", body))
        #expect(answer.head.hasPrefix("HTTP/1.1 200 "), "\(answer)")
        #expect(answer.head.contains("Tarn-Lists: 3") == isCut, "\(answer.head)")
      }
    }
    let page = try #require(served.ask("GET", "/search?q=%5B0.5,0.5,0.5,0.5,0,0,0,0%5D&nprobe=4"))
    #expect(page.body.contains("all 3 lists were visited"))
  }

  /// Asks until it answers so: within a second or two of a change it does.
  private func comes(_ served: Served, _ status: Int, _ method: String, _ target: String, _ body: String = "")
    -> String?
  {
    var last: String?
    for _ in 0..<1200 {
      guard let answer = served.ask(method, target, body) else { continue }
      last = answer.head + answer.body
      if answer.head.hasPrefix("HTTP/1.1 \(status) ") { return answer.body }
      usleep(50_000)
    }
    Issue.record("\(target) never came to \(status): \(last ?? "no answer")")
    return last
  }

  /// Waits for what the server sees a second or two later.
  private func until(_ holds: () throws -> Bool, line: Int = #line) throws {
    for _ in 0..<1200 {
      if try holds() { return }
      usleep(50_000)
    }
    Issue.record("what line \(line) waits for never came")
  }

  private func mappings(_ served: Served) -> Int {
    let maps = FileHandle(forReadingAtPath: "/proc/\(served.process.processID)/maps")
    let text = String(decoding: (try? maps?.readToEnd()) ?? Data(), as: UTF8.self)
    return text.split(separator: "\n").count { $0.contains("/outputs/") }
  }

  /// A rule that is taken back or made again adds no list, and what is kept of conditions goes with it.
  @Test func rulesThatAreTakenBackAndMadeAgainAreSeenWithoutARestart() throws {
    let lake = try LakeFixture.make(.built)
    let directory = lake.directory.path + "/meta"
    try Disk.makeDirectory(directory)
    for ordinal in 0..<FeatureSources.shardCount {
      let lines = (0..<FeatureSources.rowCount).map { "{\"url\":\"https://h/\(ordinal)/\($0)\",\"n\":\($0)}\n" }
      try Disk.writeAtomically(Array(lines.joined().utf8), to: "\(directory)/m_\(ordinal).jsonl")
    }
    try lake.succeed(["source", "add", "meta", "--companion-of", "images", "--directory", directory])
    try lake.succeed(["sync", "meta", "--quiet"])
    let values = lake.directory.path + "/values.txt"
    try Disk.writeAtomically(Array("https://h/0/3\n".utf8), to: values)
    let rule = ["exclude", "images", "--match", "url", "--values", values, "--reason", "a test"]
    let served = try serve(lake)
    defer {
      served.process.signal(SIGTERM)
      _ = served.process.finish()
    }
    func count(_ condition: String = ",\"where\":\"n >= 0\"") throws -> Int {
      let answer = try #require(
        served.ask(
          "POST", "/api/search",
          "{\"version\":\"v\",\"vectors\":[[0.5,0.5,0.5,0.5,0,0,0,0]],\"k\":40,\"nprobe\":3\(condition)}"))
      return try #require(JSONValue(parsing: answer.body)?["ids"]?.elements, "\(answer)").count
    }
    // A search shows what the server has seen; `like` looks at the catalog itself.
    try lake.succeed(rule)
    try until { try count() == 39 }
    try lake.succeed(rule + ["--undo"])
    try until { try count() == 40 }
    try lake.succeed(["evict", "meta", "--quiet"])
    _ = try lake.run(rule)
    #expect(try lake.text("SELECT count(*) FROM v_exclusion_rule") == "3")
    try until { try count("") == 39 }
  }

  @Test func whatIsSealedRevokedOrExcludedLaterIsSeenWithoutARestart() throws {
    let lake = try LakeFixture.make(.built)
    let served = try serve(lake)
    let fixed = try serve(lake, ["v@1"])
    defer {
      for one in [served, fixed] {
        one.process.signal(SIGTERM)
        _ = one.process.finish()
      }
    }
    func exclude(_ ids: String, _ options: [String]) throws {
      let path = lake.directory.path + "/ids.txt"
      try ids.write(toFile: path, atomically: true, encoding: .utf8)
      try lake.succeed(["exclude", "images", "--ids", path, "--reason", "a test"] + options)
    }
    let query = "[0.5,0.5,0.5,0.5,0,0,0,0]"
    func ids(_ of: Served, _ version: String) throws -> [Int] {
      let answer = try #require(
        of.ask("POST", "/api/search", "{\"version\":\"\(version)\",\"vectors\":[\(query)],\"k\":40,\"nprobe\":3}"))
      let line = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
      return try #require(line?["ids"] as? [Int], "\(answer)")
    }
    #expect(try Set(ids(served, "v")) == Set(0..<40))
    let mapped = mappings(served)
    #expect(mapped > 0)

    // Rows that are excluded are not found, not told of and not searched with.
    try exclude("3\n21\n", [])
    _ = comes(served, 410, "POST", "/api/search", "{\"version\":\"v\",\"like\":21}")
    try until { try Set(ids(served, "v")) == Set(0..<40).subtracting([3, 21]) }
    let like = try #require(served.ask("POST", "/api/search", "{\"version\":\"v\",\"like\":20,\"k\":40,\"nprobe\":3}"))
    let likeLine = try JSONSerialization.jsonObject(with: Data(like.body.utf8)) as? [String: Any]
    #expect(Set(try #require(likeLine?["ids"] as? [Int])) == Set(0..<40).subtracting([3, 21]))
    let told = try #require(served.ask("POST", "/metadata", "{\"ids\":[3,4],\"indice_name\":\"v\"}"))
    #expect(
      told.body.replacing(" ", with: "").trimmingCharacters(in: .newlines)
        == #"[{"id":3,"metadata":{"row":null,"shard":null}},{"id":4,"metadata":{"row":4,"shard":"img_0.npy"}}]"#)
    try exclude("3\n", ["--undo"])
    _ = comes(served, 200, "POST", "/api/search", "{\"version\":\"v\",\"like\":3}")
    try until { try Set(ids(served, "v")) == Set(0..<40).subtracting([21]) }

    // The next version takes the place of the one before, whose files are closed; one that was named stays.
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet"])
    _ = comes(served, 404, "POST", "/api/search", "{\"version\":\"v@1\",\"vectors\":[\(query)]}")
    #expect(served.ask("GET", "/indices-list")?.body == "[\"v@2\"]\n")
    #expect(try Set(ids(served, "v")) == Set(0..<40).subtracting([21]))
    #expect(fixed.ask("GET", "/indices-list")?.body == "[\"v@1\"]\n")
    for _ in 0..<600 where mappings(served) >= mapped { usleep(50_000) }
    #expect(mappings(served) < mapped)
    #expect(served.ask("GET", "/readyz")?.body.replacing(" ", with: "") == "{\"ready\":true}\n")

    // A revoked one is gone, and the newest of those that are left is served.
    try lake.succeed(["revoke", "v@2", "--reason", "a test"])
    _ = comes(
      served, 410, "POST", "/knn-service",
      #"{"modality":"image","num_images":1,"indice_name":"v@2","embedding_input":"# + query + "}")
    // The one before has to be opened again.
    for _ in 0..<1200 where served.ask("GET", "/indices-list")?.body != "[\"v@1\"]\n" { usleep(50_000) }
    #expect(try Set(ids(served, "v")) == Set(0..<40).subtracting([21]))
    try lake.succeed(["revoke", "v@1", "--reason", "a test"])
    for one in [served, fixed] {
      let gone = comes(one, 410, "POST", "/api/search", "{\"version\":\"v\",\"vectors\":[\(query)]}")
      #expect(gone?.contains("revoked") == true, "\(gone ?? "")")
      #expect(one.ask("GET", "/indices-list")?.body == "[]\n")
    }
    // Who was told to serve that version has nothing to give; who takes what there is has all that there is.
    #expect(fixed.ask("GET", "/readyz")?.head.hasPrefix("HTTP/1.1 503 ") == true)
    #expect(served.ask("GET", "/readyz")?.head.hasPrefix("HTTP/1.1 200 ") == true)
    for _ in 0..<600 where mappings(fixed) > 0 { usleep(50_000) }
    #expect(mappings(fixed) == 0)
    #expect(try lake.run(["serve", "v@1"]).ending != .exit(0))
  }

  /// What is revoked is taken down whoever does not read what the server says.
  @Test func whoReadsNothingKeepsNothingUp() throws {
    let lake = try LakeFixture.make(.built)
    // Nobody reads its standard error until it ends, and so many lines are more than waits there.
    let served = try serve(lake, ["--log"])
    defer {
      served.process.signal(SIGTERM)
      _ = served.process.finish()
    }
    for _ in 0..<2000 { _ = served.ask("GET", "/none") }
    try lake.succeed(["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet"])
    for _ in 0..<1200 where served.ask("GET", "/indices-list")?.body != "[\"v@2\"]\n" { usleep(50_000) }
    // This is the change after the one that could not be told.
    try lake.succeed(["revoke", "v@2", "--reason", "a test"])
    _ = comes(
      served, 410, "POST", "/api/search", "{\"version\":\"v@2\",\"vectors\":[[0.5,0.5,0.5,0.5,0,0,0,0]]}")
    #expect(served.ask("GET", "/readyz")?.head.hasPrefix("HTTP/1.1 200 ") == true)
  }

  @Test(arguments: [(0o600, false), (0o640, false), (0o644, true)])
  func aTokenThatEverybodyCanReadIsToldOf(mode: Int, isTold: Bool) throws {
    let lake = try LakeFixture.make(.built)
    let path = lake.directory.path + "/token"
    try Data("0123456789abcdef\n".utf8).write(to: URL(fileURLWithPath: path))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    // It ends at once.
    let result = try lake.run(["serve", "none@1", "--token-file", path])
    #expect(result.errorLines.contains { $0.contains("warning") && $0.contains("`chmod 600 \(path)`") } == isTold)
    #expect(result.ending == .exit(64) && result.errorLines.count == (isTold ? 2 : 1), "\(result.errorText)")
  }

  @Test func nobodyElseIsListenedToUnlessThatIsSaid() throws {
    let lake = try LakeFixture.make(.built)
    for (options, word) in [
      (["--listen", "0.0.0.0:0"], "--no-auth"), (["--listen", "192.0.2.1:0", "--no-auth"], "cannot listen"),
      (["--listen", "127.0.0.1"], "--listen"), (["--token", "short"], "16"), (["--token-file", "/none"], "token"),
      (["--token", "0123456789abcdef", "--no-auth"], "exclude"), (["none@1"], "none@1"),
    ] {
      let result = try lake.run(["serve"] + options)
      #expect(result.ending == .exit(64), "\(options): \(result.errorText)")
      #expect(result.errorText.contains(word), "\(options): \(result.errorText)")
    }
  }
}
