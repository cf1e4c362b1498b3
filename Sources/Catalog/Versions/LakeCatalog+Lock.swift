// The text that a version is sealed with: canonical JSON of all that a rebuild
// needs and must give. Made from the catalog when a version is sealed, and again
// to tell whether the catalog still says it.

package import Base

extension LakeCatalog {
  /// The format of lock files that this tarn writes and reads.
  package static let lockFormat = "tarn-version-1"

  /// The lock file of a version as the catalog tells it.
  ///
  /// - Parameters:
  ///   - version: A version with all its outputs recorded.
  ///   - segmentFormat: Number of the segments' format.
  /// - Returns: The content; ``lockText(of:)-static`` is its text.
  /// - Throws: ``TarnError``.
  package func lockContent(of version: IndexVersion, segmentFormat: Int) throws -> JSONValue {
    let trained = try trainedIndex(id: version.trainedIndexID)
    let inputs = try inputs(of: version)
    let outputs = try outputs(of: version)
    let source = try source(id: version.sourceID)
    return LockContent(
      version: "\(version.sealedName)", source: source.name, array: source.array, isAdopted: source.isAdopted,
      shardsPerOutput: version.shardsPerOutput, missing: version.missingPolicy.rawValue,
      badRows: version.badRowsPolicy.rawValue, segmentFormat: segmentFormat,
      trained: .init(
        sha256: trained.digest?.hex, specSha256: trained.specDigest.hex, nlist: trained.nlist, codec: trained.codec,
        method: trained.method, seed: trained.seed, iterations: trained.iterations, pairs: trained.pairCount,
        router: trained.router, refine: trained.refine),
      inputs: inputs.map { input in
        .init(
          shard: input.shardName, ordinal: input.shardOrdinal, sha256: input.revision?.digest.hex,
          bytes: input.revision?.byteCount, firstID: input.firstID, rows: input.rowCount, output: input.outputOrdinal,
          excluded: input.excludedRows)
      },
      outputs: outputs.map { output in
        .init(
          output: output.ordinal, sha256: output.digest.hex, bytes: output.byteCount, rows: output.rowCount,
          firstID: output.firstID, endID: output.endID, listsSha256: output.listsDigest.hex,
          refine: output.refine.map { .init(sha256: $0.digest.hex, bytes: $0.byteCount) })
      }
    ).json
  }
}

/// What a lock file says, whoever tells it: the catalog or a document.
struct LockContent {
  struct Trained {
    let sha256: String?
    let specSha256: String
    let nlist: Int
    let codec: String
    let method: String
    let seed: Int64
    let iterations: Int
    let pairs: Int
    let router: String?
    /// Codec of the codes that refine.
    let refine: String?
  }
  struct Input {
    let shard: String
    let ordinal: Int
    let sha256: String?
    let bytes: Int?
    let firstID: Int64
    let rows: Int
    let output: Int
    let excluded: [Int]
  }
  struct Refine {
    let sha256: String
    let bytes: Int
  }
  struct Output {
    let output: Int
    let sha256: String
    let bytes: Int
    let rows: Int
    let firstID: Int64
    let endID: Int64
    let listsSha256: String
    let refine: Refine?
  }

  let version: String
  let source: String
  let array: String?
  /// Whether the inputs are files that FAISS wrote, of which nobody knows what they were made from.
  let isAdopted: Bool
  let shardsPerOutput: Int
  let missing: String
  let badRows: String
  let segmentFormat: Int
  let trained: Trained
  let inputs: [Input]
  let outputs: [Output]

  /// The content; its canonical text and a line feed are the lock file.
  var json: JSONValue {
    var members: [String: JSONValue] = [
      "sha256": .optional(trained.sha256), "spec_sha256": .string(trained.specSha256), "nlist": .count(trained.nlist),
      "codec": .string(trained.codec), "method": .string(trained.method), "seed": .integer(trained.seed),
      "iterations": .count(trained.iterations), "pairs": .count(trained.pairs),
    ]
    // Absent without one, so that lock files from before there were routers stay what they are.
    if let router = trained.router { members["router"] = .string(router) }
    if let refine = trained.refine { members["refine"] = .string(refine) }
    var content: [String: JSONValue] = [
      "format": .string(LakeCatalog.lockFormat), "version": .string(version), "source": .string(source),
      "shards_per_output": .count(shardsPerOutput), "missing": .string(missing), "bad_rows": .string(badRows),
      "segment_format": .count(segmentFormat), "trained": .object(members),
      "inputs": .array(
        inputs.map { input in
          var members: [String: JSONValue] = [
            "shard": .string(input.shard), "ordinal": .count(input.ordinal), "sha256": .optional(input.sha256),
            "bytes": .optionalCount(input.bytes), "first_id": .integer(input.firstID),
            "rows": .count(input.rows), "output": .count(input.output),
          ]
          // Absent where nothing is, for the same reason.
          if !input.excluded.isEmpty { members["excluded"] = .counts(input.excluded) }
          return .object(members)
        }),
      "outputs": .array(
        outputs.map { output in
          var members: [String: JSONValue] = [
            "output": .count(output.output), "sha256": .string(output.sha256), "bytes": .count(output.bytes),
            "rows": .count(output.rows), "first_id": .integer(output.firstID), "end_id": .integer(output.endID),
            "lists_sha256": .string(output.listsSha256),
          ]
          if let refine = output.refine {
            members["refine"] = .object(["sha256": .string(refine.sha256), "bytes": .count(refine.bytes)])
          }
          return .object(members)
        }),
    ]
    // Absent where files have one array, likewise.
    if let array { content["array"] = .string(array) }
    if isAdopted { content["inputs_unknown"] = .bool(true) }
    return .object(content)
  }
}
