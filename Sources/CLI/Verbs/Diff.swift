internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn diff`: what sets two versions apart.
struct Diff: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what sets two versions apart: parameters, inputs, outputs.",
    discussion: """
      EXAMPLES
        tarn diff laion@1 laion@2

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("A version.", valueName: "NAME[@N]"))
  var first: String

  @Argument(help: ArgumentHelp("Another.", valueName: "NAME[@N]"))
  var second: String

  @OptionGroup var global: GlobalOptions

  func run() throws {
    let catalog = try global.read()
    let (first, second) = (try catalog.versionName(first), try catalog.versionName(second))
    let found = try catalog.difference(first, second)
    global.json ? printJSON(found, first, second) : printText(found, first, second)
    Output.flush()
  }

  private func printJSON(_ found: VersionDifference, _ first: VersionName, _ second: VersionName) {
    func list(_ names: [String]) -> JSONValue { .array(names.map { .string($0) }) }
    Output.json([
      "first": .string("\(first)"), "second": .string("\(second)"), "same": .bool(found.isEmpty),
      "parameters": .array(
        found.parameters.map {
          .object(["name": .string($0.name), "first": .string($0.first), "second": .string($0.second)])
        }),
      "added": list(found.added), "removed": list(found.removed), "changed": list(found.changed),
      "moved": list(found.moved),
      "outputs_shared": .count(found.sharedOutputs), "outputs_only_in_first": .count(found.outputsOnlyInFirst),
      "outputs_only_in_second": .count(found.outputsOnlyInSecond),
    ])
  }

  private func printText(_ found: VersionDifference, _ first: VersionName, _ second: VersionName) {
    if found.isEmpty { Output.line("\(first) and \(second) are made from the same inputs and parameters") }
    for parameter in found.parameters { Output.line("\(parameter.name): \(parameter.first) -> \(parameter.second)") }
    for (sign, names) in [("-", found.removed), ("+", found.added), ("~", found.changed)] {
      for name in names { Output.line("\(sign) \(name)") }
    }
    if let first = found.moved.first {
      Output.line("same bytes under other row ids: \(found.moved.count.counted("shard")), \(first) first")
    }
    Output.line(
      "outputs: \(found.sharedOutputs) shared, \(found.outputsOnlyInFirst) only in \(first), "
        + "\(found.outputsOnlyInSecond) only in \(second)")
  }
}
