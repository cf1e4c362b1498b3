// `push`: a sealed version, written to a place. Outputs and trained index, then the lock
// file, the document, the index, each only when what is before it is there (docs/PUBLISH.md).
// The history tells of it from the first file on.

package import Base
package import Catalog
package import Fetch
internal import Foundation
internal import Synchronization

/// Publishes a version.
package struct PushRun: Sendable {
  /// What a push did.
  package struct Summary: Sendable {
    package var writtenCount = 0
    package var writtenByteCount = 0
    /// Files that were there, with the right bytes.
    package var thereCount = 0
    package let place: String
  }

  /// A file on its way: its bytes at the place of all.
  package typealias Report = @Sendable (_ byteCount: Int, _ totalByteCount: Int) -> Void

  private struct File: Sendable {
    let path: String
    let name: String
    let digest: ContentDigest
    let byteCount: Int
  }

  /// What several threads share of a push.
  private final class Course: Sendable {
    private let left: Mutex<ArraySlice<File>>
    private let state: Mutex<(summary: Summary, byteCount: Int, isOver: Bool)>
    private let total: Int
    private let report: Report

    init(_ files: [File], at place: String, report: @escaping Report) {
      left = Mutex(files[...])
      state = Mutex((Summary(place: place), 0, false))
      total = files.reduce(0) { $0 + $1.byteCount }
      self.report = report
    }

    var summary: Summary { state.withLock(\.summary) }

    /// The next file; nil when there is none, or one failed.
    func next() -> File? { state.withLock(\.isOver) ? nil : left.withLock { $0.popFirst() } }

    func end() { state.withLock { $0.isOver = true } }

    func moved(_ byteCount: Int) {
      let now = state.withLock { state in
        state.byteCount += byteCount
        return state.byteCount
      }
      report(now, total)
    }

    /// Counts a file.
    ///
    /// - Parameter byteCount: Its length where it was written; nil where it was there.
    /// - Returns: Whether it is the first one that was written.
    func count(written byteCount: Int?) -> Bool {
      state.withLock { state in
        state.summary.writtenCount += byteCount == nil ? 0 : 1
        state.summary.writtenByteCount += byteCount ?? 0
        state.summary.thereCount += byteCount == nil ? 1 : 0
        return byteCount != nil && state.summary.writtenCount == 1
      }
    }
  }

  private let catalog: LakeCatalog
  private let version: IndexVersion
  /// Its name at the place: the one that its lock file says.
  private let name: VersionName
  private let destination: String
  private let configuration: FetchConfiguration
  private let patience: Duration
  private let cancellation: Cancellation
  private let report: Report
  private let locks = DirectoryLocks()

  /// Prepares to publish.
  ///
  /// - Parameters:
  ///   - catalog: A lake in which the version stays while this works.
  ///   - version: The version, sealed.
  ///   - destination: A directory, `file://…` or `s3://…`.
  ///   - configuration: How to ask, how many files at a time, how fast.
  ///   - patience: How long a store that fails for now is waited for.
  ///   - cancellation: Asked often; what is written stays.
  ///   - report: Told of progress, from any thread.
  package init(
    _ catalog: LakeCatalog, _ version: IndexVersion, to destination: String, configuration: FetchConfiguration,
    patience: Duration, cancellation: Cancellation, report: @escaping Report
  ) {
    self.catalog = catalog
    self.version = version
    name = version.sealedName
    self.destination = destination
    self.configuration = configuration
    self.patience = patience
    self.cancellation = cancellation
    self.report = report
  }

  /// Publishes the version.
  ///
  /// - Returns: What was written, and what was there.
  /// - Throws: ``TarnError`` `.conflict` for one that is not sealed, and when other bytes are
  ///   at the place; `.integrity` for a damaged file of the lake.
  package func run() async throws -> Summary {
    cancellation.listen()
    let (files, lock, document) = try await ThreadedWork("tarn-push") { try prepare() }.value()
    let course = Course(files, at: WebAddress.redacted(destination), report: report)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<min(configuration.jobs, files.count) {
        group.addTask {
          try await ThreadedWork("tarn-push-\(number)") {
            do {
              let place = try self.place()
              while let file = course.next() { try put(file, at: place, course) }
            } catch {
              course.end()
              throw error
            }
          }.value()
        }
      }
      try await group.waitForAll()
    }
    try await ThreadedWork("tarn-push") {
      let place = try self.place()
      try put(lock, as: PublishedNames.lock(name), at: place, course)
      // One that is there may have other addresses; it is as true, and stays.
      let file = PublishedNames.document(name)
      let bytes = try place.contents(file) ?? Array("\(document.text())\n".utf8)
      try settle(place.put(bytes, as: file), file, bytes.count, place, course)
      try updateIndex(of: place, with: document)
      try tell(of: place, isNew: false)
    }.value()
    return course.summary
  }

  /// What is to be at the place, once it is known that nothing else is there.
  private func prepare() throws -> ([File], lock: String, VersionExport) {
    guard version.state == .sealed, version.versionDigest != nil else {
      throw TarnError(
        .conflict, "\(version.name) is \(version.state.rawValue), not sealed", hint: version.state.wayToSealed)
    }
    let document = try catalog.export(version.name)
    let lock = try VersionFiles(catalog: catalog).sealedText(of: version)
    guard ContentDigest.of(lock) == version.versionDigest else {
      throw TarnError(
        .integrity, "the catalog no longer says what \(version.name) was sealed with", hint: "run `tarn verify`")
    }
    let place = try place()
    if let bytes = try place.contents(PublishedNames.document(name)) {
      let there = try? VersionExport(reading: bytes, of: "\(place.description)/\(PublishedNames.document(name))")
      guard there?.versionSha256 == version.versionDigest else {
        throw TarnError(
          .conflict, "\(place.description) has another \(name)", hint: "push to another place, or remove that one there"
        )
      }
    }
    let store = ArtifactStore(catalog)
    var files = try catalog.outputs(of: version).flatMap { output in
      let own = File(
        path: try store.path(ofOutput: output.digest, of: version),
        name: PublishedNames.output(name, output.ordinal), digest: output.digest, byteCount: output.byteCount)
      guard let refine = output.refine else { return [own] }
      return [
        own,
        File(
          path: try store.path(ofOutput: refine.digest, of: version, kind: .refineShard),
          name: PublishedNames.refine(name, output.ordinal), digest: refine.digest, byteCount: refine.byteCount),
      ]
    }
    let trained = document.trained.sha256
    let path = try store.path(of: .trainedIndex, trained)
    guard let size = Disk.size(of: path) else {
      throw TarnError(
        .inputsMissing, "the trained index of \(version.name) is not at \(path)", hint: "run `tarn verify --repair`")
    }
    files.append(File(path: path, name: PublishedNames.trained(name), digest: trained, byteCount: size))
    return (files, lock, document)
  }

  private func place() throws -> any PublishedPlace {
    if destination.isStoreAddress {
      return try StorePlace(
        destination, configuration: configuration, patience: patience, scratch: catalog.layout.scratch,
        cancellation: cancellation)
    }
    let path: String
    if destination.contains("://") {
      let address = try WebAddress(destination)
      guard address.scheme == .file else {
        throw TarnError(
          .usage, "cannot push to \(address.redacted)", hint: "name a directory, or s3://bucket/prefix")
      }
      path = LakeLayout.absolute(address.filePath)
    } else {
      path = LakeLayout.absolute(destination)
    }
    try OutputPlace.check(
      "\(path.hasSuffix("/") ? String(path.dropLast()) : path)", holding: name, besides: catalog.layout)
    return DirectoryPlace(path, configuration: configuration, locks: locks, cancellation: cancellation)
  }

  private func put(_ file: File, at place: any PublishedPlace, _ course: Course) throws {
    try cancellation.check()
    var sent = 0
    let outcome = try place.put(file: file.path, as: file.name, file.digest) { count in
      sent += count
      course.moved(count)
    }
    course.moved(file.byteCount - sent)
    try settle(outcome, file.name, file.byteCount, place, course)
  }

  private func put(_ text: String, as name: String, at place: any PublishedPlace, _ course: Course) throws {
    try settle(place.put(Array(text.utf8), as: name), name, text.utf8.count, place, course)
  }

  private func settle(
    _ outcome: ObjectStore.Outcome, _ name: String, _ byteCount: Int, _ place: any PublishedPlace, _ course: Course
  ) throws {
    switch outcome {
    case .written:
      // Who withdraws the version has to know of it, whatever becomes of the rest.
      if course.count(written: byteCount) { try tell(of: place, isNew: true) }
    case .alreadyThere: _ = course.count(written: nil)
    case .taken:
      throw TarnError(
        .conflict, "\(place.description)/\(name) is there with other bytes and is not replaced",
        hint: "push to another place, or remove that file")
    }
  }

  /// Keeps in the history that the version is at a place.
  private func tell(of place: any PublishedPlace, isNew: Bool) throws {
    guard let digest = version.versionDigest else { return }
    try catalog.recordPublication(
      .pushed, of: version.name, at: place.description.printableLine, digest, isNew: isNew)
  }

  /// Makes the index of what is there, again until nothing is missing in it.
  private func updateIndex(of place: any PublishedPlace, with document: VersionExport) throws {
    try place.updateIndex { bytes in
      let known = Dictionary(
        (bytes.flatMap { PublishedIndex($0) }?.versions ?? []).map { ($0.version, $0) }, uniquingKeysWith: { $1 })
      var entries = ["\(name)": PublishedIndex.Entry(document)]
      for other in try place.versions() where other != name {
        if let entry = known["\(other)"] {
          entries["\(other)"] = entry
        } else if let text = try place.contents(PublishedNames.document(other)),
          let there = try? VersionExport(reading: text, of: "\(other)")
        {
          entries["\(other)"] = PublishedIndex.Entry(there)
        }
      }
      // A store may list late what another push wrote.
      for (version, entry) in known where entries[version] == nil {
        guard let other = try? VersionName(parsing: version),
          try place.contents(PublishedNames.document(other)) != nil
        else { continue }
        entries[version] = entry
      }
      let made = try PublishedIndex(Array(entries.values)).bytes()
      return made == bytes ? nil : made
    }
  }
}

extension PublishedIndex.Entry {
  init(_ document: VersionExport) {
    version = document.version
    sha256 = document.versionSha256
    outputs = document.outputs.count
    bytes = document.outputs.lazy.map { $0.bytes.addingSaturated($0.refine?.bytes ?? 0) }.saturatedSum
  }
}
