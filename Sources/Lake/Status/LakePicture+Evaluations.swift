// What evaluations of a version found, read back to be drawn.

package import Base
internal import Catalog

extension LakePicture {
  /// The newest evaluation of a version with each file of queries, the newest first.
  ///
  /// - Parameters:
  ///   - version: The version.
  ///   - most: Evaluations at most.
  /// - Returns: The evaluations.
  /// - Throws: ``TarnError``.
  package func evaluations(of version: VersionName, atMost most: Int) throws -> [Evaluation] {
    var points: [Int: [EvaluationPoint]] = [:]
    var found: [(id: Int, evaluation: ([EvaluationPoint]) -> Evaluation)] = []
    let recalls = try rows(
      """
      WITH newest AS (SELECT max(e.id) AS id FROM evaluation e JOIN index_version v ON v.id = e.version_id
        WHERE v.name = '\(version.name)' AND v.number = \(version.number) GROUP BY e.queries_sha256 ORDER BY 1 DESC LIMIT \(most))
      SELECT p.evaluation_id, p.nprobe, p.vectors_scanned, p.seconds, r.k, r.recall, r.standard_error, r.routing_recall
      FROM newest n JOIN evaluation_point p ON p.evaluation_id = n.id
      JOIN evaluation_recall r ON r.evaluation_id = p.evaluation_id AND r.nprobe = p.nprobe
      ORDER BY p.evaluation_id, p.nprobe, r.k
      """)
    for row in recalls {
      let id = row[0].integer
      let recall = RecallPoint(
        k: row[4].integer, recall: row[5].real, standardError: row[6].real, routingRecall: row[7].real)
      let before = points[id]?.last
      let isSame = before?.nprobe == row[1].integer
      if isSame { points[id]?.removeLast() }
      points[id, default: []].append(
        EvaluationPoint(
          nprobe: row[1].integer, vectorsScanned: row[2].real, seconds: row[3].real,
          recalls: (isSame ? before?.recalls ?? [] : []) + [recall]))
    }
    guard !points.isEmpty else { return [] }
    let evaluations = try rows(
      """
      SELECT e.id, e.queries, e.queries_sha256, e.query_count, e.row_count, t.nlist, e.truth_sha256, e.threads, e.imbalance, e.list_sizes,
        e.environment
      FROM evaluation e JOIN index_version v ON v.id = e.version_id JOIN trained_index t ON t.id = v.trained_index_id
      WHERE e.id IN (\(points.keys.map { String($0) }.joined(separator: ", "))) ORDER BY e.id DESC
      """)
    for row in evaluations {
      guard let queries = ContentDigest(hex: row[2].text), let truth = ContentDigest(hex: row[6].text) else {
        continue
      }
      let sizes = JSONValue(parsing: row[9].text)?.elements.compactMap(\.count) ?? []
      found.append(
        (
          row[0].integer,
          {
            Evaluation(
              version: version, queries: row[1].text, queriesDigest: queries, queryCount: row[3].integer,
              rowCount: row[4].integer, nlist: row[5].integer, truthDigest: truth, threads: row[7].integer,
              imbalance: row[8].real, listSizes: sizes, environment: row[10].text, points: $0)
          }
        ))
    }
    return found.map { $0.evaluation(points[$0.id] ?? []) }
  }
}
