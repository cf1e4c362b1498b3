// How large the files of an output will be, known before they are written: whoever writes
// them asks for room by these figures (D11).

internal import Base
package import Indexer

/// Bytes of the segments and outputs that are made with one trained index.
package struct OutputSizes: Sendable {
  private let nlist: Int
  private let codeByteCount: Int
  private let trainedByteCount: Int
  private let refine: VectorCodec?
  private let dimension: Int

  /// Sizes for a trained index.
  ///
  /// - Parameters:
  ///   - codec: How it stores vectors; nil for a codec that this tarn does not know.
  ///   - refine: What rows are refined by; nil for nothing.
  ///   - dimension: Components of a vector.
  ///   - nlist: Number of lists.
  package init(codec: VectorCodec?, refine: VectorCodec?, dimension: Int, nlist: Int) {
    self.nlist = nlist
    self.dimension = dimension
    self.refine = refine
    codeByteCount = codec?.codeByteCount(dimension: dimension) ?? 4 * dimension
    trainedByteCount =
      codec.flatMap {
        TrainedIndexFile.byteCount(codec: $0, dimension: dimension, nlist: nlist, hasAssigner: false)
      } ?? 0
  }

  /// Sizes for a trained index that was read.
  package init(_ trained: TrainedIndex) {
    self.init(
      codec: trained.quantizer.codec, refine: trained.refine?.codec, dimension: trained.dimension, nlist: trained.nlist)
  }

  /// Bytes of a segment at most; its layout is in Segment.swift.
  package func segment(rowCount: Int) -> Int {
    let refining =
      refine.map { rowCount.multipliedSaturated(by: $0.codeByteCount(dimension: dimension)).addingSaturated(32) } ?? 0
    return [
      192 + 8 * (nlist + 1) + 16 * nlist + 32, rowCount.multipliedSaturated(by: 4 + codeByteCount), refining,
    ].saturatedSum
  }

  /// Bytes of an output file at most.
  package func output(rowCount: Int) -> Int {
    (trainedByteCount + 8 * nlist).addingSaturated(rowCount.multipliedSaturated(by: 8 + codeByteCount))
  }

  /// Bytes of a file of codes that refine; 0 where nothing does.
  package func refine(idCount: Int) -> Int {
    refine.map { RefineFile.byteCount($0, dimension: dimension, count: idCount) } ?? 0
  }
}
