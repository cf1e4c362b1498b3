// Query items of an address that sign or authorise: which they are, by name,
// and the address without their values.

/// Names of query items that hold secrets.
package enum SecretQuery {
  private static let prefixes = ["x-amz-", "x-goog-"]
  private static let names: Set<String> = [
    "sig", "signature", "token", "access_token", "auth", "key", "api_key", "apikey", "password", "secret",
    "awsaccesskeyid", "googleaccessid",
  ]

  /// Whether a query item of this name signs or authorises.
  package static func isSecret(_ name: some StringProtocol) -> Bool {
    let name = name.lowercased()
    return names.contains(name) || prefixes.contains { name.hasPrefix($0) }
  }

  /// The first query item of an address that holds a secret, by its name.
  package static func firstSecret(in url: String) -> String? {
    items(of: url).lazy.compactMap { item in
      item.firstIndex(of: "=").map { String(item[..<$0]) }
    }.first(where: isSecret)
  }

  private static func items(of url: String) -> [Substring] {
    guard let mark = url.firstIndex(of: "?") else { return [] }
    return url[url.index(after: mark)...].prefix { $0 != "#" }.split(separator: "&", omittingEmptySubsequences: false)
  }
}

extension String {
  /// The address with `REDACTED` for the values of query items that sign or
  /// authorise.
  package var withoutSecrets: String {
    guard let mark = firstIndex(of: "?") else { return self }
    let items = self[index(after: mark)...].split(separator: "&", omittingEmptySubsequences: false).map { item in
      guard let equals = item.firstIndex(of: "="), SecretQuery.isSecret(item[..<equals]) else { return String(item) }
      return item[...equals] + "REDACTED"
    }
    return self[...mark] + items.joined(separator: "&")
  }
}
