// What the machine says of a lake: which file system it is on, how much room
// there is, who writes, what may be written. All of it read from the system, nothing
// changed; tests put other answers in.

internal import Base
internal import Foundation
internal import Glibc

/// The machine around a lake.
package struct LakeSurroundings: Sendable {
  /// Free room on a volume.
  package struct Space: Sendable {
    package let byteCount: Int
    /// Equal for directories on one volume.
    package let volume: String

    package init(byteCount: Int, volume: String) {
      self.byteCount = byteCount
      self.volume = volume
    }
  }

  /// The version of SQLite; nil asks the linked one.
  package var sqliteVersion: String?
  /// The text of `/proc/self/mountinfo`.
  package var mountInfo: String
  /// The text of `/proc/locks`.
  package var lockTable: String
  /// Free room for an ordinary user at a directory; nil when it is not there.
  package var freeSpace: @Sendable (String) -> Space?
  /// Whether this user may write to a file, or make and remove files in a directory, that is there.
  package var mayWrite: @Sendable (String) -> Bool

  /// This machine.
  package static var current: LakeSurroundings {
    LakeSurroundings(
      sqliteVersion: nil, mountInfo: text("/proc/self/mountinfo"), lockTable: text("/proc/locks"),
      freeSpace: { directory in
        guard Disk.isDirectory(directory), let fileSystem = try? FileSystem(of: directory) else { return nil }
        return Space(byteCount: fileSystem.freeByteCount, volume: "\(fileSystem.device)")
      },
      mayWrite: { path in access(path, Disk.isDirectory(path) ? W_OK | X_OK : W_OK) == 0 })
  }

  private static func text(_ path: String) -> String { Disk.text(of: path) ?? "" }

  /// A mount, as the system lists it.
  private struct Mount {
    let point: String
    let type: String
    let isReadOnly: Bool
  }

  /// The type of the file system that holds a path; nil when it is not known.
  package func fileSystemType(of path: String) -> String? { mount(of: path)?.type }

  /// Where the file system is mounted that holds a path, if nothing can be written there because of how; else nil.
  package func readOnlyMount(of path: String) -> String? {
    mount(of: path).flatMap { $0.isReadOnly ? $0.point : nil }
  }

  private func mount(of path: String) -> Mount? {
    // Mounts are listed by where they really are.
    let path = SystemPath.real(path) ?? path
    var best: Mount?
    for line in mountInfo.split(separator: "\n") {
      // > 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
      // https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
      let fields = line.split(separator: " ")
      guard fields.count > 6, let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count else { continue }
      let point = String(fields[4]).replacing("\\040", with: " ")
      guard point == "/" || path == point || path.hasPrefix(point + "/") else { continue }
      // Of two mounts at one place the later hides the earlier.
      guard point.utf8.count >= best?.point.utf8.count ?? 0 else { continue }
      // Those of the mount, and those of the file system itself.
      let options = [fields[5]] + fields.dropFirst(dash + 3).prefix(1)
      let isReadOnly = options.contains { $0.split(separator: ",").contains("ro") }
      best = Mount(point: point, type: String(fields[dash + 1]), isReadOnly: isReadOnly)
    }
    return best
  }

  /// Whether a type of file system is served by another machine.
  package static func isNetwork(_ type: String) -> Bool {
    let types: Set = [
      "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "coda", "gfs2", "glusterfs", "lustre", "ncpfs",
      "ocfs2", "orangefs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.mount-s3", "fuse.juicefs",
      "fuse.glusterfs", "fuse.ceph", "fuse.davfs2", "fuse.lakefs",
    ]
    return types.contains(type)
  }

  /// Who writes, as their files tell; nil when nobody does.
  ///
  /// Asked of the kernel's table: taking the lock to find out would make a
  /// writer fail that starts at this moment.
  package func writer(of lockPath: String) -> String? {
    guard isHeld(lockPath) else { return nil }
    let directory = LakeLayout(root: lockPath.parentPath).leases
    let names = (try? Disk.namesIfAny(in: directory)) ?? []
    let holders = names.map { "\(directory)/\($0)" }.compactMap { path in
      isHeld(path) ? LeaseHolder(parsing: LakeSurroundings.text(path)) : nil
    }
    if !holders.isEmpty { return holders.map(\.description).joined(separator: "; ") }
    let text = LakeSurroundings.text(lockPath).split(separator: "\n").first.map(String.init) ?? ""
    return text.isEmpty ? "holder unknown" : text.printable
  }

  private func isHeld(_ path: String) -> Bool {
    var info = stat()
    guard stat(path, &info) == 0 else { return false }
    return lockTable.split(separator: "\n").contains { line in
      // > 1: FLOCK ADVISORY WRITE 708 08:01:1234 0 EOF
      let fields = line.split(separator: " ", omittingEmptySubsequences: true)
      return fields.count > 5 && fields[1] == "FLOCK" && fields[5].split(separator: ":").last == "\(info.st_ino)"
    }
  }
}
