// The door for paths that a user names for output: nothing is written over a
// catalog or into a lake's own directories, this lake's or another's, and a place
// that cannot be written is told before the work begins.

package import Base
internal import Foundation
internal import Glibc

/// Places that users name for output.
package enum OutputPlace {
  /// Checks that a file may be written, or written over.
  ///
  /// - Parameters:
  ///   - path: As the user wrote it.
  ///   - layout: The lake that is worked on, if any.
  ///   - replacesBackup: Whether it may be written over a copy of a catalog, and
  ///     over nothing else.
  /// - Throws: ``TarnError`` `.usage` for a place that cannot be meant, `.conflict`
  ///   for a file that must stay, `.io` for a directory that cannot be written.
  package static func check(_ path: String, besides layout: LakeLayout?, replacesBackup: Bool = false) throws {
    let target = LakeLayout.absolute(path)
    let (directory, name) = (target.parentPath, target.lastPathPart)
    guard !path.isEmpty, !path.hasSuffix("/"), !Disk.isDirectory(target) else {
      throw TarnError(.usage, "\(target) is a directory", hint: "name a file in it")
    }
    let other = "name another file"
    // Where the name is, and where a link of that name leads.
    for place in [DirectoryOwner.real(directory) + "/" + name, DirectoryOwner.real(target)] {
      if let owner = owner(of: place, besides: layout) {
        throw TarnError(.conflict, "\(target) is in the lake \(owner), among its own files", hint: other)
      }
    }
    guard Disk.isDirectory(directory) else {
      throw TarnError(
        .usage, "there is no directory \(directory) for \(name.printable)", hint: "make it, or name another file")
    }
    var info = stat()
    if stat(target, &info) == 0 {
      guard info.st_mode & S_IFMT == S_IFREG else {
        throw TarnError(.usage, "\(target) is not a regular file", hint: other)
      }
      let kind = CatalogFile(target)
      guard kind != .ofLake else { throw TarnError(.conflict, "\(target) is the catalog of a lake", hint: other) }
      guard (kind == .copy) == replacesBackup else {
        let what = replacesBackup ? "exists and is not a backup of a catalog" : "is a backup of a catalog"
        throw TarnError(.conflict, "\(target) \(what)", hint: other)
      }
    }
    // What a directory's mode says is not all that its file system has to say.
    close(try UnnamedFile.open(in: directory))
  }

  /// Checks that a directory may be filled: it is new or empty, and no part of a lake.
  ///
  /// - Parameters:
  ///   - path: As the user wrote it.
  ///   - layout: The lake that is worked on.
  ///   - option: Its name, for the message.
  ///   - own: Names of files that may be there all the same.
  /// - Returns: The directory, absolute.
  /// - Throws: ``TarnError`` `.usage`.
  package static func emptyDirectory(
    _ path: String, besides layout: LakeLayout, option: String, holding own: Set<String>
  ) throws -> String {
    let directory = LakeLayout.absolute(path)
    func refuse(_ reason: String) -> TarnError {
      TarnError(.usage, "\(directory) \(reason)", hint: "\(option) names an empty directory, or a new one")
    }
    let real = DirectoryOwner.real(directory)
    let isInside = (real + "/").hasPrefix(DirectoryOwner.real(layout.root) + "/")
    guard !isInside, owner(of: real + "/any", besides: layout) == nil else {
      throw refuse("is in the lake, which is not written to")
    }
    var info = stat()
    guard lstat(directory, &info) == 0 else { return directory }
    guard let files = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
      throw refuse("is not a directory that can be read")
    }
    guard own.isSuperset(of: files) else { throw refuse("holds other files") }
    return directory
  }

  /// Checks that a directory may get a version's files beside whatever it has: it is no
  /// part of a lake.
  ///
  /// - Parameters:
  ///   - directory: Absolute; it need not exist.
  ///   - name: The version.
  ///   - layout: The lake that is worked on.
  /// - Throws: ``TarnError`` `.conflict`.
  package static func check(_ directory: String, holding name: VersionName, besides layout: LakeLayout?) throws {
    let real = DirectoryOwner.real(directory)
    // As a file of the version would lie there.
    let place = "\(real)/\(name)/\(LakeLayout.lockFileName(name))"
    if let owner = owner(of: place, besides: layout) {
      throw TarnError(
        .conflict, "\(directory) is in the lake \(owner), among its own files", hint: "name another directory")
    }
    if LakeLayout.isLake(real) {
      throw TarnError(.conflict, "\(directory) is a lake", hint: "name a directory that is none")
    }
  }

  /// The lake that a file is, or would be, an own file of; nil for none.
  ///
  /// - Parameters:
  ///   - place: The file, absolute, links followed.
  ///   - layout: A lake whose directories are known; others are known by their
  ///     catalogs and marks.
  /// - Returns: The lake's directory.
  static func owner(of place: String, besides layout: LakeLayout? = nil) -> String? {
    if let layout,
      [layout.shards, layout.artifacts].contains(where: { place.hasPrefix(DirectoryOwner.real($0) + "/") })
    {
      return layout.root
    }
    var (directory, below) = (place.parentPath, place.lastPathPart)
    while true {
      if Disk.size(of: "\(directory)/\(OwnerMark.fileName)") != nil {
        return (try? OwnerMark.of(directory))?.root ?? directory
      }
      if LakeLayout.isLake(directory), isOwn(below) { return directory }
      let parent = directory.parentPath
      guard parent != directory else { return nil }
      below = directory.lastPathPart + "/" + below
      directory = parent
    }
  }

  /// Whether a path below a lake is one of its own files.
  private static func isOwn(_ path: String) -> Bool {
    guard path.contains("/") else {
      let beside = ["-wal", "-shm", "-journal", "-ballast", ".new", ".rebuilt", ".backup-schema", ".damaged-"]
      return [LakeLayout.lockName, LakeLayout.transactionLockName, LakeLayout.catalogName].contains(path)
        || beside.contains { path.hasPrefix(LakeLayout.catalogName + $0) }
    }
    return LakeLayout.ownDirectories.contains { path.hasPrefix($0 + "/") }
  }
}

/// What a file says that it is, by the bytes that SQLite documents.
private enum CatalogFile {
  case none, ofLake, copy

  init(_ path: String) {
    guard let head = try? InputFile(path: path).bytes(at: 0, count: 72),
      // > 68  4  The "Application ID" set by PRAGMA application_id.
      // https://www.sqlite.org/fileformat2.html
      head.starts(with: "SQLite format 3".utf8), head.suffix(4) == [0x54, 0x41, 0x52, 0x4E]
    else {
      self = .none
      return
    }
    // > 18  1  File format write version. 1 for legacy; 2 for WAL.
    // A catalog that was put back has a copy's until the next command that writes.
    let isInPlace =
      path.lastPathPart == LakeLayout.catalogName
      && Disk.size(of: "\(path.parentPath)/\(LakeLayout.lockName)") != nil
    self = head[18] == 2 || isInPlace ? .ofLake : .copy
  }
}
