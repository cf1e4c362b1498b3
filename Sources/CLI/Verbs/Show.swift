internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn show`: a version or a trained index, with its lineage.
struct Show: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Describe a version or a trained index: inputs, parameters, outputs, lineage.",
    discussion: """
      A NAME is the trained index that is called so, else the newest version of that name.

      Of evaluations error_95 is half of the 95 % interval that a recall has with so many queries; of lists that were tried
      standard_error is that of the difference between both kinds.

      EXAMPLES
        tarn show laion@1
        tarn show clip --json

      \(ExitStatus.help)
      """)

  @Argument(
    help: ArgumentHelp("A version or a trained index.", valueName: "NAME[@N]"), completion: .versionsAndTrainedIndexes)
  var name: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func run() throws {
    let catalog = try global.read()
    let sections: [(String, String)]
    if let trained = try catalog.findTrainedIndex(named: name) {
      sections = try describe(trained, catalog)
    } else {
      sections = try describe(named(catalog), catalog)
    }
    var document: [String: JSONValue] = [:]
    for (title, sql) in sections {
      var table = Table([])
      var rows: [JSONValue] = []
      try catalog.query(sql) { columns, values in
        guard let values else {
          table = Table(columns)
          return
        }
        table.add(values)
        rows.append(.object(Table.object(columns, values)))
      }
      document[title] = .array(rows)
      guard !global.json, !rows.isEmpty else { continue }
      Output.line("\(title)")
      table.print(as: .table)
      Output.line("")
    }
    if global.json { Output.json(document) }
    Output.flush()
  }

  /// The column of the name that a version was published under, where it is another.
  private static func published(_ version: IndexVersion) -> String {
    version.publishedName == nil ? "" : "published_as,"
  }

  private func named(_ catalog: LakeCatalog) throws -> IndexVersion {
    do {
      return try catalog.version(global.version(name, catalog))
    } catch let error as TarnError where error.code == .notFound && !name.contains("@") {
      throw TarnError(
        .notFound, "there is no trained index or version named \(name)",
        hint: try catalog.nearVersionOrTrainedIndex(name)
          ?? "`tarn versions` and `tarn sql \"SELECT * FROM v_trained_index\"` list them")
    }
  }

  private func describe(_ version: IndexVersion, _ catalog: LakeCatalog) throws -> [(String, String)] {
    let trained = try catalog.trainedIndex(id: version.trainedIndexID)
    // Shown where there is something to show.
    let refine = { (columns: String) in trained.refine == nil ? "" : columns }
    return [
      (
        "version",
        """
        SELECT version, state, source, trained_index, codec, \(refine("refine, "))nlist, rows, bytes, \(refine("refine_bytes, "))sha256, \(Self.published(version)) created_at, sealed_at
        FROM v_version WHERE version = '\(version.name)'
        """
      ),
      (
        "trained_index",
        """
        SELECT trained_index, method, router, nlist, codec, ranges, \(refine("refine, "))pairs, iterations, seed, images, captions, sha256
        FROM v_trained_index
        WHERE trained_index = '\(trained.name)'
        """
      ),
      (
        "inputs",
        """
        SELECT input, source, shard, revision, sha256, first_id, rows, output, is_hole, is_present FROM v_version_input
        WHERE version = '\(version.name)' ORDER BY input
        """
      ),
      (
        "outputs",
        """
        SELECT output, file, first_id, end_id, rows, bytes, sha256\(refine(", refine_file, refine_bytes, refine_sha256")) FROM v_output_shard
        WHERE version = '\(version.name)' ORDER BY output
        """
      ),
      (
        "evaluations",
        """
        SELECT evaluation, evaluated_at, queries, query_count, nprobe, k, round(share_scanned, 6) AS scanned,
          round(recall, 4) AS recall, round(1.96 * standard_error, 4) AS error_95,
          round(routing_recall, 4) AS routing, round(queries_per_second) AS queries_per_second, round(imbalance, 2) AS imbalance,
          sample_shards\(refine(", refined_rows"))
        FROM v_evaluation WHERE version = '\(version.name)' ORDER BY evaluation, nprobe, k
        """
      ),
      (
        "reproductions",
        "SELECT started_at, outcome, detail FROM reproduction WHERE version_id = \(version.id) ORDER BY id"
      ),
    ]
  }

  private func describe(_ trained: TrainedIndexRecord, _ catalog: LakeCatalog) throws -> [(String, String)] {
    let file = try trained.digest.map { try ArtifactStore(catalog).path(of: .trainedIndex, $0) }
    let taken = try TrainingSpecification(parsing: trained.spec)
    let leftOut = taken.leftOut.sorted { $0.key < $1.key }.map { shard, rows in
      "(\(shard), \(rows.count), '\(rows.prefix(10).map(String.init).joined(separator: ", "))')"
    }
    let quoted = file.map { "'\($0.replacing("'", with: "''"))'" } ?? "NULL"
    return [
      (
        "trained_index",
        """
        SELECT trained_index, state, method, \(taken.nearest == .exact ? "" : "nearest, ")router, codec, ranges, nlist, dimension, pairs, iterations, seed, images, captions, bytes,
          sha256, \(quoted) AS file FROM v_trained_index WHERE trained_index = '\(trained.name)'
        """
      ),
      (
        // Measured when it was trained; nothing where the search was exact.
        "nearest_images",
        """
        SELECT json_extract(detail, '$.nearest_agreement.agreed') AS agreed,
          json_extract(detail, '$.nearest_agreement.of') AS captions_searched_exactly
        FROM event WHERE verb = 'trained' AND json_extract(detail, '$.sha256') = '\(trained.digest?.hex ?? "")'
          AND json_extract(detail, '$.nearest_agreement') IS NOT NULL ORDER BY seq DESC LIMIT 1
        """
      ),
      (
        // By train --queries; nothing without.
        "lists_tried",
        """
        SELECT t.value ->> 'queries' AS queries, t.value ->> 'queries_sha256' AS queries_sha256, t.value ->> 'array' AS "array",
          t.value ->> 'sampled_queries' AS sampled_queries, t.value ->> 'pairs' AS pairs, t.value ->> 'nlist' AS nlist,
          round(t.value ->> 'found_by_captions', 3) AS found_by_captions, round(t.value ->> 'found_by_images', 3) AS found_by_images,
          round(t.value ->> 'error', 3) AS standard_error
        FROM event e, json_each(e.detail) t WHERE e.verb = 'trained' AND t.key = 'lists_tried'
          AND json_extract(e.detail, '$.sha256') = '\(trained.digest?.hex ?? "")' ORDER BY e.seq DESC LIMIT 1
        """
      ),
      (
        // As the specification says it: nothing where all of both sources was taken.
        "taken",
        """
        SELECT '\(OrdinalSet(ascending: taken.shards).text)' AS shards
        FROM trained_index WHERE id = \(trained.id) AND json_extract(spec, '$.shards') IS NOT NULL
        """
      ),
      (
        // All of them are in the specification.
        "left_out",
        """
        SELECT column1 AS shard, column2 AS rows_left_out, column3 AS first_rows
        FROM (VALUES \(leftOut.isEmpty ? "(NULL, NULL, NULL)" : leftOut.joined(separator: ", "))) WHERE column1 IS NOT NULL
        """
      ),
      (
        "iterations",
        """
        SELECT iteration, round(objective, 9) AS objective, round(moved_share, 6) AS moved_share,
          round(imbalance, 6) AS imbalance, empty_count AS empty, largest_count AS largest
        FROM training_iteration WHERE trained_index_id = \(trained.id) ORDER BY iteration
        """
      ),
      (
        "router_epochs",
        """
        SELECT epoch, round(loss, 6) AS loss FROM router_epoch WHERE trained_index_id = \(trained.id) ORDER BY epoch
        """
      ),
      (
        "inputs",
        """
        SELECT i.role, i.ordinal, h.name AS shard, i.revision, r.sha256, r.row_count AS rows FROM trained_input i
        JOIN shard h ON h.id = i.shard_id
        JOIN shard_revision r ON r.shard_id = i.shard_id AND r.revision = i.revision
        WHERE i.trained_index_id = \(trained.id) ORDER BY i.role DESC, i.ordinal
        """
      ),
      ("versions", "SELECT version, state, rows, sealed_at FROM v_version WHERE trained_index = '\(trained.name)'"),
    ]
  }
}
