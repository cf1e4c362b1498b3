internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn sync`: bring shards into the lake.
struct Sync: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sync", abstract: "Fetch what is missing: resumed where it stopped, checked byte by byte.",
    discussion: """
      EXAMPLES
        tarn sync
        tarn sync images --shards 0-39 --jobs 8 --budget 100GB
        tarn sync images --refresh
        tarn sync images --refresh --keep-old
        tarn sync images --missing skip
        tarn sync --dry-run

      A host that fails for now (no connection, 5xx, 429, silence, a web page instead of the file) is asked again after
      pauses of 1, 2, 4 s … until --patience has passed without a shard or 1 MiB more; the shards of other hosts go on.
      Shards that no mirror has, or whose bytes are wrong everywhere, are asked for once more at the end; a good file without the array, or of another
      dimension or dtype, is not, and after two such no more of a source is of which nothing was ever had. It ends with 75
      when only patience ran out, with 3 when some shard failed for good.

      Meanwhile other sources can be registered, synced, trained on and built from; what needs the same source for itself
      ends with 11, or waits with --wait.
      Bytes that a version or a trained index rests on are not replaced by others, as --refresh may bring them: the shard
      fails and says which rest on it. --replace drops the old bytes for the new ones, --keep-old keeps both. A shard that
      is here and that its mirrors lack by now is named, stays, and is no failure.

      A shard that is not here and that no mirror has fails. With --missing skip it is named and passed over each time,
      until a mirror has it; `tarn source drop-shards` leaves one out for good on which nothing rests.

      A mirror may be a command that writes shards. It is run, as this user, only with --allow-commands, whatever this lake
      or a document says; --command-timeout ends one that takes longer.

      What came to the directory of a source since is named at the end, and taken in by `tarn source refresh` alone; so is what
      waits for a file that belongs before it.
      With --quiet it says nothing where there was nothing to fetch, as under cron.

      Interrupt it at any time: the same command continues. `tarn limit` changes the bandwidth of a run under way. --json
      prints an event a line: started, progress, retrying, waiting, fetched, revised, mended, withdrawn, passed-over, failed,
      and a summary at the end, each with its time (at). A mirror is told by its number, as `tarn source mirror list` shows
      it; of a progress, done are the shards that are here now of those that were not, failed those that are given up.
      not_asked_for in the summary counts the shards that files of another kind kept from being asked for.

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("Which sources; all by default.", valueName: "source"), completion: .sources)
  var sources: [String] = []

  @OptionGroup var range: ShardRangeOptions

  @Option(help: ArgumentHelp("Shards fetched at a time.", valueName: "n"))
  var jobs: Int = 4

  @Option(help: ArgumentHelp("Most bytes of shards to hold, e.g. 100GB.", valueName: "size"))
  var budget: ByteSize?

  @Option(help: .bandwidth)
  var bwlimit: RateTimetable?

  @Option(name: .customLong("per-host"), help: ArgumentHelp("Most transfers at a time from one host.", valueName: "n"))
  var perHost: Int = 8

  @Option(help: .patience())
  var patience: TimeSpan = .ofSync

  @Flag(help: "Ask for newer bytes of the shards that are here; they become new revisions.")
  var refresh = false

  @OptionGroup var replacing: ReplacementOptions

  @Option(help: ArgumentHelp("Shards that no mirror has: fail, or skip and name them.", valueName: "policy"))
  var missing: MissingPolicy = .fail

  @Flag(
    help: "Take it that what a document or list says of these sources may lead to this machine and its network.")
  var allowInside = false

  @OptionGroup(title: CommandOptions.title) var commands: CommandOptions

  @Flag(name: .customLong("dry-run"), help: "Say what would be fetched, how long it may take and what is missing.")
  var dryRun = false

  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard (1...64).contains(jobs) else { throw ValidationError("--jobs is 1 to 64.") }
    guard (1...64).contains(perHost) else { throw ValidationError("--per-host is 1 to 64.") }
  }

  func run() async throws {
    if dryRun {
      let plan = try SyncPlan(global.read(), options())
      global.json ? Output.json(plan.json) : plan.lines.forEach(Output.line)
      return Output.flush()
    }
    var options = try options()
    let catalog = try writer.open(
      global, (["sync"] + sources).joined(separator: " "), keeping: room, leasing: options.leases)
    if allowInside {
      for source in try catalog.fileSources(sources) {
        try catalog.trustAddresses(of: source)
      }
    }
    let progress = global.progress("sync")
    options.fetch.followLimit(of: catalog)
    let board = TransferBoard(progress, json: global.json)
    let summary: SyncSummary
    do {
      summary = try await SyncRun(catalog, options, cancellation: global.cancellation, report: board.show).run()
    } catch {
      // What was taken stays taken, however the run ends.
      if !global.json { for revised in board.revisions.all { Output.warn("\(revised.text)") } }
      throw error
    }
    progress.clear()
    board.close()
    show(summary, board.revisions, global.quiet ? [] : NewFiles.look(catalog, sources))
    try tellMisaligned(catalog)
    try conclude(summary)
  }

  /// Told whenever both are known: such rows are never shown.
  private func tellMisaligned(_ catalog: LakeCatalog) throws {
    let chosen = try sources.isEmpty ? catalog.sources() : sources.map(catalog.source(named:))
    let companions = try chosen.flatMap { try $0.isCompanion ? [$0] : catalog.companions(of: $0) }
    for name in Set(companions.map(\.name)).sorted() {
      for line in try MisalignedShard.lines(catalog.misaligned(of: catalog.source(named: name))) {
        Output.warn("\(line)")
      }
    }
  }

  private func options() throws -> SyncOptions {
    var options = SyncOptions(patience: patience)
    options.sources = sources
    options.ordinals = try range.ordinals()
    options.budget = budget?.byteCount
    options.refresh = refresh
    options.replacement = replacing.replacement
    options.missing = missing
    options.keptFree = room.keepFree?.byteCount ?? 0
    options.fetch.commands = commands.rules
    options.fetch.jobs = jobs
    options.fetch.transfersPerHost = perHost
    if let bwlimit { options.fetch.bandwidth = bwlimit }
    return options
  }

  private func show(_ summary: SyncSummary, _ revisions: FetchedRevisions, _ new: [NewFiles]) {
    if global.json {
      Output.json([
        "type": .string("summary"), "at": .string(Timestamp.now()), "fetched": .count(summary.fetchedCount),
        "bytes": .count(summary.fetchedByteCount),
        "unchanged": .count(summary.unchangedCount), "failed": .count(summary.failures.count),
        "mended": .count(summary.mendedCount), "without_room": .count(summary.withoutRoom.count),
        "withdrawn": .count(summary.withdrawn.count), "passed_over": .count(summary.passedOver.count),
        "not_asked_for": .count(summary.unasked.values.reduce(0, +)),
        "revised": revisions.json,
        "new_files": .array(
          new.map {
            .object([
              "source": .string($0.source), "directory": .string($0.directory), "count": .count($0.count),
              "waiting": .strings($0.waiting.map(\.name)),
            ])
          }),
      ])
    } else if !global.quiet || summary.didAnything {
      Output.line(
        "\(summary.fetchedCount.counted("shard")) fetched (\(ByteSize.text(summary.fetchedByteCount))), "
          + "\(summary.unchangedCount) were here already, \(summary.failures.count) failed"
          + (summary.mendedCount == 0 ? "" : ", \(summary.mendedCount) mended by their chunks"))
      for revised in revisions.all { Output.line(revised.text) }
      if !summary.withdrawn.isEmpty {
        let (are, stay) = summary.withdrawn.count == 1 ? ("is", "stays") : ("are", "stay")
        Output.line("\(Self.list(summary.withdrawn)) \(are) on no mirror any more and \(stay) in the lake")
      }
      if !summary.passedOver.isEmpty {
        let are = summary.passedOver.count == 1 ? "is" : "are"
        Output.line("\(Self.list(summary.passedOver)) \(are) on no mirror: passed over")
      }
      for (name, count) in summary.unasked.sorted(by: { $0.key < $1.key }) {
        Output.line(
          "\(count.counted("more shard")) of \(name) \(count == 1 ? "was" : "were") not asked for, as what came is not what "
            + "\(name) is registered as")
      }
      for line in new.flatMap(\.lines) { Output.line(line) }
    }
    Output.flush()
  }

  /// Shards as `images/a.npy, images/b.npy and 2 more`.
  private static func list(_ shards: [Shard]) -> String {
    shards.map { "\($0.sourceName)/\($0.name)" }.listed(5)
  }

  /// Invariant 8: what was not done is not passed over.
  private func conclude(_ summary: SyncSummary) throws {
    if let noRoom = summary.noRoom {
      let count = summary.withoutRoom.count
      throw TarnError(
        noRoom.code,
        noRoom.message + (count > 1 ? "; \(count) shards have none" : "")
          + (summary.failures.isEmpty ? "" : ", and \(summary.failures.count) failed"),
        hint: noRoom.hint, place: noRoom.place)
    }
    guard !summary.failures.isEmpty else { return }
    let codes = summary.failures.map(\.error.code)
    // One failure was told in one line already; only some kinds pass with time.
    let advice = codes.contains(.temporary) ? "run it again to retry" : nil
    let message = summary.failures.count == 1 ? nil : "\(summary.failures.count.counted("shard")) failed"
    if codes.contains(.integrity) { throw Outcome(.integrity, message, hint: advice) }
    if let full = summary.failures.first(where: { $0.error.code == .diskFull })?.error {
      let count = codes.count > 1 ? "; \(codes.count) shards failed" : ""
      throw TarnError(full.code, full.message + count, hint: full.hint, place: full.place)
    }
    if codes.allSatisfy({ $0 == .temporary }) { throw Outcome(.temporary, message, hint: advice) }
    throw Outcome(.partial, message, hint: advice)
  }
}
