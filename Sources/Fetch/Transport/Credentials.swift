// Secrets of the environment and the one origin each of them is for. They are
// never stored, never printed, and never sent anywhere else.

/// Header lines that authorise requests, from the environment.
package struct Credentials: Sendable {
  /// Variables of the environment that tarn takes secrets from: a command gets none.
  package static let names: Set<String> = [
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN",
  ]

  private let lines: [String: [String]]
  /// The Hub, without a slash at its end: `HF_ENDPOINT`, or the one that everybody means.
  package let hub: String

  /// Takes what the environment offers.
  ///
  /// `HF_TOKEN` is for the Hub alone, over https or to this machine: the storage that it
  /// redirects to has signed addresses of its own.
  package init(environment: [String: String]) {
    var lines: [String: [String]] = [:]
    let isSane = { (text: String) in text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } }
    var hub = environment["HF_ENDPOINT"] ?? ""
    while hub.hasSuffix("/") { hub.removeLast() }
    self.hub = hub.isEmpty ? HubDirectory.defaultHub : hub
    if let token = environment["HF_TOKEN"], !token.isEmpty, isSane(token),
      let address = try? WebAddress(self.hub),
      address.scheme == .https || address.scheme == .http && AddressScope(of: address.host) == .machine
    {
      lines[address.origin] = ["Authorization: Bearer \(token)"]
    }
    self.lines = lines
  }

  /// The header lines for one origin, as `scheme://host:port`.
  package func headers(for origin: String) -> [String] { lines[origin] ?? [] }
}
