// Listings as sources are named by them: which files are chosen, in which order, and what is
// recorded. Files of this machine are read at once; others are asked for.

package import Base
package import Catalog
internal import Features
package import Fetch
internal import Foundation

/// A listing whose files are shards, in their order.
package struct NamedListing: Sendable {
  /// What the mirror is called that serves them.
  let template: String
  /// The files, and the address of each.
  package let files: [ListedFile]
  let urls: [String]
  /// Where it was listed; nil of a plain list, whose lines are addresses.
  let place: ListingPlace?
  package let record: SourceListing

  /// Whether the addresses are the listing's own word, which may lead anywhere (S7), and not
  /// names below an address of the user's.
  var bringsAddresses: Bool { place == nil }

  /// A plain list.
  ///
  /// - Parameters:
  ///   - bytes: Its text.
  ///   - name: The file or address it is from, for messages, and as it is recorded.
  ///   - keptQuery: Query items that the user knows to be harmless.
  ///   - way: How the user says that its addresses may lead inside; nil where that was said.
  /// - Throws: ``TarnError`` `.usage`.
  init(list bytes: [UInt8], from name: String, keeping keptQuery: Set<String>, trustedBy way: String?) throws {
    let lines = try Manifest.lines(of: bytes, from: name)
    for line in lines {
      guard !CommandAddress.isOne(line) else {
        throw TarnError(
          .usage, "\(name) names a command, and a list names files", hint: "say it with --url or --mirror")
      }
      try URLTemplate.validate(line, keeping: keptQuery)
      if let way { try FetchConfiguration.checkOfDocument(line, in: name, trustedBy: way) }
    }
    guard !lines.isEmpty else { throw TarnError(.usage, "\(name) names no shards") }
    let path = String(name.prefix { $0 != "?" && $0 != "#" })
    template = "list \(path.lastPathPart)"
    files = lines.map { ListedFile(path: $0) }
    urls = lines
    place = nil
    record = SourceListing(
      kind: .list, place: ListingQuestion.isAddress(name) ? name : LakeLayout.absolute(name), pattern: nil, commit: nil,
      digest: ListedFile.digest(of: files), nameCount: files.count)
  }

  /// A listing of a place.
  init(_ files: [ListedFile], of place: ListingPlace, at commit: String?, matching pattern: NamePattern?) throws {
    let format = try Self.check(files, of: place, matching: pattern)
    let chosen =
      format.map { format in files.filter { FeatureFormat(extensionOf: $0.path.lastPathPart) == format } } ?? files
    // The commit, where there is one: what its names were then.
    template = "list " + (try commit.map { try place.at($0) } ?? place).text
    self.files = chosen
    urls = chosen.map { place.url(of: $0.path, at: commit) }
    self.place = place
    record = SourceListing(
      kind: { if case .hub = place { .hub } else { .store } }(), place: place.text, pattern: pattern?.text,
      commit: commit, digest: ListedFile.digest(of: chosen),
      nameCount: chosen.count)
  }

  /// Whether a file of a place is one to look at, by its path below it.
  static func isWanted(matching pattern: NamePattern?) -> @Sendable (String) -> Bool {
    { path in pattern?.matches(path) ?? (FeatureFormat(extensionOf: path.lastPathPart) != nil) }
  }

  /// Refuses what names no shards, and files of several formats that no pattern chose from.
  ///
  /// - Returns: The one format, where no pattern chose.
  private static func check(
    _ files: [ListedFile], of place: ListingPlace, matching pattern: NamePattern?
  ) throws -> FeatureFormat? {
    guard !files.isEmpty else {
      throw TarnError(
        .inputsMissing,
        "\(place.text.printable) has no "
          + (pattern.map { "names that '\($0.text)' is of" } ?? "\(FeatureFormat.enumeration) files"),
        hint: "choose others with --match; a pattern without a slash is of a name's last part")
    }
    guard pattern == nil else { return nil }
    let formats = Set(files.compactMap { FeatureFormat(extensionOf: $0.path.lastPathPart) })
    guard formats.count == 1, let format = formats.first else {
      let one = FeatureFormat.allCases.first(where: formats.contains) ?? .npy
      throw TarnError(
        .usage, "\(place.text.printable) has feature files of several formats",
        hint: "choose with --match '*.\(one.fileExtension)'")
    }
    return format
  }
}

/// Asks for listings.
package struct ListingQuestion: Sendable {
  let configuration: FetchConfiguration
  let waits: WaitOptions
  let cancellation: Cancellation
  let report: @Sendable (_ host: String, _ pause: Duration, _ left: Duration) -> Void

  /// Prepares to ask.
  ///
  /// - Parameters:
  ///   - configuration: How.
  ///   - waits: How long a host is waited for that fails for now.
  ///   - cancellation: Asked often.
  ///   - report: Told once of each host that is waited for: for how long now, and at most.
  package init(
    _ configuration: FetchConfiguration, waits: WaitOptions, cancellation: Cancellation,
    report: @escaping @Sendable (_ host: String, _ pause: Duration, _ left: Duration) -> Void = { _, _, _ in }
  ) {
    self.configuration = configuration
    self.waits = waits
    self.cancellation = cancellation
    self.report = report
  }

  /// Whether a list is at an address, and no file of this machine.
  static func isAddress(_ list: String) -> Bool { ["http", "https", "s3"].contains(AddressText(list).scheme) }

  /// The place that a text means.
  func place(_ text: String) throws -> ListingPlace { try ListingPlace(parsing: text, hub: configuration.hub) }

  /// Lists a place.
  ///
  /// - Throws: ``TarnError``.
  func listing(of place: ListingPlace, matching pattern: NamePattern?) async throws -> NamedListing {
    let listing = try await reading {
      try $0.files(of: place, isWanted: NamedListing.isWanted(matching: pattern))
    }
    return try NamedListing(listing.files, of: place, at: listing.commit, matching: pattern)
  }

  /// Reads a plain list.
  ///
  /// - Parameters:
  ///   - list: A file, or an address.
  ///   - keptQuery: Query items that the user knows to be harmless.
  ///   - way: How the user says that its addresses may lead inside; nil where that was said.
  /// - Returns: The list.
  /// - Throws: ``TarnError``.
  func list(_ list: String, keeping keptQuery: Set<String>, trustedBy way: String?) async throws -> NamedListing {
    guard Self.isAddress(list) else {
      return try NamedListing(list: Disk.contents(of: list), from: list, keeping: keptQuery, trustedBy: way)
    }
    try URLTemplate.validate(list, keeping: keptQuery)
    let bytes = try await reading { try $0.list(at: list) }
    return try NamedListing(list: bytes, from: list, keeping: keptQuery, trustedBy: way)
  }

  private func reading<Value: Sendable>(_ read: @escaping @Sendable (ListingReader) throws -> Value) async throws
    -> Value
  {
    try cancellation.check()
    return try await ThreadedWork("tarn-list") {
      let reader = try ListingReader(
        configuration: configuration, patience: waits.patience, clock: waits.clock,
        isCancelled: { cancellation.isCancelled }, onTrouble: report)
      return try read(reader)
    }.value()
  }
}
