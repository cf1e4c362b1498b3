// One writer (invariant 7, D7): a kernel lock on the lake, gone with its process.

internal import Base
internal import Foundation
internal import Glibc

/// The writer lock of a lake, held until it is released or the process ends.
///
/// Readers never lock. The kernel drops the lock of a process that dies, so
/// there is no stale lock to clean up; what the file says is for the message.
package final class WriterLock: Sendable {
  private let descriptor: Int32

  /// Takes the lock.
  ///
  /// - Parameters:
  ///   - path: The lock file; created when missing.
  ///   - command: What this process does, told to whoever finds it locked.
  ///   - wait: How long to wait for another writer to finish.
  /// - Throws: ``TarnError`` `.locked` naming the holder; `.io` when the
  ///   file cannot be opened, as in a read-only lake.
  package init(path: String, command: String, wait: Duration = .zero) throws {
    let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard opened >= 0 else { throw Disk.systemError("open the writer lock", path) }
    let deadline = ContinuousClock.now + wait
    while flock(opened, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else {
        let error = Disk.systemError("lock", path)
        close(opened)
        throw error
      }
      guard ContinuousClock.now < deadline else {
        let holder = WriterLock.holder(opened)
        close(opened)
        throw TarnError(
          .locked, "another tarn is writing to this lake (\(holder))", hint: "wait for it, or pass --wait 10m")
      }
      usleep(50_000)
    }
    descriptor = opened
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

  deinit { close(descriptor) }
}
