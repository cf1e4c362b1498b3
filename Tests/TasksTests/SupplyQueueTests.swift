// Which input a worker asks for next where the disk is short: it waits for its own room first.

import Base
import Tasks
import Testing

@Suite struct SupplyQueueTests {
  private let start = ContinuousClock.now
  private let full = TarnError(.diskFull, "the disk is full")

  /// What a queue does next where so many bytes are free, each input taking ten.
  private func turn(_ queue: inout SupplyQueue, free: Int, comesBack: Bool = false) -> SupplyQueue.Turn {
    queue.next(at: start, comesBack: comesBack) { _, queue in
      10 * (queue.underWay.count + 1) > free ? self.full : nil
    }
  }

  @Test func d11AWorkerWaitsForItsOwnRoomFirst() {
    var queue = SupplyQueue([0, 1, 2], jobs: 2, patience: .zero)
    #expect(turn(&queue, free: 10) == .ask(0))
    // The first is under way and will be used up.
    #expect(turn(&queue, free: 10) == .later)
    queue.delivered(0)
    #expect(turn(&queue, free: 0) == .later)
    queue.released()
    // The one that waited is the next.
    #expect(turn(&queue, free: 10) == .ask(1))
    queue.delivered(1)
    queue.released()
    // Nothing of its own is left to free.
    #expect(turn(&queue, free: 0) == .full(full))
    #expect(turn(&queue, free: 0, comesBack: true) == .later)
    #expect(turn(&queue, free: 10) == .ask(2))
    queue.delivered(2)
    #expect(turn(&queue, free: 0) == .over)
  }

  /// A disk that filled up while an input came: it is asked for again when another was used up.
  @Test func d11WhatLackedRoomOnItsWayWaitsForAnother() {
    var queue = SupplyQueue([0, 1], jobs: 2, patience: .zero)
    #expect(turn(&queue, free: 20) == .ask(0))
    #expect(turn(&queue, free: 20) == .ask(1))
    queue.delivered(0)
    let waits = queue.lackedRoom(1)
    #expect(waits && queue.underWay.isEmpty)
    // Not again and again, whatever the file system says of its room.
    #expect(turn(&queue, free: 1000) == .later)
    queue.released()
    #expect(turn(&queue, free: 1000) == .ask(1))
    let waitsForNothing = queue.lackedRoom(1)
    #expect(!waitsForNothing)
  }

  @Test func d12ASizeThatIsLearntIsKept() {
    var queue = SupplyQueue([0, 1], jobs: 2, patience: .zero)
    #expect(turn(&queue, free: 10) == .ask(0))
    queue.learnt(0, byteCount: 448)
    let waits = queue.lackedRoom(0, comesBack: true)
    #expect(waits && queue.learntByteCount(of: 0) == 448)
    #expect(turn(&queue, free: 10) == .ask(0))
  }
}
