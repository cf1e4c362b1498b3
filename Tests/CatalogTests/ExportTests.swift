import Base
import Catalog
import Foundation
import Testing
import TestSupport

@Suite struct ExportTests {
  private func export(_ lake: TemporaryLake) throws -> VersionExport {
    try lake.catalog.export(VersionName(name: "laion", number: 1))
  }

  private func filled() throws -> TemporaryLake {
    let lake = try TemporaryLake(inMemory: true)
    try CatalogFixture.fill(lake)
    return lake
  }

  @Test func aDocumentReadBackIsTheSame() throws {
    let lake = try filled()
    let document = try export(lake)
    let path = lake.root + "/v.json"
    try Disk.writeAtomically(Array(try document.text().utf8), to: path)
    #expect(try VersionExport(reading: path) == document)
    #expect(try document.text().contains("\"version_sha256\" : \""))
  }

  @Test func itPinsWhatTheVersionIsMadeOf() throws {
    let lake = try filled()
    let document = try export(lake)
    #expect(document.inputs.map(\.sha256) == [.of("shard zero"), .of("shard one")])
    #expect(document.sources.map(\.name) == ["images"])
    // The third shard is registered, and nothing is known of its bytes.
    #expect(document.sources[0].shards.map(\.sha256) == [.of("shard zero"), .of("shard one"), nil])
    #expect(document.sources[0].shards[0].urls == ["http://localhost/0.npy"])
    #expect(document.trained.sha256 == .of("trained 1"))
    #expect(document.outputs.count == 1)
  }

  @Test func anEmptyLakeAdoptsItsSourcesOnce() throws {
    let document = try export(filled())
    let lake = try TemporaryLake(inMemory: true)
    let source = try lake.catalog.adopt(document.sources[0])
    #expect(try lake.catalog.adopt(document.sources[0]).id == source.id)
    let shards = try lake.catalog.shards(of: source)
    #expect(shards.map(\.expectedDigest) == [.of("shard zero"), .of("shard one"), nil])
    #expect(shards.map(\.expectedByteCount) == [10, 9, nil])
  }

  @Test func anotherSourceOfTheNameIsNotMixedUp() throws {
    let document = try export(filled())
    let lake = try TemporaryLake(inMemory: true)
    _ = try lake.addSource("images", count: 3)
    let error = #expect(throws: TarnError.self) { try lake.catalog.adopt(document.sources[0]) }
    #expect(error?.code == .conflict)
  }

  @Test(arguments: ["../x.npy", "a/b.npy", ".hidden", "-rf", ""])
  func aHostileDocumentCannotNameFilesOutside(name: String) throws {
    let lake = try filled()
    let path = lake.root + "/v.json"
    let text = try export(lake).text().replacing("\"0.npy\"", with: "\"\(name)\"")
    try Disk.writeAtomically(Array(text.utf8), to: path)
    let document = try VersionExport(reading: path)
    let empty = try TemporaryLake(inMemory: true)
    let error = #expect(throws: TarnError.self) { try empty.catalog.adopt(document.sources[0]) }
    #expect(error?.code == .usage)
  }

  @Test(arguments: ["", "{}", "[1, 2]", "{\"format\": \"tarn-export-1\"}"])
  func whatIsNoDocumentIsRefused(text: String) throws {
    let directory = try TemporaryDirectory(inMemory: true)
    try Disk.writeAtomically(Array(text.utf8), to: directory.path + "/v.json")
    let error = #expect(throws: TarnError.self) { try VersionExport(reading: directory.path + "/v.json") }
    #expect(error?.code == .usage)
  }

  @Test func anUnfinishedVersionHasNoDocument() throws {
    let lake = try filled()
    let error = #expect(throws: TarnError.self) {
      try lake.catalog.export(VersionName(name: "laion", number: 2))
    }
    #expect(error?.code == .conflict)
  }

  @Test func aDifferenceNamesInputsParametersAndOutputs() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 3)
    try fixture.fetch(0, of: images, "zero")
    try fixture.fetch(1, of: images, "one")
    let clip = try fixture.train("clip", images)
    let first = try fixture.build("x", clip, images, perOutput: 1)
    try fixture.fetch(1, of: images, "one, revised")
    try fixture.fetch(2, of: images, "two")
    let second = try fixture.build("x", clip, images, perOutput: 1)
    let found = try lake.catalog.difference(first.name, second.name)
    #expect(found.parameters.isEmpty)
    #expect(found.changed == ["1.npy"])
    #expect(found.added == ["2.npy"])
    #expect(found.removed == [])
    #expect((found.sharedOutputs, found.outputsOnlyInFirst, found.outputsOnlyInSecond) == (1, 1, 2))
    let back = try lake.catalog.difference(second.name, first.name)
    #expect(back.removed == ["2.npy"])
    #expect(try lake.catalog.difference(first.name, first.name).isEmpty)
    let wide = try fixture.build("x", clip, images, perOutput: 3)
    #expect(
      try lake.catalog.difference(second.name, wide.name).parameters.map(\.name) == ["shards_per_output"])
  }

  /// What two trainings differ in is named, and not their digests alone.
  @Test func aDifferenceNamesWhatWasTrainedOtherwise() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 1)
    let texts = try fixture.source("texts", count: 1)
    try fixture.fetch(0, of: images, "zero")
    let plain = try fixture.build("x", fixture.train("plain", images), images)
    let routed = try lake.catalog.planTraining(
      TrainingDefinition(
        name: "routed", method: "paired-kmeans", codec: "sq4", nlist: 2, dimension: 4, iterations: 7, seed: 3,
        pairCount: 4, images: images, captions: texts,
        router: RouterDefinition(method: "learned", captions: texts, captionCount: 4, epochs: 1),
        spec: CatalogFixture.spec(
          method: "paired-kmeans", codec: "sq4", seed: 3, images: [],
          router: .object(["method": .string("learned"), "epochs": .integer(1)])), inputs: []))
    try lake.catalog.finishTraining(routed, digest: fixture.write("routed", as: .trainedIndex), byteCount: 6)
    let other = try fixture.build("x", lake.catalog.trainedIndex(named: "routed"), images)
    let found = try lake.catalog.difference(plain.name, other.name).parameters
    #expect(
      found.map(\.name) == [
        "trained_index", "trained_sha256", "method", "captions", "iterations", "seed", "router",
      ])
    #expect(found.last?.first == "" && found.last?.second == #"{"epochs":1,"method":"learned"}"#)
    #expect(found.first(where: { $0.name == "captions" })?.second == "texts")
  }
}
