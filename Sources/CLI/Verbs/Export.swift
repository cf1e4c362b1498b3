internal import ArgumentParser
internal import Catalog

/// `tarn export`: a version as one document.
struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print a sealed version as JSON: sources with URLs and digests, parameters, inputs, outputs.",
    discussion: """
      With the document and the servers its shards are on, anybody can make the version again and compare:
      `tarn reproduce --from FILE` in an empty lake.

      EXAMPLES
        tarn export laion@1 > laion-1.json

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version.", valueName: "NAME@N"))
  var version: String

  @OptionGroup var global: GlobalOptions

  func run() throws {
    Output.line(try global.read().export(VersionName(parsing: version)).text(isOneLine: global.json))
    Output.flush()
  }
}
