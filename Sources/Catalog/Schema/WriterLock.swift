// The kernel's locks of a lake (invariant 7, D7), gone with their process: who
// works on it at all, and whose transaction it is.

internal import Base
internal import Foundation
internal import Glibc

/// The lock of a lake, held until it is released or the process ends: shared by
/// commands that work beside each other, exclusive for one that has the whole lake.
///
/// Readers never lock. The kernel drops the lock of a process that dies, so
/// there is no stale lock to clean up; what the file says is for the message.
package final class WriterLock: Sendable {
  private let descriptor: Int32

  /// Takes the lock for the whole lake.
  ///
  /// - Parameters:
  ///   - path: The lock file; created when missing.
  ///   - command: What this process does, told to whoever finds it locked.
  ///   - wait: How long to wait for other writers to finish.
  /// - Throws: ``TarnError`` `.locked` naming the holder; `.io` when the
  ///   file cannot be opened, as in a read-only lake.
  package convenience init(path: String, command: String, wait: Duration = .zero) throws {
    try self.init(path: path, command: command, until: .now + wait, besides: nil)
  }

  /// Takes the lock.
  ///
  /// - Parameters:
  ///   - path: The lock file; created when missing.
  ///   - command: What this process does; nil to share the lock.
  ///   - deadline: How long to wait for others.
  ///   - holders: Says who shares the lock; nil without anybody.
  /// - Throws: ``TarnError`` `.locked` naming the holder, `.io`.
  init(path: String, command: String?, until deadline: ContinuousClock.Instant, besides holders: (() -> String?)?)
    throws
  {
    let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard opened >= 0 else { throw Disk.systemError("create or write the writer lock", path) }
    while flock(opened, (command == nil ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else {
        let error = Disk.systemError("lock", path)
        close(opened)
        throw error
      }
      guard ContinuousClock.now < deadline else {
        let holder = holders?() ?? WriterLock.holder(opened)
        close(opened)
        throw TarnError(
          .locked, "another tarn is writing to this lake (\(holder))", hint: "wait for it, or pass --wait 10m")
      }
      usleep(50_000)
    }
    descriptor = opened
    guard let command else { return }
    let text = "pid \(getpid()), \(command), since \(Timestamp.now())\n"
    ftruncate(opened, 0)
    _ = Array(text.utf8).withUnsafeBytes { pwrite(opened, $0.baseAddress, $0.count, 0) }
  }

  private static func holder(_ descriptor: Int32) -> String {
    var buffer = [UInt8](repeating: 0, count: 300)
    let count = pread(descriptor, &buffer, buffer.count, 0)
    let text = String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
    let line = text.split(separator: "\n").first.map(String.init) ?? ""
    return line.isEmpty ? "holder unknown" : line
  }

  /// Asks for the whole lake where it was shared.
  ///
  /// - Returns: False when others share it; then it may be gone, and the command
  ///   must end.
  func becomeExclusive() -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) == 0 }

  deinit { close(descriptor) }
}

/// Whose transaction it is: held from BEGIN IMMEDIATE to the end of the commit and
/// its checkpoint, and while a writer's connection is opened or closed.
///
/// SQLite has locks of its own for that; but releases before 3.51.3 can lose a
/// commit when a log is begun anew by one writer while another checkpoints it
/// (https://www.sqlite.org/wal.html#walresetbug), so that no two writers are ever in
/// the middle of either.
///
/// Used by one thread at a time: while its session is opened or closed, and
/// otherwise on the connection's queue.
final class TransactionLock: @unchecked Sendable {
  private let path: String
  private let descriptor: Int32
  private var depth = 0

  init(path: String) throws {
    self.path = path
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard descriptor >= 0 else { throw Disk.systemError("create or write the transaction lock", path) }
  }

  /// Does something while no other process is in a transaction.
  func hold<Value>(_ body: () throws -> Value) throws -> Value {
    if depth == 0 {
      while flock(descriptor, LOCK_EX) != 0 {
        guard errno == EINTR else { throw Disk.systemError("lock", path) }
      }
    }
    depth += 1
    defer {
      depth -= 1
      if depth == 0 { flock(descriptor, LOCK_UN) }
    }
    return try body()
  }

  deinit { close(descriptor) }
}
