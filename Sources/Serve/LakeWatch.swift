// What the lake is doing, looked at no more than once a second however many ask, and less often where a look takes long.

internal import Base
internal import Foundation
internal import Lake
internal import Synchronization

/// Something that takes time to make, kept so long that no more than a tenth of the time goes into it.
///
/// Pure: times are handed in.
package struct PacedValue<Value: Sendable>: Sendable {
  private var kept: (value: Value, until: ContinuousClock.Instant)?

  package init() {}

  /// What was made, while it may be used.
  package func fresh(at now: ContinuousClock.Instant) -> Value? { kept.flatMap { now < $0.until ? $0.value : nil } }

  /// Keeps what was made, a second at least.
  ///
  /// - Parameters:
  ///   - value: What.
  ///   - begin: When its making began.
  ///   - end: When it was made.
  package mutating func keep(_ value: Value, madeFrom begin: ContinuousClock.Instant, to end: ContinuousClock.Instant) {
    kept = (value, end + max(.seconds(1), (end - begin) * 9))
  }
}

/// A value that takes time to make, for many who ask.
///
/// Nobody waits for the making of another value, nor for a value that may still be used; who finds it too old makes it,
/// one at a time, and who waited for that has what was made.
package final class SharedValue<Value: Sendable>: Sendable {
  private let kept = Mutex(PacedValue<Value>())
  /// Held by who makes it, by nobody else.
  private let turn = Mutex(())

  package init() {}

  /// The value, made anew where it is too old.
  ///
  /// - Parameter make: Makes it; may block.
  /// - Returns: What was made, by whomever.
  /// - Throws: What `make` throws; the next who asks makes it again.
  package func value(_ make: () throws -> Value) throws -> Value {
    let asked = ContinuousClock.now
    if let value = kept.withLock({ $0.fresh(at: asked) }) { return value }
    return try turn.withLock { _ in
      let begin = ContinuousClock.now
      if let value = kept.withLock({ $0.fresh(at: begin) }) { return value }
      let value = try make()
      let end = ContinuousClock.now
      kept.withLock { $0.keep(value, madeFrom: begin, to: end) }
      return value
    }
  }
}

/// The last looks at a lake.
///
/// Its disks and its catalog are read under no lock but that of the one value that is made.
final class LakeWatch: Sendable {
  private let root: String
  private let meter = Mutex(LakeMeter())
  private let items = SharedValue<[Moving]>()
  private let gauges = SharedValue<LakeGauges>()
  /// What else the page of the lake shows.
  private let restOfPage = SharedValue<String>()
  private let room = FreeRoom { try? FileSystem(of: $0).freeByteCount }

  init(root: String) { self.root = root }

  /// What else the page of the lake shows, made anew where it is too old.
  func surroundings(_ make: () throws -> String) throws -> String { try restOfPage.value(make) }

  /// Figures of the lake for who measures it.
  private func figures() throws -> LakeGauges {
    try gauges.value { try LakeGauges(LakeCatalog.open(root: root, writing: nil)) }
  }

  /// What is under way, how fast it goes and how long it takes.
  func look() throws -> [Moving] {
    try items.value {
      let now = ContinuousClock.now
      let before = meter.withLock { $0.newest }
      // Looks come one after the other, so that this one is the next after that.
      let look = try LakeLook(LakeCatalog.open(root: root, writing: nil), after: before)
      return meter.withLock { meter in
        meter.take(look, at: now)
        return look.items.map {
          Moving(
            item: $0, rate: $0.isComplete ? nil : meter.rate(of: $0), secondsLeft: meter.secondsLeft(of: $0),
            bottleneck: meter.bottleneck(of: $0))
        }
      }
    }
  }

  /// A thing that is under way.
  struct Moving: Sendable {
    let item: LakeLook.Item
    let rate: Double?
    let secondsLeft: Double?
    /// What holds it up, as far as rates tell.
    let bottleneck: String?

    /// The catalog's word for where it is, or that nobody is at it; of a source, what follows from its shards.
    var state: String {
      if item.isStopped { return LakeLook.stoppedTraining }
      guard item.kind == .source else { return item.state }
      return item.isComplete ? "all here" : rate == nil ? "not all here" : "arriving"
    }

    /// What is counted: bytes, rows or iterations.
    var unit: String {
      switch item.kind {
      case .source: "bytes"
      case .training: "iterations"
      case .build: "rows"
      }
    }
  }

  /// `GET /api/look`.
  func json() throws -> JSONValue {
    let all = try look()
    return .object([
      "lake": .string(root), "at": .string(Timestamp.now()),
      "items": .array(
        all.map { one in
          .object([
            "kind": .string(one.item.kind.rawValue), "name": .string(one.item.name), "done": .count(one.item.done),
            "total": .count(one.item.total), "amount": .number(one.item.amount),
            "whole": one.item.wholeAmount.map { .number($0) } ?? .null, "unit": .string(one.unit),
            "rate": one.rate.map { .number($0) } ?? .null,
            "seconds_left": one.secondsLeft.map { .number($0.rounded()) } ?? .null, "failed": .count(one.item.failed),
            "is_complete": .bool(one.item.isComplete), "state": .string(one.item.state),
            "is_stopped": .bool(one.item.isStopped),
            "bottleneck": .optional(one.bottleneck),
          ])
        }),
    ])
  }

  /// Families of the lake.
  func write(to page: inout MetricsPage) throws {
    let (items, gauges) = (try look().map(\.item), try figures())
    page.family("tarn_source_shards", "gauge", "Shards of each source, each in one state.")
    for shards in gauges.shards {
      page.sample("tarn_source_shards", [("source", shards.source), ("state", shards.state)], Double(shards.count))
    }
    page.family("tarn_source_bytes", "gauge", "Bytes held of each source, those of transfers under way included.")
    for item in items where item.kind == .source {
      page.sample("tarn_source_bytes", [("source", item.name)], item.amount)
    }
    page.family("tarn_versions", "gauge", "Versions in each state.")
    for (state, count) in gauges.versions { page.sample("tarn_versions", [("state", state)], Double(count)) }
    // What was given up or withdrawn is no build that anybody waits for.
    let ended = [VersionState.abandoned, .revoked].map(\.rawValue)
    let builds = items.filter { $0.kind == .build && !ended.contains($0.state) }
    page.family("tarn_build_shards", "gauge", "Shards of each version that is built or sealed: encoded, open.")
    for item in builds {
      for (state, count) in [("encoded", item.done), ("open", item.total - item.done)] {
        page.sample("tarn_build_shards", [("version", item.name), ("state", state)], Double(count))
      }
    }
    page.family("tarn_build_rows", "gauge", "Rows of each version that is built or sealed that are encoded.")
    for item in builds { page.sample("tarn_build_rows", [("version", item.name)], item.amount) }
    page.family("tarn_free_bytes", "gauge", "Bytes free on the file systems of the lake's directories.")
    for free in room.look(at: gauges.directories) {
      page.sample("tarn_free_bytes", [("place", free.place)], Double(free.freeByteCount))
    }
    page.one(
      "tarn_commands_at_work", "gauge", "Commands that hold leases on the lake.", Double(gauges.commandCount))
    for (name, help, time) in [
      ("last_transfer", "When a transfer last brought a shard or found it unchanged.", gauges.lastTransfer),
      ("last_sealed", "When a version was last sealed.", gauges.lastSealed),
      ("last_event", "When the history was last written to.", gauges.lastEvent),
      ("oldest_check", "When that file was read and found right that was not read for longest.", gauges.oldestCheck),
    ] {
      guard let time else { continue }
      page.one("tarn_\(name)_timestamp_seconds", "gauge", help, time.timeIntervalSince1970)
    }
  }
}
