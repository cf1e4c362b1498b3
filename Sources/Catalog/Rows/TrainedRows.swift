// Rows of `trained_index`, `trained_router`, `trained_input`,
// `training_iteration`, `router_epoch` and `nearest_images`.

package import Base
internal import GRDB

/// A row of `trained_index`.
package struct TrainedIndexRecord: Sendable, Identifiable {
  package let id: Int64
  package let name: String
  package let state: TrainedIndexState
  package let method: String
  package let codec: String
  package let nlist: Int
  package let dimension: Int
  package let iterations: Int
  package let seed: Int64
  package let pairCount: Int
  package let imageSourceID: Int64
  /// Source of the pairs' captions, or of the router's; nil without either.
  package let captionSourceID: Int64?
  /// What ranks the lists; nil where the centroids do.
  package let router: String?
  package let spec: String
  package let specDigest: ContentDigest
  /// Digest of the file; nil until ready.
  package let digest: ContentDigest?
}

extension TrainedIndexRecord {
  /// The codec of the codes that refine what is built with it; nil for none.
  package var refine: String? { JSONValue(parsing: spec)?.refinedBy }
}

extension JSONValue {
  /// What a specification of training says that rows are refined by; nil for nothing.
  var refinedBy: String? { self["refine"]?["codec"]?.string }
}

extension TrainedIndexRecord: FetchableRecord {
  /// The rows of ``TrainedIndexRecord``; append a WHERE.
  static let select = """
    SELECT t.*, r.method AS router_method, r.caption_source_id AS router_caption_source_id FROM trained_index t
    LEFT JOIN trained_router r ON r.trained_index_id = t.id
    """

  init(row: Row) throws {
    id = row["id"]
    name = row["name"]
    state = try row.named("state")
    method = row["method"]
    codec = row["codec"]
    nlist = row["nlist"]
    dimension = row["dimension"]
    iterations = row["iterations"]
    seed = row["seed"]
    pairCount = row["pair_count"]
    imageSourceID = row["image_source_id"]
    captionSourceID = row["caption_source_id"] ?? row["router_caption_source_id"]
    router = row["router_method"]
    spec = row["spec"]
    specDigest = try row.requiredDigest("spec_sha256")
    digest = try row.digest("sha256")
  }

  /// Plans a trained index, with its router, and gives its number.
  static func insert(_ definition: TrainingDefinition, at time: String, _ database: Database) throws -> Int64 {
    let id = try database.insert(
      """
      INSERT INTO trained_index (name, state, method, codec, nlist, dimension, iterations, seed, pair_count,
        image_source_id, caption_source_id, spec, spec_sha256, created_at)
      VALUES (?, 'training', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        definition.name, definition.method, definition.codec, definition.nlist, definition.dimension,
        definition.iterations, definition.seed, definition.pairCount, definition.images.id, definition.captions?.id,
        definition.spec, ContentDigest.of(definition.spec).hex, time,
      ])
    if let router = definition.router { try router.insert(of: id, database) }
    return id
  }
}

extension RouterDefinition {
  /// Adds the row of `trained_router`.
  fileprivate func insert(of trainedID: Int64, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO trained_router (trained_index_id, method, caption_source_id, caption_count, epochs)
      VALUES (?, ?, ?, ?, ?)
      """, [trainedID, method, captions.id, captionCount, epochs])
  }
}

/// A row of `trained_input`.
enum TrainedInputRow {
  /// Adds a revision that a training reads.
  static func insert(
    of trainedID: Int64, role: String, ordinal: Int, shardID: Int64, revision: Int, _ database: Database
  ) throws {
    try database.run(
      "INSERT INTO trained_input (trained_index_id, role, ordinal, shard_id, revision) VALUES (?, ?, ?, ?, ?)",
      [trainedID, role, ordinal, shardID, revision])
  }
}

/// A row of `training_iteration`.
package struct TrainingIteration: Sendable {
  package let iteration: Int
  package let objective: Double
  package let movedShare: Double
  package let imbalance: Double
  package let emptyCount: Int
  package let largestCount: Int

  package init(
    iteration: Int, objective: Double, movedShare: Double, imbalance: Double, emptyCount: Int, largestCount: Int
  ) {
    self.iteration = iteration
    self.objective = objective
    self.movedShare = movedShare
    self.imbalance = imbalance
    self.emptyCount = emptyCount
    self.largestCount = largestCount
  }
}

extension TrainingIteration: FetchableRecord {
  init(row: Row) {
    iteration = row["iteration"]
    objective = row["objective"]
    movedShare = row["moved_share"]
    imbalance = row["imbalance"]
    emptyCount = row["empty_count"]
    largestCount = row["largest_count"]
  }

  /// Keeps the iteration; again, or of a trained index that is ready, changes
  /// nothing.
  func insert(of trainedID: Int64, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO training_iteration (trained_index_id, iteration, objective, moved_share, imbalance, empty_count,
        largest_count) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
      WHERE (SELECT state FROM trained_index WHERE id = ?1) = 'training'
        AND NOT EXISTS (SELECT 1 FROM training_iteration WHERE trained_index_id = ?1 AND iteration = ?2)
      """, [trainedID, iteration, objective, movedShare, imbalance, emptyCount, largestCount])
  }
}

/// A row of `router_epoch`.
enum RouterEpochRow {
  /// Keeps an epoch; again, or of a trained index that is ready and made again,
  /// it changes nothing.
  static func insert(_ epoch: Int, loss: Double, of trainedID: Int64, _ database: Database) throws {
    try database.run(
      """
      INSERT INTO router_epoch (trained_index_id, epoch, loss) SELECT ?1, ?2, ?3
      WHERE (SELECT state FROM trained_index WHERE id = ?1) = 'training'
        AND NOT EXISTS (SELECT 1 FROM router_epoch WHERE trained_index_id = ?1 AND epoch = ?2)
      """, [trainedID, epoch, loss])
  }
}

/// A row of `nearest_images`.
enum NearestImagesRow {
  /// Says which file has the nearest rows of what was compared; again changes
  /// nothing.
  static func insert(
    _ kind: StoredKind, of inputs: ContentDigest, digest: ContentDigest, pairCount: Int, _ database: Database
  ) throws {
    try database.run(
      """
      INSERT INTO nearest_images (inputs_sha256, purpose, sha256, pair_count, created_at) SELECT ?1, ?2, ?3, ?4, ?5
      WHERE NOT EXISTS (SELECT 1 FROM nearest_images WHERE inputs_sha256 = ?1)
      """, [inputs.hex, kind.rawValue, digest.hex, pairCount, Timestamp.now()])
  }
}
