internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn source refresh NAME`: what came to its directory or list.
struct SourceRefresh: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "refresh",
    abstract: "Look again at the directory or list of a source, and add what is new behind its last shard.",
    discussion: """
      New files come in natural order, new lines in theirs, behind the shards that are there, whose ordinals and row ids
      stay. What is gone is said, and so is a file that has another name now: it is known by its bytes and not added. The
      next `tarn build` encodes what is new alone. `tarn sync --refresh` asks for new bytes of the shards that are there.

      EXAMPLES
        tarn source refresh captions
        tarn source refresh images --url-list urls.txt

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.")
  var name: String

  @Option(
    name: .customLong("url-list"),
    help: ArgumentHelp("Its list as it is now, where it was registered from one.", valueName: "file"))
  var urlList: String?

  @OptionGroup var facts: GrowthOptions
  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, "source refresh", name, on: [.source: [name]])
    let growth = try facts.growth(catalog, name, global)
    let summary = try growth.run(urlList.map(SourceGrowth.Place.list) ?? .directory, isWhole: true)
    GrowthOptions.print(summary, of: name, global)
  }
}
