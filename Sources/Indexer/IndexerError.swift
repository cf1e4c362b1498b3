// What the indexer can refuse, and how it says so.

/// An error of the indexer: what failed, on which thing, and what to do about
/// it.
package struct IndexerError: Error, Sendable, CustomStringConvertible {
  /// What kind of failure; the CLI maps it to an exit code in one switch.
  package enum Code: Sendable, Equatable, CaseIterable {
    /// A parameter that cannot be meant.
    case usage
    /// A feature file or row that must not enter an index.
    case badFeatures
    /// Bytes are not what their format or their digest says.
    case integrity
    /// Inputs that a step needs are not there.
    case inputsMissing
    /// FAISS or a kernel refused.
    case engine
    /// A system call failed.
    case io
    /// The step was asked to stop.
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
