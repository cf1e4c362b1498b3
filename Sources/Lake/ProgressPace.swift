// How long work takes that is under way, by what this run did of it.

internal import Base

/// The pace of one thing that is counted.
///
/// Rates are of the last quarter of the time that it has gone on, or of a minute if that is more: they follow a
/// change, and what moves by steps of an hour has one, too. Pure: the time is handed in.
package struct ProgressPace: Sendable {
  private static let leastWindow = Duration.seconds(60)
  /// What has to pass before anything is said.
  private static let leastSpan = Duration.seconds(2)
  /// Most samples that are kept.
  private static let sampleCount = 256

  private var samples: [(at: ContinuousClock.Instant, gained: Double)] = []
  private var total: Double?

  package init() {}

  /// Units a second; nil while it is not known, and when nothing moves.
  package private(set) var rate: Double?

  /// Takes how far the work is.
  ///
  /// - Parameters:
  ///   - gained: Units that this run did; what an earlier one left is no speed.
  ///   - total: Units in all; nil while it is not known. Where fewer are done than before, or there are fewer in all,
  ///     another thing is counted from now on.
  ///   - now: The time.
  package mutating func take(gained: Double, total: Double?, at now: ContinuousClock.Instant) {
    if let last = samples.last, gained < last.gained { samples = [] }
    if let total, let before = self.total, total < before { samples = [] }
    self.total = total ?? self.total
    samples.append((now, gained))
    if samples.count > Self.sampleCount {
      // Every other one; the first and the newest stay.
      samples = samples.enumerated().filter { $0.offset % 2 == 0 || $0.offset == samples.count - 1 }.map(\.element)
    }
    rate = nil
    guard let first = samples.first, now - first.at >= Self.leastSpan, gained > first.gained else { return }
    let window = max(Self.leastWindow, (now - first.at) / 4)
    let begin = samples.last { now - $0.at >= window } ?? first
    // What has not moved in the window has moved before.
    let from = gained > begin.gained ? begin : first
    rate = (gained - from.gained) / (now - from.at).seconds
  }

  /// Seconds until the rest is done; nil when that cannot be told.
  package func secondsLeft(_ rest: Double) -> Double? { rate.map { max(0, rest) / $0 } }
}
