// How long work that is under way will still take, by what this run has done of it.

internal import Base

/// The pace of one count.
///
/// The rate is taken over the last quarter of the time so far, or over a minute if that is longer: it follows changes,
/// and work that advances in steps of an hour has one, too. Pure: the time is handed in.
package struct ProgressPace: Sendable {
  private static let leastWindow = Duration.seconds(60)
  /// The least time before a rate is given.
  private static let leastSpan = Duration.seconds(2)
  /// How many samples are kept at most.
  private static let sampleCount = 256

  private var samples: [(at: ContinuousClock.Instant, gained: Double)] = []
  private var total: Double?

  package init() {}

  /// Units a second; nil while it is not known, and when nothing moves.
  package private(set) var rate: Double?

  /// Adds a sample.
  ///
  /// - Parameters:
  ///   - gained: Units that this run has done, without those of earlier runs.
  ///   - total: Units in all; nil while that is not known. If `gained` or `total` falls, the pace starts anew.
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
    // Nothing moved within the window: the rate over all of the time.
    let from = gained > begin.gained ? begin : first
    rate = (gained - from.gained) / (now - from.at).seconds
  }

  /// Seconds until the rest is done; nil when that cannot be told.
  package func secondsLeft(_ rest: Double) -> Double? { rate.map { max(0, rest) / $0 } }
}
