internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn source refresh NAME`: what came to its directory or listing.
struct SourceRefresh: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "refresh",
    abstract: "Look again at the directories or listings of sources, and add what is new behind their last shards.",
    discussion: """
      New files come in natural order, new lines in theirs, new names of a listing in byte order, behind the shards that are
      there, whose ordinals and row ids stay. A companion's come in its owner's order, captions' in that of the images whose
      files' names theirs follow, and with --order-of SOURCE in that source's: one waits for a file that belongs before it,
      and for its partner; --order-of with the source's own name takes them as they come. What is gone is said, and so is a
      file that has another name now: it is known by its bytes, and the shard, which keeps its own name, is asked for there
      from now on; where a version rests on the source its address stays, `tarn import` takes the file in, and `tarn evict`
      counts on neither for a last copy. The next `tarn build` encodes what is new alone. `tarn sync --refresh` asks for new bytes of the shards that
      are there.

      A source that was registered from a listing is listed again at the same place, with the same pattern: a branch as it is
      now, a commit as it was. --revision names another branch, tag or commit, which later refreshes then follow. A shard
      under another name gets that address, and one of other bytes that was never fetched also what is expected of it, as long
      as no version rests on the source; else both are said and stay as they are. --dry-run only says.
      Several sources are looked at in turn, each where it was registered from; a failure ends it there, and what those before
      got stays.

      EXAMPLES
        tarn source refresh captions
        tarn source refresh images captions
        tarn source refresh captions --order-of images
        tarn source refresh images --url-list urls.txt
        tarn source refresh images --dry-run
        tarn source refresh images --revision v2

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("Which sources.", valueName: "name"), completion: .sources)
  var names: [String]

  @Option(
    name: .customLong("url-list"),
    help: ArgumentHelp(
      "Its list as it is now, where it was registered from one: a file, or the address of one.", valueName: "file"),
    completion: .file())
  var urlList: String?

  @OptionGroup var listed: ListingOptions

  @Option(
    help: ArgumentHelp(
      "A branch, tag or commit of the repository that it is listed in, instead of the one of before.",
      valueName: "revision"))
  var revision: String?

  @Flag(name: .customLong("dry-run"), help: "Say what would change, and change nothing.")
  var dryRun = false

  @OptionGroup var growing: GrowthOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard [urlList, listed.listing, revision].compactMap(\.self).count <= 1 else {
      throw ValidationError("Name one of --url-list, --listing and --revision.")
    }
    let facts = growing.facts
    let ofOne = [urlList, listed.listing, revision, facts.sizes, facts.sha256, facts.shardNames, facts.orderOf]
    guard names.count == 1 || ofOne.allSatisfy({ $0 == nil }) else {
      throw ValidationError(
        "--url-list, --listing, --revision, --sizes, --sha256, --shard-names and --order-of are of one source.")
    }
  }

  func run() async throws {
    let catalog =
      try dryRun
      ? global.read() : writer.open(global, "source refresh", names.joined(separator: " "), on: [.source: names])
    for name in names { _ = try catalog.source(named: name) }
    for name in names { try await refresh(name, catalog) }
  }

  private func refresh(_ name: String, _ catalog: LakeCatalog) async throws {
    var growth = try growing.growth(catalog, name, global)
    growth.isDryRun = dryRun
    let origin: SourceGrowth.Origin =
      if let urlList { .list(urlList) } else if let listing = listed.listing {
        .listing(listing, matching: listed.match)
      } else { .own(revision: revision) }
    let place = try await growth.place(origin, by: growing.question("source refresh", global))
    GrowthOptions.print(try growth.run(place, isWhole: true), of: name, isDryRun: dryRun, global)
  }
}
