// The second kind of task: for a range of vectors the best of a set of rows. Nearest
// images, the assignment of an iteration of k-means and the labels of a router are
// this; sums are made by the lake's host.

package import Base

/// A matrix that lies beside the tasks, as an `.npy` file named by its digest.
package struct TaskMatrix: Sendable, Equatable {
  package let digest: ContentDigest
  package let rowCount: Int
  package let elementType: ElementType

  package init(digest: ContentDigest, rowCount: Int, elementType: ElementType) {
    self.digest = digest
    self.rowCount = rowCount
    self.elementType = elementType
  }

  fileprivate var json: JSONValue {
    .object([
      "sha256": .string(digest.hex), "rows": .count(rowCount), "dtype": .string(elementType.rawValue),
    ])
  }

  fileprivate init(_ fields: DocumentFields) throws {
    self.init(
      digest: try fields.digest("sha256"), rowCount: try fields.number("rows", .rowCount),
      elementType: try fields.word("dtype", ElementType.self))
  }
}

/// Vectors to find rows for.
package struct AssignTask: Sendable, Equatable {
  /// The trained index, for people.
  package let training: String
  /// What of it: for people.
  package let step: String
  package let vectors: TaskMatrix
  /// The first of the vectors.
  package let first: Int
  /// How many.
  package let count: Int
  /// SHA-256 of their bytes.
  package let vectorsDigest: ContentDigest
  package let rows: TaskMatrix
  package let dimension: Int
  /// Rows for each vector.
  package let k: Int

  package init(
    training: String, step: String, vectors: TaskMatrix, first: Int, count: Int, vectorsDigest: ContentDigest,
    rows: TaskMatrix, dimension: Int, k: Int
  ) {
    self.training = training
    self.step = step
    self.vectors = vectors
    self.first = first
    self.count = count
    self.vectorsDigest = vectorsDigest
    self.rows = rows
    self.dimension = dimension
    self.k = k
  }

  /// The canonical text; its SHA-256 names the task.
  package var text: String {
    JSONValue.object([
      "format": .string(TaskDocument.format), "kind": .string(AnyTask.Kind.assign.rawValue),
      "training": .string(training), "step": .string(step), "vectors": vectors.json, "first": .count(first),
      "count": .count(count), "vectors_sha256": .string(vectorsDigest.hex), "rows": rows.json,
      "dimension": .count(dimension), "k": .count(k),
    ]).text
  }

  /// SHA-256 of ``text``.
  package var digest: ContentDigest { .of(text) }

  fileprivate init(_ fields: DocumentFields) throws {
    self.init(
      training: try fields.string("training"), step: try fields.string("step"),
      vectors: try TaskMatrix(fields.object("vectors")), first: try fields.number("first", .rowCount),
      count: try fields.number("count", .rowCount), vectorsDigest: try fields.digest("vectors_sha256"),
      rows: try TaskMatrix(fields.object("rows")), dimension: try fields.number("dimension", .dimension),
      k: try fields.number("k", .count))
    guard count > 0, first.addingSaturated(count) <= vectors.rowCount else {
      throw fields.fault("count", "a number of vectors that there are")
    }
    guard (1..<Int(UInt32.max)).contains(rows.rowCount), k <= 1024 else {
      throw fields.fault("rows", "a number of rows that can be searched")
    }
  }
}

/// A task of either kind.
package enum AnyTask: Sendable, Equatable {
  enum Kind: String, CaseIterable {
    case output, assign
  }

  case output(TaskDocument)
  case assign(AssignTask)

  /// SHA-256 of its document.
  package var digest: ContentDigest {
    switch self {
    case .output(let task): task.digest
    case .assign(let task): task.digest
    }
  }

  /// Reads a task that lies in a directory anybody may write to.
  ///
  /// - Parameters:
  ///   - bytes: The document.
  ///   - place: Its name, for messages.
  /// - Throws: ``TarnError`` `.integrity`, `.schemaNewer`.
  package init(reading bytes: [UInt8], in place: String) throws {
    let fields = try DocumentFields(reading: bytes, in: place)
    try fields.requireFormat(TaskDocument.format)
    switch try fields.word("kind", Kind.self) {
    case .output: self = .output(try TaskDocument(fields))
    case .assign: self = .assign(try AssignTask(fields))
    }
  }
}
