// The identity of bytes: their SHA-256 (Sha256.swift), and how it is written.

internal import Foundation

/// The SHA-256 digest of a file or of a canonical description.
///
/// Written as 64 lower-case hexadecimal digits everywhere: in the catalog, in
/// file names, in `sha256sum` lists.
package struct ContentDigest: Hashable, Sendable, Comparable, CustomStringConvertible, Codable {
  /// 64 lower-case hexadecimal digits.
  package let hex: String

  /// Parses 64 hexadecimal digits, of either case; nil for anything else.
  package init?(hex: String) {
    let lower = hex.lowercased()
    guard lower.utf8.count == 64, lower.utf8.allSatisfy(\.isHexDigit) else { return nil }
    self.hex = lower
  }

  /// The digest whose 32 bytes these are.
  package init(bytes: some Collection<UInt8>) {
    precondition(bytes.count == 32, "a SHA-256 digest is 32 bytes")
    var text = ""
    text.reserveCapacity(64)
    for byte in bytes {
      text.unicodeScalars.append(hexDigits[Int(byte >> 4)])
      text.unicodeScalars.append(hexDigits[Int(byte & 15)])
    }
    hex = text
  }

  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let digest = ContentDigest(hex: text) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "not a SHA-256 digest: \(text.prefix(80))"))
    }
    self = digest
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(hex)
  }

  /// The digest of bytes held in memory.
  package static func of(_ bytes: some Collection<UInt8>) -> ContentDigest {
    var hasher = Sha256()
    let contiguous = Array(bytes)
    hasher.update(contiguous.span.bytes)
    return hasher.finalize()
  }

  /// The digest of a text's UTF-8 bytes.
  package static func of(_ text: String) -> ContentDigest { of(Array(text.utf8)) }

  /// The 32 bytes of the digest.
  package var bytes: [UInt8] {
    let digits = Array(hex.utf8).map { $0 < 0x61 ? $0 - 0x30 : $0 - 0x57 }
    return (0..<32).map { digits[2 * $0] << 4 | digits[2 * $0 + 1] }
  }

  /// The first `count` digits, for names and tables that people read.
  package func prefix(_ count: Int) -> String { String(hex.prefix(count)) }

  package var description: String { hex }

  package static func < (left: ContentDigest, right: ContentDigest) -> Bool { left.hex < right.hex }
}

private let hexDigits = Array("0123456789abcdef".unicodeScalars)
