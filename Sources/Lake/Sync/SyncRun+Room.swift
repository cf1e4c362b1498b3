// Room for what a sync fetches: asked for before a shard's first byte, of the budget
// and of the file system; where nobody knows a size, as soon as its head tells it. And
// the directories that it goes into.

internal import Base
internal import Catalog
internal import Fetch
internal import Synchronization

extension SyncRun {
  /// Makes the directory of a source's shards; one that this user may not write into ends the
  /// run before anybody is asked, and not each shard when it has come.
  func requireDirectory(of source: String) throws {
    let directory = "\(catalog.layout.shards)/\(source)"
    try Disk.makeDirectory(directory)
    try Disk.requireWritable(directory)
  }

  /// Reserves room for a shard, evicting what may go.
  ///
  /// - Returns: `.made` if the room is the shard's.
  func reserve(_ shard: Shard, _ byteCount: Int) throws -> Room {
    while true {
      let verdict = try verdict(on: shard, byteCount)
      // What nobody is known to have takes no room; should it come all the same, it is put back for its size.
      let budget = byteCount == 0 ? nil : options.budget
      if verdict == .goes, try catalog.reserve(shard, byteCount: byteCount, budget: budget) { return .made }
      let room = try makeRoom()
      if case .made = room { continue }
      switch verdict {
      case .goes: state.withLock { $0.lack = SyncState.Lack(shard: shard, byteCount: byteCount, ofDisk: nil) }
      case .waits: return .later
      case .refused(let error):
        state.withLock { $0.lack = SyncState.Lack(shard: shard, byteCount: byteCount, ofDisk: error) }
      }
      return room
    }
  }

  /// Why there was no room for the first shard that had none; nil when all had.
  func noRoom() throws -> TarnError? {
    guard let lack = state.withLock({ $0.firstLack }) else { return nil }
    return try lack.ofDisk
      ?? catalog.noRoom(
        for: lack.shard, lack.byteCount, in: options.budget ?? 0, needing: catalog.sourcesInWork,
        choosesShards: options.choosesShards, isSync: options.selection == nil)
  }

  /// Whether the file system keeps what stays free when this and all that is under
  /// way has arrived (D11).
  private func verdict(on shard: Shard, _ byteCount: Int) throws -> DiskReserve.Verdict {
    let active = state.withLock { state in
      state.active.values.filter { $0.id != shard.id }.map { ($0, state.size(of: $0)) }
    }
    let own = Set((active.map(\.0) + [shard]).map(\.id))
    // D6: what a part file has reserved is not free, whether its bytes came or not.
    func missing(_ shard: Shard, _ size: Int) -> Int {
      max(
        0,
        size
          - LakeCatalog.allocatedByteCount(
            ofPart: catalog.layout.partPath(source: shard.sourceName, shard: shard.name)))
    }
    return catalog.reserve(keeping: options.keptFree).verdict(
      on: "\(shard.name) of \(shard.sourceName)", taking: missing(shard, byteCount),
      of: try FileSystem(of: catalog.layout.shards),
      promised: active.lazy.map(missing).saturatedSum.addingSaturated(options.promisedByteCount())
        .addingSaturated(try catalog.outstandingByteCount(besides: own)),
      mayComeBack: !active.isEmpty)
  }

  /// D12: whether there is room for a shard whose size nobody knew until its first
  /// bytes came; then it counts as promised.
  func takesRoom(_ shard: Shard, _ byteCount: Int) -> Bool {
    guard options.budget == nil, case .goes? = try? verdict(on: shard, byteCount) else { return false }
    state.withLock { $0.sizes[shard.id] = byteCount }
    return true
  }

  /// D12: what ends a transfer for which the file system has no room reserved.
  func lackOfRoom(_ shard: Shard) -> TarnError? {
    guard let fileSystem = try? FileSystem(of: catalog.layout.shards),
      case .refused(let error) = catalog.reserve(keeping: options.keptFree).verdict(
        on: "the rest of \(shard.name) of \(shard.sourceName)", taking: 0, of: fileSystem)
    else { return nil }
    return error
  }

  /// D12: asks a file on this machine for its size.
  func learnSize(_ shard: Shard, _ locations: [ShardLocation]) {
    guard state.withLock({ $0.size(of: shard) }) == 0, let byteCount = localByteCount(locations) else { return }
    state.withLock { $0.sizes[shard.id] = byteCount }
  }

  private func localByteCount(_ locations: [ShardLocation]) -> Int? {
    locations.lazy.compactMap { self.options.fetch.localByteCount(of: FetchMirror($0)) }.first
  }

  /// Whether nobody is left who could say a size: a file that is not there, and who was seen without the shard.
  private func isNowhere(_ locations: [ShardLocation]) -> Bool {
    locations.allSatisfy { $0.state == .absent || options.fetch.isLocal(FetchMirror($0)) }
  }

  /// How the size of a shard becomes known.
  private func waysToASize(of shard: Shard) throws -> String {
    try catalog.locations(of: shard.id).allSatisfy { CommandAddress.isOne($0.url) }
      ? "register the source with --sizes, or leave --budget out"
      : "`tarn source probe \(shard.sourceName)` asks the servers"
  }

  /// Leaves out the shards whose sizes nobody knows, under a budget, or no file has.
  ///
  /// Invariant 6: a budget can be kept only of sizes that are known beforehand. What
  /// is left out holds up no other shard. A shard that nobody is known to have is asked for all the
  /// same: that it is nowhere is the answer, and what is to become of it the user's to say (R17).
  func requireSizes() throws {
    let (queue, isBudget) = (state.withLock { $0.queue.elements }, options.budget != nil)
    let unknown = try queue.filter { shard in
      guard isBudget, shard.likelyByteCount == nil else { return false }
      let locations = try catalog.locations(of: shard.id)
      learnSize(shard, locations)
      return state.withLock { $0.size(of: shard) } == 0 && !isNowhere(locations)
    }
    let impossible = queue.filter { $0.likelyByteCount.map { !ForeignNumber.byteCount.holds($0) } ?? false }
    guard !unknown.isEmpty || !impossible.isEmpty else { return }
    if let first = unknown.first, unknown.count == queue.count {
      let what =
        unknown.count == 1
        ? "the size of \(first.name) is" : "the sizes of \(unknown.count) shards, \(first.name) first, are"
      throw TarnError(.usage, "\(what) not known, so a budget cannot be kept", hint: try waysToASize(of: first))
    }
    let left = Set((unknown + impossible).map(\.id))
    state.withLock { state in
      state.queue = Queue()
      for shard in queue where !left.contains(shard.id) { state.queue.append(shard) }
    }
    for shard in unknown {
      fail(
        shard,
        TarnError(
          .usage, "its size is not known, so a budget cannot be kept",
          hint: try waysToASize(of: shard)))
    }
    for shard in impossible {
      fail(
        shard,
        TarnError(
          .usage, "the size that was registered, \(shard.likelyByteCount ?? 0) bytes, is more than a file can have",
          hint: "register the source again with a list of its sizes"))
    }
  }
}
