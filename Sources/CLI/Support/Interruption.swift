// Ctrl-C, SIGTERM and a terminal that goes away: every command hears them, and every command ends.

internal import Base
internal import Foundation
internal import Synchronization

/// The one token of this process, and what becomes of a command that does not
/// end by itself.
///
/// A command that nothing listens in is ended at once. Others get ``grace``, or what they said that they
/// need, to put away what they hold; whatever does not end by then is ended in the middle
/// of its work, which costs no more than any kill does (invariant 5). A second
/// signal ends a command at once.
enum Interruption {
  /// Handed to every run.
  static let cancellation = Cancellation()

  /// How long a command may take to end that does not say.
  private static let grace = Duration.milliseconds(1_500)
  private static let allowed = Mutex(grace)

  /// Lets this command take longer to end, by so much more than others.
  static func lengthenGrace(by time: Duration) { allowed.withLock { $0 = grace + time } }

  private static let received = Atomic<Int32>(0)
  private static let leavesNothing = Atomic(false)

  /// Says that this command leaves nothing that could be continued when it is told to end.
  static func leaveNothing() { leavesNothing.store(true, ordering: .relaxed) }

  /// What an interrupted command ends with.
  static var status: ExitStatus {
    [SIGTERM, SIGHUP].contains(received.load(ordering: .relaxed)) ? .terminated : .interrupted
  }

  /// Begins to listen; once, before the command runs.
  ///
  /// - Throws: ``TarnError`` when the system gives no thread to listen on.
  static func install() throws(TarnError) { try NamedThread.hear([SIGINT, SIGTERM, SIGHUP], hear) }

  /// Acts on a signal, or on its absence: the grace is over, or it is the second.
  ///
  /// - Returns: How long to wait for another.
  private static func hear(_ number: Int32?) -> Duration? {
    guard let number, received.compareExchange(expected: 0, desired: number, ordering: .relaxed).exchanged,
      cancellation.isHeard
    else { end() }
    cancellation.cancel()
    return allowed.withLock(\.self)
  }

  /// Ends the process where it is.
  private static func end() -> Never {
    let interrupted = TarnError.interrupted
    Output.parting("tarn: \(leavesNothing.load(ordering: .relaxed) ? interrupted.message : interrupted.description)")
    _exit(status.rawValue)
  }
}
