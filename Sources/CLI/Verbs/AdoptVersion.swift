internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn adopt version`: files with rows that FAISS wrote.
struct AdoptVersion: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version", abstract: "Take in files with rows that FAISS wrote, as a sealed version.",
    discussion: """
      Each file becomes an output of NAME@N: the same codes under the same row ids, list by list, in tarn's own form. The files
      must have been filled from the trained index --trained: their centroids and ranges are compared to the bit. Row ids are
      those of the files; each is there once, and each file has a range of its own.

      What rows were made from is unknown, and the version says so: it is searched, verified, pushed and pulled like others;
      `tarn reproduce` ends with 21, and `tarn evaluate` needs --source or --truth. With --source the ids are taken to count the
      rows of that source, which nothing proves; `tarn locate`, `tarn evaluate`, `tarn search --rerank`, what was excluded of
      that source and its companions, for --columns, --match and --where, then go by it, and the source keeps its name. The
      adopted files are a source of their own (`tarn versions` names it), which may have companions, too, with a file for each
      of them and a row for each id from its least on: where it has one, no other answers.

      EXAMPLES
        tarn adopt version laion part-*.index --trained clip --source images
        tarn adopt version old knn.index --trained clip

      \(ExitStatus.help)
      """)

  @Argument(help: "The name that it gets.")
  var name: String

  @Argument(help: ArgumentHelp("Files that faiss.write_index wrote.", valueName: "file.index"), completion: .file())
  var files: [String]

  @Option(
    help: ArgumentHelp("The trained index that they were filled from.", valueName: "name"), completion: .trainedIndexes)
  var trained: String

  @Option(help: ArgumentHelp("The source whose rows their ids count.", valueName: "source"), completion: .sources)
  var source: String?

  @OptionGroup var adopt: AdoptOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard !files.isEmpty else { throw ValidationError("Name a file that FAISS wrote.") }
  }

  func run() async throws {
    let catalog = try writer.open(
      global, "adopt version", name,
      on: [.version: [name], .training: [trained], .source: [source].compactMap(\.self)], keeping: room)
    let progress = global.progress("adopt version \(name)")
    let run = AdoptionRun(
      catalog, patience: adopt.patience.duration, cancellation: global.cancellation, report: progress.show)
    let (version, isNew) = try await ThreadedWork("tarn-adopt") { [name, files, trained, source] in
      try run.version(name, from: files, trained: trained, source: source)
    }.value()
    progress.clear()
    let outputs = try catalog.outputs(of: version)
    let rows = outputs.reduce(0) { $0 + $1.rowCount }
    if global.json {
      Output.json([
        "version": .string("\(version.name)"), "sha256": .optional(version.versionDigest?.hex), "new": .bool(isNew),
        "outputs": .count(outputs.count), "rows": .count(rows), "source": .optional(version.rowsOf),
      ])
    } else {
      Output.line(
        "\(version.name) is \(isNew ? "adopted" : "in this lake already"): \(rows.counted("row")) in "
          + "\(outputs.count.counted("file")), digest \(version.versionDigest?.prefix(12) ?? "")…; what they were made from "
          + "is unknown")
    }
    if isNew { catalog.warnOfExcludedRows(in: version.name) }
    Output.flush()
  }
}
