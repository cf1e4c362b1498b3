// A program as a child: started without a shell, in a session and a process group of its own, with no
// descriptor of ours but its streams, and ended with all of its group.
//
// Invariant: it lives no longer than the thread that started it, however that ends.

internal import Base
internal import CChild
internal import Glibc

/// A program that was started; used by the thread that started it.
@safe struct ChildProcess {
  private let processID: pid_t

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - words: The program, looked for in PATH, and its arguments.
  ///   - environment: Its environment.
  ///   - streams: Its standard input, output and error; -1 for `/dev/null`.
  ///   - refusal: The code of the error that there is no such program.
  /// - Throws: ``TarnError`` of that code, `.io`.
  init(
    _ words: [String], environment: [String: String], streams: [Int32], refusal: TarnError.Code
  ) throws(TarnError) {
    var arguments = unsafe words.map { unsafe strdup($0) }
    let settings = environment.map { "\($0.key)=\($0.value)" }.sorted()
    var variables = unsafe settings.map { unsafe strdup($0) }
    unsafe arguments.append(nil)
    unsafe variables.append(nil)
    defer { unsafe (arguments + variables).forEach { unsafe free($0) } }
    var made: pid_t = 0
    let number = unsafe cchild_start(arguments, variables, streams, &made)
    processID = made
    let program = (words.first ?? "").printable
    switch number {
    case 0: break
    case ENOENT, ENOTDIR:
      throw TarnError(
        refusal, "there is no program '\(program)' here",
        hint: "install it or name its whole path; relative paths count from the directory that tarn was started in")
    case EACCES: throw TarnError(refusal, "'\(program)' may not be executed")
    default: throw Disk.systemError(number, "start", program)
    }
  }

  /// How it ended, 0 to 255 or 256 and a signal's number; nil while it runs.
  func look() -> Int32? {
    let end = cchild_look(processID)
    return end < 0 ? nil : end
  }

  /// Sends a signal to all of its process group.
  func signal(_ number: Int32) { _ = kill(-processID, number) }

  /// Kills what is left of its group and takes it off the system's list; only after ``look()`` saw its end.
  func bury() {
    // The number is not given again before waitpid.
    signal(SIGKILL)
    while waitpid(processID, nil, 0) < 0, errno == EINTR {}
  }
}

/// A pipe that no program inherits, to be closed by who made it; our end never waits.
struct ChildPipe {
  let ours: Int32
  let its: Int32

  /// Makes a pipe.
  ///
  /// - Parameter isWritten: Whether we write into it; else we read from it.
  /// - Throws: ``TarnError`` `.io`.
  init(isWritten: Bool) throws(TarnError) {
    var ends: [Int32] = [-1, -1]
    let own = isWritten ? 1 : 0
    let number = unsafe cchild_pipe(&ends, Int32(own))
    guard number == 0 else { throw Disk.systemError(number, "make", "a pipe") }
    (ours, its) = (ends[own], ends[1 - own])
  }
}

/// The end of what a program prints.
struct OutputTail {
  /// Bytes that are kept of it.
  private static let mostByteCount = 4_096

  private var bytes: [UInt8] = []

  /// Reads what is there, without waiting.
  ///
  /// - Returns: Whether nobody can print any more.
  mutating func drain(_ descriptor: Int32) -> Bool {
    var piece = [UInt8](repeating: 0, count: 1 << 14)
    // So that a program that prints without end is looked at now and then.
    for _ in 0..<64 {
      let count = unsafe read(descriptor, &piece, piece.count)
      guard count > 0 else { return count == 0 }
      bytes += piece[..<count].suffix(Self.mostByteCount)
      if bytes.count > Self.mostByteCount { bytes.removeFirst(bytes.count - Self.mostByteCount) }
    }
    return false
  }

  /// As text in which nothing controls a terminal.
  var text: String {
    // A character that was cut at the beginning is none.
    String(decoding: bytes.drop { $0 & 0xC0 == 0x80 }, as: UTF8.self).printableLines
  }

  /// The last line, the end of a long one; nil when nothing was said.
  var lastLine: String? {
    let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
    return lines.last { $0.contains { !$0.isWhitespace } }.map { String($0.suffix(160)).printable }
  }
}
