// Sources that read arrays of one set of files: the files are said once, and whatever
// states rows says digest and array.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct ArrayTests {
  @Test func filesAreTheirsThatHasThem() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let (images, texts) = try fixture.sharedSources(count: 3)
    #expect(texts.filesOf == images.id && texts.filesID == images.id && images.filesOf == nil)
    try fixture.fetch(1, of: images, "one file")
    let (mine, its) = (try lake.catalog.shards(of: texts), try lake.catalog.shards(of: images))
    #expect(mine.map(\.id) == its.map(\.id) && mine[1].revision == its[1].revision && mine[1].path != nil)
    #expect(try lake.catalog.mirrors(of: texts).map(\.template) == ["http://localhost/{ordinal}.npz"])
    #expect(try lake.catalog.readers(of: texts).map(\.name) == ["images", "texts"])
    #expect(try lake.catalog.fileSources(["texts", "images"]).map(\.name) == ["images"])
    #expect(try lake.catalog.fileSources([]).map(\.name) == ["images"])
    try lake.catalog.evict(mine[1])
    #expect(try lake.catalog.shards(of: images)[1].path == nil)
    #expect(try lake.catalog.wrongTotals().isEmpty)
  }

  @Test func theSchemaRefusesFilesOfItsOwnToAReader() throws {
    let lake = try TemporaryLake(inMemory: true)
    let (_, texts) = try CatalogFixture(lake.catalog).sharedSources(count: 1)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    for statement in [
      "INSERT INTO shard (source_id, ordinal, name, changed_at) VALUES (\(texts.id), 0, 'a.npz', 'now')",
      "INSERT INTO mirror (source_id, priority, template, created_at) VALUES (\(texts.id), 0, 'http://a/', 'now')",
      "UPDATE source SET files_of = NULL WHERE name = 'texts'",
      "UPDATE source SET array_name = 'x' WHERE name = 'texts'",
      "UPDATE source SET array_name = NULL WHERE name = 'images'",
      "UPDATE source SET files_of = 2 WHERE name = 'images'",
      "DELETE FROM source WHERE name = 'images'",
      // A reader of a reader, and one without an array.
      """
      INSERT INTO source (name, modality, dimension, dtype, created_at, array_name, files_of)
      VALUES ('more', 'text', 4, 'float16', 'now', 'a', \(texts.id))
      """,
      """
      INSERT INTO source (name, modality, dimension, dtype, created_at, files_of)
      VALUES ('more', 'text', 4, 'float16', 'now', 1)
      """,
    ] {
      #expect(throws: DatabaseError.self, "\(statement)") { try queue.write { try $0.execute(sql: statement) } }
    }
  }

  @Test func aNameOfAnArrayCanBeSeen() {
    for name in ["l14_img", "emb", "täxt", "a/b", String(repeating: "x", count: 255)] {
      #expect(throws: Never.self) { try LakeCatalog.validate(array: name) }
    }
    for name in ["", "a b", "a\u{202E}b", "a\n", String(repeating: "x", count: 256)] {
      #expect(throws: TarnError.self, "\(name.printable)") { try LakeCatalog.validate(array: name) }
    }
  }

  @Test func aReaderOfAReaderReadsTheFilesOfTheFirst() throws {
    let lake = try TemporaryLake(inMemory: true)
    let (images, _) = try CatalogFixture(lake.catalog).sharedSources(count: 1)
    var small = SourceDefinition(
      name: "small", modality: .image, dimension: 2, elementType: .float16, mirrors: [], shards: [])
    (small.array, small.filesOf) = ("b32_img", "texts")
    #expect(try lake.catalog.addSource(small).filesOf == images.id)
    // The same again is known, by whichever of the names.
    #expect(try lake.catalog.registered(small) != nil)
    small.filesOf = "images"
    #expect(try lake.catalog.registered(small) != nil)
    small.array = "other"
    #expect(throws: TarnError.self) { try lake.catalog.registered(small) }
  }

  @Test func filesOfOneMatrixHaveNoArrayForAnother() throws {
    let lake = try TemporaryLake(inMemory: true)
    _ = try CatalogFixture(lake.catalog).source("plain", count: 1)
    var texts = SourceDefinition(
      name: "texts", modality: .text, dimension: 4, elementType: .float16, mirrors: [], shards: [])
    (texts.array, texts.filesOf) = ("l14_txt", "plain")
    let error = #expect(throws: TarnError.self) { try lake.catalog.addSource(texts) }
    #expect(error?.code == .usage)
    texts.filesOf = "nobody"
    #expect(#expect(throws: TarnError.self) { try lake.catalog.addSource(texts) }?.code == .notFound)
  }

  @Test func aSourceStaysWhileOthersReadItsFiles() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let (images, texts) = try fixture.sharedSources(count: 1)
    let error = #expect(throws: TarnError.self) { try lake.catalog.remove(images) }
    #expect(error?.code == .conflict && error?.message.contains("texts reads its files") == true)
    #expect(#expect(throws: TarnError.self) { try lake.catalog.requireOwnFiles(texts) }?.code == .usage)
    // What the rows of a reader are is held against its files, too.
    try fixture.fetch(0, of: images, "one file")
    #expect(throws: TarnError.self) { try lake.catalog.set(texts, modality: nil, dimension: 5, elementType: nil) }
    // It may go and come back though files were fetched: they are not its own.
    try lake.catalog.remove(texts)
    #expect(try lake.catalog.shards(of: images)[0].path != nil)
    #expect(try lake.catalog.facts(believesHistory: true).statements.allSatisfy(\.verdict.isClean))
  }

  @Test func theHistoryTellsOfArraysAndFollowsARename() throws {
    let lake = try TemporaryLake(inMemory: true)
    let (images, _) = try CatalogFixture(lake.catalog).sharedSources(count: 1)
    try lake.catalog.rename(images, to: "pictures")
    func isClean() throws -> Bool {
      try lake.catalog.facts(believesHistory: true).statements.allSatisfy(\.verdict.isClean)
    }
    #expect(try isClean())
    try Tampering.run(
      lake.root + "/catalog.sqlite",
      ["UPDATE source SET array_name = 'b32_txt' WHERE name = 'texts'"])
    #expect(try !isClean())
  }

  @Test func segmentsAreOfDigestAndArray() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let (images, texts) = try fixture.sharedSources(count: 2)
    for ordinal in 0..<2 { try fixture.fetch(ordinal, of: images, "file \(ordinal)") }
    let clip = try fixture.train("clip", images)
    let trained = try #require(clip.digest)
    let (first, second) = (try fixture.plan("a", clip, images), try fixture.plan("b", clip, texts))
    try fixture.encode(first, output: 0)
    func counts() throws -> [Int] {
      try CatalogFile.open(lake.root + "/catalog.sqlite").read {
        try Int.fetchAll($0, sql: "SELECT encoded FROM v_build_progress ORDER BY version")
      }
    }
    #expect(try counts() == [2, 0])
    #expect(try lake.catalog.segments(of: texts, trained: trained, badRows: .fail, formatVersion: 1).isEmpty)
    try fixture.encode(second, output: 0)
    #expect(try counts() == [2, 2])
    let digests = try [images, texts].map { source in
      try lake.catalog.segments(of: source, trained: trained, badRows: .fail, formatVersion: 1)
        .mapValues(\.segment.digest)
    }
    #expect(
      digests[0].count == 2 && digests[0].keys == digests[1].keys
        && Set(digests[0].values).isDisjoint(with: digests[1].values))
    #expect(try lake.catalog.wrongTotals().isEmpty)
    // Only what the version's own source reads keeps a segment from being garbage.
    _ = try lake.catalog.abandon(second.name)
    let garbage = try CatalogFile.open(lake.root + "/catalog.sqlite").read {
      try String.fetchAll($0, sql: "SELECT sha256 FROM v_garbage WHERE kind = 'segment' ORDER BY sha256")
    }
    #expect(garbage == digests[1].values.map(\.hex).sorted())
  }

  /// A document in which two sources read the same files.
  private func document(_ lake: TemporaryLake, of name: String = "images") throws -> VersionExport {
    let fixture = CatalogFixture(lake.catalog)
    let (images, texts) = try fixture.sharedSources(count: 2)
    for ordinal in 0..<2 { try fixture.fetch(ordinal, of: images, "file \(ordinal)") }
    let clip = try fixture.train("clip", images)
    let version = try fixture.plan("v", clip, name == "texts" ? texts : images)
    try fixture.encode(version, output: 0)
    try fixture.merge(version, output: 0)
    try fixture.seal(version)
    return try lake.catalog.export(version.name)
  }

  @Test func aDocumentSaysWhoseFilesAreReadAndAnEmptyLakeKeepsIt() throws {
    let lake = try TemporaryLake(inMemory: true)
    let document = try document(lake, of: "texts")
    #expect(document.format == VersionExport.thirdFormat)
    #expect(document.sources.map(\.array) == ["l14_txt", "l14_img"])
    #expect(document.sources.map(\.filesOf) == ["images", nil])
    #expect(document.sourcesByFiles.map(\.name) == ["images", "texts"])
    let text = Array(try document.text().utf8)
    #expect(try VersionExport(reading: text, of: "a test") == document)
    #expect(document.verdict(segmentFormats: 1...1).isClean)
    let other = try TemporaryLake(inMemory: true)
    for source in document.sourcesByFiles { _ = try other.catalog.adopt(source, of: document) }
    let texts = try other.catalog.source(named: "texts")
    #expect(texts.array == "l14_txt")
    #expect(try other.catalog.fileSource(of: texts).name == "images")
    // Again is no other source.
    for source in document.sourcesByFiles { _ = try other.catalog.adopt(source, of: document) }
  }

  @Test func aDocumentThatLiesAboutFilesContradictsItself() throws {
    let lake = try TemporaryLake(inMemory: true)
    let text = try document(lake, of: "texts").text(isOneLine: true)
    for (old, new) in [
      ("\"files_of\":\"images\"", "\"files_of\":\"nobody\""), ("\"array\":\"l14_img\"", "\"array\":\"l14_imh\""),
      ("\"array\":\"l14_txt\"", "\"array\":\"l14_txu\""),
    ] {
      try #require(text.contains(old))
      let changed = Array(text.replacing(old, with: new).utf8)
      #expect(try !VersionExport(reading: changed, of: "a test").verdict(segmentFormats: 1...1).isClean, "\(new)")
    }
  }

  @Test func aSourceWithoutAnArraySaysNothingOfIt() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 1)
    try fixture.fetch(0, of: images, "file")
    let version = try fixture.plan("v", try fixture.train("clip", images), images)
    try fixture.encode(version, output: 0)
    try fixture.merge(version, output: 0)
    try fixture.seal(version)
    let document = try lake.catalog.export(version.name)
    #expect(document.format == VersionExport.format)
    let lock = try lake.catalog.lockContent(of: version, segmentFormat: 1)
    for text in [try document.text(), lock.text, version.spec] { #expect(!text.contains("array")) }
  }
}
