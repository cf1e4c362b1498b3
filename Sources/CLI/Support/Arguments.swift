// What the rooms below read from text, as arguments.

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

  /// What `--help` shows for a default.
  package var defaultValueDescription: String { TimeSpan.text(seconds: duration.seconds) }
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
    guard !rates.contains(where: { Int($0).map { $0 < 1_024 } ?? false }) else { return nil }
    self.init(text: argument)
  }
}
