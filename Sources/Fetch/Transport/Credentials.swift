// Secrets of the environment and the one origin each of them is for. They are
// never stored, never printed, and never sent anywhere else.

/// Header lines that authorise requests, from the environment.
package struct Credentials: Sendable {
  private let lines: [String: [String]]

  /// Takes what the environment offers.
  ///
  /// `HF_TOKEN` is for `https://huggingface.co` alone: the storage that it
  /// redirects to has signed addresses of its own.
  package init(environment: [String: String]) {
    var lines: [String: [String]] = [:]
    let isSane = { (text: String) in text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } }
    if let token = environment["HF_TOKEN"], !token.isEmpty, isSane(token) {
      lines["https://huggingface.co:443"] = ["Authorization: Bearer \(token)"]
    }
    self.lines = lines
  }

  /// The header lines for one origin, as `scheme://host:port`.
  package func headers(for origin: String) -> [String] { lines[origin] ?? [] }
}
