// Which pairs an index is trained on: a rule and a seed, never "the first n".

package import Base

/// The pairs drawn from the shards of a paired source.
///
/// The rule, `splitmix64-smallest-v1`: pairs are numbered from 0 through all
/// shards in order. The key of pair r is the (r + 1)th output of SplitMix64
/// with the seed `mix(seed + 0x9E3779B97F4A7C15)`, so that
/// `key(r) = mix(mix(seed + g) + (r + 1)·g)` with g that constant, modulo 2^64.
/// SplitMix64 never repeats an output within its period, so keys are distinct;
/// the `count` pairs with the smallest keys are drawn. The draw does not
/// depend on the order in which shards are looked at, and a larger count draws
/// a superset.
package struct TrainingSample: Sendable, Equatable {
  /// The name of the rule, for the catalog.
  package static let rule = "splitmix64-smallest-v1"

  /// Rows drawn from each shard, in shard order; each list ascending.
  package let rows: [[UInt32]]
  /// Pairs drawn from all shards.
  package let count: Int
  /// Identifies the selection: SHA-256 over rule, seed, shard sizes and rows.
  package let digest: ContentDigest

  /// Rows that a shard has at most: their numbers have 32 bits.
  package static let mostRows = Int(UInt32.max) - 1

  /// Draws pairs.
  ///
  /// - Parameters:
  ///   - count: Pairs to draw, `1...`; nil for all.
  ///   - rowCounts: Rows of each shard, in order.
  ///   - seed: Any number.
  /// - Throws: ``TarnError`` `.usage` when there are fewer pairs than that, `.unfit` for a shard with more rows than
  ///   there are 32-bit numbers.
  package init(count: Int?, rowCounts: [Int], seed: UInt64) throws {
    // What is said of a shard that nobody here has seen may be anything.
    let most = rowCounts.max() ?? 0
    guard most <= Self.mostRows else {
      throw TarnError(
        .unfit, "a shard has \(most) rows, and no training draws from one of more than \(Self.mostRows)")
    }
    let total = rowCounts.reduce(0, +)
    let wanted = count ?? total
    guard wanted >= 1, wanted <= total else {
      throw TarnError(
        .usage, "\(wanted) training pairs were asked for and there are \(total)",
        hint: total > 0 ? "ask for between 1 and \(total), or sync more shards" : "sync shards that hold rows")
    }
    let threshold = wanted == total ? UInt64.max : Self.largestKey(of: wanted, total: total, seed: seed)
    let stream = Self.stream(seed)
    var state = stream
    var drawn = 0
    rows = rowCounts.map { rowCount in
      var list: [UInt32] = []
      list.reserveCapacity(Int(Double(rowCount) * Double(wanted) / Double(max(total, 1))) + 16)
      for row in 0..<rowCount {
        state &+= SplitMix64.increment
        if SplitMix64.mix(state) <= threshold { list.append(UInt32(row)) }
      }
      drawn += list.count
      return list
    }
    precondition(drawn == wanted, "the keys of the pairs are not distinct")
    self.count = wanted
    var hasher = Sha256()
    let header = "\(Self.rule)\nseed \(seed)\nshards \(rowCounts.count)\n"
    unsafe hasher.update(Array(header.utf8).span.bytes)
    for (rowCount, list) in zip(rowCounts, rows) {
      unsafe hasher.update(Array("shard \(rowCount) \(list.count)\n".utf8).span.bytes)
      unsafe hasher.update(list.span.bytes)
    }
    digest = hasher.finalize()
  }

  private static func stream(_ seed: UInt64) -> UInt64 { SplitMix64.mix(seed &+ SplitMix64.increment) }

  /// The greatest of the `count` smallest keys, found without keeping all of
  /// them: a histogram of their upper bits, then a sort of one bin.
  private static func largestKey(of count: Int, total: Int, seed: UInt64) -> UInt64 {
    let bits = 16
    var histogram = [Int](repeating: 0, count: 1 << bits)
    var state = stream(seed)
    for _ in 0..<total {
      state &+= SplitMix64.increment
      histogram[Int(SplitMix64.mix(state) >> (64 - UInt64(bits)))] += 1
    }
    var before = 0
    var bin = 0
    while before + histogram[bin] < count {
      before += histogram[bin]
      bin += 1
    }
    var keys: [UInt64] = []
    keys.reserveCapacity(histogram[bin])
    state = stream(seed)
    for _ in 0..<total {
      state &+= SplitMix64.increment
      let key = SplitMix64.mix(state)
      if Int(key >> (64 - UInt64(bits))) == bin { keys.append(key) }
    }
    keys.sort()
    return keys[count - before - 1]
  }
}
