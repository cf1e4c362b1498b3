// `source add`: what people know of a source, made into its shards, their
// addresses and what is expected of them.

package import Base
package import Catalog
internal import Features
internal import Fetch
internal import Foundation

/// A source to register.
package struct SourceRegistration: Sendable {
  /// Where the shards' names come from.
  package enum Place: Sendable {
    /// A URL with the ordinal left open.
    case template(String, count: Int)
    /// A file with a URL a line.
    case list(String)
    /// The feature files of a directory.
    case directory(String)
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
  let place: Place
  private let mirrors: [String]
  private let reconstructed: [String]
  private let sizes: String?
  private let digests: String?
  private let tree: String?
  private let shardNames: String?
  private let keptQuery: Set<String>
  let allowsInside: Bool

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
  ///   - allowsInside: Whether the addresses of a list may lead to this machine, its
  ///     files and its network.
  package init(
    name: String, modality: Modality, dimension: Int?, elementType: ElementType?, place: Place, mirrors: [String],
    reconstructed: [String], sizes: String?, digests: String?, tree: String?, shardNames: String? = nil,
    keptQuery: [String] = [],
    allowsInside: Bool = false
  ) {
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
    guard let dimension, let elementType else {
      throw TarnError(
        .usage, "nobody says of what dimension and dtype \(name) is", hint: "say --dimension and --dtype")
    }
    let (places, urls) = try locations()
    let names = try names(of: urls)
    let shards = ShardPlaces(names: names, urls: urls)
    var sizes = try self.sizes.map { try Manifest.sizes(path: $0, of: shards) } ?? [:]
    var digests = try self.digests.map { try Manifest.digests(path: $0, of: shards) } ?? [:]
    if let tree {
      let listing = try HuggingFaceTree(path: tree, of: shards)
      // A manifest that was named says more than a listing.
      sizes.merge(listing.sizes.mapValues { Manifest.Size(byteCount: $0) }) { own, _ in own }
      digests.merge(listing.digests) { own, _ in own }
    }
    var definition = SourceDefinition(
      name: name, modality: modality, dimension: dimension, elementType: elementType, mirrors: places,
      shards: zip(names, urls).map { name, urls in
        .init(
          name: name, urls: urls, expectedByteCount: sizes[name]?.byteCount, expectedDigest: digests[name],
          expectedRowCount: sizes[name]?.rowCount)
      })
    definition.keptQuery = keptQuery
    if case .list = place, !allowsInside { definition.ofDocuments = [0] }
    definition.reconstructed = Set((places.count - reconstructed.count)..<places.count)
    let isNew = try catalog.registered(definition) == nil
    if isNew { _ = try catalog.addSource(definition) }
    return Summary(
      shardCount: names.count, mirrorCount: places.count, sizeCount: sizes.count, digestCount: digests.count,
      isNew: isNew)
  }

  /// What the shards are called.
  func names(of urls: [[String]]) throws -> [String] {
    guard let shardNames else { return try urls.map { try URLTemplate.fileName(of: $0[0]) } }
    let template = try URLTemplate(parsing: "file:///\(shardNames)")
    guard !shardNames.utf8.contains(0x2F), template.hasOrdinal || urls.count == 1 else {
      throw TarnError(
        .usage, "'\(shardNames.printable)' does not name \(urls.count) shards", hint: "write img_{ordinal:04}.npy")
    }
    return try urls.indices.map { try URLTemplate.fileName(of: template.url(ordinal: $0)) }
  }

  /// The mirrors, and for each shard one URL on each.
  func locations() throws -> (places: [String], urls: [[String]]) {
    let others = try (mirrors + reconstructed).map(template)
    let first: (place: String, urls: [String])
    switch place {
    case .template(let url, let count):
      let templates = [try template(url)] + others
      for template in templates where count > 1 && !template.hasOrdinal {
        throw TarnError(
          .usage, "the template '\(template.text)' names one shard and --count is \(count)",
          hint: "put {ordinal} or {ordinal:04} where the number goes")
      }
      return (templates.map(\.text), (0..<count).map { ordinal in templates.map { $0.url(ordinal: ordinal) } })
    case .list(let path):
      let lines = try Manifest.lines(path: path)
      for line in lines {
        try URLTemplate.validate(line, keeping: keptQuery)
        if !allowsInside { try FetchConfiguration.checkOfDocument(line, in: path, trustedBy: "say --allow-inside") }
      }
      first = ("list \(path.lastPathPart)", lines)
      guard !lines.isEmpty else { throw TarnError(.usage, "\(path) names no shards") }
    case .directory(let path):
      first = try Self.directoryURLs(path)
      guard !first.urls.isEmpty else { throw TarnError(.usage, "\(path) names no shards") }
    }
    return (
      [first.place] + others.map(\.text),
      first.urls.enumerated().map { ordinal, url in [url] + others.map { $0.url(ordinal: ordinal) } }
    )
  }

  private func template(_ text: String) throws -> URLTemplate {
    let template = try URLTemplate(parsing: text, keeping: keptQuery)
    try Self.requireReadable(URLTemplate.fileName(of: template.url(ordinal: 0)))
    return template
  }

  /// Formats that hold features or are taken for such, and that tarn does not read.
  private static let unreadable: Set<String> = [
    "arrow", "avro", "csv", "feather", "gz", "h5", "hdf5", "json", "jsonl", "lance", "npz", "parquet", "tar", "tsv",
    "zst",
  ]

  /// Told now, and not when the first shard has come.
  private static func requireReadable(_ name: String) throws {
    guard let last = name.split(separator: ".").last?.lowercased(), unreadable.contains(last), last != name else {
      return
    }
    throw TarnError(
      .usage, "tarn does not read .\(last) files (\(name.printable))",
      hint: "a shard is a \(FeatureFormat.enumeration) file of one matrix")
  }

  /// Where a directory is, and its feature files in natural order.
  static func directoryURLs(_ directory: String) throws -> (place: String, urls: [String]) {
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
    let found = Set(names.compactMap(FeatureFormat.init(extensionOf:)))
    guard found.contains(.npy) || found.count <= 1 else {
      throw TarnError(
        .usage, "\(path) has feature files of several formats and none is .npy", hint: "put one kind into a directory")
    }
    let format = found.contains(.npy) ? .npy : found.first
    let shards = names.filter { FeatureFormat(extensionOf: $0) == format && format != nil }
    if shards.isEmpty, let name = names.sorted().first { try Self.requireReadable(name) }
    for name in shards {
      guard let fault = LakeName.fault(ofShard: name) else { continue }
      throw TarnError(
        .usage, "the file '\(name.printable)' of \(path) cannot be a shard: \(fault)",
        hint: "rename it, or move it out of the directory")
    }
    let urls = try inNaturalOrder(shards).map { name in
      guard let encoded = "\(path)/\(name)".addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) else {
        throw TarnError(.usage, "the file name '\(name.printable)' cannot be written as a URL")
      }
      return "file://\(encoded)"
    }
    return ("file://\(path)", urls)
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
