// One shard by its command: what it reads is hashed, the command is run in a directory
// of its own, and what it left there is looked at. Blocks the thread that it is run on.

internal import Base
internal import Foundation
internal import Glibc

/// A command that is to write a shard.
struct ShardCommand: Sendable {
  let address: CommandAddress
  let rules: CommandRules
  let environment: [String: String]
  /// The shard's part file, beside which the command writes.
  let partPath: String
  /// How the output's name ends: `npy`.
  let fileExtension: String
  /// Whether the user stops tarn.
  let isStopped: @Sendable () -> Bool
  /// What speaks against what was written so far: bytes of the output, and of all files.
  let fault: @Sendable (_ output: Int, _ all: Int) -> TarnError?

  /// A run that ended well: what it wrote is `path`, alone and whole.
  struct Written: Sendable {
    let path: String
    let byteCount: Int
  }

  private var directory: String { CommandStaging.directory(ofPart: partPath) }
  private var markPath: String { directory + "/.mark" }
  private var output: String { "\(directory)/output.\(fileExtension)" }

  /// Runs it to its end.
  ///
  /// - Returns: What is known of the run, and what it wrote or why that is of no use.
  func run() -> (record: CommandRecord, result: Result<Written, TarnError>) {
    var record = CommandRecord(line: address.line)
    do throws(TarnError) {
      let written = try run(&record)
      return (record, .success(written))
    } catch {
      do { try CommandStaging.remove(directory) } catch {}
      return (record, .failure(error))
    }
  }

  /// Removes what is left of a run whose output was taken.
  static func clean(beside partPath: String) throws(TarnError) {
    try TarnError.storing { try CommandStaging.remove(CommandStaging.directory(ofPart: partPath)) }
  }

  private func run(_ record: inout CommandRecord) throws(TarnError) -> Written {
    try prepare()
    let identities = address.inputs.map(Disk.identity(of:))
    for path in address.inputs { record.inputs.append(try input(path)) }
    let mark = String(UInt64.random(in: .min ... .max), radix: 16)
    try TarnError.storing {
      try Disk.makeDirectory(directory)
      try Disk.writeAtomically(mark.utf8, to: markPath)
      try FaultPlan.step("run", output)
    }
    let began = ContinuousClock.now
    var process = try CommandProcess(
      try address.arguments(writing: output), environment: environment, mark: mark)
    let (staging, path, fault) = (directory, output, fault)
    let (end, cause, tail) = process.run(rules, isStopped: isStopped) {
      fault(Disk.size(of: path) ?? 0, CommandStaging.allocatedByteCount(below: staging))
    }
    record.duration = .now - began
    record.tail = tail
    record.take(end)
    if let failure = record.failure(cause, rules) { throw failure }
    // Invariant 3 of the design: the digests that are recorded are of what was read.
    for (path, before) in zip(address.inputs, identities) where Disk.identity(of: path) != before {
      throw TarnError(.integrity, "the input \(path.printable) changed while the command read it", hint: "run it again")
    }
    return try written()
  }

  /// Ends and removes what a run left that was killed with tarn.
  private func prepare() throws(TarnError) {
    if let mark = try? Disk.contents(of: markPath, atMost: 64) {
      CommandProcess.endAll(of: String(decoding: mark, as: UTF8.self))
    }
    try Self.clean(beside: partPath)
  }

  private func input(_ path: String) throws(TarnError) -> CommandRecord.Input {
    guard let byteCount = Disk.size(of: path) else {
      throw TarnError(
        Disk.identity(of: path) == nil ? .absent : .refused,
        "the input \(path.printable) is \(Disk.identity(of: path) == nil ? "not there" : "not a regular file")",
        hint: "the command was not run")
    }
    let digest = try TarnError.storing { try Disk.digest(of: path) }
    return CommandRecord.Input(path: path, digest: digest, byteCount: byteCount)
  }

  /// What it left, if that is one regular file that nobody else has.
  private func written() throws(TarnError) -> Written {
    let path = output
    var info = stat()
    guard unsafe lstat(path, &info) == 0 else {
      throw TarnError(
        .integrity, "the command ended well and wrote nothing to {output}",
        hint: "what it writes has to be at the path that {output} stands for")
    }
    let kind: String? =
      switch info.st_mode & S_IFMT {
      case S_IFREG: info.st_nlink == 1 ? nil : "has a second name"
      case S_IFLNK: "is a link"
      case S_IFDIR: "is a directory"
      default: "is a pipe or a device"
      }
    if let kind {
      throw TarnError(
        .integrity, "what the command left at {output} \(kind), and no file of its own", hint: "have it write a file")
    }
    // Whoever runs the command owns it; it may have taken our rights away.
    guard unsafe chmod(path, (info.st_mode & 0o7777) | 0o600) == 0 else { throw Disk.systemError("open", path) }
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard descriptor >= 0 else { throw Disk.systemError("open", path) }
    defer { close(descriptor) }
    // > A read lease can be placed only on a file descriptor that is opened read-only,
    // > and fails with EAGAIN where somebody has it open for writing.
    // https://man7.org/linux/man-pages/man2/F_SETLEASE.2const.html
    if fcntl(descriptor, 1_024, F_RDLCK) != 0, errno == EAGAIN {
      throw TarnError(.integrity, "something still writes to what the command left at {output}")
    }
    return Written(path: path, byteCount: Int(info.st_size))
  }
}

extension FetchConfiguration {
  /// What ``origin(of:)`` says of every command.
  package static var originOfCommands: String { WebAddress.originOfCommands }

  /// S8: a command is run only for who said so, whoever wrote it.
  func command(_ url: String) throws(TarnError) -> WebAddress {
    let address = try WebAddress(command: url)
    guard commands != nil else {
      throw TarnError(
        .usage, "a command is run only with --allow-commands", hint: "say that if you know what it does")
    }
    return address
  }
}
