// Types of the modules below that are read from text, as arguments of commands.

internal import ArgumentParser
internal import Base
internal import Lake

extension ByteSize: ExpressibleByArgument {
  package init?(argument: String) { self.init(parsing: argument) }
}

extension TimeSpan: ExpressibleByArgument {
  package init?(argument: String) { self.init(parsing: argument) }

  /// How long `sync`, `source probe` and `verify --repair` wait for a host unless told otherwise.
  static let ofSync = TimeSpan(duration: .seconds(600))
  /// How long `source add` does, which somebody sits before.
  static let ofSourceAdd = TimeSpan(duration: .seconds(60))
  /// How long `build` and what builds from a document do.
  static let ofBuild = TimeSpan(duration: .seconds(7_200))

  /// What `--help` shows for a default, as it would be given: `10m`.
  package var defaultValueDescription: String {
    let seconds = Int(duration.seconds)
    let unit = [(86_400, "d"), (3_600, "h"), (60, "m")].first { seconds.isMultiple(of: $0.0) } ?? (1, "s")
    return "\(seconds / unit.0)\(unit.1)"
  }
}

extension ArgumentHelp {
  /// Of `--bwlimit`.
  static var bandwidth: ArgumentHelp {
    ArgumentHelp(
      "Most bytes a second over all transfers: 50MB/s, or a timetable: '08:00,10MB/s 19:00,off'. "
        + "A number below 1,024 needs its unit (500B/s).", valueName: "rate")
  }

  /// Of `--patience`.
  ///
  /// - Parameters:
  ///   - condition: When it counts; nil for always.
  ///   - host: Who is waited for.
  ///   - time: How long without it, where the option has no default of its own.
  /// - Returns: The help.
  static func patience(
    when condition: String? = nil, for host: String = "a host that fails for now, e.g. 6h",
    unlessTold time: TimeSpan? = nil
  ) -> ArgumentHelp {
    ArgumentHelp(
      (condition.map { "\($0): how" } ?? "How") + " long to wait for \(host); 0 for a few tries in a row and no wait"
        + (time.map { " (default: \($0.defaultValueDescription))." } ?? "."), valueName: "time")
  }
}

/// A rate or timetable that is handed on as it was written.
struct RateText: ExpressibleByArgument {
  let text: String
  let timetable: RateTimetable

  init?(argument: String) {
    guard let timetable = RateTimetable(argument: argument) else { return nil }
    (self.text, self.timetable) = (argument, timetable)
  }
}

extension RateTimetable: ExpressibleByArgument {
  package init?(argument: String) {
    // 5 would be five bytes a second, which nobody wants.
    let rates = argument.split { " ,".contains($0) }
    let isUnlikely = rates.contains { rate in
      Double(rate.hasSuffix("/s") ? rate.dropLast(2) : rate).map { $0 < 1_024 } ?? false
    }
    guard !isUnlikely else { return nil }
    self.init(text: argument)
  }
}
