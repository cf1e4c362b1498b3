// What the lists of a training's images are for: the nearest of them for each query
// (DESIGN 4.1), exactly among those of the lists that it looks through.

package import Base
package import Features

extension ImageIndex {
  /// Pairs of a query and a list that are held at a time.
  private static let pairCount = 1 << 24
  /// The same where only the best is asked for, and lists are prepared once for all of them.
  private static let pairCountOfBest = 1 << 27
  /// Queries between two looks at whether to stop.
  private static let queryCount = 1 << 17
  /// Queries that rank lists, or are compared with the images of one, at a time where
  /// more than the best is asked for.
  private static let batch = 8192
  /// Images of a list that are widened at a time.
  private static let listBlock = 1 << 16

  /// Finds the nearest images of queries, or goes on where an earlier run was.
  ///
  /// - Parameters:
  ///   - k: Images for each; of fewer images, all of them.
  ///   - queries: `[n × dimension]`, finite.
  ///   - nprobe: Lists to look through, `1...`; all of fewer.
  ///   - inputs: Identifies images, queries, k and nprobe; a state saved for others is not used.
  ///   - path: Where the state is kept.
  ///   - blockCount: Queries between two states; nil for what 512 MiB hold, of more than one row each 128 MiB.
  ///   - interval: How often the state is saved, at most.
  ///   - checkpoint: Told of queries done; may throw to stop.
  /// - Returns: `[n × k]` rows, nearest first, and their scores.
  /// - Throws: ``TarnError``; what `checkpoint` throws.
  package func find(
    _ k: Int, of queries: FeatureMatrix, nprobe: Int, inputs: ContentDigest, resumingAt path: String,
    blockCount: Int? = nil, savingEvery interval: Duration = .seconds(30),
    checkpoint: (Progress) throws -> Void = { _ in }
  ) throws -> RowsFound {
    let (k, nprobe) = (min(k, images.rowCount), min(nprobe, centroids.rowCount))
    let fingerprint = ContentDigest.of("nearest-found-1 \(queries.rowCount) \(k) \(nprobe)\ninputs \(inputs)")
    let block = blockCount ?? max(Self.batch, (k == 1 ? Self.pairCountOfBest : Self.pairCount) / nprobe)
    var (rows, scores) =
      try SavedState.usable(logger) { try Self.loadFound(path, fingerprint, k, queries, images) } ?? ([], [])
    var saved = ContinuousClock.now
    let ranking = rows.count < queries.rowCount * k ? try ranking(of: queries, nprobe) : nil
    while rows.count < queries.rowCount * k {
      let first = rows.count / k
      let found = try find(k, of: queries, in: first..<min(first + block, queries.rowCount), nprobe, ranking) {
        try checkpoint(.found(first))
      }
      rows += found.rows
      scores += found.scores
      try checkpoint(.found(rows.count / k))
      guard ContinuousClock.now - saved >= interval else { continue }
      var writer = try StateWriter(creating: path + ".tmp", magic: "tarnprob", fingerprint: fingerprint)
      try writer.write(rows)
      try writer.write(scores)
      _ = try writer.finish(as: path)
      saved = .now
    }
    return RowsFound(k: k, rows: rows, scores: scores)
  }

  private static func loadFound(
    _ path: String, _ fingerprint: ContentDigest, _ k: Int, _ queries: FeatureMatrix, _ images: FeatureMatrix
  ) throws -> ([UInt32], [Double]) {
    var reader = try StateReader(path, magic: "tarnprob", fingerprint: fingerprint)
    let (rows, scores) = (try reader.read(UInt32.self), try reader.read(Double.self))
    guard rows.count == scores.count, rows.count % k == 0, rows.count <= queries.rowCount * k,
      rows.allSatisfy({ Int($0) < images.rowCount })
    else { throw StateReader.misfit(path) }
    return (rows, scores)
  }

  /// How lists are ranked; nil where their scores are compared outright.
  private func ranking(of queries: FeatureMatrix, _ nprobe: Int) throws -> RowRanking? {
    let work = Double(queries.rowCount) * Double(centroids.rowCount * centroids.dimension)
    guard nprobe < centroids.rowCount, queries.rowCount > 0,
      let form = try int8Form(for: work, dimension: images.dimension, backend, logger)
    else { return nil }
    return RowRanking(
      centroids, best: nprobe, sample: queries.sample(ofRows: 0..<queries.rowCount), form: form, pool: pool)
  }

  /// The lists that queries look through, `[n × nprobe]`; where only the best row is asked for,
  /// the likeliest comes first as a rule.
  private func probed(
    _ queries: FeatureMatrix, _ range: Range<Int>, _ nprobe: Int, _ ranking: RowRanking?,
    _ checkpoint: () throws -> Void
  ) throws -> [UInt32] {
    var probed: [UInt32] = []
    probed.reserveCapacity(range.count * nprobe)
    let batch = ranking == nil ? Self.batch : Self.queryCount
    for first in stride(from: range.lowerBound, to: range.upperBound, by: batch) {
      try checkpoint()
      let some = first..<min(first + batch, range.upperBound)
      if let ranking {
        probed += ranking.ranked(queries, in: some)
        continue
      }
      let block = FeatureMatrix(queries.floats(rows: some), dimension: queries.dimension)
      var exact = try ExactNeighbors(queries: block, k: nprobe, pool: pool)
      try exact.add(centroids)
      for id in exact.ids { probed.append(UInt32(id)) }
    }
    return probed
  }

  /// One block of queries.
  private func find(
    _ k: Int, of queries: FeatureMatrix, in range: Range<Int>, _ nprobe: Int, _ ranking: RowRanking?,
    _ checkpoint: () throws -> Void
  ) throws -> (rows: [UInt32], scores: [Double]) {
    let probed = try probed(queries, range, nprobe, ranking, checkpoint)
    var best = BestRows(count: range.count, k: k)
    let work = Double(range.count) * Double(nprobe) * Double(images.rowCount / lists.keyCount * images.dimension)
    let form = k == 1 ? try int8Form(for: work, dimension: images.dimension, backend, logger) : nil
    try lookThrough(probed, nprobe, queries, range, by: form, &best, checkpoint)
    let short = (0..<range.count).filter { best.counts[$0] < k }
    if !short.isEmpty {
      let block = queries.copy(ofRows: short.map { range.lowerBound + $0 })
      var all = try ExactNeighbors(queries: block, k: k, pool: pool)
      try all.add(images)
      for (place, query) in short.enumerated() {
        let scores = all.scores[(place * k)..<(place * k + k)]
        best.replace(query, rows: all.found(for: place).map { UInt32($0) }, scores: scores)
      }
    }
    return (best.rows, best.scores)
  }

  /// Images that are held in float32 at a time.
  private var mostHeld: Int { max(tileByteCount / (4 * images.dimension), 1) }

  /// Lists that fit a tile of images, tile by tile; one that is longer is a tile of its own.
  private var tiles: [Range<Int>] {
    let most = mostHeld
    var (tiles, first, held): ([Range<Int>], Int, Int) = ([], 0, 0)
    for list in 0..<lists.keyCount {
      if held > 0, held + lists[list].count > most {
        tiles.append(first..<list)
        (first, held) = (list, 0)
      }
      held += lists[list].count
    }
    return tiles + [first..<lists.keyCount]
  }

  /// The best rows in the lists that queries look through.
  private func lookThrough(
    _ probed: [UInt32], _ nprobe: Int, _ queries: FeatureMatrix, _ range: Range<Int>, by form: CascadeForm?,
    _ best: inout BestRows, _ checkpoint: () throws -> Void
  ) throws {
    guard let form else {
      return try compare(probed, nprobe, lists: 0..<lists.keyCount, queries, range, &best, checkpoint)
    }
    // Queries with the same likeliest list side by side: they look through much the same lists.
    let likeliest = stride(from: 0, to: probed.count, by: nprobe).map { probed[$0] }
    let order = GroupedNumbers(by: likeliest, keyCount: lists.keyCount)
    let places = (0..<lists.keyCount).flatMap { order[$0] }
    let sample = queries.sample(ofRows: range)
    let share = Double(nprobe) / Double(lists.keyCount)
    for tile in tiles {
      try checkpoint()
      // Compared list by list its images are held a block at a time, whatever their number; the winners are the same.
      guard tile.reduce(0, { $0 + lists[$1].count }) <= mostHeld else {
        try compare(probed, nprobe, lists: tile, queries, range, &best, checkpoint)
        continue
      }
      var members: [(row: UInt32, list: UInt32)] = []
      for list in tile { members += lists[list].map { ($0, UInt32(list - tile.lowerBound)) } }
      guard !members.isEmpty else { continue }
      members.sort { $0.row < $1.row }
      let rows = ListedRows(
        images, members.map(\.row), in: members.map(\.list), listCount: tile.count, probeCount: nprobe, sample: sample,
        compared: share * Double(members.count), vectorCount: range.count, form: form, pool: pool)
      guard let rows else {
        try compare(probed, nprobe, lists: tile, queries, range, &best, checkpoint)
        continue
      }
      for first in stride(from: 0, to: places.count, by: Self.queryCount) {
        try checkpoint()
        let some = places[first..<min(first + Self.queryCount, places.count)]
        let found = rows.best(
          of: queries, some.map { UInt32(range.lowerBound) + $0 },
          floors: some.map { best.floor(of: Int($0)) }
        ) { place, asked in
          let start = Int(some[some.startIndex + place]) * nprobe
          for list in probed[start..<(start + nprobe)] where tile.contains(Int(list)) {
            asked.append(list - UInt32(tile.lowerBound))
          }
        }
        for (place, query) in some.enumerated() where found.rows[place] != .max {
          best.add(found.rows[place], found.scores[place], to: Int(query))
        }
      }
    }
  }

  /// Compares queries with the images of some lists, list by list, so that those of each are widened once.
  private func compare(
    _ probed: [UInt32], _ nprobe: Int, lists some: Range<Int>, _ queries: FeatureMatrix, _ range: Range<Int>,
    _ best: inout BestRows, _ checkpoint: () throws -> Void
  ) throws {
    let pairs = GroupedNumbers(by: probed, keyCount: lists.keyCount)
    for list in some where !pairs[list].isEmpty && !lists[list].isEmpty {
      try checkpoint()
      let asking = pairs[list].map { $0 / UInt32(nprobe) }
      let listed = lists[list]
      for start in stride(from: listed.startIndex, to: listed.endIndex, by: Self.listBlock) {
        let members = Array(listed[start..<min(start + Self.listBlock, listed.endIndex)])
        let rows = images.copy(ofRows: members.map(Int.init))
        try compare(asking, queries, from: range.lowerBound, rows, members, &best)
      }
    }
  }

  /// Compares queries with the images of a list.
  private func compare(
    _ asking: [UInt32], _ queries: FeatureMatrix, from first: Int, _ rows: FeatureMatrix, _ members: [UInt32],
    _ best: inout BestRows
  ) throws {
    if best.k == 1 {
      let engine = try AssignmentEngine(rows: rows, backend: backend, pool: pool, logger: logger)
      let found = try engine.best(of: queries, listed: asking.map { UInt32(first) + $0 })
      for (place, query) in asking.enumerated() {
        best.add(members[Int(found.rows[place])], found.scores[place], to: Int(query))
      }
      return
    }
    for start in stride(from: 0, to: asking.count, by: Self.batch) {
      let some = asking[start..<min(start + Self.batch, asking.count)]
      let block = queries.copy(ofRows: some.map { first + Int($0) })
      let floors = some.map { best.floor(of: Int($0)) }
      var found = try ExactNeighbors(queries: block, k: best.k, floors: floors, pool: pool)
      try found.add(rows)
      for (place, query) in some.enumerated() {
        for number in 0..<Int(found.counts[place]) {
          let at = place * best.k + number
          best.add(members[Int(found.ids[at])], found.scores[at], to: Int(query))
        }
      }
    }
  }
}

/// The best rows of each query among those that were added in any order.
private struct BestRows {
  let k: Int
  /// `[count × k]`, best first.
  private(set) var rows: [UInt32]
  private(set) var scores: [Double]
  /// Rows of each, `0...k`.
  private(set) var counts: [Int]

  init(count: Int, k: Int) {
    self.k = k
    rows = [UInt32](repeating: 0, count: count * k)
    scores = [Double](repeating: -.infinity, count: count * k)
    counts = [Int](repeating: 0, count: count)
  }

  /// What a row has to score to be among those of a query.
  func floor(of query: Int) -> Double { counts[query] == k ? scores[query * k + k - 1] : -.infinity }

  /// Puts a row in its place: by score, of equal scores by row.
  mutating func add(_ row: UInt32, _ score: Double, to query: Int) {
    let (start, count) = (query * k, counts[query])
    var at = start + count
    while at > start, scores[at - 1] < score || (scores[at - 1] == score && rows[at - 1] > row) { at -= 1 }
    guard at < start + k else { return }
    if count < k { counts[query] += 1 }
    for place in stride(from: start + counts[query] - 1, to: at, by: -1) {
      rows[place] = rows[place - 1]
      scores[place] = scores[place - 1]
    }
    rows[at] = row
    scores[at] = score
  }

  mutating func replace(_ query: Int, rows: [UInt32], scores: ArraySlice<Double>) {
    self.rows.replaceSubrange((query * k)..<(query * k + k), with: rows)
    self.scores.replaceSubrange((query * k)..<(query * k + k), with: scores)
    counts[query] = k
  }
}
