// What `doctor` says of who may write where: one directory that belongs to somebody else is
// enough for an eviction that never ends, one file for a lake that is no group's, and the
// lease of a machine that is gone for a lake that nobody writes any more.

internal import Base
internal import Foundation
internal import Glibc

extension LakeExamination {
  /// What of the lake this user may not write, or the group that it is for.
  func permissions() -> [Finding] {
    // Told once, of the mount.
    guard surroundings.readOnlyMount(of: layout.root) == nil else { return [] }
    if let denied = denial(of: layout.root) {
      return [Finding(.note, "permissions", "\(denied.what): only what reads works", fix: denied.fix)]
    }
    let files = [layout.catalog, layout.lock, layout.transactionLock].filter { Disk.size(of: $0) != nil }
    let faults = (files + directories).compactMap { denial(of: $0) }.map { denied in
      Finding(.warning, "permissions", denied.what, fix: denied.fix)
    }
    return capped(
      closedToGroup(files) + faults,
      else: Finding(.ok, "permissions", "this user may write wherever the lake is written"))
  }

  /// The files that every command writes, where members of a group may write in the lake's directory and
  /// not to them.
  private func closedToGroup(_ files: [String]) -> [Finding] {
    let groupWrites: mode_t = 0o020
    var root = stat()
    guard stat(layout.root, &root) == 0, root.st_mode & groupWrites != 0 else { return [] }
    let closed = files.filter { path in
      var info = stat()
      return stat(path, &info) == 0 && (info.st_gid != root.st_gid || info.st_mode & groupWrites == 0)
    }
    guard !closed.isEmpty, let group = Owners(of: layout.root)?.group else { return [] }
    let names = closed.map(\.lastPathPart).joined(separator: ", ")
    let paths = closed.joined(separator: " ")
    return [
      Finding(
        .warning, "permissions",
        "group \(group) may write in \(layout.root), and not to \(names): its members are refused",
        fix: "`chgrp \(group) \(paths) && chmod g+w \(paths)`, and commands run with umask 002")
    ]
  }

  /// Files of leases that keep every command that writes from beginning, though no lock of this machine's
  /// says so: another host's, of which nobody here knows whether its command lives, and such as cannot be looked at.
  func othersAtWork() -> [Finding] {
    LeaseFile.all(in: layout.leases).compactMap { file in
      // Of a directory that cannot be read, there is one for all.
      let path = file.token == layout.leases ? file.token : "\(layout.leases)/\(file.token)"
      if file.isUnreadable {
        return Finding(
          .warning, "writer", "\(path) cannot be opened, and may be a living command's: nothing can be written",
          fix: "if none runs, remove it")
      }
      guard let holder = file.holder, holder.machine.isElsewhere(than: .this) else { return nil }
      return Finding(
        .warning, "writer", "another host has this lake open (\(holder.description)): nothing can be written here",
        fix: "wait for it; if none runs there any more, remove \(path)")
    }
  }

  /// The directories that commands write in and remove from.
  private var directories: [String] {
    func below(_ directory: String) -> [String] {
      ((try? Disk.namesIfAny(in: directory)) ?? []).map { "\(directory)/\($0)" }.filter(Disk.isDirectory)
    }
    func isEmpty(_ directory: String) -> Bool { (try? Disk.namesIfAny(in: directory))?.isEmpty == true }
    let kinds = below(layout.artifacts)
    // Those that hold nothing `tarn gc --apply` removes, if it may; nothing is written to an emptied version's any more.
    let artifacts = kinds.flatMap(below).filter { !isEmpty($0) || !surroundings.mayWrite($0.parentPath) }
    let versions = below(layout.versions).filter { !isEmpty($0) }
    let outer = [layout.shards, layout.artifacts, layout.scratch, layout.leases, layout.versions]
    return outer.filter(Disk.isDirectory) + below(layout.shards) + kinds + artifacts + versions
  }

  /// Why this user may not write to a file or directory, and what to do; nil where they may, where there is
  /// none, and where it is the mount that nobody may write to.
  func denial(of path: String) -> (what: String, fix: String)? {
    guard let owners = Owners(of: path), !surroundings.mayWrite(path), surroundings.readOnlyMount(of: path) == nil
    else { return nil }
    let (option, name) = (Disk.isDirectory(path) ? "-R " : "", NSUserName())
    let user = name.isEmpty ? "\(getuid())" : name
    return (
      "\(path), of \(owners.user), cannot be written by \(user)",
      "`chmod \(option)g+w \(path)` by \(owners.user), for who is in group \(owners.group), or "
        + "`chown \(option)\(user) \(path)` by root"
    )
  }
}

/// Whose a file or directory is, by name where the names are known.
struct Owners {
  let user: String
  let group: String

  /// Asks the system; nil where there is nothing.
  init?(of path: String) {
    guard let facts = try? FileManager.default.attributesOfItem(atPath: path) else { return nil }
    func text(_ name: FileAttributeKey, _ number: FileAttributeKey) -> String {
      facts[name] as? String ?? (facts[number] as? NSNumber).map { "\($0)" } ?? "somebody"
    }
    user = text(.ownerAccountName, .ownerAccountID)
    group = text(.groupOwnerAccountName, .groupOwnerAccountID)
  }
}
