// The rows as the bfloat16 engine takes them: owns what the kernels prepared.

internal import CKernels

/// Rows rounded to bfloat16 and how much each tile of them lost.
///
/// `@unchecked Sendable`: nothing writes after `init`, and `deinit` frees.
@safe internal final class BFloat16Rows: @unchecked Sendable {
  let pointer: OpaquePointer

  /// Rounds and packs rows.
  ///
  /// - Parameters:
  ///   - rows: Rows and norms; they outlive this object.
  ///   - pool: The threads; nil for the caller's alone.
  init(_ rows: UnsafePointer<ckernels_rows>, pool: WorkerPool?) {
    let made = unsafe ckernels_bf16_new(rows)
    guard let made = unsafe made else { preconditionFailure("the kernels prepare any rows") }
    unsafe pointer = made
    nonisolated(unsafe) let packed = unsafe made
    let tiles = unsafe ckernels_bf16_tiles(rows.pointee.count)
    if let pool {
      pool.run(tiles) { tile, _ in unsafe ckernels_bf16_pack(packed, tile, tile + 1) }
    } else {
      unsafe ckernels_bf16_pack(packed, 0, tiles)
    }
  }

  deinit { unsafe ckernels_bf16_free(pointer) }
}
