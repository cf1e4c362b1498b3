// A server that is gone for a while, under a clock that a test turns.

import Foundation
import Synchronization
import TestSupport

/// The server of shards, which goes at the second answer for a while.
final class Outage: Sendable {
  let clock = ScriptedClock(step: .milliseconds(500))
  /// How long it is gone; zero while it is not to go.
  let length = Mutex(Duration.zero)
  private let state = Mutex<(count: Int, at: Duration?)>((0, nil))

  func answer() -> ScriptedAnswer? {
    let length = length.withLock { $0 }
    guard length > .zero else { return nil }
    return state.withLock { state in
      state.count += 1
      if state.count == 2 { state.at = clock.elapsed }
      return state.at.map { clock.elapsed - $0 < length } ?? false ? ScriptedAnswer([.reset]) : nil
    }
  }
}
