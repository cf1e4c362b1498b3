// Files of tasks in an object store. An object is whole under its key or it is not there;
// what bears the name of a digest and is not those bytes is replaced, and nothing counts
// as written before it was read back.

internal import Base
internal import Fetch
internal import Foundation
internal import Synchronization

/// The objects of tasks below a prefix.
final class StoredTasks: TaskStore {
  /// One connection, whose requests follow each other.
  ///
  /// Sendable because nothing but `store`'s holder, which has the lock, reaches it: an
  /// `ObjectStore` is not of a thread but of whoever uses it at the time.
  private struct Connection: @unchecked Sendable {
    let store: ObjectStore
  }

  private let connection: Mutex<Connection>
  private let place: String
  private let cache: HostCache
  /// Folders that the store takes objects in, as it said to this process.
  private let writable = Mutex<Set<String>>([])

  /// Prepares to work with what is below a prefix; nothing is asked.
  ///
  /// - Parameters:
  ///   - place: `s3://BUCKET/PREFIX`.
  ///   - access: How to ask.
  /// - Throws: ``TarnError`` `.usage` for what is no such place.
  init(_ place: String, _ access: StoreAccess) throws {
    let cancellation = access.cancellation
    let store = try ObjectStore(
      place, configuration: access.configuration, patience: access.patience,
      isCancelled: { cancellation.isCancelled })
    connection = Mutex(Connection(store: store))
    self.place = place
    cache = HostCache(in: access.cache, cancellation: cancellation)
  }

  /// A place as one writes it.
  ///
  /// - Throws: ``TarnError`` `.usage` for what is none.
  static func normalised(_ place: String) throws -> String {
    let parts = place.dropFirst("s3://".count).split(separator: "/", omittingEmptySubsequences: true)
    let isPlain = place.unicodeScalars.allSatisfy { character in
      character.value > 0x20 && character.value != 0x7F && !"?#%".unicodeScalars.contains(character)
    }
    guard isPlain, !parts.isEmpty else {
      throw TarnError(
        .usage, "\(WebAddress.redacted(place)) is no place of tasks",
        hint: "name bucket and prefix alone: s3://bucket/prefix")
    }
    return "s3://" + parts.joined(separator: "/")
  }

  /// Asks the store.
  ///
  /// - Parameters:
  ///   - isOfObject: Whether what does not hold is so because of the object. Else it is the
  ///     answer that was at fault, or what was sent: another try may do, and nothing is said of any file.
  ///   - question: What is asked.
  /// - Returns: What `question` gives.
  /// - Throws: ``TarnError``; `.integrity` of an object alone.
  private func ask<Value: Sendable>(
    isOfObject: () -> Bool = { false }, _ question: (ObjectStore) throws -> Value
  ) throws -> Value {
    do {
      return try connection.withLock { try question($0.store) }
    } catch let error as TarnError where error.code == .integrity {
      if isOfObject() { throw error }
      throw TarnError(.temporary, error.message, hint: error.hint ?? "run the same command again")
    }
  }

  func names(in folder: String, from start: String) throws -> [String] {
    let prefix = "\(folder)/"
    return try ask { try $0.list(prefix + start) }.compactMap { key in
      guard key.hasPrefix(prefix), !key.hasSuffix("/") else { return nil }
      return String(key.dropFirst(prefix.count))
    }
  }

  func contents(_ name: String, atMost limit: Int) throws -> [UInt8]? {
    // Its size is all that can be wrong.
    try ask(isOfObject: { (try? byteCount(of: name)).map { $0 > limit } ?? false }) { store in
      try store.contents(name, atMost: limit)?.bytes
    }
  }

  func byteCount(of name: String) throws -> Int? {
    try ask { try $0.head(name)?.byteCount }
  }

  func write(_ bytes: [UInt8], as name: String, by _: String?) throws {
    try ask { try $0.replace(bytes, name) }
  }

  func keep(_ bytes: [UInt8], as name: String, by _: String?) throws {
    try keep(name, .of(bytes), isRead: true) { try $0.put(bytes, name) }
  }

  func create(_ bytes: [UInt8], as name: String, by _: String) throws -> Bool {
    try ask { try $0.put(bytes, name) } != .taken
  }

  func requireWritable(_ folder: String) throws {
    // Once: a worker may have very many tasks.
    guard !writable.withLock({ $0.contains(folder) }) else { return }
    try ask { try $0.requireWritable("\(folder)/probe") }
    writable.withLock { _ = $0.insert(folder) }
  }

  func move(_ name: String, to other: String) throws { try ask { try $0.move(name, to: other) } }

  func remove(_ name: String) throws { try ask { try $0.remove(name) } }

  func workingPath(_: String, in scratch: String) throws -> String { "\(scratch)/result" }

  func put(_ path: String, as name: String, _ digest: ContentDigest, by scratch: String) throws {
    try send(path, as: name, digest, by: scratch, isRead: true, remedy: "run the worker again")
    try Disk.remove(path)
  }

  func share(_ file: () throws -> String, as name: String, _ digest: ContentDigest, isDoubted: Bool) throws -> Bool {
    try cache.make()
    // Who fetches it reads it anyway.
    return try send(
      try file(), as: name, digest, by: cache.path, isRead: isDoubted, remedy: "run `tarn verify --repair`")
  }

  @discardableResult
  private func send(
    _ path: String, as name: String, _ digest: ContentDigest, by scratch: String, isRead: Bool, remedy: String
  ) throws -> Bool {
    let key = ContentDigest.of("\(place)/\(name)")
    let state = "\(scratch)/upload-\(key.prefix(16)).json"
    return try keep(name, digest, isRead: isRead) {
      try $0.put(file: path, name, digest, statePath: state, remedy: remedy)
    }
  }

  /// Puts an object whose key says its digest: what is there and is not those bytes is nobody's.
  ///
  /// - Parameters:
  ///   - name: Its key.
  ///   - digest: Its SHA-256.
  ///   - isRead: Whether one that says to be these bytes is read before it is believed.
  ///   - put: Puts it.
  /// - Returns: Whether it was put now.
  /// - Throws: ``TarnError``.
  @discardableResult
  private func keep(
    _ name: String, _ digest: ContentDigest, isRead: Bool, _ put: (ObjectStore) throws -> ObjectStore.Outcome
  ) throws -> Bool {
    try ask { store in
      for _ in 0..<2 {
        switch try put(store) {
        case .written: return true
        case .alreadyThere:
          if try !isRead || store.holds(name, digest) { return false }
        case .taken: break
        }
        try store.remove(name)
      }
      throw TarnError(
        .conflict, "\(place)/\(name) is other bytes again and again", hint: "see who else writes it, and run it again")
    }
  }

  func reading<Value>(
    _ name: String, _ digest: ContentDigest, _ body: (_ path: String) throws -> Value
  ) throws -> Value {
    let ending = name.split(separator: ".").last.map { ".\($0)" } ?? ""
    let (path, isNew) = try cache.file("\(digest.hex)\(ending)") { path in try fetch(name, digest, to: path) }
    do {
      return try body(path)
    } catch let error as TarnError where error.code == .integrity && !isNew {
      // Another of the files that `body` reads may be the damaged one.
      guard try Disk.digest(of: path) != digest else { throw error }
      // It was right when it came: the disk of this machine has changed it.
      try Disk.remove(path)
      return try body(cache.file("\(digest.hex)\(ending)") { path in try fetch(name, digest, to: path) }.path)
    }
  }

  private func fetch(_ name: String, _ digest: ContentDigest, to path: String) throws {
    guard let size = try byteCount(of: name) else {
      throw TarnError(.inputsMissing, "\(place)/\(name) is not there", hint: "plan again into \(place)")
    }
    let needed = max(0, size - (Disk.size(of: path) ?? 0))
    if case .refused(let error) = DiskReserve().verdict(on: name, taking: needed, of: try FileSystem(of: path)) {
      throw error
    }
    try take(name, size, digest, to: path)
  }

  func take(_ name: String, _ byteCount: Int, _ digest: ContentDigest, to path: String) throws {
    // What was found wrong is gone.
    try ask(isOfObject: { Disk.size(of: path) == nil }) { try $0.fetch(name, byteCount, digest, to: path) }
  }

  func ownPath(of _: String) -> String? { nil }
}
