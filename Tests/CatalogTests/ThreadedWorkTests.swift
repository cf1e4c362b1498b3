import Base
import Synchronization
import Testing
import TestSupport

@Suite struct ThreadedWorkTests {
  private struct Refusal: Error, Equatable {}

  @Test func everyWaiterGetsTheResult() async throws {
    let gate = Mutex(())
    let work = gate.withLock { _ in
      // It cannot end before somebody waits for it.
      ThreadedWork("test") { gate.withLock { _ in 42 } }
    }
    let sum = try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<8 { group.addTask { try await work.value() } }
      return try await group.reduce(0, +)
    }
    #expect(sum == 8 * 42)
    #expect(try work.wait() == 42)
    #expect(try await work.value() == 42)
  }

  @Test func whatItThrowsIsThrownToEveryWaiter() async {
    let work = ThreadedWork<Void>("test") { throw Refusal() }
    #expect(throws: Refusal()) { try work.wait() }
    await #expect(throws: Refusal()) { try await work.value() }
  }

  @Test func itGoesOnWhenNobodyWaits() throws {
    let isDone = Atomic<Bool>(false)
    let second = ThreadedWork("test") { while !isDone.load(ordering: .acquiring) {} }
    _ = ThreadedWork("test") { isDone.store(true, ordering: .releasing) }
    try second.wait()
  }
}
