import Base
import Catalog
import Foundation
import GRDB
import Testing
import TestSupport

@Suite struct GarbageTests {
  private let week = Duration.seconds(7 * 86400)

  private func sealedLake() throws -> (TemporaryLake, CatalogFixture, Source, IndexVersion) {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 2)
    try fixture.fetch(0, of: images, "zero")
    try fixture.fetch(1, of: images, "one")
    let version = try fixture.build("laion", fixture.train("clip", images), images)
    return (lake, fixture, images, version)
  }

  private func output(_ lake: TemporaryLake, _ version: IndexVersion) throws -> String {
    let output = try #require(try lake.catalog.outputs(of: version).first)
    return try lake.catalog.path(of: .outputShard, output.digest)
  }

  @Test func aLiveVersionHasNoGarbage() throws {
    let (lake, _, _, _) = try sealedLake()
    let plan = try lake.catalog.garbage(GarbageOptions(grace: .zero))
    #expect(plan.due.isEmpty && plan.waiting.isEmpty && plan.unknownFiles.isEmpty)
  }

  @Test func aRevokedVersionIsKeptForItsGrace() throws {
    let (lake, _, _, version) = try sealedLake()
    _ = try lake.catalog.revoke(version.name, reason: "test")
    let path = try output(lake, version)
    let early = GarbageOptions(grace: week, now: Date().addingTimeInterval(6.9 * 86400))
    #expect(try lake.catalog.collect(lake.catalog.garbage(early), early).isEmpty)
    #expect(try lake.catalog.garbage(early).waiting.count == 1)
    #expect(Disk.size(of: path) != nil)
    let late = GarbageOptions(grace: week, now: Date().addingTimeInterval(7.1 * 86400))
    #expect(try lake.catalog.collect(lake.catalog.garbage(late), late).map(\.kind) == [.outputShard])
    #expect(Disk.size(of: path) == nil)
    // One that holds nothing would be in the way of other users of a group.
    #expect(!Disk.isDirectory(path.parentPath) && Disk.isDirectory(path.parentPath.parentPath))
    #expect(Disk.size(of: lake.catalog.layout.outputPath(version.name, ordinal: 0)) == nil)
    #expect(Disk.size(of: lake.catalog.layout.lockFilePath(version.name)) != nil)
    #expect(try lake.catalog.version(version.name).state == .revoked)
    #expect(try lake.catalog.garbage(late).due.isEmpty)
  }

  @Test func unpinningBeginsTheGrace() throws {
    let (lake, _, _, version) = try sealedLake()
    _ = try lake.catalog.pin(version.name, reason: "paper")
    _ = try lake.catalog.revoke(version.name, reason: "test")
    #expect(try lake.catalog.garbage(GarbageOptions(grace: .zero)).due.isEmpty)
    let before = Timestamp.now()
    _ = try lake.catalog.unpin(version.name)
    let due = try lake.catalog.garbage(GarbageOptions(grace: .zero)).due
    #expect(due.count == 1)
    #expect(due.allSatisfy { $0.unusedSince >= before })
  }

  /// Names go with the grace that an unpinning begins, and a pin brings them back as long as the output is there.
  @Test func namesHaveTheGraceOfAnUnpinning() throws {
    let (lake, fixture, images, version) = try sealedLake()
    // Another one keeps the output itself.
    _ = try fixture.build("copy", lake.catalog.trainedIndex(named: "clip"), images)
    let name = lake.catalog.layout.outputPath(version.name, ordinal: 0)
    try Disk.link(output(lake, version), name)
    _ = try lake.catalog.pin(version.name, reason: "paper")
    _ = try lake.catalog.revoke(version.name, reason: "test")
    Thread.sleep(forTimeInterval: 0.05)
    let revoked = GarbageOptions(grace: .zero, now: Date())
    Thread.sleep(forTimeInterval: 0.05)
    _ = try lake.catalog.unpin(version.name)
    try lake.catalog.collect(lake.catalog.garbage(revoked), revoked)
    #expect(Disk.size(of: name) != nil)
    let unpinned = GarbageOptions(grace: .zero, now: Date().addingTimeInterval(60))
    try lake.catalog.collect(lake.catalog.garbage(unpinned), unpinned)
    #expect(Disk.size(of: name) == nil)
    #expect(try lake.catalog.pin(version.name, reason: "paper"))
    let size = Disk.size(of: try output(lake, version))
    #expect(size != nil && Disk.size(of: name) == size)
  }

  /// The file that says that a version was revoked.
  private func mark(_ lake: TemporaryLake, _ version: IndexVersion) -> String {
    lake.catalog.layout.versionDirectory(version.name) + "/\(version.name.name).revoked"
  }

  /// Who withdraws something is not kept from it by a directory that takes no file, nor are others' files.
  @Test func whatCannotBeMarkedIsRevokedAllTheSame() throws {
    let (lake, fixture, images, version) = try sealedLake()
    let first = try fixture.build("copy", lake.catalog.trainedIndex(named: "clip"), images)
    let blocked = mark(lake, first) + ".tmp"
    try Disk.makeDirectory(blocked)
    var told: [TarnError] = []
    let isNew = try lake.catalog.revoke(first.name, reason: "test", unwritten: { told.append($0) })
    #expect(isNew && told.map(\.code) == [.io] && Disk.size(of: mark(lake, first)) == nil)
    #expect(try lake.catalog.version(first.name).state == .revoked)
    #expect(try lake.catalog.revoke(version.name, reason: "test"))
    try Disk.remove(mark(lake, version))
    let options = GarbageOptions(grace: .zero)
    told = []
    try lake.catalog.collect(lake.catalog.garbage(options), options, unwritten: { told.append($0) })
    #expect(told.map(\.code) == [.io] && Disk.size(of: mark(lake, version)) != nil)
    try Disk.removeEmptyDirectory(blocked)
    try lake.catalog.collect(lake.catalog.garbage(options), options)
    #expect(Disk.size(of: mark(lake, first)) != nil)
  }

  @Test func whatIsNotRevokedIsNotMarked() throws {
    let (lake, _, _, version) = try sealedLake()
    let refusal = "CREATE TRIGGER refusal BEFORE UPDATE ON index_version BEGIN SELECT RAISE(ABORT, 'no'); END"
    try Tampering.run(lake.root + "/catalog.sqlite", [refusal])
    #expect(throws: TarnError.self) { try lake.catalog.revoke(version.name, reason: "test") }
    #expect(Disk.size(of: mark(lake, version)) == nil)
  }

  @Test func aSharedOutputStays() throws {
    let (lake, fixture, images, version) = try sealedLake()
    let other = try fixture.build("copy", lake.catalog.trainedIndex(named: "clip"), images)
    #expect(try output(lake, version) == output(lake, other))
    _ = try lake.catalog.revoke(version.name, reason: "test")
    #expect(try lake.catalog.garbage(GarbageOptions(grace: .zero)).due.isEmpty)
    _ = try lake.catalog.revoke(other.name, reason: "test")
    #expect(try lake.catalog.garbage(GarbageOptions(grace: .zero)).due.count == 1)
  }

  @Test func segmentsGoOnlyWhenAskedAndNotNeeded() throws {
    let (lake, fixture, images, version) = try sealedLake()
    let clip = try lake.catalog.trainedIndex(named: "clip")
    #expect(try lake.catalog.garbage(GarbageOptions(grace: .zero)).due.isEmpty)
    // A grace of zero, measured a minute from now.
    let options = GarbageOptions(grace: .zero, includesSegments: true, now: Date().addingTimeInterval(60))
    #expect(try lake.catalog.garbage(options).due.count == 2)
    // A version under way on the same shards waits for them.
    let building = try fixture.plan("more", clip, images, perOutput: 1)
    #expect(try lake.catalog.garbage(options).due.isEmpty)
    try fixture.merge(building, output: 0)
    #expect(try lake.catalog.garbage(options).due.count == 1)
    try lake.catalog.collect(lake.catalog.garbage(options), options)
    try fixture.merge(building, output: 1)
    try fixture.seal(building)
    #expect(try lake.catalog.verify().damages.isEmpty)
    #expect(Disk.size(of: try output(lake, version)) != nil)
  }

  @Test func nearestImagesStayWhileSomethingIsInTraining() throws {
    let (lake, fixture, images, _) = try sealedLake()
    let digest = try fixture.write("nearest", as: .nearestImages)
    try lake.catalog.recordNearest(.nearestImages, of: .of("x"), digest: digest, byteCount: 7, pairCount: 4)
    _ = try fixture.planTraining("next", images, seed: 2)
    #expect(try lake.catalog.garbage(GarbageOptions(grace: .zero)).due.isEmpty)
    _ = try fixture.train("next", images, seed: 2)
    let options = GarbageOptions(grace: .zero)
    #expect(try lake.catalog.collect(lake.catalog.garbage(options), options).map(\.kind) == [.nearestImages])
    #expect(try lake.catalog.nearestImages(of: .of("x")) == nil)
  }

  @Test func truthOfALiveVersionIsKept() throws {
    let (lake, fixture, _, version) = try sealedLake()
    let truth = try fixture.evaluate(version)
    let soon = GarbageOptions(grace: .zero, now: Date().addingTimeInterval(60))
    #expect(try lake.catalog.garbage(soon).due.isEmpty)
    _ = try lake.catalog.pin(version.name, reason: "paper")
    _ = try lake.catalog.revoke(version.name, reason: "test")
    #expect(try lake.catalog.garbage(soon).due.isEmpty)
    let before = Timestamp.now()
    _ = try lake.catalog.unpin(version.name)
    let options = GarbageOptions(grace: .zero, now: Date().addingTimeInterval(60))
    let due = try lake.catalog.garbage(options).due
    #expect(Set(due.map(\.kind)) == [.evaluationTruth, .outputShard])
    #expect(due.allSatisfy { $0.unusedSince >= before })
    try lake.catalog.collect(lake.catalog.garbage(options), options)
    #expect(try lake.catalog.artifact(truth) == nil)
    #expect(try lake.catalog.nearestImages(of: .of("queries")) == nil)
  }

  @Test func bytesOfNoPurposeAreGarbage() throws {
    let (lake, fixture, _, _) = try sealedLake()
    // As an interrupted evaluation leaves it, and a training whose row is gone.
    let text = "truth of nothing"
    let truth = try fixture.write(text, as: .evaluationTruth)
    try lake.catalog.recordNearest(
      .evaluationTruth, of: .of("nothing"), digest: truth, byteCount: text.utf8.count, pairCount: 1)
    let trained = try fixture.write("orphan", as: .trainedIndex)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.write {
      try $0.execute(
        sql: "INSERT INTO stored_bytes VALUES (?, 'artifacts', 'trained-index', 6, ?, 'present', ?, NULL, NULL)",
        arguments: [
          trained.hex, LakeLayout.artifactPath(kind: .trainedIndex, digest: trained), Timestamp.now(),
        ])
    }
    let options = GarbageOptions(grace: .zero)
    #expect(Set(try lake.catalog.garbage(options).due.map(\.digest)) == [truth, trained])
    try lake.catalog.collect(lake.catalog.garbage(options), options)
    #expect(try lake.catalog.verify().damages.isEmpty)
    #expect(try lake.catalog.unknownFiles().isEmpty)
  }

  @Test func anAbandonedVersionIsGarbage() throws {
    let (lake, fixture, images, _) = try sealedLake()
    let clip = try lake.catalog.trainedIndex(named: "clip")
    let first = try fixture.plan("half", clip, images, perOutput: 1)
    try fixture.encode(first, output: 0)
    try fixture.merge(first, output: 0)
    try fixture.fetch(1, of: images, "one, revised")
    let second = try fixture.plan("half", clip, images, perOutput: 1)
    #expect(try lake.catalog.version(first.name).state == .abandoned)
    #expect(second.name.number == 2)
    #expect(try lake.catalog.garbage(GarbageOptions(grace: .zero)).due.map(\.kind) == [.outputShard])
  }

  @Test func anOutputOfNoVersionIsGarbage() throws {
    let (lake, fixture, images, _) = try sealedLake()
    let building = try fixture.plan("more", lake.catalog.trainedIndex(named: "clip"), images, perOutput: 1)
    let digest = try fixture.merge(building, output: 0)
    #expect(try lake.catalog.garbage(GarbageOptions(grace: .zero)).due.isEmpty)
    // As the schema allows while a version is building.
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.write { try $0.execute(sql: "DELETE FROM output_shard WHERE sha256 = ?", arguments: [digest.hex]) }
    #expect(try lake.catalog.garbage(GarbageOptions(grace: .zero)).due.map(\.digest) == [digest])
  }

  @Test func anInterruptedRemovalIsFinished() throws {
    let (lake, _, _, version) = try sealedLake()
    _ = try lake.catalog.revoke(version.name, reason: "test")
    let path = try output(lake, version)
    let queue = try CatalogFile.open(lake.root + "/catalog.sqlite")
    try queue.write {
      try $0.execute(
        sql: "UPDATE stored_bytes SET state = 'deleting', deleting_at = ? WHERE kind = 'output-shard'",
        arguments: [Timestamp.now()])
    }
    let options = GarbageOptions(grace: week)
    let plan = try lake.catalog.garbage(options)
    #expect(plan.interrupted.count == 1)
    #expect(Disk.size(of: path) != nil)
    try lake.catalog.collect(plan, options)
    #expect(Disk.size(of: path) == nil)
    #expect(try lake.catalog.garbage(options).interrupted.isEmpty)
  }

  @Test func whatCameIntoUseSinceThePlanStays() throws {
    let (lake, fixture, images, version) = try sealedLake()
    _ = try lake.catalog.revoke(version.name, reason: "test")
    let options = GarbageOptions(grace: .zero)
    let plan = try lake.catalog.garbage(options)
    #expect(plan.due.count == 1)
    try fixture.build("copy", lake.catalog.trainedIndex(named: "clip"), images)
    #expect(try lake.catalog.collect(plan, options).isEmpty)
    #expect(Disk.size(of: try output(lake, version)) != nil)
  }

  @Test func whatWasCollectedCanBeMadeAgain() throws {
    let (lake, fixture, images, version) = try sealedLake()
    _ = try lake.catalog.revoke(version.name, reason: "test")
    let options = GarbageOptions(grace: .zero, includesSegments: true)
    try lake.catalog.collect(lake.catalog.garbage(options), options)
    let again = try fixture.build("copy", lake.catalog.trainedIndex(named: "clip"), images)
    #expect(Disk.size(of: try output(lake, again)) != nil)
    #expect(try lake.catalog.verify().damages.isEmpty)
  }

  @Test func unknownFilesAreListedAndLeftAlone() throws {
    let (lake, _, _, version) = try sealedLake()
    _ = try lake.catalog.revoke(version.name, reason: "test")
    let layout = lake.catalog.layout
    let strange = [
      layout.artifacts + "/outputs/mine.faiss", layout.shards + "/images/notes.txt", layout.shards + "/top",
    ]
    for path in strange { try Disk.writeAtomically([1, 2, 3], to: path) }
    try Disk.writeAtomically([1], to: layout.partPath(source: "images", shard: "1.npy"))
    try Disk.makeDirectory(layout.artifactScratch)
    try Disk.writeAtomically([1], to: layout.artifactScratch + "/segment-1")
    let options = GarbageOptions(grace: .zero, includesSegments: true)
    let plan = try lake.catalog.garbage(options)
    #expect(plan.unknownFiles.map(\.path) == strange)
    #expect(plan.unknownFiles.allSatisfy { $0.byteCount == 3 })
    #expect(plan.leftovers.map(\.path) == [layout.artifactScratch + "/segment-1"])
    try lake.catalog.collect(plan, options)
    #expect(Disk.size(of: layout.artifactScratch + "/segment-1") == nil)
    for path in strange { #expect(Disk.size(of: path) == 3) }
  }
}

extension GarbageTests {
  @Test func workThatMayGoOnIsKept() throws {
    let lake = try TemporaryLake(inMemory: true)
    let fixture = CatalogFixture(lake.catalog)
    let images = try fixture.source("images", count: 1)
    try fixture.fetch(0, of: images, "zero")
    let path = lake.catalog.layout.artifactScratch + "/output-1"
    try Disk.makeDirectory(lake.catalog.layout.artifactScratch)
    try Disk.writeAtomically([1], to: path)
    let now = GarbageOptions(grace: .zero, now: Date().addingTimeInterval(1))
    let planned = try fixture.planTraining("clip", images)
    try lake.catalog.collect(lake.catalog.garbage(now), now)
    #expect(Disk.size(of: path) == 1)
    try lake.catalog.abandonTraining(planned)
    #expect(try lake.catalog.findTrainedIndex(named: "clip") == nil)
    // Young work is kept for the grace period all the same.
    #expect(try lake.catalog.garbage(GarbageOptions()).leftovers.isEmpty)
    try lake.catalog.collect(lake.catalog.garbage(now), now)
    #expect(Disk.size(of: path) == nil)
  }
}

/// Random histories against a set model: a file lives while the model says so.
@Suite struct GarbageModelTests {
  /// What a version is, as simply as it can be said.
  private struct ModelVersion {
    var version: IndexVersion
    var state: VersionState
    var isPinned = false
    /// Digest of each recorded output.
    var outputs: [Int: ContentDigest] = [:]
    /// Digest of the segments of each output.
    var segments: [Int: Set<ContentDigest>] = [:]

    var isLive: Bool { isPinned || [.planned, .building, .sealed].contains(state) }
  }

  private struct Model {
    var versions: [ModelVersion] = []
    /// Every output and segment on disk.
    var outputs: Set<ContentDigest> = []
    var segments: Set<ContentDigest> = []

    var liveOutputs: Set<ContentDigest> {
      versions.filter(\.isLive).reduce(into: []) { $0.formUnion($1.outputs.values) }
    }

    /// Segments that an unfinished output waits for.
    var neededSegments: Set<ContentDigest> {
      versions.filter { $0.state == .building }.reduce(into: []) { result, version in
        for (output, segments) in version.segments where version.outputs[output] == nil { result.formUnion(segments) }
      }
    }
  }

  /// 8 × 25 histories, or 1,000.
  @Test(arguments: 0..<8)
  func noLiveByteIsLostAndNoDeadByteIsKept(group: Int) throws {
    for seed in 0..<TestRounds.count(25, full: 125) { try history(seed: UInt64(group * 125 + seed)) }
  }

  private func history(seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    // A memory file system, where there is one, spares a thousand lakes' fsyncs.
    let parent = FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    let root = "\(parent)/tarn-test-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: root) }
    let catalog = try LakeCatalog.create(root: root, shards: "shards", artifacts: "artifacts")
    let fixture = CatalogFixture(catalog)
    let images = try fixture.source("images", count: 3)
    for ordinal in 0..<3 { try fixture.fetch(ordinal, of: images, "\(ordinal)") }
    let trained = try [fixture.train("a", images, seed: 1), fixture.train("b", images, seed: 2)]
    var model = Model()
    for _ in 0..<12 {
      switch Int.random(in: 0..<9, using: &random) {
      case 0, 1: try plan(fixture, images, trained, &model, &random)
      case 2, 3, 4: try advance(fixture, &model, &random)
      case 5: try fixture.fetch(Int.random(in: 0..<3, using: &random), of: images, "revised \(random.next() % 3)")
      case 6: try togglePin(catalog, &model, &random)
      case 7: try revoke(catalog, &model, &random)
      default: try collect(catalog, &model, &random, seed)
      }
    }
    try collect(catalog, &model, &random, seed)
    #expect(try catalog.verify().damages.isEmpty, "seed \(seed)")
    #expect(try catalog.wrongTotals().isEmpty, "seed \(seed)")
  }

  private func plan(
    _ fixture: CatalogFixture, _ images: Source, _ trained: [TrainedIndexRecord], _ model: inout Model,
    _ random: inout SplitMix64
  ) throws {
    let version = try fixture.plan(
      Bool.random(using: &random) ? "x" : "y", trained[Int.random(in: 0..<2, using: &random)], images,
      perOutput: Int.random(in: 1...2, using: &random))
    let catalog = fixture.catalog
    for index in model.versions.indices {
      model.versions[index].state = try catalog.version(model.versions[index].version.name).state
    }
    guard !model.versions.contains(where: { $0.version.id == version.id }) else { return }
    var entry = ModelVersion(version: version, state: .building)
    for input in try catalog.inputs(of: version) {
      entry.segments[input.outputOrdinal, default: []].insert(.of(fixture.segmentText(version, input)))
    }
    model.versions.append(entry)
  }

  /// Makes the next output of a version, or seals it.
  private func advance(_ fixture: CatalogFixture, _ model: inout Model, _ random: inout SplitMix64) throws {
    guard
      let index = model.versions.indices.filter({ model.versions[$0].state == .building }).randomElement(using: &random)
    else { return }
    let version = model.versions[index].version
    guard
      let output = model.versions[index].segments.keys.sorted().first(where: {
        model.versions[index].outputs[$0] == nil
      })
    else {
      try fixture.seal(version)
      model.versions[index].state = .sealed
      return
    }
    try fixture.encode(version, output: output)
    model.segments.formUnion(model.versions[index].segments[output] ?? [])
    guard Int.random(in: 0..<3, using: &random) > 0 else { return }
    let digest = try fixture.merge(version, output: output)
    model.versions[index].outputs[output] = digest
    model.outputs.insert(digest)
  }

  private func togglePin(_ catalog: LakeCatalog, _ model: inout Model, _ random: inout SplitMix64) throws {
    let pinnable = model.versions.indices.filter {
      let version = model.versions[$0]
      return [.sealed, .revoked].contains(version.state) && model.outputs.isSuperset(of: version.outputs.values)
    }
    guard let index = pinnable.randomElement(using: &random) else { return }
    let name = model.versions[index].version.name
    if model.versions[index].isPinned {
      #expect(try catalog.unpin(name))
    } else {
      #expect(try catalog.pin(name, reason: "model"))
    }
    model.versions[index].isPinned.toggle()
  }

  private func revoke(_ catalog: LakeCatalog, _ model: inout Model, _ random: inout SplitMix64) throws {
    let sealed = model.versions.indices.filter { model.versions[$0].state == .sealed }
    guard let index = sealed.randomElement(using: &random) else { return }
    #expect(try catalog.revoke(model.versions[index].version.name, reason: "model"))
    model.versions[index].state = .revoked
  }

  private func collect(
    _ catalog: LakeCatalog, _ model: inout Model, _ random: inout SplitMix64, _ seed: UInt64
  ) throws {
    let isLate = Bool.random(using: &random)
    let takesSegments = Bool.random(using: &random)
    let options = GarbageOptions(
      grace: .seconds(7 * 86400), includesSegments: takesSegments,
      now: Date().addingTimeInterval(isLate ? 8 * 86400 : 86400))
    try catalog.collect(catalog.garbage(options), options)
    if isLate {
      model.outputs.formIntersection(model.liveOutputs)
      if takesSegments { model.segments.formIntersection(model.neededSegments) }
    }
    let files = try FileManager.default.subpathsOfDirectory(atPath: catalog.layout.artifacts)
    func onDisk(_ kind: StoredKind) -> Set<String> {
      Set(files.filter { $0.hasPrefix(kind.directory + "/") && $0.hasSuffix("." + kind.fileExtension) })
    }
    #expect(
      onDisk(.outputShard)
        == Set(model.outputs.map { LakeLayout.artifactPath(kind: .outputShard, digest: $0) }), "seed \(seed)")
    #expect(
      onDisk(.segment) == Set(model.segments.map { LakeLayout.artifactPath(kind: .segment, digest: $0) }),
      "seed \(seed)")
    #expect(onDisk(.trainedIndex).count == 2, "seed \(seed)")
    #expect(try catalog.unknownFiles().isEmpty, "seed \(seed)")
  }
}
