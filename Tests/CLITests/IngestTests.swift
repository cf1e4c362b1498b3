// Receipts and results that are taken in, or refused by name: then nothing of them is
// recorded, and the lake is bound to nothing that they said.

import Base
import Catalog
import Foundation
import Lake
import Logging
import Synchronization
import Testing
import TestSupport

extension [String: JSONValue] {
  /// Changes members of an object that is a member.
  fileprivate mutating func change(_ name: String, _ change: (inout [String: JSONValue]) -> Void) {
    guard case .object(var members)? = self[name] else { return }
    change(&members)
    self[name] = .object(members)
  }

  /// Changes members of the first of a member's objects.
  fileprivate mutating func changeFirst(_ name: String, _ change: (inout [String: JSONValue]) -> Void) {
    guard case .array(var values)? = self[name], case .object(var members)? = values.first else { return }
    change(&members)
    values[0] = .object(members)
    self[name] = .array(values)
  }
}

@Suite(.tags(.slow)) struct IngestTests {
  /// Task 0 has what is refused, task 1 what is right.
  private func expectRefused(
    _ planned: PlannedLake, _ words: String, refusals: Int = 1, location: SourceLocation = #_sourceLocation
  ) throws {
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(20), "\(errors)", sourceLocation: location)
    let refused = answer["refused"]?.elements ?? []
    #expect(refused.count == refusals, "\(answer.text)", sourceLocation: location)
    for refusal in refused {
      #expect(refusal["task"]?.integer == 0, sourceLocation: location)
      #expect(refusal["reason"]?.string?.contains(words) ?? false, "\(refusal.text)", sourceLocation: location)
      // Out of the way, and kept.
      let file = try #require(refusal["file"]?.string)
      #expect(Disk.size(of: "\(planned.tasks.receipts)/\(file)") == nil, sourceLocation: location)
    }
    #expect(answer["open"]?.elements.first?["task"]?.integer == 0, sourceLocation: location)
    #expect(answer["recorded"]?.elements == [.integer(1)], "\(answer.text)", sourceLocation: location)
    let standing = try planned.standing()
    #expect(standing.outputs == ["1"] && standing.bound == ["1"], "\(standing)", sourceLocation: location)
    // The task runs again, and all is well.
    try planned.work(0)
    let again = try planned.ingest()
    #expect(again.ending == .exit(0), "\(again.errors)", sourceLocation: location)
    #expect(try planned.sealedDigest() == PlannedLake.digest(), sourceLocation: location)
    let verify = try planned.lake.run(["verify", "--quiet"])
    #expect(verify.ending == .exit(0), "\(verify.outputText)", sourceLocation: location)
  }

  @Test func whatIsRightGivesTheVersionOfALocalBuild() throws {
    let planned = try PlannedLake.make()
    // What a worker left that was killed.
    for ending in ["part", "part.tmp", "part.whole", "part.whole.tmp"] {
      try Data([0]).write(to: URL(fileURLWithPath: "\(planned.tasks.results)/0000.host.7.abc.\(ending)"))
    }
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(0), "\(errors)")
    #expect(answer["sha256"]?.string == (try PlannedLake.digest()))
    // Of the host's first result always, of its second now and then.
    let rechecked = answer["rechecked"]?.elements ?? []
    #expect((1...2).contains(rechecked.count) && rechecked.allSatisfy { $0["lack"] == .null }, "\(answer.text)")
    // Nothing but the rechecked shard was encoded, and nothing of that is kept.
    #expect(try planned.lake.texts("SELECT 'x' FROM segment").isEmpty)
    #expect(try planned.lake.texts("SELECT DISTINCT trust FROM v_shard WHERE source = 'unseen'") == ["worker"])
    #expect(try planned.lake.texts("SELECT DISTINCT state FROM v_shard WHERE source = 'unseen'") == ["evicted"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: planned.tasks.results).isEmpty)
    for verb in [["verify", "--quiet"], ["doctor", "--quiet"], ["show", "v@1"], ["export", "v@1"]] {
      let result = try planned.lake.run(verb)
      #expect(result.ending == .exit(0), "\(verb): \(result.outputText)")
    }
    // Again: it is sealed.
    let again = try planned.ingest()
    #expect(again.ending == .exit(0) && again.answer["recorded"]?.elements == [])
    let into = planned.lake.directory.path + "/again"
    let reproduced = try planned.lake.run(["reproduce", "v@1", "--into", into, "--fetch"])
    #expect(reproduced.ending == .exit(0), "\(reproduced.errorText)")
  }

  @Test func aReceiptThatIsCut() throws {
    let planned = try PlannedLake.make()
    let path = try planned.receiptPath(0)
    try Data(try Disk.contents(of: path).dropLast(9)).write(to: URL(fileURLWithPath: path))
    try expectRefused(planned, "is cut or changed")
  }

  @Test func aReceiptOfAnotherPlan() throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0) { $0["task_sha256"] = .string(ContentDigest.of("another").hex) }
    try expectRefused(planned, "another task")
  }

  @Test func aReceiptOfAnotherTaskOfThePlan() throws {
    let planned = try PlannedLake.make()
    let (own, other) = (try planned.receiptPath(0), try planned.receiptPath(1))
    let bytes = try Disk.contents(of: other)
    try FileManager.default.removeItem(atPath: own)
    try Disk.writeAtomically(bytes, to: planned.tasks.receiptPath(0, .of(bytes)))
    try expectRefused(planned, "another task")
  }

  @Test func aReceiptOfAnotherFormat() throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0) { $0["format"] = .string("tarn-receipt-2") }
    try expectRefused(planned, "tarn-receipt-2")
  }

  @Test func aReceiptOfAnotherFormatOfSegments() throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0) { $0["segment_format"] = .integer(99) }
    try expectRefused(planned, "segment format 99")
  }

  @Test func aReceiptOfAnotherToolCounts() throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0) { $0["tool"] = .string("tarn 99.0.0") }
    #expect(try planned.ingest().ending == .exit(0))
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }

  @Test func aReceiptWithAWrongDigestOfItsResult() throws {
    let planned = try PlannedLake.make()
    let result = try planned.resultPath(0)
    let lie = ContentDigest.of("a lie")
    try planned.rewrite(0) { $0.change("result") { $0["sha256"] = .string(lie.hex) } }
    try FileManager.default.moveItem(atPath: result, toPath: planned.tasks.resultPath(0, lie))
    try expectRefused(planned, "has SHA-256")
  }

  @Test(arguments: [200, -1]) func aResultThatWasChanged(offset: Int) throws {
    let planned = try PlannedLake.make()
    let path = try planned.resultPath(0)
    var bytes = try Disk.contents(of: path)
    bytes[offset < 0 ? bytes.count + offset : offset] ^= 1
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(20) && answer["refused"]?.elements.count == 1, "\(errors)")
    #expect(try planned.standing().outputs == ["1"])
    #expect(try planned.standing().bound == ["1"])
  }

  @Test func aResultThatIsMissing() throws {
    let planned = try PlannedLake.make()
    try FileManager.default.removeItem(atPath: planned.resultPath(0))
    try expectRefused(planned, "is not there")
  }

  @Test func aResultThatIsCut() throws {
    let planned = try PlannedLake.make()
    let path = try planned.resultPath(0)
    try Data(try Disk.contents(of: path).dropLast(1)).write(to: URL(fileURLWithPath: path))
    try expectRefused(planned, "it says")
  }

  @Test func aResultThatIsALinkIsCopied() throws {
    let planned = try PlannedLake.make()
    let path = try planned.resultPath(0)
    let elsewhere = planned.lake.directory.path + "/elsewhere.faiss"
    try FileManager.default.moveItem(atPath: path, toPath: elsewhere)
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: elsewhere)
    #expect(try planned.ingest().ending == .exit(0))
    // What the lake has is its own.
    try Data("gone".utf8).write(to: URL(fileURLWithPath: elsewhere))
    let verify = try planned.lake.run(["verify", "--quiet"])
    #expect(verify.ending == .exit(0), "\(verify.outputText)")
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }

  @Test func aResultOfAnotherTask() throws {
    // Ids of the other output, which are out of this one's range.
    let planned = try PlannedLake.make()
    let other = try JSONValue(reading: Disk.contents(of: planned.receiptPath(1)))
    let bytes = try Disk.contents(of: planned.resultPath(1))
    try planned.rewrite(0) { $0["result"] = other["result"] }
    try Data(bytes).write(to: URL(fileURLWithPath: planned.tasks.resultPath(0, .of(bytes))))
    try expectRefused(planned, "id")
  }

  @Test func aResultOfAnotherTrainedIndex() throws {
    let planned = try PlannedLake.make()
    // Another trained index under the name of the one that was planned with.
    let name = try #require(try FileManager.default.contentsOfDirectory(atPath: planned.tasks.trained).first)
    let other = try PlannedLake.make(done: false)
    try other.lake.succeed([
      "train", "u", "--images", "images", "--captions", "captions", "--nlist", "2", "--iterations", "1", "--quiet",
    ])
    try other.lake.succeed([
      "build", "w", "--trained", "u", "--images", "images", "--shards-per-output", "1", "--quiet",
    ])
    let file = other.lake.lake + "/versions/w@1/w.000.faiss"
    let (bytes, digest) = (try Disk.contents(of: file), try Disk.digest(of: file))
    #expect(!name.hasPrefix(digest.hex))
    try planned.rewrite(0) {
      $0.change("result") {
        $0["sha256"] = .string(digest.hex)
        $0["bytes"] = .count(bytes.count)
      }
    }
    try Data(bytes).write(to: URL(fileURLWithPath: planned.tasks.resultPath(0, digest)))
    try expectRefused(planned, "another trained index")
  }

  @Test(arguments: [0, -1, 1 << 49, Int.max]) func sizesThatCannotBe(size: Int) throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0) { $0.change("result") { $0["bytes"] = .count(size) } }
    try expectRefused(planned, "'bytes'")
  }

  @Test func aSizeThatIsALie() throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0) { $0.change("result") { $0["bytes"] = .count(1 << 47) } }
    try expectRefused(planned, "it says")
  }

  @Test func rowsOrListsThatAreALie() throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0) {
      $0.change("result") { $0["lists_sha256"] = .string(ContentDigest.of("other lists").hex) }
    }
    try expectRefused(planned, "other rows or lists")
  }

  @Test func aReceiptThatIsNoFile() throws {
    let planned = try PlannedLake.make()
    let path = try planned.receiptPath(0)
    try FileManager.default.removeItem(atPath: path)
    mkfifo(path, 0o666)
    try expectRefused(planned, "not a regular file")
  }

  @Test func aReceiptTwiceIsOneCommit() throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0, keeping: true) { $0["host"] = .string("another") }
    #expect(try planned.tasks.receiptNames()[0]?.count == 2)
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(0) && answer["recorded"]?.elements == [.integer(0), .integer(1)], "\(errors)")
    #expect(try planned.lake.texts("SELECT 'x' FROM event WHERE verb = 'output'").count == 2)
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }

  @Test func receiptsThatDifferAreBothRefused() throws {
    let planned = try PlannedLake.make()
    try planned.rewrite(0, keeping: true) { $0.change("result") { $0["sha256"] = .string(ContentDigest.of("x").hex) } }
    try expectRefused(planned, "different results of one task", refusals: 2)
  }

  @Test func aReceiptAgainstWhatIsRecordedIsRefused() throws {
    let planned = try PlannedLake.make()
    let right = try planned.receiptPath(1)
    let bytes = try Disk.contents(of: right)
    try FileManager.default.removeItem(atPath: right)
    #expect(try planned.ingest().ending == .exit(3))
    try planned.rewrite(0, keeping: true) { $0.change("result") { $0["sha256"] = .string(ContentDigest.of("x").hex) } }
    let (ending, answer, _) = try planned.ingest()
    #expect(ending == .exit(20) && answer["refused"]?.elements.first?["task"]?.integer == 0)
    try Data(bytes).write(to: URL(fileURLWithPath: right))
    #expect(try planned.ingest().ending == .exit(0))
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }

  // MARK: Rechecks

  /// Rows of other bytes, said to be of the right ones: only to encode them again tells.
  private func lyingLake() throws -> PlannedLake {
    let planned = try PlannedLake.make(done: false)
    let right = try PlannedLake.make()
    let truth = try JSONValue(reading: Disk.contents(of: right.receiptPath(0)))
    guard case .output(let task) = try planned.tasks.task(0, of: planned.tasks.plan()) else {
      throw TarnError(.integrity, "a build has another kind of task")
    }
    // The task with another file for its input, carried out in a directory of its own.
    let bytes = FeatureBytes.npy(FeatureSources.rowCount, dimension: FeatureSources.dimension, seed: 77)
    let other = planned.lake.directory.path + "/other.npy"
    try Data(bytes).write(to: URL(fileURLWithPath: other))
    let input = try #require(task.inputs.first)
    let changed = TaskDocument(
      version: task.version, spec: task.spec, output: task.output, trained: task.trained, dimension: task.dimension,
      elementType: task.elementType, badRows: task.badRows, missing: task.missing, normalisation: task.normalisation,
      segmentFormat: task.segmentFormat,
      inputs: [
        TaskDocument.Input(
          ordinal: input.ordinal, shard: input.shard, firstID: input.firstID, rowCount: input.rowCount, isHole: false,
          byteCount: bytes.count, digest: .of(bytes), path: other, places: [])
      ])
    let forged = TaskDirectory(planned.lake.directory.path + "/forged")
    try forged.make()
    try FileManager.default.removeItem(atPath: forged.trained)
    try FileManager.default.copyItem(atPath: planned.tasks.trained, toPath: forged.trained)
    try Disk.writeAtomically(Array(changed.text.utf8), to: forged.taskPath(0, changed.digest))
    let plan = TaskPlan(.build, lake: "x", subject: "v@1", spec: task.spec, tool: "x", tasks: [changed.digest])
    try Disk.writeAtomically(Array(plan.text.utf8), to: forged.planPath)
    try planned.lake.succeed(["worker", forged.path, "--task", "0", "--scratch", planned.lake.directory.path])
    let name = try #require(try forged.receiptNames()[0]?.first)
    guard case .object(var members) = try JSONValue(reading: Disk.contents(of: "\(forged.receipts)/\(name)")) else {
      throw TarnError(.integrity, "no object")
    }
    members["task_sha256"] = truth["task_sha256"]
    members["inputs"] = truth["inputs"]
    let text = JSONValue.object(members).text
    try Disk.writeAtomically(Array(text.utf8), to: planned.tasks.receiptPath(0, .of(text)))
    let result = try #require(try forged.resultNames()[0]?.first)
    try FileManager.default.moveItem(
      atPath: "\(forged.results)/\(result)", toPath: "\(planned.tasks.results)/\(result)")
    try planned.work(1)
    return planned
  }

  @Test func wrongCodesAreFoundByTheRecheck() throws {
    try expectRefused(try lyingLake(), "encoded again, has other codes")
  }

  /// Secrets that decide so of a host's second result.
  private static func secrets(secondIsDue isDue: Bool) throws -> [ContentDigest] {
    let drawn = (0..<64).map { ContentDigest.of("secret \($0)") }
    let second = try #require(drawn.first { OutputRecheck(secret: $0, number: 2).isDue == isDue })
    return [.of("the first"), second]
  }

  @Test(arguments: [false, true])
  func whatIsRecheckedIsDecidedByASecretOfTheIngest(secondIsDue: Bool) throws {
    // The same receipts; a worker knows all that is in them.
    let planned = try PlannedLake.make()
    let secrets = try Self.secrets(secondIsDue: secondIsDue)
    let left = Mutex(secrets)
    let catalog = try LakeCatalog.open(root: planned.lake.lake, writing: "test")
    let summary = try TaskIngest(
      catalog, planned.tasks, logger: Logger(label: "test"), cancellation: Cancellation(),
      drawing: { left.withLock { $0.removeFirst() } }, report: { _ in }
    ).run()
    #expect(summary.rechecks.map(\.shard) == (secondIsDue ? ["img_0.npy", "img_1.npy"] : ["img_0.npy"]))
    #expect(summary.isSealed)
    // Whoever doubts it can draw the lots again.
    let told = try planned.lake.texts(
      """
      SELECT json_extract(detail, '$.recheck.secret') || ' ' || json_extract(detail, '$.recheck.number') || ' '
        || json_extract(detail, '$.recheck.shards') FROM event WHERE verb = 'output' AND subject = 'v@1' ORDER BY seq
      """)
    #expect(
      told == [
        "\(secrets[0].hex) 1 [\"img_0.npy\"]", "\(secrets[1].hex) 2 \(secondIsDue ? "[\"img_1.npy\"]" : "[]")",
      ])
  }

  @Test func whoLiedIsLookedAtFromThenOn() throws {
    let planned = try lyingLake()
    let (lie, aside) = (try planned.receiptPath(0), planned.lake.directory.path + "/lie.json")
    try FileManager.default.moveItem(atPath: lie, toPath: aside)
    let (due, passedOver) = (try Self.secrets(secondIsDue: true), try Self.secrets(secondIsDue: false))
    let left = Mutex([due[0], due[1], passedOver[1]])
    let catalog = try LakeCatalog.open(root: planned.lake.lake, writing: "test")
    let ingest = TaskIngest(
      catalog, planned.tasks, logger: Logger(label: "test"), cancellation: Cancellation(),
      drawing: { left.withLock { $0.removeFirst() } }, report: { _ in })
    #expect(try ingest.run().rechecks.map(\.shard) == ["img_1.npy"])
    try FileManager.default.moveItem(atPath: aside, toPath: lie)
    #expect(try ingest.run().refused.map(\.task) == [0])
    try planned.work(0)
    #expect(try ingest.run().rechecks.map(\.shard) == ["img_0.npy"])
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }

  @Test func everyShardAndEveryResultMayBeTheOneThatIsRechecked() {
    let shards = (0..<4).map { ContentDigest.of("shard \($0)") }
    var first: Set<ContentDigest> = []
    var due: [Int: Int] = [:]
    for number in 0..<400 {
      let secret = ContentDigest.of("secret \(number)")
      let ranked = shards.min { left, right in
        let recheck = OutputRecheck(secret: secret, number: 1)
        return recheck.rank(of: left) < recheck.rank(of: right)
      }
      if let ranked { first.insert(ranked) }
      for place in [1, 2, 5] where OutputRecheck(secret: secret, number: place).isDue { due[place, default: 0] += 1 }
    }
    #expect(first == Set(shards))
    #expect(due[1] == 400)
    #expect((150...250).contains(due[2] ?? 0) && (50...110).contains(due[5] ?? 0), "\(due)")
  }

  @Test func withoutARecheckTheyPass() throws {
    // What the design says of them, and no more.
    let planned = try lyingLake()
    #expect(try planned.ingest(["--recheck", "0"]).ending == .exit(0))
    #expect(try planned.sealedDigest() != PlannedLake.digest())
  }

  @Test func aLakeWithoutShardsSaysThatNothingWasRechecked() throws {
    let planned = try PlannedLake.make()
    try planned.lake.succeed(["evict", "images"])
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(0), "\(errors)")
    #expect(answer["rechecked"]?.elements.compactMap { $0["lack"]?.string }.count == 1, "\(answer.text)")
  }

  @Test func aDamagedShardOfTheLakeIsNotTheWorkersFault() throws {
    let planned = try PlannedLake.make()
    for name in try FileManager.default.subpathsOfDirectory(atPath: planned.lake.lake + "/shards")
    where name.contains("img_") {
      let path = planned.lake.lake + "/shards/" + name
      var bytes = try Disk.contents(of: path)
      bytes[bytes.count - 1] ^= 1
      try Data(bytes).write(to: URL(fileURLWithPath: path))
    }
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(0), "\(errors)")
    #expect(answer["rechecked"]?.elements.allSatisfy { $0["lack"]?.string != nil } ?? false, "\(answer.text)")
  }

  // MARK: Plans

  /// The ingest is refused, and the lake is as it was.
  private func expectUntouched(_ planned: PlannedLake, _ status: Int32, _ words: String) throws {
    let before = try planned.lake.contents()
    let (ending, _, errors) = try planned.ingest()
    #expect(ending == .exit(status) && errors.contains(words), "\(errors)")
    #expect(try planned.lake.contents() == before)
  }

  /// Writes a plan that says something else.
  private func rewritePlan(_ planned: PlannedLake, _ change: (inout [String: JSONValue]) -> Void) throws {
    guard case .object(var members) = try JSONValue(reading: Disk.contents(of: planned.tasks.planPath)) else { return }
    change(&members)
    try Disk.writeAtomically(Array(JSONValue.object(members).text.utf8), to: planned.tasks.planPath)
  }

  @Test func aPlanOfAnotherLake() throws {
    let planned = try PlannedLake.make()
    try rewritePlan(planned) { $0["lake"] = .string("00000000-0000-4000-8000-000000000000") }
    try expectUntouched(planned, 64, "another lake")
  }

  @Test func aPlanOfAVersionThatIsNone() throws {
    let planned = try PlannedLake.make()
    try rewritePlan(planned) { $0["subject"] = .string("none@1") }
    try expectUntouched(planned, 64, "none@1")
  }

  @Test func aPlanWithoutSomeTasksSealsNothing() throws {
    for kept in 0..<2 {
      let planned = try PlannedLake.make()
      try rewritePlan(planned) { $0["tasks"] = .array(Array(($0["tasks"]?.elements ?? []).prefix(kept))) }
      let (ending, _, errors) = try planned.ingest()
      #expect(ending == .exit(64) && errors.contains("has no task for"), "\(errors)")
      #expect(try planned.sealedDigest().count < 64)
      #expect(Disk.size(of: planned.lake.lake + "/versions/v@1/v.lock.json") == nil)
      // The true plan goes on.
      let right = try PlannedLake.make()
      try FileManager.default.removeItem(atPath: planned.tasks.path)
      try FileManager.default.copyItem(atPath: right.tasks.path, toPath: planned.tasks.path)
      #expect(try planned.ingest().ending == .exit(0))
      #expect(try planned.sealedDigest() == PlannedLake.digest())
    }
  }

  @Test func aTaskTwice() throws {
    let planned = try PlannedLake.make()
    let task = try #require(try planned.tasks.plan().tasks.first)
    try rewritePlan(planned) { $0["tasks"] = .array([.string(task.hex), .string(task.hex)]) }
    try FileManager.default.copyItem(
      atPath: planned.tasks.taskPath(0, task), toPath: planned.tasks.taskPath(1, task))
    try expectUntouched(planned, 20, "not an array of different SHA-256s")
  }

  /// Who can write a receipt can write a task that it fits.
  @Test(arguments: ["version", "spec_sha256", "missing", "bad_rows", "trained_sha256", "first_id", "shard", "hole"])
  func aTaskThatIsNotTheVersions(member: String) throws {
    let planned = try PlannedLake.make()
    let plan = try planned.tasks.plan()
    let path = planned.tasks.taskPath(0, plan.tasks[0])
    guard case .object(var members) = try JSONValue(reading: Disk.contents(of: path)) else { return }
    switch member {
    case "version": members[member] = .string("w@1")
    case "missing", "bad_rows": members[member] = .string("skip")
    case "first_id": members.changeFirst("inputs") { $0[member] = .integer(5) }
    case "shard": members.changeFirst("inputs") { $0[member] = .string("other.npy") }
    case "hole": members.changeFirst("inputs") { $0[member] = .bool(true) }
    default: members[member] = .string(ContentDigest.of("other").hex)
    }
    let text = JSONValue.object(members).text
    try Disk.writeAtomically(Array(text.utf8), to: planned.tasks.taskPath(0, .of(text)))
    try rewritePlan(planned) {
      $0["tasks"] = .array([.string(ContentDigest.of(text).hex), .string(plan.tasks[1].hex)])
    }
    try planned.rewrite(0) { $0["task_sha256"] = .string(ContentDigest.of(text).hex) }
    try expectUntouched(planned, 64, "task 0 of")
  }

  @Test func aTaskThatIsDamaged() throws {
    let planned = try PlannedLake.make()
    let plan = try planned.tasks.plan()
    try Data("{}".utf8).write(to: URL(fileURLWithPath: planned.tasks.taskPath(0, plan.tasks[0])))
    try expectUntouched(planned, 20, "is not the task")
  }

  @Test func aVersionThatWasAbandoned() throws {
    let planned = try PlannedLake.make()
    try planned.lake.succeed(["abandon", "v@1"])
    try expectUntouched(planned, 64, "abandoned")
  }

  @Test func aVersionThatWasBuiltMeanwhile() throws {
    let planned = try PlannedLake.make()
    try planned.lake.succeed(["build"] + PlannedLake.arguments)
    let before = try planned.lake.contents(lasting: true)
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(0) && answer["recorded"]?.elements == [], "\(errors)")
    #expect(try planned.lake.contents(lasting: true) == before)
  }

  @Test func aBuildGoesOnWhereAnIngestEnded() throws {
    let planned = try PlannedLake.make()
    try FileManager.default.removeItem(atPath: planned.receiptPath(0))
    #expect(try planned.ingest().ending == .exit(3))
    try planned.lake.succeed(["build"] + PlannedLake.arguments)
    #expect(try planned.sealedDigest() == PlannedLake.digest())
  }

  @Test func planningAgainKeepsThePlan() throws {
    let planned = try PlannedLake.make()
    let before = try Disk.contents(of: planned.tasks.planPath)
    try planned.lake.succeed(["plan", "build"] + PlannedLake.arguments + ["--tasks", planned.tasks.path])
    #expect(try Disk.contents(of: planned.tasks.planPath) == before)
    let other = try planned.lake.run(
      ["plan", "build", "w"] + PlannedLake.arguments.dropFirst() + ["--tasks", planned.tasks.path])
    #expect(other.ending == .exit(64) && other.errorText.contains("a directory of its own"), "\(other.errorText)")
  }

  @Test func otherBytesThanTheListSaysAreNotBound() throws {
    // The list of digests came after the plan.
    let planned = try PlannedLake.make()
    try planned.lake.tamper(
      "UPDATE shard SET expected_sha256 = '\(ContentDigest.of("other").hex)' WHERE ordinal = 0 AND source_id = "
        + "(SELECT id FROM source WHERE name = 'unseen')")
    let (ending, answer, errors) = try planned.ingest()
    #expect(ending == .exit(20), "\(errors)")
    #expect(answer["refused"]?.elements.first?["reason"]?.string?.contains("its source's list says") ?? false)
    #expect(try planned.standing().bound == ["1"])
    // What was put in its place for that is gone again.
    #expect(try LakeCatalog.open(root: planned.lake.lake, writing: nil).unknownFiles().isEmpty)
  }
}
