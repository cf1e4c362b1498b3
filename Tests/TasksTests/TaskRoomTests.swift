// Room for what a worker writes: what a task comes to, and which task of a process has it.

import Base
import Indexer
import Tasks
import Testing
import TestSupport

@Suite struct TaskRoomTests {
  private let sizes = OutputSizes(codec: .sq4, refine: .sq8, dimension: 8, nlist: 3)

  private func room(_ inputs: [TaskDocument.Input] = TaskFixture.inputs, isStored: Bool = false) -> TaskRoom {
    TaskRoom(
      TaskFixture.task(inputs: inputs), encoding: [0, 1], fetching: [400, 100, 900, 300], shardsAtATime: 2, sizes,
      isStored: isStored)
  }

  private func disk(_ device: UInt64, free: Int = 0) -> FileSystem {
    FileSystem(path: "/", byteCount: 1 << 40, freeByteCount: free, device: device)
  }

  @Test func d11ATaskAsksForAllThatItWrites() {
    let room = room()
    let (output, refine) = (sizes.output(rowCount: 30), sizes.refine(idCount: 37))
    #expect(room.shards == 1300)
    #expect(room.segments == sizes.segment(rowCount: 20) + sizes.segment(rowCount: 10))
    #expect(refine > 0 && room.results == output + refine)
    // A store has what refines before the output grows.
    #expect(self.room(isStored: true).results == max(output, refine))

    let together = room.needs(ofScratch: disk(1), ofResults: disk(1))
    #expect(together.map(\.byteCount) == [room.segments + max(room.shards, room.results)])
    let apart = room.needs(ofScratch: disk(1), ofResults: disk(2))
    #expect(apart.map(\.byteCount) == [room.segments + room.shards, room.results])
    #expect(apart.map(\.fileSystem.device) == [1, 2])
  }

  @Test func anOutputWithoutSomeRowsIsWrittenFromAWholeOne() {
    let first = TaskFixture.inputs[0]
    let part = TaskDocument.Input(
      ordinal: first.ordinal, shard: first.shard, firstID: first.firstID, rowCount: first.rowCount, isHole: false,
      byteCount: first.byteCount, digest: first.digest, path: nil, places: [], excluded: [3])
    let room = room([part] + TaskFixture.inputs.dropFirst())
    #expect(room.results == 2 * sizes.output(rowCount: 30) + sizes.refine(idCount: 37))
  }

  @Test func whatIsSaidToBeHugeIsNoSmallNumber() {
    let huge = TaskDocument.Input(
      ordinal: 0, shard: "x.npy", firstID: 0, rowCount: 1 << 62, isHole: false, byteCount: nil, digest: nil, path: nil,
      places: [])
    let room = TaskRoom(
      TaskFixture.task(inputs: [huge]), encoding: [0], fetching: [.max, .max], shardsAtATime: 2, sizes, isStored: false)
    #expect([room.shards, room.segments, room.results].allSatisfy { $0 == .max })
    #expect(room.needs(ofScratch: disk(1), ofResults: disk(1)).map(\.byteCount) == [.max])
  }

  @Test func rowsThatAreFoundTakeWhatIsSaid() throws {
    let directory = try TemporaryDirectory()
    let found = RowsFound(k: 2, rows: [1, 2, 3, 4], scores: [1, 2, 3, 4])
    _ = try found.write(.sample("task"), to: directory.path + "/rows")
    #expect(Disk.size(of: directory.path + "/rows") == RowsFound.byteCount(of: 4))
    #expect(TaskRoom(TaskFixture.assignment).results == RowsFound.byteCount(of: 20))
  }

  /// A merge waits for the task that was begun beside it, as that one does for the merge; of the two one ends.
  @Test func d11NoTaskWaitsForOneThatWaitsForIt() {
    let promised = PromisedTaskRoom()
    let disk = disk(1, free: 2_000_000_000)
    #expect(promised.take([(disk, 1)], for: 0) == .goes)
    #expect(!promised.waits(0))
    #expect(promised.take([(disk, 1)], for: 1) == .goes)
    #expect(promised.waits(0) && !promised.hasOthers(than: 1) && !promised.waits(1))
    // It waits still when it asks again.
    #expect(promised.hasOthers(than: 0) && promised.waits(0))
    promised.goesOn(0)
    #expect(promised.waits(1) && !promised.hasOthers(than: 0))
    promised.goesOn(1)
    promised.giveBack(1)
    #expect(!promised.waits(0))
  }

  @Test func aTaskWaitsForTheOneBeforeIt() {
    let promised = PromisedTaskRoom()
    let disk = disk(1, free: 1_000_001_000)
    #expect(promised.take([(disk, 600)], for: 0) == .goes)
    #expect(promised.take([(disk, 600)], for: 1) == .waits)
    #expect(promised.take([(disk, 400)], for: 1) == .goes)
    promised.giveBack(0)
    promised.giveBack(1)
    #expect(promised.take([(disk, 600)], for: 1) == .goes)
    guard case .refused(let error) = promised.take([(disk, 1_001)], for: 1) else {
      Issue.record("there is no room")
      return
    }
    #expect(error.code == .diskFull && error.message.hasPrefix("the disk is full: task 1 takes 1.00 kB"))
  }
}
