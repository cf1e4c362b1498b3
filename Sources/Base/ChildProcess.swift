// A program as a child: the one way of starting one. Without a shell, in a session and a process group of its own, with
// no descriptor of ours but its streams, every signal as it is by default, and ended with all of its group.
//
// Invariants:
// 1. It lives no longer than the thread that started it, however that ends, unless it was started to outlive it.
// 2. Its number is nobody else's until it is taken off the system's list, by `bury` or `reap`: until then it may be
//    signalled from any thread.

internal import CChild
internal import Glibc

/// A program that was started.
package struct ChildProcess: Sendable, Equatable {
  private let processID: pid_t

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - words: The program, looked for in PATH, and its arguments.
  ///   - environment: Its environment; nil for ours, byte for byte.
  ///   - directory: Where it works; nil for where we do.
  ///   - streams: Its standard input, output and error; -1 for `/dev/null`.
  ///   - outlivesThread: Whether it goes on when the calling thread ends, or tarn does.
  ///   - refusal: The code of the error that there is no such program.
  /// - Throws: ``TarnError`` of that code, `.io`.
  package init(
    _ words: [String], environment: [String: String]?, directory: String? = nil, streams: [Int32],
    outlivesThread: Bool = false, refusal: TarnError.Code
  ) throws(TarnError) {
    var arguments = words.map { strdup($0) }
    let settings = (environment ?? [:]).map { "\($0.key)=\($0.value)" }.sorted()
    var variables = settings.map { strdup($0) }
    let place = directory.flatMap { strdup($0) }
    arguments.append(nil)
    variables.append(nil)
    defer { (arguments + variables + [place]).forEach { free($0) } }
    var made: pid_t = 0
    let number = variables.withUnsafeBufferPointer {
      cchild_start(arguments, environment == nil ? nil : $0.baseAddress, place, streams, outlivesThread ? 0 : 1, &made)
    }
    processID = made
    let program = (words.first ?? "").printable
    switch number {
    case 0: break
    case ..<0:
      throw TarnError(
        .io, "cannot start '\(program)' in \((directory ?? "").printable): \(String(cString: strerror(-number)))",
        hint: "it must be a directory that this user may enter")
    case ENOENT, ENOTDIR:
      throw TarnError(
        refusal, "there is no program '\(program)' here",
        hint: "install it or name its whole path; relative paths count from the directory that tarn was started in")
    case EACCES: throw TarnError(refusal, "'\(program)' may not be executed")
    default: throw Disk.systemError(number, "start", program)
    }
  }

  /// How it ended, 0 to 255 or 256 and a signal's number; nil while it runs.
  package func look() -> Int32? {
    let end = cchild_look(processID)
    return end < 0 ? nil : end
  }

  /// Blocks until it has ended; at once where it was taken off the system's list.
  package func waitForEnd() { cchild_wait(processID) }

  /// Sends a signal to all of its process group; before it is taken off the system's list.
  package func signal(_ number: Int32) { _ = kill(-processID, number) }

  /// Kills what is left of its group and takes it off the system's list; only after ``look()`` saw its end.
  package func bury() {
    // The number is not given again before waitpid.
    signal(SIGKILL)
    reap()
  }

  /// Takes it off the system's list, and lets go on what it has begun; only after ``look()`` saw its end.
  package func reap() { while waitpid(processID, nil, 0) < 0, errno == EINTR {} }
}

/// A pipe that no program inherits, to be closed by who made it; our end never waits.
package struct ChildPipe {
  package let ours: Int32
  package let its: Int32

  /// Makes a pipe.
  ///
  /// - Parameter isWritten: Whether we write into it; else we read from it.
  /// - Throws: ``TarnError`` `.io`.
  package init(isWritten: Bool) throws(TarnError) {
    var ends: [Int32] = [-1, -1]
    let own = isWritten ? 1 : 0
    let number = cchild_pipe(&ends, Int32(own))
    guard number == 0 else { throw Disk.systemError(number, "make", "a pipe") }
    (ours, its) = (ends[own], ends[1 - own])
  }
}

/// The end of what a program prints.
package struct OutputTail {
  /// Bytes that are kept of it.
  private static let mostByteCount = 4_096

  private var bytes: [UInt8] = []

  /// Of what has printed nothing yet.
  package init() {}

  /// Reads what is there, without waiting.
  ///
  /// - Returns: Whether nobody can print any more.
  package mutating func drain(_ descriptor: Int32) -> Bool {
    var piece = [UInt8](repeating: 0, count: 1 << 14)
    // So that a program that prints without end is looked at now and then.
    for _ in 0..<64 {
      let count = read(descriptor, &piece, piece.count)
      guard count > 0 else { return count == 0 }
      bytes += piece[..<count].suffix(Self.mostByteCount)
      if bytes.count > Self.mostByteCount { bytes.removeFirst(bytes.count - Self.mostByteCount) }
    }
    return false
  }

  /// As text in which nothing controls a terminal.
  package var text: String {
    // A character that was cut at the beginning is none.
    String(decoding: bytes.drop { $0 & 0xC0 == 0x80 }, as: UTF8.self).printableLines
  }

  /// The last line, the end of a long one; nil when nothing was said.
  package var lastLine: String? {
    let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
    return lines.last { $0.contains { !$0.isWhitespace } }.map { String($0.suffix(160)).printable }
  }
}
