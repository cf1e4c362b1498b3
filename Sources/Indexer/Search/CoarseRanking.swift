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
        exact: file.address(centroids), next: nil, first: Int64(lists.lowerBound), count: lists.count)
      unsafe cscan_show(
        SimdLevel.current, coder.pointer, &rows, queries.pointer, numbers.baseAddress, numbers.count, &counts)
    }
  }

  /// Sums centroids with the first queries of a batch, for ``pick(_:of:sums:counts:)``.
  ///
  /// - Parameters:
  ///   - lists: Which centroids.
  ///   - count: How many queries.
  ///   - queries: All queries of the batch.
  ///   - sums: `[count × nlist]`, of which columns `lists` are written.
  func sum(_ lists: Range<Int>, _ count: Int, of queries: ScanQueries, into sums: UnsafeMutablePointer<Int32>) {
    unsafe codes.withUnsafeBufferPointer { codes in
      var rows = unsafe cscan_rows(
        codes: codes.baseAddress.map { unsafe $0 + lists.lowerBound * coder.codeByteCount }, ids: nil, exact: nil,
        next: nil, first: 0, count: lists.count)
      unsafe cscan_sum(
        SimdLevel.current, coder.pointer, &rows, queries.pointer, count, sums + lists.lowerBound, nlist)
    }
  }

  /// Shows all centroids to a query.
  ///
  /// - Parameters:
  ///   - query: Its number in the batch.
  ///   - queries: All queries of the batch.
  ///   - sums: `[batch × nlist]`, as ``sum(_:_:of:into:)`` left them; changed.
  ///   - counts: What it has cost.
  func pick(
    _ query: Int, of queries: ScanQueries, sums: UnsafeMutablePointer<Int32>, counts: inout cscan_counts
  ) {
    unsafe codes.withUnsafeBufferPointer { codes in
      var rows = unsafe cscan_rows(
        codes: codes.baseAddress, ids: nil, exact: file.address(FaissFile.centroidsOffset), next: nil, first: 0,
        count: nlist)
      unsafe cscan_pick(
        SimdLevel.current, coder.pointer, &rows, queries.pointer + query, sums + query * nlist, &counts)
    }
  }
}
