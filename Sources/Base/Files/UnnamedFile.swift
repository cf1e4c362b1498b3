// Files that have no name: nothing of them is left, whatever ends the process.

internal import Foundation
internal import Glibc

/// A file that ends with its last descriptor.
package enum UnnamedFile {
  /// Makes one.
  ///
  /// Where the file system has none, which NFS has not, it has a name, `.tarn-XXXXXX`, for an instant.
  ///
  /// - Parameter directory: Where it takes its room.
  /// - Returns: A descriptor to read and write, the caller's to close.
  /// - Throws: ``TarnError`` of the system: no file can be made there.
  package static func open(in directory: String) throws -> Int32 {
    if let file = openNeverNamed(in: directory) { return file }
    var template = Array("\(directory)/.tarn-XXXXXX".utf8CString)
    let named = unsafe template.withUnsafeMutableBufferPointer { name -> Int32 in
      guard let start = name.baseAddress else { return -1 }
      let opened = unsafe mkstemp(start)
      if opened >= 0 { unsafe unlink(start) }
      return opened
    }
    guard named >= 0 else { throw Disk.systemError("write into", directory) }
    _ = fcntl(named, F_SETFD, FD_CLOEXEC)
    return named
  }

  /// Makes one that has no name for an instant even.
  ///
  /// - Parameter directory: Where it takes its room.
  /// - Returns: A descriptor to read and write, the caller's to close; nil where there can be none.
  package static func openNeverNamed(in directory: String) -> Int32? {
    // > O_TMPFILE must be specified with one of O_RDWR or O_WRONLY […] an unnamed inode will be created
    // https://man7.org/linux/man-pages/man2/open.2.html; the macro is of two flags and so not imported.
    let flag = 0o20_000_000 | O_DIRECTORY
    let file = Glibc.open(directory, O_RDWR | O_CLOEXEC | flag, 0o600)
    return file >= 0 ? file : nil
  }
}
