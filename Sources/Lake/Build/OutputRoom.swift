// How large the files of a build will be, known before they are written, and how much
// of it is still to come.

internal import Base
internal import Catalog
internal import Indexer
internal import Synchronization
internal import Tasks

extension OutputSizes {
  /// Sizes for a trained index that the catalog has.
  init(_ record: TrainedIndexRecord) {
    self.init(
      codec: VectorCodec(rawValue: record.codec), refine: record.refine.flatMap { VectorCodec(rawValue: $0) },
      dimension: record.dimension, nlist: record.nlist)
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
  package var byteCount: Int { left.withLock { $0 } }

  /// So many of them are written.
  func written(_ byteCount: Int) { left.withLock { $0 = max(0, $0 - byteCount) } }
}
