// Saved states of training, which a killed run continues from: behind the
// fingerprint of its inputs, and before a checksum, whatever the fuzzer likes.

internal import Base
internal import Features
internal import Foundation
internal import Indexer

enum FuzzState {
  private static let images = FeatureMatrix([1, 0, 0, 1, 0.6, 0.8], dimension: 2)
  private static let captions = FeatureMatrix([0.8, 0.6, 0, -1, 1, 0, -0.6, 0.8], dimension: 2)
  /// Bytes before the fields: magic and fingerprint; and the checksum after them.
  private static let (headByteCount, checksumByteCount) = (40, 32)

  private static func nearest() throws -> NearestImages {
    try NearestImages(
      images: images, captions: captions, inputs: .of("fuzz"), imagesPerTile: 2, captionsPerTile: 3,
      pool: WorkerPool(threadCount: 1), backend: .scalar)
  }

  private static func clustering() throws -> PairedKMeans {
    try PairedKMeans(
      images: images, captions: captions, nearestImages: [0, 2, 1, 2], nlist: 2, seed: 1, inputs: .of("fuzz"),
      pool: WorkerPool(threadCount: 1), backend: .scalar)
  }

  /// States at the start and later; the first byte says of which computation.
  ///
  /// - Parameter directory: Where files may be put on the way.
  /// - Returns: What ``sealed(_:)`` makes good files of.
  /// - Throws: ``TarnError``.
  static func files(in directory: String) throws -> [[UInt8]] {
    let path = directory + "/state"
    var files: [[UInt8]] = []
    func keep(_ kind: UInt8) throws {
      let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
      files.append([kind] + bytes[headByteCount..<(bytes.count - checksumByteCount)])
    }
    let search = try nearest()
    var found = search.initialState
    try search.save(found, as: path)
    try keep(0)
    try search.run(&found)
    try search.save(found, as: path)
    try keep(0)
    let training = try clustering()
    var state = try training.initialState()
    _ = try training.save(state, as: path)
    try keep(1)
    try training.step(&state)
    _ = try training.save(state, as: path)
    try keep(1)
    return files
  }

  /// Magic and fingerprint of the two computations.
  private static let heads = Result {
    let path = NSTemporaryDirectory() + "/tarn-fuzz-state-\(getpid())"
    defer { try? FileManager.default.removeItem(atPath: path) }
    func head() throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path)).prefix(headByteCount)) }
    let search = try nearest()
    try search.save(search.initialState, as: path)
    let first = try head()
    let training = try clustering()
    _ = try training.save(training.initialState(), as: path)
    return [first, try head()]
  }

  /// A file with these fields.
  static func sealed(_ bytes: [UInt8]) throws -> [UInt8] {
    let body = try heads.get()[Int((bytes.first ?? 0) & 1)] + bytes.dropFirst()
    return body + ContentDigest.of(body).bytes
  }

  /// Reads a state and goes on from it.
  static func load(_ path: String) throws {
    let search = try nearest()
    if let heads = try? heads.get(), try Data(contentsOf: URL(fileURLWithPath: path)).starts(with: heads[0]) {
      var state = try search.load(path)
      try search.run(&state)
    } else {
      let training = try clustering()
      var state = try training.load(path)
      try training.step(&state)
    }
  }
}
