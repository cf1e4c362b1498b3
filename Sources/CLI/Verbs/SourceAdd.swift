internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

extension ElementType: ExpressibleByArgument {}
extension Modality: ExpressibleByArgument {}

/// `tarn source add`: register a source.
struct SourceAdd: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Register a source: where its shards are and what is known of them.",
    discussion: """
      TEMPLATE is a URL with the shard's number left open: {ordinal} or, padded with zeros, {ordinal:04}. Shards are
      \(FeatureFormat.enumeration) files of one matrix each, told apart by their names. Of what torch.save wrote they
      hold one tensor, and nothing in them is executed.

      The dimension and the dtype need not be said where the first shard can be read: a file of this machine is looked
      into at once, a mirror is asked for its first bytes when --dimension is left out (not for .pt files, whose end
      tells). What was said and is not so is refused. Adding a source again as it is does nothing.

      EXAMPLES
        tarn source add images --url 'https://host/img_emb/img_emb_{ordinal:04}.npy' --count 2314 \\
          --dimension 768 --sizes sizes.txt --sha256 sha256sums.txt
        tarn source add captions --directory /data/text_emb --dimension 768 --modality text
        tarn source add images --url-list urls.txt --dimension 512 --dtype float32
        tarn source add images --url 's3://bucket/img_emb/{ordinal:04}.npy' --count 100 --dimension 768

      s3:// addresses are signed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN), or the profile
      AWS_PROFILE of ~/.aws; AWS_ENDPOINT_URL names a store that is not AWS's, AWS_REGION its region. HF_TOKEN goes to
      huggingface.co. Secrets stay in the environment: the catalog holds none. What an address needs of them is written
      {env:NAME}, as in 'https://host/{ordinal:04}.npy?sig={env:SIG}', and put in when it is asked; a query item that is
      not known to be harmless is refused, unless --keep-query names it. Certificates are
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

  @Option(help: ArgumentHelp("Elements per row (default: as the first shard says).", valueName: "d"))
  var dimension: Int?

  @Option(
    help: ArgumentHelp(
      "Element type: \(ElementType.enumeration) (default: as the first shard says, float16 where it is not asked).",
      valueName: "type"))
  var dtype: ElementType?

  @Option(help: ArgumentHelp("What the rows are features of: image, text or other.", valueName: "kind"))
  var modality: Modality = .image

  @Option(help: ArgumentHelp("A further place that serves the same shards; repeatable.", valueName: "template"))
  var mirror: [String] = []

  @Option(
    help: ArgumentHelp(
      "As --mirror, for files that somebody made again: the same size, other bytes. Asked last.",
      valueName: "template"))
  var reconstructed: [String] = []

  @Option(help: ArgumentHelp("Expected sizes: lines 'NAME, BYTES' or 'NAME, BYTES, ROWS'.", valueName: "file"))
  var sizes: String?

  @Option(help: ArgumentHelp("Expected digests, as sha256sum writes them.", valueName: "file"))
  var sha256: String?

  @Option(
    name: .customLong("hf-tree"),
    help: ArgumentHelp(
      "Expected sizes and digests: the JSON of huggingface.co/api/datasets/REPO/tree/REVISION/DIR.", valueName: "file"))
  var hfTree: String?

  @Option(
    help: ArgumentHelp(
      "What the shards are called, where addresses do not end in names: 'img_{ordinal:04}.npy'.", valueName: "template")
  )
  var shardNames: String?

  @Option(
    help: ArgumentHelp("A query item of the addresses that is no secret, to be kept; repeatable.", valueName: "name"))
  var keepQuery: [String] = []

  @Flag(help: "With --url-list: its addresses may lead to this machine, its files and its network.")
  var allowInside = false

  @Option(
    help: ArgumentHelp(
      "Where the first shard is asked: how long to wait for a host that fails for now, e.g. 10m; 0 for not at all.",
      valueName: "time"))
  var patience: TimeSpan = .ofSourceAdd

  @OptionGroup var global: GlobalOptions
  @OptionGroup var writer: WriterOptions

  func validate() throws {
    guard [url, urlList, directory].compactMap(\.self).count == 1 else {
      throw ValidationError("Name one of --url, --url-list and --directory.")
    }
    guard (1...65_536).contains(dimension ?? 1) else { throw ValidationError("--dimension is 1 to 65536.") }
    if url != nil, !(1...10_000_000).contains(count ?? 0) {
      throw ValidationError("--url needs --count, 1 to 10000000.")
    }
    guard urlList != nil || !allowInside else { throw ValidationError("--allow-inside goes with --url-list.") }
    if url == nil, count != nil { throw ValidationError("--count goes with --url.") }
  }

  func run() async throws {
    let catalog = try writer.open(global, "source add", name, on: [.source: [name]])
    let place: SourceRegistration.Place =
      if let url { .template(url, count: count ?? 1) } else if let urlList { .list(urlList) } else {
        .directory(directory ?? ".")
      }
    let registration = SourceRegistration(
      name: name, modality: modality, dimension: dimension, elementType: dtype, place: place, mirrors: mirror,
      reconstructed: reconstructed, sizes: sizes, digests: sha256, tree: hfTree, shardNames: shardNames,
      keptQuery: keepQuery,
      allowsInside: allowInside)
    var configuration = FetchConfiguration.ofTool
    configuration.attemptsPerMirror = 3
    let progress = global.progress("source add")
    var waits = WaitOptions()
    waits.patience = patience.duration
    waits.report = { progress.note($0.text) }
    let (whole, toldBy) = try await registration.completed(
      for: catalog, configuration: configuration, waits: waits, cancellation: global.cancellation)
    let added = try whole.run(catalog)
    if global.json {
      Output.json([
        "source": .string(name), "shards": .count(added.shardCount), "mirrors": .count(added.mirrorCount),
        "sizes": .count(added.sizeCount), "digests": .count(added.digestCount), "new": .bool(added.isNew),
        "dimension": whole.dimension.map { .count($0) } ?? .null, "dtype": .optional(whole.elementType?.rawValue),
      ])
    } else if !added.isNew {
      Output.line("\(name) is registered already, as it is here; nothing changed")
    } else {
      let isRead = toldBy != nil && (dimension == nil || dtype == nil)
      let kind = "\(whole.dimension ?? 0) x \(whole.elementType?.rawValue ?? "") as \(toldBy ?? "") says"
      let known = [
        added.sizeCount == 0 ? nil : "\(added.sizeCount) sizes",
        added.digestCount == 0 ? nil : "\(added.digestCount) digests",
      ]
      let extra = known.compactMap(\.self).joined(separator: ", ")
      Output.line(
        "registered \(name): \(added.shardCount.counted("shard")) on \(added.mirrorCount) mirror\(added.mirrorCount == 1 ? "" : "s")"
          + (extra.isEmpty ? "" : ", \(extra) known") + (isRead ? ", \(kind)" : ""))
    }
    Output.flush()
  }
}
