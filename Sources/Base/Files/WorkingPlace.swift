// Where a file or a folder grows beside its name until it is whole, in directories that are no lake's: nobody looks
// after those, so whoever grows something there next takes away what a kill left.

internal import Foundation
internal import Glibc
internal import Synchronization

/// A hidden name, `.NAME-PID-RANDOM.tmp`, that is this process's alone.
///
/// What lies there is locked while it grows. Under the same NAME, what nobody holds and nobody has written to for an hour is
/// what a kill left.
package final class WorkingPlace: Sendable {
  package let path: String
  private let descriptor = Mutex<Int32>(-1)

  /// How long nothing has been written to what a kill left: there are file systems without locks.
  private static let age = 3_600

  /// Chooses a name.
  ///
  /// - Parameters:
  ///   - target: The name that what grows will have.
  ///   - sweeps: Whether what kills left beside it goes first.
  package init(for target: String, sweeps: Bool = true) {
    if sweeps { Self.sweep(besides: target) }
    let random = String(UInt32.random(in: .min ... .max), radix: 16)
    path = "\(Self.directory(of: target))/\(Self.beginning(of: target))\(getpid())-\(random).tmp"
  }

  deinit {
    descriptor.withLock { descriptor in
      if descriptor >= 0 { close(descriptor) }
    }
  }

  /// Locks what lies there now, as long as this object lives.
  package func hold() {
    let opened = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)
    guard opened >= 0 else { return }
    _ = flock(opened, LOCK_EX | LOCK_NB)
    descriptor.withLock { descriptor in
      if descriptor >= 0 { close(descriptor) }
      descriptor = opened
    }
  }

  /// Takes away what kills left where something of that name grew.
  package static func sweep(besides target: String) {
    let (directory, beginning) = (directory(of: target), beginning(of: target))
    for name in (try? Disk.namesIfAny(in: directory)) ?? [] where isOne(name, beginning) {
      removeIfLeft("\(directory)/\(name)")
    }
  }

  private static func directory(of target: String) -> String {
    let parent = target.parentPath
    return parent.isEmpty ? "." : parent == "/" ? "" : parent
  }

  /// Names have 255 bytes.
  private static func beginning(of target: String) -> String {
    ".\(String(decoding: target.lastPathPart.utf8.prefix(200), as: UTF8.self))-"
  }

  private static func isOne(_ name: String, _ beginning: String) -> Bool {
    // SQLite has files beside one that it writes.
    guard name.hasPrefix(beginning),
      let ending = [".tmp", ".tmp-journal", ".tmp-wal", ".tmp-shm"].first(where: name.hasSuffix)
    else { return false }
    let own = name.dropFirst(beginning.count).dropLast(ending.count)
    let parts = own.split(separator: "-", omittingEmptySubsequences: false)
    return parts.count == 2 && Int32(parts[0]) != nil && UInt32(parts[1], radix: 16) != nil
  }

  private static func removeIfLeft(_ path: String) {
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var info = stat()
    guard fstat(descriptor, &info) == 0, info.st_uid == geteuid(), [S_IFREG, S_IFDIR].contains(info.st_mode & S_IFMT),
      info.st_mtim.tv_sec < time(nil) - age
    else { return }
    // Where the file system has no such lock, its age alone tells.
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK { return }
    try? FileManager.default.removeItem(atPath: path)
  }
}
