// Sources of paired shards that tests make, spoil and cut, in lakes of their own.

import Base
import Catalog
import Features
import Foundation
import Synchronization
import Testing
import TestSupport

/// Two directories of paired shards, made from a seed.
struct PairedShards {
  static let dimension = 8
  let rowCounts: [Int]
  /// Bytes of each shard, by side.
  var images: [[UInt8]]
  var captions: [[UInt8]]

  init(_ rowCounts: [Int], seed: UInt64) {
    self.rowCounts = rowCounts
    images = rowCounts.enumerated().map {
      FeatureBytes.npy($1, dimension: Self.dimension, .float16, seed: seed + UInt64($0))
    }
    captions = rowCounts.enumerated().map {
      FeatureBytes.npy($1, dimension: Self.dimension, .float32, seed: seed + 1000 + UInt64($0))
    }
  }

  private static func width(_ isImage: Bool) -> Int { dimension * (isImage ? 2 : 4) }

  /// The bytes of a row.
  private func row(_ row: Int, of shard: Int, isImage: Bool) -> ArraySlice<UInt8> {
    let (bytes, width) = (isImage ? images[shard] : captions[shard], Self.width(isImage))
    let start = bytes.count - (rowCounts[shard] - row) * width
    return bytes[start..<(start + width)]
  }

  /// Makes a row zero or full of NaNs.
  mutating func spoil(_ row: Int, of shard: Int, isImage: Bool, with byte: UInt8) {
    let width = Self.width(isImage)
    let start = (isImage ? images[shard] : captions[shard]).count - (rowCounts[shard] - row) * width
    for place in start..<(start + width) {
      if isImage { images[shard][place] = byte } else { captions[shard][place] = byte }
    }
  }

  /// Some of the shards, in order.
  func shards(_ ordinals: [Int]) -> PairedShards {
    var part = self
    part = PairedShards(ordinals.map { rowCounts[$0] }, seed: 0)
    part.images = ordinals.map { images[$0] }
    part.captions = ordinals.map { captions[$0] }
    return part
  }

  /// Some rows of each shard, in order; shards without any are left out.
  func rows(_ rows: [[UInt32]]) -> PairedShards {
    let held = rows.indices.filter { !rows[$0].isEmpty }
    var part = PairedShards(held.map { rows[$0].count }, seed: 0)
    part.images = held.map { shard in
      NpyHeader.bytes(descr: "<f2", rowCount: rows[shard].count, columns: Self.dimension)
        + rows[shard].flatMap { row(Int($0), of: shard, isImage: true) }
    }
    part.captions = held.map { shard in
      NpyHeader.bytes(descr: "<f4", rowCount: rows[shard].count, columns: Self.dimension)
        + rows[shard].flatMap { row(Int($0), of: shard, isImage: false) }
    }
    return part
  }

  /// A lake with both sources registered.
  func lake(synced: Bool = true) throws -> LakeFixture {
    let lake = try LakeFixture.nothing()
    for (name, shards) in [("images", images), ("captions", captions)] {
      let directory = "\(lake.directory.path)/\(name)"
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      for (ordinal, bytes) in shards.enumerated() {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/\(name)_\(ordinal).npy"))
      }
    }
    try lake.succeed(["init", lake.lake])
    let common = ["--dimension", "\(Self.dimension)", "--directory"]
    try lake.succeed(["source", "add", "images"] + common + [lake.directory.path + "/images"])
    try lake.succeed(
      ["source", "add", "captions", "--dtype", "float32", "--modality", "text"] + common
        + [lake.directory.path + "/captions"])
    if synced { try lake.succeed(["sync", "--quiet"]) }
    return lake
  }
}

/// The most bytes of shards that a lake held.
final class PeakOfShards: Sendable {
  let most = Mutex(0)

  func look(_ catalog: LakeCatalog) throws {
    let held = try catalog.cachedByteCount()
    let files = LakeFixture.byteCount(below: catalog.layout.shards)
    most.withLock { $0 = max($0, held, files) }
  }
}

extension LakeFixture {
  /// Transfers that brought a shard.
  func transferCount() throws -> Int {
    try #require(Int(text("SELECT count(*) || '' FROM transfer WHERE outcome = 'complete'")))
  }

  /// Drops the bytes of some shards.
  func evict(_ source: String, _ ordinals: [Int]) throws {
    guard !ordinals.isEmpty else { return }
    try succeed(["evict", source, "--shards", ordinals.map { "\($0)" }.joined(separator: ",")])
  }

  /// Bytes of the files below a directory.
  static func byteCount(below directory: String) -> Int {
    guard let walk = FileManager.default.enumerator(atPath: directory) else { return 0 }
    return walk.reduce(0) { sum, path in sum + ((path as? String).flatMap { Disk.size(of: "\(directory)/\($0)") } ?? 0)
    }
  }
}
