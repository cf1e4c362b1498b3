// What a worker keeps while it is at one task: shards under way, segments, and what
// was seen of the inputs that are encoded. One process uses it at a time.

package import Base
internal import Foundation
internal import Glibc
internal import Indexer
internal import Synchronization

/// A directory for one task on one machine.
///
/// It is found again by a later worker of the same task; while somebody works in it
/// another gets a directory of its own.
package final class WorkerScratch: Sendable {
  private static let mostAtOneTask = 64
  /// How much of a task's digest a name has.
  private static let digitCount = 16
  /// How all names begin.
  private static var start: String { "tarn-\(getuid())-" }

  package let path: String
  private let descriptor: Int32

  var shards: String { path + "/shards" }
  var segments: String { path + "/segments" }

  /// Takes a directory for a task.
  ///
  /// - Parameters:
  ///   - parent: Where such directories lie.
  ///   - task: Digest of the task.
  /// - Throws: ``TarnError`` when the disk refuses.
  package init(in parent: String, for task: ContentDigest) throws {
    for number in 0..<Self.mostAtOneTask {
      let path = "\(parent)/\(Self.start)\(task.prefix(Self.digitCount))" + (number == 0 ? "" : "-\(number)")
      guard let descriptor = try Self.lock(path) else { continue }
      self.path = path
      self.descriptor = descriptor
      try Disk.makeDirectory(path + "/shards")
      try Disk.makeDirectory(path + "/segments")
      return
    }
    throw TarnError(
      .conflict, "\(Self.mostAtOneTask) workers are at one task in \(parent)", hint: "give this one another --scratch")
  }

  deinit {
    // A program that another thread is starting has a copy of the descriptor until it runs.
    flock(descriptor, LOCK_UN)
    close(descriptor)
  }

  /// Makes a directory, or takes the one that is there.
  ///
  /// - Parameters:
  ///   - path: The directory.
  ///   - isMade: Whether one that is not there is made.
  /// - Returns: A descriptor that holds its lock; nil where somebody works in it, and for
  ///   what is no directory of this user's: what others put there is not worked in.
  /// - Throws: ``TarnError`` when the disk refuses.
  private static func lock(_ path: String, isMade: Bool = true) throws -> Int32? {
    while true {
      var info = stat()
      let isThere = lstat(path, &info) == 0
      if isThere, info.st_mode & S_IFMT != S_IFDIR || info.st_uid != getuid() { return nil }
      guard isThere || isMade else { return nil }
      try Disk.makeDirectory(path)
      let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      guard descriptor >= 0 else {
        if errno == ENOENT { continue }
        guard [ELOOP, ENOTDIR, EACCES].contains(errno) else { throw Disk.systemError("open directory", path) }
        return nil
      }
      guard fstat(descriptor, &info) == 0, info.st_uid == getuid(), flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
        close(descriptor)
        return nil
      }
      // Whoever had it may have ended and removed it between the two: a lock on what
      // has no name any more keeps nobody out.
      var named = stat()
      if lstat(path, &named) == 0, named.st_ino == info.st_ino, named.st_dev == info.st_dev { return descriptor }
      close(descriptor)
    }
  }

  private func notePath(_ place: Int) -> String { "\(path)/\(place).json" }

  /// What was seen of an input whose segment is kept; nil where there is none.
  func seen(_ place: Int) -> TaskReceipt.Seen? {
    guard let text = Disk.text(of: notePath(place), atMost: 1 << 16) else { return nil }
    return try? JSONDecoder().decode(TaskReceipt.Seen.self, from: Data(text.utf8))
  }

  /// Keeps what was seen of an input; its segment is durable.
  func keep(_ seen: TaskReceipt.Seen, of place: Int) throws {
    try Disk.writeAtomically(try JSONEncoder().encode(seen), to: notePath(place))
  }

  /// Removes it all: the task is done.
  package func remove() throws { try Self.removeAll(path) }

  private static func removeAll(_ path: String) throws {
    do { try FileManager.default.removeItem(atPath: path) } catch { throw Disk.systemError("remove", path) }
  }

  // MARK: What is left of others

  /// What bears names of such directories in a place, whatever it is.
  ///
  /// - Parameter parent: Where such directories lie.
  /// - Returns: Paths, and how the digest of each one's task begins.
  /// - Throws: ``TarnError`` `.io` when the place cannot be read.
  package static func left(in parent: String) throws -> [(path: String, task: String)] {
    try Disk.namesIfAny(in: parent).compactMap { name -> (path: String, task: String)? in
      guard name.hasPrefix(start) else { return nil }
      let rest = name.dropFirst(start.count)
      let (task, ending) = (rest.prefix(digitCount), rest.dropFirst(digitCount))
      guard task.utf8.count == digitCount, task.utf8.allSatisfy(\.isHexDigit),
        ending.isEmpty || (1..<mostAtOneTask).contains(where: { ending == "-\($0)" })
      else { return nil }
      return ("\(parent)/\(name)", String(task))
    }
  }

  /// Removes a directory in which nobody works.
  ///
  /// Whether somebody does is its lock's to say; what is no directory of this user's stays, too.
  ///
  /// - Parameters:
  ///   - path: A path of ``left(in:)``.
  ///   - age: How long nothing must have been made in it; nil for no time.
  ///   - isDone: Whether it may go; asked where nobody works there.
  /// - Throws: ``TarnError`` when the disk refuses; what `isDone` throws.
  package static func removeLeft(
    _ path: String, untouchedFor age: Duration? = nil, if isDone: () throws -> Bool = { true }
  ) throws {
    guard let descriptor = try lock(path, isMade: false) else { return }
    defer {
      flock(descriptor, LOCK_UN)
      close(descriptor)
    }
    if let age {
      let touched = [path, path + "/shards", path + "/segments"].compactMap(Disk.modifiedAt).max() ?? .zero
      guard Duration.seconds(Date().timeIntervalSince1970) - touched > age else { return }
    }
    guard try isDone() else { return }
    try removeAll(path)
  }
}

extension TaskWorker {
  /// How long what is left of a task of another plan stays for its next worker.
  private static let patienceWithOthers = Duration.seconds(7 * 86_400)

  /// Removes what earlier workers left in scratch: of the plan's tasks what is done, wherever that was; of other
  /// plans' what nobody came back for.
  ///
  /// Of an open task it stays, however old it is: its next worker goes on there. What cannot be removed is nothing
  /// that keeps a task from being done. Once for the tasks of a process.
  ///
  /// - Parameter plan: The plan.
  func sweepScratch(_ plan: TaskPlan) {
    guard share.sweepsFirst() else { return }
    leave {
      let left = try WorkerScratch.left(in: options.scratch)
      guard !left.isEmpty else { return }
      for (path, start) in left where !cancellation.isCancelled {
        let own = plan.tasks.firstIndex { $0.hex.hasPrefix(start) }
        leave {
          guard let own else {
            return try WorkerScratch.removeLeft(path, untouchedFor: Self.patienceWithOthers)
          }
          try WorkerScratch.removeLeft(path) { try isDone(own, of: plan) }
        }
      }
    }
  }

  private func isDone(_ number: Int, of plan: TaskPlan) throws -> Bool {
    guard let names = try directory.receiptNames(of: number)[number] else { return false }
    return try !directory.likelyReceipts(of: directory.task(number, of: plan), names).isEmpty
  }
}

/// The shards of a task as files of this machine.
final class WorkerShards: ShardProvider {
  private let task: TaskDocument
  private let paths = Mutex<[Int: (path: String, remedy: String)]>([:])

  init(_ task: TaskDocument) { self.task = task }

  /// Says where an input's bytes are.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - remedy: What helps where it has other bytes.
  ///   - input: The input.
  func put(_ path: String, remedy: String, of input: TaskDocument.Input) {
    paths.withLock { $0[input.ordinal] = (path, remedy) }
  }

  func shard(of input: OutputTask.Input) throws -> PinnedShard {
    guard let digest = input.digest, let found = paths.withLock({ $0[input.ordinal] }) else {
      preconditionFailure("an input is encoded before it is here")
    }
    return PinnedShard(
      path: found.path, digest: digest, rowCount: input.rowCount, dimension: task.dimension,
      elementType: task.elementType, array: task.array, remedy: found.remedy)
  }
}
