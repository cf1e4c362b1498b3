// A user whom permissions bind: root is refused nothing.

import Foundation
import Glibc
import Synchronization
import Testing
import TestSupport

/// Who runs these tests, or `nobody` where that is root.
enum OrdinaryUser {
  private static let nobody: uid_t = 65_534

  /// What a command line begins with that is run as this user.
  static let prefix: [String] =
    geteuid() == 0 ? ["/usr/bin/setpriv", "--reuid=\(nobody)", "--regid=\(nobody)", "--clear-groups"] : []

  private static let place = Mutex<TemporaryDirectory?>(nil)

  /// The tool where this user can run it: what was built may lie below a directory of root's.
  static let tool: String = {
    guard geteuid() == 0, let directory = try? TemporaryDirectory() else { return ProcessRunner.tarn }
    place.withLock { $0 = directory }
    // What is static is not released at the end, and the directory would stay.
    atexit { OrdinaryUser.place.withLock { $0 = nil } }
    try? ExecutableFile.copy(ProcessRunner.tarn, to: directory.path + "/tarn")
    return directory.path + "/tarn"
  }()

  /// Whether there is such a user, who can run the tool.
  static let isThere: Bool = {
    guard let program = prefix.first else { return true }
    let arguments = Array(prefix.dropFirst()) + [tool, "--version"]
    let process = try? RunningProcess(program, arguments, environment: ProcessRunner.environment)
    return process?.finish().ending == .exit(0)
  }()

  /// Gives a directory to this user, with all that is below it.
  static func own(_ directory: String) throws {
    guard geteuid() == 0 else { return }
    let below = FileManager.default.enumerator(atPath: directory)?.compactMap { $0 as? String } ?? []
    for path in [directory] + below.map({ "\(directory)/\($0)" }) {
      try #require(lchown(path, nobody, nobody) == 0)
    }
  }

  /// Does something while a directory takes and loses no file.
  static func closing<Value>(_ directory: String, _ body: () throws -> Value) throws -> Value {
    var before = stat()
    try #require(stat(directory, &before) == 0 && chmod(directory, 0o555) == 0)
    defer { chmod(directory, before.st_mode & 0o7777) }
    return try body()
  }
}
