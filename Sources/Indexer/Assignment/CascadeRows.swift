// The rows as the int8 engine takes them: owns what the kernels prepared.

internal import CKernels
internal import Features

/// What the first pass of the int8 engine multiplies.
///
/// It decides the speed and no result, so only tests ask for one by name.
package enum SliceShape: Int32, Sendable, CaseIterable {
  /// What a sample of the vectors suggests.
  case fastest
  /// Half of the axes that vectors and rows share.
  case common
  /// Half of the axes balanced between vectors and rows.
  case balanced
}

/// The instructions that the int8 engine is compiled for.
///
/// They decide the speed and no result.
package enum CascadeForm: Int32, Sendable, CaseIterable {
  /// Plain C, for tests to hold the others against.
  case portable
  case avx2
  case avxVnni
  case avx512Vnni
  case neon
  case dotprod

  /// Whether this CPU has the instructions.
  package var isAvailable: Bool { ckernels_form_is_available(rawValue) != 0 }

  /// What the engine takes in this process; nil where none but plain C would do,
  /// which other engines beat.
  package static let fastest: CascadeForm? = {
    let form = CascadeForm(rawValue: ckernels_fastest_form(SimdLevel.current))
    return form == .portable ? nil : form
  }()
}

/// What rows are prepared for; but for the lists it decides the speed and no result.
internal struct CascadePurpose: Sendable {
  /// How many of the best rows are asked for, `1...`.
  var count = 1
  /// Rows that a vector is compared with, about; 0 for all.
  var compared = 0.0
  /// Vectors in all, about; 0 for so many that preparing does not count.
  var vectors = 0.0
  /// The list of each row; none where all rows are compared.
  var lists: [UInt32] = []
  /// Lists that there may be.
  var listCount = 0
}

/// Quantized rows and the bounds of what quantization left out.
///
/// `@unchecked Sendable`: nothing writes after `init`, and `deinit` frees.
@safe internal final class CascadeRows: @unchecked Sendable {
  let pointer: OpaquePointer

  /// Dimensions of the slice that is multiplied first.
  var sliceWidth: Int { unsafe ckernels_cascade_width(pointer) }
  /// Whether vectors and rows are turned onto axes of their own.
  var isBalanced: Bool { unsafe ckernels_cascade_is_balanced(pointer) != 0 }

  /// Prepares rows; nil when they are out of the engine's range.
  ///
  /// - Parameters:
  ///   - rows: Rows and norms; they outlive this object.
  ///   - sample: Finite vectors like those to come, row-major.
  ///   - pool: The threads; nil for the caller's alone.
  ///   - shape: What the first pass multiplies.
  ///   - form: Instructions that this CPU has.
  ///   - purpose: What is asked for.
  init?(
    _ rows: UnsafePointer<ckernels_rows>, sample: [Float], pool: WorkerPool?, shape: SliceShape, form: CascadeForm,
    purpose: CascadePurpose = CascadePurpose()
  ) {
    let count = unsafe rows.pointee.count
    precondition(purpose.lists.isEmpty || purpose.lists.count == count, "a row is in no list")
    let vectorCount = unsafe sample.count / rows.pointee.dimension
    let made = unsafe purpose.lists.withUnsafeBufferPointer { lists -> OpaquePointer? in
      var told = unsafe ckernels_purpose(
        nth: purpose.count, compared: purpose.compared, vectors: purpose.vectors,
        lists: purpose.lists.isEmpty ? nil : lists.baseAddress, list_count: purpose.listCount)
      guard
        let made = unsafe ckernels_cascade_new(rows, sample, vectorCount, shape.rawValue, form.rawValue, &told)
      else { return nil }
      nonisolated(unsafe) let cascade = unsafe made
      Self.inBatches(count, pool) { unsafe ckernels_cascade_quantize(cascade, $0.lowerBound, $0.upperBound) }
      return unsafe made
    }
    guard let made = unsafe made else { return nil }
    unsafe pointer = made
    nonisolated(unsafe) let cascade = unsafe made
    unsafe ckernels_cascade_sort(cascade)
    Self.inBatches(unsafe ckernels_cascade_blocks(cascade), pool) {
      unsafe ckernels_cascade_pack(cascade, $0.lowerBound, $0.upperBound)
    }
    unsafe ckernels_cascade_packed(cascade)
    Self.inBatches(unsafe ckernels_cascade_blocks(cascade), pool) {
      unsafe ckernels_cascade_fill(cascade, $0.lowerBound, $0.upperBound)
    }
    unsafe ckernels_cascade_filled(cascade)
  }

  deinit { unsafe ckernels_cascade_free(pointer) }

  /// Changes the quantized rows, as a wrong kernel would seem to.
  func spoil() { unsafe ckernels_cascade_spoil(pointer) }

  private static func inBatches(_ count: Int, _ pool: WorkerPool?, _ work: @Sendable (Range<Int>) -> Void) {
    let batch = max(64, count / 64)
    let tasks = (count + batch - 1) / batch
    guard let pool else { return work(0..<count) }
    pool.run(tasks) { task, _ in work((task * batch)..<min((task + 1) * batch, count)) }
  }
}
