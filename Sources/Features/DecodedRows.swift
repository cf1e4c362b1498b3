// Rows that have no place in their file, decoded: a few in memory, more in a file without
// a name that ends with its owner, asked for before a byte is written and mapped.

package import Base
internal import Foundation
internal import Glibc
internal import Synchronization

/// Where decoded rows are put that memory should not hold.
package struct DecodedRows: Sendable {
  /// Bytes of rows that are kept in memory.
  static let mostInMemory = 64 << 20

  /// A directory on a file system whose room is known.
  private let directory: String
  /// What stays free there.
  private let reserve: DiskReserve

  private static let chosen = Mutex<DecodedRows?>(nil)

  /// Names the directory for all files that this process opens from now on; where it
  /// cannot be written, or has no room, `TMPDIR` and `/var/tmp` are tried.
  ///
  /// - Parameters:
  ///   - directory: The directory, or one that can be made.
  ///   - reserve: What stays free on its file system.
  package static func use(_ directory: String, keeping reserve: DiskReserve) {
    chosen.withLock { $0 = DecodedRows(directory: directory, reserve: reserve) }
  }

  private static var places: [DecodedRows] {
    let own = chosen.withLock(\.self)
    let others = [ProcessInfo.processInfo.environment["TMPDIR"], "/var/tmp"].compactMap(\.self)
    return (own.map { [$0] } ?? [])
      + others.filter { !$0.isEmpty }.map { DecodedRows(directory: $0, reserve: own?.reserve ?? DiskReserve()) }
  }

  /// Writes rows into a file without a name and maps it.
  ///
  /// - Parameters:
  ///   - path: The file that they are of, for messages.
  ///   - byteCount: Bytes of all rows, `1...`.
  ///   - fill: Hands every byte to what it is given, in order.
  /// - Returns: The mapping of `byteCount` bytes.
  /// - Throws: ``TarnError`` `.diskFull`, `.io`; whatever `fill` does.
  @unsafe static func map(
    _ path: String, byteCount: Int, _ fill: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
  ) throws -> UnsafeMutableRawPointer {
    let (file, place) = try room(for: path, byteCount)
    defer { close(file) }
    try unsafe fill { bytes in
      var rest = unsafe bytes[...]
      while unsafe !rest.isEmpty {
        let count = unsafe write(file, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw Disk.systemError("unpack \(path) into", place.directory) }
        unsafe rest = rest.dropFirst(count)
      }
    }
    let mapped = unsafe mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, file, 0)
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else { throw Disk.systemError("map rows of", path) }
    return unsafe mapped
  }

  /// Opens the file in the first place that has room for it.
  private static func room(for path: String, _ byteCount: Int) throws -> (file: Int32, place: DecodedRows) {
    var failure: (any Error)?
    for place in places {
      do { return (try place.open(for: path, byteCount), place) } catch { failure = failure ?? error }
    }
    throw failure ?? TarnError(.io, "there is no directory to unpack \(path) in", hint: "set TMPDIR")
  }

  private func open(for path: String, _ byteCount: Int) throws -> Int32 {
    let verdict = reserve.verdict(on: "what \(path) unpacks to", taking: byteCount, of: try FileSystem(of: directory))
    if case .refused(let error) = verdict { throw error }
    try Disk.makeDirectory(directory)
    let file = try UnnamedFile.open(in: directory)
    // Taken at once, so that others see what is free.
    let number = posix_fallocate(file, 0, off_t(byteCount))
    guard [0, EINVAL, EOPNOTSUPP].contains(number) else {
      close(file)
      throw Disk.systemError(number, "unpack \(path) into", directory)
    }
    return file
  }
}
