// Sources that are changed after they were registered: what is refused and by whom it
// is pinned, what the history keeps, and that nothing that was sealed raises an alarm.

import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct SourceChangeTests {
  let lake: TemporaryLake
  init() throws { lake = try TemporaryLake(inMemory: true) }

  private func definition(
    modality: Modality = .image, dimension: Int = 4, type: ElementType = .float16, count: Int = 3,
    mirrors: [String] = ["http://a/{ordinal}.npy"], size: Int? = 100
  ) throws -> SourceDefinition {
    let templates = try mirrors.map { try URLTemplate(parsing: $0) }
    return SourceDefinition(
      name: "images", modality: modality, dimension: dimension, elementType: type, mirrors: mirrors,
      shards: (0..<count).map { ordinal in
        .init(name: "\(ordinal).npy", urls: templates.map { $0.url(ordinal: ordinal) }, expectedByteCount: size)
      })
  }

  /// Every table, row by row, but for the history.
  private func state() throws -> [String] {
    try CatalogFile.open(lake.root + "/catalog.sqlite").read { database in
      try String.fetchAll(database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'event'")
        .flatMap { table in try Row.fetchAll(database, sql: "SELECT * FROM \(table)").map { "\(table) \($0)" } }
    }
  }

  private func damages() throws -> [String] {
    try lake.catalog.verify().damages.map { "\($0.file.name): \($0.message)" }
  }

  private func templates(_ source: Source) throws -> [String] { try lake.catalog.mirrors(of: source).map(\.template) }

  private func urls(_ source: Source, _ ordinal: Int) throws -> [String] {
    try lake.catalog.locations(of: lake.catalog.shards(of: source)[ordinal].id).map(\.url)
  }

  @Test func theSameDefinitionIsFoundAndOfAnotherTheFieldIsNamed() throws {
    #expect(try lake.catalog.registered(definition()) == nil)
    let source = try lake.catalog.addSource(definition())
    #expect(try lake.catalog.registered(definition())?.id == source.id)
    var reconstructed = try definition()
    reconstructed.reconstructed = [0]
    var kept = try definition()
    kept.keptQuery = ["v"]
    var brought = try definition()
    brought.ofDocuments = [0]
    let others: [(String, SourceDefinition)] = [
      ("modality", try definition(modality: .text)), ("dimension", try definition(dimension: 5)),
      ("dtype", try definition(type: .float32)), ("number of shards", try definition(count: 4)),
      ("mirror 0", try definition(mirrors: ["http://b/{ordinal}.npy"])),
      ("number of mirrors", try definition(mirrors: ["http://a/{ordinal}.npy", "http://b/{ordinal}.npy"])),
      ("size of 0.npy", try definition(size: 101)), ("size of 0.npy", try definition(size: nil)),
      ("provenance of mirror 0", reconstructed), ("--keep-query", kept), ("--allow-inside", brought),
    ]
    for (field, other) in others {
      let error = #expect(throws: TarnError.self) { try lake.catalog.registered(other) }
      #expect(error?.code == .conflict)
      #expect(error?.message.contains("its \(field) is ") == true, "\(field): \(error?.message ?? "")")
    }
  }

  @Test func mirrorsAreAddedRemovedAndOrdered() throws {
    var made = try definition()
    made.reconstructed = []
    let source = try lake.catalog.addSource(made)
    func add(_ host: String, isReconstructed: Bool = false) throws -> Int? {
      try lake.catalog.addMirror(
        "http://\(host)/{ordinal}.npy", urls: (0..<3).map { "http://\(host)/\($0).npy" },
        isReconstructed: isReconstructed, to: source)
    }
    #expect(try add("again", isReconstructed: true) == 1)
    // What was made again is asked last.
    #expect(try add("b") == 1)
    #expect(try add("b") == nil)
    #expect(try urls(source, 2) == ["http://a/2.npy", "http://b/2.npy", "http://again/2.npy"])
    #expect(throws: TarnError.self) { try add("b", isReconstructed: true) }
    #expect(try lake.catalog.orderMirrors([1, 2, 0], of: source))
    #expect(try !lake.catalog.orderMirrors([0, 1, 2], of: source))
    #expect(try urls(source, 0) == ["http://b/0.npy", "http://again/0.npy", "http://a/0.npy"])
    for places in [[0], [0, 1], [0, 0, 1], [0, 1, 2, 2], [0, 1, 3], [-1, 0, 1]] {
      #expect(throws: TarnError.self, "\(places)") { try lake.catalog.orderMirrors(places, of: source) }
    }
    #expect(try lake.catalog.removeMirror(1, of: source) == "http://again/{ordinal}.npy")
    #expect(try lake.catalog.mirrors(of: source).map(\.priority) == [0, 1])
    #expect(try lake.catalog.removeMirror(1, of: source) == "http://a/{ordinal}.npy")
    let last = #expect(throws: TarnError.self) { try lake.catalog.removeMirror(0, of: source) }
    #expect(last?.message.contains("needs one") == true)
    #expect(try damages() == [])
    #expect(try lake.rows("SELECT verb FROM v_event WHERE verb LIKE 'source-%'").count == 6)
  }

  @Test func aMirrorThatBytesCameFromStays() throws {
    let source = try lake.catalog.addSource(definition(mirrors: ["http://a/{ordinal}.npy", "http://b/{ordinal}.npy"]))
    let shard = try lake.catalog.shards(of: source)[0]
    let mirrors = try lake.catalog.mirrors(of: source)
    let path = LakeLayout.shardPath(source: source.name, shard: shard.name, digest: .of("x"))
    try Disk.makeDirectory(lake.root + "/shards/images")
    try Disk.writeAtomically(Array("x".utf8), to: lake.catalog.layout.shards + "/" + path)
    _ = try lake.catalog.reserve(shard, byteCount: 1, budget: nil)
    try lake.catalog.recordFetched(
      FetchedBytes(
        digest: .of("x"), byteCount: 1, rowCount: 1, path: path, mirrorID: mirrors[0].id, etag: nil, lastModified: nil,
        states: nil), of: shard)
    let error = #expect(throws: TarnError.self) { try lake.catalog.removeMirror(0, of: source) }
    #expect(error?.code == .conflict && error?.hint?.contains("order") == true)
    _ = try lake.catalog.removeMirror(1, of: source)
  }

  /// A sealed version's document names the mirrors of its time; no change of them is
  /// an alarm, and one that the source never had is.
  @Test func documentsAreHeldAgainstTheMirrorsOfTheirTime() throws {
    try CatalogFixture.fill(lake)
    let source = try lake.catalog.source(named: "images")
    let count = try lake.catalog.shards(of: source).count
    let version = try lake.catalog.version(VersionName(name: "laion", number: 1))
    let path = lake.catalog.layout.documentPath(version.name)
    let sealed = try VersionExport(reading: path)
    func step(_ change: () throws -> Void) throws {
      try change()
      #expect(try damages() == [])
      #expect(try lake.catalog.isSame(sealed, as: lake.catalog.export(version.name), of: version))
    }
    func add(_ host: String) throws {
      _ = try lake.catalog.addMirror(
        "http://\(host)/{ordinal}.npy", urls: (0..<count).map { "http://\(host)/\($0).npy" }, isReconstructed: false,
        to: source)
    }
    try step { try add("b") }
    try step { try add("c") }
    try step { _ = try lake.catalog.orderMirrors([2, 0, 1], of: source) }
    try step { _ = try lake.catalog.removeMirror(1, of: source) }
    try step { _ = try lake.catalog.removeMirror(1, of: source) }
    #expect(try lake.catalog.export(version.name).sources[0].mirrors == ["http://c/{ordinal}.npy"])
    let text = try #require(String(bytes: Disk.contents(of: path), encoding: .utf8))
    for (old, new) in [
      ("http://localhost/{ordinal}.npy", "http://evil/{ordinal}.npy"), ("localhost/1.npy", "evil/1.npy"),
    ] {
      try #require(text.contains(old))
      try Disk.writeAtomically(Array(text.replacing(old, with: new).utf8), to: path)
      #expect(try !damages().isEmpty, "\(new)")
      try Disk.writeAtomically(Array(text.utf8), to: path)
    }
    #expect(try damages() == [])
  }

  @Test func whatNothingRestsOnIsCorrected() throws {
    var source = try lake.catalog.addSource(definition())
    #expect(try lake.catalog.set(source, modality: .text, dimension: 5, elementType: .float32))
    source = try lake.catalog.source(named: "images")
    #expect(source.modality == .text && source.dimension == 5 && source.elementType == .float32)
    #expect(try !lake.catalog.set(source, modality: .text, dimension: nil, elementType: nil))
    try lake.catalog.rename(source, to: "captions")
    #expect(try damages() == [])
    // The old name is free, and is another source's from now on.
    _ = try lake.catalog.addSource(definition())
    let taken = #expect(throws: TarnError.self) {
      try lake.catalog.rename(lake.catalog.source(named: "images"), to: "captions")
    }
    #expect(taken?.code == .conflict)
    try lake.catalog.remove(lake.catalog.source(named: "captions"))
    #expect(try lake.catalog.sources().map(\.name) == ["images"])
    #expect(try damages() == [])
    try lake.catalog.remove(lake.catalog.source(named: "images"))
    _ = try lake.catalog.addSource(definition(dimension: 9))
    #expect(try damages() == [])
  }

  @Test func shardsOfUnknownLengthGoFromTheEndAlone() throws {
    let source = try lake.catalog.addSource(definition(count: 5))
    _ = try CatalogFixture(lake.catalog).fetch(1, of: source, "one")
    for text in ["2", "0-1", "2-3", "0-4", "4-5"] {
      let before = try state()
      #expect(throws: TarnError.self, "\(text)") {
        try lake.catalog.dropShards(OrdinalSet(parsing: text), of: source)
      }
      #expect(try state() == before)
    }
    let kept = try lake.catalog.shards(of: source).map { "\($0.ordinal) \($0.id) \($0.name)" }
    #expect(try lake.catalog.dropShards(OrdinalSet(parsing: "3-4"), of: source).removed == ["3.npy", "4.npy"])
    #expect(try lake.catalog.shards(of: source).map { "\($0.ordinal) \($0.id) \($0.name)" } == Array(kept.prefix(3)))
    #expect(try lake.rows("SELECT shards FROM v_source") == ["3"])
    #expect(try damages() == [])
  }

  /// Each refusal names what stands in the way, and leaves everything as it was.
  @Test func whatIsPinnedIsRefusedByName() throws {
    try CatalogFixture.fill(lake)
    let source = try lake.catalog.source(named: "images")
    let fetched = try lake.catalog.addSource(
      SourceDefinition(
        name: "fetched", modality: .image, dimension: 4, elementType: .float16, mirrors: ["m"],
        shards: [.init(name: "0.npy", urls: ["http://m/0.npy"]), .init(name: "1.npy", urls: ["http://m/1.npy"])]))
    _ = try CatalogFixture(lake.catalog).fetch(0, of: fetched, "bytes")
    let last = try #require(lake.catalog.shards(of: source).last).ordinal
    let changes: [(String, (Source) throws -> Void)] = [
      ("keeps its name", { try lake.catalog.rename($0, to: "other") }),
      ("keeps its modality", { _ = try lake.catalog.set($0, modality: .text, dimension: nil, elementType: nil) }),
      ("keeps its dtype", { _ = try lake.catalog.set($0, modality: nil, dimension: nil, elementType: .float32) }),
      ("is kept", { try lake.catalog.remove($0) }),
    ]
    let before = try state()
    for (words, change) in changes {
      let pinned = #expect(throws: TarnError.self) { try change(source) }
      #expect(pinned?.code == .conflict)
      #expect(
        pinned?.message.contains(words) == true && pinned?.message.contains("@") == true, "\(pinned?.message ?? "")")
    }
    for (words, change) in changes.dropFirst(2) {
      let observed = #expect(throws: TarnError.self) { try change(fetched) }
      #expect(observed?.message.contains(words) == true, "\(observed?.message ?? "")")
      #expect(observed?.message.contains("1 of its shards were fetched") == true, "\(observed?.message ?? "")")
    }
    let shard = #expect(throws: TarnError.self) {
      try lake.catalog.dropShards(OrdinalSet(parsing: "\(last)"), of: source)
    }
    #expect(shard?.code == .conflict)
    #expect(try state() == before)
  }

  /// What versions alone state of a source may be corrected after it was fetched.
  @Test func nameAndModalityAreFreeUntilAVersionStatesThem() throws {
    let fixture = CatalogFixture(lake.catalog)
    var source = try fixture.source("captions", count: 2)
    try fixture.fetch(0, of: source, "zero")
    try fixture.fetch(1, of: source, "one")
    let trained = try fixture.train("t", source)
    #expect(try lake.catalog.set(source, modality: .text, dimension: nil, elementType: nil))
    try lake.catalog.rename(source, to: "texts")
    source = try lake.catalog.source(named: "texts")
    #expect(source.modality == .text)
    #expect(try damages() == [])
    _ = try fixture.plan("v", trained, source)
    #expect(throws: TarnError.self) { try lake.catalog.rename(source, to: "other") }
    try CatalogFile.open(lake.root + "/catalog.sqlite").write {
      try $0.execute(
        sql: "UPDATE index_version SET state = 'abandoned', ended_at = ?", arguments: [Timestamp.now()])
    }
    try lake.catalog.rename(source, to: "other")
    try fixture.build("w", trained, lake.catalog.source(named: "other"))
    #expect(throws: TarnError.self) { try lake.catalog.rename(lake.catalog.source(named: "other"), to: "more") }
    #expect(try damages() == [])
  }
}
