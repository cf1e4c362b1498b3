// How large the files of a build will be, known before they are written, and how much
// of it is still to come.

internal import Base
package import Catalog
internal import Indexer
internal import Synchronization

/// Bytes of the segments and outputs that are made with one trained index.
package struct OutputSizes: Sendable {
  private let nlist: Int
  private let codeByteCount: Int
  private let trainedByteCount: Int
  private let refine: VectorCodec?
  private let dimension: Int

  /// Sizes for a trained index.
  package init(_ record: TrainedIndexRecord) {
    nlist = record.nlist
    dimension = record.dimension
    refine = record.refine.flatMap { VectorCodec(rawValue: $0) }
    let codec = VectorCodec(rawValue: record.codec)
    codeByteCount = codec?.codeByteCount(dimension: record.dimension) ?? 4 * record.dimension
    trainedByteCount =
      codec.flatMap {
        TrainedIndexFile.byteCount(codec: $0, dimension: record.dimension, nlist: record.nlist, hasAssigner: false)
      } ?? 0
  }

  /// Bytes of a segment at most; its layout is in Segment.swift.
  package func segment(rowCount: Int) -> Int {
    192 + 8 * (nlist + 1) + (4 + codeByteCount) * rowCount + 16 * nlist + 32
      + (refine.map { rowCount * $0.codeByteCount(dimension: dimension) + 32 } ?? 0)
  }

  /// Bytes of an output file at most.
  package func output(rowCount: Int) -> Int { trainedByteCount + 8 * nlist + (8 + codeByteCount) * rowCount }

  /// Bytes of a file of codes that refine; 0 where nothing does.
  package func refine(idCount: Int) -> Int {
    refine.map { RefineFile.byteCount($0, dimension: dimension, count: idCount) } ?? 0
  }
}

extension [VersionInput] {
  /// Ids from the first row of the first to the last of the last, those between inputs included.
  var idCount: Int {
    guard let first, let last else { return 0 }
    return Int(last.firstID - first.firstID).addingSaturated(last.rowCount)
  }
}

/// Bytes that a build has still to write; its fetching leaves room for them.
package final class PromisedRoom: Sendable {
  private let left: Mutex<Int>

  init(_ byteCount: Int) { left = Mutex(byteCount) }

  /// Bytes that are not written yet.
  var byteCount: Int { left.withLock { $0 } }

  /// So many of them are written.
  func written(_ byteCount: Int) { left.withLock { $0 = max(0, $0 - byteCount) } }
}
