// A program as a child: started without a shell in a session of its own, spoken to by
// pipes that never wait, ended with all of its process group.
//
// Invariant: it lives no longer than the thread that started it, however that ends.

internal import Base
internal import CChild
internal import Foundation
internal import Glibc

/// A program that was started; used by the thread that started it.
@safe struct ChildProcess {
  /// Bytes kept of what it says on standard error.
  static let tailByteCount = 4_096

  let processID: pid_t
  /// Our ends; -1 once closed.
  private(set) var input: Int32
  private(set) var output: Int32
  private(set) var errors: Int32
  private var tail: [UInt8] = []

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - words: The program, looked for in PATH, and its arguments.
  ///   - environment: Its environment.
  /// - Throws: ``TarnError`` `.usage` if there is no such program, `.io`.
  init(_ words: [String], environment: [String: String]) throws(TarnError) {
    var (asked, said, wrong) = (Pipe(), Pipe(), Pipe())
    for number in [
      unsafe cchild_pipe(&asked.ends, 1), unsafe cchild_pipe(&said.ends, 0), unsafe cchild_pipe(&wrong.ends, 0),
    ] where number != 0 {
      for pipe in [asked, said, wrong] { pipe.close() }
      errno = number
      throw Disk.systemError("make", "a pipe")
    }
    (input, output, errors) = (asked.ends[1], said.ends[0], wrong.ends[0])
    defer { for end in [asked.ends[0], said.ends[1], wrong.ends[1]] { Glibc.close(end) } }
    var arguments = unsafe words.map { unsafe strdup($0) }
    var variables = unsafe environment.map { unsafe strdup("\($0.key)=\($0.value)") }
    unsafe arguments.append(nil)
    unsafe variables.append(nil)
    defer { unsafe (arguments + variables).forEach { unsafe free($0) } }
    var made: pid_t = 0
    let number = unsafe cchild_start(arguments, variables, [asked.ends[0], said.ends[1], wrong.ends[1]], &made)
    processID = made
    guard number == 0 else {
      closeAll()
      throw Self.startError(number, words.first ?? "")
    }
  }

  private struct Pipe {
    var ends: [Int32] = [-1, -1]

    func close() { for end in ends where end >= 0 { Glibc.close(end) } }
  }

  private static func startError(_ number: Int32, _ program: String) -> TarnError {
    switch number {
    case ENOENT, ENOTDIR:
      return TarnError(
        .usage, "there is no program '\(program.printable)' here",
        hint: "install it or name its whole path; relative paths count from the working directory")
    case EACCES: return TarnError(.usage, "'\(program.printable)' may not be executed")
    default:
      errno = number
      return Disk.systemError("start", program.printable)
    }
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
    var piece = [UInt8](repeating: 0, count: 1 << 14)
    // So that a program that says things without end is looked at now and then.
    for _ in 0..<64 where errors >= 0 {
      let count = unsafe Glibc.read(errors, &piece, piece.count)
      if count == 0 { Self.close(&errors) }
      guard count > 0 else { return }
      tail += piece[..<count].suffix(Self.tailByteCount)
      if tail.count > Self.tailByteCount { tail.removeFirst(tail.count - Self.tailByteCount) }
    }
  }

  /// The last line of what it said, the end of a long one; nil when that was nothing.
  var lastLine: String? {
    let lines = String(decoding: tail, as: UTF8.self).split(whereSeparator: \.isNewline)
    return lines.last { $0.contains { !$0.isWhitespace } }.map { String($0.suffix(160)).printable }
  }

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
  func look() -> Int32? {
    let end = cchild_look(processID)
    return end < 0 ? nil : end
  }

  /// Sends a signal to all of its process group.
  func signal(_ number: Int32) { _ = kill(-processID, number) }

  /// Kills what is left of its group, takes the process off the system's list and closes
  /// everything; only after ``look()`` saw its end.
  mutating func bury() {
    // The number is not given again before waitpid.
    signal(SIGKILL)
    while waitpid(processID, nil, 0) < 0, errno == EINTR {}
    closeAll()
  }

  private static func close(_ descriptor: inout Int32) {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }
}
