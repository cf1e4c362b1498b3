internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn import`: adopt files that are on disk already.
struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Adopt shard files that are on disk already, verified and copied.",
    discussion: """
      A file belongs to the shard of its name. Files may be \(FeatureFormat.enumeration); of what torch.save wrote they
      hold one tensor, and nothing in them is executed.

      EXAMPLES
        tarn import images /data/img_emb_0000.npy /data/img_emb_0001.npy

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.")
  var source: String

  @Argument(help: "The files.")
  var files: [String]

  @OptionGroup var room: RoomOptions
  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, verb: "import", keeping: room)
    let progress = global.progress("import")
    let count = try ImportRun(catalog, cancellation: global.cancellation).run(files, into: source) { done, total in
      progress.update(done: Double(done), total: Double(total)) { "\(done)/\(total) shards" }
    }
    progress.clear()
    if global.json {
      Output.json(["imported": .count(count)])
    } else {
      Output.line("\(count) shards imported")
    }
    Output.flush()
  }
}
