// R21 for verbs that ask without a sync, one question after another or in rounds: which
// hosts are left alone for now, and the waiting for them.

internal import Base
internal import Fetch
internal import Foundation
internal import Glibc

/// How hosts that fail for now are waited for.
package struct WaitOptions: Sendable {
  /// How long each is; zero to give up at once.
  package var patience = Duration.zero
  /// What patience is measured by.
  package var clock: @Sendable () -> ContinuousClock.Instant = { .now }
  /// Told of each pause.
  package var report: @Sendable (HostWait) -> Void = { _ in }

  package init() {}

  /// As a sync waits.
  init(_ options: SyncOptions, report: @escaping @Sendable (SyncProgress) -> Void = { _ in }) {
    patience = options.patience
    clock = options.clock
    self.report = { report(.waiting($0)) }
  }
}

/// The hosts that one run asks, as far as there is trouble with them.
struct HostsInTrouble {
  private let options: WaitOptions
  private var hosts: [String: HostPatience] = [:]
  private var lastErrors: [String: String] = [:]

  init(_ options: WaitOptions) { self.options = options }

  /// How a host stands now.
  func standing(_ host: String) -> HostPatience.Standing {
    hosts[host]?.standing(at: options.clock()) ?? .well
  }

  /// It answered, which is progress: the question is not asked again.
  mutating func answered(_ host: String) { hosts[host] = nil }

  /// It failed in a way that may pass.
  ///
  /// - Parameters:
  ///   - host: Scheme, host and port.
  ///   - wait: What it asked for itself (R13).
  ///   - error: How it failed.
  mutating func failed(_ host: String, askingFor wait: Duration? = nil, _ error: String) {
    hosts[host, default: HostPatience(limit: options.patience)].failed(askingFor: wait, at: options.clock())
    lastErrors[host] = error
  }

  /// Why it is given up.
  func error(_ host: String) -> String {
    let last = lastErrors[host] ?? "no answer"
    return options.patience > .zero ? "\(host) did not recover: \(last)" : last
  }

  /// Blocks until one of some hosts may be asked again.
  ///
  /// - Parameters:
  ///   - names: Hosts in trouble.
  ///   - count: Shards that wait for them, to be told.
  ///   - cancellation: Ends the wait.
  /// - Returns: False when patience with each ran out.
  /// - Throws: ``TarnError`` `.interrupted`.
  func wait(for names: Set<String>, shardCount count: Int, _ cancellation: Cancellation) throws(TarnError) -> Bool {
    let start = options.clock()
    var pauses: [(host: String, until: ContinuousClock.Instant, left: Duration)] = []
    for name in names {
      switch hosts[name]?.standing(at: start) ?? .well {
      case .well, .askable: return true
      case .pausing(let until): pauses.append((name, until, hosts[name]?.left(at: start) ?? .zero))
      case .exhausted: break
      }
    }
    guard let first = pauses.min(by: { ($0.until, $0.host) < ($1.until, $1.host) }) else { return false }
    let today = Date()
    options.report(
      HostWait(
        host: first.host, until: today + (first.until - start).seconds, patienceUntil: today + first.left.seconds,
        shardCount: count))
    while options.clock() < first.until {
      try cancellation.check()
      usleep(10_000)
    }
    return true
  }
}

extension FetchConfiguration {
  /// Whom a mirror's address asks; nobody where it leads nowhere, which is never waited for.
  func host(of mirror: FetchMirror) -> String { origin(of: mirror) ?? "" }
}
