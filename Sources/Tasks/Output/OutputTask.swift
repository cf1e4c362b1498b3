// The unit of a version's work: one output shard, made from its inputs. It says
// nothing of catalogs or directories, so that any process can carry it out.

package import Base
package import Indexer

/// One output shard to make: which bytes, in which order, under which ids.
package struct OutputTask: Sendable, Equatable {
  /// One shard of the version.
  package struct Input: Sendable, Equatable {
    /// Place in the version's plan, from 0.
    package let ordinal: Int
    /// The shard's name, for messages.
    package let name: String
    /// SHA-256 of its bytes; nil in a hole.
    package let digest: ContentDigest?
    /// Row id of its first row.
    package let firstID: RowID
    /// Rows, or the length of the hole.
    package let rowCount: Int
    /// Rows that the output must not have, ascending.
    package let excluded: [Int]

    package init(
      ordinal: Int, name: String, digest: ContentDigest?, firstID: RowID, rowCount: Int, excluded: [Int] = []
    ) {
      self.ordinal = ordinal
      self.name = name
      self.digest = digest
      self.firstID = firstID
      self.rowCount = rowCount
      self.excluded = excluded
    }

    /// The row ids that the output may have of it, ascending and disjoint.
    package var ids: [Range<RowID>] {
      (firstID..<(firstID + RowID(rowCount))).without(excluded.map { firstID + RowID($0) })
    }
  }

  /// Number of the output shard in its version, from 0.
  package let ordinal: Int
  /// Every input in order, holes included.
  package let inputs: [Input]

  package init(ordinal: Int, inputs: [Input]) {
    self.ordinal = ordinal
    self.inputs = inputs
  }

  /// All ids of the output, from the first of its first input to the last of its last one.
  package var ids: Range<RowID> {
    guard let first = inputs.first, let last = inputs.last else { return 0..<0 }
    return first.firstID..<(last.firstID + RowID(last.rowCount))
  }

  /// The inputs that have rows to encode.
  package var bound: [Input] { inputs.filter { $0.digest != nil } }
}

/// What all outputs of a version are made with.
package struct EncodingTerms: Sendable {
  package let trained: TrainedIndex
  /// SHA-256 of the trained index's file.
  package let trainedDigest: ContentDigest
  package let badRows: BadRowsPolicy
  package let normalisation: Normalisation
  /// The array of the shards' files; nil where they have one.
  package let array: String?

  package init(
    trained: TrainedIndex, trainedDigest: ContentDigest, badRows: BadRowsPolicy, normalisation: Normalisation,
    array: String? = nil
  ) {
    self.array = array
    self.trained = trained
    self.trainedDigest = trainedDigest
    self.badRows = badRows
    self.normalisation = normalisation
  }
}

/// Where an executor gets shards from.
package protocol ShardProvider: Sendable {
  /// The file of an input, and what it must hold.
  ///
  /// - Throws: ``TarnError`` `.inputsMissing` when the bytes cannot be had.
  func shard(of input: OutputTask.Input) throws -> PinnedShard
}

/// Where an executor keeps segments between encoding and merging.
package protocol SegmentKeeper: Sendable {
  /// The file of a shard's segment; nil when it has to be made.
  func segment(ofShard digest: ContentDigest) throws -> String?
  /// Where a segment may grow, on the file system that will keep it.
  func workingPath(ofShard digest: ContentDigest) throws -> String
  /// Takes a segment that is durable at the working path.
  ///
  /// - Returns: Where it is now.
  func keep(_ segment: ShardEncoder.Result, ofShard digest: ContentDigest, at workingPath: String) throws -> String
}
