internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn export`: a version as one document.
struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print a sealed version as JSON: sources with URLs and digests, parameters, inputs, outputs.",
    discussion: """
      With the document and the servers its shards are on, anybody can make the version again and compare:
      `tarn reproduce --from FILE` in an empty lake.

      tarn       all that reproducing takes
      in-toto    an in-toto statement with SLSA provenance v1: outputs, and what they were made from
      croissant  Croissant 1.0 metadata: outputs and shards as files with addresses, sizes and digests

      EXAMPLES
        tarn export laion@1 > laion-1.json
        tarn export laion@1 --format in-toto > laion-1.intoto.json
        tarn export laion@1 --format croissant > croissant.json

      \(ExitStatus.help)
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case tarn
    case inToto = "in-toto"
    case croissant
  }

  @Argument(help: ArgumentHelp("The version.", valueName: "NAME[@N]"))
  var version: String

  @Option(help: ArgumentHelp("tarn, in-toto or croissant.", valueName: "format"))
  var format: Format = .tarn

  @OptionGroup var global: GlobalOptions

  func run() throws {
    let catalog = try global.read()
    let name = try catalog.versionName(version)
    switch format {
    case .tarn: Output.json(text: try catalog.export(name).text(isOneLine: global.json))
    case .inToto: write(try catalog.provenance(of: name))
    case .croissant: write(try catalog.croissant(of: name))
    }
    Output.flush()
  }

  private func write(_ document: JSONValue) { Output.json(text: global.json ? document.text : document.indentedText) }
}
