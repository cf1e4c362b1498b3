// `index.json` of a place: which versions are there, for people and for a pull without
// a name. Made from what is there; never believed against a document.

package import Base
internal import Foundation

/// What is at a place.
package struct PublishedIndex: Codable, Sendable, Equatable {
  package static let format = "tarn-index-1"

  package struct Entry: Codable, Sendable, Equatable {
    package let version: String
    package let sha256: ContentDigest
    package let outputs: Int
    package let bytes: Int
  }

  package let format: String
  package let versions: [Entry]

  init(_ entries: [Entry]) {
    format = Self.format
    versions = entries.sorted { $0.version < $1.version }
  }

  /// Reads an index that somebody wrote; nil for anything else.
  init?(_ bytes: [UInt8]) {
    guard let found = try? JSONDecoder().decode(PublishedIndex.self, from: Data(bytes)), found.format == Self.format
    else { return nil }
    self = found
  }

  /// The file.
  func bytes() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return Array(try encoder.encode(self)) + [0x0A]
  }

  /// The names that may be asked for.
  var names: [VersionName] { versions.compactMap { try? VersionName(parsing: $0.version) } }
}
