// What tarn can refuse, and how it says so: the one error type of every module.

/// An error: what failed, on which thing, and what to do about it.
///
/// Texts never hold a credential: addresses are redacted before they get here.
package struct TarnError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What kind of failure; the CLI maps it to an exit code in one switch.
  package enum Code: Sendable, Equatable, CaseIterable {
    /// A name, address, range, option or setting that cannot be meant, or that the data
    /// cannot satisfy.
    case usage
    /// What was asked cannot be made of the data that there is, whatever is tried again: fewer
    /// distinct rows than lists.
    case unfit
    /// The name is taken, or the thing differs from what is recorded.
    case conflict
    /// No source, shard, trained index or version of that name.
    case notFound
    /// No lake at or above the directory, or not a lake.
    case noLake
    /// Another process holds the writer lock.
    case locked
    /// The catalog was written by a newer tarn.
    case schemaNewer
    /// The catalog was written by an older tarn and is not migrated yet.
    case schemaOlder
    /// Bytes are not what somebody vouched for, or contradict themselves: size,
    /// SHA-256, header, dimension, dtype, HTTP.
    case integrity
    /// A feature file that is malformed, or of another dimension or element
    /// type, or holds a row that is NaN, infinite, zero or not of unit length.
    case badFeatures
    /// Inputs that a step needs are not there.
    case inputsMissing
    /// No mirror has the shard (404 or 410 on each of them).
    case absent
    /// A server refuses to serve it (401, 403 and other final 4xx).
    case refused
    /// A document or list leads inside this machine or its network, and no user has said that it is meant.
    case untrusted
    /// The network or a server failed for now: timeouts, 408, 429, 5xx.
    case temporary
    /// The server's certificate is not to be trusted, or TLS is misconfigured.
    case tls
    /// Disk full, quota or budget exceeded.
    case diskFull
    /// A system call failed.
    case io
    /// SQLite refused or failed.
    case database
    /// FAISS, BLAS or a kernel failed or gave a wrong result.
    case engine
    /// What was made again is not what was recorded.
    case differs
    /// The work was asked to stop; what is done is kept.
    case interrupted
  }

  package let code: Code
  /// What failed and on which thing, one line, no trailing period.
  package let message: String
  /// What to do about it, one line; nil when there is nothing useful to say.
  package let hint: String?
  /// Of a full disk: a path on it, by which what can go is found.
  package let place: String?

  package init(_ code: Code, _ message: String, hint: String? = nil, place: String? = nil) {
    self.code = code
    self.message = message
    self.hint = hint
    self.place = place
  }

  /// Whether a mirror is to blame, so that another one, or a later time, may do.
  package var isOfMirror: Bool { [.absent, .refused, .untrusted, .temporary, .integrity, .tls].contains(code) }

  /// Whether the mirrors have no such thing, as far as they say: not for now, not by a fault of this machine, and not where
  /// one was not asked for want of the user's word.
  package var leavesNothingToAsk: Bool { [.absent, .refused, .integrity, .badFeatures].contains(code) }

  /// The same error, saying what it is about.
  package func about(_ what: String) -> TarnError { TarnError(code, "\(what): \(message)", hint: hint, place: place) }

  package var description: String {
    guard let hint else { return message }
    return "\(message); \(hint)"
  }
}
