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
    var firstDone: Double?
    var drawnAt: ContinuousClock.Instant?
    /// Lines on the terminal now.
    var lineCount = 0
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
  ///   - details: Further lines, for a terminal alone, above the one of the whole.
  ///   - text: What to say of them.
  func update(done: Double, total: Double?, details: [String] = [], _ text: () -> String) {
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
    guard isLive else { return Output.diagnostic(line) }
    let (columns, rows) = Self.terminalSize
    // A line that wraps, or scrolls away, could not be redrawn.
    let lines = (details.prefix(max(0, rows - 2)) + [line]).map { $0.printableLine.prefix(columns: columns - 1) }
    let before = state.withLock { state in
      defer { state.lineCount = lines.count }
      return state.lineCount
    }
    Output.redraw(before, as: lines)
  }

  /// Removes the live lines.
  func clear() {
    let before = state.withLock { state in
      defer { state.lineCount = 0 }
      return state.lineCount
    }
    if before > 0 { Output.redraw(before, as: []) }
  }

  /// Columns and rows; of 80 and 24 where the terminal does not say.
  private static var terminalSize: (columns: Int, rows: Int) {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 1, size.ws_row > 1 else { return (80, 24) }
    return (Int(size.ws_col), Int(size.ws_row))
  }

  /// A line that stays.
  func note(_ text: String) {
    guard !isQuiet else { return }
    clear()
    Output.diagnostic(text)
  }
}
