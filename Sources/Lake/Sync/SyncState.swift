// The state of a sync between two events, and which shard is next: the queue, what is
// under way, and what waits to be asked for again. Without I/O.

internal import Base
internal import Catalog
internal import Fetch

/// The state of a sync between two events; ``SyncRun`` keeps it behind a lock.
struct SyncState {
  var queue = Queue<Shard>()
  /// Shards under way, by id.
  var active: [Int64: Shard] = [:]
  var activeByteCounts: [Int64: Int] = [:]
  var doneByteCount = 0
  /// Bytes that came during this run; what earlier ones left is not among them.
  var receivedByteCount = 0
  /// Shards that came, or were found to be here.
  private(set) var doneCount = 0
  var totalCount = 0
  var totalByteCount: Int? = 0
  /// Present shards whose files have the wrong length.
  var drifted: [Shard] = []
  /// Sizes that shards turned out to have, and how often one outgrew its room.
  var sizes: [Int64: Int] = [:]
  var outgrowths: [Int64: Int] = [:]
  /// Shards whose bytes were here, whole, when they were asked for.
  var wholeBefore: Set<Int64> = []
  /// Shards that are asked for again later, and the hosts that they wait for.
  var retries: RetryQueue
  var summary = SyncSummary()
  /// What the failures in it say, by shard.
  var errors: [Int64: String] = [:]
  /// Shards under way whose file came whole and is of another kind than their sources, from the mirror that is asked.
  var ofOtherKind: Set<Int64> = []
  /// By shard, whether what each mirror that answered gave last is such a file.
  private var kinds: [Int64: [Int64: Bool]] = [:]
  /// Shards of which that is so of every mirror that answered, by source.
  private var shardsOfOtherKind: [Int64: Set<Int64>] = [:]
  /// What was lacking for the last shard for which there was no room.
  var lack: Lack?
  /// What was lacking for the first shard that was left out.
  private(set) var firstLack: Lack?
  /// The first error of the catalog itself; it ends the run.
  var failure: (any Error)?

  init(retries: RetryQueue) { self.retries = retries }

  /// Bytes that a shard takes, as far as anyone knows.
  func size(of shard: Shard) -> Int { sizes[shard.id] ?? shard.likelyByteCount ?? 0 }

  /// The next shard to ask for.
  ///
  /// First one that probes whether a host in trouble has recovered, then the queue, then shards whose pause is over,
  /// and at the very end the last round.
  mutating func nextTurn(
    skippingQueue skipsQueue: Bool, waiting skipsWaiting: Bool, at now: ContinuousClock.Instant
  ) -> NextTurn {
    guard failure == nil else { return .finished }
    if !skipsWaiting, let entry = retries.due(forTrouble: true, at: now) { return .turn(Turn(entry)) }
    if !skipsQueue, let shard = queue.first { return .turn(Turn(shard: shard)) }
    if !skipsWaiting, let entry = retries.due(forTrouble: false, at: now) { return .turn(Turn(entry)) }
    // A shard under way may come back, if it outgrows its room.
    guard queue.isEmpty, active.isEmpty, retries.isEmpty else { return .notYet }
    let last = retries.takeLastRound()
    for shard in last { queue.append(shard) }
    return queue.first.map { .turn(Turn(shard: $0)) } ?? .finished
  }

  /// Records how many bytes of a shard under way are held.
  mutating func hold(_ byteCount: Int, of shardID: Int64) {
    receivedByteCount += max(0, byteCount - (activeByteCounts[shardID] ?? 0))
    activeByteCounts[shardID] = byteCount
  }

  /// Numbers of mirrors, as people are told them, by id.
  private(set) var mirrorNumbers: [Int64: Int] = [:]

  /// Records the numbers of the mirrors that are asked.
  mutating func know(_ locations: [ShardLocation]) {
    for location in locations { mirrorNumbers[location.mirrorID] = location.priority }
  }

  /// The number of a mirror that is asked.
  func number(ofMirror id: Int64) -> Int? { mirrorNumbers[id] }

  /// Counts a shard that was fetched.
  mutating func came(byteCount: Int) {
    summary.fetchedCount += 1
    summary.fetchedByteCount += byteCount
    doneCount += 1
  }

  /// Counts a shard that was asked for and has the bytes that are here.
  mutating func wasHere() {
    summary.unchangedCount += 1
    doneCount += 1
  }

  /// Takes a shard out of the retries or the queue, wherever it waited.
  mutating func take(_ turn: Turn) {
    if turn.isWaiting { retries.remove(turn.shard) } else { _ = queue.popFirst() }
  }

  /// Puts shards back into the queue whose hosts have recovered.
  mutating func release(at now: ContinuousClock.Instant) {
    for shard in retries.takeReleased(at: now) { queue.append(shard) }
  }

  /// Gives up a shard that waited, for which there is no room.
  mutating func leaveOut(_ shard: Shard) {
    firstLack = firstLack ?? lack
    summary.withoutRoom.append(shard.name)
  }

  /// Gives up the first shard, for which there is no room, and all in the queue that are no smaller.
  ///
  /// For smaller ones there may be room.
  mutating func leaveOut(from byteCount: Int) {
    let waiting = queue.elements
    firstLack = firstLack ?? lack
    queue = Queue()
    for shard in waiting {
      if size(of: shard) >= byteCount { summary.withoutRoom.append(shard.name) } else { queue.append(shard) }
    }
  }

  /// Records whether what a mirror gave of a shard was a file of another kind.
  mutating func learn(_ attempt: TransferAttempt) {
    let isOfOtherKind = ofOtherKind.remove(attempt.requestID) != nil
    guard attempt.outcome.seen != nil else { return }
    kinds[attempt.requestID, default: [:]][attempt.mirrorID] = isOfOtherKind
  }

  /// Whether every mirror that answered gave a file of another kind than the shard's source.
  func isOfOtherKind(_ shardID: Int64) -> Bool { kinds[shardID].map { $0.values.allSatisfy(\.self) } ?? false }

  /// Records a shard that is given up as being of another kind than its source.
  ///
  /// - Returns: Whether it is not the first one: a single file may be the odd one.
  mutating func isAnother(ofOtherKind shard: Shard) -> Bool {
    shardsOfOtherKind[shard.sourceID, default: []].insert(shard.id)
    return shardsOfOtherKind[shard.sourceID, default: []].count > 1
  }

  /// Drops those shards of a source from the queue that were not asked for yet.
  mutating func leaveUnasked(ofSource id: Int64, named name: String) {
    let waiting = queue.elements
    queue = Queue()
    for shard in waiting where shard.sourceID != id { queue.append(shard) }
    let count = waiting.count - queue.elements.count
    if count > 0 { summary.unasked[name, default: 0] += count }
  }

  /// A shard without room.
  struct Lack {
    let shard: Shard
    let byteCount: Int
    /// Nil where it was the budget's.
    let ofDisk: TarnError?
  }

  /// A shard whose turn it is.
  struct Turn {
    let shard: Shard
    var isWaiting = false
    /// Whom to ask; nil for all its mirrors.
    var hosts: Set<String>?

    init(shard: Shard) { self.shard = shard }

    init(_ entry: RetryQueue.Entry) {
      (shard, isWaiting) = (entry.shard, true)
      // Mirrors that gave a definite answer are not asked again meanwhile.
      hosts = entry.error == nil ? nil : entry.hosts
    }
  }

  /// What to do next.
  enum NextTurn {
    case turn(Turn)
    case notYet, finished
  }
}

extension Result<FetchResult, TarnError> {
  /// The mirror that gave what was asked for; nil when none did.
  var deliverer: Int64? {
    switch self {
    case .success(.fetched(let shard)): shard.mirrorID
    case .success(.unchanged(let mirrorID)): mirrorID
    case .success(.outgrown), .failure: nil
    }
  }
}

extension TarnError {
  /// The same after all the waiting that was asked for: a later time may do.
  var outOfPatience: TarnError {
    code == .temporary ? self : TarnError(.temporary, message, hint: "run the same command again later")
  }
}
