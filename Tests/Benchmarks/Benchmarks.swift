// `tarn-bench`: the numbers that the documentation states, each measured
// against its yardstick in one run. Owns the arguments and what the benchmarks
// share; each benchmark has a file of its own.

import Base
import Foundation

/// The subcommands.
@main
enum Benchmarks {
  private static let usage = """
    usage: tarn-bench merge [--dir DIR] [--rounds N] [--segments N] [--rows N] [--nlist N] [--dimension N]
             merging segments and reading back, against the disk's own rate; memory at a quarter of the segments
           tarn-bench flat --rows FILE.npy --queries FILE.npy
             winners by the installed FAISS, once for each line on stdin; see python/bench_assign.py
           tarn-bench peak [--width N]
             int8 products per second of oneDNN and of the engine's first pass
           tarn-bench assign --rows FILE.npy --queries FILE.npy
             the winners of all queries, once for each line on stdin; see python/bench_assign.py
           tarn-bench kmeans --images FILE.npy --captions FILE.npy [--nlist N] [--iterations N]
             paired k-means, once for each line on stdin; see python/bench_kmeans.py
           tarn-bench selftest
             milliseconds that each engine takes to prove itself
           tarn-bench ingest --lake DIR --tasks DIR
             taking in results that have no bytes; see python/bench_cluster.py
           tarn-bench parquet
             columns of parquet files as lines on stdin ask for them; see python/bench_parquet.py
           tarn-bench search --shards FILE.faiss,… --queries FILE.npy
             searches as lines on stdin ask for them; see python/bench_search.py
    """

  static func main() {
    let words = Array(CommandLine.arguments.dropFirst())
    do {
      let options = try Options(words.dropFirst())
      switch words.first {
      case "merge": try MergeBenchmark(options).run()
      case "flat": try FlatBenchmark(options).run()
      case "peak": try PeakBenchmark(options).run()
      case "assign": try AssignBenchmark(options).run()
      case "kmeans": try KMeansBenchmark(options).run()
      case "selftest": SelfTestBenchmark().run()
      case "ingest": try IngestBenchmark(options).run()
      case "parquet": try ParquetBenchmark().run()
      case "search": try SearchBenchmark(options).run()
      case MergeBenchmark.childCommand: try MergeBenchmark(options).runChild()
      default: throw BenchmarkError(text: usage)
      }
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(1)
    }
  }
}

/// Why a benchmark cannot run.
struct BenchmarkError: Error, CustomStringConvertible {
  let text: String
  var description: String { text }
}

/// `--name value` pairs.
struct Options {
  private var values: [String: String] = [:]

  init(_ words: some Sequence<String>) throws {
    var name: String?
    for word in words {
      if let option = name {
        values[option] = word
        name = nil
      } else if word.hasPrefix("--") {
        name = String(word.dropFirst(2))
      } else {
        throw BenchmarkError(text: "unexpected '\(word)'")
      }
    }
    if let name { throw BenchmarkError(text: "--\(name) needs a value") }
  }

  func text(_ name: String) -> String? { values[name] }

  /// A positive number.
  func number(_ name: String, default fallback: Int) throws -> Int {
    guard let text = values[name] else { return fallback }
    guard let number = Int(text), number > 0 else { throw BenchmarkError(text: "--\(name) \(text) is no count") }
    return number
  }
}

/// A directory for large files; gone with its owner.
final class WorkDirectory {
  let path: String

  init(in parent: String?) throws {
    path = (parent ?? FileManager.default.temporaryDirectory.path) + "/tarn-bench-\(getpid())"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func file(_ name: String) -> String { path + "/" + name }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// One thing measured, several times, in turn with others.
struct Measurement {
  let name: String
  /// Bytes, rows or whatever a run handles.
  let amount: Double
  /// One run; what it prepares before `body` is called is not measured.
  let run: (_ body: (() throws -> Void) throws -> Void) throws -> Void
}

/// Runs A B A B …, so that whatever else the machine does falls on all alike.
///
/// - Parameters:
///   - rounds: How often each is run.
///   - measurements: What is run.
/// - Returns: For each measurement its rates, amount per second, by round.
/// - Throws: What a run throws.
func alternate(rounds: Int, _ measurements: [Measurement]) throws -> [[Double]] {
  var rates = measurements.map { _ in [Double]() }
  for _ in 0..<rounds {
    for (index, measurement) in measurements.enumerated() {
      var seconds = 0.0
      try measurement.run { body in
        let clock = ContinuousClock()
        seconds = try clock.measure(body) / .seconds(1)
      }
      rates[index].append(measurement.amount / seconds)
    }
  }
  return rates
}

/// The middle value; of an even number the mean of the two.
func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}

/// The most memory this process ever had, in bytes.
func peakMemory() throws -> Int {
  let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
  let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
  guard let kibibytes = line?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
    throw BenchmarkError(text: "no VmHWM in /proc/self/status")
  }
  return kibibytes << 10
}

/// A number with some digits after the point.
func format(_ value: Double, _ digits: Int = 2) -> String { String(format: "%.\(digits)f", value) }

/// Prints an object as a line of JSON.
func say(_ object: [String: JSONValue]) {
  FileHandle.standardOutput.write(Data((JSONValue.object(object).text + "\n").utf8))
}
