// R23: which shards of a sync wait, for whom and until when. Pure: the time is
// handed in, and who waits holds no place among those that are fetched.
//
// Invariants:
// 1. A shard is in the queue, under way, here, or over: in one of them.
// 2. Every wait ends: a host gets well or its patience runs out, and the last
//    round comes once for each shard.

internal import Base
internal import Catalog
internal import Fetch

/// The hosts of a sync and the shards that are asked again later.
struct WaitingRoom {
  /// A shard that waits.
  struct Entry {
    let shard: Shard
    /// Whose end of trouble it waits for.
    let hosts: Set<String>
    let notBefore: ContinuousClock.Instant
    /// How it failed; nil for what was not asked for, as its hosts were paused.
    let error: TarnError?
  }

  /// A shard under way.
  private struct Visit {
    /// Its mirrors' hosts.
    var hosts: [Int64: String]
    var mirrorID: Int64?
    /// Hosts that failed in a way that may pass, with what they asked for.
    var failed: [String: Duration?] = [:]
  }

  /// How long a host is waited for; zero for no patience and no last round.
  let limit: Duration
  /// Those that failed.
  private var entries: [Entry] = []
  /// Those that were not asked for, by hosts: a source may have a million of them.
  private var parked: [Set<String>: Queue<Shard>] = [:]
  /// Shards that got a definite answer, for one more round at the end.
  private(set) var lastRound: [Shard] = []
  /// What those of them were answered, by shard: each has one more round at most.
  private var definiteAnswers: [Int64: TarnError] = [:]
  private var hosts: [String: HostPatience] = [:]
  private var lastErrors: [String: TarnError] = [:]
  private var visits: [Int64: Visit] = [:]
  private var failureCounts: [Int64: Int] = [:]
  /// The most bytes that were ever held of a shard.
  private var highWater: [Int64: Int] = [:]

  init(limit: Duration) { self.limit = limit }

  /// Shards that wait for hosts.
  var count: Int { entries.count + parked.values.reduce(0) { $0 + $1.count } }
  var isEmpty: Bool { entries.isEmpty && parked.isEmpty }

  private var isPatient: Bool { limit > .zero }

  private func patience(with host: String) -> HostPatience { hosts[host] ?? HostPatience(limit: limit) }

  /// Whether there is trouble with a host.
  func isTroubled(_ host: String, at now: ContinuousClock.Instant) -> Bool {
    patience(with: host).standing(at: now) != .well
  }

  /// When a host is asked again, and how long it will still be waited for.
  func pause(of host: String, at now: ContinuousClock.Instant) -> (wait: Duration, left: Duration)? {
    guard case .pausing(let until) = patience(with: host).standing(at: now) else { return nil }
    return (until - now, patience(with: host).left(at: now))
  }

  /// How a shard with mirrors at some hosts stands: by the best of them.
  func standing(of names: Set<String>, at now: ContinuousClock.Instant) -> HostPatience.Standing {
    let all = names.map { patience(with: $0).standing(at: now) }
    if all.isEmpty || all.contains(.well) { return .well }
    return all.contains(.askable) ? .askable : all.first { $0 != .exhausted } ?? .exhausted
  }

  /// Why a shard is given up that was not asked for: the definite answer that it had before, where it had one, and else
  /// what is wrong with its hosts.
  func error(ofUnasked shard: Shard, at names: Set<String>) -> TarnError {
    if let answer = definiteAnswers[shard.id] { return answer }
    let reasons = names.sorted().map { "\($0) did not recover: \(lastErrors[$0]?.message ?? "no answer")" }
    return TarnError(
      .temporary, "not asked for, as \(reasons.joined(separator: "; "))", hint: "run the same command again later")
  }

  // MARK: Waiting

  /// Lets a shard wait that was not asked for.
  mutating func park(_ shard: Shard, _ names: Set<String>) { parked[names, default: Queue()].append(shard) }

  /// Who may be asked for now, or only to see whether a host in trouble is well
  /// again: who was asked least comes first.
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

  /// Whether others wait that may give room back once they have come: for a shard
  /// that waits those whose time is not yet, as all others have none either.
  func hasOthers(than turn: SyncState.Turn, at now: ContinuousClock.Instant) -> Bool {
    guard turn.isWaiting else { return !isEmpty }
    return entries.contains { !isDue($0, forTrouble: false, at: now) }
      || parked.keys.contains { !mayAsk($0, forTrouble: false, at: now) }
  }

  /// Takes a shard out that is due.
  mutating func remove(_ shard: Shard) {
    for (names, shards) in parked where shards.first?.id == shard.id {
      _ = parked[names]?.popFirst()
      if shards.count == 1 { parked[names] = nil }
    }
    entries.removeAll { $0.shard.id == shard.id }
  }

  /// Takes out those that were not asked for and whose host is well again.
  mutating func takeReleased(at now: ContinuousClock.Instant) -> [Shard] {
    let names = parked.keys.filter { standing(of: $0, at: now) == .well }
    return names.flatMap { parked.removeValue(forKey: $0)?.elements ?? [] }
  }

  /// Takes out those for whose hosts patience ran out.
  mutating func takeExhausted(at now: ContinuousClock.Instant) -> [Entry] {
    let names = parked.keys.filter { standing(of: $0, at: now) == .exhausted }
    var taken = names.flatMap { names in
      (parked.removeValue(forKey: names)?.elements ?? []).map {
        Entry(shard: $0, hosts: names, notBefore: now, error: nil)
      }
    }
    let room = self
    let isOver = { (entry: Entry) in room.standing(of: entry.hosts, at: now) == .exhausted }
    taken += entries.filter(isOver)
    entries.removeAll(where: isOver)
    return taken
  }

  /// Begins the last round.
  mutating func takeLastRound() -> [Shard] {
    defer { lastRound = [] }
    return lastRound
  }

  // MARK: Under way

  /// A shard is asked for.
  mutating func begin(_ id: Int64, _ hostsByMirror: [Int64: String]) {
    visits[id] = Visit(hosts: hostsByMirror)
    for host in Set(hostsByMirror.values) { hosts[host]?.asks() }
  }

  /// A mirror is asked for it.
  mutating func asks(_ id: Int64, mirrorID: Int64) { visits[id]?.mirrorID = mirrorID }

  /// So many bytes of it are held.
  ///
  /// - Returns: Whether that ended the trouble with a host.
  mutating func holds(_ id: Int64, byteCount: Int) -> Bool {
    // What was held before this run is no progress of it.
    let before = highWater[id] ?? byteCount
    highWater[id] = max(before, byteCount)
    guard byteCount > before, let visit = visits[id], let mirrorID = visit.mirrorID, let host = visit.hosts[mirrorID],
      var patience = hosts[host]
    else { return false }
    patience.kept(byteCount - before)
    return put(patience, host)
  }

  /// Keeps what is known of a host.
  ///
  /// - Returns: Whether it is well now.
  private mutating func put(_ patience: HostPatience, _ host: String) -> Bool {
    let isWell = patience == HostPatience(limit: limit)
    hosts[host] = isWell ? nil : patience
    return isWell
  }

  /// A mirror failed in a way that may pass.
  mutating func failed(_ id: Int64, mirrorID: Int64, askingFor wait: Duration?) {
    guard let host = visits[id]?.hosts[mirrorID] else { return }
    let before = visits[id]?.failed[host] ?? nil
    visits[id]?.failed[host] = .some([before, wait].compactMap(\.self).max())
  }

  /// It came, or its request ended without blame.
  ///
  /// - Parameters:
  ///   - id: The shard.
  ///   - mirrorID: Who delivered it; nil for nobody.
  /// - Returns: Whether that ended the trouble with a host.
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
    /// It is over.
    case over
    /// It is over, as its hosts were waited for as long as was said.
    case outOfPatience
    /// It waits for these hosts.
    case waits([String])
    /// It waits for the last round.
    case waitsForLastRound
  }

  /// It could not be had.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - error: Why.
  ///   - isOfOtherKind: Whether it came whole and is of another kind than its source: to ask again brings the same.
  ///   - now: The time.
  /// - Returns: What becomes of it.
  mutating func end(
    _ shard: Shard, failing error: TarnError, isOfOtherKind: Bool = false, at now: ContinuousClock.Instant
  ) -> Outcome {
    let visit = visits[shard.id]
    _ = end(shard.id)
    guard isPatient, error.isOfMirror, let visit else { return .over }
    var failed = visit.failed
    // Nobody was asked: every place was told to be left alone.
    if failed.isEmpty, error.code == .temporary { for host in visit.hosts.values { failed[host] = .some(nil) } }
    guard !failed.isEmpty else {
      // What a command did it would do again.
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
