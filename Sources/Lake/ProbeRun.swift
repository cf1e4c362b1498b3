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
}

extension FeatureFormat {
  /// Whether the beginning of a file tells its rows.
  fileprivate var tellsRowsAtItsStart: Bool { self != .torch }
}

/// Asks the mirrors of a source what they have.
package final class ProbeRun: Sendable {
  private let catalog: LakeCatalog
  private let source: Source
  private let ordinals: OrdinalSet?
  private let prober: Prober
  private let cancellation: Cancellation
  private let report: @Sendable (_ done: Int, _ total: Int) -> Void
  private let state = Mutex(State())

  private struct State {
    var pending: [ProbeRecord] = []
    var doneCount = 0
    var summary = ProbeSummary()
    var failure: (any Error)?
  }

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
  ///   - cancellation: Stops asking; what was heard is kept.
  ///   - report: Told of progress, on the prober's thread.
  package init(
    _ catalog: LakeCatalog, _ source: Source, ordinals: OrdinalSet?, concurrency: Int,
    configuration: FetchConfiguration, cancellation: Cancellation,
    report: @escaping @Sendable (_ done: Int, _ total: Int) -> Void
  ) {
    self.catalog = catalog
    self.source = source
    self.ordinals = ordinals
    self.report = report
    self.cancellation = cancellation
    prober = Prober(concurrency: concurrency, configuration: configuration)
  }

  /// Asks, and records the answers.
  ///
  /// - Returns: How many there were; coverage is the catalog's to tell.
  /// - Throws: ``TarnError``; `.interrupted` when it was stopped.
  package func run() async throws -> ProbeSummary {
    let targets = try catalog.shardsInUse(of: source, ordinals: ordinals).flatMap { shard in
      let format = FeatureFormat(ofFile: shard.name)
      let kind = ProbeTarget.Kind(format: format, dimension: source.dimension, elementType: source.elementType)
      let asksForRows = shard.knownRowCount == nil && format.tellsRowsAtItsStart
      return try catalog.locations(of: shard.id).map {
        ProbeTarget(
          shardID: shard.id, mirror: FetchMirror($0), expectedByteCount: shard.expectedByteCount,
          kind: asksForRows ? kind : nil)
      }
    }
    let registration = cancellation.whenCancelled { [prober] in prober.cancel() }
    defer { withExtendedLifetime(registration) {} }
    let result: Result<Void, any Error>
    do {
      try await prober.run(targets) { [self] finding in take(finding, of: targets.count) }
      result = .success(())
    } catch {
      result = .failure(error is CancellationError ? TarnError.interrupted : error)
    }
    if let failure = state.withLock({ $0.failure }) { throw failure }
    try write()
    try result.get()
    return state.withLock { $0.summary }
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
      }
      return (state.doneCount, state.pending.count >= Self.batchCount)
    }
    report(done, total)
    guard isFull else { return }
    do {
      try write()
    } catch {
      state.withLock { $0.failure = $0.failure ?? error }
      prober.cancel()
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
