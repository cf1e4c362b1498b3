internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn import`: take in files that are on disk already.
struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Take in shard files that are on disk already, verified and copied.",
    discussion: """
      A file belongs to the shard of its name; one of a name that no shard has, as after it was renamed, to the shard that
      is known to have its bytes: of several the only one that is not here, or the first.

      Files may be \(FeatureFormat.enumeration); of what torch.save wrote they hold one tensor, and nothing
      in them is executed.

      A file with other bytes than are known of its shard is refused, naming the versions and trained indexes that rest on
      those: --replace drops them for the file's, --keep-old keeps both, so that these can still be reproduced.

      EXAMPLES
        tarn import images /data/img_emb_0000.npy /data/img_emb_0001.npy
        tarn import images /data/new/img_emb_0000.npy --keep-old

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var source: String

  @Argument(help: "The files.", completion: .file())
  var files: [String]

  @OptionGroup var replacing: ReplacementOptions
  @OptionGroup var room: RoomOptions
  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, "import", source, on: [.source: [source]], keeping: room)
    let progress = global.progress("import")
    let run = ImportRun(catalog, replacing: replacing.replacement, cancellation: global.cancellation)
    let (count, revised) = try run.run(files, into: source) { done, total in
      progress.update(done: Double(done), total: Double(total)) { "\(done)/\(total) shards" }
    }
    progress.clear()
    if global.json {
      Output.json(["imported": .count(count), "revised": .array(revised.map(\.json))])
    } else {
      Output.line("\(count.counted("shard")) imported")
      for shard in revised { Output.line(shard.text) }
    }
    Output.flush()
  }
}
