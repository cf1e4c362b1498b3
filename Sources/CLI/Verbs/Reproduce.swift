internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn reproduce`: rebuild a version and compare.
struct Reproduce: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reproduce", abstract: "Rebuild a version from its pinned inputs and compare every byte.",
    discussion: """
      Says 'identical', or that the lists hold the same rows in another file layout, or the first output, list and row
      that differ; and what was not checked. A catalog that no longer says what was sealed is not rebuilt from: 20. The lake
      is not changed but for a row that records the outcome, and for shards that --fetch brings or --budget drops.
      Interrupt it at any time: the same command goes on, with the same --into. Rows of the version that were excluded
      since are in the files again, which a warning says of --into.

      With --from, the document of `tarn export` says what to make. First it is held against its own digest: one that
      contradicts itself ends with 20 before anything is asked for. Then its sources are registered in this lake, fetched,
      trained on and built, and every statement of the document is compared with what was made: 'identical' only if all
      hold, else 24 and the field. Use a new lake for it: one that has pulled the version, or has it under another name,
      ends this with 64. The addresses of a document are its author's: none is followed to a file of this machine, to the
      machine itself or into a private network unless --allow-inside says so, and none gets a variable of the
      environment. Everything is fetched first, so that what cannot be had is told; with --budget shards come and go as
      they are trained on and encoded.

      EXAMPLES
        tarn reproduce laion@1
        tarn reproduce laion@1 --into /disk/rebuilt
        tarn reproduce laion@1 --budget 100GB
        tarn init check && tarn reproduce --from laion-1.json --lake check

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version; NAME for the newest.", valueName: "NAME[@N]"), completion: .versions)
  var version: String?

  @Option(
    help: ArgumentHelp("Make the version of this document of `tarn export`.", valueName: "file"), completion: .file())
  var from: String?

  @Option(
    help: ArgumentHelp(
      "Keep the rebuilt files in this directory: empty, new, or an interrupted rebuild's.", valueName: "dir"),
    completion: .directory)
  var into: String?

  @Flag(help: "With --from: its addresses may lead to this machine, its files and its network.")
  var allowInside = false

  @Option(
    help: ArgumentHelp("With --from: a query item of its addresses that is no secret; repeatable.", valueName: "name"))
  var keepQuery: [String] = []

  @OptionGroup(title: StreamOptions.title) var stream: StreamOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard (version == nil) != (from == nil) else { throw ValidationError("Name a version, or a document with --from.") }
    guard from != nil || !allowInside && keepQuery.isEmpty else {
      throw ValidationError("--allow-inside and --keep-query go with --from.")
    }
    try stream.validate(fetchesAnyway: from != nil)
    guard from == nil || into == nil else { throw ValidationError("--into goes with NAME@N.") }
  }

  func run() async throws {
    if let from { return try await replay(from) }
    let catalog = try opened()
    let name = try global.version(version ?? "", catalog)
    let progress = global.progress("reproduce \(name)")
    let run = try ReproductionRun(
      catalog, name, environment: Tool.environment, logger: global.logger("tarn.reproduce"),
      cancellation: global.cancellation, report: progress.show)
    let revisions = FetchedRevisions()
    let report = try await run.run(
      into: into, fetching: stream.options(catalog), follow: revisions.following(progress))
    progress.clear()
    if let into, report.outcome != .inputsMissing { catalog.warnOfExcludedRows(name, "\(into) has") }
    if global.json {
      Output.json(
        [
          "version": .string("\(name)"), "outcome": .string(report.outcome.rawValue),
          "outputs": .count(report.outputCount), "bytes": .count(report.byteCount),
          "missing": .strings(report.missing),
          "output": report.difference.map { .count($0.output) } ?? .null,
          "list": .optionalCount(report.difference?.list),
          "row_id": report.difference?.rowID.map { .integer($0) } ?? .null, "revised": revisions.json,
        ].merging(Self.json(report.verdict)) { $1 })
    }
    try conclude(report, name)
    Output.flush()
  }

  /// The lake, open for writing; who may only read it is told of another way.
  private func opened() throws -> LakeCatalog {
    let word = version ?? ""
    do {
      return try writer.open(global, "reproduce \(word)", keeping: room) {
        try $0.leases(of: stream.isFetching ? "reproduce --fetch" : "reproduce", overVersions: [word])
      }
    } catch let error as TarnError where error.hint?.hasSuffix("must be writable by this user") == true {
      guard let reader = try? global.read(), error.message.contains(reader.layout.lock),
        let name = try? reader.newestVersion(of: word)?.name ?? VersionName(parsing: word)
      else { throw error }
      let file = "\(name.name)-\(name.number).json"
      throw TarnError(
        error.code, error.message,
        hint: "`tarn export \(name) > \(file)`, `tarn init check` and "
          + "`tarn reproduce --from \(file) --lake check` make it in a lake of your own", place: error.place)
    }
  }

  private func replay(_ path: String) async throws {
    let document = try VersionExport(reading: path)
    let catalog = try writer.open(global, "reproduce --from", keeping: room)
    let progress = global.progress("reproduce")
    var replay = ReplayRun(
      document, in: catalog, logger: global.logger("tarn.reproduce"), cancellation: global.cancellation,
      report: progress.show)
    replay.keptQuery = Set(keepQuery.map { $0.lowercased() })
    replay.allowsInside = allowInside
    replay.fetch = stream.optionsToFetch(catalog).takingAll
    let result = try await replay.run()
    progress.clear()
    if global.json {
      Output.json(
        [
          "version": .string("\(result.version.name)"), "from": .string(document.version),
          "outcome": .string(result.outcome.rawValue), "outputs": .count(result.outputCount),
          "bytes": .count(result.byteCount), "output": .optionalCount(result.output),
        ].merging(Self.json(result.verdict)) { $1 })
    }
    Output.flush()
    switch result.outcome {
    case .identical:
      guard !global.json else { return }
      Output.line(
        "\(document.version) is identical, made here as \(result.version.name): \(result.fileCount.counted("file")), "
          + "\(ByteSize.text(result.byteCount)), byte for byte")
      say(result.verdict)
      Output.flush()
    case .sameLists:
      throw Outcome(.differs, "\(document.version) differs in file layout: \(result.verdict.message)")
    case .differs, .inputsMissing:
      throw Outcome(.differs, "\(document.version) differs: \(result.verdict.message)")
    }
  }

  /// What an 'identical' does not cover.
  private func say(_ verdict: StatementVerdict) {
    if let text = verdict.uncheckedMessage { Output.line(text) }
  }

  private static func json(_ verdict: StatementVerdict) -> [String: JSONValue] {
    [
      "checked": .strings(verdict.checked),
      "differences": .array(verdict.differences.map(\.json)), "unchecked": .array(verdict.unchecked.map(\.json)),
    ]
  }

  private func conclude(_ report: ReproductionReport, _ name: VersionName) throws {
    switch report.outcome {
    case .identical:
      if !global.json {
        Output.line(
          "\(name) is identical: \(report.fileCount.counted("file")), \(ByteSize.text(report.byteCount)), byte for byte"
        )
        say(report.verdict)
      }
    case .sameLists:
      let output = report.difference?.output ?? 0
      throw Outcome(
        .differs, "\(name) differs in file layout: output \(output) holds the same rows and codes in other bytes")
    case .differs:
      let place = [
        report.difference.map { "output \($0.output)" }, report.difference?.list.map { "list \($0)" },
        report.difference?.rowID.map { "row id \($0)" },
      ]
      throw Outcome(.differs, "\(name) differs: first in \(place.compactMap(\.self).joined(separator: ", "))")
    case .inputsMissing:
      throw TarnError(
        .inputsMissing,
        "\(report.missing.count.counted("input")) of \(name) \(report.missing.count == 1 ? "is" : "are") not in the lake: \(report.missing.prefix(3).joined(separator: ", "))",
        hint: report.wayBack)
    }
  }
}

extension StatementVerdict.Difference {
  /// As `--json` prints it.
  var json: JSONValue {
    .object(["field": .string(field), "expected": .string(expected), "found": .string(found)])
  }
}

extension StatementVerdict.Omission {
  /// As `--json` prints it.
  var json: JSONValue { .object(["what": .string(field), "why": .string(reason)]) }
}

extension ProgressLine {
  /// Shows a replay's progress.
  func show(_ event: ReplayProgress) {
    switch event {
    case .fetching(.moved(let done, let total, let bytes, _, let totalBytes, _)):
      update(done: Double(bytes), total: totalBytes.map(Double.init)) {
        "fetching, \(done)/\(total) shards, \(ByteSize.text(bytes))"
      }
    case .fetching(let event): showFetching(event)
    case .training(let event): show(event)
    case .building(let event): show(event)
    }
  }
}
