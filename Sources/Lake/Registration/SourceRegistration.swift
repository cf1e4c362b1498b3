// `source add`: what people know of a source, made into its shards, their
// addresses and what is expected of them.

package import Base
package import Catalog
internal import Companions
internal import Features
internal import Fetch
internal import Foundation

/// A source to register.
package struct SourceRegistration: Sendable {
  /// Where the shards' names come from.
  package enum Place: Sendable {
    /// A URL with the ordinal left open.
    case template(String, count: Int)
    /// A file with a URL a line, or the address of one.
    case list(String)
    /// A place that is listed, and what is chosen of it.
    case listing(String, matching: String?)
    /// A listing that came.
    case listed(NamedListing)
    /// The feature files of a directory.
    case directory(String)
    /// The files of another source.
    case files(of: String)
  }

  /// What was registered.
  package struct Summary: Sendable {
    package let shardCount: Int
    package let mirrorCount: Int
    package let sizeCount: Int
    package let digestCount: Int
    /// Whether it was not registered before.
    package let isNew: Bool
  }

  let name: String
  private let modality: Modality
  /// Elements of a row; nil until somebody says, as the next.
  package internal(set) var dimension: Int?
  package internal(set) var elementType: ElementType?
  private(set) var place: Place
  private let mirrors: [String]
  private let reconstructed: [String]
  private let sizes: String?
  private let digests: String?
  private let tree: String?
  private let shardNames: String?
  private let keptQuery: Set<String>
  let allowsInside: Bool
  /// The array of the files that it reads; nil where they have one.
  let array: String?
  /// The name of the source beside whose rows it stands; nil for one of features.
  package var owner: String?
  /// The name of the source in whose order its files are put, as far as their names tell; nil for the owner's, or none's.
  package var orderOf: String?

  /// Describes a source.
  ///
  /// - Parameters:
  ///   - name: What it is called.
  ///   - modality: What its rows are features of.
  ///   - dimension: Elements of a row; nil for what the first shard says.
  ///   - elementType: Their type; likewise.
  ///   - place: Where the shards' names come from.
  ///   - mirrors: Templates of further places with the same bytes.
  ///   - reconstructed: Templates of places with files that somebody made again.
  ///   - sizes: A file of lines `NAME, BYTES`.
  ///   - digests: A file as sha256sum writes it.
  ///   - tree: A Hugging Face tree listing.
  ///   - shardNames: A template of the shards' names; nil for what the URLs end in.
  ///   - keptQuery: Names of query items that are known to be harmless.
  ///   - allowsInside: Whether the addresses of a plain list may lead to this machine, its
  ///     files and its network.
  ///   - array: The array of the files that it reads; nil where they have one.
  package init(
    name: String, modality: Modality, dimension: Int?, elementType: ElementType?, place: Place, mirrors: [String],
    reconstructed: [String], sizes: String?, digests: String?, tree: String?, shardNames: String? = nil,
    keptQuery: [String] = [],
    allowsInside: Bool = false, array: String? = nil
  ) {
    self.array = array
    self.name = name
    self.modality = modality
    self.dimension = dimension
    self.elementType = elementType
    self.place = place
    self.mirrors = mirrors
    self.reconstructed = reconstructed
    self.sizes = sizes
    self.digests = digests
    self.tree = tree
    self.shardNames = shardNames
    self.keptQuery = Set(keptQuery.map { $0.lowercased() })
    self.allowsInside = allowsInside
  }

  /// Registers the source, unless it is registered as it is.
  ///
  /// - Parameter catalog: A lake, open for writing.
  /// - Returns: What was registered.
  /// - Throws: ``TarnError`` `.usage` or `.conflict`; then nothing has changed.
  package func run(_ catalog: LakeCatalog) throws -> Summary {
    // Files that several sources read have their rows once.
    let beside = try owner.map { try catalog.fileSource(of: catalog.features(named: $0, to: "have companions")) }
    guard let dimension = beside == nil ? dimension : 1, let elementType = beside == nil ? elementType : .uint8 else {
      throw TarnError(
        .usage, "nobody says of what dimension and dtype \(name) is", hint: "say --dimension and --dtype")
    }
    if case .files(let owner) = place {
      guard beside == nil else {
        throw TarnError(
          .usage, "\(name) would be a companion without files of its own", hint: "say where its files are")
      }
      return try read(owner, dimension: dimension, elementType: elementType, catalog)
    }
    let (places, urls, listing) = try locations()
    var found = FoundFiles(names: try names(of: urls), urls: urls, listed: listing?.files)
    if let partner = try beside ?? orderOf.map(catalog.source(named:)) {
      try putInOrder(&found, of: partner, isOwner: beside != nil, catalog)
    }
    if owner != nil { try found.names.forEach(Self.requireCompanion) } else { try requireArrays(found.names) }
    let (sizes, digests) = try expectations(of: found)
    let described = zip(found.names, found.urls).map { name, urls in
      var shard = SourceDefinition.Shard(
        name: name, urls: urls, expectedByteCount: sizes[name]?.byteCount, expectedDigest: digests[name],
        expectedRowCount: found.empty[name] ?? sizes[name]?.rowCount)
      shard.isDropped = found.empty[name] != nil
      return shard
    }
    var definition =
      beside.map { SourceDefinition(name: name, companionOf: $0, mirrors: places, shards: described) }
      ?? SourceDefinition(
        name: name, modality: modality, dimension: dimension, elementType: elementType, mirrors: places,
        shards: described)
    definition.keptQuery = keptQuery
    if beside == nil { definition.array = array }
    if listing?.bringsAddresses == true, !allowsInside { definition.ofDocuments = [0] }
    definition.listing = listing?.record
    definition.reconstructed = Set((places.count - reconstructed.count)..<places.count)
    let isNew = try catalog.registered(definition) == nil
    if isNew { _ = try catalog.addSource(definition) }
    return Summary(
      shardCount: found.names.count, mirrorCount: places.count, sizeCount: sizes.count, digestCount: digests.count,
      isNew: isNew)
  }

  /// The files of a source, in the order in which they become its shards.
  private struct FoundFiles {
    var names: [String]
    /// For each, its address on each mirror.
    var urls: [[String]]
    /// What the listing says of each; nil where there is none.
    var listed: [ListedFile]?
    /// Names of places that stay empty beside dropped shards of the partner, with the rows that those had.
    var empty: [String: Int] = [:]
  }

  /// Puts files into the order of a source that their rows pair with.
  private func putInOrder(
    _ found: inout FoundFiles, of partner: Source, isOwner: Bool, _ catalog: LakeCatalog
  ) throws {
    let order = try PartnerOrder(besides: partner, companion: isOwner, catalog)
    // What is registered keeps its order: to add it again does nothing.
    let registered = try (try? catalog.source(named: name)).map { try catalog.shards(of: $0) } ?? []
    let known = self.slots(of: found.names, as: registered, order.dropped)
    if let slots = try known ?? self.slots(of: found.names, in: order) {
      let unordered = found
      found = FoundFiles(
        names: [], urls: [],
        listed: unordered.listed.map { files in slots.compactMap { $0.file.map { files[$0] } } })
      for slot in slots {
        switch slot {
        case .file(let number):
          found.names.append(unordered.names[number])
          found.urls.append(unordered.urls[number])
        case .empty(let place, let name):
          found.names.append(name)
          found.urls.append([try emptyURL(name)])
          found.empty[name] = order.dropped[place] ?? 0
        }
      }
    }
    if known == nil {
      try LakeCatalog.requirePartners(
        found.names, of: name, with: order.partners, of: partner.name, companion: isOwner)
    }
  }

  /// Sizes and digests that are expected of files, by their names: as manifests say, else a tree, else the listing.
  private func expectations(
    of found: FoundFiles
  ) throws -> (sizes: [String: Manifest.Size], digests: [String: ContentDigest]) {
    let shards = ShardPlaces(names: found.names, urls: found.urls)
    var sizes = try self.sizes.map { try Manifest.sizes(path: $0, of: shards) } ?? [:]
    var digests = try self.digests.map { try Manifest.digests(path: $0, of: shards) } ?? [:]
    if let tree {
      let listing = try HuggingFaceTree(path: tree, of: shards)
      sizes.merge(listing.sizes.mapValues { Manifest.Size(byteCount: $0) }) { own, _ in own }
      digests.merge(listing.digests) { own, _ in own }
    }
    for (name, file) in zip(found.names, found.listed ?? []) {
      if let size = file.byteCount, sizes[name] == nil { sizes[name] = Manifest.Size(byteCount: size) }
      if let digest = file.digest, digests[name] == nil { digests[name] = digest }
    }
    return (sizes, digests)
  }

  /// Whether a place may stay empty, beside a shard that was dropped: one that a directory would have.
  private var leavesPlaces: Bool {
    if case .directory = place { return mirrors.isEmpty && reconstructed.isEmpty }
    return false
  }

  /// The address of a file that a directory lacks.
  private func emptyURL(_ name: String) throws -> String {
    guard case .directory(let path) = place else { preconditionFailure("places stay empty in directories alone") }
    return try DirectoryMirror(at: LakeLayout.absolute(path)).url(name)
  }

  /// The order in which files are registered already, places that were left beside dropped shards among them; nil
  /// where others are.
  private func slots(
    of names: [String], as registered: [Shard], _ dropped: [Int: Int]
  ) -> [PartnerOrder.Slot]? {
    let numbers = Dictionary(zip(names, names.indices)) { first, _ in first }
    var slots: [PartnerOrder.Slot] = []
    var fileCount = 0
    for shard in registered {
      if let number = numbers[shard.name] {
        slots.append(.file(number))
        fileCount += 1
      } else if leavesPlaces, shard.isDropped, shard.expectedRowCount == dropped[shard.ordinal] {
        slots.append(.empty(shard.ordinal, name: shard.name))
      } else {
        return nil
      }
    }
    return fileCount > 0 && fileCount == names.count ? slots : nil
  }

  /// In which order files are taken that pair with another source's.
  ///
  /// - Parameters:
  ///   - names: What they are called, in the order in which they were found.
  ///   - order: The other source's.
  /// - Returns: Nil where the order is the user's, or the names do not tell.
  /// - Throws: ``TarnError`` `.usage` where one in the middle is missing, so that others would stand in its place.
  private func slots(of names: [String], in order: PartnerOrder) throws -> [PartnerOrder.Slot]? {
    switch place {
    case .template, .files: return nil
    case .list: if orderOf == nil { return nil }
    case .listed(let listed): if listed.place == nil, orderOf == nil { return nil }
    case .listing, .directory: break
    }
    guard shardNames == nil,
      let arrangement = order.arranged(names, after: [], leavingPlaces: leavesPlaces)
    else { return nil }
    for file in arrangement.waiting {
      guard case .before(let partner) = file.reason else { continue }
      let place = order.partners.firstIndex(of: partner).map { ", which is shard \($0) of \(order.partner)" } ?? ""
      throw TarnError(
        .usage,
        "no file of \(name) has the name of \(partner.printable)\(place), and \(file.name.printable) would stand in its place",
        hint: "register it once that file is there; where it never comes, \(order.way)")
    }
    // What has no partner yet comes behind those that have.
    let placed = Set(arrangement.slots.compactMap(\.file))
    return arrangement.slots + names.indices.filter { !placed.contains($0) }.map { .file($0) }
  }

  /// Registers a source of the files of another one.
  private func read(
    _ owner: String, dimension: Int, elementType: ElementType, _ catalog: LakeCatalog
  ) throws -> Summary {
    var definition = SourceDefinition(
      name: name, modality: modality, dimension: dimension, elementType: elementType, mirrors: [], shards: [])
    (definition.array, definition.filesOf) = (array, owner)
    let isNew = try catalog.registered(definition) == nil
    if isNew { _ = try catalog.addSource(definition) }
    let files = try catalog.fileOwner(named: owner)
    return Summary(
      shardCount: try catalog.shards(of: files).count, mirrorCount: try catalog.mirrors(of: files).count, sizeCount: 0,
      digestCount: 0, isNew: isNew)
  }

  /// Refuses an array of files that have no names for what they hold.
  func requireArrays(_ names: [String]) throws {
    guard let array else { return }
    try LakeCatalog.validate(array: array)
    guard let name = names.first(where: { !FeatureFormat(ofFile: $0).holdsArrays }) else { return }
    throw TarnError(
      .usage, "--array \(array.printable) is of no use: \(name.printable) holds one matrix, which has no name",
      hint: "leave --array out")
  }

  /// What the shards are called.
  func names(of urls: [[String]]) throws -> [String] {
    guard let shardNames else { return try urls.map { try URLTemplate.fileName(of: $0[0]) } }
    if urls.first.map({ CommandAddress.isOne($0[0]) }) ?? false { try Self.requireReadable(shardNames) }
    return try Self.names(by: shardNames, of: 0..<urls.count)
  }

  /// What the shards of some ordinals are called by `--shard-names`.
  ///
  /// - Throws: ``TarnError`` `.usage` for a pattern that does not give each its own file name.
  static func names(by pattern: String, of ordinals: Range<Int>) throws -> [String] {
    let template = try URLTemplate(parsing: "file:///\(pattern)")
    guard !pattern.utf8.contains(0x2F), template.hasOrdinal || ordinals.count == 1 else {
      throw TarnError(
        .usage, "'\(pattern.printable)' does not name \(ordinals.count) shards", hint: "write img_{ordinal:04}.npy")
    }
    return try ordinals.map { try URLTemplate.fileName(of: template.url(ordinal: $0)) }
  }

  /// The registration with the listing that its place is, asked for where that is elsewhere.
  ///
  /// - Throws: ``TarnError``.
  package func listed(by question: ListingQuestion) async throws -> SourceRegistration {
    var result = self
    switch place {
    case .template, .directory, .listed, .files: break
    case .list(let list):
      result.place = .listed(
        try await question.list(list, keeping: keptQuery, trustedBy: allowsInside ? nil : Self.wordForInside))
    case .listing(let text, let pattern):
      let pattern = try pattern.map { try NamePattern(parsing: $0) }
      result.place = .listed(try await question.listing(of: question.place(text), matching: pattern))
    }
    return result
  }

  private static let wordForInside = "say --allow-inside"

  /// The mirrors, and for each shard one URL on each; and the listing that they are from.
  func locations() throws -> (places: [String], urls: [[String]], listing: NamedListing?) {
    let others = try (mirrors + reconstructed).map(template)
    let first: (place: String, urls: [String])
    var listing: NamedListing?
    switch place {
    case .template(let url, let count):
      let templates = [try template(url)] + others
      for template in templates where count > 1 && !template.hasOrdinal {
        throw TarnError(
          .usage, "the template '\(template.text)' names one shard and --count is \(count)",
          hint: "put {ordinal} or {ordinal:04} where the number goes")
      }
      return (templates.map(\.text), (0..<count).map { ordinal in templates.map { $0.url(ordinal: ordinal) } }, nil)
    case .list(let path):
      let list = try NamedListing(
        list: Disk.contents(of: path), from: path, keeping: keptQuery,
        trustedBy: allowsInside ? nil : Self.wordForInside)
      (first, listing) = ((list.template, list.urls), list)
    case .listed(let listed):
      if listed.place != nil, owner == nil, shardNames == nil {
        try Self.requireReaders(of: listed.files.map(\.path.lastPathPart))
      }
      (first, listing) = ((listed.template, listed.urls), listed)
    case .listing(let text, _):
      throw TarnError(.usage, "\(text.printable) was not listed")
    case .files:
      preconditionFailure("the files of another source are that one's to say")
    case .directory(let path):
      first = try Self.directoryURLs(path, ofCompanion: owner != nil)
      guard !first.urls.isEmpty else {
        throw TarnError(
          .usage, "\(path) has no file that can be a shard",
          hint: owner == nil
            ? "a shard is a \(FeatureFormat.enumeration) file" : "a companion's is \(CompanionFormat.enumeration)")
      }
    }
    return (
      [first.place] + others.map(\.text),
      first.urls.enumerated().map { ordinal, url in [url] + others.map { $0.url(ordinal: ordinal) } }, listing
    )
  }

  private func template(_ text: String) throws -> URLTemplate {
    let template = try URLTemplate(parsing: text, keeping: keptQuery)
    guard !CommandAddress.isOne(text) else { return template }
    if owner == nil { try Self.requireReadable(URLTemplate.fileName(of: template.url(ordinal: 0))) }
    return template
  }

  /// What files of companions are, for people.
  package static let companionFormats = CompanionFormat.enumeration

  /// Formats that hold features or are taken for such, and that tarn does not read.
  private static let unreadable: Set<String> = [
    "arrow", "avro", "csv", "feather", "gz", "h5", "hdf5", "json", "jsonl", "lance", "tar", "tsv",
    "zst",
  ]

  /// Told now, and not when the first shard has come.
  private static func requireReadable(_ name: String) throws {
    guard FeatureFormat(extensionOf: name) == nil, let last = name.split(separator: ".").last?.lowercased(),
      unreadable.contains(last), last != name
    else {
      return
    }
    throw TarnError(
      .usage, "tarn does not read .\(last) files (\(name.printable))",
      hint: "a shard is a \(FeatureFormat.enumeration) file")
  }

  /// Refuses names of a listing that no reader of features opens: it was asked for files by a
  /// pattern, and nobody named these.
  static func requireReaders(of names: [String]) throws {
    for name in names {
      try requireReadable(name)
      guard FeatureFormat(extensionOf: name) == nil else { continue }
      throw TarnError(
        .usage, "the listing has '\(name.printable)', which is no feature file",
        hint: "choose with --match, e.g. '**.npy'; --shard-names says what shards are called; a shard is a "
          + "\(FeatureFormat.enumeration) file")
    }
  }

  /// Refuses names of files that hold no rows of a companion.
  private static func requireCompanion(_ name: String) throws {
    guard CompanionFormat(ofFile: name) == nil else { return }
    throw TarnError(
      .usage, "'\(name.printable)' is no file of a companion",
      hint: "one is \(CompanionFormat.enumeration); --shard-names says what shards are called")
  }

  /// Where a directory is, and its feature files in natural order, or those with rows of a
  /// companion; of one format, or of that of a file that was taken from there before.
  static func directoryURLs(
    _ directory: String, ofCompanion isCompanion: Bool, like known: String? = nil
  ) throws -> (place: String, urls: [String]) {
    let path = LakeLayout.absolute(directory)
    guard let entries = try? Disk.names(in: path) else {
      throw TarnError(.usage, "\(path) is not a directory that can be read")
    }
    // Hidden files are somebody else's: what macOS and editors leave beside others.
    let names = try entries.filter { $0.first != UInt8(ascii: ".") }.compactMap { bytes -> String? in
      if let name = String(validating: bytes, as: UTF8.self) { return name }
      let repaired = String(decoding: bytes, as: UTF8.self)
      guard FeatureFormat(extensionOf: repaired) != nil else { return nil }
      throw TarnError(
        .usage, "the name of a file in \(path) is not UTF-8: \(repaired.printable)",
        hint: "rename it, e.g. with `convmv`, or move it out of the directory")
    }
    if isCompanion { return try companionURLs(names.filter { CompanionFormat(ofFile: $0) != nil }, in: path) }
    var found = Set(names.compactMap(FeatureFormat.init(extensionOf:)))
    // Beside features tables lie that say what the rows are of.
    if found.count > 1 { found.remove(.parquet) }
    if let format = known.flatMap(FeatureFormat.init(extensionOf:)) { found = [format] }
    guard found.count <= 1 else {
      let formats = found.map { ".\($0.fileExtension)" }.sorted().joined(separator: ", ")
      throw TarnError(
        .usage, "\(path) has feature files of several formats: \(formats)",
        hint: "put one kind into a directory, or name those that are meant with --url-list")
    }
    let format = found.first
    let shards = names.filter { FeatureFormat(extensionOf: $0) == format && format != nil }
    if shards.isEmpty { try names.sorted().forEach(Self.requireReadable) }
    return ("file://\(path)", try fileURLs(shards, in: path))
  }

  /// Files of a companion: of one format, as features and other things may lie beside them.
  private static func companionURLs(_ names: [String], in path: String) throws -> (place: String, urls: [String]) {
    let formats = names.compactMap { CompanionFormat(ofFile: $0) }
    guard formats.allSatisfy({ $0 == formats[0] }) else {
      throw TarnError(
        .usage, "\(path) has files of rows in several formats", hint: "name them with --url-list, or move others out")
    }
    return ("file://\(path)", try fileURLs(names, in: path))
  }

  /// Addresses of files in natural order.
  private static func fileURLs(_ names: [String], in path: String) throws -> [String] {
    for name in names {
      guard let fault = LakeName.fault(ofShard: name) else { continue }
      throw TarnError(
        .usage, "the file '\(name.printable)' of \(path) cannot be a shard: \(fault)",
        hint: "rename it, or move it out of the directory")
    }
    return try inNaturalOrder(names).map(DirectoryMirror(at: path).url)
  }

  /// Names with 2 before 10, as the order of files decides the row ids; those that
  /// are equal so, like 1 and 01, by their bytes.
  static func inNaturalOrder(_ names: [String]) -> [String] {
    names.sorted { first, second in
      switch first.compare(second, options: .numeric) {
      case .orderedAscending: true
      case .orderedDescending: false
      case .orderedSame: first.utf8.lexicographicallyPrecedes(second.utf8)
      }
    }
  }
}
