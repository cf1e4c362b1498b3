internal import ArgumentParser
internal import Base
internal import Catalog

/// `tarn evict`: give the room of shards back.
struct Evict: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Drop the bytes of shards from the lake; what is known of them stays, and sync brings them back.",
    discussion: """
      EXAMPLES
        tarn evict captions
        tarn evict images --shards 0-39

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.")
  var source: String

  @Option(help: ArgumentHelp("Which shards, e.g. 0-39,57; all by default.", valueName: "ranges"))
  var shards: String?

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, verb: "evict")
    let chosen = try catalog.shards(
      of: catalog.source(named: source), ordinals: shards.map(OrdinalSet.init(parsing:)))
    let present = chosen.filter { $0.state == .present }
    for shard in present { try catalog.evict(shard) }
    let byteCount = present.reduce(0) { $0 + ($1.revision?.byteCount ?? 0) }
    if global.json {
      Output.json(["evicted": .count(present.count), "bytes": .count(byteCount)])
    } else {
      Output.line("\(present.count) shards evicted (\(ByteSize.text(byteCount)))")
    }
    Output.flush()
  }
}
