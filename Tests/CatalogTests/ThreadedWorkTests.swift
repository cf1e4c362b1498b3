import Base
import Foundation
import Synchronization
import Testing

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

@Suite struct NamedThreadTests {
  /// The calling thread's name, as the kernel has it.
  private static func kernelName() -> String? {
    FileManager.default.contents(atPath: "/proc/thread-self/comm").map {
      String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .newlines)
    }
  }

  @Test func theKernelKnowsAThreadByItsName() async throws {
    #expect(try await ThreadedWork("tarn-test-work") { Self.kernelName() }.value() == "tarn-test-work")
    let name = try await withCheckedThrowingContinuation { waiter in
      do {
        try NamedThread.start("tarn-test-17") { waiter.resume(returning: Self.kernelName()) }
      } catch {
        waiter.resume(throwing: error)
      }
    }
    #expect(name == "tarn-test-17")
  }

  @Test func everyThreadIsMadeByIt() throws {
    let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../Sources")
      .standardizedFileURL.path
    let files = try #require(FileManager.default.enumerator(atPath: sources)).compactMap { $0 as? String }
      .filter { [".swift", ".c", ".cpp"].contains(where: $0.hasSuffix) }
    let makers = files.filter { file in
      let text = FileManager.default.contents(atPath: "\(sources)/\(file)").map { String(decoding: $0, as: UTF8.self) }
      return ["= Thread {", "= Thread(", "Thread.detach", "pthread_create(", "thrd_create", "std::thread"].contains {
        text?.contains($0) ?? false
      }
    }
    #expect(makers.map { URL(fileURLWithPath: $0).lastPathComponent } == ["threads.c"])
    let callers = files.filter {
      FileManager.default.contents(atPath: "\(sources)/\($0)").map {
        String(decoding: $0, as: UTF8.self).contains("= cthreads_start(")
      } ?? false
    }
    #expect(callers.map { URL(fileURLWithPath: $0).lastPathComponent } == ["ThreadedWork.swift"])
  }
}
