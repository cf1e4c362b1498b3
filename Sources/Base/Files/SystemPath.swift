// Paths that the system says, as bytes: the one place that makes text of them. A String has U+FFFD in the place of
// what is not UTF-8, and so would name another file; such a path ends the process before anything is made of it.

internal import Foundation
internal import Synchronization

/// Paths of the process.
package enum SystemPath {
  private static let ending = Mutex<(@Sendable (TarnError) -> Never)?>(nil)

  /// Says what ends the process where a path cannot be told.
  package static func endProcess(with end: @escaping @Sendable (TarnError) -> Never) { ending.withLock { $0 = end } }

  /// The directory that relative paths are of; without one, or one whose name is not UTF-8, the process ends.
  package static var workingDirectory: String {
    guard let bytes = getcwd(nil, 0) else {
      let reason = String(cString: strerror(errno))
      end(
        TarnError(
          .usage, "the working directory cannot be told: \(reason)",
          hint: "go into one that is there, or name all paths from /"))
    }
    defer { free(bytes) }
    return text(bytes, "the working directory is", hint: "go into another, or name all paths from /")
  }

  /// What a path leads to, links followed; nil where that is not there.
  package static func real(_ path: String) -> String? {
    guard let bytes = realpath(path, nil) else { return nil }
    defer { free(bytes) }
    return text(bytes, "\(path) leads to", hint: "lakes and their directories need names in UTF-8")
  }

  /// A variable of the environment that names a path; nil where it is not set or empty.
  package static func variable(_ name: String) -> String? {
    guard let bytes = getenv(name), strlen(bytes) > 0 else { return nil }
    return text(bytes, "\(name) is", hint: "name a path in UTF-8")
  }

  /// The file of this program; nil where the system does not say.
  package static func program() -> String? { real("/proc/self/exe") }

  /// Refuses words of a command line that are not UTF-8.
  ///
  /// - Parameter words: The words, as the system hands them over.
  /// - Throws: ``TarnError`` `.usage` naming the first.
  package static func requireUTF8(_ words: [UnsafeMutablePointer<CChar>]) throws(TarnError) {
    for (place, word) in words.enumerated() where String(validatingCString: word) == nil {
      throw TarnError(
        .usage, "word \(place) of the command line, '\(String(cString: word).printable)', is not UTF-8",
        hint: "names and paths are in UTF-8")
    }
  }

  private static func text(_ bytes: UnsafePointer<CChar>, _ what: String, hint: String) -> String {
    guard let text = String(validatingCString: bytes) else {
      end(
        TarnError(.usage, "\(what) '\(String(cString: bytes).printable)', which is not UTF-8", hint: hint))
    }
    return text
  }

  private static func end(_ error: TarnError) -> Never {
    guard let end = ending.withLock({ $0 }) else { preconditionFailure("\(error)") }
    end(error)
  }
}
