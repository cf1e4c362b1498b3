// What the rows of a source are, as its first shard says, or the next one where that has no rows: read
// from a file at once, and asked of the mirrors only where nobody said the dimension.

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
    let (shards, isOfDocument) = try placesOfShards(in: catalog)
    let first = shards.first ?? (name: "", urls: [])
    var found: Kind?
    do {
      found = try local(shards)
    } catch  where dimension != nil {
      // Every shard is looked into when it is fetched, and this one named then.
    }
    if found == nil, dimension == nil {
      found = try await asked(first.urls, first.name, isOfDocument, configuration, waits, cancellation)
    }
    if let found {
      try ForeignNumber.dimension.check(found.dimension, "a number of elements of a row", in: found.shard.printable)
      try check(found)
    }
    result.dimension = dimension ?? found?.dimension
    result.elementType =
      elementType ?? found?.elementType ?? FeatureFormat(ofFile: first.name).onlyElementType ?? Self.assumedElementType
    return (result, found?.shard)
  }

  /// What shards are called and where they are, and whether a document brought the first one's first
  /// address; of the files of another source those that are in the lake, where there is one.
  private func placesOfShards(
    in catalog: LakeCatalog
  ) throws -> (shards: [(name: String, urls: [String])], isOfDocument: Bool) {
    guard case .files(let owner) = place else {
      let (_, urls, listing) = try locations()
      let names = try names(of: urls)
      try requireArrays(Array(names.prefix(1)))
      return (zip(names, urls).map { (name: $0, urls: $1) }, !allowsInside && listing?.bringsAddresses == true)
    }
    let shards = try catalog.shardsInUse(of: catalog.fileOwner(named: owner))
    let here: [(name: String, urls: [String])] = shards.compactMap { shard in
      guard let path = shard.path,
        let encoded = catalog.layout.path(path, in: .shards)
          .addingPercentEncoding(withAllowedCharacters: .urlPathAllowed)
      else { return nil }
      return (shard.name, ["file://\(encoded)"])
    }
    if !here.isEmpty { return (here, false) }
    guard let first = shards.first else { return ([], false) }
    let places = try catalog.locations(of: first.id)
    return ([(first.name, places.map(\.url))], !allowsInside && places.first?.isOfDocument == true)
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

  /// Looks into the first shard where it is a file of this machine, and into those after it as long as
  /// they tell nothing, as the empty ones that parallel writers begin with.
  private func local(_ shards: [(name: String, urls: [String])]) throws -> Kind? {
    var silence: TarnError?
    for shard in shards {
      guard let path = Self.path(among: shard.urls) else { break }
      let format = FeatureFormat(ofFile: shard.name)
      do {
        let kind = try FeatureFile.kind(of: path, as: format, array: array, dimension: dimension)
        return Kind(shard: shard.name, dimension: kind.dimension, elementType: kind.elementType)
      } catch let error as TarnError where FeatureFile.leavesDimensionOpen(path, as: format, array: array) {
        silence = silence ?? error
      }
    }
    if let silence {
      throw TarnError(
        silence.code, silence.message, hint: "say --dimension; every shard is held against it when it is fetched")
    }
    return nil
  }

  /// The first of some addresses that is a file of this machine.
  private static func path(among urls: [String]) -> String? {
    for url in urls where AddressText(url).scheme == "file" && !EnvironmentPlace.isIn(url) {
      if let path = String(url.dropFirst("file://".count)).removingPercentEncoding, Disk.size(of: path) != nil {
        return path
      }
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
