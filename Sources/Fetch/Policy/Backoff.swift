// How long to wait before a question that failed is asked again: the one rule
// for transfers, range reads and probes. Pure: the randomness is handed in.

internal import Base

/// Exponential waits with full jitter: drawn from `0...min(cap, base × 2^(n-1))`.
package struct Backoff: Sendable, Equatable {
  package var base: Duration = .milliseconds(500)
  package var cap: Duration = .seconds(60)

  package init() {}

  /// The longest wait after so many failures in a row.
  package func ceiling(afterFailures count: Int) -> Duration { min(cap, base.doubled(afterFailures: count)) }

  /// A wait after so many failures in a row.
  package func wait(afterFailures count: Int, using generator: inout some RandomNumberGenerator) -> Duration {
    ceiling(afterFailures: count) * Double.random(in: 0...1, using: &generator)
  }
}
