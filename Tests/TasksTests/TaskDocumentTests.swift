// Plans, tasks, receipts and words of failure: what is written is read again, and
// whatever else lies there is refused by name.

import Base
import Foundation
import Tasks
import Testing
import TestSupport

@Suite struct TaskDocumentTests {
  /// A kind of document, and how it is read: its canonical text, or the error.
  struct Kind: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let text: String
    /// Members that must be there, by where they are.
    let required: [String]
    let reread: @Sendable ([UInt8]) throws -> String
  }

  static let kinds: [Kind] = [
    Kind(
      testDescription: "task", text: TaskFixture.task().text,
      required: [
        "format", "kind", "version", "spec_sha256", "output", "trained_sha256", "dimension", "dtype", "bad_rows",
        "missing", "normalisation", "segment_format", "inputs", "inputs[].ordinal", "inputs[].shard",
        "inputs[].first_id", "inputs[].rows", "inputs[].places[].url",
      ], reread: { try TaskDocument(reading: $0, in: "a place").text }),
    Kind(
      testDescription: "receipt", text: TaskFixture.receipt().text,
      required: [
        "format", "task_sha256", "tool", "host", "started_at", "ended_at", "segment_format", "result", "result.sha256",
        "result.bytes", "result.rows", "inputs[].ordinal", "inputs[].sha256", "inputs[].bytes",
        "inputs[].rows", "inputs[].bad_rows",
      ], reread: { try TaskReceipt(reading: $0, in: "a place").text }),
    Kind(
      testDescription: "assignment", text: TaskFixture.assignment.text,
      required: [
        "format", "kind", "training", "step", "vectors", "vectors.sha256", "vectors.rows", "vectors.dtype", "first",
        "count", "vectors_sha256", "rows", "rows.sha256", "rows.rows", "rows.dtype", "dimension", "k",
      ],
      reread: {
        guard case .assign(let task) = try AnyTask(reading: $0, in: "a place") else {
          throw TarnError(.integrity, "a place is another kind")
        }
        return task.text
      }),
    Kind(
      testDescription: "plan",
      text: TaskPlan(
        .build, lake: "lake", subject: "v@1", spec: .sample("s"), tool: "tarn", tasks: [.sample("0"), .sample("1")]
      ).text, required: ["format", "kind", "lake", "subject", "spec_sha256", "tool", "tasks"],
      reread: { bytes in
        let directory = try TemporaryDirectory()
        try Data(bytes).write(to: URL(fileURLWithPath: directory.path + "/plan.json"))
        return try TaskDirectory(directory.path).plan().text
      }),
    Kind(
      testDescription: "failure",
      text: TaskFailure(
        task: .sample("0"), host: "node-1", endedAt: "2026-11-28T10:00:00.000Z", status: 21, message: "no"
      ).text, required: [],
      reread: { bytes in
        let directory = TaskDirectory(try TemporaryDirectory().path)
        try directory.make()
        try Data(bytes).write(to: URL(fileURLWithPath: directory.failurePath(3)))
        defer { try? FileManager.default.removeItem(atPath: directory.path) }
        // Who leaves a wrong word leaves none.
        guard let failure = directory.failure(of: 3) else { throw TarnError(.integrity, "a place: no word") }
        return failure.text
      }),
  ]

  /// Every object of a document by its path, with the value that has other members in its place.
  private static func changes(
    of value: JSONValue, at path: String = "", _ change: ([String: JSONValue], String) -> [[String: JSONValue]]
  ) -> [(path: String, value: JSONValue)] {
    switch value {
    case .object(let members):
      return members.sorted { $0.key < $1.key }.flatMap { name, member in
        let place = path.isEmpty ? name : "\(path).\(name)"
        return change(members, name).map { (place, JSONValue.object($0)) }
          + changes(of: member, at: place, change).map { place, inner in
            var whole = members
            whole[name] = inner
            return (place, .object(whole))
          }
      }
    case .array(let values):
      return values.indices.flatMap { index in
        changes(of: values[index], at: path + "[]", change).map { place, inner in
          var whole = values
          whole[index] = inner
          return (place, .array(whole))
        }
      }
    default: return []
    }
  }

  /// The document is refused, in one line that names the place and the member.
  private func expectRefused(_ kind: Kind, _ value: JSONValue, _ path: String) {
    do {
      let text = try kind.reread(Array(value.text.utf8))
      Issue.record("\(kind): \(path): read as \(text)")
    } catch let error as TarnError {
      let member = path.split(separator: ".").last.map(String.init) ?? path
      #expect([.integrity, .schemaNewer].contains(error.code), "\(path): \(error)")
      #expect(!error.message.contains("\n"))
      guard kind.testDescription != "failure" else { return }
      #expect(error.message.contains("'\(member)'") || error.code == .schemaNewer, "\(path): \(error)")
    } catch {
      Issue.record("\(kind): \(path): \(error)")
    }
  }

  @Test(arguments: kinds) func whatIsWrittenIsRead(kind: Kind) throws {
    #expect(try kind.reread(Array(kind.text.utf8)) == kind.text)
    // In other words it says the same.
    let value = try #require(JSONValue(parsing: kind.text))
    #expect(try kind.reread(Array(value.indentedText.utf8)) == kind.text)
  }

  @Test(arguments: kinds) func everyMemberThatIsMissingIsNamed(kind: Kind) throws {
    let value = try #require(JSONValue(parsing: kind.text))
    var missing: Set<String> = []
    let without = Self.changes(of: value) { members, name in
      var (gone, null) = (members, members)
      gone[name] = nil
      null[name] = .null
      return [gone, null]
    }
    for (path, changed) in without {
      let refused = (try? kind.reread(Array(changed.text.utf8))) == nil
      if refused { missing.insert(path) }
      if kind.required.contains(path) { expectRefused(kind, changed, path) }
    }
    if !kind.required.isEmpty {
      #expect(Set(kind.required).subtracting(missing) == [])
    }
  }

  @Test(arguments: kinds) func everyMemberOfAnotherKindOrSizeIsNamed(kind: Kind) throws {
    let value = try #require(JSONValue(parsing: kind.text))
    let others: [JSONValue] = [
      .bool(true), .integer(-1), .integer(.max), .integer(.min), .string(""), .string("a\nb"),
      .string(String(repeating: "x", count: 1 << 17)), .array([]), .array([.integer(1)]), .array([.null]), .object([:]),
      .object(["a": .null]),
    ]
    var tried = 0
    let changed = Self.changes(of: value) { members, name in
      others.map { other in members.merging([name: other]) { $1 } }
    }
    for (path, document) in changed {
      tried += 1
      do {
        // What passes is a document of its own, and stays what it is.
        let text = try kind.reread(Array(document.text.utf8))
        #expect(try kind.reread(Array(text.utf8)) == text, "\(path)")
      } catch let error as TarnError {
        #expect([.integrity, .schemaNewer].contains(error.code) && !error.message.contains("\n"), "\(path): \(error)")
        #expect(error.message.contains("a place") || error.message.contains("/plan.json"), "\(path): \(error)")
      }
    }
    #expect(tried > 50)
  }

  @Test(arguments: kinds) func noChangeAtAllEndsTheProcess(kind: Kind) throws {
    let value = try #require(JSONValue(parsing: kind.text))
    var random = SplitMix64(seed: 16)
    for _ in 0..<300 {
      let mutation = DocumentMutation(of: value, &random)
      do {
        _ = try kind.reread(Array(mutation.value.text.utf8))
      } catch let error as TarnError {
        #expect([.integrity, .schemaNewer].contains(error.code), "\(mutation.path): \(error)")
      }
    }
    // Bytes that are cut or no JSON.
    let bytes = Array(kind.text.utf8)
    for count in stride(from: 0, to: bytes.count - 2, by: 31) {
      #expect(throws: TarnError.self) { _ = try kind.reread(Array(bytes.prefix(count))) }
    }
  }

  @Test func idsThatDoNotFollowAreRefused() throws {
    func document(_ changes: [(first: Int64, rows: Int)]) -> TaskDocument {
      TaskFixture.task(
        inputs: changes.enumerated().map { ordinal, change in
          TaskDocument.Input(
            ordinal: ordinal, shard: "s\(ordinal).npy", firstID: change.first, rowCount: change.rows, isHole: false,
            byteCount: nil, digest: nil, path: nil, places: [])
        })
    }
    #expect(throws: Never.self) { try TaskDocument(reading: Array(document([(0, 5), (5, 5)]).text.utf8), in: "a") }
    #expect(throws: Never.self) {
      try TaskDocument(reading: Array(document([(7, 5), ((1 << 48) + 2, 5)]).text.utf8), in: "a")
    }
    let wrong: [[(first: Int64, rows: Int)]] = [
      [(0, 5), (4, 5)], [(1 << 62, 1 << 46)], [], [(7, 5), ((1 << 48) + 3, 5)], [(0, 5), (1 << 61, 5)],
    ]
    for wrong in wrong {
      #expect(throws: TarnError.self) { try TaskDocument(reading: Array(document(wrong).text.utf8), in: "a") }
    }
  }

  @Test(arguments: ["../x.npy", ".hidden", "a/b.npy", "", "x.part", "a\u{202E}b"])
  func namesLeaveNoDirectory(name: String) {
    let document = TaskFixture.task(
      inputs: [
        TaskDocument.Input(
          ordinal: 0, shard: name, firstID: 0, rowCount: 1, isHole: false, byteCount: nil, digest: nil, path: nil,
          places: [])
      ])
    #expect(throws: TarnError.self) { try TaskDocument(reading: Array(document.text.utf8), in: "a") }
  }

  // MARK: Receipts against tasks

  @Test func aReceiptFitsItsTaskAlone() {
    let task = TaskFixture.task()
    #expect(TaskFixture.receipt(of: task).objection(to: task) == nil)
    let hole = TaskReceipt.Input(ordinal: 6, seen: nil)
    let left = TaskReceipt.Input(ordinal: 5, seen: nil, reason: "404")
    let fifth = TaskFixture.seen("5", bytes: 300, rows: 10, bad: 0, place: 1)
    func first(_ seen: TaskReceipt.Seen?) -> TaskReceipt.Input { TaskReceipt.Input(ordinal: 4, seen: seen) }
    let cases: [(TaskReceipt, String)] = [
      (TaskFixture.receipt(of: TaskFixture.task(badRows: .fail)), "another task"),
      (TaskFixture.receipt(segmentFormat: 2), "segment format 2"),
      (TaskFixture.receipt([first(TaskFixture.seen()), left]), "inputs are not the task's"),
      (TaskFixture.receipt([left, first(TaskFixture.seen()), hole]), "inputs are not the task's"),
      (TaskFixture.receipt([first(nil), left, hole]), "leaves out img_4.npy"),
      (
        TaskFixture.receipt([first(TaskFixture.seen()), left, .init(ordinal: 6, seen: TaskFixture.seen("6", rows: 7))]),
        "a hole of the task"
      ),
      (TaskFixture.receipt([first(TaskFixture.seen("x")), left, hole]), "the task says"),
      (TaskFixture.receipt([first(TaskFixture.seen(bytes: 449)), left, hole]), "449 bytes"),
      (TaskFixture.receipt([first(TaskFixture.seen(rows: 21)), left, hole]), "21 rows"),
      (TaskFixture.receipt([first(TaskFixture.seen(bad: 21)), left, hole]), "left out 21 rows"),
      (TaskFixture.receipt([first(TaskFixture.seen(place: 1)), left, hole]), "a place that the task does not know"),
      (TaskFixture.receipt(rows: 19), "19 rows, its inputs have 18"),
      (TaskFixture.receipt([first(TaskFixture.seen()), .init(ordinal: 5, seen: fifth), hole], rows: 18), "have 28"),
    ]
    for (receipt, words) in cases {
      let objection = receipt.objection(to: task)
      #expect(objection?.contains(words) ?? false, "\(words): \(objection ?? "nothing")")
    }
    #expect(
      TaskFixture.receipt([first(TaskFixture.seen()), .init(ordinal: 5, seen: fifth), hole], rows: 28)
        .objection(to: task) == nil)
    // What policies forbid.
    let strict = TaskFixture.task(badRows: .fail, missing: .fail)
    #expect(TaskFixture.receipt(of: strict).objection(to: strict)?.contains("left out 2 rows") ?? false)
    let whole = [first(TaskFixture.seen(bad: 0)), left, hole]
    #expect(TaskFixture.receipt(of: strict, whole, rows: 20).objection(to: strict)?.contains("img_5.npy") ?? false)
  }

  // MARK: The directory

  /// Of two who plan there at once one has planned, and the other is told.
  @Test func aPlanReplacesNoOther() throws {
    let scratch = try TemporaryDirectory()
    let directory = TaskDirectory(scratch.path + "/tasks")
    try directory.make()
    func plan(_ subject: String) -> TaskPlan {
      TaskPlan(.build, lake: "l", subject: subject, spec: .sample("s"), tool: "t", tasks: [.sample(subject)])
    }
    try directory.create(plan("v@1"))
    // What is there already is fine.
    try directory.create(plan("v@1"))
    #expect(throws: TarnError.self) { try directory.create(plan("w@1")) }
    #expect(try directory.plan() == plan("v@1"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.tasks).isEmpty)
    try directory.write(plan("v@2"))
    #expect(try directory.plan() == plan("v@2"))
  }

  @Test func aDirectoryTellsWhatIsOpen() throws {
    let scratch = try TemporaryDirectory()
    let directory = TaskDirectory(scratch.path + "/tasks")
    #expect(throws: TarnError.self) { try directory.plan() }
    try directory.make()
    let tasks = [TaskFixture.task(badRows: .fail), TaskFixture.task()]
    let task = tasks[1]
    let plan = TaskPlan(
      .build, lake: "l", subject: "v@1", spec: .sample("s"), tool: "t", tasks: tasks.map(\.digest))
    for (number, task) in tasks.enumerated() {
      try Disk.writeAtomically(Array(task.text.utf8), to: directory.taskPath(number, task.digest))
    }
    try Disk.writeAtomically(Array(plan.text.utf8), to: directory.planPath)
    #expect(try directory.plan() == plan)
    #expect(try directory.openTasks(of: plan).map(\.task) == [0, 1])
    let path = try directory.write(TaskFixture.receipt(of: task), of: 1, by: "somebody")
    #expect(try directory.openTasks(of: plan).map(\.task) == [0])
    // Strangers' files are nobody's receipts.
    for name in ["notes.txt", "x.json", "-1.json", "0001.\(ContentDigest.sample("x").hex).json.tmp"] {
      try Data("{}".utf8).write(to: URL(fileURLWithPath: "\(directory.receipts)/\(name)"))
    }
    #expect(try directory.receiptNames() == [1: [String(path.split(separator: "/").last ?? "")]])
    // Cut, it is none.
    let bytes = try Disk.contents(of: path)
    try Data(bytes.dropLast(1)).write(to: URL(fileURLWithPath: path))
    #expect(try directory.openTasks(of: plan).map(\.task) == [0, 1])
    #expect(throws: TarnError.self) { try directory.task(2, of: plan) }
    #expect(throws: TarnError.self) { try directory.task(-1, of: plan) }
    try Data("{}".utf8).write(to: URL(fileURLWithPath: directory.taskPath(0, tasks[0].digest)))
    #expect(throws: TarnError.self) { try directory.task(0, of: plan) }
  }

  @Test func aPlanHasATaskOnce() throws {
    let once = TaskPlan(
      .train, lake: "l", subject: "t", spec: .sample("s"), tool: "t", tasks: [.sample("0"), .sample("1")])
    #expect(try TaskPlan(reading: Array(once.text.utf8), in: "a place") == once)
    let (one, other) = (ContentDigest.sample("0").hex, ContentDigest.sample("1").hex)
    let error = #expect(throws: TarnError.self) {
      try TaskPlan(reading: Array(once.text.replacing(other, with: one).utf8), in: "a place")
    }
    #expect(error?.code == .integrity && error?.message.contains("different") == true)
  }

  @Test func aReceiptOfARangeIsHeldAgainstIt() {
    let task = TaskFixture.assignment
    func receipt(_ digest: ContentDigest, rows: Int) -> TaskReceipt {
      TaskReceipt(
        task: digest, tool: "t", host: "h", startedAt: "s", endedAt: "e", segmentFormat: 1, inputs: [],
        result: TaskReceipt.Result(digest: .sample("r"), byteCount: 10, rowCount: rows, listsDigest: nil))
    }
    #expect(receipt(task.digest, rows: 20).objection(to: AnyTask.assign(task)) == nil)
    #expect(receipt(task.digest, rows: 19).objection(to: AnyTask.assign(task))?.contains("19 vectors") == true)
    #expect(receipt(.sample("other"), rows: 20).objection(to: AnyTask.assign(task))?.contains("another task") == true)
    let output = TaskFixture.task()
    #expect(receipt(output.digest, rows: 18).objection(to: AnyTask.output(output)) != nil)
  }
}
