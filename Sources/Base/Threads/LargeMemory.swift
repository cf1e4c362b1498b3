// Memory that is read all over: in huge pages, so that fewer addresses have to be looked up.

internal import Glibc

/// Memory of its own, for as long as this object lives.
///
/// `@unchecked Sendable`: nothing of it changes but the bytes, which are the caller's affair, and the one owner that frees
/// them is this object's `deinit`.
@safe package final class LargeMemory: @unchecked Sendable {
  /// The first byte, at a multiple of 64; of much memory where a huge page begins.
  package let start: UnsafeMutableRawPointer
  package let byteCount: Int

  private static let hugePageByteCount = 2 << 20

  /// Takes memory; what is in it is not known.
  ///
  /// - Parameter byteCount: How much, `0...`.
  package init(byteCount: Int) {
    self.byteCount = byteCount
    guard byteCount >= Self.hugePageByteCount / 2 else {
      unsafe start = .allocate(byteCount: max(byteCount, 1), alignment: 64)
      return
    }
    let page = Self.hugePageByteCount
    let whole = (byteCount + page - 1) / page * page
    unsafe start = .allocate(byteCount: whole, alignment: page)
    // A wish, no more.
    unsafe madvise(start, whole, MADV_HUGEPAGE)
  }

  deinit { unsafe start.deallocate() }
}
