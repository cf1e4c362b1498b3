// Progress on stderr: live lines on a terminal, a sparse plain one elsewhere.

internal import Base
internal import Foundation
internal import Synchronization

/// One line of progress with its rate and how long is left.
///
/// On a terminal it is redrawn a few times a second; elsewhere a line is
/// printed at most every ten seconds, so that a log stays short.
final class ProgressLine: Sendable {
  private struct State {
    var startedAt = ContinuousClock.now
    var firstGained: Double?
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
  ///   - details: Further lines, for a terminal alone, above the one of the whole.
  ///   - text: What to say of them.
  func update(done: Double, total: Double?, gained: Double? = nil, details: [String] = [], _ text: () -> String) {
    guard !isQuiet else { return }
    let interval: Duration = isLive ? .milliseconds(200) : .seconds(10)
    let gained = gained ?? done
    let left: Double?? = state.withLock { state in
      let now = ContinuousClock.now
      if let drawn = state.drawnAt, now - drawn < interval { return nil }
      if !isLive, state.drawnAt == nil {
        state.drawnAt = now
        state.firstGained = gained
        return nil
      }
      state.drawnAt = now
      let first = state.firstGained ?? gained
      state.firstGained = first
      let seconds = Double((now - state.startedAt).components.seconds) + 0.001
      guard let total, gained > first, seconds > 2 else { return .some(nil) }
      return .some((total - done) * seconds / (gained - first))
    }
    guard let left else { return }
    var line = "\(title): \(text())"
    if let total, total > 0 { line += String(format: " (%.0f %%)", 100 * min(done / total, 1)) }
    if let left { line += ", \(TimeSpan.text(seconds: left)) left" }
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
