// The options of the verbs that move files of published versions.

internal import ArgumentParser
internal import Base
internal import Lake

/// How to move files, and for how long to wait for who has them.
struct TransferOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Files at a time (default: 2).", valueName: "n"))
  var jobs: Int?

  @Option(
    help: ArgumentHelp(
      "Most bytes a second over all files: 50MB/s, or a timetable: '08:00,10MB/s 19:00,off'.", valueName: "rate"))
  var bwlimit: RateTimetable?

  @Option(
    help: ArgumentHelp(
      "How long to wait for a host that fails for now, e.g. 6h; 0 for a few tries in a row and no wait (default: 2h).",
      valueName: "time"))
  var patience: TimeSpan?

  func validate() throws {
    if let jobs, !(1...64).contains(jobs) { throw ValidationError("--jobs is 1 to 64.") }
  }

  /// How to fetch, and how to send.
  func options() -> SyncOptions {
    var options = SyncOptions()
    options.fetch = .ofTool
    options.fetch.jobs = jobs ?? 2
    options.patience = (patience ?? .ofBuild).duration
    if let bwlimit { options.fetch.bandwidth = bwlimit }
    return options
  }
}
