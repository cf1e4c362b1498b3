// Evaluations: what a version found of what exact search finds, kept for good.

package import Base
internal import GRDB

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
