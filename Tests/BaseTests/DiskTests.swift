// Whole files on a real file system.

import Base
import Foundation
import Glibc
import Testing

@Suite struct DiskTests {
  /// Only a directory that is there tells that a file is not.
  @Test func whatCannotBeLookedAtMayBeThere() throws {
    let directory = FileManager.default.temporaryDirectory.path + "/look-\(UUID().uuidString)"
    try Disk.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try Disk.writeAtomically(Array("four".utf8), to: directory + "/file")
    #expect(symlink(directory + "/elsewhere/file", directory + "/link") == 0)
    #expect(Disk.look(at: directory + "/file") == .file(byteCount: 4))
    #expect(Disk.look(at: directory + "/other") == .gone)
    #expect(Disk.look(at: directory + "/elsewhere/file") == .untold)
    #expect(Disk.look(at: directory + "/link") == .untold)
    #expect(Disk.look(at: directory + "/file/below") == .untold)
  }

  @Test func aDiskWithLittleLeftIsFullAndNoQuotaIsBlamed() {
    #expect(DiskReserve.shortage(free: 36_900, kept: 1_000) == "has 36.9 kB free, which is too little")
    #expect(DiskReserve.shortage(free: 1_000, kept: 36_900).contains("are missing at least"))
    #expect(DiskReserve.shortage(free: 1 << 30, kept: 1_000).contains("ulimit -f"))
  }

  @Test func whatIsOpenedTwiceIsOneFile() throws {
    let path = FileManager.default.temporaryDirectory.path + "/twice-\(UUID().uuidString)"
    defer { unlink(path) }
    try Disk.writeAtomically(Array("one".utf8), to: path)
    var count = 0
    let (first, second) = try Disk.openTwice(path) {
      try InputFile(path: path)
    } _: {
      count += 1
      // Another takes its name between the two, once.
      if count == 1 { try Disk.writeAtomically(Array("other".utf8), to: path) }
      return try InputFile(path: path)
    }
    #expect(count == 2)
    #expect(try first.digest() == second.digest())
    #expect(throws: TarnError.self) {
      try Disk.openTwice(path) {
      } _: {
        try Disk.writeAtomically(Array("again".utf8), to: path)
      }
    }
  }

  /// Bytes that this thread had to get from a disk so far.
  private func bytesFromDisk() -> Int {
    var usage = rusage()
    // RUSAGE_THREAD, which Glibc's headers show only with _GNU_SOURCE.
    getrusage(1, &usage)
    return usage.ru_inblock * 512
  }

  /// Whether a directory has no disk that it could be read from.
  private func liesInMemory(_ directory: String) throws -> Bool {
    var longest = 0
    var kind: Substring = ""
    for line in try String(contentsOfFile: "/proc/mounts", encoding: .utf8).split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count > 2 else { continue }
      let place = fields[1]
      let isAbove = place == "/" || directory == place || directory.hasPrefix("\(place)/")
      if isAbove, place.count > longest { (longest, kind) = (place.count, fields[2]) }
    }
    return kind == "tmpfs" || kind == "ramfs"
  }

  /// What is not this user's is said of the place that it is, which need not be a lake's.
  @Test(arguments: [EACCES, EPERM, EROFS]) func aPlaceThatIsNotTheUsersIsNamed(number: Int32) {
    errno = number
    let created = Disk.systemError("create", "/only/root/x.fbin")
    #expect(created.code == .io && created.hint == "/only/root must be writable by this user")
    errno = number
    #expect(Disk.systemError("create", "x.fbin").hint == "this directory must be writable by this user")
    errno = number
    #expect(Disk.systemError("write into", "/only/root").hint == "/only/root must be writable by this user")
    errno = number
    #expect(Disk.systemError("open", "/only/root/x").hint == "this user must be let to it")
    // In a directory that is the user's the file is not.
    let file = FileManager.default.temporaryDirectory.path + "/x.sqlite"
    for operation in ["write to", "write", "create or write the writer lock"] {
      errno = number
      #expect(Disk.systemError(operation, file).hint == "\(file) must be writable by this user")
      errno = number
      #expect(Disk.systemError(operation, "/only/root/x").hint == "/only/root must be writable by this user")
    }
  }

  @Test func aFileIsReadFromTheDiskAsOftenAsThatIsAsked() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("tarn-test-\(UUID().uuidString)").path
    try Disk.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let isInMemory = try liesInMemory(directory)
    let byteCount = 4 << 20
    let path = directory + "/file"
    try Disk.writeAtomically([UInt8](repeating: 7, count: byteCount), to: path)
    let digest = try Disk.digest(of: path)
    for isFromDisk in [true, false, true, true] {
      let before = bytesFromDisk()
      #expect(try Disk.digest(of: path, isFromDisk: isFromDisk) == digest)
      let read = bytesFromDisk() - before
      if !isInMemory { #expect(isFromDisk ? read >= byteCount : read < byteCount, "\(read) bytes of \(byteCount)") }
    }
  }

  /// A probe, or rows that are unpacked: a kill has no name to leave.
  @Test func anUnnamedFileDoesNotTouchItsDirectory() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("tarn-test-\(UUID().uuidString)").path
    try Disk.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    func changes() throws -> [Int] {
      var info = stat()
      try #require(stat(directory, &info) == 0)
      return [info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec]
    }
    let hasNone = UnnamedFile.openNeverNamed(in: directory).map { close($0) } == nil
    let before = try changes()
    let file = try UnnamedFile.open(in: directory)
    defer { close(file) }
    let text = [UInt8]("rows".utf8)
    #expect(text.withUnsafeBytes { pwrite(file, $0.baseAddress, 4, 0) } == 4)
    var read = [UInt8](repeating: 0, count: 4)
    #expect(read.withUnsafeMutableBytes { pread(file, $0.baseAddress, 4, 0) } == 4 && read == text)
    #expect(fcntl(file, F_GETFD) & FD_CLOEXEC != 0)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    // Where files have a name for an instant, the directory says so.
    #expect(try hasNone || changes() == before)
    let error = #expect(throws: TarnError.self) { try UnnamedFile.open(in: directory + "/nowhere") }
    #expect(error?.code == .io)
  }
}
