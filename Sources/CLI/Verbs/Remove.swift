internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn remove`: forget a trained index that nothing uses.
struct Remove: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove", abstract: "Remove a trained index that no version was planned on; its name is free again.",
    discussion: """
      Its file, and the segments that were made with it, are garbage that `tarn gc` takes; the history keeps its digests.
      The same inputs and options give the same bytes again. One that a version was planned on stays; see `tarn rename`.

      EXAMPLES
        tarn remove clip

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("A trained index, finished or not.", valueName: "TRAINED"), completion: .trainedIndexes)
  var name: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    guard !name.contains("@") else {
      throw TarnError(
        .usage, "'\(name.printable)' is no trained index, and the record of a version stays",
        hint: "`tarn abandon` gives up one that is not finished, `tarn revoke` withdraws a sealed one")
    }
    let catalog = try writer.open(global, "remove", name, on: [.training: [name]])
    let isNew = try catalog.removeTrainedIndex(named: name)
    if global.json {
      Output.json(["trained_index": .string(name), "removed": .bool(true), "new": .bool(isNew)])
    } else {
      Output.line("\(name) \(isNew ? "is removed" : "was removed before")")
      try catalog.tellOfTasks(of: name)
    }
    Output.flush()
  }
}
