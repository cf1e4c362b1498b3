internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn pull`: a published version, taken in.
struct Pull: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pull", abstract: "Take a published version into this lake, verified.",
    discussion: """
      Reads the version's document and lock file, holds them against each other, fetches what bytes of it this lake has not,
      and records the version: it then searches, evaluates, reproduces and verifies like one that was built here. What was
      interrupted goes on where it was. What does not hold ends with 20 and changes nothing. A version, source or trained
      index that is another thing here under the same name ends this with 64, and so does a version that was revoked here.

      SRC is what `tarn push` wrote to: a directory, file:///DIR, s3://BUCKET/PREFIX, or the https:// address of a folder.
      NAME is the newest version of that name there; without a name the only version there is taken. --as gives it another name here, with the next number, beside a version of
      the publisher's name that is another one: its lock file, its document and so its digest stay the publisher's, and `tarn push`
      publishes it under the publisher's name. The document's addresses of shards are its author's: none is followed to
      this machine, its files or its network, then or later, unless --allow-inside says so.

      With --file nothing is recorded: single files are written into the directory --into, and no lake is needed.

      EXAMPLES
        tarn pull https://host.example/indexes laion@1
        tarn pull s3://bucket/indexes laion@1 --jobs 4
        tarn pull s3://bucket/indexes laion@1 --as theirs
        tarn pull /srv/www/indexes laion@1 --file laion.000.faiss --into /tmp/one

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("Where it was pushed to.", valueName: "src"), completion: .directory)
  var source: String

  @Argument(
    help: ArgumentHelp("The version; NAME for the newest, by default the only one there.", valueName: "NAME[@N]"))
  var version: String?

  @Option(name: .customLong("as"), help: ArgumentHelp("Its name in this lake; by default its own.", valueName: "other"))
  var alias: String?

  @Option(help: ArgumentHelp("Write this file alone, as NAME.000.faiss; repeatable.", valueName: "file"))
  var file: [String] = []

  @Option(
    help: ArgumentHelp("With --file: the directory that the files go to.", valueName: "dir"), completion: .directory)
  var into: String?

  @Flag(help: "The document's addresses may lead to this machine, its files and its network.")
  var allowInside = false

  @Option(
    help: ArgumentHelp("A query item of the document's addresses that is no secret; repeatable.", valueName: "name"))
  var keepQuery: [String] = []

  @OptionGroup var transfer: TransferOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard file.isEmpty == (into == nil) else { throw ValidationError("--file and --into go together.") }
    guard file.isEmpty || alias == nil else {
      throw ValidationError("--as names a version of this lake; --file records none.")
    }
    guard file.isEmpty || !allowInside && keepQuery.isEmpty else {
      throw ValidationError(
        "--allow-inside and --keep-query are about addresses of shards, which the document of a version has; --file follows none of them and records none, so leave them out."
      )
    }
  }

  func run() async throws {
    var options = transfer.options()
    options.keptFree = room.keepFree?.byteCount ?? 0
    // A lake that is not there is told before anything is asked for.
    if file.isEmpty { _ = try global.read() }
    let progress = global.progress("pull\(version.map { " " + $0.printable } ?? "")")
    let publication = try await Publication.find(
      source, version, options: options, cancellation: global.cancellation,
      report: progress.show)
    let name = publication.version.name
    if let into {
      let paths = try await PullFilesRun(
        publication, options: options, cancellation: global.cancellation, report: progress.show
      ).run(file, into: into)
      progress.clear()
      if global.json {
        Output.json(["version": .string("\(name)"), "files": .strings(paths)])
      } else {
        for path in paths { Output.line(path) }
      }
      return Output.flush()
    }
    let catalog = try writer.open(
      global, "pull", "\(name)",
      on: [
        .version: [alias ?? name.name], .training: [publication.version.document.trained.name],
        .source: publication.version.document.sources.map(\.name),
      ], keeping: room)
    options.fetch.followLimit(of: catalog)
    var run = PullRun(
      publication, in: catalog, options: options, cancellation: global.cancellation, report: progress.show)
    run.allowsInside = allowInside
    run.alias = alias
    run.keptQuery = Set(keepQuery.map { $0.lowercased() })
    let summary = try await run.run()
    progress.clear()
    say(summary, from: publication)
    guard !summary.wasThere else { return }
    catalog.warnOfExcludedRows(in: summary.version.name)
    if let lack = summary.unheld {
      Output.warn(
        "\(summary.version.name) may show rows that a rule excludes: \(lack.message)"
          + (lack.hint.map { "; \($0)" } ?? "") + "; the next `tarn build` and the same `tarn exclude` look again")
    }
    try tellOfRowsLeftOut(by: summary.version.name, catalog)
  }

  /// Says which earlier versions here have rows that the one that came was made without: a publisher who had to take
  /// them out reaches nobody who pulled those.
  private func tellOfRowsLeftOut(by name: VersionName, _ catalog: LakeCatalog) throws {
    for earlier in try catalog.versions().filter({ $0.state == .sealed }).map(\.name)
    where earlier.name == name.name && earlier.number < name.number {
      let count = try catalog.difference(earlier, name).excludedOnlyInSecond.reduce(0) { $0 + $1.rows.count }
      guard count > 0 else { continue }
      Output.warn(
        "\(name) was made without \(count.counted("row")) that \(earlier) has: `tarn diff \(earlier) \(name)` "
          + "tells which, `tarn revoke \(earlier) --reason TEXT` withdraws it here")
    }
  }

  private func say(_ summary: PullRun.Summary, from publication: Publication) {
    let name = summary.version.name
    let published = summary.version.publishedName.map { ", published as \($0)" } ?? ""
    if global.json {
      Output.json([
        "version": .string("\(name)"), "published_as": .string("\(publication.version.name)"),
        "sha256": .optional(summary.version.versionDigest?.hex),
        "from": .string(publication.place), "was_there": .bool(summary.wasThere),
        "fetched": .count(summary.fetchedCount), "fetched_bytes": .count(summary.fetchedByteCount),
        "there": .count(summary.thereCount),
      ])
    } else if summary.wasThere {
      Output.line(
        "\(name) is in this lake already\(published), digest \(summary.version.versionDigest?.prefix(12) ?? "")…")
    } else {
      Output.line(
        "\(name) is in this lake\(published), digest \(summary.version.versionDigest?.prefix(12) ?? "")…: "
          + "\(summary.fetchedCount.counted("file")) fetched, \(ByteSize.text(summary.fetchedByteCount)); "
          + "\(summary.thereCount) there already")
    }
    Output.flush()
  }
}

extension ProgressLine {
  /// Shows how far a pull is.
  func show(_ progress: PullProgress) {
    switch progress {
    case .moved(let byteCount, let total): showBytes(byteCount, of: total)
    case .reading(let number, let count):
      update(done: Double(number), total: Double(count)) { "reading output \(number + 1) of \(count)" }
    case .waiting(let host, let pause, let left):
      note(waiting: host, pause, left)
    }
  }

  /// Says whom a command waits for.
  func note(waiting host: String, _ pause: Duration, _ left: Duration) {
    note(
      "waiting for \(host) for \(TimeSpan.text(seconds: pause.seconds)); patience ends in "
        + TimeSpan.text(seconds: left.seconds))
  }
}
