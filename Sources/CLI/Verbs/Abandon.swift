internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn abandon`: give up an unfinished training or build.
struct Abandon: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "abandon", abstract: "Give up a training or a build that is not finished.",
    discussion: """
      The name of a trained index is free again. The number of a version is not given again; its record stays, as
      abandoned. What was worked so far is garbage: `tarn gc` takes it once its grace is over, and until then the same
      `tarn train` goes on with it. Directories of tasks are not tarn's to remove: where rows lie in one, that is said. A version
      that was sealed is withdrawn with `tarn revoke`.

      EXAMPLES
        tarn abandon clip
        tarn abandon laion@2

      \(ExitStatus.help)
      """)

  @Argument(
    help: ArgumentHelp("A version or a trained index that is not finished.", valueName: "NAME@N|TRAINED"),
    completion: .versionsAndTrainedIndexes)
  var name: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func run() throws {
    let catalog =
      name.contains("@")
      ? try writer.open(global, "abandon", name, on: [.version: [String(name.prefix { $0 != "@" })]])
      : try writer.open(global, "abandon a training", name, on: [.training: [name]])
    let isNew =
      name.contains("@")
      ? try catalog.abandon(VersionName(parsing: name)) : try catalog.abandonTraining(named: name)
    if global.json {
      Output.json(["name": .string(name), "abandoned": .bool(true), "new": .bool(isNew)])
    } else {
      Output.line("\(name) \(isNew ? "is abandoned" : "was abandoned before")")
      try catalog.tellOfTasks(of: name)
    }
    Output.flush()
  }
}
