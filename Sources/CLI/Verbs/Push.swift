internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn push`: a sealed version, published.
struct Push: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "push", abstract: "Publish a sealed version in a directory or an object store.",
    discussion: """
      Writes DEST/NAME@N/ with the outputs, the trained index, the lock file and, last, the document, and adds the version to
      DEST/index.json, under the name that its lock file says. Nothing there is replaced: a file with the right bytes is left alone, one with others ends this with 64.
      An interrupted push goes on where it was. The history of the lake, and its view v_publication, tell where a version was pushed to. Objects of more than 64 MiB are sent in parts; each object is read back.

      DEST is a directory, file:///DIR, or s3://BUCKET/PREFIX with credentials and endpoint from AWS_* and ~/.aws. A web site
      that serves the directory is enough for `tarn pull https://…`. docs/PUBLISH.md says what lies where.

      EXAMPLES
        tarn push laion@1 /srv/www/indexes
        tarn push laion@1 s3://bucket/indexes --bwlimit 50MB/s

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version; NAME for the newest.", valueName: "NAME[@N]"), completion: .versions)
  var version: String

  @Argument(help: ArgumentHelp("Where it goes.", valueName: "dest"), completion: .directory)
  var destination: String

  @OptionGroup var transfer: TransferOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() async throws {
    let catalog = try writer.open(global, "push \(version)") {
      VerbLeases.of("push").leases([.version: [try $0.versionName(version).name]])
    }
    let pushed = try catalog.version(global.version(version, catalog))
    let name = pushed.sealedName
    let progress = global.progress("push \(name)")
    var options = transfer.options()
    options.fetch.followLimit(of: catalog)
    let summary = try await PushRun(
      catalog, pushed, to: destination, configuration: options.fetch, patience: options.patience,
      cancellation: global.cancellation, report: progress.showBytes
    ).run()
    progress.clear()
    if global.json {
      Output.json([
        "version": .string("\(name)"), "place": .string(summary.place), "written": .count(summary.writtenCount),
        "written_bytes": .count(summary.writtenByteCount), "there": .count(summary.thereCount),
      ])
    } else {
      Output.line(
        "\(name) is at \(summary.place): \(summary.writtenCount.counted("file")) written, "
          + "\(ByteSize.text(summary.writtenByteCount)); \(summary.thereCount) there already")
    }
    catalog.warnOfExcludedRows(pushed.name, "\(summary.place) has")
    Output.flush()
  }
}

extension ProgressLine {
  /// Shows bytes of all.
  func showBytes(_ byteCount: Int, of total: Int) {
    update(done: Double(byteCount), total: Double(total)) { "\(ByteSize.text(byteCount)) of \(ByteSize.text(total))" }
  }
}
