internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn rename`: call a trained index something else.
struct Rename: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rename", abstract: "Call a trained index something else.",
    discussion: """
      Its bytes stay as they are, and an unfinished training goes on with `tarn train` under the new name. One that a
      sealed version was built with keeps the name that the version's documents tell.

      EXAMPLES
        tarn rename clip clip-of-2022

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("A trained index, finished or not.", valueName: "TRAINED"), completion: .trainedIndexes)
  var name: String

  @Argument(help: ArgumentHelp("What it is called from now on.", valueName: "NEW"))
  var new: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let catalog = try writer.open(global, "rename", name, on: [.training: [name, new]])
    let isNew = try catalog.renameTrainedIndex(named: name, to: new)
    if global.json {
      Output.json(["trained_index": .string(new), "from": .string(name), "new": .bool(isNew)])
    } else {
      Output.line("\(name) \(isNew ? "is" : "was before") called \(new)")
    }
    Output.flush()
  }
}
