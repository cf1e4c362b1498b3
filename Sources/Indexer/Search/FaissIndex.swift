// The owner of an index that libfaiss has read. Every call into FAISS for a
// search is made here; arguments are checked before, because a throw inside an
// OpenMP region ends the process.

internal import CFaiss

/// An IVF index in FAISS's hands, its lists memory-mapped.
///
/// Not Sendable: FAISS takes concurrent searches, but starts its own threads
/// for each. One caller at a time, on a thread of its own, as the calls block.
@safe final class FaissIndex {
  let dimension: Int
  let nlist: Int
  /// Rows in the lists.
  let count: Int
  private let handle: OpaquePointer
  /// Keeps the lender of the coarse quantizer alive.
  private let lender: FaissIndex?

  /// Reads an index file that tarn has parsed already.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - lender: An index with the same coarse quantizer, to share it: each
  ///     output shard repeats it, 403 MB at nlist 131,072.
  /// - Throws: ``IndexerError`` `.engine` when FAISS refuses, or the index is
  ///   not as tarn builds them.
  init(path: String, sharingQuantizerOf lender: FaissIndex? = nil) throws {
    var opened: OpaquePointer?
    try unsafe Self.call("read \(path)") { unsafe cfaiss_open(path, 1, &opened, $0, $1) }
    guard let handle = unsafe opened else { throw IndexerError(.engine, "FAISS read nothing from \(path)") }
    var description = cfaiss_description()
    do {
      try unsafe Self.call("describe \(path)") { unsafe cfaiss_describe(handle, &description, $0, $1) }
      guard description.inner_product == 1, description.by_residual == 0, description.codec >= 0 else {
        throw IndexerError(
          .engine, "\(path) is not an inner-product index without residuals; its scores would be wrong")
      }
      if let lender {
        try unsafe Self.call("share the coarse quantizer of \(path)") {
          unsafe cfaiss_share_quantizer(handle, lender.handle, $0, $1)
        }
      }
    } catch {
      unsafe cfaiss_close(handle)
      throw error
    }
    unsafe self.handle = handle
    self.lender = lender
    dimension = Int(description.dimension)
    nlist = Int(description.nlist)
    count = Int(description.count)
  }

  deinit { unsafe cfaiss_close(handle) }

  /// The lists to visit for each query, and their scores.
  struct Probes {
    /// Lists per query, `1...nlist`.
    let nprobe: Int
    /// Best first, `[n × nprobe]`.
    var lists: [Int64]
    /// `<query, centroid>`, `[n × nprobe]`.
    var scores: [Float]
  }

  /// Ranks lists by FAISS's coarse quantizer.
  ///
  /// A query's ranking does not depend on the batch it comes in, on the
  /// number of threads or on a BLAS.
  ///
  /// - Parameters:
  ///   - queries: Row-major, `[n × dimension]`.
  ///   - nprobe: Lists per query, `1...nlist`.
  ///   - threads: Threads that FAISS may use, `1...`.
  /// - Returns: The lists of each query.
  /// - Throws: ``IndexerError`` `.engine` when FAISS refuses.
  func rankLists(_ queries: [Float], nprobe: Int, threads: Int) throws -> Probes {
    let n = queries.count / dimension
    precondition(queries.count == n * dimension && (1...nlist).contains(nprobe))
    var lists = [Int64](repeating: -1, count: n * nprobe)
    var scores = [Float](repeating: 0, count: n * nprobe)
    try unsafe Self.call("rank lists") {
      unsafe cfaiss_rank_lists(
        handle, Int32(threads), Int64(n), queries, Int64(nprobe), &lists, &scores, $0, $1)
    }
    return Probes(nprobe: nprobe, lists: lists, scores: scores)
  }

  /// Scans the given lists for the best rows of each query.
  ///
  /// - Parameters:
  ///   - queries: Row-major, `[n × dimension]`.
  ///   - probes: The lists of each query.
  ///   - k: Rows per query, `1...`.
  ///   - threads: Threads that FAISS may use, `1...`.
  ///   - receive: Called with (query, id, score) for every hit, best first;
  ///     FAISS's -1 padding ends here.
  /// - Throws: ``IndexerError`` `.engine` when FAISS refuses.
  func search(
    _ queries: [Float], probes: Probes, k: Int, threads: Int, receive: (Int, RowID, Float) -> Void
  ) throws {
    let n = queries.count / dimension
    precondition(queries.count == n * dimension && probes.lists.count == n * probes.nprobe && k >= 1)
    var ids = [Int64](repeating: -1, count: n * k)
    var scores = [Float](repeating: 0, count: n * k)
    try unsafe Self.call("search") {
      unsafe cfaiss_search_lists(
        handle, Int32(threads), Int64(n), queries, Int64(probes.nprobe), probes.lists, probes.scores,
        Int64(k), &ids, &scores, $0, $1)
    }
    for query in 0..<n {
      for slot in query * k..<(query + 1) * k where ids[slot] >= 0 { receive(query, ids[slot], scores[slot]) }
    }
  }

  /// Makes one call and takes its error from that same call.
  private static func call(
    _ operation: String, _ body: (UnsafeMutablePointer<CChar>?, Int) -> Int32
  ) throws {
    var text = [CChar](repeating: 0, count: 512)
    let status = unsafe text.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress, $0.count) }
    guard status == 0 else {
      let message = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      throw IndexerError(.engine, "FAISS cannot \(operation): \(message)")
    }
  }
}
