// Shards that commands write, as attempts of a transfer: the command on a thread of its
// own, what it wrote on the disk queue.

internal import Base
internal import Features
internal import Synchronization

extension TransferLoop {
  /// Edge to running: the command of this attempt.
  func run(_ address: CommandAddress, for transfer: Transfer) {
    transfer.phase = .running
    let (control, tag, request) = (control, transfer.tag, transfer.request)
    let command = ShardCommand(
      address: address, rules: configuration.commands ?? CommandRules(),
      environment: configuration.commandEnvironment, partPath: request.partPath,
      fileExtension: request.expectation.format?.fileExtension ?? "bin",
      isStopped: { control.loop.isCancelled }, fault: Self.watch(request))
    do throws(TarnError) {
      try NamedThread.start("tarn-command") {
        let (record, result) = command.run()
        control.post(.ran(record, result), for: tag)
      }
    } catch {
      end(transfer, .fatal(error))
    }
  }

  /// What speaks against what a command wrote so far: that it is more than the shard
  /// has, or than there is room for (D5, D12).
  private static func watch(_ request: FetchRequest) -> @Sendable (_ output: Int, _ all: Int) -> TarnError? {
    let (expected, room) = (request.expectation.byteCount, request.expectation.roomByteCount)
    let granted = Mutex(room ?? .max)
    return { output, all in
      if let expected, output > expected {
        return TarnError(.integrity, "the command wrote more than the \(expected) bytes that the shard has")
      }
      guard all > granted.withLock(\.self) else { return nil }
      if request.takesRoom(all) {
        granted.withLock { $0 = all }
        return nil
      }
      if let lack = request.lackOfRoom() { return lack }
      // Blocks are whole ones, and files beside the output may come and go.
      guard let room, room > 0, all > room.addingSaturated(max(1 << 20, room / 8)) else { return nil }
      return TarnError(
        .diskFull, "the command wrote more than the \(room) bytes that are reserved for the shard",
        hint: "register the source with --sizes, or raise --budget")
    }
  }

  /// Edge from running to copying, or to the next attempt.
  func ran(_ record: CommandRecord, _ result: Result<ShardCommand.Written, TarnError>, for transfer: Transfer) {
    transfer.attempt?.command = record
    let written: ShardCommand.Written
    switch result {
    case .success(let success): written = success
    case .failure(let error): return end(transfer, failure(for: error))
    }
    guard let part = transfer.part else { preconditionFailure("a command without a part file") }
    transfer.phase = .copying
    transfer.attempt?.offset = 0
    let (control, source, request) = (control, transfer.source, transfer.request)
    onDisk(transfer) {
      do throws(TarnError) {
        try part.onDiskQueue { () throws(TarnError) in
          try CommandOutput.take(
            written.path, written.byteCount, into: part, source: source,
            expectedByteCount: request.expectation.byteCount, isStopped: { control.loop.isCancelled })
        }
        try ShardCommand.clean(beside: request.partPath)
        return .copied(.success(.copied))
      } catch {
        do { try ShardCommand.clean(beside: request.partPath) } catch {}
        return .copied(.failure(error))
      }
    }
  }
}
