// Which transfers to begin again over another connection: edges of a network
// that spreads its load are fast or slow, and whoever is on a slow one had bad
// luck and draws again. Pure: the time is handed in.

internal import Base

/// What transfers from one host reach.
package struct HostPace: Sendable {
  /// Bytes per second of single transfers, window by window, the newest last.
  private var rates: [Double] = []

  package init() {}

  mutating func add(_ rate: Double) {
    rates.append(rate)
    if rates.count > 32 { rates.removeFirst() }
  }

  /// What a transfer usually reaches; nil before enough of them ran.
  package var median: Double? { rates.count < 3 ? nil : rates.sorted()[rates.count / 2] }
}

/// The pace of one transfer, over all its connections.
package struct Reroll: Sendable {
  /// What counts as much slower than others.
  package struct Rules: Sendable, Equatable {
    /// Below this share of the host's median, for this long, so many times.
    package var share = 0.25
    package var window: Duration = .seconds(10)
    package var mostPerTransfer = 3

    package init() {}
  }

  private let rules: Rules
  private var windowStart: ContinuousClock.Instant
  private var windowByteCount = 0
  private var count = 0

  package init(_ rules: Rules, at now: ContinuousClock.Instant) {
    self.rules = rules
    windowStart = now
  }

  /// Begins a window: with a connection, and when reading was held up.
  package mutating func restart(heard: Int, at now: ContinuousClock.Instant) {
    windowStart = now
    windowByteCount = heard
  }

  /// Looks at the pace, once a window.
  ///
  /// - Parameters:
  ///   - heard: Bytes that came over this connection so far.
  ///   - host: What others reached; this window is added.
  ///   - now: The time.
  /// - Returns: Whether to begin again over another connection.
  package mutating func look(heard: Int, host: inout HostPace, at now: ContinuousClock.Instant) -> Bool {
    guard now - windowStart >= rules.window else { return false }
    let rate = Double(heard - windowByteCount) / (now - windowStart).seconds
    let median = host.median
    host.add(rate)
    restart(heard: heard, at: now)
    guard let median, rate < rules.share * median, count < rules.mostPerTransfer else { return false }
    count += 1
    return true
  }
}
