// Progress on stderr: a live line on a terminal, a sparse plain one elsewhere.

internal import Foundation
internal import Synchronization

/// One line of progress with its rate and how long is left.
///
/// On a terminal it is redrawn a few times a second; elsewhere a line is
/// printed at most every ten seconds, so that a log stays short.
final class ProgressLine: Sendable {
  private struct State {
    var startedAt = ContinuousClock.now
    var firstDone: Double?
    var drawnAt: ContinuousClock.Instant?
    var isDrawn = false
  }

  private let title: String
  private let isQuiet: Bool
  private let isLive: Bool
  private let state = Mutex(State())

  init(title: String, isQuiet: Bool) {
    self.title = title
    self.isQuiet = isQuiet
    isLive = isatty(STDERR_FILENO) == 1
  }

  /// Shows how far the work is.
  ///
  /// - Parameters:
  ///   - done: Units done.
  ///   - total: Units in all; nil while it is not known.
  ///   - text: What to say of them.
  func update(done: Double, total: Double?, _ text: () -> String) {
    guard !isQuiet else { return }
    let interval: Duration = isLive ? .milliseconds(200) : .seconds(10)
    let left: Double?? = state.withLock { state in
      let now = ContinuousClock.now
      if let drawn = state.drawnAt, now - drawn < interval { return nil }
      if !isLive, state.drawnAt == nil {
        state.drawnAt = now
        state.firstDone = done
        return nil
      }
      state.drawnAt = now
      state.isDrawn = true
      let first = state.firstDone ?? done
      state.firstDone = first
      let seconds = Double((now - state.startedAt).components.seconds) + 0.001
      guard let total, done > first, seconds > 2 else { return .some(nil) }
      return .some((total - done) * seconds / (done - first))
    }
    guard let left else { return }
    var line = "\(title): \(text())"
    if let total, total > 0 { line += String(format: " (%.0f %%)", 100 * min(done / total, 1)) }
    if let left { line += ", \(TimeSpan.text(seconds: left)) left" }
    isLive ? Output.terminal("\r\u{1B}[2K" + line) : Output.diagnostic(line)
  }

  /// Removes the live line.
  func clear() {
    let wasDrawn = state.withLock { state in
      defer { state.isDrawn = false }
      return state.isDrawn
    }
    if isLive, wasDrawn { Output.terminal("\r\u{1B}[2K") }
  }

  /// A line that stays.
  func note(_ text: String) {
    guard !isQuiet else { return }
    clear()
    Output.diagnostic(text)
  }
}
