// Where published versions lie, as a push needs it: a directory, or a prefix of an object
// store. What lies there and what holds at any moment: docs/PUBLISH.md.

internal import Base
internal import Catalog
internal import Fetch
internal import Foundation
internal import Glibc
internal import Synchronization

/// The names of what is published of a version, below its place.
package enum PublishedNames {
  package static let index = "index.json"
  package static let trained = "trained.faiss"

  static func output(_ name: VersionName, _ ordinal: Int) -> String {
    "\(name)/\(LakeLayout.outputName(name, ordinal: ordinal))"
  }
  static func refine(_ name: VersionName, _ ordinal: Int) -> String {
    "\(name)/\(LakeLayout.refineName(name, ordinal: ordinal))"
  }
  static func trained(_ name: VersionName) -> String { "\(name)/\(trained)" }
  static func lock(_ name: VersionName) -> String { "\(name)/\(LakeLayout.lockFileName(name))" }
  static func document(_ name: VersionName) -> String { "\(name)/\(LakeLayout.documentName(name))" }
  /// The most that a lock file, a document or an index may have.
  static let mostByteCount = 512 << 20
}

/// A place that can be written to; lives on one thread.
protocol PublishedPlace: AnyObject {
  /// As messages name it, without secrets.
  var description: String { get }
  /// The bytes of a small file; nil when there is none.
  func contents(_ name: String) throws -> [UInt8]?
  /// Writes a file once; what is there is compared and never replaced.
  func put(file path: String, as name: String, _ digest: ContentDigest, report: (Int) -> Void) throws
    -> ObjectStore.Outcome
  /// Likewise a small one.
  func put(_ bytes: [UInt8], as name: String) throws -> ObjectStore.Outcome
  /// The versions whose document is there.
  func versions() throws -> [VersionName]
  /// Writes the index that `make` makes of the one that is there, until it says nil:
  /// there is nothing to add.
  func updateIndex(_ make: ([UInt8]?) throws -> [UInt8]?) throws
}

/// A directory of this machine, or of a file system that it shares.
final class DirectoryPlace: PublishedPlace {
  private let root: String
  private let configuration: FetchConfiguration
  private let locks: DirectoryLocks
  private let cancellation: Cancellation
  private var pacer = Pacer()
  var description: String { root }

  /// A directory, absolute; it is made when something is written.
  ///
  /// - Parameters:
  ///   - root: The directory.
  ///   - configuration: How many write at a time, and how fast.
  ///   - locks: The locks of all that write for one push: they keep others out, not one another, as
  ///     each file is one thread's.
  ///   - cancellation: Asked often.
  init(_ root: String, configuration: FetchConfiguration, locks: DirectoryLocks, cancellation: Cancellation) {
    self.root = root
    self.configuration = configuration
    self.locks = locks
    self.cancellation = cancellation
  }

  private func path(_ name: String) -> String { "\(root)/\(name)" }

  func contents(_ name: String) throws -> [UInt8]? {
    do throws(TarnError) {
      return try Disk.contents(of: path(name), atMost: PublishedNames.mostByteCount)
    } catch {
      if error.code == .inputsMissing { return nil }
      throw error
    }
  }

  func put(
    file source: String, as name: String, _ digest: ContentDigest, report: (Int) -> Void
  ) throws -> ObjectStore.Outcome {
    let target = path(name)
    try Disk.makeDirectory(target.parentPath)
    // A kill in the middle leaves no lock; only one process writes a file's working name.
    try locks.take(target.parentPath, cancellation)
    defer { locks.release(target.parentPath) }
    if Disk.size(of: target) != nil {
      // What a kill between the two names left.
      try Disk.remove(target + ".part")
      return try Disk.digest(of: target) == digest ? .alreadyThere : .taken
    }
    let (descriptor, byteCount) = try Disk.openInput(source)
    defer { close(descriptor) }
    var left = byteCount
    let promised = locks.expect(left) - left
    defer { locks.expect(-left) }
    if case .refused(let error) = DiskReserve().verdict(
      on: name, taking: byteCount, of: try FileSystem(of: target), promised: promised)
    {
      throw error
    }
    var file = try DurableFile(creating: target + ".part")
    var hasher = Sha256()
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      try cancellation.check()
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Disk.systemError("read", source) }
      if count == 0 { break }
      let piece = buffer.span.bytes.extracting(first: count)
      hasher.update(piece)
      try pace(count)
      try file.write(piece)
      locks.expect(-min(count, left))
      left -= min(count, left)
      report(count)
    }
    guard hasher.finalize() == digest else {
      throw TarnError(
        .integrity, "\(source) is damaged: its SHA-256 is not \(digest.prefix(12))…", hint: "`tarn verify --repair`")
    }
    try file.finish(asNew: target)
    return .written
  }

  /// Waits until so many bytes may be written.
  private func pace(_ byteCount: Int) throws {
    pacer.bytesPerSecond = configuration.bytesPerSecondNow()
    while !pacer.take(byteCount, at: .now) {
      usleep(UInt32(min(pacer.wait(at: .now), .milliseconds(100)) / .microseconds(1)))
      try cancellation.check()
      pacer.bytesPerSecond = configuration.bytesPerSecondNow()
    }
  }

  func put(_ bytes: [UInt8], as name: String) throws -> ObjectStore.Outcome {
    let target = path(name)
    try Disk.makeDirectory(target.parentPath)
    try locks.take(target.parentPath, cancellation)
    defer { locks.release(target.parentPath) }
    if let there = try contents(name) {
      try Disk.remove(target + ".tmp")
      return there == bytes ? .alreadyThere : .taken
    }
    try Disk.writeOnce(bytes, to: target)
    return .written
  }

  func versions() throws -> [VersionName] {
    guard Disk.isDirectory(root) else { return [] }
    return try Disk.names(in: root).compactMap { bytes in
      guard let text = String(validating: bytes, as: UTF8.self), let name = try? VersionName(parsing: text),
        Disk.size(of: path(PublishedNames.document(name))) != nil
      else { return nil }
      return name
    }
  }

  func updateIndex(_ make: ([UInt8]?) throws -> [UInt8]?) throws {
    try locks.take(root, cancellation)
    defer { locks.release(root) }
    try Disk.remove(path(PublishedNames.index) + ".tmp")
    while let bytes = try make(contents(PublishedNames.index)) {
      try Disk.writeAtomically(bytes, to: path(PublishedNames.index))
    }
  }
}

/// What the threads of one push share: locks on directories, which end with the process and leave
/// nothing, and the room that they are about to take.
final class DirectoryLocks: Sendable {
  private let held = Mutex<[String: (descriptor: Int32, count: Int)]>([:])
  private let expected = Mutex(0)

  /// Counts bytes that are to be written, or, negative, that are or never will be.
  ///
  /// - Returns: All that are to be written now.
  @discardableResult func expect(_ byteCount: Int) -> Int {
    expected.withLock { expected in
      expected += byteCount
      return expected
    }
  }

  /// Waits for whoever else has it, or until the work is to stop.
  func take(_ path: String, _ cancellation: Cancellation) throws {
    try held.withLock { held in
      if let lock = held[path] {
        held[path] = (lock.descriptor, lock.count + 1)
        return
      }
      let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      guard descriptor >= 0 else { throw Disk.systemError("open directory", path) }
      do {
        // Where the file system has no such lock, names are still taken once.
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0, [EWOULDBLOCK, EINTR].contains(errno) {
          try cancellation.check()
          usleep(20_000)
        }
      } catch {
        close(descriptor)
        throw error
      }
      held[path] = (descriptor, 1)
    }
  }

  func release(_ path: String) {
    held.withLock { held in
      guard let lock = held[path] else { return }
      held[path] = lock.count == 1 ? nil : (lock.descriptor, lock.count - 1)
      if lock.count == 1 { close(lock.descriptor) }
    }
  }
}

/// A prefix of an object store.
final class StorePlace: PublishedPlace {
  private let store: ObjectStore
  private let scratch: String
  let description: String

  /// A prefix, `s3://BUCKET/PREFIX`; what is remembered of uploads in parts goes to `scratch`.
  init(
    _ place: String, configuration: FetchConfiguration, patience: Duration, scratch: String, cancellation: Cancellation
  ) throws {
    store = try ObjectStore(
      place, configuration: configuration, patience: patience, isCancelled: { cancellation.isCancelled })
    self.scratch = scratch
    description = WebAddress.redacted(place)
  }

  func contents(_ name: String) throws -> [UInt8]? {
    try store.contents(name, atMost: PublishedNames.mostByteCount)?.bytes
  }

  func put(
    file path: String, as name: String, _ digest: ContentDigest, report: (Int) -> Void
  ) throws -> ObjectStore.Outcome {
    let key = ContentDigest.of("\(description)/\(name)")
    return try store.put(
      file: path, name, digest, statePath: "\(scratch)/upload-\(key.prefix(16)).json", report: report)
  }

  func put(_ bytes: [UInt8], as name: String) throws -> ObjectStore.Outcome { try store.put(bytes, name) }

  func versions() throws -> [VersionName] {
    try store.list().compactMap { text in
      guard text.hasSuffix("/"), let name = try? VersionName(parsing: String(text.dropLast())) else { return nil }
      return try store.head(PublishedNames.document(name)) == nil ? nil : name
    }
  }

  func updateIndex(_ make: ([UInt8]?) throws -> [UInt8]?) throws {
    // Whoever loses a race makes it again of what the other wrote.
    for _ in 0..<Self.mostRaces {
      let known = try store.contents(PublishedNames.index, atMost: PublishedNames.mostByteCount)
      guard let bytes = try make(known?.bytes) else { return }
      var condition = ObjectStore.Condition.ifAbsent
      if let known {
        // A weak one is equal to none, not even to itself.
        guard let etag = known.etag, !etag.hasPrefix("W/") else {
          throw TarnError(
            .refused,
            "\(description)/\(PublishedNames.index) comes without a strong ETag, which tells writers apart",
            hint: "what is between here and the store must leave its ETags alone; all other files are there already")
        }
        condition = .ifUnchanged(etag: etag)
      }
      // The next round reads it.
      _ = try store.put(bytes, PublishedNames.index, condition, readsBack: false)
    }
    throw TarnError(
      .temporary, "\(description)/\(PublishedNames.index) was written by somebody else each of \(Self.mostRaces) times",
      hint: "push again in a while")
  }

  /// Writers that one loses to at most.
  private static let mostRaces = 100
}
