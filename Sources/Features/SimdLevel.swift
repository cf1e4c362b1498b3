// Which instruction set the kernels use in this process.

internal import CKernels
internal import Foundation

/// The level that every kernel runs at.
///
/// It is the CPU's best, or a lower one that `TARN_SIMD=portable|avx2|avx512`
/// asks for. It has no effect on any bit.
package enum SimdLevel {
  package static let current: Int32 = {
    let best = ckernels_best_level()
    switch ProcessInfo.processInfo.environment["TARN_SIMD"] {
    case "portable": return Int32(CKERNELS_PORTABLE.rawValue)
    case "avx2": return min(best, Int32(CKERNELS_AVX2.rawValue))
    default: return best
    }
  }()

  /// Every level that this CPU carries out, portable first.
  package static var all: [Int32] { Array(0...ckernels_best_level()) }
}
