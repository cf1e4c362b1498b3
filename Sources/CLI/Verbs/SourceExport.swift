internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

/// `tarn source export NAME`: what is known of a source's bytes, for other tools.
struct SourceExport: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write a source's digests in a form that other tools read.",
    discussion: """
        sha256sum  lines for `sha256sum -c`, and for `tarn source add --sha256`;
                   with --paths they name the files that are in the lake, so
                   that `sha256sum -c` reads those
        sizes      lines for `tarn source add --sizes`
        metalink   Metalink 4 (RFC 5854) with sizes, digests and mirrors, for
                   aria2 and wget2
        croissant  Croissant 1.0 metadata: a file with address, size and digest
                   for each shard

      Of a shard that was fetched, its newest revision counts; of another, what the manifest and the mirrors say.

      EXAMPLES
        tarn source export images --format sha256sum > SHA256SUMS
        tarn source export images --paths | sha256sum -c
        tarn source export images --format metalink > images.meta4

      \(ExitStatus.help)
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable { case sha256sum, sizes, metalink, croissant }

  @Argument(help: "The source.", completion: .sources)
  var name: String

  @Option(help: ArgumentHelp("sha256sum, sizes, metalink or croissant.", valueName: "format"))
  var format: Format = .sha256sum

  @Flag(help: "Name the files of the shards that are in the lake, absolute; with --format sha256sum.")
  var paths = false

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions

  func validate() throws {
    guard !paths || format == .sha256sum else { throw ValidationError("--paths goes with --format sha256sum.") }
  }

  func run() throws {
    let catalog = try global.read()
    let source = try catalog.source(named: name)
    let shards = try catalog.shards(of: source)
    switch format {
    case .sha256sum where paths:
      let here = shards.compactMap { shard in
        shard.revision.flatMap { revision in shard.path.map { "\(revision.digest)  \(catalog.layout.shards)/\($0)" } }
      }
      guard !here.isEmpty else {
        throw TarnError(.inputsMissing, "no shard of \(name) is in the lake", hint: "run `tarn sync \(name)`")
      }
      here.forEach(Output.line)
    case .sha256sum:
      let known = shards.compactMap { shard in shard.knownDigest.map { "\($0)  \(shard.name)" } }
      try require(!known.isEmpty, "digest")
      known.forEach(Output.line)
    case .sizes:
      let known = shards.compactMap { shard in
        shard.likelyByteCount.map { "\(shard.name), \($0)" + (shard.knownRowCount.map { ", \($0)" } ?? "") }
      }
      try require(!known.isEmpty, "size")
      known.forEach(Output.line)
    case .metalink: try printMetalink(source, shards, catalog)
    case .croissant:
      let document = try catalog.croissant(of: source)
      Output.json(text: global.json ? document.text : document.indentedText)
    }
    Output.flush()
  }

  private func require(_ isKnown: Bool, _ what: String) throws {
    guard !isKnown else { return }
    throw TarnError(
      .inputsMissing, "no \(what) of a shard of \(name) is known", hint: "fetch it, or register it with a manifest")
  }

  /// A shard without a web address is left out: a metalink is for downloading.
  ///
  /// - SeeAlso: https://www.rfc-editor.org/rfc/rfc5854
  private func printMetalink(_ source: Source, _ shards: [Shard], _ catalog: LakeCatalog) throws {
    let served = try shards.compactMap { shard in
      let urls = try catalog.locations(of: shard.id).filter { $0.url.hasPrefix("http") && $0.state != .absent }
      return urls.isEmpty ? nil : (shard, urls)
    }
    guard !served.isEmpty else {
      throw TarnError(
        .inputsMissing, "no shard of \(name) has a web address, and a metalink has no others",
        hint: "`tarn source export \(name) --format sha256sum` and --format sizes say what is known of them")
    }
    if served.count < shards.count {
      Output.warn(
        "\((shards.count - served.count).counted("shard")) of \(source.name) left out, without a web address"
      )
    }
    Output.line("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
    Output.line("<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">")
    Output.line("  <generator>tarn/\(Tool.version)</generator>")
    let kept = try catalog.fileSource(of: source).keptQuery
    for (shard, urls) in served {
      Output.line("  <file name=\"\(shard.name.escapedForXML)\">")
      if let size = shard.likelyByteCount { Output.line("    <size>\(size)</size>") }
      if let digest = shard.knownDigest { Output.line("    <hash type=\"sha-256\">\(digest)</hash>") }
      for (index, location) in urls.enumerated() {
        let url = AddressText(location.url).redacted(keeping: kept).escapedForXML
        Output.line("    <url priority=\"\(index + 1)\">\(url)</url>")
      }
      Output.line("  </file>")
    }
    Output.line("</metalink>")
  }
}

extension Shard {
  /// The digest of its newest bytes, or else the manifest's.
  fileprivate var knownDigest: ContentDigest? { revision?.digest ?? expectedDigest }
}
