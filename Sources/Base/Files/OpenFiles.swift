// How many files this process may have open: as many as the system lets it, and told
// before work that needs more.

internal import Glibc

/// The limit of open files.
package enum OpenFiles {
  /// Files that are open besides what a merge reads: libraries, catalog, sockets, pipes.
  private static let others = 256

  /// Takes what the system allows: the soft limit is a habit of shells, made for
  /// programs of old that cannot count further.
  package static func raiseLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max else {
      return
    }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  /// Files of one kind that may be open beside all others that a process has.
  package static var room: Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return .max }
    return max(Int(clamping: limit.rlim_cur) - others, 0)
  }

  /// Refuses work that needs more open files than there can be.
  ///
  /// - Parameters:
  ///   - count: Files that are read together.
  ///   - hint: What to do besides raising the limit.
  /// - Throws: ``TarnError`` `.usage`.
  package static func require(_ count: Int, hint: String) throws {
    let room = room
    guard count > room else { return }
    throw TarnError(
      .usage, "\(count) files are read together for one output, and this process may open \(room + others)",
      hint: "\(hint), or raise the limit (`ulimit -n \(count + others)`, as root `ulimit -Hn`)")
  }
}
