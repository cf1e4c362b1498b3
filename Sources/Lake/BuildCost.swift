// What a build costs on a machine: time, memory and disk of each step, from the sizes of
// the version and what the machine did in a second (DESIGN 4.1b).

internal import Base
package import Catalog
internal import Indexer

/// The sizes of a build.
package struct BuildCost: Sendable {
  /// Rows of the version, as far as shards' lengths tell.
  package let rowCount: Int
  /// Of those, rows that no segment has yet.
  package let rowsToEncode: Int
  /// Bytes of shards that are not in the lake and have rows to encode, where a size is known.
  package let byteCountToFetch: Int
  package let dimension: Int
  package let nlist: Int
  /// Bytes of a row's codes, those that refine included.
  package let codeByteCount: Int

  package init(
    rowCount: Int, rowsToEncode: Int, byteCountToFetch: Int, dimension: Int, nlist: Int, codeByteCount: Int
  ) {
    (self.rowCount, self.rowsToEncode, self.byteCountToFetch) = (rowCount, rowsToEncode, byteCountToFetch)
    (self.dimension, self.nlist, self.codeByteCount) = (dimension, nlist, codeByteCount)
  }

  /// Looks the sizes up; outputs that older versions would lend are counted as encoded anew.
  ///
  /// - Parameters:
  ///   - options: What would be built.
  ///   - catalog: The lake.
  /// - Throws: ``TarnError`` `.notFound`, `.inputsMissing` when a shard's rows are not known,
  ///   `.usage` for a trained index that is not ready.
  package init(of options: BuildOptions, in catalog: LakeCatalog) throws {
    let trained = try catalog.trainedIndex(named: options.trained)
    let source = try catalog.features(named: options.images, to: "be built from")
    guard let digest = trained.digest, let codec = VectorCodec(rawValue: trained.codec) else {
      throw TarnError(
        .usage, "the trained index \(trained.name) is not ready", hint: "`tarn train` goes on where it was")
    }
    guard source.dimension == trained.dimension else {
      throw TarnError(
        .usage, "\(trained.name) has dimension \(trained.dimension) and \(source.name) has \(source.dimension)",
        hint: "build from the features that it was trained on")
    }
    let segments = try catalog.segments(
      of: source, trained: digest, badRows: options.badRows, formatVersion: segmentFormatVersion)
    var (rows, open, bytes) = (0, 0, 0)
    for shard in try catalog.shardsInUse(of: source, ordinals: options.ordinals) {
      let count = try shard.plannedRowCount(in: source, for: "what it costs depends on it")
      rows += count
      guard shard.revision.map({ segments[$0.digest] == nil }) ?? true else { continue }
      open += count
      if shard.path == nil { bytes += shard.likelyByteCount ?? 0 }
    }
    let refining = trained.refine.flatMap(VectorCodec.init(rawValue:))?.codeByteCount(dimension: trained.dimension) ?? 0
    self.init(
      rowCount: rows, rowsToEncode: open, byteCountToFetch: bytes, dimension: trained.dimension, nlist: trained.nlist,
      codeByteCount: codec.codeByteCount(dimension: trained.dimension) + refining)
  }

  /// A row of a segment or of an output: its codes and its id.
  private var storedByteCount: Int { codeByteCount + 8 }

  /// The steps, in their order; they overlap, and so take no longer than their sum.
  ///
  /// - Parameter rates: What the machine does.
  /// - Returns: What each costs.
  package func steps(_ rates: MachineRates) -> [StepCost] {
    func storing(_ bytes: Int) -> Double? { rates.written.map { Double(bytes) / $0 + Double(bytes) / rates.hashed } }
    let centroids = 4 * nlist * dimension
    let (segments, outputs) = (rowsToEncode * storedByteCount, rowCount * storedByteCount)
    let fetching =
      byteCountToFetch == 0
      ? [] : [StepCost(step: "fetching", seconds: nil, memoryByteCount: 64 << 20, diskByteCount: byteCountToFetch)]
    let elements = Double(rowsToEncode) * Double(dimension)
    return fetching + [
      StepCost(
        step: "assigning", seconds: elements * Double(nlist) / rates.assigned, memoryByteCount: 3 * centroids,
        diskByteCount: 0),
      StepCost(
        step: "encoding", seconds: elements / rates.encoded, memoryByteCount: 256 << 20, diskByteCount: 0),
      StepCost(step: "segments", seconds: storing(segments), memoryByteCount: 64 << 20, diskByteCount: segments),
      StepCost(
        step: "outputs", seconds: storing(outputs), memoryByteCount: 256 << 20, diskByteCount: outputs + centroids),
    ]
  }
}
