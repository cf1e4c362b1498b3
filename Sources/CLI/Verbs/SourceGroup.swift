internal import ArgumentParser
internal import Foundation
internal import Lake

/// `tarn source`: register, describe and change sources.
struct SourceGroup: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "source", abstract: "Register, describe and change feature sources.",
    subcommands: [
      SourceAdd.self, SourceList.self, SourceShow.self, SourceProbe.self, SourceExport.self, SourceMirror.self,
      SourceExtend.self, SourceRefresh.self, SourceSet.self, SourceRename.self, SourceDropShards.self,
      SourceRemove.self,
    ])
}

/// `tarn source list`.
struct SourceList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the sources.",
    discussion: """
      EXAMPLES
        tarn source list
        tarn source list --json

      \(ExitStatus.help)
      """)

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func run() throws {
    try Query.print(
      """
      SELECT source, modality, dimension, dtype, array_name AS "array", files_of, companion_of, shards, present, failed, dropped, rows,
        present_bytes, known_bytes
      FROM v_source ORDER BY source
      """, global)
  }
}

/// `tarn source show NAME`.
struct SourceShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Describe a source: its mirrors and the state of its shards.",
    discussion: """
      EXAMPLES
        tarn source show images
        tarn source show images --json

      \(ExitStatus.help)
      """)

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func run() throws {
    let catalog = try global.read()
    let source = try catalog.source(named: name)
    let files = try catalog.fileSource(of: source)
    if !global.json {
      let kind =
        try source.companionOf.map { "beside \(try catalog.source(id: $0).name)" }
        ?? "\(source.modality.rawValue), \(source.dimension) x \(source.elementType)"
        + (source.array.map { ", array \($0.printable)" } ?? "")
        + (source.filesOf == nil ? "" : " of the files of \(files.name)")
      Output.line("\(source.name): \(kind)")
      for companion in try catalog.companions(of: source) { Output.line("companion: \(companion.name)") }
      for (place, mirror) in try catalog.mirrors(of: source).enumerated() {
        Output.line("mirror \(place): \(AddressText(mirror.template).redacted(keeping: files.keptQuery))")
      }
      if let listing = try catalog.listing(of: source) {
        Output.line(
          "listing: \(listing.place.withoutSecrets)" + (listing.pattern.map { " matching \($0)" } ?? "")
            + (listing.commit.map { ", commit \($0)" } ?? "")
            + ", \(listing.nameCount.counted("name")), SHA-256 \(listing.digest)")
      }
      Output.line("")
    }
    try Query.print(
      """
      SELECT ordinal, shard, state, revision, sha256, bytes, rows, trust, last_error, url
      FROM v_shard WHERE source = '\(source.name)' ORDER BY ordinal
      """, global, keeping: files.keptQuery)
  }
}
