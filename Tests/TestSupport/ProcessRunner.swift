// The built `tarn` as a process: arguments, environment and directory in;
// bytes, exit status or signal out. No shell, and no wait without an end.

internal import Base
internal import Foundation
internal import Glibc
internal import Synchronization

/// How a process ended, and what it said.
package struct ProcessResult: Sendable {
  /// How a process ends.
  package enum Ending: Sendable, Equatable {
    case exit(Int32)
    case signal(Int32)
    /// Killed, as it had not ended in time.
    case overdue
  }

  package let ending: Ending
  package let output: [UInt8]
  package let errors: [UInt8]

  /// Standard output as text.
  package var outputText: String { String(decoding: output, as: UTF8.self) }
  /// Standard error as text.
  package var errorText: String { String(decoding: errors, as: UTF8.self) }
  /// The lines of standard error.
  package var errorLines: [String] { errorText.split(separator: "\n").map(String.init) }
}

/// A process that was started.
///
/// Sendable because the process number never changes and the sockets are read by
/// ``finish(within:)`` alone, which the mutex lets through once.
package final class RunningProcess: Sendable {
  package let processID: Int32
  private let streams: Mutex<(output: Int32, errors: Int32)?>

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - path: The program's file.
  ///   - arguments: After the program's own name.
  ///   - environment: All of it; nothing is inherited.
  ///   - directory: Where it runs; nil for here.
  /// - Throws: `POSIXError` when it cannot be started.
  package init(_ path: String, _ arguments: [String], environment: [String: String], directory: String? = nil) throws {
    // Sockets instead of streams, as they are made closing on exec in one step: a
    // child started meanwhile must not hold them.
    var (output, errors) = ([Int32](repeating: -1, count: 2), [Int32](repeating: -1, count: 2))
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, type, 0, &output) == 0, socketpair(AF_UNIX, type, 0, &errors) == 0 else {
      throw ProcessRunner.error(errno)
    }
    defer {
      close(output[1])
      close(errors[1])
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, errors[1], STDERR_FILENO)
    // A test run in the background ignores SIGINT; its children must not.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var (defaults, mask) = (sigset_t(), sigset_t())
    sigfillset(&defaults)
    sigemptyset(&mask)
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setsigmask(&attributes, &mask)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))

    // Glibc's way to change the child's directory is hidden from Swift.
    let program = directory == nil ? path : "/usr/bin/env"
    let words = directory.map { ["/usr/bin/env", "-C", $0] } ?? []
    var argumentPointers = (words + [path] + arguments).map { strdup($0) } + [nil]
    var environmentPointers = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in argumentPointers + environmentPointers { free(pointer) } }
    var processID: Int32 = 0
    let status = posix_spawn(&processID, program, &actions, &attributes, &argumentPointers, &environmentPointers)
    guard status == 0 else {
      close(output[0])
      close(errors[0])
      throw ProcessRunner.error(status)
    }
    self.processID = processID
    streams = Mutex((output[0], errors[0]))
  }

  /// Sends a signal.
  package func signal(_ number: Int32) { kill(processID, number) }

  /// Reads what it says until it ends.
  ///
  /// - Parameters:
  ///   - limit: How long it may take; it is killed then.
  ///   - most: Bytes of standard output after which we hang up; nil for all.
  /// - Returns: How it ended.
  package func finish(within limit: Duration = .seconds(60), readingAtMost most: Int? = nil) -> ProcessResult {
    let taken = streams.withLock { streams in
      defer { streams = nil }
      return streams
    }
    guard let taken else { preconditionFailure("a process is finished once") }
    let deadline = ContinuousClock.now + limit
    var isOverdue = false
    var texts: [Int32: [UInt8]] = [taken.output: [], taken.errors: []]
    var open: Set<Int32> = [taken.output, taken.errors]
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while !open.isEmpty {
      let left = (deadline - .now) / .milliseconds(1)
      if left <= 0, !isOverdue {
        isOverdue = true
        kill(processID, SIGKILL)
      }
      var polled = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      // A grandchild may hold them after the kill; a second is enough.
      let count = poll(&polled, nfds_t(polled.count), isOverdue ? 1000 : Int32(min(left, 1e6).rounded(.up)))
      if count == 0, isOverdue { break }
      for entry in polled where entry.revents != 0 {
        let count = read(entry.fd, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        if count > 0 { texts[entry.fd]?.append(contentsOf: buffer[..<count]) } else { open.remove(entry.fd) }
        if entry.fd == taken.output, let most, texts[entry.fd]?.count ?? 0 >= most {
          shutdown(entry.fd, Int32(SHUT_RDWR))
          open.remove(entry.fd)
        }
      }
    }
    close(taken.output)
    close(taken.errors)
    var status: Int32 = 0
    while waitpid(processID, &status, 0) < 0, errno == EINTR {}
    let number = status & 0x7F
    return ProcessResult(
      ending: isOverdue ? .overdue : number == 0 ? .exit(status >> 8 & 0xFF) : .signal(number),
      output: texts[taken.output] ?? [], errors: texts[taken.errors] ?? [])
  }
}

/// Runs the `tarn` that was built with these tests.
package enum ProcessRunner {
  /// The tool, beside the test bundle.
  package static let tarn: String = {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    let path = String(decoding: buffer.prefix(max(0, count)).map(UInt8.init(bitPattern:)), as: UTF8.self)
    return (path as NSString).deletingLastPathComponent + "/tarn"
  }()

  /// What a run of tarn inherits from these tests: no lake, no fault, no proxy; where
  /// `make coverage` counts, where to.
  package static var environment: [String: String] {
    var kept: [String: String] = [:]
    for name in ["PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
      kept[name] = ProcessInfo.processInfo.environment[name]
    }
    kept["LC_ALL"] = "C.UTF-8"
    return kept
  }

  /// Starts tarn.
  ///
  /// - Parameters:
  ///   - arguments: The verb and its options.
  ///   - environment: Added to ``environment``.
  ///   - directory: Where it runs; nil for here.
  /// - Returns: The process.
  /// - Throws: `POSIXError`.
  package static func start(
    _ arguments: [String], environment: [String: String] = [:], directory: String? = nil
  ) throws -> RunningProcess {
    try RunningProcess(
      tarn, arguments, environment: self.environment.merging(environment) { $1 }, directory: directory)
  }

  /// Runs tarn to its end; see ``start(_:environment:directory:)``.
  package static func run(
    _ arguments: [String], environment: [String: String] = [:], directory: String? = nil,
    within limit: Duration = .seconds(60)
  ) throws -> ProcessResult {
    try start(arguments, environment: environment, directory: directory).finish(within: limit)
  }

  static func error(_ number: Int32) -> POSIXError { POSIXError(POSIXErrorCode(rawValue: number) ?? .EIO) }
}
