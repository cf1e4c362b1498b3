// A command as a process: watched until it and all that it started is gone. Blocks the
// thread that it is run on.
//
// Invariants:
// 1. When `run` returns no process of the command is left that can be found: of its
//    group, or with its mark in its environment, whatever session it went into.
// 2. The command ends with the thread, and so with tarn, however that ends.
// 3. What it prints is always read, so that it never waits for us; the end of it is kept.

internal import Base
internal import Foundation
internal import Glibc

/// A command under way.
@safe struct CommandProcess {
  /// The variable that marks all processes of a run.
  static let markName = "TARN_COMMAND_MARK"

  private let child: ChildProcess
  private let output: Int32
  private let mark: String
  private var tail = OutputTail()
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
    // The program writes as to any pipe: only our end does not wait.
    let pipe = try ChildPipe(isWritten: false)
    defer { close(pipe.its) }
    do throws(TarnError) {
      child = try ChildProcess(
        arguments, environment: environment.merging([Self.markName: mark]) { $1 }, streams: [-1, pipe.its, pipe.its],
        refusal: .refused)
    } catch {
      close(pipe.ours)
      throw error
    }
    (output, self.mark) = (pipe.ours, mark)
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
    while true {
      drain()
      let end = child.look()
      let look = CommandCourse.Look(end: end, isStopped: isStopped(), fault: end == nil ? fault() : nil)
      switch course.step(look, at: .now) {
      case .wait(let wait): sleep(wait)
      case .terminate: child.signal(SIGTERM)
      case .kill: endAll(hasEnded: false)
      case .over(let end, let cause):
        endAll(hasEnded: end != nil)
        drain()
        close(output)
        return (end, cause, tail.text)
      }
    }
  }

  private mutating func drain() { _ = tail.drain(output) }

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

  private func endAll(hasEnded: Bool) {
    if hasEnded { child.bury() } else { child.signal(SIGKILL) }
    Self.endAll(of: mark)
  }

  /// Kills every process of a run.
  ///
  /// - Parameter mark: The mark that its processes have in their environment.
  static func endAll(of mark: String) {
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
