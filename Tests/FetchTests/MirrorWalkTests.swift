// Retries, backoff and mirrors, without a network.

import Base
import Fetch
import Testing

private func walk(mirrors: Int = 2, _ change: (inout FetchConfiguration) -> Void = { _ in }) -> MirrorWalk {
  var configuration = FetchConfiguration()
  configuration.attemptsPerMirror = 3
  configuration.backoff.base = .seconds(1)
  configuration.backoff.cap = .seconds(5)
  change(&configuration)
  return MirrorWalk(mirrorCount: mirrors, configuration: configuration)
}

private let temporary = AttemptFailure.temporary(after: nil, TarnError(.temporary, "503"))
private func fault(_ code: TarnError.Code) -> AttemptFailure { .mirrorFault(TarnError(code, "\(code)")) }

@Suite struct MirrorWalkTests {
  var jitter = SplitMix64(seed: 1)

  @Test mutating func backsOffWithFullJitterUnderTheCap() {
    for seed in 0..<200 {
      jitter = SplitMix64(seed: UInt64(seed))
      var walk = walk { $0.attemptsPerMirror = 10 }
      for attempt in 0..<9 {
        guard case .again(let wait) = walk.step(after: temporary, heldByteCount: 0, using: &jitter) else {
          Issue.record("gave up early")
          return
        }
        #expect(wait >= .zero && wait <= min(.seconds(5), .seconds(1 << attempt)))
      }
    }
  }

  @Test mutating func obeysTheWaitThatTheServerAskedFor() {
    var walk = walk()
    let failure = AttemptFailure.temporary(after: .seconds(42), TarnError(.temporary, "429"))
    #expect(walk.step(after: failure, heldByteCount: 0, using: &jitter) == .again(after: .seconds(42)))
  }

  /// A request that is stopped at the moment at which it has failed names a mirror.
  @Test mutating func aWalkThatIsOverStandsAtAMirror() {
    for mirrors in 1...3 {
      var walk = walk(mirrors: mirrors)
      for _ in 0..<mirrors { _ = walk.step(after: fault(.integrity), heldByteCount: 0, using: &jitter) }
      #expect(walk.mirrorIndex == mirrors - 1)
    }
  }

  @Test mutating func r6StartsOverTwiceAndThenBlamesTheMirror() {
    var walk = walk()
    let restart = AttemptFailure.restart(TarnError(.integrity, "416"))
    #expect(walk.step(after: restart, heldByteCount: 9, using: &jitter) == .again(after: .zero))
    #expect(walk.step(after: restart, heldByteCount: 9, using: &jitter) == .again(after: .zero))
    #expect(walk.step(after: restart, heldByteCount: 9, using: &jitter) == .mirror(1))
  }

  @Test mutating func r12TriesAMirrorSeveralTimesAndThenTheNext() {
    var walk = walk()
    var steps: [MirrorWalk.Step] = []
    for _ in 0..<6 { steps.append(walk.step(after: temporary, heldByteCount: 0, using: &jitter)) }
    #expect(steps[2] == .mirror(1))
    guard case .failed(let error) = steps[5] else {
      Issue.record("went on")
      return
    }
    #expect(error.code == .temporary)
  }

  @Test mutating func r12CountsBytesThatWereNeverHeldBefore() {
    var walk = walk()
    for held in 1...50 {
      guard case .again = walk.step(after: temporary, heldByteCount: held, using: &jitter) else {
        Issue.record("gave up at \(held)")
        return
      }
    }
    // The same bytes again and again are no progress.
    _ = walk.step(after: temporary, heldByteCount: 50, using: &jitter)
    #expect(walk.step(after: temporary, heldByteCount: 50, using: &jitter) == .mirror(1))
  }

  @Test mutating func endsAtTheLimitOfARequestWhateverArrives() {
    var walk = walk { $0.attemptsPerRequest = 20 }
    for held in 1..<20 {
      walk.begin()
      _ = walk.step(after: temporary, heldByteCount: held, using: &jitter)
    }
    walk.begin()
    guard case .failed = walk.step(after: temporary, heldByteCount: 20, using: &jitter) else {
      Issue.record("went on")
      return
    }
  }

  @Test(arguments: [
    ([TarnError.Code.absent, .absent], TarnError.Code.absent), ([.absent, .temporary], .temporary),
    ([.temporary, .absent], .temporary), ([.integrity, .absent], .integrity), ([.absent, .refused], .refused),
    ([.tls, .refused], .tls),
  ])
  mutating func reportsTheFailureThatLeavesMostHope(codes: [TarnError.Code], wanted: TarnError.Code) {
    var walk = walk { $0.attemptsPerMirror = 1 }
    var last: MirrorWalk.Step?
    for code in codes {
      last = walk.step(after: code == .temporary ? temporary : fault(code), heldByteCount: 0, using: &jitter)
    }
    guard case .failed(let error) = last else {
      Issue.record("went on")
      return
    }
    #expect(error.code == wanted)
  }

  /// A transfer that is stopped after its walk still has an address.
  @Test mutating func theMirrorIsAlwaysOneOfThem() {
    for count in 1...3 {
      var walk = walk(mirrors: count) { $0.attemptsPerRequest = 5 }
      for attempt in 0..<12 {
        let failure = [temporary, fault(.absent), fault(.integrity)][attempt % 3]
        walk.begin()
        _ = walk.step(after: failure, heldByteCount: 0, using: &jitter)
        #expect((0..<count).contains(walk.mirrorIndex), "attempt \(attempt) of \(count) mirrors")
      }
    }
  }
}
