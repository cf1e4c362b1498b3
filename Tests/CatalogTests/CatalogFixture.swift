// A lake with everything in it, made through the catalog's own operations with
// files of a few bytes: what the indexer would leave behind, without it.

import Base
import Catalog
import Foundation
import TestSupport

/// Makes sources, trained indexes and versions in a lake.
struct CatalogFixture {
  let catalog: LakeCatalog

  init(_ catalog: LakeCatalog) { self.catalog = catalog }

  /// Writes a file where an artifact of these bytes belongs.
  func write(_ text: String, as kind: StoredKind) throws -> ContentDigest {
    let digest = ContentDigest.of(text)
    let path = try catalog.path(of: kind, digest)
    try Disk.makeDirectory((path as NSString).deletingLastPathComponent)
    try Disk.writeAtomically(Array(text.utf8), to: path)
    return digest
  }

  /// Registers a source of `count` shards that nobody serves.
  func source(_ name: String, count: Int) throws -> Source {
    try catalog.addSource(
      SourceDefinition(
        name: name, modality: .image, dimension: 4, elementType: .float16, mirrors: ["http://localhost/{ordinal}.npy"],
        shards: (0..<count).map { .init(name: "\($0).npy", urls: ["http://localhost/\($0).npy"]) }))
  }

  /// Registers a companion of `count` shards that nobody serves.
  func companion(_ name: String, of owner: Source, count: Int) throws -> Source {
    try catalog.addSource(
      SourceDefinition(
        name: name, companionOf: owner, mirrors: ["http://localhost/{ordinal}.jsonl"],
        shards: (0..<count).map { .init(name: "\($0).jsonl", urls: ["http://localhost/\($0).jsonl"]) }))
  }

  /// Registers two sources that read arrays of the same files.
  func sharedSources(count: Int) throws -> (images: Source, texts: Source) {
    var images = SourceDefinition(
      name: "images", modality: .image, dimension: 4, elementType: .float16,
      mirrors: ["http://localhost/{ordinal}.npz"],
      shards: (0..<count).map { .init(name: "\($0).npz", urls: ["http://localhost/\($0).npz"]) })
    images.array = "l14_img"
    var texts = SourceDefinition(
      name: "texts", modality: .text, dimension: 4, elementType: .float32, mirrors: [], shards: [])
    (texts.array, texts.filesOf) = ("l14_txt", "images")
    return (try catalog.addSource(images), try catalog.addSource(texts))
  }

  /// Gives a shard bytes.
  @discardableResult
  func fetch(
    _ ordinal: Int, of source: Source, _ text: String, rowCount: Int = 5, states: [UInt8]? = nil,
    replacing: Replacement = .always
  ) throws -> Shard {
    let shard = try catalog.shards(of: source)[ordinal]
    let digest = ContentDigest.of(text)
    let path = LakeLayout.shardPath(source: source.name, shard: shard.name, digest: digest)
    let full = catalog.layout.shards + "/" + path
    try Disk.makeDirectory((full as NSString).deletingLastPathComponent)
    try Disk.writeAtomically(Array(text.utf8), to: full)
    _ = try catalog.reserve(shard, byteCount: text.utf8.count, budget: nil)
    try catalog.recordFetched(
      FetchedBytes(
        digest: digest, byteCount: text.utf8.count, rowCount: rowCount, path: path, mirrorID: nil, etag: nil,
        lastModified: nil, states: states), of: shard, replacing: replacing)
    return try catalog.shards(of: source)[ordinal]
  }

  /// Plans a trained index on the fetched shards of a source.
  func planTraining(_ name: String, _ source: Source, seed: Int64 = 1) throws -> TrainedIndexRecord {
    let revisions = try catalog.shards(of: source).compactMap(\.revision)
    return try catalog.planTraining(
      TrainingDefinition(
        name: name, method: "kmeans", codec: "sq4", nlist: 2, dimension: 4, iterations: 1, seed: seed, pairCount: 4,
        images: source, captions: nil,
        spec: Self.spec(method: "kmeans", codec: "sq4", seed: seed, images: revisions, array: source.array),
        inputs: revisions.map { .init(role: "image", revision: $0) }))
  }

  /// A specification of training, as `train` would write it.
  static func spec(
    method: String, codec: String, seed: Int64, images: [ShardRevision], captions: [ShardRevision]? = nil,
    router: JSONValue? = nil, array: String? = nil
  ) -> String {
    func list(_ revisions: [ShardRevision]) -> JSONValue {
      .array(revisions.map { .object(["rows": .count($0.rowCount), "sha256": .string($0.digest.hex)]) })
    }
    var members: [String: JSONValue] = [
      "method": .string(method), "codec": .string(codec), "nlist": .integer(2), "dimension": .integer(4),
      "iterations": .integer(1), "seed": .integer(seed), "sample": .object(["pairs": .integer(4)]),
      "images": list(images), "captions": captions.map(list) ?? .null,
    ]
    if let router { members["router"] = router }
    if let array { members["arrays"] = .object(["images": .string(array)]) }
    return JSONValue.object(members).text
  }

  /// Trains an index; the bytes follow from the seed.
  func train(_ name: String, _ source: Source, seed: Int64 = 1) throws -> TrainedIndexRecord {
    let planned = try planTraining(name, source, seed: seed)
    guard planned.state == .training else { return planned }
    try catalog.recordIteration(
      TrainingIteration(
        iteration: 1, objective: 0.5, movedShare: 0, imbalance: 1, emptyCount: 0, largestCount: 4), of: planned)
    let text = "trained \(seed)"
    try catalog.finishTraining(planned, digest: write(text, as: .trainedIndex), byteCount: text.utf8.count)
    return try catalog.trainedIndex(named: name)
  }

  /// Plans a version over all shards of a source that were fetched.
  func plan(
    _ name: String, _ trained: TrainedIndexRecord, _ source: Source, perOutput: Int = 2, environment: String = "{}"
  ) throws -> IndexVersion {
    let shards = try catalog.shards(of: source).filter { $0.revision != nil }
    return try catalog.planVersion(
      VersionPlan(
        name: name, trained: trained, source: source, shardsPerOutput: perOutput, missingPolicy: .fail,
        badRowsPolicy: .fail,
        spec: VersionPlan.spec(
          trained: trained.digest ?? .of(""), source: source.name, array: source.array, shards: shards.map(\.ordinal),
          shardsPerOutput: perOutput, missing: "fail", badRows: "fail"), environment: environment,
        inputs: shards.enumerated().compactMap { index, shard in
          shard.revision.map {
            VersionPlan.Input(
              shardID: shard.id, shardOrdinal: shard.ordinal, content: .bytes($0), outputOrdinal: index / perOutput,
              firstID: Int64(5 * shard.ordinal), rowCount: 5)
          }
        }))
  }

  /// Digest of the segment of an input.
  func segmentText(_ version: IndexVersion, _ input: VersionInput) -> String {
    "segment \(version.trainedIndexID) \(input.revision?.digest.hex ?? "")"
      + ((try? catalog.source(id: version.sourceID).array).flatMap { $0 }.map { " \($0)" } ?? "")
  }

  /// Encodes the inputs of one output.
  func encode(_ version: IndexVersion, output: Int) throws {
    guard let trained = try catalog.trainedIndex(id: version.trainedIndexID).digest else { return }
    let array = try catalog.source(id: version.sourceID).array
    for input in try catalog.inputs(of: version) where input.outputOrdinal == output {
      guard let revision = input.revision else { continue }
      let text = segmentText(version, input)
      try catalog.recordSegment(
        SegmentRecord(
          trainedDigest: trained, shardDigest: revision.digest, array: array, badRowsPolicy: .fail, formatVersion: 1,
          digest: write(text, as: .segment), rowCount: 5, badRowCount: 0), byteCount: text.utf8.count)
    }
  }

  /// Merges one output; its bytes follow from its inputs, so versions share it.
  @discardableResult
  func merge(_ version: IndexVersion, output: Int, refine: RefineShard? = nil) throws -> ContentDigest {
    let inputs = try catalog.inputs(of: version).filter { $0.outputOrdinal == output }
    let text = "output " + inputs.map { segmentText(version, $0) }.joined(separator: ",")
    let digest = try write(text, as: .outputShard)
    try catalog.recordOutput(
      OutputShard(
        ordinal: output, digest: digest, firstInput: inputs.first?.ordinal ?? 0, lastInput: inputs.last?.ordinal ?? 0,
        firstID: inputs.first?.firstID ?? 0, endID: (inputs.last?.firstID ?? 0) + 5, rowCount: 5 * inputs.count,
        byteCount: text.utf8.count, listsDigest: .of(text), refine: refine), of: version)
    try Disk.makeDirectory(catalog.layout.versionDirectory(version.name))
    try Disk.link(try catalog.path(of: .outputShard, digest), catalog.layout.outputPath(version.name, ordinal: output))
    return digest
  }

  /// Seals a version with its lock file and document.
  func seal(_ version: IndexVersion) throws {
    let lock = try catalog.lockContent(of: version, segmentFormat: 1).text + "\n"
    try Disk.makeDirectory(catalog.layout.versionDirectory(version.name))
    try Disk.writeAtomically(Array(lock.utf8), to: catalog.layout.lockFilePath(version.name))
    if let document = try? catalog.export(version, digest: .of(lock)).text() {
      try Disk.writeAtomically(Array((document + "\n").utf8), to: catalog.layout.documentPath(version.name))
    }
    try catalog.seal(version, lock: lock)
  }

  /// Builds a version to its end.
  @discardableResult
  func build(_ name: String, _ trained: TrainedIndexRecord, _ source: Source, perOutput: Int = 2) throws -> IndexVersion
  {
    let version = try plan(name, trained, source, perOutput: perOutput)
    guard version.state == .building else { return version }
    for output in Set(try catalog.inputs(of: version).map(\.outputOrdinal)).sorted() {
      try encode(version, output: output)
      try merge(version, output: output)
    }
    try seal(version)
    return try catalog.version(version.name)
  }

  /// One of everything: source `images` (three shards, two held), trained
  /// indexes `clip` (ready) and `next` (in training), versions `laion@1`
  /// (sealed), `laion@2` (building, one output done), `old@1` (revoked and
  /// pinned), `gone@1` (revoked, its output deleted).
  static func fill(_ lake: TemporaryLake) throws {
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 3)
    try fixture.fetch(0, of: images, "shard zero")
    try fixture.fetch(1, of: images, "shard one")
    let clip = try fixture.train("clip", images)
    try fixture.build("laion", clip, images)
    try fixture.build("old", clip, images, perOutput: 1)
    _ = try lake.catalog.pin(VersionName(name: "old", number: 1), reason: "paper")
    _ = try lake.catalog.revoke(VersionName(name: "old", number: 1), reason: "wrong model")
    let other = try fixture.train("other", images, seed: 2)
    try fixture.build("gone", other, images)
    _ = try lake.catalog.revoke(VersionName(name: "gone", number: 1), reason: "test")
    let options = GarbageOptions(grace: .zero, includesSegments: true)
    try lake.catalog.collect(lake.catalog.garbage(options), options)
    let building = try fixture.plan("laion", clip, images, perOutput: 1)
    try fixture.encode(building, output: 0)
    try fixture.merge(building, output: 0)
    try fixture.encode(building, output: 1)
    let nearest = try fixture.write("nearest", as: .nearestImages)
    try lake.catalog.recordNearest(.nearestImages, of: .of("pairs"), digest: nearest, byteCount: 7, pairCount: 4)
    _ = try fixture.planTraining("next", images, seed: 3)
    try lake.catalog.recordReproduction(
      of: lake.catalog.version(VersionName(name: "laion", number: 1)), startedAt: Timestamp.now(), outcome: .identical,
      detail: "{}", environment: "{}")
  }

  /// Records an evaluation of a sealed version; its truth follows from the queries.
  @discardableResult
  func evaluate(
    _ version: IndexVersion, queries: String = "queries", environment: String = "{}"
  ) throws -> ContentDigest {
    let text = "truth of \(queries)"
    let truth = try write(text, as: .evaluationTruth)
    let key = try catalog.truthKey(queries: .of(queries), k: 10, of: version, normalisation: "refuse")
    try catalog.recordNearest(
      .evaluationTruth, of: key, digest: truth, byteCount: text.utf8.count, pairCount: 2)
    try catalog.recordEvaluation(
      Evaluation(
        version: version.name, queries: "\(queries).npy", queriesDigest: .of(queries), queryCount: 2, rowCount: 10,
        nlist: 2, truthDigest: truth, threads: 1, imbalance: 1, listSizes: [0, 1, 1], environment: environment,
        points: [
          EvaluationPoint(
            nprobe: 1, vectorsScanned: 5, seconds: 0.5,
            recalls: [RecallPoint(k: 10, recall: 0.5, standardError: 0.1, routingRecall: 0.75)])
        ]), of: version)
    return truth
  }

  /// A row in every table that a lake can have rows in: what ``fill(_:)`` makes,
  /// and a transfer, chunks, a router with an epoch, labels, an evaluation, a
  /// setting and a hole.
  static func fillEveryTable(_ lake: TemporaryLake) throws {
    try fill(lake)
    let (catalog, fixture) = (lake.catalog, CatalogFixture(lake.catalog))
    let texts = try fixture.source("texts", count: 2)
    let shard = try catalog.shards(of: texts)[0]
    try catalog.recordTransfer(
      TransferRecord(
        shardID: shard.id, mirrorID: catalog.locations(of: shard.id)[0].mirrorID, url: "http://localhost/0.npy",
        startedAt: "2026-01-01T00:00:00.000Z", endedAt: "2026-01-01T00:00:01.000Z", resumedFrom: 0,
        receivedByteCount: 8, httpStatus: 200, outcome: .complete, error: nil, seen: .present, seenByteCount: 8))
    var computed = TransferRecord(
      shardID: shard.id, mirrorID: nil, url: "command:e {output}", startedAt: "2026-01-01T00:00:00.000Z",
      endedAt: "2026-01-01T00:00:01.000Z", resumedFrom: 0, receivedByteCount: 8, httpStatus: nil, outcome: .complete,
      error: nil, seen: nil)
    computed.command = CommandRunRecord(
      command: "e {output}", exitStatus: 0, signal: nil, seconds: 0.5, printed: "done\n", digest: .of("text zero"),
      inputs: [("/data/in.txt", .of("in"), 2)])
    try catalog.recordTransfer(computed)
    try fixture.fetch(0, of: texts, "text zero", states: [])
    let images = try catalog.source(named: "images")
    let revision = try catalog.shards(of: texts)[0].revision
    let routed = try catalog.planTraining(
      TrainingDefinition(
        name: "routed", method: "paired-kmeans", codec: "fp16", nlist: 2, dimension: 4, iterations: 1, seed: 7,
        pairCount: 4, images: images, captions: texts,
        router: RouterDefinition(method: "learned", captions: texts, captionCount: 4, epochs: 1),
        spec: Self.spec(
          method: "paired-kmeans", codec: "fp16", seed: 7, images: [], captions: revision.map { [$0] },
          router: .object(["method": .string("learned"), "captions": .integer(4), "epochs": .integer(1)])),
        inputs: revision.map { [.init(role: "caption", revision: $0)] } ?? []))
    try catalog.recordRouterEpoch(1, loss: 0.5, of: routed)
    let labels = try fixture.write("labels", as: .routerLabels)
    try catalog.recordNearest(.routerLabels, of: .of("labels of"), digest: labels, byteCount: 6, pairCount: 4)
    try catalog.finishTraining(routed, digest: fixture.write("routed", as: .trainedIndex), byteCount: 6)
    try fixture.evaluate(catalog.version(VersionName(name: "laion", number: 1)))
    try LakeCatalog.change(.bwlimit, to: "1MB/s", root: lake.root)
  }
}
