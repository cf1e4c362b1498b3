// The lists of a training's images that `--nearest index` looks through (DESIGN 4.1):
// made by k-means on a sample, with the exact assignment, so that they are the same on
// every machine; and what is found in them, exactly.

package import Base
internal import Features
internal import Foundation
package import Logging

/// The images of a training in lists, for the time of the training.
///
/// 1. *Centroids.* ``ImageIndexPlan/iterations`` of spherical ``PairedKMeans`` on the sample of
///    ``ImageIndexPlan/sample(of:seed:)``, begun with the training's seed.
/// 2. *Lists.* Every image goes to the centroid with the greatest score, the lowest of equal ones.
/// 3. *Search.* A query ranks lists by the score of their centroids, the lower of equal ones first, and is
///    compared with every image of the first nprobe. Those with the greatest scores are its nearest, of equal
///    scores the lowest row. A query whose lists hold too few images is compared with all.
///
/// Scores are those of DESIGN 4.3, so neither threads, blocks nor the CPU show.
package struct ImageIndex: Sendable {
  let images: FeatureMatrix
  let centroids: FeatureMatrix
  /// Image rows by list.
  let lists: GroupedNumbers
  let pool: WorkerPool
  let backend: AssignmentBackend?
  let logger: Logger
  /// Bytes of images that are held in float32 at a time.
  let tileByteCount: Int

  /// What is being done, and how far it is.
  package enum Progress: Sendable, Equatable {
    case iterated(Int)
    case filed(Int)
    case found(Int)
  }

  /// Makes the lists, or goes on where an earlier run was.
  ///
  /// - Parameters:
  ///   - path: An `.npy` file of images, rows of unit length.
  ///   - digest: Its SHA-256.
  ///   - seed: The training's.
  ///   - directory: Where the sample and the state are kept.
  ///   - blockRowCount: Images that are filed between two checkpoints.
  ///   - interval: How often the lists so far are saved, at most.
  ///   - tileByteCount: Bytes of images that are held in float32 at a time, about.
  ///   - pool: The threads; nil for the process's.
  ///   - backend: How to compute; nil for the process's choice.
  ///   - logger: Gets a warning when a backend is dropped.
  ///   - checkpoint: Told of progress; may throw to stop.
  /// - Throws: ``TarnError``; what `checkpoint` throws.
  package init(
    of path: String, digest: ContentDigest, seed: UInt64, in directory: String, blockRowCount: Int = 1 << 18,
    savingEvery interval: Duration = .seconds(30), tileByteCount: Int = 1 << 30,
    pool: WorkerPool? = nil, backend: AssignmentBackend? = nil, logger: Logger = Logger(label: "tarn.engine"),
    checkpoint: (Progress) throws -> Void = { _ in }
  ) throws {
    let file = try FeatureFile(path)
    (images, self.pool, self.backend, self.logger) = (file.matrix, try pool ?? .shared, backend, logger)
    self.tileByteCount = tileByteCount
    let plan = ImageIndexPlan(imageCount: images.rowCount)
    let fingerprint = ContentDigest.of(
      "\(ImageIndexPlan.rule) \(images.rowCount) \(plan.nlist) \(plan.sampleCount) \(ImageIndexPlan.iterations) seed \(seed)\nimages \(digest)"
    )
    let listed = directory + "/nearest-lists.state"
    let saved = try SavedState.usable(logger) { try Self.load(listed, fingerprint, plan, file.matrix) }
    var state: (centroids: [Float], lists: [UInt32]) =
      if let saved { saved } else {
        (
          centroids: try Self.cluster(
            file, plan, seed: seed, fingerprint, in: directory, pool: self.pool, backend: backend, logger: logger,
            checkpoint),
          lists: []
        )
      }
    let centroids = FeatureMatrix(state.centroids, dimension: images.dimension)
    self.centroids = centroids
    if state.lists.count < images.rowCount {
      let engine = try AssignmentEngine(
        rows: centroids, backend: backend, pool: self.pool, expectedVectorCount: images.rowCount, logger: logger)
      var savedAt = ContinuousClock.now
      while state.lists.count < images.rowCount {
        let first = state.lists.count
        state.lists += try engine.best(of: images, in: first..<min(first + blockRowCount, images.rowCount)).rows
        try checkpoint(.filed(state.lists.count))
        guard state.lists.count == images.rowCount || ContinuousClock.now - savedAt >= interval else { continue }
        try Self.save(state, fingerprint, as: listed)
        savedAt = .now
      }
      for name in ["nearest-sample.npy", "nearest-kmeans.state"] { try? Disk.remove("\(directory)/\(name)") }
    }
    lists = GroupedNumbers(by: state.lists, keyCount: plan.nlist)
  }

  /// The centroids of the sample.
  private static func cluster(
    _ file: FeatureFile, _ plan: ImageIndexPlan, seed: UInt64, _ fingerprint: ContentDigest, in directory: String,
    pool: WorkerPool, backend: AssignmentBackend?, logger: Logger, _ checkpoint: (Progress) throws -> Void
  ) throws -> [Float] {
    let path = directory + "/nearest-sample.npy"
    var writer = try TrainingMatrixWriter(
      creating: path + ".tmp", elementType: file.elementType, rowCount: plan.sampleCount, dimension: file.dimension)
    try writer.append(plan.sample(of: file.rowCount, seed: seed), of: file)
    _ = try writer.finish(as: path)
    let sample = try FeatureFile(path).matrix
    let kmeans = try PairedKMeans(
      images: sample, captions: sample, nearestImages: nil, nlist: plan.nlist, seed: seed, inputs: fingerprint,
      pool: pool, backend: backend, logger: logger)
    let saved = directory + "/nearest-kmeans.state"
    var state = try SavedState.usable(logger) { try kmeans.load(saved) } ?? kmeans.initialState()
    while state.iteration < ImageIndexPlan.iterations {
      try kmeans.step(&state)
      try kmeans.save(state, as: saved)
      try checkpoint(.iterated(state.iteration))
    }
    return state.centroids
  }

  private static func save(
    _ state: (centroids: [Float], lists: [UInt32]), _ fingerprint: ContentDigest, as path: String
  ) throws {
    var writer = try StateWriter(creating: path + ".tmp", magic: "tarnlist", fingerprint: fingerprint)
    try writer.write(state.centroids)
    try writer.write(state.lists)
    _ = try writer.finish(as: path)
  }

  /// A saved state.
  ///
  /// - Throws: ``TarnError`` as ``StateReader`` does.
  private static func load(
    _ path: String, _ fingerprint: ContentDigest, _ plan: ImageIndexPlan, _ images: FeatureMatrix
  ) throws -> (centroids: [Float], lists: [UInt32]) {
    var reader = try StateReader(path, magic: "tarnlist", fingerprint: fingerprint)
    let (centroids, lists) = (try reader.read(Float.self), try reader.read(UInt32.self))
    guard centroids.count == plan.nlist * images.dimension, lists.count <= images.rowCount,
      lists.allSatisfy({ Int($0) < plan.nlist })
    else { throw StateReader.misfit(path) }
    return (centroids, lists)
  }
}
