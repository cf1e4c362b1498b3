// How many bytes a second transfers may take in all, and when.

internal import Base
package import Foundation

/// A bandwidth limit that may change over the day.
///
/// Written as rclone writes it: one rate, or `HH:MM,RATE` entries that each hold
/// until the next: `08:00,10MB/s 19:00,off`.
package struct RateTimetable: Sendable, Equatable {
  private struct Entry: Sendable, Equatable {
    /// Minutes after midnight, local time.
    var minute: Int
    /// Nil for no limit.
    var bytesPerSecond: Int?
  }

  /// Ascending by minute; never empty.
  private let entries: [Entry]

  private init(_ entries: [Entry]) { self.entries = entries.sorted { $0.minute < $1.minute } }

  /// The same limit at all times; nil for none.
  package init(bytesPerSecond: Int?) {
    self.init([Entry(minute: 0, bytesPerSecond: bytesPerSecond)])
  }

  /// What each of several has of it.
  package func shared(among count: Int) -> RateTimetable {
    RateTimetable(
      entries.map { entry in
        Entry(minute: entry.minute, bytesPerSecond: entry.bytesPerSecond.map { max(1, $0 / max(1, count)) })
      })
  }

  /// Parses a rate or a timetable; nil for anything else.
  ///
  /// - Parameters:
  ///   - text: What the user wrote.
  ///   - rate: Parses a rate in bytes a second, such as `10MB/s`.
  package init?(parsing text: String, rate: (String) -> Int?) {
    func parse(_ text: Substring) -> Int?? {
      if text.lowercased() == "off" { return .some(nil) }
      return rate(String(text)).map { .some($0) }
    }
    let words = text.split(separator: " ", omittingEmptySubsequences: true)
    guard !words.isEmpty else { return nil }
    if words.count == 1, !words[0].contains(",") {
      guard let limit = parse(words[0]) else { return nil }
      self.init(bytesPerSecond: limit)
      return
    }
    var entries: [Entry] = []
    for word in words {
      let parts = word.split(separator: ",", omittingEmptySubsequences: false)
      guard parts.count == 2, let minute = Self.minute(parts[0]), let limit = parse(parts[1]),
        !entries.contains(where: { $0.minute == minute })
      else { return nil }
      entries.append(Entry(minute: minute, bytesPerSecond: limit))
    }
    self.init(entries)
  }

  private static func minute(_ text: Substring) -> Int? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ (1...2).contains($0.utf8.count) && $0.utf8.allSatisfy(\.isDigit) }),
      let hour = Int(parts[0]), let minute = Int(parts[1]), hour < 24, minute < 60
    else { return nil }
    return 60 * hour + minute
  }

  /// The limit at a minute of the day; nil for none.
  ///
  /// Before the first entry of a day, the last one of the day before holds.
  package func limit(atMinute minute: Int) -> Int? {
    let entry = entries.last { $0.minute <= minute } ?? entries[entries.count - 1]
    return entry.bytesPerSecond
  }

  /// The limit at a time in this machine's time zone; nil for none.
  package func limit(at date: Date, in calendar: Calendar = .current) -> Int? {
    guard entries.count > 1 else { return entries[0].bytesPerSecond }
    let parts = calendar.dateComponents([.hour, .minute], from: date)
    return limit(atMinute: 60 * (parts.hour ?? 0) + (parts.minute ?? 0))
  }
}
