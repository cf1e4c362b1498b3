// What the catalog and the storage under it can refuse, and how it says so.

/// An error of the catalog or of the lake's storage: what failed, on which
/// thing, and what to do about it.
package struct CatalogError: Error, Sendable, CustomStringConvertible {
  /// What kind of failure; the CLI maps it to an exit code in one switch.
  package enum Code: Sendable, Equatable, CaseIterable {
    /// No lake at or above the directory, or not a lake.
    case noLake
    /// Another process holds the writer lock.
    case locked
    /// The catalog was written by a newer tarn.
    case schemaNewer
    /// A name, range or option that cannot be meant.
    case usage
    /// The name is taken, or the thing differs from what is recorded.
    case conflict
    /// No source, shard, trained index or version of that name.
    case notFound
    /// Bytes are not what the catalog vouches for, or malformed.
    case integrity
    /// Inputs that a step needs are not in the lake.
    case inputsMissing
    /// Disk full, quota or budget exceeded.
    case diskFull
    /// A system call failed.
    case io
    /// SQLite refused or failed.
    case database
  }

  package let code: Code
  /// What failed and on which thing, one line, no trailing period.
  package let message: String
  /// What to do about it, one line; nil when there is nothing useful to say.
  package let hint: String?

  package init(_ code: Code, _ message: String, hint: String? = nil) {
    self.code = code
    self.message = message
    self.hint = hint
  }

  package var description: String {
    guard let hint else { return message }
    return "\(message); \(hint)"
  }
}
