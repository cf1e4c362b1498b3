// An address as text: where its authority and its query are, which items of the
// query are known to be harmless, and the address without the others' values.
//
// A list of secrets is never whole, so this is a list of what is none: whatever is
// not known to be harmless is taken for a secret. Bytes are compared and never
// characters, which a combining mark could hide.

/// The pieces of an address that may hold a secret.
package struct AddressText: Sendable {
  /// An item of a query: `name=value`, or a name alone.
  package struct Item: Sendable {
    /// As it stands in the address.
    let text: Substring
    /// The name, decoded, lower case.
    package let name: String
    /// What stands behind the `=`; nil without one.
    package let value: Substring?
  }

  /// Names of query items that say which file is meant, or how to send it.
  package static let harmlessNames: Set<String> = [
    "path", "file", "filename", "file_name", "filepath", "name", "dir", "folder", "download", "dl", "raw", "alt",
    "export", "version", "versionid", "v", "revision", "rev", "ref", "branch", "format", "type", "part", "partnumber",
    "recursive",
    "shard", "index", "ordinal", "split", "config", "subset", "dataset", "n", "page", "offset", "limit", "lang",
  ]

  /// What stands before the `:`, lower case; "" in what is no address.
  package let scheme: String
  /// What stands between the slashes and the path.
  package let authority: Substring
  /// What precedes the query.
  private let start: Substring
  package let items: [Item]
  /// Whether there is something behind a `#`, which no server gets.
  package let hasFragment: Bool

  /// Looks at an address.
  package init(_ text: String) {
    // A command has no authority and no query; its words are shown as they stand.
    guard !CommandAddress.isOne(text) else {
      (scheme, authority, start, items, hasFragment) = ("command", text[..<text.startIndex], text[...], [], false)
      return
    }
    let bytes = text.utf8
    let end = bytes.firstIndex(of: 0x23) ?? text.endIndex
    hasFragment = end != text.endIndex
    let mark = bytes[..<end].firstIndex(of: 0x3F)
    start = text[..<(mark ?? end)]
    // What stands in a query is no authority, whatever it looks like.
    if let colon = start.utf8.firstIndex(of: 0x3A),
      bytes[bytes.index(after: colon)..<start.endIndex].starts(with: "//".utf8)
    {
      scheme = text[..<colon].lowercased()
      // libcurl opens http:///host as http://host: there, more slashes are no path.
      var from = bytes.index(colon, offsetBy: 3)
      while scheme != "file", from < end, bytes[from] == 0x2F { from = bytes.index(after: from) }
      let to = bytes[from..<end].firstIndex { $0 == 0x2F || $0 == 0x3F } ?? end
      authority = text[from..<to]
    } else {
      scheme = ""
      authority = text[text.startIndex..<text.startIndex]
    }
    items = mark.map { Self.items(of: text[bytes.index(after: $0)..<end]) } ?? []
  }

  private static func items(of query: Substring) -> [Item] {
    // Some servers separate items by semicolons.
    query.utf8.split(omittingEmptySubsequences: false) { $0 == 0x26 || $0 == 0x3B }.map { item in
      let text = query[item.startIndex..<item.endIndex]
      let equals = item.firstIndex(of: 0x3D)
      return Item(
        text: text, name: decoded(text[..<(equals ?? item.endIndex)]).lowercased(),
        value: equals.map { text[item.index(after: $0)...] })
    }
  }

  /// Bytes that are percent-encoded, as often as that was done.
  private static func decoded(_ text: Substring) -> String {
    var bytes = Array(text.utf8)
    for _ in 0..<4 {
      var next: [UInt8] = []
      var index = 0
      while index < bytes.count {
        if bytes[index] == 0x25, index + 2 < bytes.count, let high = hexadecimal(bytes[index + 1]),
          let low = hexadecimal(bytes[index + 2])
        {
          next.append(high << 4 | low)
          index += 3
        } else {
          next.append(bytes[index])
          index += 1
        }
      }
      if next == bytes { break }
      bytes = next
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func hexadecimal(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x37
    case 0x61...0x66: byte - 0x57
    default: nil
    }
  }

  /// Whether the authority holds a user name or a password.
  package var hasUserInfo: Bool { authority.utf8.contains(0x40) }

  /// The authority without them.
  package var host: Substring {
    let at = authority.utf8.lastIndex(of: 0x40)
    return at.map { authority[authority.utf8.index(after: $0)...] } ?? authority
  }

  /// The host without its port, as a netrc file calls a machine.
  package var machine: Substring {
    host.hasPrefix("[") ? host.dropFirst().prefix { $0 != "]" } : host.prefix { $0 != ":" }
  }

  /// How a user gives a name and a password for a machine.
  package static func wayIn(to machine: some StringProtocol) -> String {
    "if it wants a password, put 'machine \(machine.printable) login NAME password PASSWORD' into ~/.netrc (chmod 600)"
  }

  /// The items that are not known to be harmless, as they stand.
  ///
  /// - Parameter kept: Further names that the user vouched for, lower case.
  /// - Returns: Those items, in order.
  package func doubtful(keeping kept: Set<String> = []) -> [Item] {
    items.filter { !Self.isHarmless($0, keeping: kept) }
  }

  private static func isHarmless(_ item: Item, keeping kept: Set<String>) -> Bool {
    guard !item.text.isEmpty, let value = item.value, !value.isEmpty, !EnvironmentPlace.isOne(value) else {
      // A name alone may be a token itself.
      return item.value != nil || item.text.isEmpty || harmlessNames.contains(item.name) || kept.contains(item.name)
    }
    if kept.contains(item.name) { return true }
    // An address within an address brings a query of its own.
    return harmlessNames.contains(item.name) && !decoded(value).utf8.contains { "=?&;@#".utf8.contains($0) }
  }

  /// The address without what may be a secret: `REDACTED` for the values of items
  /// that are not known to be harmless, no user name, no fragment.
  package func redacted(keeping kept: Set<String> = []) -> String {
    let shown =
      hasUserInfo ? start[..<authority.startIndex] + String(start[host.startIndex...]) : String(start)
    guard !items.isEmpty else { return shown }
    let texts = items.map { item in
      if Self.isHarmless(item, keeping: kept) { return String(item.text) }
      return item.value.map { item.text[..<$0.startIndex] + "REDACTED" } ?? "REDACTED"
    }
    return shown + "?" + texts.joined(separator: "&")
  }
}

extension String {
  /// The address as it may be shown and handed on.
  package var withoutSecrets: String { AddressText(self).redacted() }

  /// Whether it names an object, or a prefix, of an object store.
  package var isStoreAddress: Bool { lowercased().hasPrefix("s3://") }
}
