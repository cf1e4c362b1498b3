internal import ArgumentParser
internal import Catalog
internal import Indexer

extension MissingPolicy: ExpressibleByArgument {}
extension BadRowsPolicy: ExpressibleByArgument {}

/// `tarn build`: make an index version.
struct Build: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Build an index version: FAISS files over the shards of a source.",
    discussion: """
      The outputs lie in LAKE/versions/NAME@N. What was built before from the same bytes is used again; new or changed
      shards make the next version.

      EXAMPLES
        tarn build laion --trained clip --images images
        tarn build laion --trained clip --images images --shards 0-79 --shards-per-output 40 --missing skip

      Interrupt it at any time: the same command continues.

      \(ExitStatus.help)
      """)

  @Argument(help: "The version's name; it becomes NAME@1, NAME@2, …")
  var name: String

  @Option(help: ArgumentHelp("The trained index to encode against.", valueName: "trained"))
  var trained: String

  @Option(help: ArgumentHelp("Source of image features.", valueName: "source"))
  var images: String

  @Option(help: ArgumentHelp("Which shards, e.g. 0-39,57; all by default.", valueName: "ranges"))
  var shards: String?

  @Option(name: .customLong("shards-per-output"), help: ArgumentHelp("Shards in each output file.", valueName: "n"))
  var shardsPerOutput: Int = 40

  @Option(help: ArgumentHelp("Shards that are not in the lake: fail, or skip and leave a hole.", valueName: "policy"))
  var missing: MissingPolicy = .fail

  @Option(
    name: .customLong("bad-rows"),
    help: ArgumentHelp("Rows that are NaN, infinite or zero: fail, or skip and leave holes.", valueName: "policy"))
  var badRows: BadRowsPolicy = .fail

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, verb: "build \(name)")
    let options = BuildOptions(
      name: name, trained: trained, images: images, ordinals: try shards.map(OrdinalSet.init(parsing:)),
      shardsPerOutput: shardsPerOutput, missing: missing, badRows: badRows, environment: Tool.environment)
    let progress = global.progress("build \(name)")
    let run = BuildRun(catalog, options, logger: global.logger("tarn.build"), report: progress.show)
    let (version, isNew) = try run.run()
    progress.clear()
    let outputs = try catalog.outputs(of: version)
    if global.json {
      Output.json([
        "version": .string("\(version.name)"), "new": .bool(isNew), "sha256": .optional(version.versionDigest?.hex),
        "outputs": .array(
          outputs.map { output in
            .object([
              "path": .string(catalog.layout.outputPath(version.name, ordinal: output.ordinal)),
              "sha256": .string(output.digest.hex), "rows": .count(output.rowCount), "bytes": .count(output.byteCount),
            ])
          }),
      ])
    } else {
      let rows = outputs.reduce(0) { $0 + $1.rowCount }
      let bytes = outputs.reduce(0) { $0 + $1.byteCount }
      Output.line(
        "\(version.name) \(isNew ? "is sealed" : "was sealed before"): \(rows) rows in \(outputs.count) files, "
          + "\(ByteSize.text(bytes)), sha256 \(version.versionDigest?.prefix(16) ?? "")…")
    }
    Output.flush()
  }
}

extension ProgressLine {
  /// Shows a build's or a rebuild's progress.
  func show(_ event: BuildProgress) {
    switch event {
    case .encoding(let shard, let done, let rows):
      update(done: Double(done), total: Double(rows)) { "encoding \(shard), \(done)/\(rows) rows" }
    case .merging(let output, let count):
      update(done: Double(output), total: Double(count)) { "merging output \(output + 1)/\(count)" }
    case .finished(let output, let count, let byteCount):
      note("output \(output + 1)/\(count) finished, \(ByteSize.text(byteCount))")
    }
  }
}
