// The one owner of how much of a file system tarn leaves free. Pure: what is free
// and what is needed is handed in, and the answer is to go on, to wait, or a refusal
// in words. Every verb that writes much asks here before it writes.

internal import Foundation
internal import Glibc

/// A file system, as far as room goes.
package struct FileSystem: Sendable {
  /// A directory of it that exists.
  package let path: String
  package let byteCount: Int
  /// Bytes that this user may still write.
  package let freeByteCount: Int
  /// Equal for directories on one file system.
  package let device: UInt64
  /// What it is given out in.
  package let blockByteCount: Int

  package init(path: String, byteCount: Int, freeByteCount: Int, device: UInt64, blockByteCount: Int = 4096) {
    self.blockByteCount = blockByteCount
    self.path = path
    self.byteCount = byteCount
    self.freeByteCount = freeByteCount
    self.device = device
  }

  /// The file system of a path, or of the nearest directory above that exists.
  ///
  /// - Throws: ``TarnError`` `.io` when it cannot be asked.
  package init(of path: String) throws {
    var place = path.isEmpty ? "." : path
    var info = stat()
    while stat(place, &info) != 0, !["/", ".", ""].contains(place) { place = place.parentPath }
    var room = statvfs()
    guard stat(place, &info) == 0, statvfs(place, &room) == 0 else {
      throw Disk.systemError("examine the file system of", path)
    }
    let unit = Int(clamping: room.f_frsize)
    self.init(
      path: place, byteCount: Int(clamping: room.f_blocks).multipliedSaturated(by: unit),
      // Where more is taken than there is, servers say a number below 0, which this type has not.
      freeByteCount: (Int(exactly: room.f_bavail) ?? 0).multipliedSaturated(by: unit), device: UInt64(info.st_dev),
      blockByteCount: unit)
  }

  /// Where it is mounted, as far as directories tell.
  package var mountPoint: String {
    guard var place = SystemPath.real(path) else { return path }
    var info = stat()
    while place != "/" {
      let parent = place.parentPath.isEmpty ? "/" : place.parentPath
      guard stat(parent, &info) == 0, UInt64(info.st_dev) == device else { break }
      place = parent
    }
    return place
  }
}

/// How much of each file system stays free (DESIGN, section 5).
///
/// D11: the lesser of 1 % and 1 GB, or what the user said if that is more, and on the
/// file system of the catalog what it needs to commit.
package struct DiskReserve: Sendable, Equatable {
  /// Bytes that the user wants free; less than the rule asks for changes nothing.
  package var keptFree: Int
  /// What the catalog needs to commit.
  package var catalogByteCount: Int
  /// The file system that the catalog is on.
  package var catalogDevice: UInt64?

  package init(keptFree: Int = 0, catalogByteCount: Int = 0, catalogDevice: UInt64? = nil) {
    self.keptFree = keptFree
    self.catalogByteCount = catalogByteCount
    self.catalogDevice = catalogDevice
  }

  /// Bytes of a file system that stay free.
  package func byteCount(on fileSystem: FileSystem) -> Int {
    let share = max(min(fileSystem.byteCount / 100, 1_000_000_000), keptFree)
    return fileSystem.device == catalogDevice ? share.addingSaturated(catalogByteCount) : share
  }

  /// What becomes of something that needs room.
  package enum Verdict: Sendable, Equatable {
    case goes
    /// Not now; something under way may give room back.
    case waits
    case refused(TarnError)
  }

  /// Says of a write that failed for lack of room why that may be.
  ///
  /// - Parameters:
  ///   - free: Bytes that are free where it was to go.
  ///   - kept: Bytes that stay free there.
  /// - Returns: What the file system has, as the end of a sentence.
  package static func shortage(free: Int, kept: Int) -> String {
    let text = "has \(ByteSize.text(free)) free"
    if free < kept { return "\(text), \(ByteSize.text(kept - free)) are missing at least" }
    // D10: what arrives is written by the mebibyte.
    if free < 1 << 20 { return "\(text), which is too little" }
    return "\(text), so a quota or a limit of files (`ulimit -f`) is in the way"
  }

  /// Judges whether something may be written.
  ///
  /// - Parameters:
  ///   - what: What it is, for the message.
  ///   - byteCount: Bytes it still takes.
  ///   - fileSystem: Where.
  ///   - promisedByteCount: Bytes that others will take there which are not written
  ///     yet.
  ///   - mayComeBack: Whether something under way may give room back.
  /// - Returns: The verdict.
  package func verdict(
    on what: String, taking byteCount: Int, of fileSystem: FileSystem, promised promisedByteCount: Int = 0,
    mayComeBack: Bool = false
  ) -> Verdict {
    let kept = self.byteCount(on: fileSystem)
    let needed = [byteCount, promisedByteCount, kept].saturatedSum
    guard needed > fileSystem.freeByteCount else { return .goes }
    guard !mayComeBack else { return .waits }
    let promised = promisedByteCount > 0 ? ", \(ByteSize.text(promisedByteCount)) are promised to others" : ""
    return .refused(
      TarnError(
        .diskFull,
        "the disk is full: \(what) takes \(ByteSize.text(byteCount))\(promised) and \(ByteSize.text(kept)) stay free on "
          + "the file system at \(fileSystem.mountPoint), where \(ByteSize.text(fileSystem.freeByteCount)) are free: "
          + "\(ByteSize.text(needed - fileSystem.freeByteCount)) are missing",
        place: fileSystem.path))
  }
}
