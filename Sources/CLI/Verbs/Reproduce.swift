internal import ArgumentParser
internal import Base
internal import Catalog
internal import Foundation
internal import Indexer

/// `tarn reproduce`: rebuild a version and compare.
struct Reproduce: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Rebuild a version from its pinned inputs and compare every byte.",
    discussion: """
      Says 'identical', or that the lists hold the same rows in another file layout, or the first output, list and row
      that differ. The lake is not changed but for a row that records the outcome.

      With --from, the document of `tarn export` says what to make: its sources are registered in this lake, fetched,
      trained on and built, and the result is compared with the document. Use a new lake for it.

      EXAMPLES
        tarn reproduce laion@1
        tarn reproduce laion@1 --into /disk/rebuilt
        tarn init check && tarn reproduce --from laion-1.json --lake check

      \(ExitStatus.help)
      """)

  @Argument(help: ArgumentHelp("The version.", valueName: "NAME@N"))
  var version: String?

  @Option(help: ArgumentHelp("Make the version of this document of `tarn export`.", valueName: "file"))
  var from: String?

  @Option(help: ArgumentHelp("Keep the rebuilt files in this directory, empty or new.", valueName: "dir"))
  var into: String?

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func validate() throws {
    guard (version == nil) != (from == nil) else { throw ValidationError("Name a version, or a document with --from.") }
    guard from == nil || into == nil else { throw ValidationError("--into goes with NAME@N.") }
  }

  func run() async throws {
    if let from { return try await replay(from) }
    let name = try VersionName(parsing: version ?? "")
    let catalog = try writer.open(global, verb: "reproduce \(name)")
    let directory = try into.map { try Self.fresh($0, beside: catalog.layout) }
    let progress = global.progress("reproduce \(name)")
    let run = try ReproductionRun(
      catalog, name, environment: Tool.environment, logger: global.logger("tarn.reproduce"), report: progress.show)
    let report = try run.run(into: directory)
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

  /// The directory of the rebuilt files: it must hold nothing and be no part of
  /// the lake, whose files have the same names.
  private static func fresh(_ path: String, beside layout: LakeLayout) throws -> String {
    let directory = LakeLayout.absolute(path)
    func refuse(_ reason: String) -> TarnError {
      TarnError(.usage, "\(directory) \(reason)", hint: "--into names an empty directory, or a new one")
    }
    func followed(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }
    let isInside = [layout.root, layout.shards, layout.artifacts].contains {
      (followed(directory) + "/").hasPrefix(followed($0) + "/")
    }
    if isInside { throw refuse("is in the lake, which is not written to") }
    guard FileManager.default.fileExists(atPath: directory) else { return directory }
    guard let files = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
      throw refuse("is not a directory that can be read")
    }
    guard files.isEmpty else { throw refuse("holds other files") }
    return directory
  }

  private func replay(_ path: String) async throws {
    let document = try VersionExport(reading: path)
    let catalog = try writer.open(global, verb: "reproduce --from")
    let result = try await ExportReplay(document: document, catalog: catalog, global: global).run()
    if global.json {
      Output.json([
        "version": .string("\(result.version.name)"), "from": .string(document.version),
        "outcome": .string(result.outcome.rawValue), "outputs": .count(result.outputCount),
        "bytes": .count(result.byteCount), "output": result.output.map { .count($0) } ?? .null,
      ])
    }
    Output.flush()
    let place = result.output.map { "output \($0)" } ?? "the number of outputs"
    switch result.outcome {
    case .identical:
      guard !global.json else { return }
      Output.line(
        "\(document.version) is identical, made here as \(result.version.name): \(result.outputCount) files, "
          + "\(ByteSize.text(result.byteCount)), byte for byte")
      Output.flush()
    case .sameLists: throw Outcome(.differs, "\(document.version) differs in file layout, first in \(place)")
    case .differs, .inputsMissing: throw Outcome(.differs, "\(document.version) differs: first in \(place)")
    }
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
      throw TarnError(
        .inputsMissing,
        "\(report.missing.count) inputs of \(name) are not in the lake: \(report.missing.prefix(3).joined(separator: ", "))",
        hint: "sync or import the bytes with these digests")
    }
  }
}
