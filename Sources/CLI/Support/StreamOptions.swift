// The options of the verbs that work on shards and can fetch meanwhile what is not
// in the lake.

internal import ArgumentParser
internal import Base
internal import Lake

/// How to fetch while a verb works; by default it fetches nothing.
struct StreamOptions: ParsableArguments {
  /// Above them in `--help`.
  static let title = "Fetching"

  @Flag(help: "Fetch meanwhile what is not in the lake.")
  var fetch = false

  @Option(
    help: ArgumentHelp(
      "Likewise, holding at most so many bytes of shards: 100GB. What was worked on goes first.", valueName: "size"))
  var budget: ByteSize?

  @Option(help: ArgumentHelp("Shards fetched at a time (default: 2).", valueName: "n"))
  var jobs: Int?

  @Option(
    help: ArgumentHelp(
      "Most bytes a second over all transfers: 50MB/s, or a timetable: '08:00,10MB/s 19:00,off'.", valueName: "rate"))
  var bwlimit: RateTimetable?

  @Option(
    help: ArgumentHelp(
      "How long to wait for a host that fails for now, e.g. 6h; 0 for a few tries in a row and no wait (default: 2h).",
      valueName: "time"))
  var patience: TimeSpan?

  @OptionGroup(title: CommandOptions.title) var commands: CommandOptions

  /// Whether anything is to be fetched.
  var isFetching: Bool { fetch || budget != nil }

  /// Refuses what would be ignored.
  ///
  /// - Parameter fetchesAnyway: Whether the verb fetches without being asked to.
  /// - Throws: The parser's error.
  func validate(fetchesAnyway: Bool) throws {
    if let jobs, !(1...64).contains(jobs) { throw ValidationError("--jobs is 1 to 64.") }
    guard fetchesAnyway || isFetching || jobs == nil && bwlimit == nil && patience == nil else {
      throw ValidationError("--jobs, --bwlimit and --patience go with --fetch or --budget.")
    }
    guard fetchesAnyway || isFetching || !commands.allowCommands else {
      throw ValidationError("--allow-commands goes with --fetch or --budget.")
    }
  }

  /// How to fetch; nil for not at all.
  func options(_ catalog: LakeCatalog) -> SyncOptions? { isFetching ? optionsToFetch(catalog) : nil }

  /// How a verb fetches that does so without being asked to.
  func optionsToFetch(_ catalog: LakeCatalog) -> SyncOptions {
    var options = SyncOptions()
    options.budget = budget?.byteCount
    options.fetch = .ofTool
    options.fetch.commands = commands.rules
    options.fetch.jobs = jobs ?? 2
    options.patience = (patience ?? .ofBuild).duration
    if let bwlimit { options.fetch.bandwidth = bwlimit }
    options.fetch.followLimit(of: catalog)
    return options
  }
}
