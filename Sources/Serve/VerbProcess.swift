// An API path that answers what a verb prints runs that verb, in a process of its own: the answer is the verb's to the
// byte, its memory and its time are bounded from outside, and a query that runs away takes nothing down.

internal import Base
internal import Foundation
internal import Synchronization

/// Runs verbs of the command line.
package final class VerbProcess: Sendable {
  /// The program's file.
  private let tool: String
  private let lake: String
  /// Processes under way.
  private let running = Mutex<Set<Int32>>([])

  package init(tool: String, lake: String) { (self.tool, self.lake) = (tool, lake) }

  /// Ends what is under way: they read, and nobody is left to hear them.
  package func endAll() { running.withLock { for process in $0 { kill(process, SIGKILL) } } }

  /// What a verb left.
  package struct Outcome: Sendable {
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
  ///   - input: Its standard input, at most 32 KiB.
  ///   - limit: Bytes that it may print.
  ///   - lines: Lines that it may print.
  ///   - time: How long it may run.
  ///   - isGone: Asked ten times a second, whether nobody wants the answer any more.
  /// - Returns: What it left.
  /// - Throws: ``TarnError`` `.io` when it cannot be started.
  package func run(
    _ arguments: [String], input: [UInt8] = [], limit: Int, lines: Int = .max, time: Duration,
    isGone: @Sendable () -> Bool
  ) throws -> Outcome {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: tool)
    process.arguments = arguments + ["--json", "--lake", lake]
    let (output, feed) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    process.standardInput = feed
    do {
      try process.run()
    } catch {
      throw TarnError(.io, "cannot run \(tool): \(error.localizedDescription)")
    }
    let number = process.processIdentifier
    running.withLock { _ = $0.insert(number) }
    defer { running.withLock { _ = $0.remove(number) } }
    try? output.fileHandleForWriting.close()
    // A pipe takes 64 KiB before anybody reads.
    try? feed.fileHandleForWriting.write(contentsOf: Data(input))
    try? feed.fileHandleForWriting.close()
    let descriptor = output.fileHandleForReading.fileDescriptor
    let end = ContinuousClock.now + time
    var bytes: [UInt8] = []
    var lineCount = 0
    var (isCut, isOverdue, isLeft) = (false, false, false)
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      isOverdue = ContinuousClock.now > end
      isLeft = isGone()
      if isOverdue || isLeft { break }
      var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let ready = poll(&waiting, 1, 100)
      if ready == 0 || ready < 0 && errno == EINTR { continue }
      let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { break }
      bytes.append(contentsOf: buffer[..<min(count, limit - bytes.count)])
      lineCount += buffer[..<count].count { $0 == UInt8(ascii: "\n") }
      if bytes.count == limit || lineCount > lines {
        isCut = true
        break
      }
    }
    if isOverdue || isCut || isLeft { kill(number, SIGKILL) }
    process.waitUntilExit()
    return Outcome(status: process.terminationStatus, output: bytes, isCut: isCut, isOverdue: isOverdue)
  }
}
