// Whose a directory outside a lake is: a file in it names the lake, so that no
// other one, and no copy of it, takes the bytes there for its own.
//
// A lake that keeps everything below its own directory has no marks, and may be
// moved and copied as it is.

internal import Base
internal import Foundation
internal import Glibc
internal import GRDB

/// What the mark in a directory says.
struct OwnerMark: Codable, Equatable {
  static let format = "tarn-owner-1"
  /// Name of the mark in the directory.
  static let fileName = ".tarn-owner"

  let format: String
  /// The lake's uuid.
  let lake: String
  /// Where the lake is, links followed.
  let root: String
  /// Where the mark was put, links followed.
  let directory: String

  init(lake: String, root: String, directory: String) {
    format = Self.format
    self.lake = lake
    self.root = root
    self.directory = directory
  }

  /// The mark of a directory.
  ///
  /// One that came with a copy of the directory is none: the directory that it
  /// names is another one, and has it still.
  ///
  /// - Parameter directory: Links followed.
  /// - Returns: Nil without a mark.
  /// - Throws: ``TarnError`` `.integrity` for a file that is no mark.
  static func of(_ directory: String) throws -> OwnerMark? {
    guard let mark = try read(directory) else { return nil }
    let isCopied =
      mark.directory != directory && !FileIdentity.isSame(mark.directory, directory)
      && (try? read(mark.directory)) == mark
    return isCopied ? nil : mark
  }

  private static func read(_ directory: String) throws -> OwnerMark? {
    let path = "\(directory)/\(fileName)"
    // A mark that cannot be read is not none.
    var info = stat()
    if lstat(path, &info) != 0, errno == ENOENT { return nil }
    let bytes = try Disk.contents(of: path)
    guard let mark = try? JSONDecoder().decode(OwnerMark.self, from: Data(bytes)), mark.format == format else {
      throw TarnError(
        .integrity, "\(path) does not say which lake the directory belongs to",
        hint: "if it belongs to this lake alone, remove that file")
    }
    return mark
  }

  /// The text of the mark.
  fileprivate var bytes: [UInt8] {
    let fields = ["format": format, "lake": lake, "root": root, "directory": directory]
    return Array((JSONValue.object(fields.mapValues { .string($0) }).text + "\n").utf8)
  }
}

/// The directories of a lake that are outside it, and whose they are.
struct DirectoryOwner {
  /// The lake's directory, links followed.
  let root: String
  /// Directories of the lake that are not below it, links followed, each once.
  let directories: [String]

  init(_ layout: LakeLayout) {
    let root = Self.real(layout.root)
    self.root = root
    var seen: Set<String> = []
    directories = [layout.shards, layout.artifacts].map(Self.real).filter {
      !($0 + "/").hasPrefix(root + "/") && seen.insert($0).inserted
    }
  }

  /// A path with the links in it followed, as far as it exists.
  static func real(_ path: String) -> String {
    var (front, rest) = (LakeLayout.absolute(path), "")
    var linkCount = 0
    while true {
      if let found = SystemPath.real(front) {
        let whole = found + rest
        return whole.hasPrefix("//") ? String(whole.dropFirst()) : whole
      }
      let parent = front.parentPath
      guard parent != front else { return LakeLayout.absolute(path) }
      // A link to what is not there leads there all the same.
      if linkCount < 40, let target = try? FileManager.default.destinationOfSymbolicLink(atPath: front) {
        front = LakeLayout.absolute(target.hasPrefix("/") ? target : parent + "/" + target)
        linkCount += 1
        continue
      }
      rest = "/" + front.lastPathPart + rest
      front = parent
    }
  }

  // MARK: Asking

  /// Why the lake must not use a directory; nil when it may.
  ///
  /// - Parameters:
  ///   - directory: One of ``directories``.
  ///   - uuid: The lake's; nil of one that is about to be made.
  /// - Returns: The refusal, with what to do.
  /// - Throws: ``TarnError`` `.integrity` for a mark that cannot be read.
  func objection(to directory: String, by uuid: String?) throws -> TarnError? {
    if let mark = try OwnerMark.of(directory) {
      if mark.root == root && (uuid == nil || mark.lake == uuid) { return nil }
      guard mark.lake == uuid else { return foreign(directory, mark.root, isNew: uuid == nil) }
      // The same lake over another path, as through a second mount.
      let name = LakeLayout.catalogName
      if FileIdentity.isSame("\(mark.root)/\(name)", "\(root)/\(name)") { return nil }
      return TarnError(
        .conflict, "\(directory) belongs to this lake as it was in \(mark.root), and it is in \(root) now",
        hint: "if it was moved, `tarn doctor --moved`; if this is a copy, copy that directory too, then "
          + "`tarn doctor --copied --shards DIR --artifacts DIR`")
    }
    return try enclosing(directory).map { foreign(directory, $0, isNew: uuid == nil) }
  }

  /// The lake that a directory lies in a directory of; nil for none, and for this one.
  private func enclosing(_ directory: String) throws -> String? {
    var (path, below) = (directory, "")
    while true {
      if path != directory, let mark = try OwnerMark.of(path), mark.root != root { return mark.root }
      let isOwn = LakeLayout.ownDirectories.contains { below == $0 || below.hasPrefix($0 + "/") }
      if isOwn, path != root, LakeLayout.isLake(path) { return path }
      let parent = path.parentPath
      guard parent != path else { return nil }
      below = path.lastPathPart + (below.isEmpty ? "" : "/" + below)
      path = parent
    }
  }

  private func foreign(_ directory: String, _ owner: String, isNew: Bool) -> TarnError {
    TarnError(
      .conflict, "\(directory) belongs to another lake, in \(owner)",
      hint: (isNew
        ? "name another directory"
        : "copy what is this lake's to directories of its own, then `tarn doctor --copied --shards DIR --artifacts DIR`")
        + "; if that lake is gone, remove \(directory)/\(OwnerMark.fileName)")
  }

  /// The uuid of a lake that is about to be made: the one that marks have for this
  /// place, as after a lost catalog, or a new one.
  ///
  /// - Throws: ``TarnError`` `.conflict` when a directory is another lake's.
  func uuid() throws -> String {
    for directory in directories {
      if let objection = try objection(to: directory, by: nil) { throw objection }
    }
    return try directories.lazy.compactMap { try OwnerMark.of($0)?.lake }.first ?? LakeRow.newUUID()
  }

  // MARK: Marking

  /// Marks the directories that have no mark; the others must be the lake's.
  ///
  /// A directory that is not there, or cannot be written, is left alone.
  ///
  /// - Parameter uuid: The lake's.
  /// - Throws: ``TarnError`` `.conflict` when a directory is another lake's.
  func claim(for uuid: String) throws {
    for directory in directories {
      if let objection = try objection(to: directory, by: uuid) { throw objection }
      guard access(directory, W_OK) == 0 else { continue }
      let path = "\(directory)/\(OwnerMark.fileName)"
      guard try OwnerMark.of(directory) == nil else {
        // What a run left that died when its mark was in place.
        if Disk.size(of: path + ".tmp") != nil { try Disk.remove(path + ".tmp") }
        continue
      }
      do {
        // A mark that came with a copy of the directory is in the way of nothing.
        if Disk.size(of: path) != nil {
          try mark(directory, for: uuid)
        } else {
          try Disk.writeOnce(OwnerMark(lake: uuid, root: root, directory: directory).bytes, to: path)
        }
      } catch let error as TarnError where error.code == .conflict {
        // Another lake was faster.
        throw try objection(to: directory, by: uuid) ?? error
      }
    }
  }

  /// Marks a directory anew.
  func mark(_ directory: String, for uuid: String) throws {
    let mark = OwnerMark(lake: uuid, root: root, directory: directory)
    guard try OwnerMark.of(directory) != mark else { return }
    try Disk.writeAtomically(mark.bytes, to: "\(directory)/\(OwnerMark.fileName)")
  }
}

extension LakeCatalog {
  /// The lake's uuid.
  package func uuid() throws -> String {
    guard let uuid = try read({ try String.fetchOne($0, sql: "SELECT uuid FROM lake") }) else {
      throw TarnError(.integrity, "\(layout.catalog) has no row in table lake")
    }
    return uuid
  }

  /// Marks the directories outside the lake as its own, where none of them is lost.
  func claimDirectories() throws {
    if let fault = try lostDirectory() { throw fault }
    try DirectoryOwner(layout).claim(for: uuid())
  }

  /// The error of a directory outside the lake that is not there, or is empty, and in which the catalog has files;
  /// nil without one.
  ///
  /// So is one whose volume is not mounted: what was written in its place would lie beneath it later, and files whose
  /// rows were removed would stay there, nobody's. One that lost its files and has its mark is as it is known.
  func lostDirectory() throws -> TarnError? {
    let outside = DirectoryOwner(layout).directories
    for (place, directory) in [(Place.shards, layout.shards), (Place.artifacts, layout.artifacts)] {
      guard outside.contains(DirectoryOwner.real(directory)),
        (try? Disk.namesIfAny(in: directory).isEmpty) == true
      else { continue }
      let count = try read { database in
        try Int.fetchOne(
          database, sql: "SELECT count(*) FROM stored_bytes WHERE place = ? AND state = 'present'",
          arguments: [place.rawValue])
      }
      guard let count, count > 0 else { continue }
      return TarnError(
        .io,
        "\(directory) is \(Disk.isDirectory(directory) ? "empty" : "not there"), and the catalog has "
          + "\(count.counted("file")) in it",
        hint: "mount the volume that it is on; if they are lost, `mkdir -p \(directory)`, then `tarn doctor --moved`")
    }
    return nil
  }

  /// Says that the lake was moved to where it is: its directories elsewhere follow.
  ///
  /// One that was made anew for one that is lost is marked, too.
  ///
  /// - Throws: ``TarnError`` `.conflict` when the lake is still where it was, so
  ///   that this is a copy, or when a directory is another lake's.
  package func acceptMove() throws {
    let (owner, uuid) = (DirectoryOwner(layout), try uuid())
    var from: String?
    for directory in owner.directories {
      guard let mark = try OwnerMark.of(directory), mark.lake == uuid, mark.root != owner.root else {
        if let objection = try owner.objection(to: directory, by: uuid) { throw objection }
        continue
      }
      let old = "\(mark.root)/\(LakeLayout.catalogName)"
      if !FileIdentity.isSame(old, layout.catalog), LakeCatalog.uuid(ofCatalog: old) == uuid {
        throw TarnError(
          .conflict, "the lake is still in \(mark.root): this is a copy of it",
          hint: "copy its directories too, then `tarn doctor --copied --shards DIR --artifacts DIR`")
      }
      from = mark.root
    }
    if let from {
      try write("moved") {
        try LakeCatalog.record(.moved, "lake", ["from": .string(from), "to": .string(owner.root)], $0)
      }
    }
    for directory in owner.directories where access(directory, W_OK) == 0 { try owner.mark(directory, for: uuid) }
  }

  /// Makes a copy of a lake a lake of its own, with directories of its own.
  ///
  /// What its rows vouch for must lie there; `verify` tells what does not.
  ///
  /// - Parameters:
  ///   - shards: Directory of fetched shards, absolute; nil to keep it.
  ///   - artifacts: Directory of results, absolute; nil to keep it.
  /// - Throws: ``TarnError`` `.conflict` when a directory is another lake's.
  package func becomeCopy(shards: String?, artifacts: String?) throws {
    let (old, kept) = (
      try uuid(),
      try read { try Row.fetchOne($0, sql: "SELECT shards_directory AS s, artifacts_directory AS a FROM lake") }
    )
    let directories = (
      shards: shards.map(below) ?? kept?["s"] ?? "shards", artifacts: artifacts.map(below) ?? kept?["a"] ?? "artifacts"
    )
    let layout = LakeLayout(root: layout.root, shards: directories.shards, artifacts: directories.artifacts)
    let owner = DirectoryOwner(layout)
    for directory in owner.directories {
      if let objection = try owner.objection(to: directory, by: nil) {
        throw TarnError(
          .conflict, objection.message, hint: "name other directories with --shards and --artifacts of --copied")
      }
    }
    // A run that died after its marks had named the copy already.
    let named = try owner.directories.lazy.compactMap { try OwnerMark.of($0)?.lake }.first { $0 != old }
    let uuid = named ?? LakeRow.newUUID()
    for directory in [layout.shards, layout.artifacts] { try Disk.makeDirectory(directory) }
    for directory in DirectoryOwner(layout).directories { try owner.mark(directory, for: uuid) }
    try write("copied") { database in
      // The one change of a lake's identity; the guard is back before the commit.
      let guarding = try String.fetchOne(database, sql: "SELECT sql FROM sqlite_schema WHERE name = 'lake_is_frozen'")
      try database.execute(sql: "DROP TRIGGER lake_is_frozen")
      try database.run(
        "UPDATE lake SET uuid = ?, shards_directory = ?, artifacts_directory = ?",
        [uuid, directories.shards, directories.artifacts])
      if let guarding { try database.execute(sql: guarding) }
      try LakeCatalog.record(.copied, "lake", ["from": .string(old), "to": .string(uuid)], database)
    }
  }

  /// A directory as the catalog keeps it: relative to the lake when below it.
  private func below(_ directory: String) -> String {
    directory.hasPrefix(layout.root + "/") ? String(directory.dropFirst(layout.root.count + 1)) : directory
  }

  /// The uuid of a catalog that may be another lake's; nil when it cannot be read.
  private static func uuid(ofCatalog path: String) -> String? {
    guard Disk.size(of: path) != nil, let queue = try? connect(to: path, readOnly: true) else { return nil }
    return try? queue.read { try String.fetchOne($0, sql: "SELECT uuid FROM lake") }
  }
}

extension LakeExamination {
  /// Whether the directories outside the lake are its own.
  func ownership() throws -> [Finding] {
    let (owner, uuid) = (DirectoryOwner(layout), try catalog.uuid())
    let lost = try catalog.lostDirectory().map { Finding(.problem, "ownership", $0.message, fix: $0.hint) }
    let findings = try owner.directories.compactMap { directory -> Finding? in
      do {
        if let objection = try owner.objection(to: directory, by: uuid) { throw objection }
        guard Disk.isDirectory(directory), try OwnerMark.of(directory) == nil else { return nil }
        return Finding(
          .note, "ownership", "\(directory) does not say which lake it belongs to",
          fix: "the next command that writes marks it")
      } catch let error as TarnError where [.conflict, .integrity].contains(error.code) {
        return Finding(.problem, "ownership", error.message, fix: error.hint)
      }
    }
    return capped(
      (lost.map { [$0] } ?? []) + findings,
      else: Finding(.ok, "ownership", "directories outside the lake, all its own: \(owner.directories.count)"))
  }
}
