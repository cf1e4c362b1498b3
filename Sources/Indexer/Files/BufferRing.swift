// The one pipeline of the large files: buffers that go round between a
// producer and stages, each on a thread of its own.
//
// Each buffer is in one of three states, and only its owner touches it:
//
//     free ──take()──▶ filling ──submit()──▶ in flight ──last stage done──▶ free
//                     (producer)          (every stage, read only)
//
// Invariants:
//   1. Every stage sees the buffers one at a time, in the order of submission.
//   2. take() waits while no buffer is free: that is the backpressure, and the
//      memory is the buffers', whatever goes through them.
//   3. The first error of a stage is kept. From then on buffers pass the stages
//      unseen, and take(), drain() and finish() throw the error: nobody waits
//      for a stage that has failed.
//   4. After close() no stage runs and none will.

internal import Base
internal import Foundation

/// How much memory the reading, merging and writing of large files takes.
package struct BufferPlan: Sendable {
  /// Bytes of one buffer of a ring, `1...`; whole pages can go past the page
  /// cache.
  package let byteCount: Int
  /// Buffers in a ring, `2...`: one fills while the others are hashed and
  /// written.
  package let count: Int
  /// Bytes of segments that a merge reads at a time, over all its segments.
  package let batchByteCount: Int
  /// Bytes of codes that are held while a shard is encoded, at least one row's.
  ///
  /// A shard is read once for each such part of its codes.
  package let codeByteCount: Int

  package init(
    byteCount: Int = 4 << 20, count: Int = 4, batchByteCount: Int = 16 << 20, codeByteCount: Int = 64 << 20
  ) {
    precondition(byteCount >= 1 && count >= 2 && batchByteCount >= 1, "a ring needs two buffers")
    self.byteCount = byteCount
    self.count = count
    self.batchByteCount = batchByteCount
    self.codeByteCount = codeByteCount
  }
}

/// Buffers going round; see the states above.
///
/// `@unchecked Sendable`: `submitted`, `done`, `failure`, `isClosing` and
/// `running` are touched only with `condition` locked, `byteCounts[i]` and the
/// bytes of buffer i only by its owner, and ownership changes under the lock.
@safe final class BufferRing: @unchecked Sendable {
  /// Looks at the bytes of one buffer.
  typealias Stage = @Sendable (UnsafeRawBufferPointer) throws -> Void

  private let buffers: [UnsafeMutableRawBufferPointer]
  private var byteCounts: [Int]
  private let condition = NSCondition()
  /// Buffers submitted so far; buffer `n` is `buffers[n % buffers.count]`.
  private var submitted = 0
  /// Buffers that each stage has done.
  private var done: [Int]
  private var failure: (any Error)?
  private var isClosing = false
  /// Stages whose thread has not left.
  private var running: Int

  /// Starts a thread for each stage.
  ///
  /// - Parameters:
  ///   - plan: Size and number of the buffers.
  ///   - stages: What is done with each buffer, by the names of the threads.
  ///     Stages work at the same time.
  /// - Throws: ``TarnError`` `.io` when the system does not give as many threads.
  init(_ plan: BufferPlan, stages: [(name: String, stage: Stage)]) throws {
    unsafe buffers = (0..<plan.count).map { _ in
      .allocate(byteCount: plan.byteCount, alignment: DurableFile.alignment)
    }
    byteCounts = [Int](repeating: 0, count: plan.count)
    done = unsafe [Int](repeating: 0, count: stages.count)
    running = unsafe stages.count
    for index in unsafe stages.indices {
      let (name, stage) = unsafe stages[index]
      do {
        try NamedThread.start(name) { unsafe self.serve(index, stage) }
      } catch {
        condition.withLock { running -= unsafe stages.count - index }
        close()
        throw error
      }
    }
  }

  deinit {
    precondition(running == 0, "a ring of buffers was dropped open")
    unsafe buffers.forEach { unsafe $0.deallocate() }
  }

  /// A free buffer, the producer's until ``submit(_:)``; waits for one.
  ///
  /// - Returns: The whole buffer, its bytes of no meaning.
  /// - Throws: What a stage threw.
  func take() throws -> UnsafeMutableRawBufferPointer {
    condition.lock()
    defer { condition.unlock() }
    while unsafe failure == nil && submitted - doneByAll >= buffers.count { condition.wait() }
    if let failure { throw failure }
    return unsafe buffers[submitted % buffers.count]
  }

  /// Gives the buffer last taken to the stages.
  ///
  /// The producer may still read it until its next ``take()``.
  ///
  /// - Parameter count: How many bytes, from the front, are filled.
  func submit(_ count: Int) {
    condition.lock()
    unsafe byteCounts[submitted % buffers.count] = count
    submitted += 1
    condition.broadcast()
    condition.unlock()
  }

  /// Waits until the stages have done everything submitted.
  ///
  /// - Throws: What a stage threw.
  func drain() throws {
    condition.lock()
    defer { condition.unlock() }
    while failure == nil, doneByAll < submitted { condition.wait() }
    if let failure { throw failure }
  }

  /// Waits until everything submitted is done and the threads have left.
  ///
  /// - Throws: What a stage threw.
  func finish() throws {
    defer { close() }
    try drain()
  }

  /// Ends the threads and waits until they have left; what is in flight may
  /// stay undone.
  func close() {
    condition.lock()
    isClosing = true
    condition.broadcast()
    while running > 0 { condition.wait() }
    condition.unlock()
  }

  private var doneByAll: Int { done.min() ?? submitted }

  /// The life of a stage's thread.
  private func serve(_ index: Int, _ stage: Stage) {
    condition.lock()
    while true {
      while !isClosing, done[index] == submitted { condition.wait() }
      if isClosing { break }
      let slot = unsafe done[index] % buffers.count
      if failure == nil {
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: buffers[slot][..<byteCounts[slot]])
        condition.unlock()
        let result = Result { try unsafe stage(bytes) }
        condition.lock()
        if case .failure(let error) = result, failure == nil { failure = error }
      }
      done[index] += 1
      condition.broadcast()
    }
    running -= 1
    condition.broadcast()
    condition.unlock()
  }
}
