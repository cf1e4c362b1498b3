// Progress on stderr: live lines on a terminal, a sparse plain one elsewhere.

internal import Base
internal import Foundation
internal import Lake
internal import Synchronization

/// One line of progress with its rate and how long is left.
///
/// On a terminal it is redrawn a few times a second; elsewhere a line is
/// printed at most every ten seconds, so that a log stays short.
final class ProgressLine: Sendable {
  private struct State {
    var pace = ProgressPace()
    var drawnAt: ContinuousClock.Instant?
  }

  private let title: String
  private let isQuiet: Bool
  private let isLive: Bool
  private let state = Mutex(State())

  init(title: String, isQuiet: Bool) {
    self.title = title
    self.isQuiet = isQuiet
    isLive = Output.Stream.people.isLive
  }

  /// Shows how far the work is.
  ///
  /// - Parameters:
  ///   - done: Units done.
  ///   - total: Units in all; nil while it is not known.
  ///   - gained: Units that this run did, where an earlier one did some of them; its speed is of these.
  ///   - unit: What the units are called, where their rate is to be told.
  ///   - details: Further lines, for a terminal alone, above the one of the whole.
  ///   - text: What to say of them.
  func update(
    done: Double, total: Double?, gained: Double? = nil, rateOf unit: String? = nil, details: [String] = [],
    _ text: () -> String
  ) {
    guard !isQuiet else { return }
    let interval: Duration = isLive ? .milliseconds(200) : .seconds(10)
    let pace: ProgressPace? = state.withLock { state in
      let now = ContinuousClock.now
      if let drawn = state.drawnAt, now - drawn < interval { return nil }
      state.pace.take(gained: gained ?? done, total: total, at: now)
      defer { state.drawnAt = now }
      return !isLive && state.drawnAt == nil ? nil : state.pace
    }
    guard let pace else { return }
    var line = "\(title): \(text())"
    if let total, total > 0 { line += String(format: " (%.0f %%)", 100 * min(done / total, 1)) }
    if let unit, let rate = pace.rate { line += String(format: ", %.0f \(unit)/s", rate) }
    if let total, let left = pace.secondsLeft(total - done) { line += ", \(TimeSpan.text(seconds: left)) left" }
    guard isLive else { return Output.diagnostic(line) }
    let (columns, rows) = Output.Stream.people.size
    // A line that wraps, or scrolls away, could not be redrawn.
    Output.progress((details.prefix(max(0, rows - 2)) + [line]).map { $0.printableLine.prefix(columns: columns - 1) })
  }

  /// Removes the live lines.
  func clear() { Output.progress([]) }

  /// A line that stays.
  func note(_ text: String) {
    guard !isQuiet else { return }
    Output.diagnostic(text)
  }
}
