// Files of tasks in a directory that all see. A file appears under its name whole and
// durable; what grows has a name of its writer's.

internal import Base
internal import Foundation

/// A directory of tasks, absolute.
struct DirectoryTasks: TaskStore {
  let root: String

  init(_ root: String) { self.root = root }

  private func path(_ name: String) -> String { "\(root)/\(name)" }

  func names(in folder: String, from start: String) throws -> [String] {
    let directory = path(folder)
    guard Disk.isDirectory(directory) else { return [] }
    return try Disk.names(in: directory).compactMap { bytes in
      String(validating: bytes, as: UTF8.self).flatMap { $0.hasPrefix(start) ? $0 : nil }
    }
  }

  func contents(_ name: String, atMost limit: Int) throws -> [UInt8]? {
    do throws(TarnError) {
      return try Disk.contents(of: path(name), atMost: limit)
    } catch {
      switch error.code {
      case .inputsMissing: return nil
      // Whoever wrote it, it is no document.
      case .usage: throw TarnError(.integrity, error.message, hint: error.hint)
      default:
        guard Disk.identity(of: path(name)) != nil else { return nil }
        guard Disk.size(of: path(name)) == nil else { throw error }
        throw TarnError(.integrity, error.message, hint: error.hint)
      }
    }
  }

  func byteCount(of name: String) throws -> Int? { Disk.size(of: path(name)) }

  func write(_ bytes: [UInt8], as name: String, by writer: String?) throws {
    let target = path(name)
    try Disk.makeDirectory(target.parentPath)
    guard let writer else { return try Disk.writeAtomically(bytes, to: target) }
    // Two may write it at a time: neither touches what the other is writing.
    let working = "\(target).\(writer)"
    try Disk.writeAtomically(bytes, to: working)
    try Disk.moveIntoPlace(working, target)
  }

  func keep(_ bytes: [UInt8], as name: String, by writer: String?) throws { try write(bytes, as: name, by: writer) }

  func create(_ bytes: [UInt8], as name: String, by working: String) throws -> Bool {
    try Disk.makeDirectory(path(working).parentPath)
    try Disk.writeAtomically(bytes, to: path(working))
    do {
      try Disk.moveIntoFreePlace(path(working), path(name))
      return true
    } catch let error as TarnError where error.code == .conflict {
      try Disk.remove(path(working))
      return false
    }
  }

  func requireWritable(_ folder: String) throws {
    try Disk.makeDirectory(path(folder))
    try Disk.requireWritable(path(folder))
  }

  func move(_ name: String, to other: String) throws {
    try Disk.makeDirectory(path(other).parentPath)
    try Disk.moveIntoPlace(path(name), path(other))
  }

  func remove(_ name: String) throws { try Disk.remove(path(name)) }

  func workingPath(_ name: String, in _: String) throws -> String {
    // On the file system that keeps it.
    try Disk.makeDirectory(path(name).parentPath)
    return path(name)
  }

  func put(_ working: String, as name: String, _: ContentDigest, by _: String) throws {
    try Disk.moveIntoPlace(working, path(name))
  }

  func share(_ file: () throws -> String, as name: String, _ digest: ContentDigest, isDoubted _: Bool) throws -> Bool {
    let target = path(name)
    // Anybody may write here, and disks change bytes: a name is no proof.
    if Disk.size(of: target) != nil, (try? Disk.digest(of: target)) == digest { return false }
    let file = try file()
    try Disk.makeDirectory(target.parentPath)
    guard try Disk.copy(file, to: target) == digest else {
      throw TarnError(.integrity, "\(file) changed while it was copied", hint: "plan again")
    }
    return true
  }

  func reading<Value>(
    _ name: String, _: ContentDigest, _ body: (_ path: String) throws -> Value
  ) throws -> Value { try body(path(name)) }

  func take(_ name: String, _: Int, _: ContentDigest, to working: String) throws {
    try Disk.linkOrCopy(path(name), to: working)
  }

  func ownPath(of name: String) -> String? { Disk.isOwnFile(path(name)) ? path(name) : nil }
}
