internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn source rename OLD NEW`.
struct SourceRename: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rename", abstract: "Give a source another name, as long as no version rests on it.",
    discussion: """
      A version names its source for good, from its planning on; one that was abandoned does not count.

      EXAMPLES
        tarn source rename imgaes images

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @Argument(help: "Its new name.")
  var newName: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let byteCount = try SourceChanges(
      writer.open(global, "source rename", name, on: [.source: [name, newName]]), of: name
    ).rename(to: newName)
    if global.json {
      Output.json(["source": .string(newName), "from": .string(name), "part_bytes": .count(byteCount)])
    } else {
      let parts = byteCount == 0 ? "" : "; \(ByteSize.text(byteCount)) of interrupted transfers went"
      Output.line("\(name) is called \(newName)\(parts)")
    }
    Output.flush()
  }
}
