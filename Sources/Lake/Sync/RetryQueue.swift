// R23: shards of a sync that wait to be asked for again: for which hosts, and until when.
// Pure: the time is handed in. A shard that waits holds none of the places of transfers.
//
// Invariants:
// 1. A shard is in the queue, under way, here, or over: in one of them.
// 2. Every wait ends: a host recovers or patience with it runs out, and the last
//    round comes once for each shard.

internal import Base
internal import Catalog
internal import Fetch

/// Shards that are asked for again later, and what is known of their hosts.
struct RetryQueue {
  /// A shard that waits.
  struct Entry {
    let shard: Shard
    /// The hosts that it waits for: one of them must recover.
    let hosts: Set<String>
    let notBefore: ContinuousClock.Instant
    /// How it failed; nil for a shard that was never asked for, as all its hosts were pausing.
    let error: TarnError?
  }

  /// A shard under way: whom it is asked of, and who failed.
  private struct Visit {
    /// The host of each mirror.
    var hosts: [Int64: String]
    /// The mirror that is asked now.
    var mirrorID: Int64?
    /// Hosts that failed in a way that may pass, with the wait that they asked for.
    var failed: [String: Duration?] = [:]
  }

  /// How long a host is waited for; zero for no retries at all, and no last round.
  let limit: Duration
  /// Shards that failed.
  private var entries: [Entry] = []
  /// Shards that were not asked for, as all their hosts are pausing; by those hosts, as a source may have a million
  /// shards.
  private var parked: [Set<String>: Queue<Shard>] = [:]
  /// Shards whose mirrors gave a definite answer (absent, wrong bytes); asked for once more at the end.
  private(set) var lastRound: [Shard] = []
  /// That answer, by shard: each has one more round at most.
  private var definiteAnswers: [Int64: TarnError] = [:]
  private var hosts: [String: HostPatience] = [:]
  private var lastErrors: [String: TarnError] = [:]
  private var visits: [Int64: Visit] = [:]
  private var failureCounts: [Int64: Int] = [:]
  /// The most bytes that were ever held of a shard.
  private var highWater: [Int64: Int] = [:]

  init(limit: Duration) { self.limit = limit }

  /// How many shards wait for hosts.
  var count: Int { entries.count + parked.values.reduce(0) { $0 + $1.count } }
  var isEmpty: Bool { entries.isEmpty && parked.isEmpty }

  private var isPatient: Bool { limit > .zero }

  private func patience(with host: String) -> HostPatience { hosts[host] ?? HostPatience(limit: limit) }

  /// Whether a host has failed and not recovered yet.
  func isTroubled(_ host: String, at now: ContinuousClock.Instant) -> Bool {
    patience(with: host).standing(at: now) != .well
  }

  /// How long until a host is asked again, and how long it will still be waited for; nil when it is not pausing.
  func pause(of host: String, at now: ContinuousClock.Instant) -> (wait: Duration, left: Duration)? {
    guard case .pausing(let until) = patience(with: host).standing(at: now) else { return nil }
    return (until - now, patience(with: host).left(at: now))
  }

  /// The standing of a shard with mirrors at some hosts: that of the best of them.
  func standing(of names: Set<String>, at now: ContinuousClock.Instant) -> HostPatience.Standing {
    let all = names.map { patience(with: $0).standing(at: now) }
    if all.isEmpty || all.contains(.well) { return .well }
    return all.contains(.askable) ? .askable : all.first { $0 != .exhausted } ?? .exhausted
  }

  /// Why a shard is given up without having been asked for again: the definite answer that it had before, if any, else
  /// what is wrong with its hosts.
  func error(ofUnasked shard: Shard, at names: Set<String>) -> TarnError {
    if let answer = definiteAnswers[shard.id] { return answer }
    let reasons = names.sorted().map { "\($0) did not recover: \(lastErrors[$0]?.message ?? "no answer")" }
    return TarnError(
      .temporary, "not asked for, as \(reasons.joined(separator: "; "))", hint: "run the same command again later")
  }

  // MARK: Waiting

  /// Lets a shard wait that was not asked for, as all its hosts are pausing.
  mutating func park(_ shard: Shard, _ names: Set<String>) { parked[names, default: Queue()].append(shard) }

  /// A shard that may be asked for now; the one that failed least comes first.
  ///
  /// - Parameters:
  ///   - isForTrouble: Whether to give only a shard that probes whether a host in trouble has recovered.
  ///   - now: The time.
  /// - Returns: The shard; nil when none is due.
  func due(forTrouble isForTrouble: Bool, at now: ContinuousClock.Instant) -> Entry? {
    for (names, shards) in parked where mayAsk(names, forTrouble: isForTrouble, at: now) {
      if let shard = shards.first { return Entry(shard: shard, hosts: names, notBefore: now, error: nil) }
    }
    return entries.lazy.filter { isDue($0, forTrouble: isForTrouble, at: now) }.min {
      failureCounts[$0.shard.id, default: 0] < failureCounts[$1.shard.id, default: 0]
    }
  }

  private func mayAsk(_ names: Set<String>, forTrouble isForTrouble: Bool, at now: ContinuousClock.Instant) -> Bool {
    let standing = standing(of: names, at: now)
    return standing == .askable || standing == .well && !isForTrouble
  }

  private func isDue(_ entry: Entry, forTrouble isForTrouble: Bool, at now: ContinuousClock.Instant) -> Bool {
    entry.notBefore <= now && mayAsk(entry.hosts, forTrouble: isForTrouble, at: now)
  }

  /// Whether shards wait that may give disk room back once they have come.
  ///
  /// For a shard that itself waited, only those count whose pause is not over: for the others there is no room either.
  func hasOthers(than turn: SyncState.Turn, at now: ContinuousClock.Instant) -> Bool {
    guard turn.isWaiting else { return !isEmpty }
    return entries.contains { !isDue($0, forTrouble: false, at: now) }
      || parked.keys.contains { !mayAsk($0, forTrouble: false, at: now) }
  }

  /// Takes out a shard that is due.
  mutating func remove(_ shard: Shard) {
    for (names, shards) in parked where shards.first?.id == shard.id {
      _ = parked[names]?.popFirst()
      if shards.count == 1 { parked[names] = nil }
    }
    entries.removeAll { $0.shard.id == shard.id }
  }

  /// Takes out the shards that were not asked for and of whose hosts one has recovered.
  mutating func takeReleased(at now: ContinuousClock.Instant) -> [Shard] {
    let names = parked.keys.filter { standing(of: $0, at: now) == .well }
    return names.flatMap { parked.removeValue(forKey: $0)?.elements ?? [] }
  }

  /// Takes out the shards with all of whose hosts patience is exhausted.
  mutating func takeExhausted(at now: ContinuousClock.Instant) -> [Entry] {
    let names = parked.keys.filter { standing(of: $0, at: now) == .exhausted }
    var taken = names.flatMap { names in
      (parked.removeValue(forKey: names)?.elements ?? []).map {
        Entry(shard: $0, hosts: names, notBefore: now, error: nil)
      }
    }
    let queue = self
    let isOver = { (entry: Entry) in queue.standing(of: entry.hosts, at: now) == .exhausted }
    taken += entries.filter(isOver)
    entries.removeAll(where: isOver)
    return taken
  }

  /// Takes out the shards of the last round.
  mutating func takeLastRound() -> [Shard] {
    defer { lastRound = [] }
    return lastRound
  }

  // MARK: Under way

  /// Notes that a shard is asked for.
  mutating func begin(_ id: Int64, _ hostsByMirror: [Int64: String]) {
    visits[id] = Visit(hosts: hostsByMirror)
    for host in Set(hostsByMirror.values) { hosts[host]?.asks() }
  }

  /// Notes which mirror is asked for it.
  mutating func asks(_ id: Int64, mirrorID: Int64) { visits[id]?.mirrorID = mirrorID }

  /// Notes how many bytes of it are held.
  ///
  /// - Returns: Whether a host has recovered by that.
  mutating func holds(_ id: Int64, byteCount: Int) -> Bool {
    // Bytes of an earlier run are no progress of this one.
    let before = highWater[id] ?? byteCount
    highWater[id] = max(before, byteCount)
    guard byteCount > before, let visit = visits[id], let mirrorID = visit.mirrorID, let host = visit.hosts[mirrorID],
      var patience = hosts[host]
    else { return false }
    patience.kept(byteCount - before)
    return put(patience, host)
  }

  /// Stores what is known of a host.
  ///
  /// - Returns: Whether it has recovered.
  private mutating func put(_ patience: HostPatience, _ host: String) -> Bool {
    let isWell = patience == HostPatience(limit: limit)
    hosts[host] = isWell ? nil : patience
    return isWell
  }

  /// Notes that a mirror failed in a way that may pass.
  mutating func failed(_ id: Int64, mirrorID: Int64, askingFor wait: Duration?) {
    guard let host = visits[id]?.hosts[mirrorID] else { return }
    let before = visits[id]?.failed[host] ?? nil
    visits[id]?.failed[host] = .some([before, wait].compactMap(\.self).max())
  }

  /// Notes that a shard came, or that its request ended through no fault of a host.
  ///
  /// - Parameters:
  ///   - id: The shard.
  ///   - mirrorID: The mirror that delivered it; nil if none did.
  /// - Returns: Whether a host has recovered by that.
  mutating func end(_ id: Int64, deliveredBy mirrorID: Int64? = nil) -> Bool {
    guard let visit = visits.removeValue(forKey: id) else { return false }
    for host in visit.hosts.values { hosts[host]?.cameBack() }
    guard let mirrorID else { return false }
    failureCounts[id] = nil
    guard let host = visit.hosts[mirrorID], var patience = hosts[host] else { return false }
    patience.delivered()
    return put(patience, host)
  }

  /// What becomes of a shard that failed.
  enum Outcome: Equatable {
    /// It is given up.
    case over
    /// It is given up, as patience with its hosts is exhausted.
    case outOfPatience
    /// It waits for these hosts.
    case waits([String])
    /// It waits for the last round.
    case waitsForLastRound
  }

  /// Notes that a shard could not be fetched.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - error: Why.
  ///   - isOfOtherKind: Whether it came whole and is of another kind than its source: asking again would bring the same.
  ///   - now: The time.
  /// - Returns: What becomes of it.
  mutating func end(
    _ shard: Shard, failing error: TarnError, isOfOtherKind: Bool = false, at now: ContinuousClock.Instant
  ) -> Outcome {
    let visit = visits[shard.id]
    _ = end(shard.id)
    guard isPatient, error.isOfMirror, let visit else { return .over }
    var failed = visit.failed
    // No host was asked: all of them were pausing.
    if failed.isEmpty, error.code == .temporary { for host in visit.hosts.values { failed[host] = .some(nil) } }
    guard !failed.isEmpty else {
      // A command would do the same again.
      let isOfCommands = visit.hosts.values.allSatisfy { $0 == FetchConfiguration.originOfCommands }
      guard [.absent, .integrity].contains(error.code), !isOfCommands, !isOfOtherKind,
        definiteAnswers.updateValue(error, forKey: shard.id) == nil
      else { return .over }
      lastRound.append(shard)
      return .waitsForLastRound
    }
    failureCounts[shard.id, default: 0] += 1
    for (host, wait) in failed {
      var patience = patience(with: host)
      patience.failed(askingFor: wait, at: now)
      hosts[host] = patience
      lastErrors[host] = error
    }
    let names = Set(failed.keys)
    guard standing(of: names, at: now) != .exhausted else { return .outOfPatience }
    let left = names.map { patience(with: $0).left(at: now) }.max() ?? limit
    let pause = HostPatience.pause(afterFailures: failureCounts[shard.id, default: 1], left: left)
    entries.append(Entry(shard: shard, hosts: names, notBefore: now + pause, error: error))
    return .waits(names.sorted())
  }
}
