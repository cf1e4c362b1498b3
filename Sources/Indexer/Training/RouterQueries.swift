// What a router is trained on: captions, blends of two captions, and for each
// the training images that are exactly nearest.

package import Base
internal import CRows
package import Features
package import Logging

/// The training queries of a router, in a file of their own.
///
/// The first half are captions: all, or `count` of them that a seeded shuffle
/// puts first, ascending. Query count + i is caption i blended with caption
/// π(i), `normalise(p_i + 0.7 p_π(i))` in binary64, π a second shuffle. Blends
/// cost no data: exact search labels any query, and twice the queries of one
/// distribution train a router that does better on captions it never saw. The
/// caption means are those of captions alone.
package enum RouterQueries {
  /// The name of the rule, for the catalog.
  package static let rule = "captions-and-blends-v1"
  private static let share = 0.7

  /// Writes the queries as a float32 `.npy` file, durably.
  ///
  /// - Parameters:
  ///   - captions: `[n × dimension]`, rows of unit length.
  ///   - count: Captions to take, `1...n`.
  ///   - seed: Chooses captions and partners.
  ///   - hasBlends: Whether the second half follows.
  ///   - path: The final name; a file of that name is replaced.
  /// - Returns: The SHA-256 of the file.
  /// - Throws: ``TarnError`` when writing fails.
  package static func write(
    _ captions: FeatureMatrix, count: Int, seed: UInt64, hasBlends: Bool, to path: String
  ) throws -> ContentDigest {
    precondition((1...captions.rowCount).contains(count))
    let dimension = captions.dimension
    var random = SplitMix64(seed: SplitMix64.mix(seed ^ 0x726F_7574_6572))
    let chosen = shuffled(captions.rowCount, &random).prefix(count).sorted()
    let partners = shuffled(count, &random)
    var file = try DurableFile(creating: path + ".tmp")
    unsafe try file.write(
      NpyHeader.bytes(descr: "<f4", rowCount: hasBlends ? 2 * count : count, columns: dimension).span.bytes)
    let block = 4096
    for first in stride(from: 0, to: count, by: block) {
      let rows = chosen[first..<min(first + block, count)].flatMap { captions.floats(rows: $0..<($0 + 1)) }
      unsafe try file.write(rows.span.bytes)
    }
    var sum = [Double](repeating: 0, count: dimension)
    for first in stride(from: 0, to: hasBlends ? count : 0, by: block) {
      var rows: [Float] = []
      rows.reserveCapacity(block * dimension)
      for i in first..<min(first + block, count) {
        let own = captions.floats(rows: chosen[i]..<(chosen[i] + 1))
        let other = captions.floats(rows: chosen[partners[i]]..<(chosen[partners[i]] + 1))
        for j in 0..<dimension { sum[j] = Double(own[j]) + share * Double(other[j]) }
        let length = unsafe crows_score64(sum, sum, dimension).squareRoot()
        for j in 0..<dimension { rows.append(Float(sum[j] / length)) }
      }
      unsafe try file.write(rows.span.bytes)
    }
    return try file.finish(as: path)
  }

  private static func shuffled(_ count: Int, _ random: inout SplitMix64) -> [Int] {
    var order = Array(0..<count)
    order.shuffleFirst(count - 1, by: &random)
    return order
  }
}

/// The exactly nearest images of router queries, found in chunks that a killed
/// run resumes at.
package struct RouterLabels {
  /// Images found for each query.
  package let perQuery: Int
  private let queries: FeatureMatrix
  private let images: FeatureMatrix
  private let fingerprint: ContentDigest
  private let chunk = 16_384

  /// Describes the search.
  ///
  /// - Parameters:
  ///   - queries: `[m × dimension]`.
  ///   - images: `[n × dimension]`; of none, nothing is found.
  ///   - inputs: Identifies the bytes of both.
  package init(queries: FeatureMatrix, images: FeatureMatrix, inputs: ContentDigest) {
    (self.queries, self.images) = (queries, images)
    perQuery = min(RouterTraining.labelCount, images.rowCount)
    fingerprint = .of("router-labels-v1 \(queries.rowCount) \(images.rowCount) \(perQuery)\ninputs \(inputs)")
  }

  /// Finds the images.
  ///
  /// - Parameters:
  ///   - path: Where the state is kept between chunks.
  ///   - logger: Gets a warning where a state cannot be used.
  ///   - report: Told of queries done.
  /// - Returns: Image rows, `[m × perQuery]`, nearest first.
  /// - Throws: ``TarnError``.
  package func find(
    resumingAt path: String, logger: Logger = Logger(label: "tarn.engine"), report: (Int) throws -> Void
  ) throws -> [UInt32] {
    var found = try SavedState.usable(logger) { try load(path) } ?? []
    var saved = ContinuousClock.now
    while found.count < queries.rowCount * perQuery {
      let first = found.count / perQuery
      let end = min(first + chunk, queries.rowCount)
      let block = FeatureMatrix(queries.floats(rows: first..<end), dimension: queries.dimension)
      var neighbors = try ExactNeighbors(queries: block, k: perQuery)
      try neighbors.add(images)
      found += neighbors.ids.map { UInt32($0) }
      try report(end)
      guard ContinuousClock.now - saved > .seconds(30) else { continue }
      _ = try save(found, as: path)
      saved = .now
    }
    return found
  }

  /// Bytes of the file of what was found for so many queries among so many images.
  package static func byteCount(queryCount: Int, imageCount: Int) -> Int {
    SavedState.byteCount(fields: 1, holding: 4 * queryCount * min(RouterTraining.labelCount, imageCount))
  }

  /// Saves what was found, durably.
  package func save(_ found: [UInt32], as path: String) throws -> ContentDigest {
    var writer = try StateWriter(creating: path + ".tmp", magic: "tarnlabl", fingerprint: fingerprint)
    try writer.write(found)
    return try writer.finish(as: path)
  }

  /// Reads what was saved.
  ///
  /// - Parameter path: What ``save(_:as:)`` wrote.
  /// - Returns: Image rows of the first queries.
  /// - Throws: ``TarnError`` when the file is damaged or of other inputs.
  package func load(_ path: String) throws -> [UInt32] {
    var reader = try StateReader(path, magic: "tarnlabl", fingerprint: fingerprint)
    let found = try reader.read(UInt32.self)
    guard perQuery > 0 ? found.count % perQuery == 0 : found.isEmpty, found.count <= queries.rowCount * perQuery,
      found.allSatisfy({ Int($0) < images.rowCount })
    else { throw StateReader.misfit(path) }
    return found
  }
}
