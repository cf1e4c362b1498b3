// What the indexer can refuse, and how it says so.

/// An error of features, training, encoding or search: what failed, on which
/// thing, and what to do about it.
package struct IndexerError: Error, Sendable, CustomStringConvertible {
  /// What kind of failure; the CLI maps it to an exit code in one switch.
  package enum Code: Sendable, Equatable, CaseIterable {
    /// A parameter that cannot be meant, or that the data cannot satisfy.
    case usage
    /// A feature file that is malformed, or of another dimension or element
    /// type, or holds a row that is NaN, infinite, zero or not of unit length.
    case badFeatures
    /// Bytes of an own file are not what was written.
    case integrity
    /// Inputs that a step needs are not there.
    case inputsMissing
    /// FAISS, BLAS or a kernel failed or gave a wrong result.
    case engine
    /// A system call failed.
    case io
    /// The work was asked to stop; what is done is kept.
    case interrupted
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
