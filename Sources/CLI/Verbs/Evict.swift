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
      Of shards with the same bytes the last to be evicted leaves them where they are such an older revision of another.

      A shard stays while a version or a trained index rests on its bytes and nobody is known to have them: every mirror
      was seen to lack it or to serve something else, or it came by `tarn import` and no mirror was seen with it
      (`tarn source probe` looks; files on this machine are looked at here, and where they cannot be, as on a file system
      that is not mounted, the shard stays this time). --last-copies drops these too. What rests on bytes that went is
      said, and which shards went that every mirror lacks. It works on a disk without a byte left. Of several sources, whose
      names are looked at before anything goes, each is told by itself.

      EXAMPLES
        tarn evict captions
        tarn evict images captions
        tarn evict images --shards 0-39
        tarn evict images --old
        tarn evict images --shards 1 --last-copies

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("Which sources.", valueName: "source"), completion: .sources)
  var sources: [String]

  @OptionGroup var range: ShardRangeOptions

  @Flag(help: "Also older revisions on which a version or trained index rests.")
  var old = false

  @Flag(help: "Also bytes on which a version or trained index rests and that no mirror is known to have.")
  var lastCopies = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, "evict")
    let ordinals = try range.ordinals()
    for name in sources { _ = try catalog.source(named: name) }
    for name in sources {
      let gone = try EvictRun(catalog, cancellation: global.cancellation).run(
        name, ordinals: ordinals, includesPinned: old, includesLastCopies: lastCopies)
      show(gone, of: name)
      Output.flush()
    }
  }

  private func show(_ gone: EvictRun.Summary, of source: String) {
    if global.json {
      let named: [String: JSONValue] = sources.count > 1 ? ["source": .string(source)] : [:]
      let facts: [String: JSONValue] = [
        "evicted": .count(gone.shardCount), "parts": .count(gone.partCount), "old_revisions": .count(gone.keptCount),
        "bytes": .count(gone.byteCount), "kept_old_revisions": .count(gone.pinned.count),
        "of": .strings(gone.readers), "kept_last_copies": .array(gone.lastCopies.map(\.json)),
        "lost": .array(gone.lost.map(\.json)), "on_no_mirror": .strings(gone.unobtainable),
      ]
      Output.json(facts.merging(named) { $1 })
    } else {
      let parts = gone.partCount == 0 ? "" : " and \(gone.partCount.counted("part")) of interrupted transfers"
      let revisions = gone.keptCount == 0 ? "" : " and \(gone.keptCount.counted("older revision"))"
      let name = sources.count > 1 ? "\(source): " : ""
      Output.line(
        "\(name)\(gone.shardCount.counted("shard"))\(parts)\(revisions) evicted (\(ByteSize.text(gone.byteCount)))")
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
      if !gone.lastCopies.isEmpty {
        let (count, bytes) = (gone.lastCopies.count, gone.lastCopies.reduce(0) { $0 + $1.byteCount })
        Output.line(
          "\(count.counted("shard")) \(count == 1 ? "stays" : "stay") (\(ByteSize.text(bytes))), as no mirror is known to "
            + "have \(count == 1 ? "its" : "their") bytes: \(Self.list(gone.lastCopies)); --last-copies drops "
            + (count == 1 ? "it too" : "them too"))
      }
      if !gone.lost.isEmpty { Output.line("bytes went that are needed: \(Self.list(gone.lost))") }
      if !gone.unobtainable.isEmpty {
        let count = gone.unobtainable.count
        Output.line(
          "\(count.counted("shard")) of these \(count == 1 ? "is" : "are") on no mirror any more, "
            + "\(gone.unobtainable.listed()): a copy from elsewhere comes in with `tarn import \(gone.readers.first ?? source) FILE`"
        )
      }
    }
  }

  /// What rests on what, as `v@1, the trained index t rest on a.npy and 2 more`.
  private static func list(_ needed: [EvictRun.NeededBytes]) -> String {
    var dependents: [String] = []
    for name in needed.flatMap(\.dependents) where !dependents.contains(name) { dependents.append(name) }
    let names = needed.map { ($0.isOlder ? "the older revision of " : "") + $0.shard }
    return "\(LakeCatalog.list(dependents)) on \(names.listed())"
  }
}

extension EvictRun.NeededBytes {
  /// The same for programs.
  fileprivate var json: JSONValue {
    .object([
      "shard": .string(shard), "older": .bool(isOlder), "bytes": .count(byteCount),
      "dependents": .strings(dependents),
    ])
  }
}
