// The document of a plan, and that of a worker's last word.

package import Base

/// A plan: which tasks there are, and of which version.
package struct TaskPlan: Sendable, Equatable {
  package static let format = "tarn-plan-1"

  /// What the tasks are parts of.
  package enum Kind: String, Sendable, CaseIterable {
    case build, train
  }

  package let kind: Kind
  /// The lake that planned.
  package let lake: String
  /// The version, `NAME@N`, or the trained index.
  package let subject: String
  package let spec: ContentDigest
  package let tool: String
  /// Digest of each task's document, by its number.
  ///
  /// Those of a training are added to round by round.
  package var tasks: [ContentDigest]
  /// Where results, receipts and failures go, `s3://BUCKET/PREFIX`; nil for beside the plan.
  package let results: String?

  package init(
    _ kind: Kind, lake: String, subject: String, spec: ContentDigest, tool: String, tasks: [ContentDigest],
    results: String? = nil
  ) {
    self.kind = kind
    self.lake = lake
    self.subject = subject
    self.spec = spec
    self.tool = tool
    self.tasks = tasks
    self.results = results
  }

  package var text: String {
    var members: [String: JSONValue] = [
      "format": .string(Self.format), "kind": .string(kind.rawValue), "lake": .string(lake),
      "subject": .string(subject),
      "spec_sha256": .string(spec.hex), "tool": .string(tool), "tasks": .array(tasks.map { .string($0.hex) }),
    ]
    if let results { members["results"] = .string(results) }
    return JSONValue.object(members).indentedText + "\n"
  }

  /// Reads a plan that lies in a directory anybody may write to.
  ///
  /// - Throws: ``TarnError`` `.integrity`, `.schemaNewer`.
  package init(reading bytes: [UInt8], in place: String) throws {
    let fields = try DocumentFields(reading: bytes, in: place)
    try fields.requireFormat(Self.format)
    self.init(
      try fields.word("kind", Kind.self), lake: try fields.string("lake"), subject: try fields.string("subject"),
      spec: try fields.digest("spec_sha256"),
      tool: try fields.string("tool"), tasks: try fields.digests("tasks"),
      results: try fields.optionalString("results"))
    guard Set(tasks).count == tasks.count else { throw fields.fault("tasks", "an array of different SHA-256s") }
    if let results, !results.isStoreAddress || (try? StoredTasks.normalised(results)) != results {
      throw fields.fault("results", "a prefix of an object store")
    }
  }
}

/// What ended a worker without a receipt.
package struct TaskFailure: Sendable, Hashable {
  package static let format = "tarn-failure-1"
  /// Exit statuses of a worker that another try would meet again: another tarn's tasks, wrong bytes, missing inputs, a
  /// command that is wrong.
  package static let finalStatuses: Set<Int> = [12, 20, 21, 64]

  package let task: ContentDigest
  package let host: String
  package let endedAt: String
  /// The worker's exit status.
  package let status: Int
  package let message: String

  package init(task: ContentDigest, host: String, endedAt: String, status: Int, message: String) {
    self.task = task
    self.host = host
    self.endedAt = endedAt
    self.status = status
    self.message = message
  }

  /// For people: what, where, and with which exit status.
  package var words: String { "\(message.printableLine) (on \(host.printable), exit \(status))" }

  package var text: String {
    JSONValue.object([
      "format": .string(Self.format), "task_sha256": .string(task.hex), "host": .string(host),
      "ended_at": .string(endedAt), "status": .count(status), "message": .string(message),
    ]).text
  }

  /// Reads what a worker left, or anybody else.
  ///
  /// - Throws: ``TarnError`` `.integrity`, `.schemaNewer`.
  package init(reading bytes: [UInt8], in place: String) throws {
    let fields = try DocumentFields(reading: bytes, in: place)
    try fields.requireFormat(Self.format)
    self.init(
      task: try fields.digest("task_sha256"), host: try fields.string("host"), endedAt: try fields.string("ended_at"),
      status: try fields.number("status", .rowCount), message: try fields.string("message"))
  }
}
