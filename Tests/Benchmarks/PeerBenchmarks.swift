// `tarn-bench flat` and `tarn-bench peak`: what others reach on this machine.

import Base
import CFaiss
import CPeers
import Features
import Foundation
import Indexer

/// Assigns the rows of one file to the rows of another by the installed
/// FAISS's `IndexFlatIP::search` with k = 1, once for each line on stdin.
struct FlatBenchmark {
  private let index: OpaquePointer
  private let queries: [Float]
  private let count: Int

  init(_ options: Options) throws {
    guard let rows = options.text("rows"), let queries = options.text("queries") else {
      throw BenchmarkError(text: "flat needs --rows FILE.npy and --queries FILE.npy")
    }
    let centroids = try FeatureFile(rows).matrix
    let matrix = try FeatureFile(queries).matrix
    count = matrix.rowCount
    self.queries = matrix.floats(rows: 0..<matrix.rowCount)
    let values = centroids.floats(rows: 0..<centroids.rowCount)
    guard let made = cpeers_flat_new(centroids.dimension, centroids.rowCount, values) else {
      throw BenchmarkError(text: "FAISS has no flat index here")
    }
    index = made
  }

  func run() throws {
    say(["state": .string("ready"), "engine": .string("FAISS \(String(cString: cfaiss_version()))")])
    var lists = [Int64](repeating: 0, count: count)
    var scores = [Float](repeating: 0, count: count)
    while let line = readLine() {
      // The first number limits the queries: at many lists this is slow.
      let limit = line.split(separator: " ").lazy.compactMap { Int($0) }.first ?? count
      let clock = ContinuousClock()
      var status: Int32 = 0
      let time = clock.measure { status = cpeers_flat_search(index, min(limit, count), queries, &lists, &scores) }
      guard status == 0 else { throw BenchmarkError(text: "FAISS could not search") }
      let seconds = time / .seconds(1)
      say(["seconds": .number(seconds), "vectors": .count(min(limit, count))])
    }
  }
}

/// The int8 products per second of oneDNN, and of the engine's first pass
/// with a slice of `--width` dimensions.
struct PeakBenchmark {
  private let width: Int

  init(_ options: Options) throws {
    width = try options.number("width", default: 304)
  }

  func run() throws {
    let engine = try AssignmentEngine.forFirstPass(rowCount: 8192, width: width)
    var (ours, theirs) = (0.0, 0.0)
    for _ in 0..<5 {
      for depth in [width, 768] {
        let (m, n) = (2048, 4096)
        let seconds = cpeers_onednn_seconds(m, n, depth, 5)
        guard seconds > 0 else { throw BenchmarkError(text: "oneDNN has no int8 product here") }
        theirs = max(theirs, 2 * Double(m * n * depth) / seconds / 1e9)
      }
      let pass = engine.measureFirstPass(vectorCount: 960)
      ours = max(ours, 2 * pass.products / pass.seconds / 1e9)
    }
    say(["onednn_gops": .number(theirs), "first_pass_gops": .number(ours), "share": .number(ours / theirs)])
  }
}

/// One line of JSON on stdout.
func say(_ object: [String: JSONValue]) {
  FileHandle.standardOutput.write(Data((JSONValue.object(object).text + "\n").utf8))
}
