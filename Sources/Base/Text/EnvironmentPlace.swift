// Places in an address that the environment fills in: `{env:NAME}`. What is kept,
// shown and exported is the place; the value is put in when a request is made.

internal import Foundation

/// The `{env:NAME}` places of an address.
package enum EnvironmentPlace {
  private static let opening = "{env:"

  /// Whether a text is one such place and nothing else.
  package static func isOne(_ text: some StringProtocol) -> Bool {
    text.hasPrefix(opening) && text.hasSuffix("}") && isName(text.dropFirst(opening.count).dropLast())
  }

  /// Whether an address has such a place.
  package static func isIn(_ address: String) -> Bool { address.contains(opening) }

  /// Whether a text can name a variable.
  package static func isName(_ text: some StringProtocol) -> Bool {
    (1...128).contains(text.utf8.count) && text.utf8.allSatisfy { $0.isLetterOrDigit || $0 == UInt8(ascii: "_") }
  }

  /// Fills an address's places in.
  ///
  /// - Parameters:
  ///   - address: The address as the catalog has it.
  ///   - variable: The value of a variable; nil if it is not set.
  /// - Returns: The address to open; never stored or shown.
  /// - Throws: ``TarnError`` `.usage` for a variable that is not set or no name.
  package static func filled(_ address: String, _ variable: (String) -> String?) throws(TarnError) -> String {
    var (result, rest) = ("", address[...])
    while let open = rest.range(of: opening) {
      guard let close = rest[open.upperBound...].firstIndex(of: "}"), isName(rest[open.upperBound..<close]) else {
        throw TarnError(.usage, "an address has a place {env:…} without a variable's name")
      }
      let name = String(rest[open.upperBound..<close])
      guard let value = variable(name), !value.isEmpty else {
        throw TarnError(
          .usage, "the variable \(name), which an address needs, is not set", hint: "export \(name)=… and run it again")
      }
      result += rest[..<open.lowerBound] + encoded(value)
      rest = rest[rest.index(after: close)...]
    }
    return result + rest
  }

  /// A value as it stands in a query: what would end it is percent-encoded, what
  /// is encoded already stays.
  private static func encoded(_ value: String) -> String {
    value.utf8.map { byte in
      switch byte {
      case 0x21, 0x24, 0x25, 0x27...0x2A, 0x2C...0x3A, 0x3D, 0x41...0x5A, 0x5F, 0x61...0x7A, 0x7E:
        String(UnicodeScalar(byte))
      default: byte.percentEncoded
      }
    }.joined()
  }
}
