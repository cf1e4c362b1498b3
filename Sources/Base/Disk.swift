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

  /// Makes an empty file, with the permissions that files of this user get, for something else to
  /// write into that would make it with fewer.
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
    return (systemError(operation, path), [EACCES, EPERM, EROFS].contains(number))
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
    let number = errno
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

/// A file being written, in order, from its first byte to its last.
///
/// It appears under its final name only whole and durable. Dropped unfinished,
/// it leaves nothing.
package struct DurableFile: ~Copyable {
  /// How the bytes travel.
  package enum Mode: Sendable {
    /// Through the page cache; hashed as they are written.
    case hashed
    /// Straight to the disk where the file system can, so that the last fsync
    /// finds nothing left to write; hashed by the caller. For large files
    /// written in large pieces.
    case streamed
  }

  /// Where the bytes are until ``finish(as:)``.
  package let temporaryPath: String
  private let descriptor: Int32
  private let mode: Mode
  private var isDirect = false
  private var hasher = Sha256()
  private var isInPlace = false
  /// Bytes written so far.
  package private(set) var byteCount = 0

  /// What memory, offset and length of a write past the page cache must be
  /// multiples of; enough for every disk in use.
  package static let alignment = 4096

  /// Creates the temporary file; a leftover of that name goes first.
  package init(creating temporaryPath: String, mode: Mode = .hashed) throws {
    try FaultPlan.step("create", temporaryPath)
    // Never written over: it may be another name of a file that is in place.
    unlink(temporaryPath)
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
    var opened: Int32 = -1
    if mode == .streamed {
      opened = open(temporaryPath, flags | directFlag, 0o666)
      isDirect = opened >= 0
    }
    if opened < 0 {
      // A file system that cannot write past the page cache refuses the flag, if
      // after it has made the file.
      unlink(temporaryPath)
      opened = open(temporaryPath, flags, 0o666)
    }
    guard opened >= 0 else { throw Disk.systemError("create", temporaryPath) }
    descriptor = opened
    self.mode = mode
    self.temporaryPath = temporaryPath
  }

  /// Appends bytes, and adds them to the digest when it is kept here.
  package mutating func write(_ bytes: RawSpan) throws {
    try FaultPlan.step("write", temporaryPath)
    try bytes.withUnsafeBytes { try writeAll($0) }
    if mode == .hashed { hasher.update(bytes) }
  }

  /// Writes over bytes in the middle of a streamed file, which its end alone told.
  ///
  /// - Parameters:
  ///   - bytes: The bytes.
  ///   - offset: Where they go; all were written before.
  /// - Throws: ``TarnError`` when the disk refuses.
  package mutating func amend(_ bytes: [UInt8], at offset: Int) throws {
    precondition(mode == .streamed && offset + bytes.count <= byteCount, "nothing was written there")
    leaveDirect()
    try Disk.write(bytes.span.bytes, to: descriptor, at: offset, named: temporaryPath)
  }

  private mutating func writeAll(_ bytes: UnsafeRawBufferPointer) throws {
    let start = byteCount
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = UnsafeRawBufferPointer(rebasing: rest)
      if isDirect, !isAligned(piece) { leaveDirect() }
      let count = Glibc.write(descriptor, piece.baseAddress, piece.count)
      if count < 0 {
        if errno == EINTR { continue }
        if errno == EINVAL, isDirect {
          leaveDirect()
          continue
        }
        throw Disk.systemError("write", temporaryPath)
      }
      rest = rest.dropFirst(count)
      byteCount += count
    }
    // On Linux this starts to write pages that are dirty: early, not in fsync.
    if mode == .streamed, !isDirect {
      _ = posix_fadvise(descriptor, off_t(start), off_t(byteCount - start), POSIX_FADV_DONTNEED)
    }
  }

  /// Whether these bytes can go past the page cache.
  private func isAligned(_ bytes: UnsafeRawBufferPointer) -> Bool {
    (UInt(bitPattern: bytes.baseAddress) | UInt(bytes.count) | UInt(byteCount)) % UInt(Self.alignment) == 0
  }

  /// Sends what follows through the page cache: the odd end of a file.
  private mutating func leaveDirect() {
    isDirect = false
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~directFlag)
  }

  /// As ``finish(as:)``, for a streamed file: its digest is the caller's.
  package consuming func finishStreamed(as path: String) throws {
    precondition(mode == .streamed, "the digest is kept here")
    try sync()
    try Disk.moveIntoPlace(temporaryPath, path)
    isInPlace = true
  }

  /// Makes the bytes durable, moves the file to `path`, makes the move durable.
  ///
  /// - Returns: The SHA-256 of everything written.
  @discardableResult
  package consuming func finish(as path: String) throws -> ContentDigest {
    try finish { _ in path }
  }

  /// As ``finish(as:)``, for a name that depends on the digest.
  @discardableResult
  package consuming func finish(named name: (ContentDigest) throws -> String) throws -> ContentDigest {
    precondition(mode == .hashed, "a streamed file has no digest here")
    try sync()
    let digest = takeDigest()
    let path = try name(digest)
    try Disk.moveIntoPlace(temporaryPath, path)
    isInPlace = true
    return digest
  }

  /// As ``finish(as:)``, for a name that nothing has yet.
  ///
  /// - Throws: ``TarnError`` `.conflict` when there is something of that name.
  package consuming func finish(asNew path: String) throws {
    try sync()
    try Disk.moveIntoFreePlace(temporaryPath, path)
    isInPlace = true
  }

  private func sync() throws {
    try FaultPlan.step("fsync", temporaryPath)
    guard fsync(descriptor) == 0 else { throw Disk.systemError("fsync", temporaryPath) }
  }

  private mutating func takeDigest() -> ContentDigest {
    var fresh = Sha256()
    swap(&fresh, &hasher)
    return fresh.finalize()
  }

  deinit {
    close(descriptor)
    if !isInPlace { unlink(temporaryPath) }
  }
}

/// `O_DIRECT`, which Glibc's headers show only with `_GNU_SOURCE`.
#if arch(x86_64)
  private let directFlag: Int32 = 0o40000
#elseif arch(arm64)
  private let directFlag: Int32 = 0o200000
#else
  private let directFlag: Int32 = 0
#endif
