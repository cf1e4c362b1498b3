// The options of the verbs that move shards, or files of published versions.

internal import ArgumentParser
internal import Base
internal import Lake

extension SyncOptions {
  /// How this tool fetches.
  init(patience: TimeSpan) {
    self.init()
    self.patience = patience.duration
    fetch = .ofTool
  }
}

/// How much is moved at a time, and for how long who has it is waited for.
struct TransferOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Transfers at a time (default: 2).", valueName: "n"))
  var jobs: Int?

  @Option(help: .bandwidth)
  var bwlimit: RateText?

  @Option(help: .patience(unlessTold: .ofBuild))
  var patience: TimeSpan?

  func validate() throws {
    if let jobs, !(1...64).contains(jobs) { throw ValidationError("--jobs is 1 to 64.") }
  }

  /// Whether any of them was said.
  var isSaid: Bool { jobs != nil || bwlimit != nil || patience != nil }

  /// How long to wait.
  var waits: TimeSpan { patience ?? .ofBuild }

  /// How to fetch, and how to send.
  func options() -> SyncOptions {
    var options = SyncOptions(patience: waits)
    options.fetch.jobs = jobs ?? 2
    if let bwlimit { options.fetch.bandwidth = bwlimit.timetable }
    return options
  }
}
