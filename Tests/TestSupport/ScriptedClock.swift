// Hours of a run that pass in a moment, at the rate at which it looks at them:
// whatever holds the machine up holds the clock up with it.

internal import Synchronization

/// A clock that goes on by a step each time a run looks at it.
package final class ScriptedClock: Sendable {
  private let start = ContinuousClock.now
  private let step: Duration
  private let passed = Mutex(Duration.zero)

  package init(step: Duration) { self.step = step }

  /// The time for the run.
  package var now: ContinuousClock.Instant {
    start
      + passed.withLock { passed in
        passed += step
        return passed
      }
  }

  /// How much has passed; looking so moves nothing.
  package var elapsed: Duration { passed.withLock { $0 } }
}
