// The one thread that searches: how long it is held up, and how long the files of what was served before stay open.

import Base
import Dispatch
import Foundation
import Lake
import Serve
import Synchronization
import Testing

/// A door that is opened once.
private final class Latch: Sendable {
  private let semaphore = DispatchSemaphore(value: 0)
  private let state = Mutex(false)

  var isOpen: Bool { state.withLock(\.self) }

  func open() {
    state.withLock { $0 = true }
    semaphore.signal()
  }

  func wait() {
    semaphore.wait()
    semaphore.signal()
  }
}

@Suite struct SearchBatcherTests {
  @Test func filesAreClosedWithTheLastQuestionOfThem() throws {
    final class Files: Sendable {
      let isClosed: Latch
      init(_ isClosed: Latch) { self.isClosed = isClosed }
      deinit { isClosed.open() }
    }
    let (closed, begun, mayEnd) = (Latch(), Latch(), Latch())
    var version: SearchedVersion? = {
      let files = Files(closed)
      return SearchedVersion { _, _, _, _, _, _ in
        begun.open()
        mayEnd.wait()
        throw withExtendedLifetime(files) { TarnError(.temporary, "this is as far as it goes") }
      }
    }()
    let batcher = try SearchBatcher(limits: ServeLimits())
    defer { batcher.close() }
    let answered = Latch()
    func ask(_ version: SearchedVersion, _ reply: @escaping Question.Reply) -> Bool {
      batcher.ask(
        Question(
          version: version, vectors: [], count: 1, k: 1, nprobe: 1, deadline: .now + .seconds(600),
          isGone: { false }, reply: reply))
    }
    let waits = Mutex(2)
    let reply: Question.Reply = { _ in
      let left = waits.withLock { waits in
        waits -= 1
        return waits
      }
      if left == 0 { answered.open() }
    }
    #expect(ask(try #require(version), reply))
    begun.wait()
    // One is searched, another waits; the version is not served any more.
    #expect(ask(try #require(version), reply))
    version = nil
    #expect(!closed.isOpen)
    mayEnd.open()
    answered.wait()
    closed.wait()
  }

  /// Neither what takes too long nor what nobody waits for any more holds the batcher up.
  @Test(arguments: [true, false]) func aSearchWithoutEndIsEnded(isAbandoned: Bool) throws {
    var limits = ServeLimits()
    if !isAbandoned { limits.searchTime = .milliseconds(50) }
    let batcher = try SearchBatcher(limits: limits)
    defer { batcher.close() }
    let (begun, answered) = (Latch(), Latch())
    let endless = SearchedVersion { _, _, _, _, _, checkpoint in
      begun.open()
      while true {
        try checkpoint()
        Thread.sleep(forTimeInterval: 0.001)
      }
    }
    let said = Mutex<TarnError?>(nil)
    #expect(
      batcher.ask(
        Question(
          version: endless, vectors: [], count: 1, k: 1, nprobe: 1, deadline: .now + .seconds(600),
          isGone: { isAbandoned && begun.isOpen }
        ) { result in
          do { _ = try result.get() } catch { said.withLock { $0 = error as? TarnError } }
          answered.open()
        }))
    answered.wait()
    #expect(said.withLock { $0?.code } == (isAbandoned ? .interrupted : .temporary))
  }

  /// Queries that take too long together are searched alone, but not all of them for as long as one may take.
  @Test func aBatchWithoutEndIsEndedAsAWhole() throws {
    var limits = ServeLimits()
    limits.searchTime = .milliseconds(50)
    let batcher = try SearchBatcher(limits: limits)
    defer { batcher.close() }
    let (begun, mayEnd, answered) = (Latch(), Latch(), Latch())
    let searches = Mutex(0)
    let endless = SearchedVersion { _, _, _, _, _, checkpoint in
      searches.withLock { $0 += 1 }
      begun.open()
      mayEnd.wait()
      while true {
        try checkpoint()
        Thread.sleep(forTimeInterval: 0.001)
      }
    }
    let said = Mutex<[TarnError.Code?]>([])
    let reply: Question.Reply = { result in
      var code: TarnError.Code?
      do { _ = try result.get() } catch { code = (error as? TarnError)?.code }
      let count = said.withLock { said in
        said.append(code)
        return said.count
      }
      if count == 21 { answered.open() }
    }
    func ask() -> Bool {
      batcher.ask(
        Question(
          version: endless, vectors: [], count: 1, k: 1, nprobe: 1, deadline: .now + .seconds(600), isGone: { false },
          reply: reply))
    }
    #expect(ask())
    begun.wait()
    for _ in 0..<20 { #expect(ask()) }
    mayEnd.open()
    answered.wait()
    #expect(said.withLock { $0.allSatisfy { $0 == .temporary } })
    // One alone, twenty together, and of those as many alone as there is time for.
    #expect(searches.withLock(\.self) <= 4)
  }

  /// Whoever waits behind queries that are searched together waits for one bound, however long each would take.
  @Test func aBatchHoldsTheBatcherForOneTimeLimit() throws {
    var limits = ServeLimits()
    limits.searchTime = .seconds(1)
    let batcher = try SearchBatcher(limits: limits)
    defer { batcher.close() }
    let (begun, mayEnd, answered) = (Latch(), Latch(), Latch())
    let begins = Mutex<[ContinuousClock.Instant]>([])
    func ask(_ version: SearchedVersion, _ reply: @escaping Question.Reply = { _ in }) -> Bool {
      batcher.ask(
        Question(
          version: version, vectors: [], count: 1, k: 1, nprobe: 1, deadline: .now + .seconds(600), isGone: { false },
          reply: reply))
    }
    let first = SearchedVersion { _, _, _, _, _, _ in
      begun.open()
      mayEnd.wait()
      throw TarnError(.temporary, "this is as far as it goes")
    }
    let endless = SearchedVersion { _, _, _, _, _, checkpoint in
      begins.withLock { $0.append(.now) }
      while true {
        try checkpoint()
        Thread.sleep(forTimeInterval: 0.001)
      }
    }
    let other = SearchedVersion { _, _, _, _, _, _ in throw TarnError(.temporary, "its turn has come") }
    #expect(ask(first))
    begun.wait()
    for _ in 0..<20 { #expect(ask(endless)) }
    #expect(ask(other) { _ in answered.open() })
    mayEnd.open()
    answered.wait()
    // Together for the half, alone for the other: nobody is searched after that.
    let firstBegin = begins.withLock(\.first)
    let waited = try #require(firstBegin).duration(to: .now)
    #expect(waited > .milliseconds(900), "\(waited)")
    #expect(begins.withLock(\.count) == 2)
  }
}
