// The bytes of one shard while they gather, as the loop sees them: what is
// held, from whom, and whether it can be the shard. Hashing and writing are
// PartStore's, on the transfer's disk queue.
//
// Invariants:
// 1. No byte is handed to the disk before the header in front of it was accepted.
// 2. Everything that changes the file goes through one serial queue, in order:
//    what is held is what will be written, unless the disk fails, and then
//    every later step fails too.

internal import Base
internal import Dispatch
internal import Features
internal import Foundation

/// A shard's part file.
///
/// Sendable although mutable: an instance belongs to one transfer, which hands
/// it between the loop's thread and its disk queue through a mutex and touches
/// it from one of them at a time.
final class PartFile: @unchecked Sendable {
  /// What a part file works with.
  struct Means: Sendable {
    let queue: DispatchQueue
    let pool: BlockPool
    /// Whether there is room for more than is reserved (D12).
    let takesRoom: @Sendable (Int) -> Bool
    /// Why no more may be written (D12).
    let lackOfRoom: @Sendable () -> TarnError?
    /// What can be done about a file of another kind.
    let remedy: @Sendable (FeatureHead) -> String?
    /// How it is said which array of a file is meant that has several.
    let wayToArray: @Sendable () -> String
    /// Told of a whole file that is good and of another kind.
    let onOtherKind: @Sendable () -> Void
    /// Called on the disk queue when the loop waits for room and there is some.
    let onRoom: @Sendable () -> Void
    /// What holds a file of no format of features against what it is.
    var examination: FileExamination?
  }

  private let expectation: ShardExpectation
  private let means: Means
  private let store: PartStore
  private let backlog = DiskBacklog()

  private var block: Block
  /// Whether steps run here and now, because this is the disk queue.
  private var isOnDiskQueue = false
  /// Bytes held from the start of the shard.
  private(set) var byteCount = 0
  /// What the partial is of; nil while it is empty.
  private(set) var source: ContentDigest?
  private(set) var validator = EntityValidator()
  private(set) var totalByteCount: Int?
  /// Who says ``totalByteCount``.
  private var sizeTeller = "the server"
  /// The size of a shard for which too little room is reserved.
  private(set) var outgrownByteCount: Int?
  /// What the file's beginning says, once enough bytes came.
  private(set) var head: FeatureHead?

  /// Bytes of the whole shard, as far as anyone said.
  var wholeByteCount: Int? { expectation.byteCount ?? head?.fileByteCount ?? totalByteCount }

  /// The same for a message.
  var wholeText: String { wholeByteCount.map(String.init) ?? "an unknown number of" }

  /// Whether every byte of the shard is here.
  var isWhole: Bool { head?.fileByteCount == byteCount }

  /// R22: whether what came is text where the file's head should be.
  var beginsAsText: Bool {
    guard head == nil else { return false }
    return block.withBytes { bytes in
      unsafe bytes.withUnsafeBytes {
        unsafe $0.prefix(64).allSatisfy { $0 >= 0x20 && $0 != 0x7F || (9...13).contains($0) }
      }
    }
  }

  /// The first failure of the disk.
  var failure: TarnError? { backlog.failure }

  /// Whether to stop reading for now; the loop is woken when that changes.
  var isBehind: Bool { backlog.awaitsRoom() }

  /// Opens or creates the file and takes up its resume point, if it holds.
  ///
  /// Runs on the disk queue.
  init(
    opening path: String, expectation: ShardExpectation, checkpointByteCount: Int, means: Means
  ) throws(TarnError) {
    self.expectation = expectation
    self.means = means
    block = means.pool.take()
    store = try PartStore(
      opening: path, checkpointByteCount: checkpointByteCount,
      roomByteCount: expectation.byteCount ?? expectation.roomByteCount, lackOfRoom: means.lackOfRoom)
    if let (point, start) = try store.readPartial(), let head = head(of: point, start) {
      try store.takeUp(point)
      self.head = head
      source = point.source
      validator = point.validator
      totalByteCount = point.totalByteCount
      byteCount = point.byteCount
    } else {
      try store.startOver()
    }
  }

  deinit { means.pool.giveBack(block) }

  // MARK: Bytes

  /// Forgets everything held.
  func startOver() {
    block.clear()
    byteCount = 0
    head = nil
    source = nil
    validator = EntityValidator()
    totalByteCount = nil
    perform(byteCount: 0) { store throws(TarnError) in try store.startOver() }
  }

  /// Prepares for a body that continues what is held, or for a whole one.
  func accept(_ promise: BodyPromise, from source: ContentDigest, startingOver: Bool) {
    // What is in the block goes out under the name of whom it came from.
    startingOver ? startOver() : flush()
    self.source = source
    sizeTeller = "the server"
    validator = promise.validator
    totalByteCount = promise.totalByteCount
    let provenance = PartStore.Provenance(
      source: source, validator: promise.validator, totalByteCount: promise.totalByteCount)
    perform(byteCount: 0) { store throws(TarnError) in store.begin(provenance) }
  }

  /// Becomes a file that is whole already, whose bytes are then received like others.
  func takeOver(_ path: String, _ promise: BodyPromise, from source: ContentDigest) {
    accept(promise, from: source, startingOver: true)
    sizeTeller = "the command's output"
    perform(byteCount: 0) { store throws(TarnError) in try store.takeOver(path) }
  }

  /// Takes the next bytes of the shard.
  ///
  /// - Throws: ``TarnError`` `.integrity` if they cannot be of this shard;
  ///   `.diskFull` or `.io` if earlier ones could not be written.
  func receive(_ bytes: RawSpan) throws(TarnError) {
    var done = 0
    while done < bytes.byteCount {
      let taken = block.append(bytes.extracting(done..<bytes.byteCount))
      done += taken
      byteCount += taken
      if head == nil { try readHead() }
      if let head, byteCount > head.fileByteCount {
        throw TarnError(.integrity, "more bytes than the \(head.fileByteCount) that its header declares")
      }
      guard block.isFull else { continue }
      if let failure { throw failure }
      flush()
    }
  }

  /// Hands the block to the disk.
  private func flush() {
    guard block.byteCount > 0, head != nil else { return }
    let full = block
    block = means.pool.take()
    let pool = means.pool
    perform(byteCount: full.byteCount) { store throws(TarnError) in
      defer { pool.giveBack(full) }
      try store.write(full)
    }
  }

  // MARK: The disk

  /// Runs the steps of `body` where it stands: on the disk queue.
  func onDiskQueue<Value>(_ body: () throws(TarnError) -> Value) throws(TarnError) -> Value {
    isOnDiskQueue = true
    defer { isOnDiskQueue = false }
    return try body()
  }

  /// Takes a step on the disk queue; none is taken after one that failed.
  private func perform(byteCount: Int, _ step: @escaping @Sendable (PartStore) throws(TarnError) -> Void) {
    let (store, backlog, onRoom) = (store, backlog, means.onRoom)
    backlog.add(byteCount)
    let job: @Sendable () -> Void = {
      var failure = backlog.failure
      if failure == nil {
        do throws(TarnError) { try step(store) } catch { failure = error }
      }
      if backlog.remove(byteCount, failure: failure) { onRoom() }
    }
    isOnDiskQueue ? job() : means.queue.async(execute: job)
  }

  /// Keeps what arrived for a later run; on the disk queue.
  func park() throws(TarnError) {
    try onDiskQueue { () throws(TarnError) in
      flush()
      // D12: the disk did not fail where a transfer ended at the reserve.
      if let failure, !store.isAtReserve { throw failure }
      try store.park()
    }
  }

  /// Verifies the whole shard and moves it to its final name; on the disk queue.
  ///
  /// - Returns: Its SHA-256, header, size and final path.
  /// - Throws: ``TarnError`` `.integrity` if it is not the shard; the partial
  ///   is dropped then.
  func finish(as finalPath: (ContentDigest) -> String) throws(TarnError) -> FinishedFile {
    try onDiskQueue { () throws(TarnError) in
      flush()
      if let failure { throw failure }
      guard let head, isWhole else { throw TarnError(.integrity, "\(byteCount) of \(wholeText) bytes") }
      do throws(TarnError) {
        var rowCount = head.rowCount
        // A head says how many rows there are, and nothing of what stands between them.
        let isUnseen = rowCount == nil || expectation.array != nil || expectation.format?.marksRows ?? false
        if isUnseen { rowCount = try inspectedRowCount() }
        let done = try store.finish(byteCount: byteCount, expected: expectation.digest, as: finalPath)
        return FinishedFile(
          digest: done.digest, states: done.states, rowCount: rowCount ?? 0, byteCount: byteCount, path: done.path)
      } catch {
        if error.code == .integrity {
          // Of a file whose digest is known the mirror is wrong, and not what is expected.
          if expectation.digest == nil, expectation.isContradicted(by: store.path) { means.onOtherKind() }
          startOver()
        }
        throw error
      }
    }
  }

  /// Removes the file and its resume point; on the disk queue.
  func discard() throws(TarnError) { try store.discard() }

  /// The rows of a file that its head does not tell all of, or that holds no features,
  /// examined where it lies; nil for bytes of any kind.
  private func inspectedRowCount() throws(TarnError) -> Int? {
    do {
      guard let format = expectation.format else { return try means.examination?.rowCount(store.path) }
      // Another kind is said as of a file whose beginning tells it, with what can be done.
      try check(
        FeatureFile.head(
          of: InputFile(path: store.path), as: format, array: expectation.array, dimension: expectation.dimension))
      return try expectation.rowCount(of: store.path, readsRows: true)
    } catch let error as TarnError where error.code != .badFeatures {
      throw error
    } catch let error as TarnError where error.hint?.contains(FeatureFile.wayToArray) ?? false {
      // Nobody who fetches says an array: a source does.
      throw TarnError(
        .integrity, error.message, hint: error.hint?.replacing(FeatureFile.wayToArray, with: means.wayToArray()))
    } catch let error as TarnError where lacksArray {
      let there = error.hint.map { ": \($0)" } ?? ""
      throw TarnError(.integrity, error.message, hint: means.wayToArray() + there)
    } catch {
      throw TarnError(.integrity, "\(error)")
    }
  }

  /// Whether the file lies there whole and has not the array that is wanted.
  private var lacksArray: Bool {
    expectation.format.map { FeatureFile.lacksArray(store.path, as: $0, array: expectation.array) } ?? false
  }

  // MARK: The beginning of the file

  /// R11: what the first bytes say must fit everything that is expected.
  private func readHead() throws(TarnError) {
    let start = block.withBytes { bytes in
      unsafe bytes.withUnsafeBytes { unsafe Array($0.prefix(FeatureHead.maximumByteCount)) }
    }
    switch beginning(start, byteCount: expectation.byteCount ?? totalByteCount) {
    case .needsMore: break
    case .malformed(let cause): throw TarnError(.integrity, cause)
    case .head(let parsed):
      try check(parsed)
      try checkRoom(parsed)
      head = parsed
    }
  }

  /// What the first bytes are; of a file whose bytes alone are known, its end.
  private func beginning(_ start: [UInt8], byteCount: Int?) -> FeatureHead.Prefix {
    if let format = expectation.format { return FeatureHead.parse(start, of: format, byteCount: byteCount) }
    guard let byteCount else { return .malformed("the server does not say how many bytes it has") }
    if let examination = means.examination {
      guard start.count >= min(64, byteCount) else { return .needsMore }
      if let fault = examination.faultOfStart(start) { return .malformed(fault) }
    }
    return .head(FeatureHead(fileByteCount: byteCount))
  }

  private func check(_ head: FeatureHead) throws(TarnError) {
    guard expectation.format != nil else { return }
    if let fault = head.fault(dimension: expectation.dimension, elementType: expectation.elementType) {
      throw TarnError(.integrity, fault, hint: means.remedy(head))
    }
    for (size, teller) in [(expectation.byteCount, "the catalog"), (totalByteCount, sizeTeller)] {
      guard let size, size != head.fileByteCount else { continue }
      throw TarnError(
        .integrity, "\(teller) says \(size) bytes and its header declares \(head.fileByteCount)")
    }
  }

  /// Invariant 6: room is reserved before the bytes come.
  ///
  /// All checks are passed, so the size is believed, and it is the caller's turn.
  private func checkRoom(_ head: FeatureHead) throws(TarnError) {
    guard let room = expectation.roomByteCount, head.fileByteCount > room, !means.takesRoom(head.fileByteCount) else {
      return
    }
    outgrownByteCount = head.fileByteCount
    throw TarnError(.diskFull, "\(head.fileByteCount) bytes where room for \(room) is reserved")
  }

  /// The beginning of a partial, if that can be continued.
  private func head(of point: ResumePoint, _ start: [UInt8]) -> FeatureHead? {
    let total = expectation.byteCount ?? point.totalByteCount
    guard case .head(let parsed) = beginning(start, byteCount: total) else {
      return nil
    }
    do {
      try check(parsed)
      // Where no room was reserved, as nobody knew the size, what is held stays.
      if expectation.roomByteCount != 0 { try checkRoom(parsed) }
    } catch {
      return nil
    }
    guard point.byteCount <= parsed.fileByteCount,
      point.totalByteCount ?? parsed.fileByteCount == parsed.fileByteCount
    else { return nil }
    return parsed
  }
}
