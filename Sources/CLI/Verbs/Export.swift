internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn export`: a version as one document.
struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract:
      "Print a sealed version as JSON: sources with URLs and digests, parameters, inputs, outputs; or write it for another server.",
    discussion: """
      With the document and the servers its shards are on, anybody can make the version again and compare:
      `tarn reproduce --from FILE` in an empty lake.

      By itself it is tarn's own document, with all that reproducing takes. By --format:

        in-toto    an in-toto statement with SLSA provenance v1: outputs, and
                   what they were made from
        croissant  Croissant 1.0 metadata: outputs and shards as files with
                   addresses, sizes and digests

      clip-retrieval  a folder that clip-retrieval's own server opens: --into names it, and nothing is there yet. image.index is one
      FAISS file with all rows (text.index for a source of texts); metadata/*.parquet has one row for each row id, in their order, with \
      the columns of companions that --columns names (url and caption, unless it is given, the caption from text where no companion \
      has one of that name); url,caption=text writes the column text as caption. indices_paths.json names the folder. Of a version that \
      is refined the folder has the first codes alone, which is said. The history of the lake, and its view v_publication, tell where it is, where the \
      lake can be written to; a tarn that has the whole lake, as verify, is waited for.

      EXAMPLES
        tarn export laion@1 > laion-1.json
        tarn export laion@1 --format in-toto > laion-1.intoto.json
        tarn export laion@1 --format croissant > croissant.json
        tarn export laion@1 --format clip-retrieval --into laion-folder

      \(ExitStatus.help)
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case tarn
    case inToto = "in-toto"
    case croissant
    case clipRetrieval = "clip-retrieval"
  }

  @Argument(help: ArgumentHelp("The version.", valueName: "NAME[@N]"), completion: .versions)
  var version: String

  @Option(help: ArgumentHelp("tarn, in-toto, croissant or clip-retrieval.", valueName: "format"))
  var format: Format = .tarn

  @Option(help: ArgumentHelp("Of clip-retrieval: the folder to make.", valueName: "dir"), completion: .directory)
  var into: String?

  @Option(
    help: ArgumentHelp(
      "With --into: how long to wait for a tarn that has the whole lake, to tell the history (default: 10m).",
      valueName: "duration"))
  var wait: TimeSpan?

  @OptionGroup var shown: ColumnOptions

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func validate() throws {
    guard (into != nil) == (format == .clipRetrieval) else {
      throw ValidationError("--format clip-retrieval and --into DIR go together; the other formats are printed.")
    }
    guard wait == nil || into != nil else { throw ValidationError("--wait goes with --into DIR.") }
    guard shown.columns == nil || format == .clipRetrieval else {
      throw ValidationError("--columns goes with --format clip-retrieval.")
    }
  }

  func run() throws {
    let catalog = try global.read()
    let name = try global.version(version, catalog)
    switch format {
    case .tarn: Output.json(text: try catalog.export(name).text(isOneLine: global.json))
    case .inToto: write(try catalog.provenance(of: name))
    case .croissant: write(try catalog.croissant(of: name))
    case .clipRetrieval: try writeFolder(of: name, catalog)
    }
    Output.flush()
  }

  private func writeFolder(of name: VersionName, _ catalog: LakeCatalog) throws {
    guard let into else { preconditionFailure("checked by validate()") }
    let run = try ClipFolderRun(
      catalog, name, into: into, columns: try shown.names, cancellation: global.cancellation)
    let progress = global.progress("export")
    let summary = try run.run { step in
      switch step {
      case .list(let done, let all):
        progress.update(done: Double(done), total: Double(all)) { "list \(done) of \(all)" }
      case .shard(let done, let all):
        progress.update(done: Double(done), total: Double(all)) { "metadata of shard \(done) of \(all)" }
      }
    }
    progress.clear()
    for note in summary.notes { global.note("tarn: \(note)") }
    if global.json {
      Output.json([
        "folder": .string(summary.folder), "index": .string(summary.index), "sha256": .string(summary.digest.hex),
        "rows": .count(summary.rowCount), "ids": .count(summary.idCount), "metadata_files": .count(summary.fileCount),
        "columns": .strings(summary.columns),
      ])
    } else {
      Output.line(
        "\(summary.folder): \(summary.index) with \(summary.rowCount.counted("row")), "
          + "\(summary.fileCount.counted("file")) of metadata for \(summary.idCount.counted("id")) "
          + "(\(summary.columns.map(\.printable).joined(separator: ", ")))")
    }
    catalog.warnOfExcludedRows(name, "\(summary.folder) has")
    Output.flush()
    try catalog.noteExport(
      of: name, into: summary.folder, summary.digest, waiting: wait?.duration ?? .seconds(600), global)
  }

  private func write(_ document: JSONValue) { Output.json(text: global.json ? document.text : document.indentedText) }
}
