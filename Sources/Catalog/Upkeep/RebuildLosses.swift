// What `rebuild-catalog` cannot make again, table by table and column by column:
// no file of a lake says it. Whatever is not listed here comes back as it was.

/// A table, or columns of one, that no file of a lake tells.
package struct RebuildLoss: Sendable {
  package let table: String
  /// Nil for the whole table.
  package let columns: [String]?
  /// What is not known any more, as people say it.
  package let what: String

  private init(_ table: String, columns: [String]? = nil, _ what: String) {
    self.table = table
    self.columns = columns
    self.what = what
  }

  /// Every loss.
  package static let all: [RebuildLoss] = [
    RebuildLoss("event", "the history"),
    RebuildLoss("evaluation", "evaluations"),
    RebuildLoss("evaluation_point", "evaluations"),
    RebuildLoss("evaluation_recall", "evaluations"),
    RebuildLoss("reproduction", "reproductions"),
    RebuildLoss("transfer", "transfers"),
    RebuildLoss("command_run", "runs of commands"),
    RebuildLoss("command_input", "runs of commands"),
    RebuildLoss("training_iteration", "iterations of trainings and of their routers"),
    RebuildLoss("router_epoch", "iterations of trainings and of their routers"),
    RebuildLoss("setting", "settings"),
    RebuildLoss("source_listing", "listings"),
    RebuildLoss(
      "exclusion_list", columns: ["number", "kind", "reason", "row_count", "sha256", "created_at", "rule_id"],
      "why and when rows were excluded"),
    RebuildLoss("exclusion_row", columns: ["value_sha256"], rules),
    RebuildLoss("exclusion_rule", rules),
    RebuildLoss("exclusion_value", rules),
    RebuildLoss("exclusion_scan", rules),
    RebuildLoss("shard_chunks", "digests of chunks"),
    RebuildLoss("duplicate_file", "copies that an older tarn made of the same bytes"),
    RebuildLoss("version_companion", companions),
    RebuildLoss("pack", companions),
    RebuildLoss("source", columns: ["companion_of"], companions),
    RebuildLoss("segment", columns: ["created_at"], times),
    RebuildLoss("nearest_images", "what nearest rows are of"),
    // Marks of directories outside the lake keep it.
    RebuildLoss("lake", columns: ["uuid"], "the lake's own name, where no directory outside bears it"),
    RebuildLoss("lake", columns: ["created_at"], times),
    RebuildLoss("source", columns: ["created_at"], times),
    RebuildLoss("mirror", columns: ["created_at"], times),
    RebuildLoss("mirror", columns: ["provenance"], "which mirrors serve originals"),
    RebuildLoss("mirror", columns: ["is_of_document"], "which addresses the user meant and which a document brought"),
    RebuildLoss("source", columns: ["kept_query"], "which query items of addresses are harmless"),
    RebuildLoss("shard", columns: ["expected_byte_count", "expected_sha256", "expected_row_count"], "manifests"),
    RebuildLoss("shard", columns: ["last_error", "reserved_byte_count"], "transfers"),
    RebuildLoss("shard", columns: ["changed_at"], times),
    RebuildLoss(
      "shard_location",
      columns: ["state", "byte_count", "row_count", "etag", "last_modified", "checked_at", "last_error"],
      "what mirrors were seen to have"),
    RebuildLoss(
      "shard_revision", columns: ["trust", "mirror_id", "etag", "last_modified"], "what mirrors were seen to have"),
    RebuildLoss("shard_revision", columns: ["observed_at"], times),
    RebuildLoss("stored_bytes", columns: ["created_at", "verified_at", "deleting_at"], times),
    RebuildLoss("trained_index", columns: ["created_at", "ready_at"], times),
    RebuildLoss("index_version", columns: ["environment"], "the machines that built, whose rows adopted versions have"),
    RebuildLoss("index_version", columns: ["created_at", "sealed_at", "ended_at"], times),
    RebuildLoss("output_shard", columns: ["created_at"], times),
  ]

  private static let rules = "rules of exclusions"
  private static let companions = "companions"
  private static let times = "when things were done"
}

extension RebuildSummary {
  /// What no file of a lake tells, said once.
  package static var unknowable: String {
    var said: Set<String> = []
    let things = RebuildLoss.all.map(\.what).filter { said.insert($0).inserted }
    return
      "not known any more: \(things.joined(separator: ", ")), revocations and pins by an older tarn, shards dropped or "
      + "taken back and rows excluded or readmitted since the last version was sealed, unfinished trainings and builds, "
      + "sources and trained indexes of no sealed version; nearest images, and segments that no output bears out, are "
      + "made again when they are needed"
  }
}
