// Which lists a query visits: those of the centroids with the greatest scores.

internal import CScan

/// The coarse centroids, coded in 8 bits for a quick look and as floats for
/// the decision.
///
/// The ranking is that of `ckernels_score`, of equal scores the lower list
/// first, whatever the codes: these only say which centroids need no score.
@safe final class CoarseRanking: Sendable {
  let nlist: Int
  let coder: ScanCoder
  private let codes: [UInt8]
  /// The file that holds the centroids.
  private let file: MappedFile

  /// Codes the centroids.
  ///
  /// - Parameters:
  ///   - trained: The trained index.
  ///   - file: An output shard with those centroids.
  /// - Throws: ``IndexerError`` `.usage` when they span more than a float.
  init(_ trained: TrainedIndex, in file: MappedFile) throws {
    var trainer = try RangeTrainer(codec: .sq8, dimension: trained.dimension)
    trainer.add(trained.centroids)
    let quantizer = try trainer.finish()
    codes = quantizer.encode(trained.centroids)
    coder = ScanCoder(quantizer, exact: (trained.centroids, codes))
    nlist = trained.nlist
    self.file = file
  }

  /// Shows centroids to queries.
  ///
  /// - Parameters:
  ///   - lists: Which centroids.
  ///   - queries: All queries of the batch.
  ///   - numbers: Which of them.
  ///   - counts: What it has cost.
  func show(
    _ lists: Range<Int>, to queries: ScanQueries, numbers: UnsafeBufferPointer<UInt32>,
    counts: inout cscan_counts
  ) {
    let centroids = FaissFile.centroidsOffset + lists.lowerBound * 4 * coder.dimension
    unsafe codes.withUnsafeBufferPointer { codes in
      var rows = unsafe cscan_rows(
        codes: codes.baseAddress.map { unsafe $0 + lists.lowerBound * coder.codeByteCount }, ids: nil,
        exact: file.address(centroids), first: Int64(lists.lowerBound), count: lists.count)
      unsafe cscan_show(
        SimdLevel.current, coder.pointer, &rows, queries.pointer, numbers.baseAddress, numbers.count, &counts)
    }
  }
}
