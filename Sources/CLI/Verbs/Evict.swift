internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn evict`: give the room of shards back.
struct Evict: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Drop the bytes of shards from the lake; what is known of them stays, and sync brings them back.",
    discussion: """
      What interrupted transfers left of them goes too: the next sync begins those anew.

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
    let catalog = try writer.open(global, verb: "evict", givesBack: true)
    let gone = try EvictRun(catalog, cancellation: global.cancellation).run(
      source, ordinals: shards.map(OrdinalSet.init(parsing:)))
    if global.json {
      Output.json([
        "evicted": .count(gone.shardCount), "parts": .count(gone.partCount), "bytes": .count(gone.byteCount),
      ])
    } else {
      let parts = gone.partCount == 0 ? "" : " and \(gone.partCount) parts of interrupted transfers"
      Output.line("\(gone.shardCount) shards\(parts) evicted (\(ByteSize.text(gone.byteCount)))")
    }
    Output.flush()
  }
}
