// Evaluations: what a version found of what exact search finds, kept for good.

package import Base
internal import GRDB

/// One run of `tarn evaluate` on one version.
package struct Evaluation: Sendable, Equatable {
  package let version: VersionName
  /// Name of the query file.
  package let queries: String
  package let queriesDigest: ContentDigest
  package let queryCount: Int
  /// Rows of the version.
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

extension LakeCatalog {
  /// Keeps what an evaluation found.
  ///
  /// - Parameters:
  ///   - evaluation: What was found.
  ///   - version: The version, sealed or revoked.
  /// - Returns: The evaluation as it was given.
  /// - Throws: ``TarnError``.
  @discardableResult
  package func recordEvaluation(_ evaluation: Evaluation, of version: IndexVersion) throws -> Evaluation {
    try write("evaluation") { database in
      try database.execute(
        sql: """
          INSERT INTO evaluation (version_id, evaluated_at, queries, queries_sha256, query_count, row_count, truth_sha256,
            threads, imbalance, list_sizes, environment) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          version.id, Timestamp.now(), evaluation.queries, evaluation.queriesDigest.hex, evaluation.queryCount,
          evaluation.rowCount, evaluation.truthDigest.hex, evaluation.threads, evaluation.imbalance,
          JSONValue.array(evaluation.listSizes.map { .count($0) }).text, evaluation.environment,
        ])
      let id = database.lastInsertedRowID
      for point in evaluation.points {
        try database.execute(
          sql: "INSERT INTO evaluation_point (evaluation_id, nprobe, vectors_scanned, seconds) VALUES (?, ?, ?, ?)",
          arguments: [id, point.nprobe, point.vectorsScanned, point.seconds])
        for recall in point.recalls {
          try database.execute(
            sql: """
              INSERT INTO evaluation_recall (evaluation_id, nprobe, k, recall, standard_error, routing_recall)
              VALUES (?, ?, ?, ?, ?, ?)
              """,
            arguments: [id, point.nprobe, recall.k, recall.recall, recall.standardError, recall.routingRecall])
        }
      }
      try LakeCatalog.record(
        .evaluated, "\(version.name)",
        ["evaluation": .integer(id), "queries_sha256": .string(evaluation.queriesDigest.hex)], database)
    }
    return evaluation
  }
}
