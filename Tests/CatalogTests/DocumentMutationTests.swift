// A document says one thing: another content never passes for it, whichever field
// it is in, and other words for the same content do.

import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct DocumentMutationTests {
  /// Documents of a plain version, of one with a router, and of one that was trained on
  /// other bytes than it was built from.
  private func documents() throws -> (directory: TemporaryDirectory, texts: [JSONValue]) {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 3)
    for ordinal in 0..<2 { try fixture.fetch(ordinal, of: images, "shard \(ordinal)") }
    let texts = try fixture.source("texts", count: 2)
    for ordinal in 0..<2 { try fixture.fetch(ordinal, of: texts, "text \(ordinal)") }
    try fixture.build("plain", fixture.train("clip", images), images, perOutput: 1)
    let revisions = try [images, texts].map { try lake.catalog.shards(of: $0).compactMap(\.revision) }
    let routed = try lake.catalog.planTraining(
      TrainingDefinition(
        name: "routed", method: "paired-kmeans", codec: "fp16", nlist: 2, dimension: 4, iterations: 1, seed: 7,
        pairCount: 4, images: images, captions: texts,
        router: RouterDefinition(method: "learned", captions: texts, captionCount: 4, epochs: 1),
        spec: CatalogFixture.spec(
          method: "paired-kmeans", codec: "fp16", seed: 7, images: revisions[0], captions: revisions[1],
          router: .object(["method": .string("learned"), "captions": .integer(4), "epochs": .integer(1)])),
        inputs: revisions[0].map { .init(role: "image", revision: $0) }
          + revisions[1].map { .init(role: "caption", revision: $0) }))
    try lake.catalog.finishTraining(routed, digest: fixture.write("routed", as: .trainedIndex), byteCount: 6)
    try fixture.build("routed", lake.catalog.trainedIndex(named: "routed"), images)
    try fixture.fetch(1, of: images, "shard one of later", replacing: .keepingOld)
    try fixture.build("later", lake.catalog.trainedIndex(named: "clip"), images)
    let directory = try TemporaryDirectory(inMemory: true)
    return (
      directory,
      try ["plain", "routed", "later"].map { name in
        let text = try lake.catalog.export(VersionName(name: name, number: 1)).text()
        return try #require(JSONValue(parsing: text))
      }
    )
  }

  /// What a document is found to be: nil when it is refused.
  private func verdict(_ text: String, in directory: TemporaryDirectory) throws -> StatementVerdict? {
    let path = directory.path + "/v.json"
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    do {
      return try VersionExport(reading: path).verdict(segmentFormats: 1...1)
    } catch let error as TarnError {
      #expect([.usage, .schemaNewer].contains(error.code) && !error.message.contains("\n"), "\(error)")
      return nil
    }
  }

  /// The statement of a path, as omissions name it.
  private func omission(of path: String, in document: JSONValue) -> String {
    let place = path.replacing(/\[\d+\]/, with: "[]")
    for list in ["sources[].mirrors", "sources[].shards[].urls"] where place.hasPrefix(list) { return list }
    let numbers = path.matches(of: /\[(\d+)\]/).compactMap { Int($0.1) }
    guard place.hasPrefix("sources[].shards[]"), numbers.count >= 2,
      let shard = document["sources"]?.elements[numbers[0]]["shards"]?.elements[numbers[1]]
    else { return place }
    if shard["sha256"] == nil { return "sources[].shards[] without sha256" }
    // The digest proves them when the bytes are here, and nothing before.
    if place.hasSuffix(".trained_on.bytes") { return "sources[].shards[].bytes of no input" }
    let isInput = numbers[0] == 0 && (document["inputs"]?.elements ?? []).contains { $0["shard"] == shard["name"] }
    return [".name", ".bytes"].contains { place.hasSuffix($0) } && !isInput ? place + " of no input" : place
  }

  @Test func noOtherContentPasses() throws {
    let (directory, documents) = try documents()
    for document in documents { #expect(try verdict(document.text, in: directory)?.isClean == true) }
    var random = SplitMix64(seed: 14)
    var (passed, places): ([String], Set<String>) = ([], [])
    for round in 0..<TestRounds.count(800, full: 6000) {
      let document = documents[round % documents.count]
      let mutation = DocumentMutation(of: document, &random)
      places.insert(mutation.path.replacing(/\[\d+\]/, with: "[]"))
      guard let found = try verdict(mutation.value.text, in: directory), found.isClean else { continue }
      // What passes is said not to have been checked.
      if !found.unchecked.contains(where: { $0.field == omission(of: mutation.path, in: document) }) {
        passed.append(mutation.path)
      }
    }
    #expect(passed.isEmpty, "\(passed)")
    #expect(places.count > 60, "\(places.sorted())")
  }

  @Test func otherWordsForTheSameContentPass() throws {
    let (directory, documents) = try documents()
    var random = SplitMix64(seed: 15)
    for round in 0..<100 {
      let text = DocumentMutation.reworded(documents[round % documents.count], &random)
      #expect(try verdict(text, in: directory)?.isClean == true, "\(text)")
    }
  }

  /// Whoever changes the content and not the digest is told which field it was,
  /// where another one says it too.
  @Test func theFieldIsNamed() throws {
    let (directory, documents) = try documents()
    let text = documents[0].text
    for (from, to, field) in [
      ("\"method\":\"kmeans\",\"name\"", "\"method\":\"paired-kmeans\",\"name\"", "trained.method"),
      ("\"seed\":1,\"sha256\"", "\"seed\":2,\"sha256\"", "trained.seed"),
      ("\"dimension\":4,\"dtype\"", "\"dimension\":8,\"dtype\"", "sources[0].dimension"),
      ("\"shard\":\"0.npy\"", "\"shard\":\"9.npy\"", "inputs[0].shard"),
      ("\"first_id\":5", "\"first_id\":6", "version_sha256"),
    ] {
      let changed = text.replacing(from, with: to)
      #expect(changed != text, "\(from)")
      let found = try #require(try verdict(changed, in: directory))
      #expect(found.differences.first?.field == field, "\(found.differences)")
    }
  }

  @Test(arguments: [
    ("{\"format\":\"tarn-export-1\",\"format\":\"tarn-export-1\"}", "there twice"), ("{\"a\":1", "does not end"),
    ("\u{FEFF}{}", "no value"), ("{} {}", "follows"),
  ])
  func whatHasNotOneMeaningIsRefused(text: String, reason: String) throws {
    let directory = try TemporaryDirectory(inMemory: true)
    let path = directory.path + "/v.json"
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    let error = #expect(throws: TarnError.self) { try VersionExport(reading: path) }
    #expect(error?.code == .usage && error?.message.contains(reason) == true, "\(String(describing: error))")
  }
}
