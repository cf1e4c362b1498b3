// A fault put before one durable step, for the crash tests: the process dies,
// or the step fails as a full or broken disk would fail it.
//
// Steps are counted over the whole process in the order they happen: create, allocate,
// write, truncate, fsync, rename, link, unlink, mkdir, rmdir, commit, and the run of a command.

internal import Foundation
internal import Glibc
internal import Synchronization

/// The fault of this process, read once from `TARN_FAULT`.
///
/// `kill@N` ends the process with SIGKILL before step N, `ENOSPC@N` and `EIO@N`
/// fail step N, `ENOSPC@N+` and `EIO@N+` that step and every later one, `full@N:FILE`
/// takes all that is left of a file system with FILE before step N. With
/// `TARN_FAULT_LOG=FILE` each step is written to FILE as it happens, so that a
/// test knows how many there are. `thread@N`, which is no step, fails the Nth
/// thread and every later one (CThreads).
package enum FaultPlan {
  private enum Action { case kill, fail(Int32), fill(String) }
  private struct Plan {
    var action: Action
    var step: Int
    var persistent: Bool
  }

  private static let plan: Plan? = parse(ProcessInfo.processInfo.environment["TARN_FAULT"])
  private static let log: Int32? = ProcessInfo.processInfo.environment["TARN_FAULT_LOG"].map {
    open($0, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
  }
  private static let counter = Atomic<Int>(0)

  /// Counts a step and applies the plan to it.
  ///
  /// - Throws: ``TarnError`` as the failing system call would.
  package static func step(_ kind: String, _ subject: String = "") throws {
    guard plan != nil || log != nil else { return }
    let number = counter.add(1, ordering: .sequentiallyConsistent).newValue
    if let log {
      let line = Array("\(number) \(kind) \(subject)\n".utf8)
      _ = line.withUnsafeBytes { write(log, $0.baseAddress, $0.count) }
    }
    guard let plan, number == plan.step || (plan.persistent && number > plan.step) else { return }
    switch plan.action {
    case .kill:
      Glibc.kill(getpid(), SIGKILL)
      while true { pause() }
    case .fail(let code): throw Disk.systemError(code, kind, subject)
    case .fill(let path): fill(path)
    }
  }

  /// Takes every free byte with a file.
  private static func fill(_ path: String) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var (length, piece) = (off_t(0), off_t(1) << 26)
    while piece >= 512 {
      if posix_fallocate(descriptor, length, piece) == 0 { length += piece } else { piece /= 2 }
    }
  }

  private static func parse(_ text: String?) -> Plan? {
    guard let text, let at = text.firstIndex(of: "@") else { return nil }
    var number = text[text.index(after: at)...]
    var file = ""
    if let colon = number.firstIndex(of: ":") {
      file = String(number[number.index(after: colon)...])
      number = number[..<colon]
    }
    let persistent = number.hasSuffix("+")
    if persistent { number = number.dropLast() }
    guard let step = Int(number) else { return nil }
    switch text[..<at] {
    case "full": return Plan(action: .fill(file), step: step, persistent: false)
    case "kill": return Plan(action: .kill, step: step, persistent: false)
    case "ENOSPC": return Plan(action: .fail(ENOSPC), step: step, persistent: persistent)
    case "EIO": return Plan(action: .fail(EIO), step: step, persistent: persistent)
    default: return nil
    }
  }
}
