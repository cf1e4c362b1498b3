// The nearest image of each caption (DESIGN 4.1): exact, in tiles that a
// killed run resumes at.

package import Base
package import Features
package import Logging

/// Finds, for each caption, the image with the greatest score over all images.
///
/// Tiles are numbered with captions outside and images inside: tile t compares
/// caption block t / imageBlockCount with image block t % imageBlockCount. A
/// caption's winner over the blocks so far is replaced only by a greater score;
/// blocks come in ascending order, so equal scores keep the lowest image. The
/// sizes of the blocks have no effect on the result.
package struct NearestImages: Sendable {
  package let images: FeatureMatrix
  package let captions: FeatureMatrix
  private let fingerprint: ContentDigest
  private let imagesPerTile: Int
  private let captionsPerTile: Int
  private let pool: WorkerPool
  private let backend: AssignmentBackend?
  private let logger: Logger

  /// What is known after some tiles.
  package struct State: Sendable, Equatable {
    /// The next tile to compute.
    package internal(set) var nextTile: Int
    /// Per caption the best image so far; meaningless where no tile was.
    package internal(set) var images: [UInt32]
    /// Per caption the score of that image; -infinity where no tile was.
    package internal(set) var scores: [Double]
  }

  /// Describes the computation.
  ///
  /// - Parameters:
  ///   - images: `[n × dimension]`, at most 2^32 - 2 rows.
  ///   - captions: `[m × dimension]`.
  ///   - inputs: Identifies the bytes of both matrices; a state saved for
  ///     other inputs is refused.
  ///   - imagesPerTile: Images prepared at a time, `1...`; they take four bytes
  ///     for each element.
  ///   - captionsPerTile: Captions compared with them between two checkpoints.
  ///   - pool: The threads; nil for the process's.
  ///   - backend: How to compute; nil for the process's choice.
  ///   - logger: Gets a warning when a backend is dropped.
  /// - Throws: ``TarnError`` `.badFeatures` when the dimensions differ,
  ///   `.unfit` when there are no images.
  package init(
    images: FeatureMatrix, captions: FeatureMatrix, inputs: ContentDigest, imagesPerTile: Int = 65_536,
    captionsPerTile: Int = 262_144, pool: WorkerPool? = nil, backend: AssignmentBackend? = nil,
    logger: Logger = Logger(label: "tarn.engine")
  ) throws {
    guard images.dimension == captions.dimension else {
      throw TarnError(
        .badFeatures, "images have \(images.dimension) elements and captions \(captions.dimension)",
        hint: "a pair of sources comes from one model")
    }
    guard images.rowCount > 0, images.rowCount < Int(UInt32.max) else {
      throw TarnError(.unfit, "\(images.rowCount) images are too few or too many to search")
    }
    (self.images, self.captions, self.backend, self.logger) = (images, captions, backend, logger)
    self.pool = try pool ?? .shared
    self.imagesPerTile = min(max(imagesPerTile, 1), images.rowCount)
    self.captionsPerTile = max(captionsPerTile, 1)
    // The blocks are part of it because the state counts in tiles.
    fingerprint = .of(
      """
      nearest-images-v1
      images \(images.rowCount) \(images.dimension) \(images.elementType) captions \(captions.rowCount) \
      \(captions.elementType)
      tile \(self.imagesPerTile) \(self.captionsPerTile)
      inputs \(inputs)
      """)
  }

  /// Blocks of images.
  package var imageBlockCount: Int { (images.rowCount + imagesPerTile - 1) / imagesPerTile }
  /// Tiles in all; progress is ``State/nextTile`` of these.
  package var tileCount: Int {
    (captions.rowCount + captionsPerTile - 1) / captionsPerTile * imageBlockCount
  }

  /// The state before the first tile.
  package var initialState: State {
    State(
      nextTile: 0, images: [UInt32](repeating: 0, count: captions.rowCount),
      scores: [Double](repeating: -.infinity, count: captions.rowCount))
  }

  /// The end result, where others computed it: as one run has it.
  ///
  /// - Parameter found: The nearest image of every caption.
  /// - Returns: The state after the last tile.
  package func finalState(_ found: RowsFound) -> State {
    precondition(found.k == 1 && found.rows.count == captions.rowCount, "it is not of these captions")
    return State(nextTile: tileCount, images: found.rows, scores: found.scores)
  }

  /// Computes the remaining tiles.
  ///
  /// - Parameters:
  ///   - state: Where to start; the end result when it returns.
  ///   - onTile: Called after each tile; may save the state, and may throw to
  ///     stop.
  /// - Throws: What `onTile` throws; ``TarnError`` `.badFeatures` for a row
  ///   that is not finite.
  package func run(_ state: inout State, onTile: (State) throws -> Void = { _ in }) throws {
    var engine: (block: Int, engine: AssignmentEngine)?
    while state.nextTile < tileCount {
      let block = state.nextTile % imageBlockCount
      if engine?.block != block {
        engine = nil
        let first = block * imagesPerTile
        let last = min(first + imagesPerTile, images.rowCount)
        engine = (
          block,
          try AssignmentEngine(rows: images, in: first..<last, backend: backend, pool: pool, logger: logger)
        )
      }
      guard let current = engine?.engine else { return }
      let first = state.nextTile / imageBlockCount * captionsPerTile
      let range = first..<min(first + captionsPerTile, captions.rowCount)
      let winners = try current.best(of: captions, in: range)
      for (i, caption) in range.enumerated() where winners.scores[i] > state.scores[caption] {
        state.scores[caption] = winners.scores[i]
        state.images[caption] = UInt32(block * imagesPerTile) + winners.rows[i]
      }
      state.nextTile += 1
      try onTile(state)
    }
  }

  /// Bytes of the file of what was found for so many captions.
  package static func byteCount(captionCount: Int) -> Int {
    SavedState.byteCount(fields: 3, holding: 8 + 12 * captionCount)
  }

  /// Saves a state durably.
  ///
  /// - Parameters:
  ///   - state: What ``run(_:onTile:)`` handed over.
  ///   - path: The final name; a file of that name is replaced.
  /// - Returns: The SHA-256 of the file.
  /// - Throws: ``TarnError`` when writing fails.
  @discardableResult
  package func save(_ state: State, as path: String) throws -> ContentDigest {
    var writer = try StateWriter(creating: path + ".tmp", magic: "tarnnear", fingerprint: fingerprint)
    try writer.write([UInt64(state.nextTile)])
    try writer.write(state.images)
    try writer.write(state.scores)
    return try writer.finish(as: path)
  }

  /// Reads a saved state.
  ///
  /// - Parameter path: What ``save(_:as:)`` wrote.
  /// - Returns: The state.
  /// - Throws: ``TarnError`` `.integrity` when the file is damaged or
  ///   belongs to another computation, `.inputsMissing` when there is none.
  package func load(_ path: String) throws -> State {
    var reader = try StateReader(path, magic: "tarnnear", fingerprint: fingerprint)
    let tile = try reader.read(UInt64.self)
    let state = State(
      nextTile: Int(clamping: tile.first ?? 0), images: try reader.read(), scores: try reader.read())
    guard tile.count == 1, state.nextTile <= tileCount, state.images.count == captions.rowCount,
      state.scores.count == captions.rowCount, state.images.allSatisfy({ Int($0) < images.rowCount })
    else { throw StateReader.misfit(path) }
    return state
  }
}
