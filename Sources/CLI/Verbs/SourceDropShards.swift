internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn source drop-shards NAME --shards RANGE`.
struct SourceDropShards: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drop-shards", abstract: "Take shards off a source's end that were never fetched.",
    discussion: """
      For a source that was registered with more shards than there are. No other shard moves, and no row id.

      EXAMPLES
        tarn source drop-shards images --shards 13

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.")
  var name: String

  @Option(help: ArgumentHelp("Which shards of it, up to the last one, e.g. 2314-2319.", valueName: "ranges"))
  var shards: String

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    let ordinals = try OrdinalSet(parsing: shards)
    let catalog = try writer.open(global, verb: "source drop-shards", givesBack: true)
    let dropped = try SourceChanges(catalog, of: name).dropShards(ordinals)
    let left = try catalog.shards(of: catalog.source(named: name)).count
    if global.json {
      Output.json(["source": .string(name), "dropped": .array(dropped.map { .string($0) }), "shards": .count(left)])
    } else {
      Output.line("\(name) has \(left) shards, \(dropped.count) fewer")
    }
    Output.flush()
  }
}
