// What the rows of a source are, as its first shard says: read from a file at once,
// and asked of the mirrors only where nobody said the dimension.

package import Base
package import Catalog
internal import Features
package import Fetch
internal import Foundation
internal import Synchronization

extension SourceRegistration {
  /// What a shard says of its rows.
  private struct Kind {
    let shard: String
    let dimension: Int
    let elementType: ElementType
  }

  /// The type where neither the user nor a file says one.
  private static let assumedElementType = ElementType.float16

  /// Fills in what was not said, and holds what was said against the first shard.
  ///
  /// - Parameters:
  ///   - catalog: The lake; a source of the name that it has says the rest.
  ///   - configuration: How to ask mirrors.
  ///   - waits: How those are waited for that fail for now.
  ///   - cancellation: Stops asking.
  /// - Returns: The registration with dimension and dtype, and the shard that told
  ///   something of them; nil when none was looked into.
  /// - Throws: ``TarnError`` `.usage` naming the option that is wrong; why the first
  ///   shard tells nothing, where it has to.
  package func completed(
    for catalog: LakeCatalog, configuration: FetchConfiguration, waits: WaitOptions = WaitOptions(),
    cancellation: Cancellation
  ) async throws -> (registration: SourceRegistration, toldBy: String?) {
    var result = self
    guard owner == nil else { return (result, nil) }
    if let known = try catalog.sources().first(where: { $0.name == name }) {
      result.dimension = dimension ?? known.dimension
      result.elementType = elementType ?? known.elementType
      return (result, nil)
    }
    let (shard, urls, isOfDocument) = try firstShard(in: catalog)
    var found: Kind?
    do {
      found = try local(urls, shard)
    } catch  where dimension != nil {
      // Every shard is looked into when it is fetched, and this one named then.
    }
    if found == nil, dimension == nil {
      found = try await asked(urls, shard, isOfDocument, configuration, waits, cancellation)
    }
    if let found { try check(found) }
    result.dimension = dimension ?? found?.dimension
    result.elementType = elementType ?? found?.elementType ?? Self.assumedElementType
    return (result, found?.shard)
  }

  /// The name of the first shard, where it is, and whether a document brought the first of
  /// these addresses; of the files of another source, of one that is in the lake, where there
  /// is one.
  private func firstShard(in catalog: LakeCatalog) throws -> (name: String, urls: [String], isOfDocument: Bool) {
    guard case .files(let owner) = place else {
      let (_, urls, listing) = try locations()
      let names = try names(of: Array(urls.prefix(1)))
      try requireArrays(names)
      return (names.first ?? "", urls.first ?? [], !allowsInside && listing?.bringsAddresses == true)
    }
    let shards = try catalog.shardsInUse(of: catalog.fileOwner(named: owner))
    if let here = shards.first(where: { $0.path != nil }), let path = here.path,
      let encoded = "\(catalog.layout.shards)/\(path)".addingPercentEncoding(withAllowedCharacters: .urlPathAllowed)
    {
      return (here.name, ["file://\(encoded)"], false)
    }
    guard let first = shards.first else { return ("", [], false) }
    let places = try catalog.locations(of: first.id)
    return (first.name, places.map(\.url), !allowsInside && places.first?.isOfDocument == true)
  }

  /// Refuses what the first shard contradicts.
  private func check(_ found: Kind) throws {
    if let dimension, dimension != found.dimension {
      throw TarnError(
        .usage,
        "--dimension \(dimension) is wrong: the rows of \(found.shard.printable) have \(found.dimension) elements",
        hint: "say --dimension \(found.dimension), or leave it out")
    }
    if let elementType, elementType != found.elementType {
      throw TarnError(
        .usage,
        "--dtype \(elementType.rawValue) is wrong: the elements of \(found.shard.printable) are \(found.elementType.rawValue)",
        hint: "say --dtype \(found.elementType.rawValue), or leave it out")
    }
  }

  /// Looks into the first shard where it is a file of this machine.
  private func local(_ urls: [String], _ shard: String) throws -> Kind? {
    for url in urls where AddressText(url).scheme == "file" && !EnvironmentPlace.isIn(url) {
      guard let path = String(url.dropFirst("file://".count)).removingPercentEncoding, Disk.size(of: path) != nil else {
        continue
      }
      let kind = try FeatureFile.kind(of: path, as: FeatureFormat(ofFile: shard), array: array)
      return Kind(shard: shard, dimension: kind.dimension, elementType: kind.elementType)
    }
    return nil
  }

  /// Asks the mirrors, one after the other, for the first bytes of the first shard, and
  /// those again that failed for now as long as patience lasts.
  private func asked(
    _ urls: [String], _ shard: String, _ isOfDocument: Bool, _ configuration: FetchConfiguration, _ waits: WaitOptions,
    _ cancellation: Cancellation
  ) async throws -> Kind {
    var error = TarnError(.absent, "no mirror has it")
    var hosts = HostsInTrouble(waits)
    guard urls.contains(where: { !CommandAddress.isOne($0) }) else {
      throw TarnError(
        .usage, "nobody says of what dimension and dtype \(name) is: a command is not run to learn it",
        hint: "say --dimension and --dtype; every shard is held against them")
    }
    var open = urls.enumerated().filter { !CommandAddress.isOne($0.element) }.map { place, url in
      FetchMirror(id: Int64(place), url: url, isOfDocument: isOfDocument && place == 0)
    }
    while true {
      var failed: [FetchMirror] = []
      for mirror in open {
        let host = configuration.host(of: mirror)
        guard [.well, .askable].contains(hosts.standing(host)) else {
          failed.append(mirror)
          continue
        }
        guard let finding = try await ask(mirror, shard, configuration, cancellation) else { continue }
        if let head = finding.head, let dimension = head.dimension, let type = head.elementType {
          return Kind(shard: shard, dimension: dimension, elementType: type)
        }
        switch finding.answer {
        case .present(let byteCount, _):
          let cause =
            finding.head == nil
            ? "its beginning cannot be read from its server"
            : "its beginning does not tell, and its server "
              + (byteCount == nil ? "does not say how long it is" : "gives out no other parts of it")
          error = TarnError(.refused, cause)
        case .absent: break
        case .faulty(let cause): error = TarnError(.refused, cause, hint: finding.wayIn)
        case .unreachable(let cause):
          hosts.failed(host, askingFor: finding.retryAfter, cause)
          failed.append(mirror)
        }
      }
      open = failed
      let (names, room) = (Set(open.map { configuration.host(of: $0) }), hosts)
      let isWorthwhile = try await ThreadedWork("tarn-wait") {
        try room.wait(for: names, shardCount: 1, cancellation)
      }.value()
      if !isWorthwhile { break }
    }
    if let first = open.first { error = TarnError(.temporary, hosts.error(configuration.host(of: first))) }
    throw TarnError(
      error.code, "\(shard.printable) of \(name) tells no dimension and dtype: \(error.message)",
      hint: error.hint ?? "say --dimension and --dtype; every shard is held against them when it is fetched")
  }

  /// What one mirror says of the first shard.
  private func ask(
    _ mirror: FetchMirror, _ shard: String, _ configuration: FetchConfiguration, _ cancellation: Cancellation
  ) async throws -> ProbeFinding? {
    try cancellation.check()
    let prober = Prober(concurrency: 1, configuration: configuration)
    let registration = cancellation.whenCancelled { prober.cancel() }
    defer { withExtendedLifetime(registration) {} }
    let answer = Mutex<ProbeFinding?>(nil)
    let target = ProbeTarget(
      shardID: 0, mirror: mirror,
      kind: ProbeTarget.Kind(format: FeatureFormat(ofFile: shard), dimension: nil, elementType: nil, array: array))
    do {
      try await prober.run([target]) { finding in answer.withLock { $0 = finding } }
    } catch is CancellationError {
      throw TarnError.interrupted
    }
    guard let finding = answer.withLock({ $0 }), finding.leavesRowsOpen(of: target) else {
      return answer.withLock { $0 }
    }
    return try await ThreadedWork("tarn-probe") {
      try finding.completed(
        for: target, by: RangeReader(configuration: configuration, isCancelled: { cancellation.isCancelled }))
    }.value()
  }
}
