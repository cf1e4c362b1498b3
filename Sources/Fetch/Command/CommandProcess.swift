// A command as a process: started without a shell, in a session of its own, watched until
// it and all that it started is gone. Blocks the thread that it is run on.
//
// Invariants:
// 1. When `run` returns no process of the command is left that can be found: of its
//    group, or with its mark in its environment, whatever session it went into.
// 2. The command ends with the thread, and so with tarn, however that ends.
// 3. What it prints is always read, so that it never waits for us; the end of it is kept.

internal import Base
internal import CChild
internal import Foundation
internal import Glibc

/// A command under way.
@safe struct CommandProcess {
  /// The variable that marks all processes of a run.
  static let markName = "TARN_COMMAND_MARK"
  /// Bytes kept of what a command prints.
  static let tailByteCount = 4_096

  private let child: pid_t
  private let output: Int32
  private let mark: String
  private var tail: [UInt8] = []
  /// Whether somebody may still print; false for good once nobody has the other end.
  private var isHeard = true

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - arguments: The program, looked for in PATH, and its arguments.
  ///   - environment: Its environment, without the mark.
  ///   - mark: What its processes are known by.
  /// - Throws: ``TarnError`` `.refused` if there is no such program.
  init(_ arguments: [String], environment: [String: String], mark: String) throws(TarnError) {
    let variables = environment.merging([Self.markName: mark]) { $1 }.map { "\($0.key)=\($0.value)" }.sorted()
    var words = unsafe arguments.map { unsafe strdup($0) }
    var pairs = unsafe variables.map { unsafe strdup($0) }
    unsafe words.append(nil)
    unsafe pairs.append(nil)
    defer { unsafe (words + pairs).forEach { unsafe free($0) } }
    var ends: [Int32] = [-1, -1]
    var made: pid_t = 0
    var number = unsafe cchild_pipe(&ends, 0)
    if number == 0 {
      // The program writes as to any pipe: only our end does not wait.
      number = unsafe cchild_start(words, pairs, [-1, ends[1], ends[1]], &made)
      close(ends[1])
      if number != 0 { close(ends[0]) }
    }
    guard number == 0 else { throw Self.startError(number, arguments.first ?? "") }
    (child, output, self.mark) = (made, ends[0], mark)
  }

  private static func startError(_ number: Int32, _ program: String) -> TarnError {
    switch number {
    case ENOENT, ENOTDIR:
      return TarnError(
        .refused, "there is no program '\(program.printable)' here",
        hint: "install it or name its whole path; commands run in the directory that tarn was started in")
    case EACCES: return TarnError(.refused, "'\(program.printable)' may not be executed")
    default:
      errno = number
      return Disk.systemError("start", program.printable)
    }
  }

  /// Watches it to its end, and ends what is left of it.
  ///
  /// - Parameters:
  ///   - rules: How long it may take.
  ///   - isStopped: Whether the user stops tarn.
  ///   - fault: What speaks against what it wrote so far.
  /// - Returns: How it ended and why it was ended, and the end of what it printed.
  mutating func run(
    _ rules: CommandRules, isStopped: () -> Bool, fault: () -> TarnError?
  ) -> (end: CommandCourse.End?, cause: CommandCourse.Cause?, tail: String) {
    var course = CommandCourse(rules, at: .now)
    var end: CommandCourse.End?
    while true {
      drain()
      end = end ?? reaped()
      let look = CommandCourse.Look(end: end, isStopped: isStopped(), fault: end == nil ? fault() : nil)
      switch course.step(look, at: .now) {
      case .wait(let wait): sleep(wait)
      case .terminate: _ = kill(-child, SIGTERM)
      case .kill: Self.endAll(of: mark, group: child)
      case .over(let end, let cause):
        Self.endAll(of: mark, group: child)
        drain()
        close(output)
        return (end, cause, text)
      }
    }
  }

  /// What was printed, as text in which nothing controls a terminal.
  private var text: String {
    // A character that was cut at the beginning is none.
    let whole = tail.suffix(Self.tailByteCount).drop { $0 & 0xC0 == 0x80 }
    let scalars = String(decoding: whole, as: UTF8.self).unicodeScalars.map { scalar in
      HiddenText.contains(scalar) && scalar != "\n" && scalar != "\t" ? "?" : scalar
    }
    return String(String.UnicodeScalarView(scalars))
  }

  /// Reads what it printed, without waiting.
  private mutating func drain() {
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    // So that a command that prints without end is looked at now and then.
    for _ in 0..<64 {
      let count = unsafe read(output, &piece, piece.count)
      guard count > 0 else { return }
      tail += piece[..<count].suffix(Self.tailByteCount)
      if tail.count > Self.tailByteCount { tail.removeFirst(tail.count - Self.tailByteCount) }
    }
  }

  private func reaped() -> CommandCourse.End? {
    var status: Int32 = 0
    return unsafe waitpid(child, &status, WNOHANG) == child ? cchild_end(status) : nil
  }

  /// Waits, less if something is printed or the last writer goes.
  private mutating func sleep(_ wait: Duration) {
    // A negative descriptor is passed over.
    var waiting = pollfd(fd: isHeard ? output : -1, events: Int16(POLLIN), revents: 0)
    let milliseconds = Int32(max(1, min(wait, .seconds(1)) / .milliseconds(1)))
    _ = unsafe poll(&waiting, 1, milliseconds)
    // Nobody has the other end any more, and poll would not wait again. Mostly the command ends, which takes it a moment.
    guard Int32(waiting.revents) & POLLHUP != 0, Int32(waiting.revents) & POLLIN == 0 else { return }
    isHeard = false
    usleep(2_000)
  }

  // MARK: All of it

  /// Kills every process of a run.
  ///
  /// - Parameters:
  ///   - mark: The mark that its processes have in their environment.
  ///   - group: Its process group; nil if that is not known any more.
  static func endAll(of mark: String, group: pid_t?) {
    if let group { _ = kill(-group, SIGKILL) }
    // One that forks while we look is found the next time.
    for _ in 0..<100 {
      let found = processes(of: mark)
      if found.isEmpty { return }
      for process in found { _ = kill(process, SIGKILL) }
      usleep(2_000)
    }
  }

  private static func processes(of mark: String) -> [pid_t] {
    let wanted = Array("\(markName)=\(mark)".utf8)
    return ((try? Disk.names(in: "/proc")) ?? []).compactMap { bytes in
      guard let process = Int32(String(decoding: bytes, as: UTF8.self)), process != getpid(),
        // Empty of a zombie, unreadable of another user's.
        let environment = try? environment(of: process)
      else { return nil }
      return environment.split(separator: 0).contains { $0.elementsEqual(wanted) } ? process : nil
    }
  }

  private static func environment(of process: pid_t) throws -> [UInt8] {
    let descriptor = unsafe open("/proc/\(process)/environ", O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Disk.systemError("open", "environ") }
    defer { close(descriptor) }
    var (bytes, piece): ([UInt8], [UInt8]) = ([], [UInt8](repeating: 0, count: 1 << 16))
    while bytes.count < 4 << 20 {
      let count = unsafe read(descriptor, &piece, piece.count)
      guard count > 0 else { break }
      bytes += piece[..<count]
    }
    return bytes
  }
}
