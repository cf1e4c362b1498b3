// The document of an output task: all that a worker needs to make one output shard
// and that whoever takes it back holds it against. Its digest names the task.

package import Base
package import Indexer

/// One output shard to make, for a process that knows neither catalog nor lake.
package struct TaskDocument: Sendable, Equatable {
  /// The format of the document.
  package static let format = "tarn-task-1"

  /// Where a shard's bytes may be asked for.
  package struct Place: Sendable, Equatable {
    /// An address as the source was registered with: variables of the environment are
    /// named in it and not filled in.
    package let url: String
    /// Whether a document brought it, so that it leads nowhere inside (S7).
    package let isOfDocument: Bool

    package init(url: String, isOfDocument: Bool) {
      self.url = url
      self.isOfDocument = isOfDocument
    }
  }

  /// One shard of the output, or a hole.
  package struct Input: Sendable, Equatable {
    /// Place in the version's plan, from 0.
    package let ordinal: Int
    package let shard: String
    /// Row id of its first row.
    package let firstID: RowID
    /// Rows, or the length of the hole.
    package let rowCount: Int
    package let isHole: Bool
    /// Bytes of the file, where they are known.
    package let byteCount: Int?
    /// SHA-256 of the bytes, where it is known; else the worker's to see.
    package let digest: ContentDigest?
    /// A file with these bytes on a shared file system, absolute.
    package let path: String?
    /// In order of preference.
    package let places: [Place]
    /// Rows that the output must not have, ascending; of known bytes.
    package let excluded: [Int]

    package init(
      ordinal: Int, shard: String, firstID: RowID, rowCount: Int, isHole: Bool, byteCount: Int?, digest: ContentDigest?,
      path: String?, places: [Place], excluded: [Int] = []
    ) {
      self.ordinal = ordinal
      self.shard = shard
      self.firstID = firstID
      self.rowCount = rowCount
      self.isHole = isHole
      self.byteCount = byteCount
      self.digest = digest
      self.path = path
      self.places = places
      self.excluded = excluded
    }
  }

  /// `NAME@N`, for people.
  package let version: String
  /// Digest of the version's specification.
  package let spec: ContentDigest
  /// Number of the output in its version, from 0.
  package let output: Int
  /// SHA-256 of the trained index, which names its file below ``TaskDirectory/trained``.
  package let trained: ContentDigest
  package let dimension: Int
  package let elementType: ElementType
  /// The array of the inputs' files; nil, and absent from the text, where they have one.
  package let array: String?
  package let badRows: BadRowsPolicy
  package let missing: MissingPolicy
  package let normalisation: Normalisation
  /// Number of the segments' format, which decides the output's bytes.
  package let segmentFormat: Int
  package let inputs: [Input]

  package init(
    version: String, spec: ContentDigest, output: Int, trained: ContentDigest, dimension: Int, elementType: ElementType,
    array: String? = nil, badRows: BadRowsPolicy, missing: MissingPolicy, normalisation: Normalisation,
    segmentFormat: Int, inputs: [Input]
  ) {
    self.array = array
    self.version = version
    self.spec = spec
    self.output = output
    self.trained = trained
    self.dimension = dimension
    self.elementType = elementType
    self.badRows = badRows
    self.missing = missing
    self.normalisation = normalisation
    self.segmentFormat = segmentFormat
    self.inputs = inputs
  }
}

extension TaskDocument {
  /// The canonical text; its SHA-256 names the task.
  package var text: String {
    var members: [String: JSONValue] = [
      "format": .string(Self.format), "kind": .string("output"), "version": .string(version),
      "spec_sha256": .string(spec.hex), "output": .count(output), "trained_sha256": .string(trained.hex),
      "dimension": .count(dimension), "dtype": .string(elementType.rawValue), "bad_rows": .string(badRows.rawValue),
      "missing": .string(missing.rawValue), "normalisation": .string(normalisation.rawValue),
      "segment_format": .count(segmentFormat), "inputs": .array(inputs.map(\.json)),
    ]
    if let array { members["array"] = .string(array) }
    return JSONValue.object(members).text
  }

  /// SHA-256 of ``text``.
  package var digest: ContentDigest { .of(text) }

  /// Reads a task that lies in a directory anybody may write to.
  ///
  /// - Parameters:
  ///   - bytes: The document.
  ///   - place: Its name, for messages.
  /// - Throws: ``TarnError`` `.integrity`, `.schemaNewer`.
  package init(reading bytes: [UInt8], in place: String) throws {
    guard case .output(let task) = try AnyTask(reading: bytes, in: place) else {
      throw TarnError(.integrity, "\(place): 'kind' is not 'output'")
    }
    self = task
  }

  /// Reads the members of a task that is known to be one of an output.
  init(_ fields: DocumentFields) throws {
    self.init(
      version: try fields.string("version"), spec: try fields.digest("spec_sha256"),
      output: try fields.number("output", .ordinal), trained: try fields.digest("trained_sha256"),
      dimension: try fields.number("dimension", .dimension), elementType: try fields.word("dtype", ElementType.self),
      array: try fields.optionalString("array"), badRows: try fields.word("bad_rows", BadRowsPolicy.self),
      missing: try fields.word("missing", MissingPolicy.self),
      normalisation: try fields.word("normalisation", Normalisation.self),
      segmentFormat: try fields.number("segment_format", .ordinal), inputs: try fields.objects("inputs").map(Input.init)
    )
    var end: RowID = 0
    for input in inputs {
      let next = Int(input.firstID).addingSaturated(input.rowCount)
      guard input.firstID >= end, ForeignNumber.rowID.holds(next) else {
        throw TarnError(
          .integrity, "\(fields.place): the row ids of \(input.shard.printable) do not follow those before it")
      }
      end = RowID(next)
    }
    guard let first = inputs.first else { throw fields.fault("inputs", "there") }
    // What refines an output has a code of each id from the first to the last, whatever lies between.
    guard Int(end - first.firstID) <= maximumRowCount else {
      throw TarnError(.integrity, "\(fields.place): its row ids span \(end - first.firstID), more than an output has")
    }
  }
}

extension TaskDocument.Input {
  fileprivate var json: JSONValue {
    var members: [String: JSONValue] = [
      "ordinal": .count(ordinal), "shard": .string(shard), "first_id": .integer(firstID), "rows": .count(rowCount),
    ]
    if isHole { members["hole"] = .bool(true) }
    if let byteCount { members["bytes"] = .count(byteCount) }
    if let digest { members["sha256"] = .string(digest.hex) }
    if let path { members["path"] = .string(path) }
    if !places.isEmpty {
      members["places"] = .array(
        places.map { place in
          .object(["url": .string(place.url), "of_document": .bool(place.isOfDocument)])
        })
    }
    if !excluded.isEmpty { members["excluded"] = .array(excluded.map { .count($0) }) }
    return .object(members)
  }

  fileprivate init(_ fields: DocumentFields) throws {
    self.init(
      ordinal: try fields.number("ordinal", .ordinal), shard: try fields.string("shard"),
      firstID: RowID(try fields.number("first_id", .rowID)), rowCount: try fields.number("rows", .rowCount),
      isHole: try fields.flag("hole"), byteCount: try fields.optionalNumber("bytes", .byteCount),
      digest: try fields.optionalDigest("sha256"), path: try fields.optionalString("path"),
      places: try fields.objects("places").map {
        TaskDocument.Place(url: try $0.string("url"), isOfDocument: try $0.flag("of_document"))
      }, excluded: try fields.ascendingNumbers("excluded", below: try fields.number("rows", .rowCount)))
    guard excluded.isEmpty || digest != nil else { throw fields.fault("excluded", "of known bytes") }
    // It names files of the worker's.
    if let fault = LakeName.fault(ofShard: shard) {
      throw TarnError(.integrity, "\(fields.place): '\(shard.printable)' cannot name a shard: \(fault)")
    }
  }
}
