// `tarn-bench flat` and `tarn-bench peak`: what others reach on this machine.

import Base
import CFaiss
import CKernels
import CPeers
import Features
import Foundation
import Indexer
import Synchronization

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
    say([
      "state": .string("ready"), "engine": .string("FAISS \(String(cString: cfaiss_version()))"),
      "blas": .string(blasName),
    ])
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
    let firstPass = try FirstPass(rowCount: 8192, width: width)
    var (ours, theirs) = (0.0, 0.0)
    for _ in 0..<5 {
      for depth in [width, 768] {
        let (m, n) = (2048, 4096)
        let seconds = cpeers_onednn_seconds(m, n, depth, 5)
        guard seconds > 0 else { throw BenchmarkError(text: "oneDNN has no int8 product here") }
        theirs = max(theirs, 2 * Double(m * n * depth) / seconds / 1e9)
      }
      let pass = firstPass.measure(vectorCount: 960)
      ours = max(ours, 2 * pass.products / pass.seconds / 1e9)
    }
    say(["onednn_gops": .number(theirs), "first_pass_gops": .number(ours), "share": .number(ours / theirs)])
  }
}

/// The first pass of the int8 engine by itself, on random rows.
private final class FirstPass {
  private let pool: WorkerPool
  private let rows: UnsafeMutablePointer<ckernels_rows>
  private let values: UnsafeMutablePointer<Float>
  private let norms: UnsafeMutablePointer<Double>
  private let cascade: OpaquePointer

  /// Prepares rows.
  ///
  /// - Parameters:
  ///   - rowCount: Rows, `64...`.
  ///   - width: Dimensions of the slice, `1...`.
  /// - Throws: ``BenchmarkError`` where the CPU lacks the instructions.
  init(rowCount: Int, width: Int) throws {
    guard AssignmentBackend.int8.isAvailable else {
      throw BenchmarkError(text: "this CPU lacks the instructions of the int8 engine")
    }
    pool = try .shared
    // Half of the axes make the slice.
    let dimension = 2 * width
    var random = SystemRandomNumberGenerator()
    values = .allocate(capacity: rowCount * dimension)
    for place in 0..<rowCount * dimension { values[place] = Float.random(in: -1...1, using: &random) }
    norms = .allocate(capacity: rowCount)
    norms.initialize(repeating: Double(dimension).squareRoot(), count: rowCount)
    rows = .allocate(capacity: 1)
    rows.initialize(to: ckernels_rows(values: values, norms: norms, count: rowCount, dimension: dimension))
    guard
      let made = ckernels_cascade_new(
        rows, values, 64, Int32(CKERNELS_COMMON.rawValue), ckernels_fastest_form(SimdLevel.current), nil)
    else {
      throw BenchmarkError(text: "the int8 engine refuses random rows")
    }
    cascade = made
    ckernels_cascade_quantize(cascade, 0, rowCount)
    ckernels_cascade_sort(cascade)
    ckernels_cascade_pack(cascade, 0, ckernels_cascade_blocks(cascade))
    ckernels_cascade_packed(cascade)
    ckernels_cascade_fill(cascade, 0, ckernels_cascade_blocks(cascade))
    ckernels_cascade_filled(cascade)
  }

  deinit {
    ckernels_cascade_free(cascade)
    rows.deallocate()
    norms.deallocate()
    values.deallocate()
  }

  /// Multiplies slices with all rows, a tile for each thread, and compares.
  ///
  /// - Parameter vectorCount: Vectors of a tile.
  /// - Returns: Multiply-adds, and the seconds they took.
  func measure(vectorCount: Int) -> (products: Double, seconds: Double) {
    let tiles = 4 * pool.threadCount
    let groups = (vectorCount + 5) / 6
    let width = ckernels_cascade_width(cascade)
    let slices = (0..<(groups * 6 * (width + 8))).map { Int8(truncatingIfNeeded: $0 &* 31) }
    let reaching = Atomic<UInt64>(0)
    nonisolated(unsafe) let cascade = cascade
    let time = ContinuousClock().measure {
      pool.run(tiles) { _, _ in
        let found = slices.withUnsafeBufferPointer { ckernels_cascade_products(cascade, $0.baseAddress, groups) }
        reaching.wrappingAdd(found, ordering: .relaxed)
      }
    }
    return (Double(tiles * groups * 6) * Double(rows.pointee.count) * Double(width), time / .seconds(1))
  }
}
