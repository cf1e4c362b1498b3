// What a worker says that it did: which bytes it saw, what it made of them. Named
// by its own digest, written after the result, and believed only after it was held
// against the task and the result was read.

package import Base
package import Indexer

/// The receipt of one task.
package struct TaskReceipt: Sendable, Equatable {
  /// The format of the document.
  package static let format = "tarn-receipt-1"

  /// One shard as the worker saw it, or why it is a hole.
  package struct Input: Sendable, Equatable {
    package let ordinal: Int
    /// What was seen; nil in a hole.
    package let seen: Seen?
    /// Of a hole that the task has not: why the shard could not be had.
    package let reason: String?

    package init(ordinal: Int, seen: Seen?, reason: String? = nil) {
      self.ordinal = ordinal
      self.seen = seen
      self.reason = reason
    }
  }

  /// A shard's bytes.
  package struct Seen: Sendable, Equatable, Codable {
    package let digest: ContentDigest
    package let byteCount: Int
    package let rowCount: Int
    /// Rows that were left out as NaN, infinite or zero.
    package var badRowCount: Int
    /// Where they came from: place among those of the task; nil for its file.
    package let place: Int?
    package let etag: String?
    package let lastModified: String?

    package init(
      digest: ContentDigest, byteCount: Int, rowCount: Int, badRowCount: Int, place: Int?, etag: String? = nil,
      lastModified: String? = nil
    ) {
      self.digest = digest
      self.byteCount = byteCount
      self.rowCount = rowCount
      self.badRowCount = badRowCount
      self.place = place
      self.etag = etag
      self.lastModified = lastModified
    }
  }

  /// What was made.
  package struct Result: Sendable, Equatable {
    package let digest: ContentDigest
    package let byteCount: Int
    package let rowCount: Int
    /// Digest of all lists' digests; nil of what is no output.
    package let listsDigest: ContentDigest?
    /// The file of codes that refine the output; nil where its trained index does not refine.
    package let refine: RefineSummary?

    package init(
      digest: ContentDigest, byteCount: Int, rowCount: Int, listsDigest: ContentDigest?, refine: RefineSummary? = nil
    ) {
      self.refine = refine
      self.digest = digest
      self.byteCount = byteCount
      self.rowCount = rowCount
      self.listsDigest = listsDigest
    }
  }

  /// SHA-256 of the task's document.
  package let task: ContentDigest
  /// Name and version of the worker's tool: for people.
  package let tool: String
  package let host: String
  package let startedAt: String
  package let endedAt: String
  package let segmentFormat: Int
  package let inputs: [Input]
  package let result: Result

  package init(
    task: ContentDigest, tool: String, host: String, startedAt: String, endedAt: String, segmentFormat: Int,
    inputs: [Input], result: Result
  ) {
    self.task = task
    self.tool = tool
    self.host = host
    self.startedAt = startedAt
    self.endedAt = endedAt
    self.segmentFormat = segmentFormat
    self.inputs = inputs
    self.result = result
  }
}

extension TaskReceipt {
  /// The canonical text; its SHA-256 is part of the receipt's name.
  package var text: String {
    var made: [String: JSONValue] = [
      "sha256": .string(result.digest.hex), "bytes": .count(result.byteCount), "rows": .count(result.rowCount),
      "lists_sha256": .optional(result.listsDigest?.hex),
    ]
    if let refine = result.refine {
      made["refine"] = .object(["sha256": .string(refine.digest.hex), "bytes": .count(refine.byteCount)])
    }
    return JSONValue.object([
      "format": .string(Self.format), "task_sha256": .string(task.hex), "tool": .string(tool), "host": .string(host),
      "started_at": .string(startedAt), "ended_at": .string(endedAt), "segment_format": .count(segmentFormat),
      "inputs": .array(inputs.map(\.json)),
      "result": .object(made),
    ]).text
  }

  /// Reads a receipt that anybody may have written.
  ///
  /// - Parameters:
  ///   - bytes: The document.
  ///   - place: Its name, for messages.
  /// - Throws: ``TarnError`` `.integrity`, `.schemaNewer`.
  package init(reading bytes: [UInt8], in place: String) throws {
    let fields = try DocumentFields(reading: bytes, in: place)
    try fields.requireFormat(Self.format)
    let result = try fields.object("result")
    self.init(
      task: try fields.digest("task_sha256"), tool: try fields.string("tool"), host: try fields.string("host"),
      startedAt: try fields.string("started_at"), endedAt: try fields.string("ended_at"),
      segmentFormat: try fields.number("segment_format", .ordinal),
      inputs: try fields.objects("inputs").map(Input.init),
      result: Result(
        digest: try result.digest("sha256"), byteCount: try result.number("bytes", .byteCount),
        rowCount: try result.number("rows", .rowCount), listsDigest: try result.optionalDigest("lists_sha256"),
        refine: try result.optionalObject("refine").map {
          RefineSummary(digest: try $0.digest("sha256"), byteCount: try $0.number("bytes", .byteCount))
        }))
  }

  /// Why this is no receipt of a task; nil where it may be one.
  ///
  /// Nothing is read but the two documents.
  ///
  /// - Parameter task: The task whose number it bears.
  /// - Returns: One line.
  package func objection(to task: TaskDocument) -> String? {
    guard self.task == task.digest else { return "it is of another task, \(self.task.prefix(12))" }
    guard segmentFormat == task.segmentFormat else {
      return "it was made with segment format \(segmentFormat), the task asks for \(task.segmentFormat)"
    }
    guard inputs.map(\.ordinal) == task.inputs.map(\.ordinal) else { return "its inputs are not the task's" }
    // A row may be bad and excluded: it is missing once.
    var (least, doubled) = (0, 0)
    for (input, planned) in zip(inputs, task.inputs) {
      guard let seen = input.seen else {
        if planned.isHole || task.missing == .skip && planned.digest == nil { continue }
        return "it leaves out \(planned.shard), which the task does not allow"
      }
      if planned.isHole { return "it has rows of \(planned.shard), which is a hole of the task" }
      if let digest = planned.digest, digest != seen.digest {
        return "it saw \(planned.shard) with SHA-256 \(seen.digest.prefix(12)), the task says \(digest.prefix(12))"
      }
      if let byteCount = planned.byteCount, byteCount != seen.byteCount {
        return "it saw \(planned.shard) with \(seen.byteCount) bytes, the task says \(byteCount)"
      }
      guard seen.rowCount == planned.rowCount else {
        return "it saw \(planned.shard) with \(seen.rowCount) rows, the task says \(planned.rowCount)"
      }
      guard seen.badRowCount <= seen.rowCount, seen.badRowCount == 0 || task.badRows == .skip else {
        return "it left out \(seen.badRowCount) rows of \(planned.shard)"
      }
      if let place = seen.place, !planned.places.indices.contains(place) {
        return "it has \(planned.shard) from a place that the task does not know"
      }
      least = least.addingSaturated(max(seen.rowCount - seen.badRowCount - planned.excluded.count, 0))
      doubled = doubled.addingSaturated(min(seen.badRowCount, planned.excluded.count))
    }
    guard result.listsDigest != nil else { return "it does not say the digest of its lists" }
    guard (least...least.addingSaturated(doubled)).contains(result.rowCount) else {
      return "its result has \(result.rowCount) rows, its inputs have \(least)"
    }
    return nil
  }
}

extension TaskReceipt {
  /// Why this is no receipt of an assignment; nil where it may be one.
  ///
  /// - Parameter task: The task whose number it bears.
  /// - Returns: One line.
  package func objection(to task: AssignTask) -> String? {
    guard self.task == task.digest else { return "it is of another task, \(self.task.prefix(12))" }
    guard result.rowCount == task.count else {
      return "it has the rows of \(result.rowCount) vectors, the task asks for \(task.count)"
    }
    return nil
  }

  /// Why this is no receipt of a task; nil where it may be one.
  package func objection(to task: AnyTask) -> String? {
    switch task {
    case .output(let task): objection(to: task)
    case .assign(let task): objection(to: task)
    }
  }
}

extension TaskReceipt.Input {
  fileprivate var json: JSONValue {
    var members: [String: JSONValue] = ["ordinal": .count(ordinal)]
    if let seen {
      members["sha256"] = .string(seen.digest.hex)
      members["bytes"] = .count(seen.byteCount)
      members["rows"] = .count(seen.rowCount)
      members["bad_rows"] = .count(seen.badRowCount)
      if let place = seen.place { members["place"] = .count(place) }
      if let etag = seen.etag { members["etag"] = .string(etag) }
      if let lastModified = seen.lastModified { members["last_modified"] = .string(lastModified) }
    } else {
      members["hole"] = .bool(true)
      if let reason { members["reason"] = .string(reason) }
    }
    return .object(members)
  }

  fileprivate init(_ fields: DocumentFields) throws {
    let ordinal = try fields.number("ordinal", .ordinal)
    guard try !fields.flag("hole") else {
      self.init(ordinal: ordinal, seen: nil, reason: try fields.optionalString("reason"))
      return
    }
    self.init(
      ordinal: ordinal,
      seen: TaskReceipt.Seen(
        digest: try fields.digest("sha256"), byteCount: try fields.number("bytes", .byteCount),
        rowCount: try fields.number("rows", .rowCount), badRowCount: try fields.number("bad_rows", .rowCount),
        place: try fields.optionalNumber("place", .ordinal), etag: try fields.optionalString("etag"),
        lastModified: try fields.optionalString("last_modified")))
  }
}
