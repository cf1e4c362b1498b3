// Bounds: connections, rates and queries that wait, without sockets or clocks.

import Base
import Dispatch
import Foundation
import Lake
import Serve
import Synchronization
import Testing
import TestSupport

@Suite struct BoundsTests {
  @Test func theConnectionThatWaitsLongestGoes() {
    var table = ConnectionTable(limit: 3)
    for number in 1...3 { #expect(table.admit(number) == .admitted) }
    // 1 has a request and 2 had one: 3 has waited longest.
    table.work(1)
    table.work(2)
    table.wait(2)
    #expect(table.admit(4) == .instead(of: 3))
    #expect(table.admit(5) == .instead(of: 2))
    for number in [4, 5] { table.work(number) }
    #expect(table.admit(6) == .refused)
    // What was closed for room is not there again, whatever it still says.
    table.wait(3)
    table.work(2)
    #expect(table.count == 3)
    table.leave(1)
    #expect(table.admit(7) == .admitted && table.count == 3)
  }

  @Test func thereAreNeverMoreThanTheLimit() {
    var random = SplitMix64(seed: 7)
    var table = ConnectionTable(limit: 10)
    var open: Set<Int> = []
    for number in 0..<5000 {
      switch table.admit(number) {
      case .admitted: open.insert(number)
      case .instead(let other):
        #expect(open.remove(other) != nil)
        open.insert(number)
      case .refused: #expect(open.count == 10)
      }
      for one in open.sorted() {
        switch random.next() % 8 {
        case 0: table.work(one)
        case 1: table.wait(one)
        case 2:
          table.leave(one)
          open.remove(one)
        default: break
        }
      }
      #expect(table.count == open.count && open.count <= 10)
    }
  }

  @Test func thereAreNoMoreConnectionsThanOpenFilesAreLeft() {
    let cases = [(Int.max, 512, 1024), (768, 0, 768), (768, 256, 512), (768, 1024, 16), (0, 0, 16)]
    for (room, held, count) in cases {
      var limits = ServeLimits()
      limits.fit(openFiles: room, holding: held)
      #expect(limits.connections == count)
    }
  }

  @Test func anAddressMaySaveUpAndThenHasItsRate() {
    let start = ContinuousClock.now
    var rates = RequestRates(perSecond: 10, burst: 5)
    let first = (0..<7).map { _ in rates.admit("192.0.2.1", at: start) }
    #expect(first == [true, true, true, true, true, false, false])
    #expect(rates.admit("192.0.2.2", at: start) == true)
    var admitted = 0
    for tick in 1...1000 where rates.admit("192.0.2.1", at: start + .milliseconds(10 * tick)) { admitted += 1 }
    #expect((99...101).contains(admitted))
  }

  @Test func manyAddressesAreNotRememberedForEver() {
    let start = ContinuousClock.now
    var rates = RequestRates(perSecond: 1, burst: 2)
    let admitted = (0..<10_000).count { rates.admit("address \($0)", at: start) }
    #expect(admitted == 4096)
    // Once those have saved up again they are as good as new ones.
    #expect(rates.admit("another", at: start + .seconds(5)) == true)
  }

  /// A file system that a network brings may never answer; the others do.
  @Test func whoAsksForFreeRoomWaitsForNoFileSystem() {
    let mayAnswer = DispatchSemaphore(value: 0)
    let calls = Mutex(0)
    let room = FreeRoom { path in
      guard path == "/hung" else { return 7 }
      calls.withLock { $0 += 1 }
      mayAnswer.wait()
      return 9
    }
    let directories = [(place: "catalog", path: "/"), (place: "shards", path: "/hung")]
    func look() -> [String] { room.look(at: directories).map { "\($0.place) \($0.freeByteCount)" } }
    for _ in 0..<3 { #expect(look() == ["catalog 7"]) }
    #expect(calls.withLock(\.self) == 1)
    mayAnswer.signal()
    mayAnswer.signal()
    // Both that was asked then and what is asked now.
    for _ in 0..<600 where look().count == 1 { usleep(50_000) }
    #expect(look().contains("shards 9"))
    for _ in 0..<100 { mayAnswer.signal() }
  }

  private let versions = (0..<3).map { _ in
    SearchedVersion { _, _, _, _, _, _ in throw TarnError(.temporary, "nothing is searched here") }
  }

  private func question(
    _ version: Int, count: Int = 1, k: Int = 10, nprobe: Int = 8, _ reply: @escaping Question.Reply = { _ in }
  ) -> Question {
    Question(
      version: versions[version], vectors: [], count: count, k: k, nprobe: nprobe, deadline: .now, isGone: { false },
      reply: reply
    )
  }

  /// Each question is taken once, in the order that its like came in, with no more queries than may go together.
  @Test func aBatchIsOfOneKind() {
    var random = SplitMix64(seed: 11)
    for _ in 0..<200 {
      var queue = QuestionQueue(limit: 1000)
      var asked: [(kind: [Int], number: Int)] = []
      let seen = Mutex<[Int]>([])
      var waiting = 0
      for number in 0..<60 {
        let kind = [Int(random.next() % 3), [5, 300][Int(random.next() % 2)], [8, 16][Int(random.next() % 2)]]
        let count = 1 + Int(random.next() % 20)
        let isTaken = queue.append(
          question(kind[0], count: count, k: kind[1], nprobe: kind[2]) { _ in seen.withLock { $0.append(number) } })
        #expect(isTaken)
        asked.append((kind, number))
        waiting += count
      }
      #expect(queue.queryCount == waiting)
      while true {
        let batch = queue.take(atMost: 32)
        if batch.isEmpty { break }
        let before = seen.withLock(\.count)
        for one in batch { one.reply(.success([])) }
        let numbers = seen.withLock { Array($0[before...]) }
        #expect(numbers == numbers.sorted())
        #expect(Set(numbers.map { asked[$0].kind }).count == 1)
        let left = Set(asked.map(\.number)).subtracting(seen.withLock { $0[..<before] })
        #expect(numbers.first == left.min())
      }
      #expect(queue.isEmpty && queue.queryCount == 0 && seen.withLock { $0.sorted() } == Array(0..<60))
    }
  }

  @Test func noMoreWaitThanMay() {
    var queue = QuestionQueue(limit: 10)
    #expect(queue.append(question(0, count: 6)) && queue.append(question(0, count: 4)))
    #expect(queue.append(question(0)) == false)
    #expect(queue.take(atMost: 6).count == 1)
    #expect(queue.append(question(0, count: 6)) && !queue.append(question(0)))
    // What is more than may wait is taken where nothing does.
    _ = queue.takeAll()
    #expect(queue.append(question(0, count: 50)) && queue.take(atMost: 10).count == 1)
  }

  /// Nobody hears of it, and who counts answers takes it for no failure.
  @Test func aVerbThatNobodyWantsAnyMoreIsInterrupted() throws {
    let verbs = VerbProcess(tool: "sh", lake: "none")
    let error = #expect(throws: TarnError.self) {
      try verbs.run(["-c", "sleep 1000"], limit: 1, time: .seconds(600), isGone: { true })
    }
    #expect(error?.code == .interrupted)
  }
}
