// `tarn-bench assign`: the assignment engine, run on request, so that a script
// can run it and its peers in turn. One line in, one line out.

import Base
import CKernels
import Features
import Foundation
import Indexer
import Logging

/// Assigns the rows of one file to the rows of another.
///
/// Prints `ready` once the rows are prepared; then for each line on stdin it
/// assigns all queries once and prints, as JSON, the seconds it took and what
/// it cost. The last word of a line may name a file for the winners, uint32.
struct AssignBenchmark {
  private let engine: AssignmentEngine
  private let queries: FeatureFile
  private let baseline: Int

  init(_ options: Options) throws {
    guard let rows = options.text("rows"), let queries = options.text("queries") else {
      throw BenchmarkError(text: "assign needs --rows FILE.npy and --queries FILE.npy")
    }
    self.queries = try FeatureFile(queries)
    baseline = try AssignBenchmark.residentMemory()
    engine = try AssignmentEngine(rows: FeatureFile(rows).matrix, logger: Logger(label: "tarn.bench"))
  }

  func run() throws {
    say(["state": .string("ready"), "engine": .string(engine.backend.rawValue), "blas": .string(blasName)])
    while let line = readLine() {
      let before = engine.statistics
      let clock = ContinuousClock()
      var winners = Winners()
      let seconds = try clock.measure { winners = try engine.best(of: queries.matrix) } / .seconds(1)
      let words = line.split(separator: " ")
      if words.count > 1, let path = words.last {
        let bytes = winners.rows.flatMap { row in (0..<4).map { UInt8(truncatingIfNeeded: row >> (8 * $0)) } }
        try Data(bytes).write(to: URL(fileURLWithPath: String(path)))
      }
      let after = engine.statistics
      say([
        "seconds": .number(seconds), "vectors": .count(winners.rows.count),
        "rescored": .count(after.rescored - before.rescored), "fallbacks": .count(after.fallbacks - before.fallbacks),
        "looked": .count(after.looked - before.looked), "width": .count(engine.sliceWidth ?? 0),
        "balanced": .count(engine.isBalanced == true ? 1 : 0),
        "engine_bytes": .count(try peakMemory() - baseline),
      ])
    }
  }

  private static func residentMemory() throws -> Int {
    let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
    return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(getpagesize())
  }
}

/// What the OpenBLAS of this process is, its kernels among it.
let blasName = String(cString: ckernels_blas_name())

/// Times the self-test of each engine that this machine has: the first, which
/// a process pays, in a process that has done nothing else.
struct SelfTestBenchmark {
  func run() {
    let available = AssignmentBackend.allCases.filter(\.isAvailable)
    say(
      Dictionary(
        uniqueKeysWithValues: available.map { ("\($0.rawValue)_ms", .number($0.selfTestDuration / .milliseconds(1))) }))
  }
}
