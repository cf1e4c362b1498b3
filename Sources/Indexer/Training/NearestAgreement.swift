// How often `--nearest index` finds what an exact search finds, on a sample of captions.

package import Base
package import Features
package import Logging

/// Captions of a sample whose nearest image was found.
package struct NearestAgreement: Sendable, Equatable {
  /// Captions whose image is the exact one.
  package let agreed: Int
  /// Captions of the sample.
  package let sampled: Int
  /// Captions of the sample, at most.
  private static let most = 1000

  /// Searches for a sample of captions exactly: one at the beginning of each of 1,000 equal
  /// stretches, or all of fewer.
  ///
  /// - Parameters:
  ///   - found: The nearest image of every caption, as an index found it.
  ///   - images: The images.
  ///   - captions: The captions.
  ///   - inputs: Identifies the bytes of both.
  ///   - logger: Gets a warning when a backend is dropped.
  ///   - checkpoint: Called between blocks of images; may throw to stop.
  /// - Throws: ``TarnError``; what `checkpoint` throws.
  package init(
    of found: [UInt32], images: FeatureMatrix, captions: FeatureMatrix, inputs: ContentDigest,
    logger: Logger = Logger(label: "tarn.engine"), checkpoint: () throws -> Void = {}
  ) throws {
    let rows = captions.spreadRows(Self.most)
    let few = captions.copy(ofRows: rows)
    let search = try NearestImages(images: images, captions: few, inputs: inputs, logger: logger)
    var state = search.initialState
    try search.run(&state) { _ in try checkpoint() }
    agreed = zip(rows, state.images).count { found[$0] == $1 }
    sampled = rows.count
  }
}
