// Shards that no mirror has: which of them are no failure of a sync, and what can be done
// about the others.

internal import Base
internal import Catalog
internal import Synchronization

extension SyncRun {
  /// Whether a shard that was asked for is here, whole, and no mirror has it any more: that
  /// there is nothing newer is an answer.
  func isWithdrawn(_ shard: Shard, _ error: TarnError) -> Bool {
    error.code == .absent && options.selection == nil && state.withLock { $0.wholeBefore.contains(shard.id) }
  }

  /// Takes note of a shard that nobody has where that is no failure (R17).
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - error: How it could not be had.
  /// - Returns: What to tell of it; nil where it failed.
  func passed(_ shard: Shard, _ error: TarnError) -> SyncProgress? {
    if isWithdrawn(shard, error) {
      state.withLock { state in
        state.summary.unchangedCount += 1
        state.summary.withdrawn.append(shard)
      }
      return .withdrawn(shard, error)
    }
    guard error.code == .absent, options.selection == nil, options.missing == .skip else { return nil }
    state.withLock { $0.summary.passedOver.append(shard) }
    return .passedOver(shard, error)
  }

  /// The error of a shard that could not be had, with what can be done about it.
  func explained(_ error: TarnError, of shard: Shard) -> TarnError {
    guard error.code == .integrity || error.code == .absent else { return error.naming(shard.sourceName) }
    if options.digests[shard.id] != nil {
      // To ask these mirrors again leads nowhere.
      let way = Source.wayBack(to: shard.sourceName, after: error.code)
      return TarnError(error.code, error.message, hint: way, place: error.place)
    }
    guard error.code == .absent else { return error }
    let dependents = (try? catalog.dependents(of: shard)) ?? []
    let way = WayOnWithoutShard(
      source: shard.sourceName, dependents: dependents, isSync: options.selection == nil,
      mayBeDropped: dependents.isEmpty && mayBeDropped(shard))
    return TarnError(.absent, error.message, hint: way.text, place: error.place)
  }

  /// Whether `drop-shards` takes a shard on which nothing rests: its rows are known, or it is the last one.
  private func mayBeDropped(_ shard: Shard) -> Bool {
    guard let source = try? catalog.source(id: shard.sourceID), !source.isCompanion else { return false }
    if (try? shard.plannedRowCount(in: source, for: "the ids after it depend on it")) != nil { return true }
    let last = try? catalog.rows("SELECT max(ordinal) FROM shard WHERE source_id = \(source.id)").first?[0].integer
    return last == shard.ordinal
  }
}

/// What can be done about a shard that no mirror has.
///
/// Pure.
struct WayOnWithoutShard {
  let source: String
  /// What rests on it.
  let dependents: [String]
  /// Whether it is a sync, which passes over such shards on request.
  let isSync: Bool
  let mayBeDropped: Bool

  /// The advice, one line.
  var text: String {
    let mirror = "add a mirror that has it with `tarn source mirror add`"
    let skipping = "`tarn sync \(source) --missing skip`"
    guard dependents.isEmpty else {
      let ways = "\(mirror), or take a copy in with `tarn import \(source) FILE`"
      guard isSync else { return ways }
      return "\(ways); \(skipping) passes over it; it cannot be dropped, as \(LakeCatalog.list(dependents)) on it"
    }
    let possible: [String?] = [
      mirror, isSync ? "pass over it with \(skipping)" : nil,
      mayBeDropped ? "leave it out with `tarn source drop-shards`" : nil,
    ]
    let ways = possible.compactMap(\.self)
    return ways.dropLast().joined(separator: ", ") + (ways.count > 1 ? ", or " : "") + (ways.last ?? "")
  }
}
