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
    guard error.code == .integrity || error.code == .absent else { return error }
    if options.digests[shard.id] != nil {
      // To ask these mirrors again leads nowhere.
      let way = Source.wayBack(to: shard.sourceName, after: error.code)
      return TarnError(error.code, error.message, hint: way, place: error.place)
    }
    guard error.code == .absent, let dependents = try? catalog.dependents(of: shard), !dependents.isEmpty else {
      return error
    }
    // On which something rests is not dropped.
    let ways =
      "add a mirror that has it with `tarn source mirror add`, or take a copy in with `tarn import \(shard.sourceName) FILE`"
    let skipping =
      "`tarn sync \(shard.sourceName) --missing skip` passes over it, and \(LakeCatalog.list(dependents)) on it, so that "
      + "it is not dropped"
    return TarnError(
      .absent, error.message, hint: options.selection == nil ? "\(ways); \(skipping)" : ways, place: error.place)
  }
}
