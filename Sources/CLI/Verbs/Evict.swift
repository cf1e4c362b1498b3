internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn evict`: give the room of shards back.
struct Evict: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evict",
    abstract: "Drop the bytes of shards from the lake; what is known of them stays, and sync brings them back.",
    discussion: """
      What interrupted transfers left of them goes too: the next sync begins those anew. Older revisions that --keep-old
      kept beside newer ones go where nothing rests on them; --old drops the others too, which no mirror may have any more.
      It works on a disk without a byte left.

      EXAMPLES
        tarn evict captions
        tarn evict images --shards 0-39
        tarn evict images --old

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var source: String

  @Option(help: ArgumentHelp("Which shards, e.g. 0-39,57; all by default.", valueName: "ranges"))
  var shards: String?

  @Flag(help: "Also older revisions on which a version or trained index rests.")
  var old = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, "evict")
    let gone = try EvictRun(catalog, cancellation: global.cancellation).run(
      source, ordinals: shards.map(OrdinalSet.init(parsing:)), includesPinned: old)
    if global.json {
      Output.json([
        "evicted": .count(gone.shardCount), "parts": .count(gone.partCount), "old_revisions": .count(gone.keptCount),
        "bytes": .count(gone.byteCount), "kept_old_revisions": .count(gone.pinned.count),
        "of": .array(gone.readers.map { .string($0) }),
      ])
    } else {
      let parts = gone.partCount == 0 ? "" : " and \(gone.partCount.counted("part")) of interrupted transfers"
      let revisions = gone.keptCount == 0 ? "" : " and \(gone.keptCount.counted("older revision"))"
      Output.line("\(gone.shardCount.counted("shard"))\(parts)\(revisions) evicted (\(ByteSize.text(gone.byteCount)))")
      if let owner = gone.readers.first, gone.shardCount > 0 {
        let others = gone.readers.dropFirst().joined(separator: ", ")
        Output.line("they are the files of \(owner), which \(others) read, too")
      }
      if let first = gone.pinned.first {
        let bytes = gone.pinned.reduce(0) { $0 + $1.byteCount }
        Output.line(
          "\(gone.pinned.count.counted("older revision")) \(gone.pinned.count == 1 ? "stays" : "stay") (\(ByteSize.text(bytes))): \(LakeCatalog.list(first.dependents)) on "
            + "the one of \(first.shardName); --old drops them too")
      }
    }
    Output.flush()
  }
}
