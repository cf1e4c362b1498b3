// The order of a scan: which lists, in which pieces, for which queries.

/// The queries of a batch, list by list.
struct Visits: Sendable {
  /// Lists that some query visits.
  ///
  /// One that is the first choice of a query comes before one that is
  /// nobody's: good rows early rule out more.
  let lists: [Int]
  /// The queries that visit `lists[i]` are `queries[starts[i]..<starts[i + 1]]`.
  let starts: [Int]
  /// Query numbers, ascending within a list.
  let queries: [UInt32]

  /// Turns lists by query into queries by list.
  ///
  /// - Parameters:
  ///   - choices: The lists of each query, best first, `[queryCount × nprobe]`;
  ///     -1 for none.
  ///   - queryCount: How many queries, `1...`.
  init(_ choices: ArraySlice<Int32>, queryCount: Int) {
    let nprobe = choices.count / queryCount
    var places: [Int32: Int] = [:]
    places.reserveCapacity(choices.count)
    var lists: [Int] = []
    var counts: [Int] = []
    for rank in 0..<nprobe {
      for query in 0..<queryCount {
        let list = choices[choices.startIndex + query * nprobe + rank]
        guard list >= 0 else { continue }
        if let place = places[list] {
          counts[place] += 1
        } else {
          places[list] = lists.count
          lists.append(Int(list))
          counts.append(1)
        }
      }
    }
    var starts = [0]
    starts.reserveCapacity(lists.count + 1)
    for count in counts { starts.append(starts[starts.count - 1] + count) }
    var next = starts
    var queries = [UInt32](repeating: 0, count: starts[lists.count])
    for query in 0..<queryCount {
      for rank in 0..<nprobe {
        guard let place = places[choices[choices.startIndex + query * nprobe + rank]] else { continue }
        queries[next[place]] = UInt32(query)
        next[place] += 1
      }
    }
    (self.lists, self.starts, self.queries) = (lists, starts, queries)
  }
}

/// The pieces of a scan; each is a task.
struct ScanPlan: Sendable {
  /// Rows of one list in one output shard, for all queries that visit it.
  struct Piece: Sendable {
    let shard: Int
    let list: Int
    let rows: Range<Int>
    /// Where its queries are in ``Visits/queries``.
    let visitors: Range<Int>
  }

  private(set) var pieces: [Piece] = []
  /// Rows shown to queries, over all pieces.
  private(set) var work = 0
  /// Bytes of codes in all pieces.
  private(set) var byteCount = 0

  /// Pieces that the kernel is told of ahead.
  static let lookahead = 24

  /// Cuts lists into pieces.
  ///
  /// - Parameters:
  ///   - visits: Who visits what.
  ///   - shards: The output shards.
  ///   - codeByteCount: Bytes of a row's code.
  init(_ visits: Visits, shards: [SearchShard], codeByteCount: Int) {
    for (place, list) in visits.lists.enumerated() {
      let visitors = visits.starts[place]..<visits.starts[place + 1]
      for (number, shard) in shards.enumerated() {
        let size = shard.size(ofList: list)
        for rows in shard.pieces(ofList: list) {
          pieces.append(Piece(shard: number, list: list, rows: rows, visitors: visitors))
        }
        work += size * visitors.count
        byteCount += size * codeByteCount
      }
    }
  }
}
