// Which versions are served: kept in step with the catalog while the server runs.
//
// One thread polls once a second whether anybody has written to the catalog, which costs next to nothing. Only then does it
// read versions and lists of exclusions, and only where those have changed does it open or close anything. Where the open
// catalog is a copy, or a file that has lost its name, nobody's writing shows in it, and it is opened anew.

package import Base
internal import Foundation
package import Lake
internal import Synchronization

/// What a server was told to serve.
package enum ServedName: Sendable, Equatable {
  /// That version alone.
  case version(VersionName)
  /// The newest sealed version of a name.
  case newest(String)
  /// The newest sealed version of each name that there is.
  case newestOfEach

  /// What words of the command line mean.
  ///
  /// - Throws: ``TarnError`` `.usage` for what is neither a name nor a version.
  package static func all(_ words: [String]) throws -> [ServedName] {
    guard !words.isEmpty else { return [.newestOfEach] }
    return try words.map { LakeName.isValid($0) ? .newest($0) : .version(try VersionName(parsing: $0)) }
  }
}

/// Which versions are to be served, by what a catalog has.
///
/// Pure.
package struct ServingPlan: Sendable, Equatable {
  /// In the order in which they were asked for; of what nobody named, what was sealed last comes first.
  package let names: [VersionName]
  /// Those that were withdrawn.
  package let revoked: Set<VersionName>
  /// What was asked for by its name and has no sealed version any more.
  package let unmet: [ServedName]

  /// Plans.
  ///
  /// - Parameters:
  ///   - asked: What is to be served.
  ///   - versions: All that the catalog has.
  package init(_ asked: [ServedName], among versions: [ServingFacts.Version]) {
    var newest: [String: ServingFacts.Version] = [:]
    for version in versions where version.state == .sealed {
      guard newest[version.name.name].map({ $0.name.number < version.name.number }) ?? true else { continue }
      newest[version.name.name] = version
    }
    let sealed = Set(versions.lazy.filter { $0.state == .sealed }.map(\.name))
    var (names, unmet): ([VersionName], [ServedName]) = ([], [])
    for one in asked {
      let meant: [VersionName] =
        switch one {
        case .version(let name): sealed.contains(name) ? [name] : []
        case .newest(let name): newest[name].map { [$0.name] } ?? []
        case .newestOfEach:
          newest.values.sorted { first, second in
            first.sealedAt == second.sealedAt
              ? first.name.name < second.name.name : first.sealedAt > second.sealedAt
          }.map(\.name)
        }
      names += meant.filter { !names.contains($0) }
      if meant.isEmpty, one != .newestOfEach { unmet.append(one) }
    }
    (self.names, self.unmet) = (names, unmet)
    revoked = Set(versions.lazy.filter { $0.state == .revoked }.map(\.name))
  }
}

/// When the catalog is polled for changes, and when it is read.
///
/// Pure: times are handed in.
package struct CatalogPolling: Sendable {
  /// The least time between two polls.
  package static let interval = Duration.seconds(1)
  /// How long after a version could not be opened it is tried again, although nothing was written.
  package static let retryTime = Duration.seconds(30)

  private var lookedAt: ContinuousClock.Instant?
  private var dataVersion: Int?
  private var failedAt: ContinuousClock.Instant?

  package init() {}

  /// Whether it is time to poll.
  package mutating func isLookDue(at now: ContinuousClock.Instant) -> Bool {
    if let lookedAt, now - lookedAt < Self.interval { return false }
    lookedAt = now
    return true
  }

  /// Whether the catalog is to be read: somebody has written, or it is time to try again what failed.
  ///
  /// - Parameters:
  ///   - dataVersion: SQLite's `data_version`, as the poll gave it.
  ///   - now: The time.
  /// - Returns: Whether to read the catalog.
  package mutating func isReadDue(_ dataVersion: Int, at now: ContinuousClock.Instant) -> Bool {
    let isRetry = failedAt.map { now - $0 >= Self.retryTime } ?? false
    guard self.dataVersion != dataVersion || isRetry else { return false }
    self.dataVersion = dataVersion
    failedAt = nil
    return true
  }

  /// Whether nobody has written since the catalog was read last.
  ///
  /// - Parameter dataVersion: SQLite's `data_version`, as a poll gives it now.
  /// - Returns: Whether what was read is still what the catalog says.
  package func isUpToDate(_ dataVersion: Int) -> Bool { self.dataVersion == dataVersion }

  /// Notes that another connection polls from now on, whose numbers are its own.
  package mutating func begin() { dataVersion = nil }

  /// Notes that not all could be read or opened.
  package mutating func fail(at now: ContinuousClock.Instant) { failedAt = now }
}

/// How long ago what is served was last compared with the catalog.
///
/// Pure: times are handed in.
package struct CatalogFreshness: Sendable {
  /// How long a catalog may go unread until what is excluded or revoked there counts as unknown here.
  package static let limit = Duration.seconds(60)

  private var confirmedAt: ContinuousClock.Instant

  package init(at now: ContinuousClock.Instant) { confirmedAt = now }

  /// Notes that the catalog was read, or that nothing was written to it since it was read.
  package mutating func confirm(at now: ContinuousClock.Instant) { confirmedAt = max(confirmedAt, now) }

  /// Whether the catalog has not been read for too long: rows or versions that are served may have been withdrawn.
  package func isStale(at now: ContinuousClock.Instant) -> Bool { now - confirmedAt > Self.limit }
}

/// The versions that a server serves, opened and closed as the catalog changes.
package final class VersionRegistry: Sendable {
  private struct State {
    var served: ServedVersions
    var isClosed = false
    /// Whether versions are being opened, during which nobody polls the catalog.
    var isOpening = false
  }

  /// What only the polling thread reads and writes.
  private struct Memory: Sendable {
    var catalog: LakeCatalog
    /// What the catalog's files were at the last poll; nil where they might change again without being told from that.
    var files: CatalogState?
    /// The same when it was opened, however lately they had changed.
    var opened: CatalogState?
    var polling = CatalogPolling()
    var facts: ServingFacts?
    /// What could not be opened, and has been said.
    var told: Set<String> = []
    var hasFailed = false
    /// Whether the last read of the catalog failed.
    var isBlind = false
  }

  private let root: String
  private let asked: [ServedName]
  private let columns: [String]?
  private let threads: Int
  private let tell: @Sendable (ServeNews) -> Void
  private let state: Mutex<State>
  private let memory: Mutex<Memory>
  /// Behind a lock of its own: `memory` is locked while versions are opened, and requests must not wait for that.
  private let freshness: Mutex<CatalogFreshness>

  /// Opens what is to be served.
  ///
  /// - Parameters:
  ///   - words: Versions and names; none for the newest of each name.
  ///   - root: The lake's directory; reading is enough.
  ///   - columns: Columns of companions that are shown; nil for all that are here.
  ///   - threads: Threads of a search.
  ///   - cancellation: Asked between versions.
  ///   - tell: Told later of versions that come and go, and of what cannot be opened; must not block, as whoever tells
  ///     is who takes down what is revoked.
  /// - Throws: ``TarnError`` `.notFound`, `.conflict`, `.inputsMissing`, `.integrity` and `.usage` for what cannot be
  ///   served and was named, or where nothing can.
  package init(
    _ words: [String], in root: String, columns: [String]?, threads: Int, cancellation: Cancellation,
    tell: @escaping @Sendable (ServeNews) -> Void
  ) throws {
    (self.root, self.columns, self.threads, self.tell) = (root, columns, threads, tell)
    asked = try ServedName.all(words)
    let path = LakeLayout(root: root).catalog
    let (files, opened) = (CatalogState(of: path), CatalogState(lately: path))
    let catalog = try LakeCatalog.open(root: root, writing: nil)
    var memory = Memory(catalog: catalog, files: files, opened: opened)
    _ = memory.polling.isReadDue(try catalog.dataVersion(), at: .now)
    let facts = try catalog.servingFacts()
    memory.facts = facts
    freshness = Mutex(CatalogFreshness(at: .now))
    for word in words {
      let name = try catalog.versionName(word)
      guard try catalog.version(name).state == .revoked else { continue }
      throw TarnError(
        .conflict, "\(name) is revoked", hint: "serve another; `tarn search \(name)` still searches what is left of it")
    }
    let plan = ServingPlan(asked, among: facts.versions)
    // One that is not sealed is refused for what it is.
    let names = try words.isEmpty ? plan.names : words.map { try catalog.versionName($0) }
    var (open, lost): ([ServedVersion], [VersionName]) = ([], [])
    var failure: TarnError?
    for name in names where !open.contains(where: { $0.name == name }) {
      try cancellation.check()
      do {
        let version = try SearchableVersion(
          name, in: catalog, columns: columns, checkpoint: { try cancellation.check() })
        open.append(ServedVersion(version, at: facts.rows, threads: threads))
      } catch let error as TarnError where words.isEmpty && [.inputsMissing, .integrity, .io].contains(error.code) {
        // Nobody named it: the others are none the worse, as when it comes to that later.
        failure = failure ?? error
        lost.append(name)
        let text = Self.fault(error, "\(name) cannot be served")
        if memory.told.insert(text).inserted { tell(.fault(text)) }
      }
    }
    if let failure {
      guard !open.isEmpty else { throw failure }
      memory.hasFailed = true
      memory.polling.fail(at: .now)
    }
    state = Mutex(
      State(served: ServedVersions(open, revoked: plan.revoked, missing: lost, unmetCount: plan.unmet.count)))
    self.memory = Mutex(memory)
  }

  /// What is served now.
  package var versions: ServedVersions {
    var served = state.withLock { state in
      var served = state.served
      served.isOpening = state.isOpening
      return served
    }
    served.isUnwatched = freshness.withLock { $0.isStale(at: .now) }
    return served
  }

  /// Looks from now on whether the catalog has changed, until it is closed.
  ///
  /// - Throws: ``TarnError`` `.io` when the system gives no thread.
  package func watch() throws {
    try NamedThread.start("tarn-versions") { [weak self] in
      while let registry = self, !registry.state.withLock(\.isClosed) {
        registry.look(at: .now)
        usleep(250_000)
      }
    }
  }

  /// Ends the watching.
  package func close() { state.withLock { $0.isClosed = true } }

  /// Looks at the catalog if it is time, and serves what it says.
  ///
  /// - Parameter now: The time.
  package func look(at now: ContinuousClock.Instant) {
    memory.withLock { memory in
      guard memory.polling.isLookDue(at: now) else { return }
      do {
        let version = try dataVersion(&memory)
        let isReadDue = memory.polling.isReadDue(version, at: now)
        if !isReadDue, memory.isBlind { return }
        let read = try isReadDue ? memory.catalog.servingFacts() : nil
        memory.isBlind = false
        freshness.withLock { $0.confirm(at: now) }
        guard let facts = read else { return }
        guard facts != memory.facts || memory.hasFailed else { return }
        memory.hasFailed = false
        take(facts, &memory)
        if !memory.hasFailed { (memory.facts, memory.told) = (facts, []) }
      } catch {
        memory.isBlind = true
        note(error, "the catalog cannot be read", &memory)
      }
      if memory.hasFailed { memory.polling.fail(at: now) }
    }
  }

  /// A number that is another one after somebody else has written.
  ///
  /// The catalog is opened anew where what is open does not tell: its files are others, and its number is not. Then it
  /// is a copy in memory, as whoever can write nothing beside the catalog has, or a file whose name another has taken,
  /// as after `tarn rebuild-catalog`.
  private func dataVersion(_ memory: inout Memory) throws -> Int {
    let path = memory.catalog.layout.catalog
    let files = CatalogState(lately: path)
    if files != nil, let version = try? memory.catalog.dataVersion(),
      files == memory.files || !memory.polling.isUpToDate(version)
    {
      memory.files = files
      return version
    }
    let settled = CatalogState(of: path)
    let catalog = try LakeCatalog.open(root: root, writing: nil)
    let first = try catalog.dataVersion()
    // Of another file nothing is known, though it may count as many exclusions.
    let isSameFile = files.flatMap { memory.opened?.isSameFile(as: $0) } ?? false
    if !isSameFile { memory.facts = nil }
    (memory.catalog, memory.files, memory.opened) = (catalog, settled, files)
    memory.polling.begin()
    return first
  }

  /// Says once of each fault that what was served before is served on.
  private func note(_ error: any Error, _ what: String, _ memory: inout Memory) {
    memory.hasFailed = true
    let text = Self.fault(error, what)
    if memory.told.insert(text).inserted { tell(.fault(text)) }
  }

  private static func fault(_ error: any Error, _ what: String) -> String {
    "\(what): \((error as? TarnError)?.message ?? "\(error)")".printableLine
  }

  private func take(_ facts: ServingFacts, _ memory: inout Memory) {
    let catalog = memory.catalog
    let plan = ServingPlan(asked, among: facts.versions)
    let sealed = Set(facts.versions.lazy.filter { $0.state == .sealed }.map(\.name))
    let before = memory.facts
    let served = versions.all.map(\.name)
    // First what is not to be seen any more: opening takes time.
    var open = versions.all.filter { sealed.contains($0.name) }
    publish(open, plan)
    if facts.rows.exclusionCounts != before?.rows.exclusionCounts {
      open = open.compactMap { version in
        do {
          return version.hiding(try catalog.hiddenRows(of: version.name), threads: threads)
        } catch {
          // Better nothing of it than a row that nobody may see; the others are none the worse.
          note(error, "\(version.name) is not served, as it cannot be said which of its rows are excluded", &memory)
          return nil
        }
      }
      publish(open, plan)
    }
    // Whose columns are of another time than the exclusions.
    var late: Set<VersionName> = []
    if facts.rows.companionCounts != before?.rows.companionCounts {
      open = open.map { version in
        do {
          return version.showing(try SearchableVersion.columns(of: version.name, in: catalog, names: columns))
        } catch {
          note(error, "what is known of the rows of \(version.name) stays as it was", &memory)
          late.insert(version.name)
          return version
        }
      }
      publish(open, plan)
    }
    var (next, lost): ([ServedVersion], [VersionName]) = ([], [])
    state.withLock { $0.isOpening = true }
    defer { state.withLock { $0.isOpening = false } }
    for name in plan.names {
      if let version = open.first(where: { $0.name == name }) {
        next.append(late.contains(name) ? version : version.at(facts.rows))
        continue
      }
      do {
        next.append(
          ServedVersion(try SearchableVersion(name, in: catalog, columns: columns), at: facts.rows, threads: threads))
      } catch {
        note(error, "\(name) cannot be served", &memory)
        // Better what was the newest than nothing.
        if let old = open.last(where: { $0.name.name == name.name && !plan.names.contains($0.name) }) {
          next.append(late.contains(old.name) ? old : old.at(facts.rows))
        } else {
          lost.append(name)
        }
      }
      confirmWhileOpening(facts, memory)
    }
    publish(next, plan, missing: lost)
    ServeNews.changes(from: served, to: next.map(\.name), revoked: plan.revoked).forEach(tell)
  }

  /// Confirms what is served if the catalog still says the same: opening versions may take longer than
  /// ``CatalogFreshness/limit``, and nobody polls meanwhile.
  private func confirmWhileOpening(_ facts: ServingFacts, _ memory: Memory) {
    let now = ContinuousClock.now
    func isUnchanged() throws -> Bool {
      // Most of what other commands write does not concern what is served.
      guard try memory.polling.isUpToDate(memory.catalog.dataVersion()) else {
        return try memory.catalog.servingFacts() == facts
      }
      // A catalog in which no writing shows may be a copy.
      if let files = memory.files, files == CatalogState(lately: memory.catalog.layout.catalog) { return true }
      return try LakeCatalog.open(root: root, writing: nil).servingFacts() == facts
    }
    // What cannot be read here is reported by the next poll.
    guard let isSame = try? isUnchanged(), isSame else { return }
    freshness.withLock { $0.confirm(at: now) }
  }

  /// Serves other versions from now on.
  ///
  /// - Parameters:
  ///   - open: The versions.
  ///   - plan: What is to be served.
  ///   - missing: What of it cannot be searched; nil for what could not be before, while that is being looked at.
  private func publish(_ open: [ServedVersion], _ plan: ServingPlan, missing: [VersionName]? = nil) {
    let served = ServedVersions(
      open, revoked: plan.revoked, missing: missing ?? versions.missing, unmetCount: plan.unmet.count)
    // What is replaced is let go of outside the lock: that may close files.
    let old = state.withLock { state in
      defer { state.served = served }
      return state.served
    }
    withExtendedLifetime(old) {}
  }
}
