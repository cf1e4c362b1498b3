// Ctrl-C and SIGTERM: every command hears them, and every command ends.

internal import Base
@preconcurrency internal import Dispatch
internal import Foundation
internal import Synchronization

/// The one token of this process, and what becomes of a command that does not
/// end by itself.
///
/// A command that nothing listens in is ended at once, by a plain handler: short
/// commands are run by the hundred, and need not pay for more. Others get
/// ``grace`` to put away what they hold; whatever does not end by then is ended in
/// the middle of its work, which costs no more than any kill does (invariant 5). A
/// second signal ends a command at once.
enum Interruption {
  /// Handed to every run; the first that listens begins to be told.
  static let cancellation = Cancellation(whenHeard: { for source in sources { source.resume() } })

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
  static var status: ExitStatus { status(of: received.load(ordering: .relaxed)) }

  /// Begins to listen; once, before the command runs.
  static func install() {
    _ = lastWords
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        // Nothing here may allocate or wait: the signal came in the middle of
        // anything.
        let words = Interruption.lastWords.bytes
        _ = Foundation.write(STDERR_FILENO, words.baseAddress, words.count)
        _exit(Interruption.status(of: number).rawValue)
      }
    }
  }

  private static func hear(_ number: Int32) {
    let isFirst = received.compareExchange(expected: 0, desired: number, ordering: .relaxed).exchanged
    guard isFirst else { end() }
    DispatchQueue.global(qos: .userInteractive).asyncAfter(deadline: .now() + grace) { end() }
    cancellation.cancel()
  }

  /// Ends the process where it is.
  private static func end() -> Never {
    let words = lastWords.bytes
    _ = Foundation.write(STDERR_FILENO, words.baseAddress, words.count)
    _exit(status.rawValue)
  }

  private static func status(of number: Int32) -> ExitStatus { number == SIGTERM ? .terminated : .interrupted }

  /// What an ended command says, laid out before anything is interrupted.
  private struct LastWords: @unchecked Sendable {
    /// Never freed, never changed.
    let bytes: UnsafeBufferPointer<UInt8>
    init() {
      let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 256)
      let (_, end) = buffer.initialize(from: "tarn: \(TarnError.interrupted)\n".utf8)
      bytes = UnsafeBufferPointer(rebasing: buffer[..<end])
    }
  }
  private static let lastWords = LastWords()
}
