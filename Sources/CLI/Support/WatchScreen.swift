// What `status --watch` shows: a line for each thing under way, what moves first, in
// the terminal that is there.

internal import Base
internal import Foundation
internal import Lake

/// The screen of a lake that is watched.
struct WatchScreen {
  private var meter = LakeMeter()

  /// Takes a look at the lake.
  mutating func take(_ look: LakeLook, at now: ContinuousClock.Instant) { meter.take(look, at: now) }

  /// The lines to show.
  ///
  /// - Parameters:
  ///   - size: Columns and rows of the terminal; no line is wider, and there are no more.
  ///   - clock: The time of day.
  /// - Returns: The lake, a line for each thing, and how many are left out.
  func lines(size: (columns: Int, rows: Int), clock: String) -> [String] {
    guard let look = meter.newest else { return [] }
    // What moves is looked for first, then what is left to do.
    let ranked = look.items.enumerated().sorted { left, right in
      (rank(left.element), left.offset) < (rank(right.element), right.offset)
    }.map(\.element)
    let room = max(1, size.rows - 3)
    let shown = ranked.count > room ? Array(ranked.prefix(room - 1)) : ranked
    let width = shown.map { title($0).columnCount }.max() ?? 0
    var lines = ["\(clock)  lake \(look.root)", ""]
    lines += shown.map { item in
      let title = title(item)
      return title + String(repeating: " ", count: width - title.columnCount) + "  " + text(item)
    }
    if shown.count < ranked.count { lines.append("and \(ranked.count - shown.count) more: `tarn status`") }
    return lines.map { $0.printableLine.prefix(columns: size.columns - 1) }
  }

  private func rank(_ item: LakeLook.Item) -> Int {
    meter.rate(of: item) != nil ? 0 : item.isComplete ? 2 : 1
  }

  private func title(_ item: LakeLook.Item) -> String {
    item.kind == .source ? item.name : "\(item.kind.rawValue) \(item.name)"
  }

  private func text(_ item: LakeLook.Item) -> String {
    var parts: [String] = []
    switch item.kind {
    case .source:
      parts.append("\(item.done)/\(item.total) shards")
      parts.append(ByteSize.text(Int(item.amount)))
    case .training: parts.append(training(item))
    case .build:
      parts.append("\(item.done)/\(item.total) shards")
      parts.append("\(Int(item.amount)) rows")
    }
    if let whole = item.wholeAmount, whole > 0, !item.isComplete, item.kind != .training {
      parts[parts.count - 1] += String(format: " (%.0f %%)", 100 * min(1, item.amount / whole))
    }
    if let rate = meter.rate(of: item), item.kind != .training {
      parts.append(item.kind == .source ? "\(ByteSize.text(Int(rate)))/s" : String(format: "%.0f rows/s", rate))
    }
    if let left = meter.secondsLeft(of: item) { parts.append("\(TimeSpan.text(seconds: left)) left") }
    if item.failed > 0 { parts.append("\(item.failed) failed") }
    if item.isComplete { parts.append(item.kind == .source ? "all here" : item.state) }
    return parts.joined(separator: ", ")
  }

  /// Before the first iteration the nearest images are looked for, and after the last one
  /// ranges and a router are learned.
  private func training(_ item: LakeLook.Item) -> String {
    if item.isComplete { return "\(item.total) iterations" }
    if item.done == 0 { return "before the first of \(item.total) iterations" }
    if item.done >= item.total { return "after the last of \(item.total) iterations: ranges, router" }
    return "iteration \(item.done + 1) of \(item.total)"
  }
}
