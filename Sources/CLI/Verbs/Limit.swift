internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn limit`: bandwidth of a run that is under way.
struct Limit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "limit", abstract: "Limit the bandwidth of this lake's transfers, those under way included.",
    discussion: """
      Takes effect within a second or two on a `tarn sync` or `tarn build` that is running, and on every later one until
      it is cleared; it counts before their --bwlimit, and runs that fetch at a time share it. Files of this machine, which
      may lie on a network's file system, are copied no faster either. Without a rate it says what is set.

      EXAMPLES
        tarn limit 20MB/s
        tarn limit '08:00,10MB/s 19:00,off'
        tarn limit off
        tarn limit --clear

      \(ExitStatus.help)
      """)

  @Argument(
    help: ArgumentHelp(
      "A rate (20MB/s; a number below 1,024 needs its unit, 500B/s), a timetable, or off for none, "
        + "whatever --bwlimit says."))
  var rate: String?

  @Flag(help: "Forget it: what --bwlimit says counts again.")
  var clear = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func validate() throws {
    if clear, rate != nil { throw ValidationError("Name a rate or --clear, not both.") }
    if let rate, RateTimetable(argument: rate) == nil {
      throw ValidationError("'\(rate.printable)' is neither a rate with its unit, such as 20MB/s, nor a timetable.")
    }
  }

  func run() throws {
    let root = try global.lakeRoot()
    if rate != nil || clear { try LakeCatalog.change(.bwlimit, to: rate, root: root) }
    let now = try rate ?? (clear ? nil : global.read().setting(.bwlimit))
    if global.json {
      Output.json(["bwlimit": .optional(now)])
    } else {
      Output.line(now.map { "bwlimit \($0)" } ?? "no limit is set; --bwlimit counts")
    }
    Output.flush()
  }
}
