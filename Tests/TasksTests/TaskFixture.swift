// Documents of tasks as the tests need them.

import Base
import Foundation
import Indexer
import Tasks
import TestSupport

extension ContentDigest {
  /// A digest that is another for every text.
  static func sample(_ text: String) -> ContentDigest { .of(text) }
}

enum TaskFixture {
  /// An input whose bytes are known, one whose bytes are not, a hole.
  static let inputs = [
    TaskDocument.Input(
      ordinal: 4, shard: "img_4.npy", firstID: 100, rowCount: 20, isHole: false, byteCount: 448,
      digest: .sample("4"), path: "/lake/shards/images/img_4.npy",
      places: [TaskDocument.Place(url: "https://host.example/img_4.npy", isOfDocument: false)]),
    TaskDocument.Input(
      ordinal: 5, shard: "img_5.npy", firstID: 120, rowCount: 10, isHole: false, byteCount: nil, digest: nil, path: nil,
      places: [
        TaskDocument.Place(url: "https://host.example/img_5.npy", isOfDocument: true),
        TaskDocument.Place(url: "s3://bucket/img_5.npy?{env:KEY}", isOfDocument: false),
      ]),
    TaskDocument.Input(
      ordinal: 6, shard: "img_6.npy", firstID: 130, rowCount: 7, isHole: true, byteCount: nil, digest: nil, path: nil,
      places: []),
  ]

  static func task(
    badRows: BadRowsPolicy = .skip, missing: MissingPolicy = .skip, inputs: [TaskDocument.Input] = inputs
  ) -> TaskDocument {
    TaskDocument(
      version: "v@1", spec: .sample("spec"), output: 2, trained: .sample("trained"), dimension: 8,
      elementType: .float16, badRows: badRows, missing: missing, normalisation: .refuse, segmentFormat: 1,
      inputs: inputs)
  }

  static func seen(_ name: String = "4", bytes: Int = 448, rows: Int = 20, bad: Int = 2, place: Int? = 0)
    -> TaskReceipt.Seen
  {
    TaskReceipt.Seen(
      digest: .sample(name), byteCount: bytes, rowCount: rows, badRowCount: bad, place: place, etag: "\"e\"",
      lastModified: "Sat, 28 Nov 2026 10:00:00 GMT")
  }

  /// A receipt of ``task(badRows:missing:inputs:)``.
  static func receipt(
    of task: TaskDocument = task(),
    _ inputs: [TaskReceipt.Input] = [
      TaskReceipt.Input(ordinal: 4, seen: seen()), TaskReceipt.Input(ordinal: 5, seen: nil, reason: "404"),
      TaskReceipt.Input(ordinal: 6, seen: nil),
    ], rows: Int = 18, segmentFormat: Int = 1
  ) -> TaskReceipt {
    TaskReceipt(
      task: task.digest, tool: "tarn 0.1.0", host: "node-1", startedAt: "2026-11-28T10:00:00.000Z",
      endedAt: "2026-11-28T10:01:00.000Z", segmentFormat: segmentFormat, inputs: inputs,
      result: TaskReceipt.Result(
        digest: .sample("result"), byteCount: 4096, rowCount: rows, listsDigest: .sample("lists")))
  }

  /// A range of a search.
  static let assignment = AssignTask(
    training: "clip", step: "iteration 2",
    vectors: TaskMatrix(digest: .sample("vectors"), rowCount: 100, elementType: .float16), first: 40, count: 20,
    vectorsDigest: .sample("range"), rows: TaskMatrix(digest: .sample("rows"), rowCount: 31, elementType: .float32),
    dimension: 8, k: 1)

  /// A plan of so many tasks, on the disk.
  static func plan(_ count: Int, in directory: TaskDirectory, version: String = "v@1") throws -> TaskPlan {
    try directory.make()
    let plan = TaskPlan(
      .build, lake: "lake", subject: version, spec: .sample("spec"), tool: "tarn",
      tasks: (0..<count).map { .sample("\($0)") })
    try Disk.writeAtomically(Array(plan.text.utf8), to: directory.planPath)
    return plan
  }
}
