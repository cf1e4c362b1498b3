internal import ArgumentParser
internal import Catalog
internal import Indexer

/// `tarn reproduce`: rebuild a version and compare.
struct Reproduce: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Rebuild a version from its pinned inputs and compare every byte.",
    discussion: """
      Says 'identical', or that the lists hold the same rows in another file layout, or the first output, list and row
      that differ. The lake is not changed but for a row that records the outcome.

      EXAMPLES
        tarn reproduce laion@1
        tarn reproduce laion@1 --into /disk/rebuilt

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version.", valueName: "NAME@N"))
  var version: String

  @Option(help: ArgumentHelp("Keep the rebuilt files in this directory.", valueName: "dir"))
  var into: String?

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func run() throws {
    let name = try VersionName(parsing: version)
    let catalog = try writer.open(global, verb: "reproduce \(name)")
    let progress = global.progress("reproduce \(name)")
    let run = try ReproductionRun(
      catalog, name, environment: Tool.environment, logger: global.logger("tarn.reproduce"), report: progress.show)
    let report = try run.run(into: into.map(LakeLayout.absolute))
    progress.clear()
    if global.json {
      Output.json([
        "version": .string("\(name)"), "outcome": .string(report.outcome.rawValue),
        "outputs": .count(report.outputCount), "bytes": .count(report.byteCount),
        "missing": .array(report.missing.map { .string($0) }),
        "output": report.difference.map { .count($0.output) } ?? .null,
        "list": report.difference?.list.map { .count($0) } ?? .null,
        "row_id": report.difference?.rowID.map { .integer($0) } ?? .null,
      ])
    }
    try conclude(report, name)
    Output.flush()
  }

  private func conclude(_ report: ReproductionReport, _ name: VersionName) throws {
    switch report.outcome {
    case .identical:
      if !global.json {
        Output.line(
          "\(name) is identical: \(report.outputCount) files, \(ByteSize.text(report.byteCount)), byte for byte")
      }
    case .sameLists:
      let output = report.difference?.output ?? 0
      throw Outcome(
        .differs, "\(name) differs in file layout: output \(output) holds the same rows and codes in other bytes")
    case .differs:
      let place = [
        report.difference.map { "output \($0.output)" }, report.difference?.list.map { "list \($0)" },
        report.difference?.rowID.map { "row id \($0)" },
      ]
      throw Outcome(.differs, "\(name) differs: first in \(place.compactMap(\.self).joined(separator: ", "))")
    case .inputsMissing:
      throw CatalogError(
        .inputsMissing,
        "\(report.missing.count) inputs of \(name) are not in the lake: \(report.missing.prefix(3).joined(separator: ", "))",
        hint: "sync or import the bytes with these digests")
    }
  }
}
