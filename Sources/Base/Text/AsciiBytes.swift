// Kinds of bytes of ASCII, by which names, numbers and addresses are judged. Bytes and never
// characters, which a combining mark could hide.

extension UInt8 {
  /// `0` to `9`.
  package var isDigit: Bool { (0x30...0x39).contains(self) }

  /// `0` to `9` or `a` to `f`, as digests are written.
  package var isHexDigit: Bool { isDigit || (0x61...0x66).contains(self) }

  /// `0` to `9`, or a letter of either case.
  package var isLetterOrDigit: Bool { isDigit || (0x41...0x5A).contains(self) || (0x61...0x7A).contains(self) }

  /// The byte as an address has it that means it: `%2F`.
  package var percentEncoded: String { "%" + (self < 16 ? "0" : "") + String(self, radix: 16, uppercase: true) }
}

extension StringProtocol {
  /// Whether it is of ASCII alone, without blanks and without what is not seen.
  package var isVisibleASCII: Bool { utf8.allSatisfy { (0x21...0x7E).contains($0) } }
}
