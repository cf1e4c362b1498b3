// `tarn-bench search`: the searcher, run on request, so that a script can run
// it and its peer in turn. One line in, one line out.

import Base
import Features
import Foundation
import Indexer
import Synchronization

/// Searches index files with the rows of a feature file.
///
/// Prints `ready` once the files are open. For each line
/// `search BATCH COUNT NPROBE K THREADS [IDS]` it searches with COUNT queries,
/// BATCH at a time, and prints the seconds it took and what it cost; IDS names a
/// file for the row ids, int64. `refine BATCH COUNT NPROBE K THREADS` is the same with the best rows
/// ordered again by the codes of --refine FILE, which has one for each row. `read THREADS` reads the files' bytes, mapped,
/// and prints the seconds: the rate that a scan cannot exceed.
final class SearchBenchmark {
  private let searcher: VersionSearcher
  private let queries: FeatureFile
  private let files: [Data]
  /// Where the next search takes its queries, so that none finds its lists in
  /// a cache.
  private var next = 0

  init(_ options: Options) throws {
    guard let paths = options.text("shards"), let queries = options.text("queries") else {
      throw BenchmarkError(text: "search needs --shards FILE,… and --queries FILE.npy")
    }
    let list = paths.split(separator: ",").map(String.init)
    self.queries = try FeatureFile(queries)
    let rowCount = try list.reduce(0) { try $0 + OutputShardFile(path: $1).rowCount }
    searcher = try VersionSearcher(
      outputShards: list,
      refinedBy: options.text("refine").map { [RefinePlace(path: $0, ids: 0..<RowID(rowCount))] } ?? [])
    files = try list.map { try Data(contentsOf: URL(fileURLWithPath: $0), options: .alwaysMapped) }
  }

  func run() throws {
    say(["state": .string("ready"), "rows": .count(searcher.rowCount)])
    while let line = readLine() {
      let words = line.split(separator: " ").map(String.init)
      let numbers = words.dropFirst().prefix(5).compactMap { Int($0) }
      switch (words.first, numbers.count) {
      case ("search", 5): try search(numbers, refining: 0, ids: words.count > 6 ? words[6] : nil)
      case ("refine", 5): try search(numbers, refining: nil, ids: nil)
      case ("read", 1): try read(threads: numbers[0])
      default: throw BenchmarkError(text: "cannot do '\(line)'")
      }
    }
  }

  private func search(_ numbers: [Int], refining rows: Int?, ids path: String?) throws {
    let (batch, count, nprobe, k, threads) = (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4])
    let candidates = searcher.candidates(for: k, refining: rows)
    let before = searcher.statistics
    var ids: [RowID] = []
    var seconds = 0.0
    let clock = ContinuousClock()
    let total = queries.rowCount
    var first = path == nil ? next : 0
    for done in stride(from: 0, to: count, by: batch) {
      let width = min(batch, count - done)
      let vectors = (0..<width).flatMap { row in
        queries.matrix.floats(rows: (first + row) % total..<(first + row) % total + 1)
      }
      first = (first + width) % total
      seconds +=
        try clock.measure {
          let found = try searcher.search(
            vectors, k: k, refining: candidates, nprobe: nprobe, threads: threads)
          if path != nil { ids += found.paddedIDs }
        } / .seconds(1)
    }
    if path == nil { next = first }
    if let path {
      try ids.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: path)) }
    }
    let after = searcher.statistics
    say([
      "seconds": .number(seconds), "bytes": .count(after.byteCount - before.byteCount),
      "ranked_bytes": .count(after.rankedByteCount - before.rankedByteCount),
      "shown": .count(after.shown - before.shown), "refined": .count(after.refined - before.refined),
      "scored": .count(after.scored - before.scored), "peak_bytes": .count((try? peakMemory()) ?? 0),
    ])
  }

  private func read(threads: Int) throws {
    let sum = Mutex(UInt64(0))
    let pool = try WorkerPool(threadCount: threads)
    let clock = ContinuousClock()
    let piece = 1 << 20
    let pieces = files.flatMap { file in stride(from: 0, to: file.count - piece, by: piece).map { (file, $0) } }
    let seconds =
      clock.measure {
        pool.run(pieces.count) { task, _ in
          let (file, offset) = pieces[task]
          let part = file.withUnsafeBytes { bytes in
            (0..<piece / 64).reduce(into: SIMD8<UInt64>()) { lanes, step in
              lanes &+= bytes.loadUnaligned(fromByteOffset: offset + 64 * step, as: SIMD8<UInt64>.self)
            }
          }
          sum.withLock { $0 &+= part.wrappedSum() }
        }
      } / .seconds(1)
    say([
      "seconds": .number(seconds), "bytes": .count(pieces.count * piece),
      "sum": .string(String(sum.withLock { $0 }, radix: 16)),
    ])
  }
}
