// The documents of a directory of tasks under fuzz: what is read says the same when it is
// written and read again, so that a digest names one meaning.

internal import Base
internal import Features
internal import Indexer
internal import Tasks

extension FuzzReader {
  /// Reads a document of tasks.
  func readTasks(_ bytes: [UInt8], at path: String) throws {
    switch self {
    case .plan:
      let plan = try TaskPlan(reading: bytes, in: path)
      try require(plan == TaskPlan(reading: Array(plan.text.utf8), in: path))
    case .task:
      let task = try AnyTask(reading: bytes, in: path)
      try require(task == AnyTask(reading: Array(task.text.utf8), in: path))
    case .receipt:
      let receipt = try TaskReceipt(reading: bytes, in: path)
      try require(receipt == TaskReceipt(reading: Array(receipt.text.utf8), in: path))
      for task in [AnyTask.output(FuzzTasks.output), .assign(FuzzTasks.assign)] { _ = receipt.objection(to: task) }
    case .failure:
      let failure = try TaskFailure(reading: bytes, in: path)
      try require(failure == TaskFailure(reading: Array(failure.text.utf8), in: path))
    case .jobs:
      let directory = TaskDirectory(path.parentPath)
      try write(bytes, to: directory.path + "/jobs.json")
      _ = try directory.standing(of: FuzzTasks.plan)
    default: preconditionFailure("no document of tasks")
    }
  }

  private func require(_ isSame: Bool) throws {
    guard isSame else { throw Violation(description: "\(self): written and read again it says something else") }
  }
}

extension AnyTask {
  fileprivate var text: String {
    switch self {
    case .output(let task): task.text
    case .assign(let task): task.text
    }
  }
}

/// Good documents of tasks.
enum FuzzTasks {
  static let output = TaskDocument(
    version: "v@1", spec: .of("spec"), output: 1, trained: .of("trained"), dimension: 8, elementType: .float16,
    badRows: .skip, missing: .skip, normalisation: .refuse, segmentFormat: 1,
    inputs: [
      TaskDocument.Input(
        ordinal: 4, shard: "img_4.npy", firstID: 100, rowCount: 20, isHole: false, byteCount: 448, digest: .of("4"),
        path: "/lake/img_4.npy", places: [TaskDocument.Place(url: "https://host.example/4.npy", isOfDocument: false)]),
      TaskDocument.Input(
        ordinal: 5, shard: "img_5.npy", firstID: 120, rowCount: 10, isHole: false, byteCount: nil, digest: nil,
        path: nil, places: [TaskDocument.Place(url: "s3://bucket/5.npy?{env:KEY}", isOfDocument: true)]),
      TaskDocument.Input(
        ordinal: 6, shard: "img_6.npy", firstID: 130, rowCount: 7, isHole: true, byteCount: nil, digest: nil, path: nil,
        places: []),
    ])
  static let assign = AssignTask(
    training: "t", step: "iteration 1", vectors: TaskMatrix(digest: .of("v"), rowCount: 900, elementType: .float16),
    first: 300, count: 300, vectorsDigest: .of("r"),
    rows: TaskMatrix(digest: .of("c"), rowCount: 64, elementType: .float32), dimension: 8, k: 20)
  static let plan = TaskPlan(
    .build, lake: "lake", subject: "v@1", spec: .of("spec"), tool: "tarn 0.1.0",
    tasks: [output.digest, assign.digest])

  private static let seen = TaskReceipt.Seen(
    digest: .of("4"), byteCount: 448, rowCount: 20, badRowCount: 2, place: 0, etag: "\"e\"",
    lastModified: "Sat, 28 Nov 2026 10:00:00 GMT")

  private static func receipt(_ task: ContentDigest, _ inputs: [TaskReceipt.Input]) -> String {
    TaskReceipt(
      task: task, tool: "tarn 0.1.0", host: "node-1", startedAt: "2026-11-28T10:00:00.000Z",
      endedAt: "2026-11-28T10:01:00.000Z", segmentFormat: 1, inputs: inputs,
      result: TaskReceipt.Result(
        digest: .of("result"), byteCount: 900, rowCount: inputs.isEmpty ? 300 : 18,
        listsDigest: inputs.isEmpty ? nil : .of("lists"))
    ).text
  }

  /// Good texts for a reader of documents of tasks.
  static func files(for reader: FuzzReader) -> [String] {
    switch reader {
    case .plan: [plan.text]
    case .task: [output.text, assign.text]
    case .receipt:
      [
        receipt(
          output.digest,
          [
            TaskReceipt.Input(ordinal: 4, seen: seen), TaskReceipt.Input(ordinal: 5, seen: nil, reason: "404"),
            TaskReceipt.Input(ordinal: 6, seen: nil),
          ]), receipt(assign.digest, []),
      ]
    case .failure:
      [
        TaskFailure(
          task: output.digest, host: "node-1", endedAt: "2026-11-28T10:01:00.000Z", status: 21, message: "no shard"
        ).text
      ]
    case .jobs:
      [
        #"[{"id":"7","offset":0,"tasks":[0,1],"cluster":"big","name":"tarn-v@1-f"}]"#,
        #"[{"id":"","offset":0,"tasks":[1],"name":"tarn-v@1-f"},{"id":"8","offset":10,"tasks":[0]}]"#,
      ]
    default: []
    }
  }
}
