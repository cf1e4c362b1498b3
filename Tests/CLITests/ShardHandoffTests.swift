// What passes between fetcher and worker, asked at every moment of its life.

import Lake
import Testing

@Suite struct ShardHandoffTests {
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
}
