// The first pass of the int8 engine by itself, for the benchmark that compares
// it with the peak of the machine.

internal import Base
internal import CKernels
internal import Features
internal import Synchronization

extension AssignmentEngine {
  /// An engine whose first pass multiplies `width` dimensions of random rows.
  ///
  /// - Parameters:
  ///   - rowCount: Rows, `2...`.
  ///   - width: Dimensions of the slice, `1...`.
  /// - Returns: The engine, its rows prepared.
  /// - Throws: ``TarnError`` `.engine` when the CPU lacks the instructions.
  package static func forFirstPass(rowCount: Int, width: Int) throws -> AssignmentEngine {
    guard AssignmentBackend.int8.isAvailable else {
      throw TarnError(.engine, "this CPU lacks the instructions of the int8 engine")
    }
    var random = SplitMix64(seed: 1)
    // Half of the axes make the slice.
    let dimension = 2 * width
    let rows = (0..<(rowCount * dimension)).map { _ in Float(Int32(truncatingIfNeeded: random.next() >> 32)) * 0x1p-31 }
    let engine = try AssignmentEngine(
      rows: FeatureMatrix(rows, dimension: dimension), backend: .int8, shape: .common)
    _ = try engine.best(of: FeatureMatrix(Array(rows.prefix(64 * dimension)), dimension: dimension))
    return engine
  }

  /// Multiplies slices with all rows, a tile for each thread, and compares.
  ///
  /// - Parameter vectorCount: Vectors of a tile.
  /// - Returns: Multiply-adds, and the seconds they took.
  package func measureFirstPass(vectorCount: Int) -> (products: Double, seconds: Double) {
    guard let cascade = rows.cascade else { return (0, 1) }
    let tiles = 4 * pool.threadCount
    let groups = (vectorCount + 5) / 6
    let slices = (0..<(groups * 6 * (cascade.sliceWidth + 4))).map { Int8(truncatingIfNeeded: $0 &* 31) }
    let reaching = Atomic<UInt64>(0)
    let clock = ContinuousClock()
    let time = clock.measure {
      pool.run(tiles) { _, _ in
        let found = unsafe slices.withUnsafeBufferPointer {
          unsafe ckernels_cascade_products(cascade.pointer, $0.baseAddress, groups)
        }
        reaching.wrappingAdd(found, ordering: .relaxed)
      }
    }
    let products = Double(tiles * groups * 6) * Double(rowCount) * Double(cascade.sliceWidth)
    return (products, time / .seconds(1))
  }
}
