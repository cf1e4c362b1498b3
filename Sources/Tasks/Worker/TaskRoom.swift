// Room for what a worker writes. What a task comes to is known from its document and its trained
// index, and is asked for before a byte is written, of the file systems where scratch and results
// lie (D11); each segment and each merge asks again, as others write there meanwhile.

package import Base
internal import Indexer
internal import Synchronization

/// Bytes that a task has still to write.
package struct TaskRoom: Sendable, Equatable {
  /// Shards that are in scratch at a time: gone when the merge begins.
  package let shards: Int
  /// Segments that are not kept yet, in scratch until the task is done.
  package let segments: Int
  /// What grows where results grow, at the fullest moment.
  package let results: Int

  /// Room for an output.
  ///
  /// - Parameters:
  ///   - task: The output.
  ///   - encoding: Places of the inputs that have no segment yet.
  ///   - missing: Bytes that each input lacks which is fetched, 0 where nobody knows.
  ///   - shardCount: Shards that are in scratch at a time.
  ///   - sizes: Those of its trained index.
  ///   - isStored: Whether results go to a store: then what refines is gone before the output grows.
  package init(
    _ task: TaskDocument, encoding: [Int], fetching missing: [Int], shardsAtATime shardCount: Int,
    _ sizes: OutputSizes, isStored: Bool
  ) {
    shards = missing.sorted(by: >).prefix(shardCount).saturatedSum
    segments = encoding.map { sizes.segment(rowCount: task.inputs[$0].rowCount) }.saturatedSum
    let bound = task.inputs.filter { !$0.isHole }
    let whole = sizes.output(rowCount: bound.map(\.rowCount).saturatedSum)
    // An output without some rows is written from one that has them all.
    let output = whole.multipliedSaturated(by: bound.contains { !$0.excluded.isEmpty } ? 2 : 1)
    let refine = sizes.refine(idCount: OutputTask(ordinal: 0, inputs: task.inputs.map { $0.bound(to: nil) }).ids.count)
    results = isStored ? max(output, refine) : output.addingSaturated(refine)
  }

  /// Room for the rows that a search finds.
  package init(_ task: AssignTask) {
    (shards, segments) = (0, 0)
    results = RowsFound.byteCount(of: task.count.multipliedSaturated(by: task.k))
  }

  private init(results: Int) { (shards, segments, self.results) = (0, 0, results) }

  /// What is left to be written once all inputs are encoded.
  package var ofMerge: TaskRoom { TaskRoom(results: results) }

  /// What is taken of each file system.
  ///
  /// - Parameters:
  ///   - scratch: Where scratch lies.
  ///   - place: Where results grow.
  /// - Returns: File systems, each once, and bytes.
  package func needs(
    ofScratch scratch: FileSystem, ofResults place: FileSystem
  ) -> [(fileSystem: FileSystem, byteCount: Int)] {
    guard scratch.device != place.device else { return [(scratch, segments.addingSaturated(max(shards, results)))] }
    return [(scratch, segments.addingSaturated(shards)), (place, results)]
  }
}

/// What the tasks of one process have still to write: one is begun while the one before it is merged.
///
/// A task waits for room while another may give some back; never for one that waits itself, as two that waited for each
/// other would do so for ever.
package final class PromisedTaskRoom: Sendable {
  private struct State {
    /// Bytes by file system, by the number of the task.
    var promised: [Int: [UInt64: Int]] = [:]
    /// Tasks under way that go on only when another has given room back.
    var waiting: Set<Int> = []

    func hasOthers(than number: Int) -> Bool { promised.keys.contains { $0 != number && !waiting.contains($0) } }
  }

  private let state = Mutex(State())

  package init() {}

  /// Takes room for a task, all of it or none.
  ///
  /// - Parameters:
  ///   - needs: File systems, each once, and bytes.
  ///   - number: The task.
  /// - Returns: `.waits` where another task of this process may give room back.
  package func take(_ needs: [(fileSystem: FileSystem, byteCount: Int)], for number: Int) -> DiskReserve.Verdict {
    state.withLock { state -> DiskReserve.Verdict in
      let others = state.promised.filter { $0.key != number }
      for need in needs {
        let verdict = DiskReserve().verdict(
          on: "task \(number)", taking: need.byteCount, of: need.fileSystem,
          promised: others.values.map { $0[need.fileSystem.device] ?? 0 }.saturatedSum, mayComeBack: !others.isEmpty)
        guard verdict == .goes else { return verdict }
      }
      state.promised[number] = Dictionary(uniqueKeysWithValues: needs.map { ($0.fileSystem.device, $0.byteCount) })
      return .goes
    }
  }

  /// Gives back what a task has written by now.
  ///
  /// - Parameters:
  ///   - needs: What it still writes, by file system.
  ///   - number: The task.
  package func shrink(to needs: [(fileSystem: FileSystem, byteCount: Int)], for number: Int) {
    state.withLock { state in
      guard state.promised[number] != nil else { return }
      state.promised[number] = Dictionary(uniqueKeysWithValues: needs.map { ($0.fileSystem.device, $0.byteCount) })
    }
  }

  /// Whether another task of this process is at work that gives room back when it ends.
  package func hasOthers(than number: Int) -> Bool { state.withLock { $0.hasOthers(than: number) } }

  /// A task that lacks room waits from now on, if there is another to wait for.
  ///
  /// - Parameter number: The task.
  /// - Returns: Whether it does; of two that ask at a time one.
  package func waits(_ number: Int) -> Bool {
    state.withLock { state in
      guard state.hasOthers(than: number) else { return false }
      state.waiting.insert(number)
      return true
    }
  }

  /// A task waits no more.
  package func goesOn(_ number: Int) { state.withLock { _ = $0.waiting.remove(number) } }

  /// Gives back what a task took: it ended.
  package func giveBack(_ number: Int) { state.withLock { $0.promised[number] = nil } }
}

extension TaskWorker {
  /// Asks for all that the task writes.
  ///
  /// - Parameters:
  ///   - room: What that is.
  ///   - scratch: This worker's.
  /// - Throws: ``TarnError`` `.diskFull` where it does not fit.
  func take(_ room: TaskRoom, in scratch: WorkerScratch) throws {
    while true {
      switch share.room.take(try needs(of: room, in: scratch), for: number) {
      case .goes: return
      case .refused(let error): throw error
      case .waits: try cancellation.sleep(for: .seconds(1))
      }
    }
  }

  /// What is taken of the file systems of this worker's scratch and of its results.
  func needs(of room: TaskRoom, in scratch: WorkerScratch) throws -> [(fileSystem: FileSystem, byteCount: Int)] {
    room.needs(
      ofScratch: try FileSystem(of: scratch.path),
      ofResults: try FileSystem(of: directory.workingPath(number, by: name, in: scratch.path)))
  }

  /// Asks for a part of it again, right before it is written; room that another task of this process gives back is waited
  /// for.
  ///
  /// - Parameters:
  ///   - byteCount: Bytes of the part.
  ///   - what: What it is, for the message.
  ///   - path: Where it goes.
  /// - Throws: ``TarnError`` `.diskFull` where others have filled the disk meanwhile.
  func requireRoom(of byteCount: Int, for what: String, at path: String) throws {
    defer { share.room.goesOn(number) }
    while true {
      // Asked before the disk is: what ends in between has left its room.
      let mayComeBack = share.room.hasOthers(than: number)
      switch DiskReserve().verdict(
        on: what, taking: byteCount, of: try FileSystem(of: path), mayComeBack: mayComeBack)
      {
      case .goes: return
      case .refused(let error): throw error
      case .waits:
        // The other may have begun to wait for this one.
        if share.room.waits(number) { try cancellation.sleep(for: .seconds(1)) }
      }
    }
  }
}
