internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn source drop-shards NAME --shards RANGES`.
struct SourceDropShards: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drop-shards", abstract: "Leave shards of a source out from now on; no other shard moves.",
    discussion: """
      For a source that was registered with more shards than there are, and for shards that nobody has any more or that
      should never have been among them. What was never fetched and no version names goes off the source's end, as if it
      had never been registered. Any other shard leaves a tombstone: its ordinal and the ids of its rows stay its own, and
      it is not fetched, asked for, trained on or built from any more. Of two paired sources the pair is left out of
      trainings, whichever side was dropped. Its length must be known: `tarn source probe` asks for it.

      A shard on which a sealed or unfinished version or a trained index rests is not dropped; where its bytes are gone
      for good, `tarn sync --missing skip` passes over it. Bytes of dropped shards are left to `tarn evict` and, seven days
      later, to `tarn gc`. --undo takes tombstones back; what went off the end comes back with `tarn source extend`.

      EXAMPLES
        tarn source drop-shards images --shards 13
        tarn source drop-shards images --shards 3,17-18
        tarn source drop-shards images --shards 17 --undo

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @Option(help: ArgumentHelp("Which shards of it, e.g. 3,2314-2319.", valueName: "ranges"))
  var shards: String

  @Flag(help: "Take them back.")
  var undo = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let ordinals = try OrdinalSet(parsing: shards)
    let catalog = try writer.open(global, "source drop-shards", name, on: [.source: [name]])
    let changes = try SourceChanges(catalog, of: name)
    let back = undo ? try changes.takeBackShards(ordinals) : []
    let dropped = undo ? DroppedShards() : try changes.dropShards(ordinals)
    let left = try catalog.shards(of: catalog.source(named: name))
    let tombstones = left.count { $0.isDropped }
    if global.json {
      Output.json([
        "source": .string(name), "dropped": .strings(dropped.removed + dropped.tombstones),
        "removed": .strings(dropped.removed), "tombstones": .strings(dropped.tombstones), "taken_back": .strings(back),
        "shards": .count(left.count), "in_use": .count(left.count - tombstones),
      ])
    } else {
      let done = undo ? "\(back.count) taken back" : "\(dropped.removed.count + dropped.tombstones.count) fewer"
      let kept = tombstones == 0 ? "" : "; \(tombstones.counted("dropped shard")) keep\(tombstones == 1 ? "s" : "") ids"
      Output.line("\(name) has \((left.count - tombstones).counted("shard")), \(done)\(kept)")
    }
    Output.flush()
  }
}
