// What passes between fetcher and worker, asked at every moment of its life.

import Lake
import Testing

@Suite struct ShardHandoffTests {
  private struct Nowhere: Error {}

  @Test func roomIsEitherThereOrStillToCome() async throws {
    for _ in 0..<200 {
      let handoff = ShardHandoff(shardIDs: [1, 2], ready: [1])
      async let worked: Void = work(handoff)
      // Whatever the moment, the one shard with bytes gives room or will.
      for _ in 0..<50 {
        let standing = handoff.standing
        #expect(standing.isBusy || standing.released == [1])
      }
      try await worked
      #expect(!handoff.standing.isBusy && handoff.standing.released == [1])
      handoff.markReady(2)
      #expect(handoff.standing.isBusy)
    }
  }

  private func work(_ handoff: ShardHandoff) async throws {
    guard case .ready(let id)? = try handoff.next() else { return }
    handoff.release(id)
  }

  /// The next shard, and whether it was lost.
  private func next(_ handoff: ShardHandoff) throws -> String? {
    switch try handoff.next() {
    case .ready(let id): return "\(id)"
    case .lost(let id, _): return "\(id) is lost"
    case nil: return nil
    }
  }

  @Test func theFirstOfThePlanThatIsThereComesNext() throws {
    let handoff = ShardHandoff(shardIDs: [50, 40, 30, 20, 10], ready: [40, 10])
    handoff.markReady(20)
    handoff.markReady(20)
    #expect(try next(handoff) == "40")
    handoff.markLost(50, Nowhere())
    #expect(try next(handoff) == "50 is lost")
    handoff.markReady(50)
    #expect(try next(handoff) == "20")
    // What is released is told in its order, once, and nobody who was told has to look again.
    #expect(handoff.standing.isBusy)
    for id in [20, 40, 20] as [Int64] { handoff.release(id) }
    #expect(handoff.standing.released == [20, 40] && handoff.standing.isBusy)
    #expect(try next(handoff) == "10")
    handoff.release(10)
    handoff.release(50)
    #expect(handoff.standing.released == [20, 40, 10, 50] && !handoff.standing.isBusy)
    handoff.fail(Nowhere())
    #expect(throws: Nowhere.self) { try handoff.next() }
    handoff.markReady(30)
    #expect(try next(handoff) == "30")
    #expect(try next(handoff) == nil)
  }

  /// As many shards as large sources have, the first of which nobody gives for now: each
  /// question is answered without a look at all of them.
  @Test func manyShardsAreHandedOverInTimeInProportion() throws {
    let count: Int64 = 40_000
    let handoff = ShardHandoff(shardIDs: Array(0..<count), ready: [])
    let start = ContinuousClock.now
    for id in 1..<count {
      #expect(!handoff.standing.isBusy)
      handoff.markReady(id)
      try #require(try next(handoff) == "\(id)")
      handoff.release(id)
    }
    #expect(handoff.standing.released.count == Int(count) - 1)
    // Four states of each looked at for each took minutes.
    #expect(start.duration(to: .now) < .seconds(30))
  }
}
