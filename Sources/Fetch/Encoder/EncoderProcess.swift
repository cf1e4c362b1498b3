// An encoder's program: spoken to by pipes that never wait.

internal import Base
internal import Glibc

/// A program that was started; used by the thread that started it.
@safe struct EncoderProcess {
  private let child: ChildProcess
  /// Our ends; -1 once closed.
  private var input: Int32
  private var output: Int32
  private var errors: Int32
  private var tail = OutputTail()

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - words: The program, looked for in PATH, and its arguments.
  ///   - environment: Its environment.
  /// - Throws: ``TarnError`` `.usage` if there is no such program, `.io`.
  init(_ words: [String], environment: [String: String]) throws(TarnError) {
    var pipes: [ChildPipe] = []
    defer { for pipe in pipes { Glibc.close(pipe.its) } }
    do throws(TarnError) {
      // Its standard input, output and error.
      for isWritten in [true, false, false] { pipes.append(try ChildPipe(isWritten: isWritten)) }
      child = try ChildProcess(words, environment: environment, streams: pipes.map(\.its), refusal: .usage)
    } catch {
      for pipe in pipes { Glibc.close(pipe.ours) }
      throw error
    }
    (input, output, errors) = (pipes[0].ours, pipes[1].ours, pipes[2].ours)
  }

  /// Writes as much as it takes, without waiting.
  ///
  /// - Returns: How many bytes; nil when nobody reads any more. SIGPIPE must be blocked.
  mutating func write(_ bytes: [UInt8]) -> Int? {
    let count = unsafe Glibc.write(input, bytes, bytes.count)
    if count >= 0 { return count }
    return errno == EAGAIN || errno == EINTR ? 0 : nil
  }

  /// Reads what it wrote, without waiting.
  ///
  /// - Parameter piece: Room; what was read is at its front.
  /// - Returns: How many bytes, 0 for none yet; nil at the end.
  func read(into piece: inout [UInt8]) -> Int? {
    guard output >= 0 else { return nil }
    let count = unsafe Glibc.read(output, &piece, piece.count)
    if count > 0 { return count }
    return count < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : nil
  }

  /// Reads what it says on standard error, without waiting, and keeps the end of it.
  mutating func drainErrors() {
    if errors >= 0, tail.drain(errors) { Self.close(&errors) }
  }

  /// The last line of what it said, the end of a long one; nil when that was nothing.
  var lastLine: String? { tail.lastLine }

  mutating func closeInput() { Self.close(&input) }

  mutating func closeAll() {
    Self.close(&input)
    Self.close(&output)
    Self.close(&errors)
  }

  /// Waits until something can be read or written.
  ///
  /// - Parameters:
  ///   - wake: Another descriptor to read.
  ///   - isWriting: Whether there is something to write.
  ///   - milliseconds: How long at most; -1 for any time.
  /// - Returns: Whether nobody can read what is written to it any more.
  func wait(besides wake: Int32, isWriting: Bool, atMost milliseconds: Int32) -> Bool {
    // A negative descriptor is passed over.
    var waiting = [
      pollfd(fd: wake, events: Int16(POLLIN), revents: 0), pollfd(fd: output, events: Int16(POLLIN), revents: 0),
      pollfd(fd: errors, events: Int16(POLLIN), revents: 0),
      pollfd(fd: input, events: isWriting ? Int16(POLLOUT) : 0, revents: 0),
    ]
    // > POLLERR ... is also set for a file descriptor referring to the write end of a pipe
    // > when the read end has been closed.
    // https://man7.org/linux/man-pages/man2/poll.2.html
    return unsafe poll(&waiting, nfds_t(waiting.count), milliseconds) > 0
      && Int32(waiting[3].revents) & POLLERR != 0
  }

  /// How it ended, 0 to 255 or 256 and a signal's number; nil while it runs.
  func look() -> Int32? { child.look() }

  /// Sends a signal to all of its process group.
  func signal(_ number: Int32) { child.signal(number) }

  /// Ends what is left of it and closes everything; only after ``look()`` saw its end.
  mutating func bury() {
    child.bury()
    closeAll()
  }

  private static func close(_ descriptor: inout Int32) {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }
}
