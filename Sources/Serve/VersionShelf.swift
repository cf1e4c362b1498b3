// Which versions are answered for, kept as the catalog says while the server lives.
//
// One thread looks, once a second, whether anybody has written to the catalog, which costs next to nothing; only then are
// versions and lists of exclusions asked for, and only where those are others is anything opened or closed.

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

/// When a catalog is looked at again.
///
/// Pure: times are handed in.
package struct ShelfPacing: Sendable {
  /// The least time between two looks at whether anything was written.
  package static let freshness = Duration.seconds(1)
  /// How long after something could not be opened that is tried again though nothing was written.
  package static let retryTime = Duration.seconds(30)

  private var lookedAt: ContinuousClock.Instant?
  private var dataVersion: Int?
  private var failedAt: ContinuousClock.Instant?

  package init() {}

  /// Whether it is time for a look.
  package mutating func isLookDue(at now: ContinuousClock.Instant) -> Bool {
    if let lookedAt, now - lookedAt < Self.freshness { return false }
    lookedAt = now
    return true
  }

  /// Whether the catalog is to be read: somebody has written, or it is time to try again what failed.
  ///
  /// - Parameters:
  ///   - dataVersion: What the look gave.
  ///   - now: The time.
  /// - Returns: Whether.
  package mutating func isReadDue(_ dataVersion: Int, at now: ContinuousClock.Instant) -> Bool {
    let isRetry = failedAt.map { now - $0 >= Self.retryTime } ?? false
    guard self.dataVersion != dataVersion || isRetry else { return false }
    self.dataVersion = dataVersion
    failedAt = nil
    return true
  }

  /// Whether nobody has written since the catalog was read last.
  ///
  /// - Parameter dataVersion: What a look gives now.
  /// - Returns: Whether.
  package func isUpToDate(_ dataVersion: Int) -> Bool { self.dataVersion == dataVersion }

  /// Notes that not all could be read or opened.
  package mutating func fail(at now: ContinuousClock.Instant) { failedAt = now }
}

/// Whether what is served is still held against the catalog.
///
/// Pure: times are handed in.
package struct ShelfSight: Sendable {
  /// How long a catalog may go unread until what is excluded or revoked there counts as unknown here.
  package static let patience = Duration.seconds(60)

  private var seenAt: ContinuousClock.Instant

  package init(at now: ContinuousClock.Instant) { seenAt = now }

  /// Notes that the catalog was looked at and had nothing that could not be read.
  package mutating func see(at now: ContinuousClock.Instant) { seenAt = max(seenAt, now) }

  /// Whether nobody has looked for too long, or in vain: what is served may be what nobody may see any more.
  package func isLost(at now: ContinuousClock.Instant) -> Bool { now - seenAt > Self.patience }
}

/// The versions that a server answers for.
package final class VersionShelf: Sendable {
  private struct State {
    var served: ServedVersions
    var isClosed = false
    /// Whether versions are being opened, in which time nobody looks at the catalog.
    var isOpening = false
  }

  /// What the thread alone reads and writes.
  private struct Memory: Sendable {
    var pacing = ShelfPacing()
    var facts: ServingFacts?
    /// What could not be opened, and has been said.
    var told: Set<String> = []
    var hasFailed = false
    /// Whether the catalog could not be read the last time that it was due.
    var isBlind = false
  }

  private let catalog: LakeCatalog
  private let asked: [ServedName]
  private let columns: [String]?
  private let threads: Int
  private let tell: @Sendable (ServeNews) -> Void
  private let state: Mutex<State>
  private let memory = Mutex(Memory())
  /// Apart from the memory, which is held as long as a look takes.
  private let sight: Mutex<ShelfSight>

  /// Opens what is to be served.
  ///
  /// - Parameters:
  ///   - words: Versions and names; none for the newest of each name.
  ///   - catalog: A lake; reading is enough.
  ///   - columns: Columns of companions that are shown; nil for all that are here.
  ///   - threads: Threads of a search.
  ///   - cancellation: Asked between versions.
  ///   - tell: Told later of versions that come and go, and of what cannot be opened; must not block, as whoever tells
  ///     is who takes down what is revoked.
  /// - Throws: ``TarnError`` `.notFound`, `.conflict`, `.inputsMissing`, `.integrity` and `.usage` for what cannot be served.
  package init(
    _ words: [String], in catalog: LakeCatalog, columns: [String]?, threads: Int, cancellation: Cancellation,
    tell: @escaping @Sendable (ServeNews) -> Void
  ) throws {
    (self.catalog, self.columns, self.threads, self.tell) = (catalog, columns, threads, tell)
    asked = try ServedName.all(words)
    var pacing = ShelfPacing()
    _ = pacing.isReadDue(try catalog.dataVersion(), at: .now)
    let facts = try catalog.servingFacts()
    sight = Mutex(ShelfSight(at: .now))
    for word in words {
      let name = try catalog.versionName(word)
      guard try catalog.version(name).state == .revoked else { continue }
      throw TarnError(
        .conflict, "\(name) is revoked", hint: "serve another; `tarn search \(name)` still searches what is left of it")
    }
    let plan = ServingPlan(asked, among: facts.versions)
    // One that is not sealed is refused for what it is.
    let names = try words.isEmpty ? plan.names : words.map { try catalog.versionName($0) }
    var open: [ServedVersion] = []
    for name in names where !open.contains(where: { $0.name == name }) {
      try cancellation.check()
      let version = try SearchableVersion(
        name, in: catalog, columns: columns, checkpoint: { try cancellation.check() })
      open.append(ServedVersion(version, at: facts.rows, threads: threads))
    }
    state = Mutex(State(served: ServedVersions(open, revoked: plan.revoked, unmetCount: plan.unmet.count)))
    memory.withLock { ($0.pacing, $0.facts) = (pacing, facts) }
  }

  /// What is served now.
  package var versions: ServedVersions {
    var served = state.withLock { state in
      var served = state.served
      served.isOpening = state.isOpening
      return served
    }
    served.isUnwatched = sight.withLock { $0.isLost(at: .now) }
    return served
  }

  /// Looks from now on whether the catalog has changed, until it is closed.
  ///
  /// - Throws: ``TarnError`` `.io` when the system gives no thread.
  package func watch() throws {
    try NamedThread.start("tarn-shelf") { [weak self] in
      while let shelf = self, !shelf.state.withLock(\.isClosed) {
        shelf.look(at: .now)
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
      guard memory.pacing.isLookDue(at: now) else { return }
      do {
        let isReadDue = memory.pacing.isReadDue(try catalog.dataVersion(), at: now)
        if !isReadDue, memory.isBlind { return }
        let read = try isReadDue ? catalog.servingFacts() : nil
        memory.isBlind = false
        sight.withLock { $0.see(at: now) }
        guard let facts = read else { return }
        guard facts != memory.facts || memory.hasFailed else { return }
        memory.hasFailed = false
        take(facts, &memory)
        if !memory.hasFailed { (memory.facts, memory.told) = (facts, []) }
      } catch {
        memory.isBlind = true
        note(error, "the catalog cannot be read", &memory)
      }
      if memory.hasFailed { memory.pacing.fail(at: now) }
    }
  }

  /// Says once of each fault that what was served before is served on.
  private func note(_ error: any Error, _ what: String, _ memory: inout Memory) {
    memory.hasFailed = true
    let text = "\(what): \((error as? TarnError)?.message ?? "\(error)")".printableLine
    if memory.told.insert(text).inserted { tell(.fault(text)) }
  }

  private func take(_ facts: ServingFacts, _ memory: inout Memory) {
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
      seeAgain(facts, memory.pacing)
    }
    publish(next, plan, missing: lost)
    ServeNews.changes(from: served, to: next.map(\.name), revoked: plan.revoked).forEach(tell)
  }

  /// Counts as a look what bears out that the catalog says what it said, however long opening took.
  private func seeAgain(_ facts: ServingFacts, _ pacing: ShelfPacing) {
    let now = ContinuousClock.now
    // Others write while they work, and most of that is nothing to who searches. What cannot be read here is told by the
    // next look.
    guard let isSame = try? pacing.isUpToDate(catalog.dataVersion()) || catalog.servingFacts() == facts, isSame else {
      return
    }
    sight.withLock { $0.see(at: now) }
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
