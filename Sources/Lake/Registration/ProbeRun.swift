// `source probe`: every shard asked for on every mirror, and what they say kept
// in the catalog.

package import Base
package import Catalog
package import Fetch
internal import Features
internal import Foundation
internal import Synchronization

/// What a probe found out.
package struct ProbeSummary: Sendable {
  /// Answers that told something, and questions that nobody answered.
  package var answeredCount = 0
  package var unreachableCount = 0
  /// The first reason why a question was not answered.
  package var firstUnreachable: String?
  /// How credentials are given to the first host that refused access; nil where none did.
  package var wayIn: String?
}

/// Asks the mirrors of a source what they have.
package final class ProbeRun: Sendable {
  private let catalog: LakeCatalog
  private let source: Source
  private let ordinals: OrdinalSet?
  private let concurrency: Int
  private let configuration: FetchConfiguration
  private let waits: WaitOptions
  private let cancellation: Cancellation
  private let report: @Sendable (_ done: Int, _ total: Int) -> Void
  private let state = Mutex(State())

  private struct State {
    var pending: [ProbeRecord] = []
    var doneCount = 0
    var summary = ProbeSummary()
    var failure: (any Error)?
    /// Who asks now.
    var prober: Prober?
  }

  /// Threads that ask for what only the ends of files tell.
  private static let tailThreadCount = 16
  /// Records are written this many at a time: one sync of the catalog each.
  private static let batchCount = 512

  /// Prepares a probe.
  ///
  /// - Parameters:
  ///   - catalog: A lake, open for writing.
  ///   - source: The source to ask about.
  ///   - ordinals: Which of its shards; nil for all.
  ///   - concurrency: Questions under way at a time.
  ///   - configuration: How to ask.
  ///   - waits: How hosts that fail for now are waited for.
  ///   - cancellation: Stops asking; what was heard is kept.
  ///   - report: Told of progress, on the prober's thread.
  package init(
    _ catalog: LakeCatalog, _ source: Source, ordinals: OrdinalSet?, concurrency: Int,
    configuration: FetchConfiguration, waits: WaitOptions = WaitOptions(), cancellation: Cancellation,
    report: @escaping @Sendable (_ done: Int, _ total: Int) -> Void
  ) {
    self.catalog = catalog
    self.source = source
    self.ordinals = ordinals
    self.report = report
    self.cancellation = cancellation
    self.concurrency = concurrency
    self.configuration = configuration
    self.waits = waits
  }

  /// Asks, and records the answers.
  ///
  /// - Returns: How many there were; coverage is the catalog's to tell.
  /// - Throws: ``TarnError``; `.interrupted` when it was stopped.
  package func run() async throws -> ProbeSummary {
    let targets = try catalog.shardsInUse(of: source, ordinals: ordinals).flatMap { shard in
      let format = FeatureFormat(ofFile: shard.name)
      let kind = ProbeTarget.Kind(
        format: format, dimension: source.dimension, elementType: source.elementType, array: source.array)
      let asksForRows = shard.knownRowCount == nil && !source.isCompanion
      // A command can only be run, which is no question.
      return try catalog.locations(of: shard.id).filter { !CommandAddress.isOne($0.url) }.map {
        ProbeTarget(
          shardID: shard.id, mirror: FetchMirror($0, keeping: source.keptQuery),
          expectedByteCount: shard.expectedByteCount,
          kind: asksForRows ? kind : nil)
      }
    }
    let registration = cancellation.whenCancelled { [self] in state.withLock { $0.prober }?.cancel() }
    defer { withExtendedLifetime(registration) {} }
    let result: Result<Void, any Error>
    do {
      try await ask(targets)
      result = .success(())
    } catch {
      result = .failure(error is CancellationError ? TarnError.interrupted : error)
    }
    if let failure = state.withLock({ $0.failure }) { throw failure }
    try write()
    try result.get()
    return state.withLock { $0.summary }
  }

  /// Questions that wait, by host: those that were not asked yet, the next one last, and
  /// those that nobody answered, who was asked least first.
  private struct Pending {
    var fresh: [ProbeTarget]
    var again: [ProbeTarget] = []

    var count: Int { fresh.count + again.count }

    mutating func next(_ count: Int) -> [ProbeTarget] {
      let first = fresh.suffix(count)
      fresh.removeLast(first.count)
      let rest = again.prefix(count - first.count)
      again.removeFirst(rest.count)
      return first.reversed() + rest
    }
  }

  /// Asks in rounds: a host that fails for now is left alone, and others go on (R21, R23).
  private func ask(_ targets: [ProbeTarget]) async throws {
    let total = targets.count
    guard waits.patience > .zero else {
      for finding in try await round(targets, of: total) { take(finding, of: total) }
      return
    }
    var pending = Dictionary(grouping: targets.reversed()) { configuration.host(of: $0.mirror) }
      .mapValues { Pending(fresh: $0) }
    var hosts = HostsInTrouble(waits)
    while !pending.isEmpty {
      try cancellation.check()
      var asked: [ProbeTarget] = []
      for name in pending.keys.sorted() {
        switch hosts.standing(name) {
        case .well: asked += pending[name]?.next(8 * concurrency) ?? []
        case .askable: asked += pending[name]?.next(1) ?? []
        case .pausing: break
        case .exhausted:
          let over = pending.removeValue(forKey: name)
          for target in over.map({ $0.again + $0.fresh.reversed() }) ?? [] {
            take(ProbeFinding(givingUp: target, hosts.error(name)), of: total)
          }
        }
      }
      if asked.isEmpty {
        let (names, count, room) = (Set(pending.keys), pending.values.reduce(0) { $0 + $1.count }, hosts)
        _ = try await ThreadedWork("tarn-wait") { [cancellation] in
          try room.wait(for: names, shardCount: count, cancellation)
        }.value()
        continue
      }
      let byPlace = Dictionary(
        asked.map { (Place($0.shardID, $0.mirror.id), $0) }, uniquingKeysWith: { first, _ in first })
      let open = try await round(asked, of: total)
      var troubled: [String: [ProbeFinding]] = [:]
      for finding in open {
        guard let target = byPlace[Place(finding.shardID, finding.mirrorID)] else { continue }
        let host = configuration.host(of: target.mirror)
        troubled[host, default: []].append(finding)
        pending[host]?.again.append(target)
      }
      for (host, targets) in Dictionary(grouping: asked, by: { configuration.host(of: $0.mirror) }) {
        let failures = troubled[host] ?? []
        if failures.count < targets.count { hosts.answered(host) }
        if let last = failures.last, case .unreachable(let cause) = last.answer {
          hosts.failed(host, askingFor: failures.compactMap(\.retryAfter).max(), cause)
        }
        if pending[host]?.count == 0 { pending[host] = nil }
      }
    }
  }

  private struct Place: Hashable {
    let shardID: Int64
    let mirrorID: Int64

    init(_ shardID: Int64, _ mirrorID: Int64) { (self.shardID, self.mirrorID) = (shardID, mirrorID) }
  }

  /// Asks once, and gives what nobody answered.
  private func round(_ targets: [ProbeTarget], of total: Int) async throws -> [ProbeFinding] {
    let prober = Prober(concurrency: concurrency, configuration: configuration)
    state.withLock { $0.prober = prober }
    try cancellation.check()
    let byPlace = Dictionary(
      targets.map { (Place($0.shardID, $0.mirror.id), $0) }, uniquingKeysWith: { first, _ in first })
    let open = Mutex<[ProbeFinding]>([])
    let unread = Mutex<[UnreadFiles.File]>([])
    let sort: @Sendable (ProbeFinding) -> Void = { [self] finding in
      if case .unreachable = finding.answer {
        open.withLock { $0.append(finding) }
      } else {
        take(finding, of: total)
      }
    }
    try await prober.run(targets) { finding in
      if let target = byPlace[Place(finding.shardID, finding.mirrorID)], finding.leavesRowsOpen(of: target) {
        unread.withLock { $0.append(UnreadFiles.File(finding: finding, target: target)) }
      } else {
        sort(finding)
      }
    }
    try await readEnds(unread.withLock { $0 }, sort)
    if let failure = state.withLock({ $0.failure }) { throw failure }
    return open.withLock { $0 }
  }

  /// Asks for the ends of files, which alone tell their rows.
  private func readEnds(
    _ files: [UnreadFiles.File], _ found: @escaping @Sendable (ProbeFinding) -> Void
  ) async throws {
    let left = UnreadFiles(files)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<min(files.count, concurrency, Self.tailThreadCount) {
        group.addTask { [self] in
          try await ThreadedWork("tarn-probe-\(number)") { [self] in
            let reader = try RangeReader(configuration: configuration, isCancelled: { self.cancellation.isCancelled })
            while let file = left.next(), state.withLock({ $0.failure == nil }) {
              try cancellation.check()
              let host = configuration.host(of: file.target.mirror)
              // A host that failed for now is left alone until the next round.
              if let cause = left.trouble(of: host) {
                found(ProbeFinding(givingUp: file.target, cause))
                continue
              }
              let finding = try file.finding.completed(for: file.target, by: reader)
              if case .unreachable(let cause) = finding.answer { left.note(cause, of: host) }
              found(finding)
            }
          }.value()
        }
      }
      try await group.waitForAll()
    }
  }

  private func take(_ finding: ProbeFinding, of total: Int) {
    let (done, isFull) = state.withLock { state in
      state.pending.append(ProbeRecord(finding))
      state.doneCount += 1
      if case .unreachable(let cause) = finding.answer {
        state.summary.unreachableCount += 1
        state.summary.firstUnreachable = state.summary.firstUnreachable ?? cause
      } else {
        state.summary.answeredCount += 1
        state.summary.wayIn = state.summary.wayIn ?? finding.wayIn?.naming(source.name)
      }
      return (state.doneCount, state.pending.count >= Self.batchCount)
    }
    report(done, total)
    guard isFull else { return }
    do {
      try write()
    } catch {
      let prober = state.withLock { state in
        state.failure = state.failure ?? error
        return state.prober
      }
      prober?.cancel()
    }
  }

  private func write() throws {
    let records = state.withLock { state in
      let taken = state.pending
      state.pending = []
      return taken
    }
    if !records.isEmpty { try catalog.recordProbes(records) }
  }
}

/// Files of which only the end tells the rows, each given to one thread.
private final class UnreadFiles: Sendable {
  struct File: Sendable {
    let finding: ProbeFinding
    let target: ProbeTarget
  }

  private let left: Mutex<ArraySlice<File>>
  private let troubles = Mutex<[String: String]>([:])

  init(_ files: [File]) { left = Mutex(files[...]) }

  func next() -> File? { left.withLock { $0.popFirst() } }

  /// Why a host failed for now; nil for one that did not.
  func trouble(of host: String) -> String? { troubles.withLock { $0[host] } }
  func note(_ cause: String, of host: String) { troubles.withLock { $0[host] = cause } }
}

extension ProbeRecord {
  fileprivate init(_ finding: ProbeFinding) {
    let (shardID, mirrorID) = (finding.shardID, finding.mirrorID)
    switch finding.answer {
    case .present(let byteCount, let validator):
      self.init(
        shardID: shardID, mirrorID: mirrorID, state: .present, byteCount: byteCount, rowCount: finding.rowCount,
        etag: validator.etag, lastModified: validator.lastModified)
    case .absent: self.init(shardID: shardID, mirrorID: mirrorID, state: .absent)
    case .faulty(let cause): self.init(shardID: shardID, mirrorID: mirrorID, state: .faulty, error: cause)
    case .unreachable(let cause): self.init(shardID: shardID, mirrorID: mirrorID, state: nil, error: cause)
    }
  }
}
