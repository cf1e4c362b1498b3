// Files with several arrays on a web server, as DataComp has them, and lakes in which
// two sources read them.

import Base
import Foundation
import Synchronization
import Testing
import TestSupport

/// Archives of features of images and of captions, of the same rows.
final class ArraySources: Sendable {
  static let shardCount = 3
  static let rowCount = 20
  static let dimension = 8

  let server: HostileServer
  let files: [String: [UInt8]]

  /// Makes the files; `few` of them has a row less.
  init(deflated: Bool = false) throws {
    var files: [String: [UInt8]] = [:]
    for ordinal in 0..<Self.shardCount {
      let seed = UInt64(10 * ordinal)
      let arrays: [(name: String, data: [UInt8])] = [
        ("b32_img", FeatureBytes.npy(Self.rowCount, dimension: 4, seed: seed + 1)),
        ("l14_img", FeatureBytes.npy(Self.rowCount, dimension: Self.dimension, seed: seed + 2)),
        ("l14_txt", FeatureBytes.npy(Self.rowCount, dimension: Self.dimension, .float32, seed: seed + 3)),
        ("few", FeatureBytes.npy(Self.rowCount - 1, dimension: Self.dimension, seed: seed + 4)),
      ]
      files["/shards/\(ordinal).npz"] = FeatureFiles.npz(arrays) { zip in
        if deflated { (zip.method, zip.pack) = (8, { Deflate.stored($0, block: 100) }) }
      }
    }
    self.files = files
    let served = files
    server = try HostileServer { request in
      served[request.target].map { .file($0, for: request) } ?? .answer(404)
    }
  }

  /// Requests for each file so far.
  var requestCounts: [Int] {
    files.keys.sorted().map { path in server.requests.count { $0.target == path && $0.method == "GET" } }
  }

  var byteCount: Int { files.values.reduce(0) { $0 + $1.count } }

  static func adding(texts owner: String = "images") -> [String] {
    ["source", "add", "texts", "--files-of", owner, "--array", "l14_txt", "--modality", "other"]
      + ["--dimension", "\(dimension)", "--dtype", "float32"]
  }

  /// The command that registers the files.
  var addingImages: [String] {
    ["source", "add", "images", "--url", server.url("/shards/{ordinal}.npz"), "--count", "\(Self.shardCount)"]
      + ["--array", "l14_img", "--dimension", "\(Self.dimension)"]
  }

  /// A lake in which both sources are registered.
  func lake() throws -> LakeFixture {
    let lake = try LakeFixture.make(.empty)
    try lake.succeed(addingImages)
    try lake.succeed(Self.adding())
    return lake
  }

  static let training = [
    "train", "t", "--images", "images", "--captions", "texts", "--nlist", "3", "--iterations", "2", "--quiet",
  ]

  private static let shared = Mutex<ArraySources?>(nil)

  /// A lake of sources that every such lake shares.
  static func lake() throws -> LakeFixture {
    let sources = try shared.withLock { known in
      if let known { return known }
      let sources = try ArraySources()
      known = sources
      atexit { ArraySources.shared.withLock { $0 = nil } }
      return sources
    }
    return try sources.lake()
  }
}
