internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn init`: make a lake.
struct Init: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a new lake.",
    discussion: """
      EXAMPLES
        tarn init laion
        tarn init laion --shards /nvme/shards --artifacts /disk/results

      \(ExitStatus.help)
      """)

  @Argument(help: "The lake's directory; created when missing.")
  var directory: String = "."

  @Option(help: ArgumentHelp("Directory of fetched shards, when not inside the lake.", valueName: "dir"))
  var shards: String?

  @Option(help: ArgumentHelp("Directory of results, when not inside the lake.", valueName: "dir"))
  var artifacts: String?

  @OptionGroup var global: GlobalOptions

  func run() throws {
    let catalog = try LakeCatalog.create(
      root: directory, shards: shards.map(LakeLayout.absolute) ?? "shards",
      artifacts: artifacts.map(LakeLayout.absolute) ?? "artifacts")
    if global.json {
      Output.json([
        "lake": .string(catalog.layout.root), "shards": .string(catalog.layout.shards),
        "artifacts": .string(catalog.layout.artifacts),
      ])
    } else {
      Output.line("made a lake in \(catalog.layout.root)")
    }
    Output.flush()
  }
}
