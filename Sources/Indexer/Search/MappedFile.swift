// A file of the lake as memory: lists are scanned where the kernel's cache has
// them, so an index may be larger than memory.

internal import Base
internal import Glibc
internal import Synchronization

/// A whole file, mapped for reading.
///
/// `@unchecked Sendable`: the bytes are never written, and the one owner that
/// unmaps them is this object's `deinit`. A file that is truncated while it is
/// mapped ends the process with SIGBUS; files of a lake are written once.
@safe final class MappedFile: @unchecked Sendable {
  let byteCount: Int
  private let start: UnsafeMutableRawPointer
  private static let pageByteCount = Int(getpagesize())
  /// Looks in a row that found their page in memory, and those left out since.
  private let foundInARow = Atomic(0)
  private let leftOut = Atomic(0)

  /// Maps a file.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - byteCount: The length that its header was believed for.
  /// - Throws: ``TarnError`` `.inputsMissing` without a file, `.io` when it cannot be
  ///   mapped, `.integrity` when it has another length by now.
  init(path: String, byteCount: Int) throws {
    precondition(byteCount > 0, "an empty file cannot be mapped")
    let (descriptor, length) = try Disk.openInput(path)
    defer { close(descriptor) }
    guard length == byteCount else {
      throw TarnError(.integrity, "\(path) has \(length) bytes; it had \(byteCount) a moment ago")
    }
    let mapped = unsafe mmap(nil, byteCount, PROT_READ, MAP_SHARED, descriptor, 0)
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else { throw Disk.systemError("map", path) }
    unsafe start = mapped
    self.byteCount = byteCount
    // A touched page brings itself alone: around it the kernel would read as much as a disk's read-ahead says, 8 MiB on
    // some, of lists that nobody visits. What is visited is announced.
    _ = unsafe madvise(mapped, byteCount, Int32(MADV_RANDOM))
  }

  deinit { unsafe munmap(start, byteCount) }

  /// The byte at an offset, `0...byteCount`.
  func address(_ offset: Int) -> UnsafePointer<UInt8> {
    precondition((0...byteCount).contains(offset), "an offset outside the file")
    return unsafe UnsafePointer((start + offset).assumingMemoryBound(to: UInt8.self))
  }

  /// Has the kernel read a range before it is needed, unless it is in memory.
  ///
  /// A look at the page in its middle decides: what is asked for range by range
  /// came that way, and the pages at its ends may have come with its neighbours.
  /// A look costs as much as reading 8 KiB; where 256 in a row were for nothing,
  /// all but each eighth is left out until one is not, and where 4,096 were and
  /// no more than 16 KiB are asked for, all but each 64th.
  func expectRead(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    let found = foundInARow.load(ordering: .relaxed)
    let isOften = found >= 4_096 && range.count <= 16 << 10
    if found >= 256, leftOut.add(1, ordering: .relaxed).newValue % (isOften ? 64 : 8) != 0 { return }
    let first = range.lowerBound / Self.pageByteCount * Self.pageByteCount
    var residence: UInt8 = 1
    let middle = (range.lowerBound + range.count / 2) / Self.pageByteCount * Self.pageByteCount
    guard unsafe mincore(start + middle, Self.pageByteCount, &residence) == 0 else { return }
    guard residence & 1 == 0 else {
      foundInARow.add(1, ordering: .relaxed)
      return
    }
    foundInARow.store(0, ordering: .relaxed)
    // Advice only: a refusal changes nothing but speed.
    _ = unsafe madvise(start + first, min(range.upperBound, byteCount) - first, Int32(MADV_WILLNEED))
  }
}
