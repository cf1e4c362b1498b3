// Copies on this machine of files that several workers of it need: each is fetched by one
// of them, while the others wait, and is there whole or not at all.

internal import Base
internal import Glibc

/// A directory of copies, each under the name of its digest.
///
/// Nothing removes them but the user.
struct HostCache: Sendable {
  let path: String
  private let cancellation: Cancellation

  /// - Parameters:
  ///   - parent: Where the directory lies; it is made when something is kept.
  ///   - cancellation: Ends the wait for another worker.
  init(in parent: String, cancellation: Cancellation) {
    path = "\(parent)/tarn-\(getuid())-cache"
    self.cancellation = cancellation
  }

  /// Makes the directory, and sees that nobody else can have put anything into it.
  ///
  /// - Throws: ``TarnError`` `.io` for another user's.
  func make() throws {
    try Disk.makeDirectory(path)
    var info = stat()
    guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR, info.st_uid == getuid() else {
      throw TarnError(.io, "\(path) is not a directory of this user's", hint: "give another one with --cache")
    }
  }

  /// A copy.
  ///
  /// - Parameters:
  ///   - name: Its name, with its digest.
  ///   - fetch: Makes it, right and durable, at the path that it is given; what it left
  ///     there before is still there.
  /// - Returns: Where it is, and whether it was made now.
  /// - Throws: ``TarnError``; what `fetch` throws.
  func file(_ name: String, _ fetch: (_ path: String) throws -> Void) throws -> (path: String, isNew: Bool) {
    let file = "\(path)/\(name)"
    try make()
    if Disk.isOwnFile(file) { return (file, false) }
    let lock = open(file + ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard lock >= 0 else { throw Disk.systemError("create", file + ".lock") }
    defer { close(lock) }
    while flock(lock, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else { throw Disk.systemError("lock", file + ".lock") }
      try cancellation.sleep(for: .milliseconds(100))
    }
    if Disk.isOwnFile(file) { return (file, false) }
    let part = file + ".part"
    try fetch(part)
    try Disk.moveIntoPlace(part, file)
    return (file, true)
  }
}
