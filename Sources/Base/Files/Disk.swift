// Whole files: written, made durable, moved into place, removed; the order of
// invariant 1 is written here once. A fault can be put before each step
// (FaultPlan); what writes and syncs parts of files elsewhere does the same.
//
// Invariant 1 (bytes before rows): write -> fsync(file) -> rename ->
// fsync(directory), and only then the catalog row. Removal goes the other way.

internal import Foundation
internal import Glibc

/// The file system, as tarn uses it: whole files written once, moved into
/// place, and never changed afterwards.
package enum Disk {
  /// Creates a directory and its parents; one that exists is fine.
  package static func makeDirectory(_ path: String) throws {
    // Asked once: another process may make it meanwhile.
    var info = stat()
    if stat(path, &info) == 0 {
      guard info.st_mode & S_IFMT == S_IFDIR else { throw TarnError(.io, "\(path) exists and is not a directory") }
      return
    }
    let parent = path.parentPath
    if !parent.isEmpty, parent != path { try makeDirectory(parent) }
    try FaultPlan.step("mkdir", path)
    guard mkdir(path, 0o777) == 0 || errno == EEXIST else { throw systemError("create directory", path) }
    if !parent.isEmpty { try syncDirectory(parent) }
  }

  /// Makes an empty file, with the permissions that files of this user get, for SQLite to write into, which would
  /// leave it to its owner alone to write: a lake of a group is the group's.
  ///
  /// > #define SQLITE_DEFAULT_FILE_PERMISSIONS 0644
  /// https://www.sqlite.org/compile.html
  ///
  /// - Throws: ``TarnError`` of the disk, also where there is a file of that name.
  package static func makeFile(_ path: String) throws {
    try FaultPlan.step("create", path)
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard descriptor >= 0 else { throw systemError("create", path) }
    close(descriptor)
  }

  /// Moves a file to its final name on the same file system, replacing what is
  /// there, and makes the move durable.
  package static func moveIntoPlace(_ from: String, _ to: String) throws {
    try FaultPlan.step("rename", to)
    guard rename(from, to) == 0 else { throw systemError("rename to", to) }
    try syncDirectory(to.parentPath)
  }

  /// Moves a file to a final name that nothing has yet, and makes the move durable.
  ///
  /// A process that dies in the middle leaves the file under both names.
  ///
  /// - Parameters:
  ///   - from: The file.
  ///   - to: Its final name, on the same file system.
  /// - Throws: ``TarnError`` `.conflict` when there is something of that name.
  package static func moveIntoFreePlace(_ from: String, _ to: String) throws {
    let taken = TarnError(.conflict, "\(to) is there already and is not replaced")
    try FaultPlan.step("link", to)
    if Glibc.link(from, to) == 0 {
      try remove(from)
    } else {
      guard errno != EEXIST else { throw taken }
      // A file system without hard links: a name that is taken between the look and the move is replaced, unless a
      // lock of the caller's keeps other writers out.
      guard [EPERM, EOPNOTSUPP, EMLINK, ENOSYS].contains(errno) else { throw systemError("link to", to) }
      var info = stat()
      guard lstat(to, &info) != 0 else { throw taken }
      guard rename(from, to) == 0 else { throw systemError("rename to", to) }
    }
    try syncDirectory(to.parentPath)
  }

  /// Makes the entries of a directory durable.
  package static func syncDirectory(_ path: String) throws {
    let descriptor = open(path.isEmpty ? "." : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw systemError("open directory", path) }
    defer { close(descriptor) }
    try FaultPlan.step("fsync", path)
    // Some file systems have no directory sync and say EINVAL.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw systemError("fsync directory", path) }
  }

  /// Removes a file; one that is gone already is fine.
  package static func remove(_ path: String) throws {
    try FaultPlan.step("unlink", path)
    guard unlink(path) == 0 || errno == ENOENT else { throw systemError("remove", path) }
  }

  /// Removes a file, where this user may; one that is gone already is fine.
  ///
  /// - Parameter path: The file.
  /// - Returns: That this user may not; nil when it is gone.
  /// - Throws: ``TarnError`` when the disk refuses otherwise.
  package static func removeIfPermitted(_ path: String) throws -> TarnError? {
    try FaultPlan.step("unlink", path)
    guard unlink(path) != 0, errno != ENOENT else { return nil }
    let error = systemErrorAndItsKind("remove", path)
    guard error.isDenial else { throw error.error }
    return error.error
  }

  /// Why this user may not remove a file, as far as its directory tells; nil where nothing does.
  package static func refusalToRemove(_ path: String) -> TarnError? {
    guard access(path.parentPath, W_OK | X_OK) != 0 else { return nil }
    let error = systemErrorAndItsKind("remove", path)
    return error.isDenial ? error.error : nil
  }

  /// Makes sure that this user may make files in a directory.
  ///
  /// - Throws: ``TarnError`` `.io`.
  package static func requireWritable(_ directory: String) throws {
    guard access(directory, W_OK | X_OK) == 0 else { throw systemError("write into", directory) }
  }

  /// The error of the system call that just failed, and whether it is one of permission.
  private static func systemErrorAndItsKind(_ operation: String, _ path: String) -> (error: TarnError, isDenial: Bool) {
    let number = errno
    return (systemError(number, operation, path), [EACCES, EPERM, EROFS].contains(number))
  }

  /// Removes a directory that holds nothing; one that holds something stays.
  package static func removeEmptyDirectory(_ path: String) throws {
    try FaultPlan.step("rmdir", path)
    guard rmdir(path) == 0 || [ENOENT, ENOTEMPTY, EEXIST].contains(errno) else {
      throw systemError("remove directory", path)
    }
  }

  /// Gives a file a second name; a file of that name is replaced.
  ///
  /// It is a hard link where both names are on one file system, else a
  /// symbolic one.
  package static func link(_ from: String, _ to: String) throws {
    try FaultPlan.step("link", to)
    let temporary = to + ".link"
    unlink(temporary)
    if Glibc.link(from, temporary) != 0 {
      guard [EXDEV, EPERM, EMLINK, EOPNOTSUPP].contains(errno), symlink(from, temporary) == 0 else {
        throw systemError("link to", to)
      }
    }
    // > If oldpath and newpath are existing hard links referring to the same
    // > file, then rename() does nothing, and returns a success status.
    // https://man7.org/linux/man-pages/man2/rename.2.html
    guard rename(temporary, to) == 0 else { throw systemError("rename to", to) }
    unlink(temporary)
  }

  /// Writes all bytes at a place of an open file.
  ///
  /// - Parameters:
  ///   - bytes: The bytes.
  ///   - descriptor: The file.
  ///   - offset: Where they go.
  ///   - path: The file's name, for messages.
  /// - Throws: ``TarnError`` of the disk.
  package static func write(_ bytes: RawSpan, to descriptor: Int32, at offset: Int = 0, named path: String) throws {
    try FaultPlan.step("write", path)
    try bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
        let count = pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset + done))
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw systemError("write", path) }
        done += count
      }
    }
  }

  /// The size of a regular file in bytes; nil when there is none.
  package static func size(of path: String) -> Int? {
    var info = stat()
    guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
    return Int(info.st_size)
  }

  /// What a look at a path tells.
  package enum Look: Sendable, Equatable {
    /// A regular file of so many bytes.
    case file(byteCount: Int)
    /// No file, in a directory that is there.
    case gone
    /// Nothing: it may be there, as where a file system is not mounted, or this user is not let to it.
    case untold
  }

  /// Looks for a file of somebody else's, which one that cannot be reached now may have all the same.
  package static func look(at path: String) -> Look {
    var info = stat()
    if stat(path, &info) == 0 {
      return info.st_mode & S_IFMT == S_IFREG ? .file(byteCount: Int(info.st_size)) : .gone
    }
    // A link without its file is a name that is there: what it leads to may be elsewhere.
    guard errno == ENOENT, lstat(path, &info) != 0, isDirectory(path.parentPath) else { return .untold }
    return .gone
  }

  /// When a file or the list of a directory's files last changed, since the epoch; nil
  /// when there is none.
  package static func modifiedAt(_ path: String) -> Duration? {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    return .seconds(info.st_mtim.tv_sec) + .nanoseconds(info.st_mtim.tv_nsec)
  }

  /// Whether a path leads to a directory.
  package static func isDirectory(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
  }

  /// Bytes of the file system that a file takes, room that was reserved for it
  /// included; 0 when there is none.
  package static func allocatedByteCount(of path: String) -> Int {
    var info = stat()
    // > st_blocks: Number of 512 B blocks allocated
    // https://man7.org/linux/man-pages/man2/stat.2.html
    return stat(path, &info) == 0 ? Int(info.st_blocks) * 512 : 0
  }

  /// Bytes that a file keeps from others: its length, or the room reserved for it
  /// where that is more by blocks and not by the rounding of one.
  package static func occupiedByteCount(of path: String) -> Int {
    let (length, allocated) = (size(of: path) ?? 0, allocatedByteCount(of: path))
    return allocated - length >= 1 << 16 ? allocated : length
  }

  /// Gives back the room that was reserved behind a file's last byte, if that can be.
  package static func giveBackRoom(of path: String) {
    guard let length = size(of: path), occupiedByteCount(of: path) > length else { return }
    // > If the file size is unchanged, blocks beyond it are freed.
    _ = truncate(path, off_t(length))
  }

  /// Writes a small file under its final name in one durable step.
  package static func writeAtomically(_ bytes: some Collection<UInt8>, to path: String) throws {
    var file = try DurableFile(creating: path + ".tmp")
    let contiguous = Array(bytes)
    try file.write(contiguous.span.bytes)
    try file.finish(as: path)
  }

  /// Writes a small file under a name that nothing has yet, in one durable step;
  /// a file of that name with these bytes is fine.
  ///
  /// - Throws: ``TarnError`` `.conflict` when there is something else of that name.
  package static func writeOnce(_ bytes: [UInt8], to path: String) throws {
    if let there = try? contents(of: path), there == bytes { return }
    var file = try DurableFile(creating: path + ".tmp")
    try file.write(bytes.span.bytes)
    try file.finish(asNew: path)
  }

  /// The SHA-256 of a file's bytes, read in order.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - isFromDisk: Whether what memory holds of it is let go first, so that the
  ///     disk is what answers. Bytes that were not synced, or that a process has
  ///     mapped, stay.
  /// - Returns: Its digest.
  /// - Throws: ``TarnError`` `.inputsMissing` when there is none, `.io` when it
  ///   cannot be read.
  package static func digest(of path: String, isFromDisk: Bool = false) throws -> ContentDigest {
    let descriptor = try openInput(path).descriptor
    defer { close(descriptor) }
    if isFromDisk { _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) }
    _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    var hasher = Sha256()
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw systemError("read", path)
      }
      if count == 0 { return hasher.finalize() }
      hasher.update(buffer.span.bytes.extracting(first: count))
    }
  }

  /// The error of the system call that just failed, read from `errno`.
  package static func systemError(_ operation: String, _ path: String) -> TarnError {
    systemError(errno, operation, path)
  }

  /// The error of a system call that gave its number.
  package static func systemError(_ number: Int32, _ operation: String, _ path: String) -> TarnError {
    let reason = String(cString: strerror(number))
    switch number {
    // EFBIG: a limit of the user's or of the file system, which is as full.
    case ENOSPC, EDQUOT, EFBIG:
      return TarnError(
        .diskFull, "cannot \(operation) \(path): \(reason)",
        hint: "free some space, then run the same command again", place: path)
    case EACCES, EPERM, EROFS:
      let isRead = ["open", "read", "examine"].contains { operation.hasPrefix($0) }
      let isOfFile = operation.hasPrefix("write") || operation.hasPrefix("create or write")
      // A file in a directory that is this user's to write in: it is the file that is not.
      let isItself = operation == "write into" || isOfFile && access(path.parentPath, W_OK) == 0
      let place = isItself ? path : path.parentPath
      return TarnError(
        .io, "cannot \(operation) \(path): \(reason)",
        hint: isRead
          ? "this user must be let to it" : "\(place.isEmpty ? "this directory" : place) must be writable by this user")
    default:
      return TarnError(.io, "cannot \(operation) \(path): \(reason)")
    }
  }
}
