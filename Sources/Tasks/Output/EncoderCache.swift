// What outputs of the same terms share: the trained index, and its rows prepared for
// the engine, which at small tasks takes as long as a shard.

package import Base
package import Indexer
internal import Logging
internal import Synchronization

/// The encoder that was prepared last.
package final class EncoderCache: Sendable {
  private let latest = Mutex<ShardEncoder?>(nil)

  package init() {}

  /// A trained index that was read before.
  ///
  /// - Parameter digest: The SHA-256 of its file.
  /// - Returns: The index; nil where it has to be read.
  package func trained(_ digest: ContentDigest) -> TrainedIndex? {
    latest.withLock { $0.flatMap { $0.trainedDigest == digest ? $0.trained : nil } }
  }

  /// An encoder of these terms.
  ///
  /// - Parameters:
  ///   - terms: What the outputs are made with.
  ///   - rowCount: About how many rows will be encoded.
  ///   - logger: Gets a warning when a backend is dropped.
  /// - Returns: The one that there is, or a new one.
  /// - Throws: ``TarnError`` `.engine`.
  func encoder(of terms: EncodingTerms, rowCount: Int, logger: Logger) throws -> ShardEncoder {
    try latest.withLock { latest in
      if let latest, latest.isOf(terms.trainedDigest, terms.badRows, terms.normalisation) { return latest }
      let made = try ShardEncoder(
        terms.trained, digest: terms.trainedDigest, badRows: terms.badRows, normalisation: terms.normalisation,
        rowCount: rowCount, logger: logger)
      latest = made
      return made
    }
  }
}
