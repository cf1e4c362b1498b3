// Ctrl-C and SIGTERM: every command hears them, and every command ends.

internal import Base
@preconcurrency internal import Dispatch
internal import Foundation
internal import Synchronization

/// The one token of this process, and what becomes of a command that does not
/// end by itself.
///
/// A command that nothing listens in is ended at once. Others get ``grace`` to
/// put away what they hold; whatever does not end by then is ended in the middle
/// of its work, which costs no more than any kill does (invariant 5). A second
/// signal ends a command at once.
enum Interruption {
  /// Handed to every run.
  static let cancellation = Cancellation()

  /// How long a command may take to end.
  static let grace = DispatchTimeInterval.milliseconds(1_500)

  private static let received = Atomic<Int32>(0)
  private static let sources = [SIGINT, SIGTERM].map { number in
    // A dispatch source sees a signal only if it does not end the process.
    signal(number, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: number, queue: .global(qos: .userInteractive))
    source.setEventHandler { hear(number) }
    return source
  }

  /// What an interrupted command ends with.
  static var status: ExitStatus { received.load(ordering: .relaxed) == SIGTERM ? .terminated : .interrupted }

  /// Begins to listen; once, before the command runs.
  static func install() {
    for source in sources { source.resume() }
  }

  private static func hear(_ number: Int32) {
    let isFirst = received.compareExchange(expected: 0, desired: number, ordering: .relaxed).exchanged
    guard isFirst, cancellation.isHeard else { end() }
    DispatchQueue.global(qos: .userInteractive).asyncAfter(deadline: .now() + grace) { end() }
    cancellation.cancel()
  }

  /// Ends the process where it is.
  private static func end() -> Never {
    Output.diagnostic("tarn: \(TarnError.interrupted)")
    _exit(status.rawValue)
  }
}
