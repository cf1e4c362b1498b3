// Room that is held for the catalog to commit in when a disk has no byte left.
//
// D13: to give bytes back is a commit first (invariant 1), and a commit takes room: the
// index of the log (32 KiB), the log up to where it is checkpointed, and the pages
// that a checkpoint adds to the catalog. All of that is less than a mebibyte for what
// gives room back, whose transactions touch one file each. So a file of a mebibyte
// lies beside the catalog; what gives room back removes it first, when it finds a full
// disk, and it is laid again as soon as it fits. Nothing vouches for it and nothing
// reads it. To delete bytes before their rows instead would leave rows that vouch for
// nothing where the commit then fails.

internal import Base
internal import Glibc

/// The file that makes room for the catalog of a full lake.
enum CatalogBallast {
  /// Its size, and the least that must be free where anything else is to be written.
  static let byteCount = 1 << 20

  static func path(_ layout: LakeLayout) -> String { layout.catalog + "-ballast" }

  /// Makes sure of room to commit, before the catalog is opened for writing.
  ///
  /// - Parameters:
  ///   - layout: The lake, its writer's lock held.
  ///   - givesBack: Whether the command gives room back.
  /// - Returns: Whether the ballast was let go.
  /// - Throws: ``TarnError`` `.diskFull` when there is none and the command gives
  ///   none back.
  static func makeRoom(_ layout: LakeLayout, givesBack: Bool) throws -> Bool {
    let fileSystem = try FileSystem(of: layout.root)
    if fileSystem.freeByteCount >= byteCount { return false }
    guard givesBack else {
      let verdict = DiskReserve().verdict(on: "the catalog", taking: byteCount, of: fileSystem)
      guard case .refused(let error) = verdict else { return false }
      throw error
    }
    if Disk.size(of: path(layout)) != nil {
      try Disk.remove(path(layout))
      try Disk.syncDirectory(layout.root)
    }
    return true
  }

  /// Lays the ballast, where there is room for it.
  ///
  /// - Parameters:
  ///   - layout: The lake, its writer's lock held.
  ///   - reserve: What stays free besides; nil after it was let go.
  static func lay(_ layout: LakeLayout, keeping reserve: DiskReserve? = nil) {
    let place = path(layout)
    guard Disk.size(of: place) != byteCount else { return }
    if let reserve {
      guard let fileSystem = try? FileSystem(of: layout.root),
        case .goes = reserve.verdict(on: place, taking: byteCount, of: fileSystem)
      else { return }
    }
    let descriptor = open(place, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    // What the catalog has grown by meanwhile is missing: most of it serves as well.
    for length in stride(from: byteCount, to: 0, by: -(1 << 16)) {
      if posix_fallocate(descriptor, 0, off_t(length)) == 0 { return }
    }
    unlink(place)
  }
}
