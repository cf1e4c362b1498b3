// Files that people and documents name, opened: once, regular ones only, and
// without waiting for anybody.

internal import Glibc

extension Disk {
  /// Opens a regular file for reading.
  ///
  /// A pipe, a socket or a device is refused and not waited for. What is learnt of
  /// the file is learnt through the descriptor, so that it is of the bytes that are
  /// read.
  ///
  /// - Parameters:
  ///   - path: The file; links are followed.
  ///   - flags: Further flags of `open`.
  /// - Returns: A descriptor to close, and the file's length.
  /// - Throws: ``TarnError`` `.inputsMissing` when there is none, `.io` when it
  ///   cannot be opened or is no regular file.
  package static func openInput(
    _ path: String, flags: Int32 = 0
  ) throws(TarnError) -> (descriptor: Int32, byteCount: Int) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags)
    guard descriptor >= 0 else {
      switch errno {
      case ENOENT: throw TarnError(.inputsMissing, "there is no file \(path)")
      // What open says of a socket.
      case ENXIO: throw notRegular(path)
      default: throw systemError("open", path)
      }
    }
    var info = stat()
    guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw notRegular(path)
    }
    return (descriptor, Int(info.st_size))
  }

  /// What tells a file from another and from itself before a change: device, number,
  /// length and time; nil where there is none.
  package static func identity(of path: String) -> [Int]? {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    return [Int(info.st_dev), Int(info.st_ino), Int(info.st_size), info.st_mtim.tv_sec, info.st_mtim.tv_nsec]
  }

  /// Opens a file twice, so that both have the same bytes, whatever takes its name meanwhile.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - first: Opens it.
  ///   - second: Opens it again.
  /// - Returns: What both gave.
  /// - Throws: What they throw; ``TarnError`` `.integrity` where the name leads elsewhere each of ten times.
  package static func openTwice<First, Second>(
    _ path: String, _ first: () throws -> First, _ second: () throws -> Second
  ) throws -> (First, Second) {
    for _ in 0..<10 {
      let state = identity(of: path)
      let opened = (try first(), try second())
      // What is gone by now was there for both.
      guard let now = identity(of: path), now != state else { return opened }
    }
    throw changed(path)
  }

  /// The error that a file is not what it was while it was read.
  package static func changed(_ path: String) -> TarnError {
    TarnError(.integrity, "\(path) changed while it was read", hint: "wait until nothing writes to it")
  }

  /// Whether other users can read or write a file, by its mode or as it is theirs; false where there is none.
  package static func isOpenToOthers(_ path: String) -> Bool {
    var info = stat()
    guard stat(path, &info) == 0 else { return false }
    return info.st_mode & 0o077 != 0 || info.st_uid != geteuid() && info.st_uid != 0
  }

  /// The error of a name that leads to something else than a file of bytes.
  package static func notRegular(_ path: String) -> TarnError {
    Disk.isDirectory(path)
      ? TarnError(.io, "\(path) is a directory", hint: "name a file in it")
      : TarnError(
        .io, "\(path) is not a regular file", hint: "pipes and devices have no length; copy it into a file first")
  }

  /// The bytes of a whole small file.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - limit: The most bytes that are taken, whatever the file becomes meanwhile.
  /// - Returns: Its bytes.
  /// - Throws: ``TarnError`` as ``openInput(_:flags:)``; `.usage` for one that is
  ///   larger.
  package static func contents(of path: String, atMost limit: Int = 1 << 30) throws(TarnError) -> [UInt8] {
    let (descriptor, byteCount) = try openInput(path)
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(min(byteCount, limit))
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    // Until its end: the files of /proc have no length.
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw systemError("read", path)
      }
      if count == 0 { return bytes }
      bytes += buffer.prefix(count)
      guard bytes.count <= limit else {
        throw TarnError(.usage, "\(path) has more than \(ByteSize.text(limit)), the most that is read of such a file")
      }
    }
  }

  /// The text of a small file; nil for one that cannot be read as UTF-8.
  package static func text(of path: String, atMost limit: Int = 1 << 30) -> String? {
    guard let bytes = try? contents(of: path, atMost: limit) else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }

  /// The names in a directory, sorted, those that are UTF-8; none where there is no such directory.
  ///
  /// - Parameter path: The directory.
  /// - Returns: The names, without `.` and `..`.
  /// - Throws: ``TarnError`` `.io` when it is there and cannot be read.
  package static func namesIfAny(in path: String) throws(TarnError) -> [String] {
    var info = stat()
    if stat(path, &info) != 0, errno == ENOENT { return [] }
    return try names(in: path).compactMap { String(validating: $0, as: UTF8.self) }.sorted()
  }

  /// The names in a directory, as the bytes they are, in no order.
  ///
  /// - Parameter path: The directory.
  /// - Returns: The names, without `.` and `..`.
  /// - Throws: ``TarnError`` `.io` when it cannot be read.
  package static func names(in path: String) throws(TarnError) -> [[UInt8]] {
    guard let directory = opendir(path) else { throw systemError("read directory", path) }
    defer { closedir(directory) }
    var names: [[UInt8]] = []
    while true {
      errno = 0
      guard let entry = readdir(directory) else {
        guard errno == 0 else { throw systemError("read directory", path) }
        return names
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: UInt8.self, capacity: 256) { start in
          Array(UnsafeBufferPointer(start: start, count: strlen(UnsafePointer<CChar>(OpaquePointer(start)))))
        }
      }
      if name != [0x2E], name != [0x2E, 0x2E] { names.append(name) }
    }
  }

  /// Copies a file's bytes, durably, to a name that what they are decides.
  ///
  /// They are read through the descriptor that the file's length came from; one
  /// that grows or shrinks meanwhile is refused.
  ///
  /// - Parameters:
  ///   - input: The file.
  ///   - temporary: Where the copy grows.
  ///   - hasher: Takes the bytes; it starts anew.
  ///   - place: Given the copy, whole but not durable; says where it goes.
  /// - Returns: Where it is.
  /// - Throws: ``TarnError``; what `place` throws; then nothing is left.
  package static func copy(
    _ input: InputFile, through temporary: String, into hasher: ChunkHasher, as place: (String) throws -> String
  ) throws -> String {
    var file = try DurableFile(creating: temporary, mode: .streamed)
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var done = 0
    while done < input.byteCount {
      let count = min(buffer.count, input.byteCount - done)
      try input.read(into: &buffer, at: done, count: count)
      let bytes = buffer.span.bytes.extracting(first: count)
      hasher.update(bytes)
      try file.write(bytes)
      done += count
    }
    guard try input.endsStill() else {
      throw TarnError(
        .integrity, "\(input.path) grew while it was copied", hint: "wait until nothing writes to it, then run it again"
      )
    }
    let path = try place(temporary)
    try file.finishStreamed(as: path)
    return path
  }
}

extension Disk {
  /// Copies a file, durably, to a name that appears when it is whole.
  ///
  /// - Parameters:
  ///   - from: The file.
  ///   - to: The copy; what has this name is replaced.
  /// - Returns: SHA-256 of the bytes copied.
  /// - Throws: ``TarnError``.
  package static func copy(_ from: String, to: String) throws -> ContentDigest {
    let descriptor = try openInput(from).descriptor
    defer { close(descriptor) }
    var file = try DurableFile(creating: to + ".tmp")
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw systemError("read", from)
      }
      if count == 0 { return try file.finish(as: to) }
      try file.write(buffer.span.bytes.extracting(first: count))
    }
  }

  /// Whether a file is regular, this user's, no link to one, and without a second name: what
  /// another user has, or another name leads to, can be changed later under that name.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - nameCount: The names that it is to have.
  /// - Returns: Whether it is so; who runs as this user can still have it open.
  package static func isOwnFile(_ path: String, nameCount: Int = 1) -> Bool {
    var info = stat()
    return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG && info.st_uid == geteuid()
      && info.st_nlink == UInt(nameCount)
  }

  /// Gives the bytes of an own file (``isOwnFile(_:nameCount:)``) a second name, which costs no room
  /// where both are on one file system; else they are copied.
  ///
  /// - Parameters:
  ///   - from: The file.
  ///   - to: The name; what has it is replaced.
  /// - Throws: ``TarnError``.
  package static func linkOrCopy(_ from: String, to: String) throws {
    try FaultPlan.step("link", to)
    unlink(to)
    if isOwnFile(from) {
      if Glibc.link(from, to) == 0 {
        // Another may have given it a name meanwhile, too.
        if isOwnFile(to, nameCount: 2) { return }
        try remove(to)
      } else if ![EXDEV, EPERM, EMLINK, EOPNOTSUPP, ENOSYS].contains(errno) {
        throw systemError("link to", to)
      }
    }
    _ = try copy(from, to: to)
  }
}
