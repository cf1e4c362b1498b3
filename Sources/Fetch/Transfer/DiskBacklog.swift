// The way of bytes from the loop's thread to a transfer's disk queue: blocks of
// memory that go round, and the count of what is on the way.
//
// Invariant: a block belongs to the loop's thread until it is handed over, then
// to one job of the disk queue, then to the pool; never to two of them.

package import Base
internal import Glibc
internal import Synchronization

/// Memory of two blocks: one huge page, where the system has them.
///
/// A block in pages of 4 KiB is looked up 256 times on each of the four ways that
/// its bytes take, and faulted in as often when it is new.
@safe private final class Slab {
  static let capacity = 2 << 20
  let memory: UnsafeMutableRawBufferPointer

  init() {
    unsafe memory = .allocate(byteCount: Slab.capacity, alignment: Slab.capacity)
    // Advice: without huge pages it works as well, only slower.
    _ = unsafe madvise(memory.baseAddress, Slab.capacity, MADV_HUGEPAGE)
  }

  deinit { unsafe memory.deallocate() }

  /// The blocks of a new slab, which lives as long as one of them.
  static func blocks() -> [Block] {
    let slab = Slab()
    return stride(from: 0, to: capacity, by: Block.capacity).map { Block(of: slab, at: $0) }
  }
}

/// A block of memory that bytes gather in before they are hashed and written.
///
/// Sendable although mutable, by the invariant of this file.
@safe final class Block: @unchecked Sendable {
  /// Large enough that a write's fixed cost vanishes, small enough that a block
  /// is still in the cache when it is hashed and written (D10).
  static let capacity = 1 << 20

  private let slab: Slab
  private let memory: UnsafeMutableRawBufferPointer
  private(set) var byteCount = 0

  fileprivate init(of slab: Slab, at offset: Int) {
    self.slab = slab
    unsafe memory = UnsafeMutableRawBufferPointer(rebasing: slab.memory[offset..<(offset + Block.capacity)])
  }

  var isFull: Bool { byteCount == Block.capacity }

  /// Takes as many bytes as there is room for.
  ///
  /// - Returns: How many were taken.
  func append(_ bytes: RawSpan) -> Int {
    let count = min(bytes.byteCount, Block.capacity - byteCount)
    unsafe bytes.withUnsafeBytes { source in
      let target = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[byteCount..<(byteCount + count)])
      unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<count]))
    }
    byteCount += count
    return count
  }

  func clear() { byteCount = 0 }

  /// Lends the bytes held.
  func withBytes<Value>(_ body: (RawSpan) throws -> Value) rethrows -> Value {
    try unsafe body(UnsafeRawBufferPointer(rebasing: memory[..<byteCount]).bytes)
  }
}

/// Blocks that wait for their next use, of all transfers of a run.
///
/// The one given back last is taken first: it may still be in a cache. Memory
/// that goes back to the system costs a page fault and a cleared page when it
/// comes again, so little of it goes.
final class BlockPool: Sendable {
  private let free = Mutex<[Block]>([])
  private static let mostFreeCount = (64 << 20) / Block.capacity

  func take() -> Block {
    free.withLock { free in
      if free.isEmpty { free = Slab.blocks() }
      return free.removeLast()
    }
  }

  func giveBack(_ block: Block) {
    block.clear()
    free.withLock { if $0.count < Self.mostFreeCount { $0.append(block) } }
  }
}

/// What of one transfer is on its way to the disk, and what failed there.
package final class DiskBacklog: Sendable {
  /// A transfer stops reading from its server at this many bytes, so that a
  /// slow disk holds up the network and not the memory.
  package static let fullByteCount = 8 * Block.capacity

  private struct State {
    var byteCount = 0
    /// Whether the loop waits for room.
    var isAwaited = false
    var failure: TarnError?
  }

  private let state = Mutex(State())

  package init() {}

  /// The first failure of the disk; what came after it was not written.
  package var failure: TarnError? { state.withLock { $0.failure } }

  package func add(_ byteCount: Int) { state.withLock { $0.byteCount += byteCount } }

  /// Counts bytes that are written, or lost to a failure.
  ///
  /// - Returns: Whether the loop waits for this.
  package func remove(_ byteCount: Int, failure: TarnError?) -> Bool {
    state.withLock { state in
      state.byteCount -= byteCount
      state.failure = state.failure ?? failure
      guard state.isAwaited, state.byteCount <= Self.fullByteCount / 2 || failure != nil else { return false }
      state.isAwaited = false
      return true
    }
  }

  /// Whether the transfer should pause; if so the loop is woken when there is room.
  package func awaitsRoom() -> Bool {
    state.withLock { state in
      if state.byteCount >= Self.fullByteCount, state.failure == nil { state.isAwaited = true }
      return state.isAwaited
    }
  }
}
