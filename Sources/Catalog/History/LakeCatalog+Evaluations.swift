// Evaluations: what a version found of what exact search finds, kept for good.

package import Base

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
      let id = try evaluation.insert(of: version.id, database)
      try LakeCatalog.record(
        .evaluated, "\(version.name)",
        [
          "evaluation": .integer(id), "queries_sha256": .string(evaluation.queriesDigest.hex),
          "sha256": .string(try RecordDigests.evaluation(id, database).hex),
        ], database)
    }
    return evaluation
  }
}
