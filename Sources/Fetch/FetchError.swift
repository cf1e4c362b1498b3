// What fetching can fail with, and how it says so.

internal import Catalog

/// An error of fetching: what failed, on which thing, and what to do about it.
///
/// Texts never hold a credential: addresses are redacted before they get here.
package struct FetchError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What kind of failure; the CLI maps it to an exit code in one switch.
  package enum Code: Sendable, Equatable, CaseIterable {
    /// An address or option that cannot be meant.
    case usage
    /// No mirror has the shard (404 or 410 on each of them).
    case absent
    /// A server refuses to serve it (401, 403 and other final 4xx).
    case refused
    /// The network or a server failed for now: timeouts, 408, 429, 5xx.
    case temporary
    /// The answer or its bytes are not the shard: size, SHA-256, `.npy`
    /// header, dimension, dtype, or HTTP that contradicts itself.
    case integrity
    /// The server's certificate is not to be trusted, or TLS is misconfigured.
    case tls
    /// Disk full or quota exceeded.
    case diskFull
    /// A system call failed.
    case io
    /// The run was stopped; what arrived is kept for the next one.
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

  /// Whether the same request may succeed later, with nothing changed here.
  package var isTransient: Bool {
    switch code {
    case .temporary, .interrupted: true
    case .usage, .absent, .refused, .integrity, .tls, .diskFull, .io: false
    }
  }

  /// An error of the lake's storage, as fetching reports it.
  init(_ error: CatalogError) {
    let code: Code =
      switch error.code {
      case .diskFull: .diskFull
      case .integrity: .integrity
      case .usage: .usage
      default: .io
      }
    self.init(code, error.message, hint: error.hint)
  }

  /// Runs a durable step and reports its failure as a fetch error.
  static func storing<Value: ~Copyable>(_ body: () throws -> Value) throws(FetchError) -> Value {
    do {
      return try body()
    } catch let error as FetchError {
      throw error
    } catch let error as CatalogError {
      throw FetchError(error)
    } catch {
      throw FetchError(.io, "\(error)")
    }
  }
}
