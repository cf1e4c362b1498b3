import Foundation
import GRDB
import Testing
import TestSupport

/// The questions of docs/SQL.md, asked of a lake through Datasette's metadata.
@Suite struct CannedQueryTests {
  private struct Metadata: Decodable {
    struct Query: Decodable {
      let title: String
      let sql: String
    }
    struct Table: Decodable { let columns: [String: String] }
    struct Database: Decodable {
      let queries: [String: Query]
      let tables: [String: Table]
    }
    let databases: [String: Database]
  }

  private func metadata(_ lake: LakeFixture) throws -> Metadata.Database {
    let result = try lake.succeed(["schema", "--datasette"])
    return try #require(try JSONDecoder().decode(Metadata.self, from: Data(result.output)).databases["catalog"])
  }

  @Test func everyQuestionHasAnAnswer() throws {
    let lake = try LakeFixture.make(.built)
    let captions = try LakeFixture.sources().directory.path + "/captions"
    try lake.succeed(["source", "add", "more", "--directory", captions, "--dimension", "8", "--dtype", "float32"])
    try lake.evictImages()
    let sha256 = try lake.text("SELECT sha256 FROM v_version_input WHERE input = 1")
    let arguments: [String: any DatabaseValueConvertible] = [
      "source": "images", "shard": "img_1.npy", "sha256": sha256, "version": "v@1", "id": "21", "subject": "v@1",
    ]
    let queries = try metadata(lake).queries
    let answers = try queries.mapValues { try answer(lake, $0.sql, arguments) }
    let expected: [String: [String]] = [
      "build-status": ["v@1 sealed 2 0 2 0 2 2"],
      "what-is-left": ["more 2 NULL NULL"],
      "shard-errors": [],
      "outputs-with-shard": ["v@1 versions/v@1/v.001.faiss 1 20 20"],
      "excluded-rows": [],
      "versions-with-revision": ["v@1 images img_1.npy 1 1"],
      "inputs-not-here": ["v@1 2 \(2 * (128 + 20 * 8 * 2))"],
      "outdated-inputs": [],
    ]
    for (name, rows) in expected { #expect(answers[name] == rows, "\(name)") }
    #expect(answers["lineage-of-a-row"]?.first?.hasPrefix("v@1 images img_1.npy 1 1 \(sha256) ") == true)
    #expect(answers["rate-per-mirror"]?.count == 2)
    #expect(answers["disk-by-kind"]?.contains { $0.hasPrefix("output-shard 2 ") } == true)
    #expect(
      answers["history-of"]?.compactMap { $0.split(separator: " ").dropFirst(2).first } == [
        "planned", "output", "output", "sealed",
      ])
    #expect(answers["built-with"]?.first?.hasPrefix("v@1 sealed ") == true)
    let builder = try lake.text("SELECT sealed_by || ' ' || tarn FROM v_version")
    #expect(answers["built-with"]?.first?.contains(" \(builder) ") == true)
    #expect(answers["shards-of-version"]?.last == "1 images img_1.npy 1 \(sha256) 20 0 1")
    #expect(answers["who-changed-what"]?.contains { $0.contains(" sealed v@1 ") } == true)
    #expect(answers["who-changed-what"]?.contains { $0.contains(" fetched ") } == false)
    #expect(answers["publications"] == [])
    #expect(answers.count == 17)
  }

  @Test func whatIsLeftHasTheSizesThatMirrorsSay() throws {
    let lake = try LakeFixture.make(.empty)
    let captions = try LakeFixture.sources().directory.path + "/captions"
    try lake.succeed(["source", "add", "more", "--directory", captions, "--dimension", "8", "--dtype", "float32"])
    try lake.succeed(["source", "probe", "more"])
    let sizes = try lake.text("SELECT sum(bytes) || '' FROM v_location")
    let sql = try #require(try metadata(lake).queries["what-is-left"]?.sql)
    #expect(try answer(lake, sql, [:]) == ["more 2 \(sizes) NULL"])
    #expect(try lake.text("SELECT known_bytes || '' FROM v_source") == sizes)
  }

  private func answer(
    _ lake: LakeFixture, _ sql: String, _ arguments: [String: any DatabaseValueConvertible]
  ) throws -> [String] {
    // As Datasette does: what the query has no parameter for is not passed.
    let used = arguments.filter { sql.contains(":\($0.key)") }
    let queue = try CatalogFile.open(lake.lake + "/catalog.sqlite")
    defer { try? queue.close() }
    return try queue.read { database in
      try Row.fetchAll(database, sql: sql, arguments: StatementArguments(used)).map { row in
        row.databaseValues.map { String.fromDatabaseValue($0) ?? $0.description }.joined(separator: " ")
      }
    }
  }

  @Test func theDocumentationHasEachAsItIs() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("docs/SQL.md"), encoding: .utf8)
    for (name, query) in try metadata(LakeFixture.make(.empty)).queries {
      #expect(text.contains("## \(query.title)\n"), "\(name)")
      #expect(text.contains("```sql\n\(query.sql)\n```"), "\(name)")
    }
  }

  @Test func everyColumnOfEveryViewIsDescribed() throws {
    let lake = try LakeFixture.make(.empty)
    let tables = try metadata(lake).tables
    let queue = try CatalogFile.open(lake.lake + "/catalog.sqlite")
    for (view, table) in tables {
      #expect(try Set(queue.read { try $0.columns(in: view).map(\.name) }) == Set(table.columns.keys))
    }
    #expect(tables.count >= 12)
  }
}
