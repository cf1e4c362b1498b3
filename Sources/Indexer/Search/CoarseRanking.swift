// Which lists a query visits: those of the centroids with the greatest scores.

internal import Base
internal import CScan
internal import Features

/// The coarse centroids, coded in 7 bits for a quick look, with 8 more for a closer one, and as
/// floats for the decision.
///
/// Which lists are the best is what `crows_score` says, of equal scores the lower
/// ones, whatever the codes: these only say which centroids need no score.
@safe final class CoarseRanking: Sendable {
  let nlist: Int
  let coder: ScanCoder
  /// Levels, `[nlist × dimension]`, then parts, as many.
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
    let levels = quantizer.encode(trained.centroids)
    // Each query reads the levels from end to end.
    codes = LargeMemory(byteCount: 2 * levels.count)
    let room = unsafe UnsafeMutableRawBufferPointer(start: codes.start, count: levels.count)
    unsafe levels.withUnsafeBytes { unsafe room.copyMemory(from: $0) }
    let parts = unsafe (codes.start + levels.count).assumingMemoryBound(to: UInt8.self)
    coder = unsafe ScanCoder(quantizer, centroids: (trained.centroids, levels, parts))
    nlist = trained.nlist
    self.file = file
  }

  private var centroids: cscan_centroids {
    let levels = unsafe UnsafePointer(codes.start.assumingMemoryBound(to: UInt8.self))
    return unsafe cscan_centroids(
      levels: levels, parts: levels + nlist * coder.codeByteCount, exact: file.address(FaissFile.centroidsOffset),
      count: nlist)
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
    var rows = unsafe centroids
    unsafe cscan_sum(
      SimdLevel.current, coder.pointer, &rows, lists.lowerBound, lists.upperBound,
      queries.pointer + numbers.lowerBound, numbers.count, sums)
  }

  /// Ends a query that has met nothing with its best lists, best first or nearly so.
  ///
  /// - Parameters:
  ///   - query: Its number in the batch.
  ///   - queries: All queries of the batch.
  ///   - sums: `[nlist]`, its sums as ``sum(_:with:of:into:)`` left them; changed.
  ///   - counts: What it has cost.
  func pick(
    _ query: Int, of queries: ScanQueries, sums: UnsafeMutablePointer<Int32>, counts: inout cscan_counts
  ) {
    var rows = unsafe centroids
    unsafe cscan_pick(SimdLevel.current, coder.pointer, &rows, queries.pointer + query, sums, &counts)
  }
}
