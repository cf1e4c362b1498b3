// Programs that a test makes in order to run them.

internal import Testing

/// Makes executable files in a child process, so that this one never has them open
/// for writing: a process started meanwhile by another test would hold that until its
/// own exec, and Linux refuses to run a file that anyone may write (ETXTBSY).
package enum ExecutableFile {
  /// Writes a script.
  ///
  /// - Parameters:
  ///   - path: Where; replaced if it is there.
  ///   - text: All of it, its first line `#!` and an interpreter.
  /// - Throws: `POSIXError`, or the expectation that the child succeeded.
  package static func write(_ path: String, _ text: String) throws {
    try run(["-c", #"printf %s "$2" > "$1" && chmod 755 "$1""#, "sh", path, text])
  }

  /// Copies a program; see ``write(_:_:)``.
  package static func copy(_ source: String, to path: String) throws {
    try run(["-c", #"exec cp -- "$1" "$2""#, "sh", source, path])
  }

  private static func run(_ arguments: [String]) throws {
    let result = try RunningProcess("/bin/sh", arguments, environment: ProcessRunner.environment).finish()
    try #require(result.ending == .exit(0), "\(result.errorText)")
  }
}
