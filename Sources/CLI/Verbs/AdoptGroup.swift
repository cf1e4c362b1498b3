internal import ArgumentParser
internal import Base

/// `tarn adopt`: what FAISS made elsewhere, taken in.
struct AdoptGroup: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "adopt", abstract: "Take in trained indexes and files with rows that FAISS made elsewhere.",
    subcommands: [AdoptTrained.self, AdoptVersion.self])
}

/// The options of both.
struct AdoptOptions: ParsableArguments {
  @Option(help: ArgumentHelp("How long FAISS may take to open one file, e.g. 10m.", valueName: "time"))
  var patience: TimeSpan = .ofSync
}
