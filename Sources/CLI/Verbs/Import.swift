internal import ArgumentParser
internal import Base
internal import Catalog
internal import Features
internal import Foundation

/// `tarn import`: adopt files that are on disk already.
struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Adopt shard files that are on disk already, verified and copied.",
    discussion: """
      A file belongs to the shard of its name. Files may be .npy, .safetensors, .fbin, .fvecs, or .pt/.tensor from torch.save
      with one tensor; nothing in them is executed.

      EXAMPLES
        tarn import images /data/img_emb_0000.npy /data/img_emb_0001.npy

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.")
  var source: String

  @Argument(help: "The files.")
  var files: [String]

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, verb: "import")
    let source = try catalog.source(named: source)
    let shards = Dictionary(uniqueKeysWithValues: try catalog.shards(of: source).map { ($0.name, $0) })
    let chosen = try files.map { file in
      let name = (file as NSString).lastPathComponent
      guard let shard = shards[name] else {
        throw TarnError(
          .notFound, "source \(source.name) has no shard named \(name.printable)",
          hint: "`tarn source show \(source.name)` lists them")
      }
      return (file, shard)
    }
    let progress = global.progress("import")
    for (index, (file, shard)) in chosen.enumerated() {
      try adopt(file, shard, source, catalog)
      progress.update(done: Double(index + 1), total: Double(chosen.count)) { "\(index + 1)/\(chosen.count) shards" }
    }
    progress.clear()
    if global.json {
      Output.json(["imported": .count(chosen.count)])
    } else {
      Output.line("\(chosen.count) shards imported")
    }
    Output.flush()
  }

  private func adopt(_ file: String, _ shard: Shard, _ source: Source, _ catalog: LakeCatalog) throws {
    let features = try FeatureFile(file, dimension: source.dimension, elementType: source.elementType)
    guard let size = Disk.size(of: file) else { throw TarnError(.inputsMissing, "\(file) is gone") }
    let part = catalog.layout.partPath(source: source.name, shard: shard.name)
    try Disk.makeDirectory((part as NSString).deletingLastPathComponent)
    guard try catalog.reserve(shard, byteCount: size, budget: nil) else { return }
    do {
      let hasher = ChunkHasher()
      try Disk.copy(file, to: part, into: hasher)
      let digest = hasher.digestSoFar()
      if let expected = shard.expectedDigest, expected != digest {
        throw TarnError(
          .integrity, "\(file) has SHA-256 \(digest.prefix(12)), the manifest says \(expected.prefix(12))")
      }
      if let expected = shard.expectedByteCount, expected != size {
        throw TarnError(.integrity, "\(file) has \(size) bytes, the manifest says \(expected)")
      }
      let path = LakeLayout.shardPath(source: source.name, shard: shard.name, digest: digest)
      try Disk.moveIntoPlace(part, catalog.layout.shards + "/" + path)
      try catalog.recordFetched(
        FetchedBytes(
          digest: digest, byteCount: size, rowCount: features.rowCount, path: path, mirrorID: nil, etag: nil,
          lastModified: nil, states: hasher.states), of: shard)
    } catch {
      try? Disk.remove(part)
      try catalog.endFetch(shardID: shard.id, as: nil, error: nil)
      throw error
    }
  }
}
