// `pull`: a published version, taken into a lake. Its documents first, held against each
// other and against the lake; then what bytes of it the lake has not, read as what they
// are to be; then its rows, in one transaction; then its names (docs/PUBLISH.md).

package import Base
package import Catalog
internal import Fetch
internal import Foundation
internal import Indexer

/// A publication at a place, its documents read and held against each other.
package struct Publication: Sendable {
  package let version: PublishedVersion
  /// The address of its directory, with a slash at its end.
  let address: String
  /// The same without secrets.
  package let place: String

  /// Finds a version at a place and reads its documents.
  ///
  /// - Parameters:
  ///   - source: A directory, or an `https`, `http`, `s3` or `file` address.
  ///   - word: The version, or a name for the newest of it there; nil for the only one there.
  ///   - options: How to fetch.
  ///   - cancellation: Asked often.
  ///   - report: Told whom it waits for.
  /// - Returns: The publication.
  /// - Throws: ``TarnError`` `.usage` when several are there; `.absent`, `.integrity`.
  package static func find(
    _ source: String, _ word: String?, options: SyncOptions, cancellation: Cancellation,
    report: @escaping @Sendable (PullProgress) -> Void
  ) async throws -> Publication {
    cancellation.listen()
    let exact = try word.flatMap { LakeName.isValid($0) ? nil : try VersionName(parsing: $0) }
    return try await ThreadedWork("tarn-pull") {
      let base = try address(of: source)
      let reader = try PlainReader(
        configuration: options.fetch, patience: options.patience, clock: options.clock,
        isCancelled: { cancellation.isCancelled },
        onTrouble: { report(.waiting(host: $0, pause: $1, left: $2)) })
      let name = try exact ?? version(word, at: base, reader)
      func read(_ file: String) throws -> [UInt8] {
        let url = base + file
        guard let bytes = try reader.contents(of: url, atMost: PublishedNames.mostByteCount) else {
          throw TarnError(
            .absent, "there is no \(name) at \(WebAddress.redacted(base)): \(file) is missing",
            hint: "a version is there when its document is; `tarn push` writes that last")
        }
        return bytes
      }
      let document = try read(PublishedNames.document(name))
      let lock = try read(PublishedNames.lock(name))
      let place = WebAddress.redacted(base + "\(name)/")
      let version = try PublishedVersion(
        name, lock: lock, document: document, from: place, segmentFormats: 1...segmentFormatVersion)
      return Publication(version: version, address: base + "\(name)/", place: place)
    }.value()
  }

  /// The address of a place, with a slash at its end.
  private static func address(of source: String) throws -> String {
    if source.contains("://") {
      guard !source.contains("?"), !source.contains("#") else {
        throw TarnError(
          .usage, "\(WebAddress.redacted(source)) is no place: it has a query", hint: "name the folder alone")
      }
      return source.hasSuffix("/") ? source : source + "/"
    }
    let path = LakeLayout.absolute(source)
    guard Disk.isDirectory(path) else {
      throw TarnError(.inputsMissing, "there is no directory \(path)", hint: "name what was pushed to")
    }
    let allowed = CharacterSet.alphanumerics.intersection(CharacterSet(charactersIn: Unicode.Scalar(0)..."\u{7F}"))
      .union(CharacterSet(charactersIn: "/-._~"))
    guard let encoded = path.addingPercentEncoding(withAllowedCharacters: allowed) else {
      throw TarnError(.usage, "\(path.printable) is no address")
    }
    return "file://\(encoded)/"
  }

  /// The newest version of a name, or the only version, of those at a place.
  private static func version(_ name: String?, at base: String, _ reader: PlainReader) throws -> VersionName {
    let shown = WebAddress.redacted(base)
    guard let bytes = try reader.contents(of: base + PublishedNames.index, atMost: PublishedNames.mostByteCount) else {
      throw TarnError(.absent, "there is no \(PublishedNames.index) at \(shown)", hint: "name the version: NAME@N")
    }
    guard let names = PublishedIndex(bytes)?.names, !names.isEmpty else {
      throw TarnError(
        .integrity, "\(shown)\(PublishedNames.index) is no index of versions", hint: "name the version: NAME@N")
    }
    if let name {
      if let newest = names.filter({ $0.name == name }).max(by: { $0.number < $1.number }) { return newest }
      throw TarnError(
        .usage, "\(shown) has no version of \(name)",
        hint: NearWords.question(name, among: names.map(\.name)) ?? "leave the name out to see what is there")
    }
    guard names.count == 1 else {
      throw TarnError(
        .usage, "\(shown) has \(names.count) versions: \(names.map(\.description).listed(10))",
        hint: "name one of them")
    }
    return names[0]
  }

  /// A file of it.
  struct File: Sendable {
    let name: String
    let kind: StoredKind
    let digest: ContentDigest
    let byteCount: Int
  }

  /// The outputs and the trained index.
  func files() throws -> [File] {
    let document = version.document
    guard let codec = VectorCodec(rawValue: document.trained.codec),
      let size = TrainedIndexFile.byteCount(
        codec: codec, dimension: version.dimension, nlist: document.trained.nlist, hasAssigner: version.hasRouter,
        refine: version.refine.flatMap { VectorCodec(rawValue: $0) })
    else {
      throw TarnError(
        .schemaNewer, "\(version.name) has a codec that this tarn does not know", hint: "use a newer tarn")
    }
    return document.outputs.flatMap { output in
      let own = File(
        name: LakeLayout.outputName(version.name, ordinal: output.output), kind: .outputShard,
        digest: output.sha256, byteCount: output.bytes)
      guard let refine = output.refine else { return [own] }
      return [
        own,
        File(
          name: LakeLayout.refineName(version.name, ordinal: output.output), kind: .refineShard,
          digest: refine.sha256, byteCount: refine.bytes),
      ]
    } + [
      File(name: PublishedNames.trained, kind: .trainedIndex, digest: document.trained.sha256, byteCount: size)
    ]
  }
}

/// Takes a published version into a lake.
package struct PullRun: Sendable {
  /// What a pull did.
  package struct Summary: Sendable {
    package let version: IndexVersion
    /// Whether the lake had it already.
    package var wasThere = false
    package var fetchedCount = 0
    package var fetchedByteCount = 0
    /// Files that the lake had already.
    package var thereCount = 0
    /// Why not every rule of its source could be held against its rows.
    package var unheld: TarnError?
  }

  private let catalog: LakeCatalog
  private let publication: Publication
  private let options: SyncOptions
  private let cancellation: Cancellation
  private let report: @Sendable (PullProgress) -> Void
  /// Names of query items of addresses that the user knows to be harmless, lower case.
  package var keptQuery: Set<String> = []
  /// Whether the document's addresses may lead to this machine, its files and its network.
  package var allowsInside = false
  /// The name that it gets here; nil for its own.
  package var alias: String?

  /// Prepares to take a version in.
  ///
  /// - Parameters:
  ///   - publication: What was found.
  ///   - catalog: A lake, open for writing.
  ///   - options: How to fetch.
  ///   - cancellation: Asked often; what came is kept.
  ///   - report: Told how far it is, from any thread.
  package init(
    _ publication: Publication, in catalog: LakeCatalog, options: SyncOptions, cancellation: Cancellation,
    report: @escaping @Sendable (PullProgress) -> Void
  ) {
    self.publication = publication
    self.catalog = catalog
    self.options = options
    self.cancellation = cancellation
    self.report = report
  }

  /// Takes it in.
  ///
  /// - Returns: The version, and what was fetched.
  /// - Throws: ``TarnError`` `.conflict` when a name means another thing here;
  ///   `.integrity` for wrong bytes; `.diskFull`, `.absent`, `.temporary`.
  package func run() async throws -> Summary {
    cancellation.listen()
    let version = publication.version
    let known = try catalog.known(version, as: alias)
    if let known, known.versionDigest != nil {
      try VersionFiles(catalog: catalog).restoreNames(of: known)
      return Summary(version: known, wasThere: true)
    }
    let files = try publication.files()
    // What documents alone tell is told before 850 GB of outputs are here.
    if known == nil {
      try await ThreadedWork("tarn-pull") { [self] in
        try catalog.rehearse(version, as: alias, keeping: keptQuery, allowsInside: allowsInside)
      }.value()
    }
    let missing = try await ThreadedWork("tarn-pull") { try self.missing(of: files) }.value()
    let needed = missing.lazy.map { max(0, $0.file.byteCount - Disk.allocatedByteCount(of: $0.partPath)) }.saturatedSum
    try catalog.requireRoom(for: "\(version.name)", [RoomNeed(at: catalog.layout.artifacts, byteCount: needed)])
    // The trained index first: no output is one without it.
    try await fetch(missing.filter { $0.file.kind == .trainedIndex })
    let trained = try await ThreadedWork("tarn-pull") { try self.trained() }.value()
    try await fetch(missing.filter { $0.file.kind != .trainedIndex })
    try await ThreadedWork("tarn-pull") { try self.readOutputs(under: trained) }.value()
    let name =
      try known?.name ?? catalog.takeIn(version, as: alias, keeping: keptQuery, allowsInside: allowsInside)
    // As a build ends: no version is sealed before its names are there.
    let taken = try catalog.version(name)
    let names = VersionFiles(catalog: catalog)
    try names.restoreNames(of: taken)
    try names.writeOrigin(publication.place, of: taken)
    try names.writeLockFile(version.lockText, of: taken)
    try names.writeDocument(of: taken, version.digest)
    let unheld = try await ThreadedWork("tarn-pull") { [self] in
      try catalog.applyRules(to: taken, since: nil, cancellation)
    }.value()
    try catalog.seal(taken, lock: version.lockText, from: publication.place)
    return Summary(
      version: try catalog.version(name), fetchedCount: missing.count,
      fetchedByteCount: missing.reduce(0) { $0 + $1.file.byteCount },
      thereCount: files.count - missing.count, unheld: unheld)
  }

  private func fetch(_ files: [PublicationFetch.Wanted]) async throws {
    guard !files.isEmpty else { return }
    let catalog = catalog
    let artifacts = catalog.layout.artifacts
    try await PublicationFetch(
      publication: publication, options: options, cancellation: cancellation, report: report
    ).run(
      files,
      lackOfRoom: {
        guard let fileSystem = try? FileSystem(of: artifacts),
          case .refused(let error) = catalog.reserve().verdict(on: "the rest of it", taking: 0, of: fileSystem)
        else { return nil }
        return error
      },
      onArrival: { file in
        try catalog.keepingNoOrphan(catalog.path(of: file.kind, file.digest), in: .artifacts) {
          try catalog.recordFetched(file.digest, as: file.kind, byteCount: file.byteCount)
        }
      })
    try cancellation.check()
  }

  /// The trained index, here by now, read and held against the documents.
  private func trained() throws -> TrainedIndex {
    let stated = publication.version.document.trained
    return try reading(PublishedNames.trained, .trainedIndex, stated.sha256) { path in
      let found = try TrainedIndexFile.read(path, digest: stated.sha256)
      guard found.dimension == publication.version.dimension, found.nlist == stated.nlist,
        found.quantizer.codec.rawValue == stated.codec, (found.assigner != nil) == publication.version.hasRouter,
        found.refine?.codec.rawValue == publication.version.refine
      else { throw TarnError(.integrity, "it has other lists, dimensions or another codec") }
      return found
    }
  }

  /// Reads every output whole, those that were here too: what another version has is none of
  /// this one for that.
  private func readOutputs(under trained: TrainedIndex) throws {
    let document = publication.version.document
    let inputs = Dictionary(grouping: document.inputs.filter { $0.sha256 != nil }, by: \.output)
    let all = Dictionary(grouping: document.inputs, by: \.output)
    for (number, stated) in document.outputs.enumerated() {
      try cancellation.check()
      report(.reading(number, of: document.outputs.count))
      let name = LakeLayout.outputName(publication.version.name, ordinal: stated.output)
      try reading(name, .outputShard, stated.sha256) { path in
        let found = try OutputShardFile.read(
          path, trained: trained, idsIn: (inputs[stated.output] ?? []).flatMap(\.ids))
        guard found.digest == stated.sha256 else { throw TarnError(.integrity, "its SHA-256 is another") }
        guard found.rowCount == stated.rows, found.listDigests.root == stated.listsSha256 else {
          throw TarnError(.integrity, "it has other rows or lists")
        }
      }
      guard let refine = stated.refine, let own = all[stated.output], let first = own.first, let last = own.last else {
        continue
      }
      let refineName = LakeLayout.refineName(publication.version.name, ordinal: stated.output)
      try reading(refineName, .refineShard, refine.sha256) { path in
        let found = try RefineFile.read(
          path, trained: trained, ids: first.firstId..<(last.firstId + Int64(last.rows)),
          keeping: (inputs[stated.output] ?? []).flatMap(\.ids))
        guard found.digest == refine.sha256 else { throw TarnError(.integrity, "its SHA-256 is another") }
      }
    }
  }

  private func reading<Value>(
    _ file: String, _ kind: StoredKind, _ digest: ContentDigest, _ body: (_ path: String) throws -> Value
  ) throws -> Value {
    let path = try ArtifactStore(catalog).path(of: kind, digest)
    do {
      return try body(path)
    } catch let error as TarnError where error.code == .integrity {
      // What was here already was not read as it came.
      if let here = try? Disk.digest(of: path), here != digest {
        throw TarnError(.integrity, "\(path) of this lake is damaged", hint: "run `tarn verify --repair`")
      }
      throw TarnError(
        .integrity, "\(publication.place)\(file) is not what the document says of it: \(error.message)",
        hint: "pull it from another place; `tarn gc` frees what came")
    }
  }

  /// The files that the lake has not; what lies there without a row is read, and recorded
  /// if it is right.
  private func missing(of files: [Publication.File]) throws -> [PublicationFetch.Wanted] {
    let store = ArtifactStore(catalog)
    var seen: Set<ContentDigest> = []
    return try files.compactMap { file -> PublicationFetch.Wanted? in
      try cancellation.check()
      guard seen.insert(file.digest).inserted else { return nil }
      let path = try store.path(of: file.kind, file.digest)
      if Disk.size(of: path) == file.byteCount {
        if try catalog.artifact(file.digest) != nil { return nil }
        if try Disk.digest(of: path) == file.digest {
          try catalog.recordFetched(file.digest, as: file.kind, byteCount: file.byteCount)
          return nil
        }
      }
      try Disk.makeDirectory(path.parentPath)
      try Disk.makeDirectory(catalog.layout.artifactScratch)
      let part = "\(catalog.layout.artifactScratch)/pull-\(publication.version.name)-\(file.digest.prefix(16)).part"
      return PublicationFetch.Wanted(file: file, partPath: part, finalPath: path)
    }
  }
}

/// Single files of a publication, written into a directory; no lake has to do with it.
package struct PullFilesRun: Sendable {
  private let publication: Publication
  private let options: SyncOptions
  private let cancellation: Cancellation
  private let report: @Sendable (PullProgress) -> Void

  package init(
    _ publication: Publication, options: SyncOptions, cancellation: Cancellation,
    report: @escaping @Sendable (PullProgress) -> Void
  ) {
    self.publication = publication
    self.options = options
    self.cancellation = cancellation
    self.report = report
  }

  /// Fetches the files.
  ///
  /// - Parameters:
  ///   - names: As they are called in the publication.
  ///   - directory: Where they go; it is made. A file that is there with the right bytes stays,
  ///     one with others is not replaced.
  /// - Returns: The files, absolute.
  /// - Throws: ``TarnError`` `.usage` for a name that is not there, `.conflict`.
  package func run(_ names: [String], into directory: String) async throws -> [String] {
    let files = try publication.files()
    let target = LakeLayout.absolute(directory)
    var seen: Set<String> = []
    let wanted = try names.filter { seen.insert($0).inserted }.map { name in
      guard let file = files.first(where: { $0.name == name }) else {
        throw TarnError(
          .usage, "\(publication.version.name) has no file \(name.printable)",
          hint: "its files are \(files.prefix(3).map(\.name).joined(separator: ", "))\(files.count > 3 ? ", …" : "")")
      }
      return PublicationFetch.Wanted(
        file: file, partPath: "\(target)/\(name).part", finalPath: "\(target)/\(name)")
    }
    try OutputPlace.check(target, holding: publication.version.name, besides: nil)
    try Disk.makeDirectory(target)
    let missing = try await ThreadedWork("tarn-pull") { [cancellation] in
      try wanted.filter { item in
        try cancellation.check()
        guard Disk.size(of: item.finalPath) != nil else { return true }
        guard try Disk.digest(of: item.finalPath) == item.file.digest else {
          throw TarnError(
            .conflict, "\(item.finalPath) is there with other bytes and is not replaced", hint: "name another directory"
          )
        }
        return false
      }
    }.value()
    let needed = missing.lazy.map { max(0, $0.file.byteCount - Disk.allocatedByteCount(of: $0.partPath)) }.saturatedSum
    let reserve = DiskReserve(keptFree: options.keptFree)
    let subject = "\(publication.version.name)"
    if case .refused(let error) = reserve.verdict(on: subject, taking: needed, of: try FileSystem(of: target)) {
      throw error
    }
    try await PublicationFetch(
      publication: publication, options: options, cancellation: cancellation, report: report
    ).run(
      missing,
      lackOfRoom: {
        guard let fileSystem = try? FileSystem(of: target),
          case .refused(let error) = reserve.verdict(on: subject, taking: 0, of: fileSystem)
        else { return nil }
        return error
      }, onArrival: { _ in })
    return wanted.map(\.finalPath)
  }
}
