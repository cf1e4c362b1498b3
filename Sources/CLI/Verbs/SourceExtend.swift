internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn source extend NAME`: more shards.
struct SourceExtend: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "extend", abstract: "Add shards behind the last one of a source.",
    discussion: """
      The ordinals and row ids of the shards that are there stay. --count is how many shards the source shall have, where its
      addresses are templates; --url-list is a file with the new URLs, in order, where it was registered from one (those that
      the source has are passed over, so the whole list does too). The next `tarn build` encodes what is new alone. A
      second time it does nothing.

      EXAMPLES
        tarn source extend images --count 2400
        tarn source extend images --url-list more-urls.txt --sizes sizes.txt

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.")
  var name: String

  @Option(help: ArgumentHelp("How many shards it shall have.", valueName: "n"))
  var count: Int?

  @Option(name: .customLong("url-list"), help: ArgumentHelp("A file with one URL a line, in order.", valueName: "file"))
  var urlList: String?

  @OptionGroup var facts: GrowthOptions
  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func validate() throws {
    guard (count == nil) != (urlList == nil) else { throw ValidationError("Name one of --count and --url-list.") }
    guard (1...10_000_000).contains(count ?? 1) else { throw ValidationError("--count is 1 to 10000000.") }
  }

  func run() throws {
    let catalog = try writer.open(global, "source extend", name, on: [.source: [name]])
    let growth = try facts.growth(catalog, name, global)
    let summary = try growth.run(urlList.map(SourceGrowth.Place.list) ?? .count(count ?? 0), isWhole: false)
    GrowthOptions.print(summary, of: name, global)
  }
}

/// What is known of new shards.
struct GrowthOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Expected sizes: lines 'NAME, BYTES' or 'NAME, BYTES, ROWS'.", valueName: "file"))
  var sizes: String?

  @Option(help: ArgumentHelp("Expected digests, as sha256sum writes them.", valueName: "file"))
  var sha256: String?

  @Option(
    help: ArgumentHelp(
      "What the new shards are called, where addresses do not end in names: 'img_{ordinal:04}.npy'.",
      valueName: "template"))
  var shardNames: String?

  /// Prepares to add shards to a source.
  func growth(_ catalog: LakeCatalog, _ name: String, _ global: GlobalOptions) throws -> SourceGrowth {
    var growth = try SourceGrowth(catalog, of: name, cancellation: global.cancellation)
    (growth.sizes, growth.digests, growth.shardNames) = (sizes, sha256, shardNames)
    return growth
  }

  /// Says what was added, and what is not there any more.
  static func print(_ summary: SourceGrowth.Summary, of name: String, _ global: GlobalOptions) {
    if global.json {
      Output.json([
        "source": .string(name), "shards": .count(summary.shardCount),
        "added": .array(summary.added.map { .string($0) }), "gone": .array(summary.gone.map { .string($0) }),
        "moved": .array(summary.moved.map { .object(["shard": .string($0.shard), "to": .string($0.to)]) }),
      ])
    } else {
      Output.line("\(name) has \(summary.shardCount) shards, \(summary.added.count) more")
      for shard in summary.gone { Output.line("\(shard) is not there any more; its place and ids stay") }
      for (shard, place) in summary.moved {
        Output.line("\(shard) is at \(place) now; it keeps its name, place and ids, and nothing was added")
      }
    }
    Output.flush()
  }
}
