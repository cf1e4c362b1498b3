// Where a command writes: a directory beside a shard's part file, whose one file of the
// right name becomes the part file once the command has ended. All else in it goes.

internal import Foundation
internal import Glibc

/// The directory that a command writes into.
package enum CommandStaging {
  package static let ending = ".command"

  /// The directory that belongs to a part file.
  package static func directory(ofPart path: String) -> String { path + ending }

  /// Bytes on the disk below a directory; no link is followed.
  ///
  /// - Parameter directory: The directory; 0 where there is none.
  /// - Returns: The bytes of its files, as they are allocated.
  package static func allocatedByteCount(below directory: String) -> Int {
    paths(below: directory).reduce(0) { sum, path in
      var info = stat()
      guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return sum }
      return sum.addingSaturated(Int(info.st_blocks) * 512)
    }
  }

  /// Removes a directory with all that a command left in it.
  ///
  /// - Throws: ``TarnError`` `.io`.
  package static func remove(_ directory: String) throws {
    var info = stat()
    guard lstat(directory, &info) == 0 else { return }
    try FaultPlan.step("unlink", directory)
    // What may not be listed or emptied was made so by the command, as whom we run.
    for path in [directory] + paths(below: directory) {
      guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else { continue }
      _ = chmod(path, 0o700)
    }
    do {
      try FileManager.default.removeItem(atPath: directory)
    } catch {
      throw TarnError(.io, "cannot remove \(directory.printable), which a command left: \(error.localizedDescription)")
    }
  }

  private static func paths(below directory: String) -> [String] {
    // By path: an enumerator of URLs would follow what they name.
    let names = FileManager.default.enumerator(atPath: directory)?.compactMap { $0 as? String } ?? []
    return names.map { "\(directory)/\($0)" }
  }
}
