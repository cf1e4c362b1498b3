internal import ArgumentParser
internal import Base
internal import Foundation
internal import Lake

extension ElementType: ExpressibleByArgument {}
extension Modality: ExpressibleByArgument {
  /// What users register; what was adopted has its own.
  init?(argument: String) {
    guard Self.allValueStrings.contains(argument) else { return nil }
    self.init(rawValue: argument)
  }

  static var allValueStrings: [String] { allCases.filter { $0 != .index }.map(\.rawValue) }
}

/// `tarn source add`: register a source.
struct SourceAdd: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Register a source: where its shards are and what is known of them.",
    discussion: """
      TEMPLATE is a URL with the shard's number left open: {ordinal} or, padded with zeros, {ordinal:04}. Shards are
      \(FeatureFormat.enumeration) files, told apart by their names. Of what torch.save wrote they
      hold one tensor, and nothing in them is executed.

      Where names follow no pattern, --listing reads them from a repository's tree or a store's prefix, with everything
      below it, in byte order: the order then fixes the shards' numbers, whatever the place gets later. A branch is
      resolved to its commit, and sizes and digests that the listing has are expected of the shards. `tarn source
      refresh` reads it again.

      Files with several arrays are read by --array: .npz, by the name that numpy.savez gave, .safetensors, by the
      tensor's, .parquet, by the column's. A second source reads another array of the same files with --files-of: they are
      fetched, stored and hashed once.

      The dimension and the dtype need not be said where the first shard can be read: a file of this machine is looked
      into at once, and the next one where it has no rows that would tell; a mirror is asked for the places of it that say
      so when --dimension is left out. What was said and a file here contradicts is refused; of a mirror's files it is seen
      when they come. Adding a source again as it is does nothing.

      Rows pair by place: row i of a caption's shard and row i of the image's shard with the same number. Files that arrive one by
      one may have another order than their partners. --order-of SOURCE takes them in the order of that source's, as their names tell (s2.npy
      beside s2.npy), and so does --companion-of with --directory and --listing; a list has the order that is meant, unless --order-of
      says otherwise. What would stand beside another's is refused, here, by train and by exclude.

      With --companion-of OWNER the source says what is known of OWNER's rows: its shards have the same numbers and as many
      rows, in \(SourceRegistration.companionFormats) files. It has no dimension and nothing is built of it; search and locate
      show its columns with --columns. --count is then the owner's where it is not said.

      EXAMPLES
        tarn source add images --url 'https://host/img_emb/img_emb_{ordinal:04}.npy' --count 2314 \\
          --dimension 768 --sizes sizes.txt --sha256 sha256sums.txt
        tarn source add captions --directory /data/text_emb --dimension 768 --modality text --order-of images
        tarn source add images --url-list urls.txt --dimension 512 --dtype float32
        tarn source add images --listing hf://datasets/ORG/NAME/img_emb --match '*.npy'
        tarn source add images --listing s3://bucket/img_emb/ --dimension 768
        tarn source add images --url-list npz.txt --array l14_img
        tarn source add texts --files-of images --array l14_txt --modality text
        tarn source add meta --companion-of images --url 'https://host/metadata/metadata_{ordinal:04}.parquet'
        tarn source add images --url 's3://bucket/img_emb/{ordinal:04}.npy' --count 100 --dimension 768

        tarn source add names --url 'command:python3 /opt/embed.py {input} {output}' --input '/data/{ordinal:04}.txt' \\
          --count 6 --shard-names 'names_{ordinal:04}.npy' --dimension 256

      command: names a command that writes the shard to {output}; it is split into words without a shell, and run by
      verbs that are told --allow-commands alone. --input declares a file that it reads, {input} in it.

      s3:// addresses are signed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN), or the profile
      AWS_PROFILE of ~/.aws; AWS_ENDPOINT_URL names a store that is not AWS's, AWS_REGION its region. HF_TOKEN goes to
      huggingface.co, or to the Hub that HF_ENDPOINT names. Other servers get the name and password that ~/.netrc has for
      their host ('machine HOST login NAME password PASSWORD'; the variable NETRC names another file), over https, or over http
      to this machine and private networks. The catalog holds no secret. What an address needs of the environment is written
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

  @Option(
    name: .customLong("url-list"),
    help: ArgumentHelp("A file with one URL a line, in order, or the address of one.", valueName: "file"),
    completion: .file())
  var urlList: String?

  @OptionGroup var listed: ListingOptions

  @Option(
    help: ArgumentHelp("A directory of feature files of one kind, in natural order.", valueName: "dir"),
    completion: .directory)
  var directory: String?

  @Option(help: ArgumentHelp("The array of the files that it reads, where they hold several.", valueName: "name"))
  var array: String?

  @Option(
    help: ArgumentHelp("Another source, whose files it reads, too; with --array.", valueName: "source"),
    completion: .sources)
  var filesOf: String?

  @Option(
    name: .customLong("companion-of"),
    help: ArgumentHelp("The source whose rows it says something of: urls, captions.", valueName: "source"),
    completion: .sources)
  var companionOf: String?

  @Option(help: ArgumentHelp("Elements per row (default: as the first shard says).", valueName: "d"))
  var dimension: Int?

  @Option(
    help: ArgumentHelp(
      "Element type: \(ElementType.enumeration) (default: as the first shard or the format says, else float16).",
      valueName: "type"))
  var dtype: ElementType?

  @Option(
    help: ArgumentHelp("What the rows are features of: image, text or other (default: image).", valueName: "kind"))
  var modality: Modality?

  @Option(help: ArgumentHelp("A further place that serves the same shards; repeatable.", valueName: "template"))
  var mirror: [String] = []

  @Option(
    help: ArgumentHelp(
      "As --mirror, for files that somebody made again: the same size, other bytes. Asked last.",
      valueName: "template"))
  var reconstructed: [String] = []

  @Option(
    help: ArgumentHelp(
      "A file that the command of --url or --mirror reads, {input} in it; hashed at each run; repeatable.",
      valueName: "template"))
  var input: [String] = []

  @OptionGroup var facts: ShardFactOptions

  @Option(
    name: .customLong("hf-tree"),
    help: ArgumentHelp(
      "Expected sizes and digests: the JSON of huggingface.co/api/datasets/REPO/tree/REVISION/DIR.", valueName: "file"),
    completion: .file())
  var hfTree: String?

  @Option(
    help: ArgumentHelp("A query item of the addresses that is no secret, to be kept; repeatable.", valueName: "name"))
  var keepQuery: [String] = []

  @Flag(help: "With --url-list: its addresses may lead to this machine, its files and its network.")
  var allowInside = false

  @Option(help: .patience(when: "Where the first shard is asked", for: "a host that fails for now, e.g. 10m"))
  var patience: TimeSpan = .ofSourceAdd

  @OptionGroup(title: GlobalOptions.title) var global: GlobalOptions
  @OptionGroup(title: GlobalOptions.title) var writer: WriterOptions

  func validate() throws {
    guard [url, urlList, listed.listing, directory, filesOf].compactMap(\.self).count == 1 else {
      throw ValidationError("Name one of --url, --url-list, --listing, --directory and --files-of.")
    }
    if companionOf != nil {
      guard filesOf == nil else {
        throw ValidationError("A companion has files of its own: --companion-of does not go with --files-of.")
      }
      guard dimension == nil, dtype == nil, modality == nil, array == nil else {
        throw ValidationError("A companion has no --dimension, no --dtype, no --array and no --modality.")
      }
    }
    if facts.orderOf != nil {
      guard url == nil, filesOf == nil, facts.shardNames == nil else {
        throw ValidationError("--order-of goes with --directory, --listing or --url-list, and not with --shard-names.")
      }
    }
    if filesOf != nil {
      guard array != nil else { throw ValidationError("--files-of goes with --array: which of their arrays is read.") }
      let ofFiles = [facts.sizes, facts.sha256, hfTree, facts.shardNames].compactMap(\.self)
      guard (ofFiles + mirror + reconstructed + keepQuery).isEmpty else {
        throw ValidationError("With --files-of, what is known of the files is said of the source that has them.")
      }
    }
    guard (1...65_536).contains(dimension ?? 1) else { throw ValidationError("--dimension is 1 to 65536.") }
    if url != nil, !(1...10_000_000).contains(count ?? (companionOf == nil ? 0 : 1)) {
      throw ValidationError("--url needs --count, 1 to 10000000.")
    }
    guard urlList != nil || !allowInside else { throw ValidationError("--allow-inside goes with --url-list.") }
    guard input.isEmpty || ([url].compactMap(\.self) + mirror).count(where: CommandAddress.isOne) == 1 else {
      throw ValidationError("--input goes with one --url or --mirror that is a command: command:PROGRAM … {output}.")
    }
    if url == nil, count != nil { throw ValidationError("--count goes with --url.") }
  }

  /// A place with the inputs that were said of it, if it is a command.
  private func withInputs(_ template: String) throws -> String {
    try CommandAddress.template(
      template, reading: CommandAddress.isOne(template) ? input : [], below: SystemPath.workingDirectory)
  }

  /// Where its files are, of which exactly one was said; a companion has as many as its owner.
  private func place(shardCount: Int?) throws -> SourceRegistration.Place {
    if let url { return .template(try withInputs(url), count: count ?? shardCount ?? 1) }
    if let urlList { return .list(urlList) }
    if let listing = listed.listing { return .listing(listing, matching: listed.match) }
    if let filesOf { return .files(of: filesOf) }
    return .directory(directory ?? ".")
  }

  func run() async throws {
    let catalog = try writer.open(global, "source add", name, on: [.source: [name]])
    let named = try companionOf.map { try catalog.features(named: $0, to: "have companions") }
    // Companions stand beside the source that has the files.
    let owner = try named.map { try catalog.fileSource(of: $0) }
    let beside = named?.filesOf == nil ? nil : named
    let place = try place(shardCount: owner.map { try catalog.shards(of: $0).count })
    var registration = SourceRegistration(
      name: name, modality: modality ?? .image, dimension: dimension, elementType: dtype, place: place,
      mirrors: try mirror.map(withInputs),
      reconstructed: reconstructed, sizes: facts.sizes, digests: facts.sha256, tree: hfTree,
      shardNames: facts.shardNames, keptQuery: keepQuery, allowsInside: allowInside, array: array)
    registration.owner = companionOf
    registration.orderOf = facts.orderOf
    var configuration = FetchConfiguration.ofTool
    configuration.attemptsPerMirror = 3
    let progress = global.progress("source add")
    var waits = WaitOptions()
    waits.patience = patience.duration
    waits.report = { progress.note($0.text) }
    let question = ListingOptions.question(configuration, waits: waits, global, progress)
    let (whole, toldBy) = try await registration.listed(by: question).completed(
      for: catalog, configuration: configuration, waits: waits, cancellation: global.cancellation)
    let added = try whole.run(catalog)
    if global.json {
      Output.json([
        "source": .string(name), "shards": .count(added.shardCount), "mirrors": .count(added.mirrorCount),
        "sizes": .count(added.sizeCount), "digests": .count(added.digestCount), "new": .bool(added.isNew),
        "dimension": .optionalCount(whole.dimension), "dtype": .optional(whole.elementType?.rawValue),
        "array": .optional(array), "files_of": .optional(filesOf),
        "companion_of": .optional(owner?.name),
      ])
    } else if !added.isNew {
      Output.line("\(name) is registered already, as it is here; nothing changed")
    } else {
      let isUnseen = array != nil && toldBy == nil
      let isRead = toldBy != nil && (dimension == nil || dtype == nil)
      let kind = "\(whole.dimension ?? 0) x \(whole.elementType?.rawValue ?? "") as \(toldBy ?? "") says"
      let known = [
        added.sizeCount == 0 ? nil : added.sizeCount.counted("size"),
        added.digestCount == 0 ? nil : added.digestCount.counted("digest"),
      ]
      let extra = known.compactMap(\.self).joined(separator: ", ")
      Output.line(
        "registered \(name): " + (array.map { "array \($0.printable) of " } ?? "")
          + "\(added.shardCount.counted("shard")) on \(added.mirrorCount) mirror\(added.mirrorCount == 1 ? "" : "s")"
          + (extra.isEmpty ? "" : ", \(extra) known") + (isRead ? ", \(kind)" : "")
          + (isUnseen ? ", not held against any file: `tarn sync \(name)` does with the first" : "")
          + (owner.map { ", beside \($0.name)" } ?? "")
          + (beside.map { ", whose files \($0.name) reads" } ?? ""))
    }
    if added.isNew, let owner {
      warn(of: added.shardCount, beside: owner, try catalog.fileNames(of: owner).count)
    }
    Output.flush()
  }

  /// Warns that a companion has not as many shards as its owner, while it can be taken back.
  private func warn(of count: Int, beside owner: Source, _ ownerCount: Int) {
    guard count != ownerCount else { return }
    let what =
      count > ownerCount
      ? "files beside none of its shards are used for no row" : "nothing is said of rows of the shards beside none"
    global.note(
      "tarn: warning: \(owner.name) has \(ownerCount.counted("shard")) and \(name) \(count): \(what); if that is not meant, "
        + "`tarn source remove \(name)` takes it back until something of it is fetched")
  }
}
