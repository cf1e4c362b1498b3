// Sizes and durations as people write and read them.

internal import Foundation

/// A number of bytes: `100GB` (10⁹), `64MiB` (2²⁰), `512`.
package struct ByteSize: Sendable {
  package let byteCount: Int

  /// Reads a size; nil for what is none.
  package init?(parsing text: String) {
    var text = text.lowercased()
    if text.hasSuffix("/s") { text.removeLast(2) }
    let units: [(String, Double)] = [
      ("kib", 1024), ("mib", 1_048_576), ("gib", 1_073_741_824), ("tib", 1_099_511_627_776), ("kb", 1e3), ("mb", 1e6),
      ("gb", 1e9), ("tb", 1e12), ("k", 1e3), ("m", 1e6), ("g", 1e9), ("t", 1e12), ("b", 1),
    ]
    var scale = 1.0
    if let unit = units.first(where: { text.hasSuffix($0.0) }) {
      scale = unit.1
      text.removeLast(unit.0.count)
    }
    guard let number = Double(text), (0..<9e18).contains(number * scale) else { return nil }
    byteCount = Int((number * scale).rounded())
    guard byteCount > 0 else { return nil }
  }

  /// Bytes in the unit that suits them: `1.44 GB`.
  package static func text(_ byteCount: Int) -> String {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)]
    let value = Double(byteCount)
    for (name, scale) in units where value >= scale {
      let scaled = value / scale
      let digits = scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2
      return String(format: "%.\(digits)f \(name)", scaled)
    }
    return "\(byteCount) B"
  }
}

/// A duration: `30s`, `10m`, `2h`, or plain seconds.
package struct TimeSpan: Sendable {
  package let duration: Duration

  package init(duration: Duration) { self.duration = duration }

  /// Reads a duration; nil for what is none.
  package init?(parsing text: String) {
    var text = text
    var scale = 1.0
    let units: [(Character, Double)] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]
    if let unit = units.first(where: { text.last == $0.0 }) {
      scale = unit.1
      text.removeLast()
    }
    guard let number = Double(text), number.isFinite, number >= 0, number * scale < 1e9 else { return nil }
    duration = .milliseconds(Int64((number * scale * 1000).rounded()))
  }

  /// Seconds as people read them: `1 h 12 min`.
  package static func text(seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e8 else { return "?" }
    let whole = Int(seconds.rounded())
    switch whole {
    case ..<60: return "\(whole) s"
    case ..<3600: return "\(whole / 60) min \(whole % 60) s"
    case ..<86400: return "\(whole / 3600) h \(whole % 3600 / 60) min"
    default: return "\(whole / 86400) d \(whole % 86400 / 3600) h"
    }
  }
}

extension BinaryInteger {
  /// The number with zeros before it, in so many digits at least.
  package func padded(to width: Int) -> String {
    let digits = String(self)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}

extension Int {
  /// A number of things: `1 file`, `3 files`.
  ///
  /// - Parameters:
  ///   - one: What one of them is called.
  ///   - many: What several are; with an s behind it unless told otherwise.
  /// - Returns: The number and the word.
  package func counted(_ one: String, _ many: String? = nil) -> String {
    "\(self) \(self == 1 ? one : many ?? one + "s")"
  }
}

extension Collection<String> {
  /// Some of these, for a sentence: `a, b, c and 2 more`.
  ///
  /// - Parameter most: How many are named.
  /// - Returns: The names, and the number of the others.
  package func listed(_ most: Int = 3) -> String {
    prefix(most).joined(separator: ", ") + (count > most ? " and \(count - most) more" : "")
  }
}

extension Duration {
  /// The duration in seconds.
  package var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }

  /// How long is waited after so many failures in a row, if it is this after the first: twice as long after each.
  package func doubled(afterFailures count: Int) -> Duration { self * (1 << min(30, max(0, count - 1))) }
}
