// The ways to find the exact winner, which one a process uses, and the proof
// that each gives before it is used.

internal import Base
internal import CCpu
internal import CKernels
internal import Features
internal import Foundation
package import Logging
internal import Synchronization

/// A way to compute the winners of ``AssignmentEngine``.
///
/// All of them return the same ones; they differ in speed.
package enum AssignmentBackend: String, Sendable, CaseIterable {
  /// A slice of the dimensions in int8, the rows that could still win in int8
  /// over all dimensions, binary64 scores of the last few. For CPUs with AVX2 or
  /// better, and every aarch64. Rows out of its range or of more than 4,096 elements, and problems too small
  /// to pay for the preparation unless it was asked for by name, are left to bf16 or sgemm.
  case int8
  /// Elements rounded to bfloat16, their products summed in float32; what the
  /// rounding took from each vector and row bounds it. Then as `sgemm`. For CPUs
  /// with AVX-512 BF16.
  case bf16
  /// Float32 products by OpenBLAS, a proved rounding bound, binary64 scores of
  /// the rows within it.
  case sgemm
  /// Binary64 scores of every row.
  case scalar

  /// The backend of this process: the one that `TARN_ENGINE` names, or the
  /// fastest that computes right on this machine.
  ///
  /// - Parameters:
  ///   - logger: Gets a warning for each backend that is dropped.
  ///   - environment: Where `TARN_ENGINE` is looked up.
  /// - Returns: A backend that passed its self-test.
  /// - Throws: ``TarnError`` `.usage` for an unknown name, `.engine` when
  ///   the named backend computes wrong here.
  package static func choose(
    logger: Logger, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> AssignmentBackend {
    if let name = forcedName(environment) {
      guard let forced = AssignmentBackend(rawValue: name) else {
        throw TarnError(
          .usage, "TARN_ENGINE names no engine: '\(name)'",
          hint: "it may be \(allCases.map(\.rawValue).joined(separator: ", "))")
      }
      guard forced.isAvailable else {
        throw TarnError(
          .engine, "this CPU lacks the instructions of the \(name) engine", hint: "unset TARN_ENGINE")
      }
      guard forced.isSound else {
        throw TarnError(
          .engine, "the \(name) engine computes wrong results on this machine",
          hint: "unset TARN_ENGINE, or try OPENBLAS_CORETYPE=Haswell")
      }
      return forced
    }
    if let advice = blasAdvice, !advised.exchange(true, ordering: .relaxed) { logger.warning("\(advice)") }
    for backend in allCases where backend.isAvailable {
      if backend.isSound { return backend }
      logger.warning(
        "the assignment engine computes wrong results on this machine and is not used",
        metadata: ["engine": "\(backend.rawValue)", "blas": "\(unsafe String(cString: ckernels_blas_name()))"])
    }
    throw TarnError(.engine, "no assignment engine computes right on this machine")
  }

  private static let blasAdvice = unsafe adviceOnBlas(
    core: String(cString: ckernels_blas_core()), level: ccpu_level())
  private static let advised = Atomic(false)

  /// What to do where OpenBLAS does not know the CPU and takes kernels of one
  /// before AVX; it reads the answer when it is loaded, so only the caller can give it.
  ///
  /// - Parameters:
  ///   - core: The CPU that OpenBLAS has chosen kernels for.
  ///   - level: What this one carries out.
  /// - Returns: A line for the user; nil when all is well.
  package static func adviceOnBlas(core: String, level: Int32) -> String? {
    let old: Set = [
      "Katmai", "Coppermine", "Northwood", "Prescott", "Banias", "Core2", "Penryn", "Dunnington", "Nehalem", "Athlon",
      "Opteron", "Opteron_SSE3", "Barcelona", "Bobcat", "Atom", "Nano", "Generic",
    ]
    guard level >= Int32(CCPU_AVX2.rawValue), old.contains(core) else { return nil }
    let known = level >= Int32(CCPU_AVX512.rawValue) ? "SkylakeX" : "Haswell"
    return
      "OpenBLAS does not know this CPU and multiplies as on a \(core); OPENBLAS_CORETYPE=\(known) makes it several times as fast"
  }

  /// The name in `TARN_ENGINE`; nil when there is none.
  internal static func forcedName(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String? {
    environment["TARN_ENGINE"].flatMap { $0.isEmpty ? nil : $0 }
  }

  /// Whether the CPU has the instructions of the backend, and may use them.
  package var isAvailable: Bool {
    let hasAvx512 = SimdLevel.current >= Int32(CCPU_AVX512.rawValue)
    return switch self {
    case .int8: CascadeForm.fastest != nil
    case .bf16: hasAvx512 && ccpu_has_bf16() != 0
    case .sgemm, .scalar: true
    }
  }

  /// Whether the backend agrees with portable arithmetic on random and extreme
  /// rows; found out once in a process, in a few milliseconds.
  package var isSound: Bool {
    switch self {
    case .int8: Self.int8IsSound
    case .bf16: Self.bf16IsSound
    case .sgemm: Self.sgemmIsSound
    case .scalar: Self.scalarIsSound
    }
  }

  private static let int8IsSound = SelfTest.passes(.int8)
  private static let bf16IsSound = SelfTest.passes(.bf16)
  private static let sgemmIsSound = SelfTest.passes(.sgemm)
  private static let scalarIsSound = SelfTest.passes(.scalar)
}

/// Winners of a backend against those of the portable kernel.
internal enum SelfTest {
  /// A problem with elements of all sizes and, from three rows on, a tie.
  struct Problem {
    let vectors: [Float]
    let rows: [Float]
    let dimension: Int

    init(vectorCount: Int, rowCount: Int, dimension: Int) {
      self.dimension = dimension
      var random = SplitMix64(seed: UInt64(rowCount))
      func element(_ i: Int, scale: Float) -> Float {
        let value = Float(Int32(truncatingIfNeeded: random.next() >> 40) - (1 << 23)) * 0x1p-23
        switch i % 41 {
        case 7: return value * 0x1p-130
        case 11: return value * 0x1p20
        default: return value * scale
        }
      }
      var rows = (0..<(rowCount * dimension)).map { element($0, scale: 1) }
      // A row twice: the lower one wins.
      if rowCount > 2 {
        rows.replaceSubrange(
          ((rowCount - 1) * dimension)..., with: rows[(dimension * (rowCount / 2))..<(dimension * (rowCount / 2 + 1))])
      }
      var vectors = (0..<(vectorCount * dimension)).map { element($0, scale: 0x1p-3) }
      vectors.replaceSubrange(0..<dimension, with: rows.suffix(dimension))
      (self.vectors, self.rows) = (vectors, rows)
    }
  }

  /// Whether a backend finds what the portable kernel finds.
  ///
  /// - Parameters:
  ///   - backend: One whose instructions the CPU has.
  ///   - spoiled: Whether rows are changed behind the int8 engine's back, as a
  ///     wrong kernel would: the answer must be no.
  /// - Returns: Whether all winners and scores are the same.
  static func passes(_ backend: AssignmentBackend, spoiled: Bool = false) -> Bool {
    // Shapes on both sides of the widths that kernels and BLAS tile by.
    let shapes =
      switch backend {
      case .int8: [(1, 2, 1), (5, 70, 3), (13, 130, 64), (20, 200, 97)]
      case .bf16, .sgemm: [(1, 1, 1), (5, 17, 3), (33, 130, 64), (20, 1100, 97), (17, 40, 768)]
      case .scalar: [(1, 1, 1), (5, 17, 3), (7, 30, 97)]
      }
    return shapes.allSatisfy { vectorCount, rowCount, dimension in
      let problem = Problem(vectorCount: vectorCount, rowCount: rowCount, dimension: dimension)
      let expected = PreparedRows(values: problem.rows, dimension: dimension)
        .best(of: problem.vectors, level: 0, backend: .scalar)
      return (backend == .int8 ? [.common, .balanced] : [SliceShape.fastest]).allSatisfy { shape in
        let tested = PreparedRows(values: problem.rows, dimension: dimension)
        var layout = PreparedRows.Layout.plain
        if backend == .bf16 { layout = .bfloat16(tested.bfloat16(pool: nil)) }
        if backend == .int8, let form = CascadeForm.fastest {
          tested.prepareCascade(sample: problem.vectors, pool: nil, shape: shape, form: form)
          if spoiled { tested.cascade?.spoil() }
          if let cascade = tested.cascade { layout = .cascade(cascade) }
        }
        return SimdLevel.all.allSatisfy { level in
          let tiesToLevel = backend == .int8 || backend == .bf16
          guard level <= SimdLevel.current, !tiesToLevel || level == SimdLevel.current else { return true }
          return tested.best(of: problem.vectors, level: level, backend: backend, layout: layout) == expected
        }
      }
    }
  }
}

extension AssignmentBackend {
  /// How long the self-test takes, for the benchmark.
  package var selfTestDuration: Duration { ContinuousClock().measure { _ = SelfTest.passes(self) } }

  /// Whether the self-test of the int8 engine sees that its rows were changed.
  package static var int8SelfTestSeesSpoiledRows: Bool { !SelfTest.passes(.int8, spoiled: true) }
}
