// Which instruction set the kernels on vectors use in this process.

internal import CCpu
internal import Foundation

/// The level that kernels on vectors are asked to run at.
///
/// It is the CPU's best, or a lower one that `TARN_SIMD` asks for: `portable`,
/// `avx2`, `avxvnni` or `avx512`; on aarch64 `portable`, `neon` or `dotprod`. It
/// has no effect on any bit.
package enum SimdLevel {
  package static let current: Int32 = {
    let best = ccpu_level()
    switch ProcessInfo.processInfo.environment["TARN_SIMD"] {
    case "portable": return Int32(CCPU_PORTABLE.rawValue)
    case "avx2", "neon": return min(best, Int32(CCPU_AVX2.rawValue))
    case "avxvnni", "dotprod": return min(best, Int32(CCPU_AVXVNNI.rawValue))
    default: return best
    }
  }()

  /// What `TARN_SIMD` may say, on whatever machine.
  package static let names = ["portable", "avx2", "avxvnni", "avx512", "neon", "dotprod"]

  /// Every level that this CPU carries out, portable first.
  package static var all: [Int32] { Array(0...ccpu_level()) }
}
