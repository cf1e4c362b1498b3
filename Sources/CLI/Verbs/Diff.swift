internal import ArgumentParser
internal import Base
internal import Lake

/// `tarn diff`: what sets two versions apart.
struct Diff: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "Show what sets two versions apart: parameters, inputs, excluded rows, outputs.",
    discussion: """
      EXAMPLES
        tarn diff laion@1 laion@2

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("A version.", valueName: "NAME[@N]"), completion: .versions)
  var first: String

  @Argument(help: ArgumentHelp("Another.", valueName: "NAME[@N]"), completion: .versions)
  var second: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func run() throws {
    let catalog = try global.read()
    let (first, second) = (try global.version(first, catalog), try global.version(second, catalog))
    let found = try catalog.difference(first, second)
    global.json ? printJSON(found, first, second) : printText(found, first, second)
    Output.flush()
  }

  private func printJSON(_ found: VersionDifference, _ first: VersionName, _ second: VersionName) {
    func rows(_ found: [VersionDifference.Rows]) -> JSONValue {
      .array(found.map { .object(["shard": .string($0.shard), "rows": .counts($0.rows)]) })
    }
    Output.json([
      "first": .string("\(first)"), "second": .string("\(second)"), "same": .bool(found.isEmpty),
      "parameters": .array(
        found.parameters.map {
          .object(["name": .string($0.name), "first": .string($0.first), "second": .string($0.second)])
        }),
      "added": .strings(found.added), "removed": .strings(found.removed), "changed": .strings(found.changed),
      "moved": .strings(found.moved),
      "outputs_shared": .count(found.sharedOutputs), "outputs_only_in_first": .count(found.outputsOnlyInFirst),
      "outputs_only_in_second": .count(found.outputsOnlyInSecond),
      "excluded_only_in_first": rows(found.excludedOnlyInFirst),
      "excluded_only_in_second": rows(found.excludedOnlyInSecond),
    ])
  }

  private func printText(_ found: VersionDifference, _ first: VersionName, _ second: VersionName) {
    if found.isEmpty { Output.line("\(first) and \(second) are made from the same inputs and parameters") }
    func shown(_ value: String) -> String { value.isEmpty ? "none" : value }
    for parameter in found.parameters {
      Output.line("\(parameter.name): \(shown(parameter.first)) -> \(shown(parameter.second))")
    }
    for (sign, names) in [("-", found.removed), ("+", found.added), ("~", found.changed)] {
      for name in names { Output.line("\(sign) \(name)") }
    }
    for (version, shards) in [(first, found.excludedOnlyInFirst), (second, found.excludedOnlyInSecond)] {
      for of in shards {
        let shown = of.rows.lazy.map { String($0) }.listed(20)
        Output.line("\(version) alone leaves out \(of.rows.count.counted("row")) of \(of.shard): \(shown)")
      }
    }
    if let first = found.moved.first {
      Output.line("same bytes under other row ids: \(found.moved.count.counted("shard")), \(first) first")
    }
    Output.line(
      "outputs: \(found.sharedOutputs) shared, \(found.outputsOnlyInFirst) only in \(first), "
        + "\(found.outputsOnlyInSecond) only in \(second)")
  }
}
