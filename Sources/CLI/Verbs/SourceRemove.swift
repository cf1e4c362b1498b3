internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn source remove NAME`.
struct SourceRemove: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove", abstract: "Remove a source of which nothing was ever fetched.",
    discussion: """
      What was fetched once is kept for good, and its source with it: `tarn evict` gives the room back, and
      `tarn source rename` its name. The history keeps what the source was.

      EXAMPLES
        tarn source remove imgaes

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let byteCount = try SourceChanges(writer.open(global, "source remove", name, on: [.source: [name]]), of: name)
      .remove()
    if global.json {
      Output.json(["source": .string(name), "part_bytes": .count(byteCount)])
    } else {
      let parts = byteCount == 0 ? "" : ", with \(ByteSize.text(byteCount)) of interrupted transfers"
      Output.line("\(name) is removed\(parts)")
    }
    Output.flush()
  }
}
