// What transfers under way look like: a line for each on a terminal, events for
// programs.

internal import Base
internal import Foundation
internal import Lake
internal import Synchronization

/// Follows a sync and shows it.
final class TransferBoard: Sendable {
  private struct State {
    var meter = TransferMeter()
    var total: TransferMeter.Row?
    var announcedAt: ContinuousClock.Instant?
    var retryCount = 0
    /// Shards that failed, by kind of failure.
    var failureCounts: [TarnError.Code: Int] = [:]
  }

  /// Lines told of one kind before the others are only counted: a mirror that
  /// is down fails every shard in the same way.
  private static let toldCount = 5

  /// Shards that came with other bytes than they had.
  let revisions = FetchedRevisions()
  private let progress: ProgressLine
  private let json: Bool
  private let state = Mutex(State())

  init(_ progress: ProgressLine, json: Bool) {
    self.progress = progress
    self.json = json
  }

  /// Shows what happened.
  func show(_ event: SyncProgress) {
    switch event {
    case .started(let shard, let mirror, let attempt):
      emit("started", shard, ["mirror": .optionalCount(mirror), "attempt": .count(attempt)])
    case .transferring(let shard, let byteCount, let total): follow(shard, byteCount, total)
    case .moved(let done, let count, let bytes, let received, let total, let failed):
      move(done, failed, of: count, bytes, received, total)
    case .fetched(let shard, let byteCount):
      forget(shard)
      emit("fetched", shard, ["bytes": .count(byteCount)])
    case .mended(let shard, let chunks):
      emit("mended", shard, ["chunks": .string(chunks.text), "bytes": .count(chunks.byteCount)])
      progress.note("\(shard.name): chunks \(chunks.text) were damaged; fetched \(ByteSize.text(chunks.byteCount))")
    case .revised(let revised):
      revisions.take(revised)
      if case .object(let facts) = revised.json { emit("revised", facts) }
    case .retrying(let shard, let error):
      emit("retrying", shard, ["message": .string(error)])
      let count = state.withLock { state in
        state.retryCount += 1
        return state.retryCount
      }
      if count <= Self.toldCount { progress.note("\(shard.name): \(error); trying again") }
    case .waiting(let wait): pause(wait)
    case .failed(let shard, let error):
      forget(shard)
      emit("failed", shard, ["message": .string(error.message)])
      let count = state.withLock { state in
        state.failureCounts[error.code, default: 0] += 1
        return state.failureCounts[error.code, default: 0]
      }
      guard count <= Self.toldCount else { return }
      progress.clear()
      Output.diagnostic("tarn: \(shard.name): \(error)")
    case .withdrawn(let shard, let error):
      forget(shard)
      emit("withdrawn", shard, ["message": .string(error.message)])
    case .passedOver(let shard, let error):
      forget(shard)
      emit("passed-over", shard, ["message": .string(error.message)])
    }
  }

  /// Says how much was counted and not told; after the run.
  func close() {
    let (retryCount, failureCount) = state.withLock { state in
      (
        max(0, state.retryCount - Self.toldCount),
        state.failureCounts.values.reduce(0) { $0 + max(0, $1 - Self.toldCount) }
      )
    }
    if retryCount > 0 {
      let retries = "\(retryCount) more such \(retryCount == 1 ? "retry" : "retries")"
      progress.note("and \(retries); `tarn sql \"SELECT * FROM v_transfer\"` lists them")
    }
    guard failureCount > 0 else { return }
    progress.clear()
    Output.diagnostic(
      "tarn: and \(failureCount) more \(failureCount == 1 ? "shard" : "shards") like these; "
        + "`tarn sql \"\(CannedQuery.shardErrors)\"` lists them")
  }

  private func emit(_ type: String, _ shard: Shard, _ facts: [String: JSONValue]) {
    emit(type, facts.merging(["source": .string(shard.sourceName), "shard": .string(shard.name)]) { $1 })
  }

  /// Tells a program of an event.
  private func emit(_ type: String, _ facts: [String: JSONValue]) {
    guard json else { return }
    Output.json(facts.merging(["type": .string(type), "at": .string(Timestamp.now())]) { $1 })
    // An event is of use while it is new.
    Output.flush()
  }

  /// Says who is waited for and until when.
  private func pause(_ wait: HostWait) {
    progress.note(wait.text)
    emit(
      "waiting",
      [
        "host": .string(wait.host), "until": .string(Timestamp.text(wait.until)),
        "patience_until": .string(Timestamp.text(wait.patienceUntil)), "shards": .count(wait.shardCount),
      ])
  }

  private func follow(_ shard: Shard, _ byteCount: Int, _ total: Int?) {
    state.withLock {
      $0.meter.take(
        shard.id, label: "\(shard.sourceName)/\(shard.name)", byteCount: byteCount, totalByteCount: total, at: .now)
    }
  }

  private func forget(_ shard: Shard) { state.withLock { $0.meter.forget(shard.id) } }

  private func move(_ done: Int, _ failed: Int, of count: Int, _ bytes: Int, _ received: Int, _ total: Int?) {
    let now = ContinuousClock.now
    let (lines, rate, isDue) = state.withLock { state in
      // What an earlier run left is no speed of this one.
      state.total = state.total ?? TransferMeter.Row(label: "", byteCount: received, totalByteCount: nil, at: now)
      state.total?.take(received, at: now)
      let isDue = state.announcedAt.map { now - $0 >= .seconds(1) } ?? true
      if isDue { state.announcedAt = now }
      return (state.meter.rows.map(Self.line), state.total?.rate, isDue)
    }
    progress.update(done: Double(bytes), total: total.map(Double.init), gained: Double(received), details: lines) {
      "\(done)/\(count) shards, " + (failed == 0 ? "" : "\(failed) failed, ") + ByteSize.text(bytes)
        + (rate.map { ", \(ByteSize.text(Int($0)))/s" } ?? "")
    }
    guard isDue else { return }
    emit(
      "progress",
      [
        "done": .count(done), "failed": .count(failed), "shards": .count(count), "bytes": .count(bytes),
        "received_bytes": .count(received), "total_bytes": .optionalCount(total),
        "bytes_per_second": .optionalNumber(rate),
      ])
  }

  private static func line(_ row: TransferMeter.Row) -> String {
    let whole = row.totalByteCount.map { total in
      String(format: " of %@ (%.0f %%)", ByteSize.text(total), 100 * Double(row.byteCount) / Double(max(1, total)))
    }
    return "  \(row.label)  \(ByteSize.text(row.byteCount))\(whole ?? "")"
      + (row.rate.map { ", \(ByteSize.text(Int($0)))/s" } ?? "")
  }
}

extension HostWait {
  /// The pause in one line.
  var text: String {
    "waiting for \(host) until \(Timestamp.clock(until)), \(shardCount.counted("shard")) with it; patience ends at "
      + Timestamp.clock(patienceUntil)
  }
}
