// R21 for who asks few hosts for a handful of files: which are asked for now, and what
// becomes of one that failed. Pure: the time is handed in.
//
// Invariants:
// 1. What was asked for is over, or waits to be asked for again: it is in one of them.
// 2. Every wait ends: with bytes, with a definite answer, or with patience.

package import Base

/// Files to ask for, by number, with one patience for all of them: what is lacking comes
/// from few hosts.
package struct PatientQueue: Sendable {
  /// What may be asked for now.
  package enum Turn: Sendable, Equatable {
    case ask(Int)
    /// Nothing for now.
    case later
    /// Nothing ever again.
    case over
  }

  /// A file that is asked for.
  private struct Question {
    var mayPass = false
    /// The longest wait that a host asked for (R13).
    var wait: Duration?
  }

  private var pending = Queue<Int>()
  private var asked: [Int: Question] = [:]
  private var patience: HostPatience
  /// The most bytes that were held of a file: more of them are progress.
  private var mostHeld: [Int: Int] = [:]

  /// Files to ask for in this order, with a patience; zero for none.
  package init(_ numbers: some Sequence<Int>, patience limit: Duration) {
    patience = HostPatience(limit: limit)
    for number in numbers { pending.append(number) }
  }

  /// Gives the next file to ask for.
  package mutating func next(at now: ContinuousClock.Instant) -> Turn {
    switch patience.standing(at: now) {
    case .exhausted: return .over
    case .pausing where !pending.isEmpty: return .later
    case .pausing, .well, .askable: break
    }
    guard let number = pending.popFirst() else { return asked.isEmpty ? .over : .later }
    asked[number] = Question()
    patience.asks()
    return .ask(number)
  }

  /// Puts a file back that was asked for, as the next one: what was in its way is no host's fault.
  package mutating func putBack(_ number: Int) {
    asked[number] = nil
    patience.cameBack()
    pending.prepend(number)
  }

  /// So many bytes of a file are held.
  package mutating func holds(_ number: Int, byteCount: Int) {
    // What was held before this run is no progress of it.
    let before = mostHeld[number] ?? byteCount
    mostHeld[number] = max(before, byteCount)
    if byteCount > before { patience.kept(byteCount - before) }
  }

  /// An attempt at a file failed in a way that may pass (R12, R22).
  ///
  /// - Parameters:
  ///   - number: The file.
  ///   - wait: What the host asked for.
  package mutating func failedForNow(_ number: Int, askingFor wait: Duration?) {
    guard let question = asked[number] else { return }
    asked[number] = Question(mayPass: true, wait: [question.wait, wait].compactMap(\.self).max())
  }

  /// A file came whole.
  package mutating func delivered(_ number: Int) {
    asked[number] = nil
    patience.cameBack()
    patience.delivered()
  }

  /// A file could not be had.
  ///
  /// - Parameters:
  ///   - number: The file.
  ///   - error: Why not.
  ///   - now: The time.
  /// - Returns: The pause after which it is asked for again; nil when it is over.
  package mutating func failed(
    _ number: Int, _ error: TarnError, at now: ContinuousClock.Instant
  ) -> HostPatience.Pause? {
    let question = asked.removeValue(forKey: number) ?? Question()
    patience.cameBack()
    guard patience.limit > .zero, error.code == .temporary || question.mayPass && error.isOfMirror,
      let pause = patience.failed(askingFor: question.wait, at: now)
    else { return nil }
    pending.append(number)
    return pause
  }
}

extension FetchConfiguration {
  /// Leaves long waits to whoever is patient, where they take no place of a transfer.
  package mutating func leaveWaits(to patience: Duration) {
    if patience > .zero { longestHeldWait = HostPatience.firstPause * 8 }
  }
}
