internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn source extend NAME`: more shards.
struct SourceExtend: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "extend", abstract: "Add shards behind the last one of a source.",
    discussion: """
      The ordinals and row ids of the shards that are there stay. --count is how many shards the source shall have, where its
      addresses are templates; --url-list is a file with the new URLs, or the address of one, in order, where it was registered from one (those that
      the source has are passed over, so the whole list does too). The next `tarn build` encodes what is new alone. A
      second time it does nothing.

      EXAMPLES
        tarn source extend images --count 2400
        tarn source extend images --url-list more-urls.txt --sizes sizes.txt

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @Option(help: ArgumentHelp("How many shards it shall have.", valueName: "n"))
  var count: Int?

  @Option(
    name: .customLong("url-list"),
    help: ArgumentHelp("A file with one URL a line, in order, or the address of one.", valueName: "file"),
    completion: .file())
  var urlList: String?

  @OptionGroup var growing: GrowthOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard (count == nil) != (urlList == nil) else { throw ValidationError("Name one of --count and --url-list.") }
    guard (1...10_000_000).contains(count ?? 1) else { throw ValidationError("--count is 1 to 10000000.") }
  }

  func run() async throws {
    let catalog = try writer.open(global, "source extend", name, on: [.source: [name]])
    let growth = try growing.growth(catalog, name, global)
    let place = try await growth.place(
      urlList.map(SourceGrowth.Origin.list) ?? .count(count ?? 0), by: growing.question("source extend", global))
    GrowthOptions.print(try growth.run(place, isWhole: false), of: name, global)
  }
}

/// How a source grows.
struct GrowthOptions: ParsableArguments {
  @OptionGroup var facts: ShardFactOptions

  @Option(help: .patience(when: "Where a listing is asked for", for: "a host that fails for now, e.g. 10m"))
  var patience: TimeSpan = .ofSourceAdd

  /// Prepares to add shards to a source.
  func growth(_ catalog: LakeCatalog, _ name: String, _ global: GlobalOptions) throws -> SourceGrowth {
    var growth = try SourceGrowth(catalog, of: name, cancellation: global.cancellation)
    (growth.sizes, growth.digests) = (facts.sizes, facts.sha256)
    (growth.shardNames, growth.orderOf) = (facts.shardNames, facts.orderOf)
    return growth
  }

  /// What asks for listings.
  func question(_ verb: String, _ global: GlobalOptions) -> ListingQuestion {
    var waits = WaitOptions()
    waits.patience = patience.duration
    return ListingOptions.question(.ofTool, waits: waits, global, global.progress(verb))
  }

  /// Says what was added, and what is not there any more.
  static func print(
    _ summary: SourceGrowth.Summary, of name: String, isDryRun: Bool = false, _ global: GlobalOptions
  ) {
    for stray in summary.strays { Output.warn("\(stray)") }
    if global.json {
      Output.json(json(summary, of: name, isDryRun: isDryRun))
    } else {
      Output.line(
        isDryRun
          ? "\(name) would have \(summary.shardCount.counted("shard")), \(summary.added.count) more"
          : "\(name) has \(summary.shardCount) shards, \(summary.added.count) more")
      if isDryRun { for shard in summary.added { Output.line("\(shard) is new") } }
      if let partner = summary.orderOf, !(summary.added + summary.waiting.map(\.name)).isEmpty {
        Output.line("new files come in the order of \(partner), whose files' names theirs follow")
      }
      for line in summary.empty + summary.waits { Output.line(line) }
      for shard in summary.gone { Output.line("\(shard) is not there any more; its place and ids stay") }
      let held = summary.heldBy.map { ", and its address stays: \($0) rests on it" } ?? ""
      for (shard, place) in summary.moved {
        let way = held.isEmpty ? nil : summary.directory.map { QuotedWords.quoted("\($0)/\(place)") }
        let held = held + (way.map { "; `tarn import \(name) \($0)` takes it in" } ?? "")
        Output.line("\(shard) is at \(place) now; it keeps its name, place and ids, and nothing was added\(held)")
      }
      for shard in summary.changed {
        Output.line(
          summary.taken.contains(shard)
            ? "\(shard) has other bytes there; it was never fetched, and these are expected of it now"
            : "\(shard) has other bytes there; what is known of it stays, and a source of its own takes the others"
              + " (`tarn source add`)")
      }
    }
    Output.flush()
  }

  private static func json(
    _ summary: SourceGrowth.Summary, of name: String, isDryRun: Bool
  ) -> [String: JSONValue] {
    var document: [String: JSONValue] = [
      "source": .string(name), "shards": .count(summary.shardCount),
      "added": .strings(summary.added), "gone": .strings(summary.gone),
      "waiting": .strings(summary.waiting.map(\.name)),
      "moved": .array(
        summary.moved.map {
          .object(["shard": .string($0.shard), "to": .string($0.to), "taken": .bool(summary.taken.contains($0.shard))])
        }),
      "changed": .array(
        summary.changed.map {
          .object(["shard": .string($0), "taken": .bool(summary.taken.contains($0))])
        }), "dry_run": .bool(isDryRun),
    ]
    if let partner = summary.orderOf { document["order_of"] = .string(partner) }
    if let listing = summary.listing {
      document["listing"] = .object([
        "place": .string(listing.place), "match": .optional(listing.pattern), "commit": .optional(listing.commit),
        "names": .count(listing.nameCount), "sha256": .string(listing.digest.hex),
      ])
    }
    return document
  }
}
