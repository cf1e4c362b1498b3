// An API path that answers what a verb prints runs that verb, in a process of its own: the answer is the verb's to the
// byte, its memory and its time are bounded from outside, and a query that runs away takes nothing down.

internal import Base

/// Runs verbs of the command line.
package final class VerbProcess: Sendable {
  /// The program's file.
  private let tool: String
  private let lake: String
  /// Told once nobody is left to hear what is under way.
  private let ending = Cancellation()

  package init(tool: String, lake: String) { (self.tool, self.lake) = (tool, lake) }

  /// Ends what is under way: they read, and nobody is left to hear them.
  package func endAll() { ending.cancel() }

  /// What a verb left.
  package struct Outcome: Sendable {
    /// Its exit status, or the signal that ended it.
    package let status: Int32
    /// What it printed, at most as much as was allowed.
    package let output: [UInt8]
    package let isCut: Bool
    package let isOverdue: Bool
  }

  /// Runs a verb to its end, or to its limits.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - arguments: The verb and what is told to it.
  ///   - input: Its standard input.
  ///   - limit: Bytes that it may print.
  ///   - lines: Lines that it may print.
  ///   - time: How long it may run.
  ///   - isGone: Asked ten times a second, whether nobody wants the answer any more.
  /// - Returns: What it left.
  /// - Throws: ``TarnError`` `.io` when it cannot be started, `.interrupted` when nobody wants the answer any more.
  package func run(
    _ arguments: [String], input: [UInt8] = [], limit: Int, lines: Int = .max, time: Duration,
    isGone: @Sendable () -> Bool
  ) throws -> Outcome {
    let verb = ChildRun(
      [tool] + arguments + ["--json", "--lake", lake], input: input, heard: [.output], time: time)
    var output: [UInt8] = []
    var lineCount = 0
    let ended = try verb.run(refusal: .io, isStopped: { ending.isCancelled || isGone() }) { _, piece in
      output += piece.prefix(limit - output.count)
      lineCount += piece.count { $0 == UInt8(ascii: "\n") }
      return output.count < limit && lineCount <= lines
    }
    if ended.cause == .stopped { throw TarnError.interrupted }
    return Outcome(
      status: ended.signal ?? ended.end, output: output, isCut: ended.cause == .enough,
      isOverdue: ended.cause == .overdue)
  }
}
