internal import ArgumentParser
internal import Base
internal import Catalog
internal import Features
internal import Foundation

extension ElementType: ExpressibleByArgument {}
extension Modality: ExpressibleByArgument {}

/// `tarn source add`: register a source.
struct SourceAdd: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Register a source: where its shards are and what is known of them.",
    discussion: """
      TEMPLATE is a URL with the shard's number left open: {ordinal} or, padded with zeros, {ordinal:04}. Shards are .npy,
      .safetensors, .fbin, .fvecs or .pt files (torch.save, one tensor) of one matrix each, told apart by their names.

      EXAMPLES
        tarn source add images --url 'https://host/img_emb/img_emb_{ordinal:04}.npy' --count 2314 \\
          --dimension 768 --sizes sizes.txt --sha256 sha256sums.txt
        tarn source add captions --directory /data/text_emb --dimension 768 --modality text
        tarn source add images --url-list urls.txt --dimension 512 --dtype float32
        tarn source add images --url 's3://bucket/img_emb/{ordinal:04}.npy' --count 100 --dimension 768

      s3:// addresses are signed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN), or the profile
      AWS_PROFILE of ~/.aws; AWS_ENDPOINT_URL names a store that is not AWS's, AWS_REGION its region. HF_TOKEN goes to
      huggingface.co. Secrets stay in the environment: the catalog holds none. Certificates are
      checked against the system's store, or against the file SSL_CERT_FILE.

      \(ExitStatus.help)
      """)

  @Argument(help: "The source's name.")
  var name: String

  @Option(help: ArgumentHelp("Where the shards are.", valueName: "template"))
  var url: String?

  @Option(help: ArgumentHelp("How many shards there are, with --url.", valueName: "n"))
  var count: Int?

  @Option(name: .customLong("url-list"), help: ArgumentHelp("A file with one URL a line, in order.", valueName: "file"))
  var urlList: String?

  @Option(
    help: ArgumentHelp("A directory of .npy files, or of others of one kind, in natural order.", valueName: "dir"))
  var directory: String?

  @Option(help: ArgumentHelp("Elements per row.", valueName: "d"))
  var dimension: Int

  @Option(help: ArgumentHelp("Element type: float16 or float32.", valueName: "type"))
  var dtype: ElementType = .float16

  @Option(help: ArgumentHelp("What the rows are features of: image, text or other.", valueName: "kind"))
  var modality: Modality = .image

  @Option(help: ArgumentHelp("A further place that serves the same shards; repeatable.", valueName: "template"))
  var mirror: [String] = []

  @Option(
    help: ArgumentHelp(
      "As --mirror, for files that somebody made again: the same size, other bytes. Asked last.",
      valueName: "template"))
  var reconstructed: [String] = []

  @Option(help: ArgumentHelp("Expected sizes: lines 'NAME, BYTES'.", valueName: "file"))
  var sizes: String?

  @Option(help: ArgumentHelp("Expected digests, as sha256sum writes them.", valueName: "file"))
  var sha256: String?

  @Option(
    name: .customLong("hf-tree"),
    help: ArgumentHelp(
      "Expected sizes and digests: the JSON of huggingface.co/api/datasets/REPO/tree/REVISION/DIR.", valueName: "file"))
  var hfTree: String?

  @Flag(help: "Keep addresses whose query signs or authorises; the catalog and exports hold them as they are.")
  var allowSecrets = false

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func validate() throws {
    guard [url, urlList, directory].compactMap(\.self).count == 1 else {
      throw ValidationError("Name one of --url, --url-list and --directory.")
    }
    guard (1...65_536).contains(dimension) else { throw ValidationError("--dimension is 1 to 65536.") }
    if url != nil, !(1...10_000_000).contains(count ?? 0) {
      throw ValidationError("--url needs --count, 1 to 10000000.")
    }
    if url == nil, count != nil { throw ValidationError("--count goes with --url.") }
  }

  func run() throws {
    let catalog = try writer.open(global, verb: "source add")
    let (places, urls) = try locations()
    let names = try urls.map { try URLTemplate.fileName(of: $0[0]) }
    var sizes = try sizes.map { try Manifest.sizes(path: $0, names: Set(names)) } ?? [:]
    var digests = try sha256.map { try Manifest.digests(path: $0, names: Set(names)) } ?? [:]
    if let hfTree {
      let tree = try HuggingFaceTree(path: hfTree, names: Set(names))
      // A manifest that was named says more than a listing.
      sizes.merge(tree.sizes) { own, _ in own }
      digests.merge(tree.digests) { own, _ in own }
    }
    var definition = SourceDefinition(
      name: name, modality: modality, dimension: dimension, elementType: dtype, mirrors: places,
      shards: zip(names, urls).map { name, urls in
        .init(name: name, urls: urls, expectedByteCount: sizes[name], expectedDigest: digests[name])
      })
    definition.reconstructed = Set((places.count - reconstructed.count)..<places.count)
    let source = try catalog.addSource(definition)
    if global.json {
      Output.json([
        "source": .string(source.name), "shards": .count(names.count), "mirrors": .count(places.count),
        "sizes": .count(sizes.count), "digests": .count(digests.count),
      ])
    } else {
      let known = [sizes.isEmpty ? nil : "\(sizes.count) sizes", digests.isEmpty ? nil : "\(digests.count) digests"]
      let extra = known.compactMap(\.self).joined(separator: ", ")
      Output.line(
        "registered \(source.name): \(names.count) shards on \(places.count) mirror\(places.count == 1 ? "" : "s")"
          + (extra.isEmpty ? "" : ", \(extra) known"))
    }
    Output.flush()
  }

  /// The mirrors, and for each shard one URL on each.
  private func locations() throws -> (places: [String], urls: [[String]]) {
    let mirrors = try (mirror + reconstructed).map(template)
    if let url {
      let templates = [try template(url)] + mirrors
      let count = count ?? 1
      for template in templates where count > 1 && !template.hasOrdinal {
        throw TarnError(
          .usage, "the template '\(template.text)' names one shard and --count is \(count)",
          hint: "put {ordinal} or {ordinal:04} where the number goes")
      }
      return (templates.map(\.text), (0..<count).map { ordinal in templates.map { $0.url(ordinal: ordinal) } })
    }
    let first: (place: String, urls: [String])
    if let urlList {
      let lines = try Manifest.lines(path: urlList)
      for line in lines { try URLTemplate.validate(line, allowsSecretItems: allowSecrets) }
      first = ("list \((urlList as NSString).lastPathComponent)", lines)
    } else {
      first = try directoryURLs()
    }
    guard !first.urls.isEmpty else { throw TarnError(.usage, "\(urlList ?? directory ?? "") names no shards") }
    return (
      [first.place] + mirrors.map(\.text),
      first.urls.enumerated().map { ordinal, url in [url] + mirrors.map { $0.url(ordinal: ordinal) } }
    )
  }

  private func template(_ text: String) throws -> URLTemplate {
    try URLTemplate(parsing: text, allowsSecretItems: allowSecrets)
  }

  private func directoryURLs() throws -> (String, [String]) {
    let path = LakeLayout.absolute(directory ?? ".")
    guard let entries = try? FileManager.default.contentsOfDirectory(atPath: path) else {
      throw TarnError(.usage, "\(path) is not a directory that can be read")
    }
    // 2 before 10: file order decides the row ids.
    let found = Set(entries.compactMap(FeatureFormat.init(extensionOf:)))
    guard found.contains(.npy) || found.count <= 1 else {
      throw TarnError(
        .usage, "\(path) has feature files of several formats and none is .npy", hint: "put one kind into a directory")
    }
    let format = found.contains(.npy) ? .npy : found.first
    let names = entries.filter { FeatureFormat(extensionOf: $0) == format && format != nil }.sorted {
      $0.compare($1, options: .numeric) == .orderedAscending
    }
    let urls = try names.map { name in
      guard let encoded = "\(path)/\(name)".addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) else {
        throw TarnError(.usage, "the file name '\(name.printable)' cannot be written as a URL")
      }
      return "file://\(encoded)"
    }
    return ("file://\(path)", urls)
  }
}
