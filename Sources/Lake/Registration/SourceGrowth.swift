// `source extend` and `source refresh`: shards that a source got since it was
// registered, behind its last one. What is gone or has another name is told, and
// changes no ordinal and no id.

package import Base
package import Catalog
internal import Features
internal import Fetch
internal import Foundation

/// Adds shards to a source.
package struct SourceGrowth {
  /// Where the new shards are told.
  package enum Place: Sendable {
    /// In a template's places up to a number of shards.
    case count(Int)
    /// In a listing.
    case listing(NamedListing)
    /// In the directory that it was registered from.
    case directory

    /// Whether somebody gave the files in an order that is meant: a list has one.
    fileprivate var isInOwnOrder: Bool {
      if case .listing(let listing) = self { return listing.place == nil }
      return false
    }
  }

  private let catalog: LakeCatalog
  private let source: Source
  private let cancellation: Cancellation
  /// A template of the new shards' names; nil for what the URLs end in.
  package var shardNames: String?
  /// A file of lines `NAME, BYTES`, for the new shards.
  package var sizes: String?
  /// A file as sha256sum writes it, likewise.
  package var digests: String?
  /// Whether nothing is to be changed.
  package var isDryRun = false
  /// The name of the source in whose order new files come, as far as their names tell; nil for the owner's, of a companion.
  package var orderOf: String?

  /// Prepares to add shards.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - name: The source.
  ///   - cancellation: Asked before files are read.
  /// - Throws: ``TarnError`` `.notFound`.
  package init(_ catalog: LakeCatalog, of name: String, cancellation: Cancellation) throws {
    self.catalog = catalog
    self.cancellation = cancellation
    source = try catalog.source(named: name)
    try source.requireFeatures()
  }

  /// Where new shards are told, as the user says it.
  package enum Origin: Sendable {
    case count(Int)
    /// A file with a URL a line, or the address of one.
    case list(String)
    case listing(String, matching: String?)
    /// Where the source was registered from; at a revision of it, where one is said.
    case own(revision: String?)
  }

  /// Asks for what is told where that is a listing.
  ///
  /// - Throws: ``TarnError``.
  package func place(_ origin: Origin, by question: ListingQuestion) async throws -> Place {
    switch origin {
    case .count(let count): return .count(count)
    case .list(let list): return .listing(try await self.list(list, by: question))
    case .listing(let text, let pattern):
      let pattern = try pattern.map { try NamePattern(parsing: $0) }
      return .listing(try await question.listing(of: question.place(text), matching: pattern))
    case .own(let revision):
      guard let known = try catalog.listing(of: source) else {
        guard revision == nil else {
          throw TarnError(
            .usage, "\(source.name) was not registered from a listing that has revisions", hint: "say --listing PLACE")
        }
        return .directory
      }
      guard known.kind == .list else {
        var place = try question.place(known.place)
        if let revision { place = try place.at(revision) }
        let pattern = try known.pattern.map { try NamePattern(parsing: $0) }
        return .listing(try await question.listing(of: place, matching: pattern))
      }
      guard revision == nil else {
        throw TarnError(.usage, "a plain list has no revisions", hint: "leave --revision out")
      }
      do {
        return .listing(try await self.list(known.place, by: question))
      } catch let error as TarnError where error.code == .inputsMissing && error.hint == nil {
        throw TarnError(error.code, error.message, hint: wayToList(known.place), place: error.place)
      }
    }
  }

  /// How a list is named that is not where it was; one that lay in the lake has moved with it.
  private func wayToList(_ list: String) -> String {
    let beside = "\(catalog.layout.root)/\(list.lastPathPart)"
    let now = Disk.size(of: beside) == nil ? "FILE" : QuotedWords.quoted(beside)
    return "`tarn source refresh \(source.name) --url-list \(now)` takes it where it is now"
  }

  private func list(_ list: String, by question: ListingQuestion) async throws -> NamedListing {
    let isOfDocument = try catalog.mirrors(of: source).first(where: \.isOfListing)?.isOfDocument ?? true
    return try await question.list(
      list, keeping: source.keptQuery,
      trustedBy: isOfDocument ? "\(FetchConfiguration.wayInside(source.name)), then run this again" : nil)
  }

  /// Adds what is new.
  ///
  /// - Parameters:
  ///   - place: Where the new shards are told.
  ///   - isWhole: Whether all shards are told there, so that those are gone which are not.
  /// - Returns: What was added, and what is not there any more.
  /// - Throws: ``TarnError`` `.usage`, `.conflict`; then nothing has changed.
  package func run(_ place: Place, isWhole: Bool) throws -> Summary {
    cancellation.listen()
    try catalog.requireOwnFiles(source)
    let mirrors = try catalog.mirrors(of: source)
    let shards = try catalog.shards(of: source)
    var summary = Summary(shardCount: shards.count)
    let told = try told(place, mirrors)
    let known = try told.mirror.map { try catalog.addresses(of: source, on: $0) } ?? []
    var changes: Changes
    if case .listing(let listing) = place, let root = listing.place, let mirror = told.mirror {
      changes = try self.changes(by: listing, at: root, on: mirror, to: shards, at: known, &summary)
    } else {
      changes = try self.changes(
        by: told.urls, of: place, on: told.mirror, isWhole: isWhole, to: shards, at: known, &summary)
    }
    var seen: Set<String> = []
    if let again = changes.new.first(where: { !seen.insert($0).inserted }) {
      throw TarnError(.usage, "\(again.withoutSecrets.printable) is told twice", hint: "leave the second line out")
    }
    var empty: [Int: Int] = [:]
    let isCounted = if case .count = place { true } else { false }
    if !isCounted {
      empty = try putInOrder(&changes.new, &changes.files, of: place, after: shards, on: told.mirror, &summary)
    }
    let added = try definitions(
      changes.new, changes.files, after: shards.count, leaving: empty, on: told.mirror, mirrors)
    if !isCounted { try requirePlaces(of: added.map(\.name), after: shards) }
    if case .listing(let listing) = place, isWhole, try catalog.listing(of: source) != listing.record {
      summary.listing = listing.record
    }
    summary.added = added.filter { !$0.isDropped }.map(\.name)
    summary.shardCount += added.count
    guard !isDryRun else {
      try catalog.checkExtension(of: source, with: added, after: shards.count)
      return summary
    }
    try catalog.extend(source, with: added, after: shards.count, moved: changes.moves, listing: summary.listing)
    try discardParts(of: changes.moves)
    if isWhole, let mirror = told.mirror { try record(changes.standing, of: shards, on: mirror) }
    summary.strays = try catalog.strays(besides: source)
    return summary
  }

  /// What a place tells that the catalog does not say yet.
  private struct Changes {
    /// Addresses of new shards, in order.
    var new: [String] = []
    /// What a listing says of those, one each; none where addresses alone are told.
    var files: [ListedFile] = []
    /// Shards that get another address.
    var moves: [ShardMove] = []
    /// What the place has of the shards that are known.
    var standing = ToldStanding()
  }

  /// Holds a listing of a place against the shards.
  ///
  /// - Parameters:
  ///   - listing: The listing.
  ///   - root: Its place.
  ///   - mirror: The mirror that has its addresses.
  ///   - shards: The shards of the source.
  ///   - known: The address of each on that mirror.
  ///   - summary: Gets what is gone, moved and changed.
  /// - Returns: What is new.
  /// - Throws: ``TarnError`` of the catalog.
  private func changes(
    by listing: NamedListing, at root: ListingPlace, on mirror: Mirror, to shards: [Shard], at known: [String?],
    _ summary: inout Summary
  ) throws -> Changes {
    var changes = Changes()
    let compared = ListingComparison(
      zip(shards, known).map { shard, url in
        .init(
          name: shard.name, path: url.flatMap(root.path),
          byteCount: shard.revision?.byteCount ?? shard.expectedByteCount,
          digest: shard.revision?.digest ?? shard.expectedDigest, isDropped: shard.isDropped)
      }, with: listing.files)
    let addresses = Dictionary(uniqueKeysWithValues: zip(listing.files.map(\.path), listing.urls))
    changes.files = compared.added
    changes.new = compared.added.compactMap { addresses[$0.path] }
    summary.gone = compared.gone.map { shards[$0].name }
    summary.moved = compared.moved.map { (shards[$0.ordinal].name, $0.file.path) }
    summary.changed = compared.changed.map { shards[$0.ordinal].name }
    summary.heldBy = try catalog.versions(restingOn: source).first
    if summary.heldBy == nil {
      changes.moves = moved(compared, shards, on: mirror) { addresses[$0.path] ?? "" }
      summary.taken = Set(changes.moves.map(\.name))
    }
    let taken = Set(changes.moves.map(\.shardID))
    func isOfThere(_ ordinal: Int) -> Bool {
      known[ordinal].flatMap(root.path) != nil && !taken.contains(shards[ordinal].id)
    }
    func isTold(_ ordinal: Int) -> Bool { known[ordinal].flatMap(root.path).map { addresses[$0] != nil } ?? false }
    changes.standing.told = Set(shards.indices.filter(isTold).map { shards[$0].id })
    changes.standing.withdrawn = Set(
      (compared.gone + compared.moved.map(\.ordinal)).filter(isOfThere).map { shards[$0].id })
    changes.standing.replaced = Set(compared.changed.map(\.ordinal).filter(isOfThere).map { shards[$0].id })
    return changes
  }

  /// Holds addresses, which say nothing of the bytes there, against the shards.
  ///
  /// - Parameters:
  ///   - urls: The addresses that are told.
  ///   - place: Where they are told.
  ///   - mirror: The mirror that has them; nil where templates give them.
  ///   - isWhole: Whether all shards are told there, so that those are gone which are not.
  ///   - shards: The shards of the source.
  ///   - known: The address of each on that mirror.
  ///   - summary: Gets what is gone and moved.
  /// - Returns: What is new.
  /// - Throws: ``TarnError`` of the catalog, or `.interrupted`.
  private func changes(
    by urls: [String], of place: Place, on mirror: Mirror?, isWhole: Bool, to shards: [Shard], at known: [String?],
    _ summary: inout Summary
  ) throws -> Changes {
    var changes = Changes()
    let places = Set(known.compactMap(\.self))
    changes.new = urls.filter { !places.contains($0) }
    guard isWhole else { return changes }
    let there = Set(urls)
    var gone = zip(shards, known).filter { shard, url in
      !shard.isDropped && url.map { !there.contains($0) } ?? false
    }.map(\.0)
    changes.standing.told = Set(
      zip(shards, known).filter { _, url in url.map { there.contains($0) } ?? false }.map { shard, _ in shard.id })
    changes.standing.withdrawn = Set(gone.map(\.id))
    let elsewhere = try moved(from: &gone, to: &changes.new)
    summary.moved = elsewhere.map { ($0.shard.name, $0.to) }
    summary.gone = gone.map(\.name)
    // Where a directory has the bytes under another name they are asked for there from now on.
    guard case .directory = place, let mirror, !elsewhere.isEmpty else { return changes }
    summary.directory = try directory(mirror)?.path
    summary.heldBy = try catalog.versions(restingOn: source).first
    guard summary.heldBy == nil else { return changes }
    changes.moves = elsewhere.map {
      ShardMove(shardID: $0.shard.id, name: $0.shard.name, mirrorID: mirror.id, url: $0.url, expectation: nil)
    }
    summary.taken = Set(changes.moves.map(\.name))
    changes.standing.withdrawn.subtract(changes.moves.map(\.shardID))
    return changes
  }

  /// Discards what interrupted transfers left of shards that are expected to have other bytes now.
  private func discardParts(of moves: [ShardMove]) throws {
    let changed = Set(moves.filter { $0.expectation != nil }.map(\.shardID))
    for part in try catalog.interruptedTransfers(of: source) where changed.contains(part.shardID) {
      try catalog.discard(part)
    }
  }

  /// Puts new files in the order of their partners.
  ///
  /// Those of a companion, and of a source that is to follow another one's order, wait for one before them that is not
  /// there yet.
  ///
  /// - Returns: Rows that the partner had at places that stay empty, by the numbers of their addresses among the new
  ///   ones.
  private func putInOrder(
    _ new: inout [String], _ files: inout [ListedFile], of place: Place, after shards: [Shard], on mirror: Mirror?,
    _ summary: inout Summary
  ) throws -> [Int: Int] {
    guard !new.isEmpty, shardNames == nil,
      let order = try PartnerOrder(of: source, asked: orderOf, inOwnOrder: place.isInOwnOrder, catalog)
    else { return [:] }
    let directory = try files.isEmpty ? mirror.flatMap { try self.directory($0) } : nil
    let names = try new.map { try URLTemplate.fileName(of: $0) }
    guard
      let arrangement = order.arranged(names, after: shards.map(\.name), leavingPlaces: directory != nil)
    else { return [:] }
    summary.waiting = arrangement.waiting
    summary.waits = WaitingFile.lines(
      arrangement.waiting, of: source.name, way: order.way, companion: order.isOfCompanion)
    summary.orderOf = order.isDerived ? order.partner : nil
    var (urls, listed, empty): ([String], [ListedFile], [Int: Int]) = ([], [], [:])
    for slot in arrangement.slots {
      switch slot {
      case .file(let number):
        urls.append(new[number])
        if !files.isEmpty { listed.append(files[number]) }
      case .empty(let partner, let name):
        guard let directory else { preconditionFailure("places stay empty in directories alone") }
        empty[urls.count] = order.dropped[partner] ?? 0
        urls.append(try directory.url(name))
        summary.empty.append(
          "\(name.printable) is left out, as \(order.partners[partner].printable) of \(order.partner) was dropped")
      }
    }
    (new, files) = (urls, listed)
    return empty
  }

  /// Refuses files of a companion that would stand beside other shards than their own.
  private func requirePlaces(of added: [String], after shards: [Shard]) throws {
    guard !added.isEmpty, let owner = try source.companionOf.map({ try catalog.source(id: $0) }) else { return }
    let (names, partners) = (shards.map(\.name) + added, try catalog.fileNames(of: owner))
    let strays = PartnerNames.disagreements(of: names, with: partners, registered: true)
    guard let stray = strays.first(where: { $0.place >= shards.count }) else { return }
    let beside = stray.place < partners.count ? partners[stray.place].printable : "nothing"
    throw TarnError(
      .usage,
      "\(names[stray.place].printable) of \(source.name) would stand beside \(beside) of \(owner.name), \(stray.reason), "
        + "and be used for no row",
      hint: LakeCatalog.way(besides: owner.name, companion: true))
  }

  /// What a listing says of shards that may follow it: those elsewhere, and those of other
  /// bytes that were never fetched.
  private func moved(
    _ compared: ListingComparison, _ shards: [Shard], on mirror: Mirror, _ address: (ListedFile) -> String
  ) -> [ShardMove] {
    let elsewhere = compared.moved.map { ($0, false) }
    let others = compared.changed.filter { shards[$0.ordinal].revision == nil }.map { ($0, true) }
    return (elsewhere + others).map { pair, isChanged in
      ShardMove(
        shardID: shards[pair.ordinal].id, name: shards[pair.ordinal].name, mirrorID: mirror.id, url: address(pair.file),
        expectation: isChanged ? pair.file : nil)
    }
  }

  /// What a place that tells all of its shards says of those that were fetched from it or elsewhere.
  private struct ToldStanding {
    /// It has, under the address that is known.
    var told: Set<Int64> = []
    /// It has no more.
    var withdrawn: Set<Int64> = []
    /// It has other bytes of.
    var replaced: Set<Int64> = []
  }

  /// Records what was told, so that no eviction counts on the place for bytes that are not there any more.
  ///
  /// Of a shard that was never fetched nothing is lost, and what a probe learnt of its rows stays.
  private func record(_ standing: ToldStanding, of shards: [Shard], on mirror: Mirror) throws {
    let states = try catalog.locationStates(of: source, on: mirror)
    let records = zip(shards, states).compactMap { shard, state -> ProbeRecord? in
      guard let state, !shard.isDropped, shard.revision != nil else { return nil }
      func record(_ found: LocationState, _ error: String? = nil) -> ProbeRecord? {
        state == found ? nil : ProbeRecord(shardID: shard.id, mirrorID: mirror.id, state: found, error: error)
      }
      if standing.withdrawn.contains(shard.id) { return record(.absent) }
      if standing.replaced.contains(shard.id) { return record(.faulty, "its listing tells of other bytes there") }
      // What is told again is as good as any address that nobody asked yet; what another place has stays what it was.
      return state == .absent && standing.told.contains(shard.id) ? record(.unknown) : nil
    }
    if !records.isEmpty { try catalog.recordProbes(records) }
  }

  // MARK: What is told

  /// The addresses that a place tells, on a mirror; on none where templates give them.
  private func told(_ place: Place, _ mirrors: [Mirror]) throws -> (mirror: Mirror?, urls: [String]) {
    switch place {
    case .count(let count):
      let shardCount = try catalog.shards(of: source).count
      guard count >= shardCount else {
        throw TarnError(
          .usage, "\(source.name) has \(shardCount) shards, more than --count \(count)",
          hint: "--count is how many it shall have; `tarn source drop-shards` takes some off its end")
      }
      // Directories follow what a template says.
      let other = try mirrors.first { try directory($0) == nil }
      guard let first = other ?? mirrors.first else { return (nil, []) }
      let template = try template(of: first)
      return (nil, (shardCount..<count).map(template.url))
    case .listing(let listing):
      guard let mirror = mirrors.first(where: \.isOfListing) else {
        throw TarnError(
          .usage, "\(source.name) was not registered from a list",
          hint: "its mirrors are shown by `tarn source mirror list \(source.name)`; with templates, "
            + "`tarn source extend \(source.name) --count N` adds ordinals")
      }
      return (mirror, listing.urls)
    case .directory:
      let directories = try mirrors.compactMap { mirror in try directory(mirror).map { (mirror, $0) } }
      // One that was there before may have moved.
      if let (mirror, directory) = directories.first(where: { $0.1.isThere }) {
        return (
          mirror,
          try SourceRegistration.directoryURLs(
            directory.path, ofCompanion: source.isCompanion, like: catalog.fileNames(of: source).first
          ).urls
        )
      }
      if let (_, directory) = directories.first {
        throw TarnError(
          .usage, "\(directory.path) is not a directory that can be read",
          hint: "where its files are now is told by `tarn source mirror add \(source.name) DIR`")
      }
      throw TarnError(
        .usage, "\(source.name) was not registered from a directory",
        hint:
          "with templates, `tarn source extend \(source.name) --count N` adds ordinals; with a list, name it with --url-list, "
          + "with a listing with --listing"
      )
    }
  }

  /// The directory that a mirror is; nil where it is another place.
  private func directory(_ mirror: Mirror) throws -> DirectoryMirror? {
    DirectoryMirror(mirror, first: try catalog.addresses(of: source, on: mirror).first ?? nil)
  }

  /// What gives the address of a shard that follows on a mirror, from its ordinal and the address that is told.
  ///
  /// - Parameters:
  ///   - mirror: The mirror.
  ///   - told: The one that it is told on; nil where templates give all of them.
  /// - Returns: The rule.
  /// - Throws: ``TarnError`` `.usage` where nobody can know.
  private func places(on mirror: Mirror, toldOn told: Mirror?) throws -> (Int, String) throws -> String {
    if mirror.id == told?.id { return { _, url in url } }
    if let directory = try directory(mirror) { return { _, url in try directory.url(URLTemplate.fileName(of: url)) } }
    let template = try template(of: mirror)
    return { ordinal, _ in template.url(ordinal: ordinal) }
  }

  /// A mirror's template, which gives the places of new ordinals.
  private func template(of mirror: Mirror) throws -> URLTemplate {
    let parsed = try? URLTemplate(parsing: mirror.template, keeping: source.keptQuery)
    if let parsed, parsed.hasOrdinal { return parsed }
    throw TarnError(
      .usage,
      "mirror \(mirror.priority) of \(source.name), '\(mirror.template.withoutSecrets.printable)', has no {ordinal}, so "
        + "where it has further shards is not known",
      hint: mirror.isOfListing
        ? "say --url-list, with templates for all other mirrors"
        : "`tarn source refresh` looks into a directory; else register what is new as a source of its own, or remove that mirror first"
    )
  }

  // MARK: What has another address

  /// Takes those out that are at another address: the same name elsewhere, or the bytes
  /// of a shard that is gone under a name that is new.
  private func moved(
    from gone: inout [Shard], to new: inout [String]
  ) throws -> [(shard: Shard, url: String, to: String)] {
    var moved: [(shard: Shard, url: String, to: String)] = []
    let shards = gone
    var files = GoneFiles(
      shards.map {
        .init(name: $0.name, byteCount: $0.likelyByteCount, digest: $0.revision?.digest ?? $0.expectedDigest)
      })
    new = new.filter { url in
      guard shardNames == nil, let name = try? URLTemplate.fileName(of: url), let place = files.find(named: name) else {
        return true
      }
      moved.append((shards[place], url, url.withoutSecrets))
      return false
    }
    new = try new.filter { url in
      try cancellation.check()
      // Read whole only where a shard that is gone has as many bytes.
      guard url.hasPrefix("file:///"), let path = String(url.dropFirst("file://".count)).removingPercentEncoding,
        let size = Disk.size(of: path), files.lacks(byteCount: size),
        let place = try files.find(byteCount: size, digest: Disk.digest(of: path))
      else { return true }
      moved.append((shards[place], url, path.lastPathPart))
      return false
    }
    gone = shards.enumerated().filter { !files.found.contains($0.offset) }.map(\.element)
    return moved
  }

  // MARK: New shards

  private func definitions(
    _ urls: [String], _ files: [ListedFile], after count: Int, leaving empty: [Int: Int], on mirror: Mirror?,
    _ mirrors: [Mirror]
  ) throws -> [SourceDefinition.Shard] {
    guard !urls.isEmpty else { return [] }
    let places = try mirrors.map { try self.places(on: $0, toldOn: mirror) }
    let addresses = try urls.enumerated().map { number, url in try places.map { try $0(count + number, url) } }
    let names = try names(of: urls, after: count, isOfListing: !files.isEmpty)
    let shards = ShardPlaces(names: names, urls: addresses)
    let sizes = try self.sizes.map { try Manifest.sizes(path: $0, of: shards) } ?? [:]
    let digests = try self.digests.map { try Manifest.digests(path: $0, of: shards) } ?? [:]
    return zip(names, addresses).enumerated().map { number, shard in
      let (name, urls) = shard
      let file = files.isEmpty ? nil : files[number]
      var definition = SourceDefinition.Shard(
        name: name, urls: urls, expectedByteCount: sizes[name]?.byteCount ?? file?.byteCount,
        expectedDigest: digests[name] ?? file?.digest, expectedRowCount: empty[number] ?? sizes[name]?.rowCount)
      definition.isDropped = empty[number] != nil
      return definition
    }
  }

  private func names(of urls: [String], after count: Int, isOfListing: Bool) throws -> [String] {
    guard let shardNames else {
      let names = try urls.map(URLTemplate.fileName)
      if isOfListing { try SourceRegistration.requireReaders(of: names) }
      return names
    }
    return try SourceRegistration.names(by: shardNames, of: count..<count + urls.count)
  }
}

extension Mirror {
  /// Whether a list or a listing named its addresses.
  fileprivate var isOfListing: Bool { template.hasPrefix("list ") }
}
