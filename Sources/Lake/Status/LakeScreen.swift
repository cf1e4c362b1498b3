// What `status --watch` shows: how fast a lake's work goes and what holds it up, a line for each thing under
// way, and below whom commands wait for, what failed, and who is at work. Pure: looks, size and time are handed in.

package import Base
internal import Catalog
internal import Foundation

/// The screen of a lake that is watched.
package struct LakeScreen: Sendable {
  private var meter = LakeMeter()
  /// Why there is nothing newer, and since when.
  private var fault: (text: String, since: String)?

  package init() {}

  /// The newest look.
  package var newest: LakeLook? { meter.newest }

  /// Whether there is anything to show yet.
  package var hasNews: Bool { meter.newest != nil || fault != nil }

  /// Takes a look at the lake.
  package mutating func take(_ look: LakeLook, at now: ContinuousClock.Instant) {
    meter.take(look, at: now)
    fault = nil
  }

  /// Takes that there was nothing to be seen; the last look stays.
  ///
  /// - Parameters:
  ///   - error: Why.
  ///   - since: The time of day when the look began.
  package mutating func take(_ error: TarnError, since: String) {
    fault = (error.description, fault?.since ?? since)
  }

  /// Takes that a look is under way for long; what was said of one before stays.
  ///
  /// - Parameter since: The time of day when it began.
  package mutating func wait(since: String) {
    fault = fault ?? ("the catalog does not answer; another program may have it locked", since)
  }

  /// The lines to show.
  ///
  /// - Parameters:
  ///   - size: Columns and rows of the terminal; every line is narrower, and there are fewer lines.
  ///   - clock: The time of day.
  /// - Returns: The lake, its speed, a line for each thing, and how many are left out.
  package func lines(size: (columns: Int, rows: Int), clock: String) -> [String] {
    let columns = max(1, size.columns - 1)
    guard let look = meter.newest else {
      return ["\(clock)  \(fault.map { "not read since \($0.since): \($0.text)" } ?? "")".printableLine.fitted(columns)]
    }
    var head = ["\(clock)  lake \(look.root)"]
    if let fault { head.append("not read since \(fault.since), older below: \(fault.text)") }
    head += [pace(look, columns), "held up by \(meter.bottleneck ?? "nothing: all is done")"]
    // The last row stays free, and one lies between parts.
    let room = max(1, size.rows - 1 - head.count - 1)
    let below = self.below(look)
    let least = min(look.items.count, max(1, room / 2))
    let belowCount = below.isEmpty ? 0 : min(below.count, max(0, room - least - 1))
    let items = self.items(look, count: room - (belowCount == 0 ? 0 : belowCount + 1), columns)
    var lines = head + [""] + items
    if belowCount > 0 { lines += [""] + below.prefix(belowCount) }
    return lines.prefix(max(1, size.rows - 1)).map { $0.printableLine.fitted(columns) }
  }

  /// Speeds, what is in flight, and room; what does not fit is left out, the last first.
  private func pace(_ look: LakeLook, _ columns: Int) -> String {
    var parts = [meter.byteRate.map { "\(ByteSize.text(Int($0)))/s" } ?? "0 B/s"]
    if look.items.contains(where: { $0.kind == .build && !$0.isComplete }) || meter.rowRate != nil {
      parts.append(String(format: "%.0f rows/s", meter.rowRate ?? 0))
    }
    if look.partCount > 0 { parts.append("\(ByteSize.text(look.partByteCount)) in \(look.partCount.counted("part"))") }
    if let room = look.rooms.first { parts.append("\(ByteSize.text(room.freeByteCount)) free") }
    while parts.count > 1, parts.joined(separator: ", ").columnCount > columns { parts.removeLast() }
    return parts.joined(separator: ", ")
  }

  /// Whom commands wait for, what failed last, tasks, and who is at work, the most pressing first.
  private func below(_ look: LakeLook) -> [String] {
    let waits = look.commands.flatMap(\.waits).sorted { ($0.until, $0.host) < ($1.until, $1.host) }.map { wait in
      "waits for \(wait.host) until \(Timestamp.clock(wait.until)), patience ends "
        + "\(Timestamp.clock(wait.patienceUntil)), \(wait.shardCount.counted("shard"))"
    }
    let faults = look.faults.map { fault in
      "\(Timestamp.date(fault.at).map(Timestamp.clock) ?? fault.at) \(fault.text)"
    }
    let commands = look.commands.map { "at work: \($0.text)" }.sorted()
    let all = [waits, faults.map { "failed \($0)" }, look.tasks, commands]
    // A few of each before more of any.
    return all.map { Array($0.prefix(3)) }.flatMap(\.self)
  }

  // MARK: Things under way

  private func items(_ look: LakeLook, count: Int, _ columns: Int) -> [String] {
    // What moves is looked for first, then what is left to do.
    let ranks = Dictionary(grouping: look.items, by: rank)
    let ranked = (0...2).flatMap { ranks[$0] ?? [] }
    guard !ranked.isEmpty else { return ["nothing is here yet: `tarn source add` registers a source"] }
    let room = max(1, count)
    let shown = ranked.count > room ? Array(ranked.prefix(room - 1)) : ranked
    var lines = Self.laidOut(shown.map(cells), columns)
    if shown.count < ranked.count { lines.append("and \(ranked.count - shown.count) more: `tarn status`") }
    return lines
  }

  private func rank(_ item: LakeLook.Item) -> Int {
    meter.rate(of: item) != nil ? 0 : item.isComplete ? 2 : 1
  }

  /// Columns by what they are worth: the last is the first to go.
  private func cells(_ item: LakeLook.Item) -> [String] {
    let (rate, left) = (meter.rate(of: item), meter.secondsLeft(of: item))
    var share = ""
    if let whole = item.wholeAmount, whole > 0, !item.isComplete {
      share = String(format: "%.0f %%", 100 * min(1, item.amount / whole))
    }
    let end = item.isComplete ? (item.kind == .source ? "all here" : item.state) : ""
    let time = left.map { "\(TimeSpan.text(seconds: $0)) left" } ?? end
    let failed = item.failed > 0 ? "\(item.failed) failed" : ""
    switch item.kind {
    case .source:
      return [
        item.name, share, rate.map { "\(ByteSize.text(Int($0)))/s" } ?? "", time, failed,
        "\(item.done)/\(item.total) shards", ByteSize.text(Int(item.amount)),
      ]
    case .training: return ["training \(item.name)", share, "", time, failed, Self.training(item), ""]
    case .build:
      return [
        "build \(item.name)", share, rate.map { String(format: "%.0f rows/s", $0) } ?? "", time, failed,
        "\(item.done)/\(item.total) shards", Int(item.amount).counted("row"),
      ]
    }
  }

  /// Before the first iteration the nearest images are looked for, and after the last one
  /// ranges and a router are learned.
  private static func training(_ item: LakeLook.Item) -> String {
    if item.isComplete { return item.done.counted("iteration") }
    if item.isStopped { return "\(item.done) of \(item.total.counted("iteration")), \(LakeLook.stoppedTraining)" }
    if item.done == 0 { return "before the first of \(item.total.counted("iteration"))" }
    if item.done >= item.total { return "after the last of \(item.total.counted("iteration")): ranges, router" }
    return "iteration \(item.done + 1) of \(item.total)"
  }

  /// Cells under each other; columns that do not fit are left out, the last first.
  private static func laidOut(_ rows: [[String]], _ columns: Int) -> [String] {
    let rows = rows.map { $0.map(\.printableLine) }
    let layout = TextColumns(rows) { [1, 2].contains($0) }
    var shown = layout.widths.indices.filter { layout.widths[$0] > 0 }
    func width(_ shown: [Int]) -> Int { shown.reduce(0) { $0 + layout.widths[$1] + 2 } - 2 }
    while shown.count > 1, width(shown) > columns { shown.removeLast() }
    return rows.map { layout.line($0, columns: shown) }
  }
}

extension String {
  /// The text in so many columns; where it is longer, an ellipsis says so.
  fileprivate func fitted(_ columns: Int) -> String {
    columnCount <= columns ? self : prefix(columns: columns - 1) + "…"
  }
}
