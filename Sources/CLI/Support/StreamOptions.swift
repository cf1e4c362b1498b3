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

  @OptionGroup var transfer: TransferOptions
  @OptionGroup var commands: CommandOptions

  /// Whether anything is to be fetched.
  var isFetching: Bool { fetch || budget != nil }

  /// Refuses what would be ignored.
  ///
  /// - Parameter fetchesAnyway: Whether the verb fetches without being asked to.
  /// - Throws: The parser's error.
  func validate(fetchesAnyway: Bool) throws {
    guard fetchesAnyway || isFetching || !transfer.isSaid else {
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
    var options = transfer.options()
    options.budget = budget?.byteCount
    options.fetch.commands = commands.rules
    options.fetch.followLimit(of: catalog)
    return options
  }
}
