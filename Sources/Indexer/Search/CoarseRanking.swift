// Which lists a query visits: those of the centroids with the greatest scores.

internal import Base
internal import CScan
internal import Features

/// The coarse centroids, coded in 7 bits for a quick look and as floats for
/// the decision.
///
/// The ranking is that of `crows_score`, of equal scores the lower list
/// first, whatever the codes: these only say which centroids need no score.
@safe final class CoarseRanking: Sendable {
  let nlist: Int
  let coder: ScanCoder
  private let codes: LargeMemory
  /// The file that holds the centroids.
  private let file: MappedFile

  /// Codes the centroids.
  ///
  /// - Parameters:
  ///   - trained: The trained index.
  ///   - file: An output shard with those centroids.
  /// - Throws: ``TarnError`` `.usage` when they span more than a float.
  init(_ trained: TrainedIndex, in file: MappedFile) throws {
    var trainer = try RangeTrainer(codec: .sq8, dimension: trained.dimension)
    trainer.add(trained.centroids)
    let ranges = try trainer.finish()
    // Of twice the range, so that levels stay under 128: products of those take a CPU half the work.
    let quantizer = try ScalarQuantizer(
      codec: .sq8, dimension: trained.dimension, minima: ranges.minima, widths: ranges.widths.map { 2 * $0 })
    let codes = quantizer.encode(trained.centroids)
    coder = ScanCoder(quantizer, exact: (trained.centroids, codes))
    nlist = trained.nlist
    self.file = file
    // Each query reads them from end to end.
    self.codes = LargeMemory(byteCount: codes.count)
    let room = unsafe UnsafeMutableRawBufferPointer(start: self.codes.start, count: codes.count)
    unsafe codes.withUnsafeBytes { unsafe room.copyMemory(from: $0) }
  }

  /// The code of a centroid and those after it.
  private func code(of list: Int) -> UnsafePointer<UInt8> {
    unsafe UnsafePointer((codes.start + list * coder.codeByteCount).assumingMemoryBound(to: UInt8.self))
  }

  /// Sums centroids with queries of a batch, for ``pick(_:of:sums:counts:)``.
  ///
  /// - Parameters:
  ///   - lists: Which centroids.
  ///   - numbers: Which queries.
  ///   - queries: All queries of the batch.
  ///   - sums: `[numbers.count × nlist]`, of which columns `lists` are written.
  func sum(
    _ lists: Range<Int>, with numbers: Range<Int>, of queries: ScanQueries, into sums: UnsafeMutablePointer<Int32>
  ) {
    var rows = unsafe cscan_rows(
      codes: code(of: lists.lowerBound), ids: nil, exact: nil, next: nil, places: nil, count: lists.count)
    unsafe cscan_sum(
      SimdLevel.current, coder.pointer, &rows, queries.pointer + numbers.lowerBound, numbers.count,
      sums + lists.lowerBound, nlist)
  }

  /// Shows all centroids to a query.
  ///
  /// - Parameters:
  ///   - query: Its number in the batch.
  ///   - queries: All queries of the batch.
  ///   - sums: `[nlist]`, its sums as ``sum(_:with:of:into:)`` left them; changed.
  ///   - counts: What it has cost.
  func pick(
    _ query: Int, of queries: ScanQueries, sums: UnsafeMutablePointer<Int32>, counts: inout cscan_counts
  ) {
    var rows = unsafe cscan_rows(
      codes: code(of: 0), ids: nil, exact: file.address(FaissFile.centroidsOffset), next: nil, places: nil,
      count: nlist)
    unsafe cscan_pick(
      SimdLevel.current, coder.pointer, &rows, queries.pointer + query, sums, &counts)
  }
}
