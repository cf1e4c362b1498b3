// What an evaluation measures, as the engine counts it, the catalog keeps it
// and pages show it.

/// Recall at one depth.
package struct RecallPoint: Sendable, Equatable {
  package let k: Int
  /// Share of the exact k nearest that came back, mean over queries, `0...1`.
  package let recall: Double
  /// Standard error of that mean.
  package let standardError: Double
  /// Share of the exact k nearest whose list was visited, `0...1`.
  package let routingRecall: Double

  package init(k: Int, recall: Double, standardError: Double, routingRecall: Double) {
    self.k = k
    self.recall = recall
    self.standardError = standardError
    self.routingRecall = routingRecall
  }
}

/// What a search that visits some number of lists finds.
package struct EvaluationPoint: Sendable, Equatable {
  package let nprobe: Int
  /// Rows in the visited lists, mean over queries.
  package let vectorsScanned: Double
  /// What all queries took together.
  package let seconds: Double
  /// Ascending by k.
  package let recalls: [RecallPoint]

  package init(nprobe: Int, vectorsScanned: Double, seconds: Double, recalls: [RecallPoint]) {
    self.nprobe = nprobe
    self.vectorsScanned = vectorsScanned
    self.seconds = seconds
    self.recalls = recalls
  }
}

/// One run of `tarn evaluate` on one version.
package struct Evaluation: Sendable, Equatable {
  package let version: VersionName
  /// Name of the query file.
  package let queries: String
  package let queriesDigest: ContentDigest
  package let queryCount: Int
  /// Rows that were measured over: all of the version, but for a ``sample``.
  package let rowCount: Int
  package let nlist: Int
  /// Digest of the exact neighbours.
  package let truthDigest: ContentDigest
  package let threads: Int
  /// nlist·Σn² / (Σn)² over rows per list, `1...nlist`; 1 is even.
  package let imbalance: Double
  /// Lists by size: entry 0 the empty ones, entry b those of 2^(b-1) ..< 2^b
  /// rows.
  package let listSizes: [Int]
  /// Canonical JSON of the tool and the machine.
  package let environment: String
  /// Ascending by nprobe.
  package let points: [EvaluationPoint]

  /// Places in the source of the shards that were measured over, ascending; nil where
  /// it was all of the version.
  package var sample: [Int]? { Evaluation.sample(in: environment) }

  /// Where an environment says which shards were measured over.
  private static let sampleMember = "sample_shards"

  /// What a record says that was measured over.
  package static func sample(in environment: String) -> [Int]? {
    guard let named = JSONValue(parsing: environment)?[sampleMember] else { return nil }
    return named.elements.compactMap(\.count)
  }

  /// Where an environment says how many rows of each query codes that refine ordered again;
  /// absent where none did.
  private static let refinedMember = "refined_rows"

  /// Rows of each query that codes that refine ordered again; nil for none.
  package var refinedRows: Int? {
    JSONValue(parsing: environment)?[Evaluation.refinedMember]?.count
  }

  /// Adds to an environment which shards are measured over, and what was ordered again.
  package static func environment(_ environment: String, sample: [Int]?, refinedRows: Int? = nil) -> String {
    guard sample != nil || refinedRows != nil, case .object(var facts)? = JSONValue(parsing: environment) else {
      return environment
    }
    if let sample { facts[sampleMember] = .array(sample.map { .count($0) }) }
    if let refinedRows { facts[refinedMember] = .count(refinedRows) }
    return JSONValue.object(facts).text
  }

  package init(
    version: VersionName, queries: String, queriesDigest: ContentDigest, queryCount: Int, rowCount: Int, nlist: Int,
    truthDigest: ContentDigest, threads: Int, imbalance: Double, listSizes: [Int], environment: String,
    points: [EvaluationPoint]
  ) {
    self.version = version
    self.queries = queries
    self.queriesDigest = queriesDigest
    self.queryCount = queryCount
    self.rowCount = rowCount
    self.nlist = nlist
    self.truthDigest = truthDigest
    self.threads = threads
    self.imbalance = imbalance
    self.listSizes = listSizes
    self.environment = environment
    self.points = points
  }
}

extension Evaluation {
  /// Shares of the rows at which versions are compared, whatever their lists are: those of docs/RECALL.md.
  package static let comparedShares = [0.01, 0.02, 0.04]

  /// The recall at a share of the rows scanned, linear between the two measured points around it.
  ///
  /// - Parameters:
  ///   - depth: The k of recall@k.
  ///   - share: The share, `0...1`.
  /// - Returns: Nil where the share is not between two points that were measured, or recall at that depth was not.
  package func recall(at depth: Int, whereScanned share: Double) -> Double? {
    var curve: [(share: Double, recall: Double)] = []
    for point in points {
      guard let found = point.recalls.first(where: { $0.k == depth }) else { continue }
      curve.append((point.vectorsScanned / Double(max(rowCount, 1)), found.recall))
    }
    curve.sort { $0.share < $1.share }
    guard let place = curve.firstIndex(where: { $0.share >= share }) else { return nil }
    let after = curve[place]
    if after.share == share { return after.recall }
    guard place > 0 else { return nil }
    let before = curve[place - 1]
    return before.recall + (after.recall - before.recall) * (share - before.share) / (after.share - before.share)
  }
}
