// What people know of shards before they fetch them, in the files they keep it in:
// lists of addresses, sizes, and digests as sha256sum writes them.

package import Base
internal import Foundation

/// Files that say what is known of shards beforehand.
package enum Manifest {
  /// The lines of a text file, trimmed, without empty ones and comments.
  ///
  /// - Parameter path: The file.
  /// - Returns: The lines, in order.
  /// - Throws: ``TarnError`` `.usage` when it cannot be read as text.
  package static func lines(path: String) throws -> [String] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw TarnError(.usage, "cannot read \(path) as text")
    }
    return text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.isEmpty && !$0.hasPrefix("#") }
  }

  /// What a line of a list of sizes says.
  package struct Size: Sendable {
    package let byteCount: Int
    package let rowCount: Int?

    package init(byteCount: Int, rowCount: Int? = nil) {
      self.byteCount = byteCount
      self.rowCount = rowCount
    }
  }

  /// Sizes from lines `NAME, BYTES` or `NAME, BYTES, ROWS`; blanks do for commas.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - names: The shards; lines of others are ignored.
  /// - Returns: The size of each shard that has a line.
  /// - Throws: ``TarnError`` `.usage` naming the line.
  package static func sizes(path: String, names: Set<String>) throws -> [String: Size] {
    var sizes: [String: Size] = [:]
    for (index, line) in try lines(path: path).enumerated() {
      let fields = line.split { $0 == "," || $0 == " " || $0 == "\t" }
      let numbers = fields.dropFirst().compactMap { Int($0) }
      guard (2...3).contains(fields.count), numbers.count == fields.count - 1 else {
        throw TarnError(
          .usage, "\(path), entry \(index + 1): '\(line.printable)' is not 'NAME, BYTES' or 'NAME, BYTES, ROWS'")
      }
      let place = "\(path), entry \(index + 1)"
      let size = Size(
        byteCount: try ForeignNumber.byteCount.check(numbers[0], "a number of bytes", in: place),
        rowCount: try numbers.dropFirst().first.map {
          try ForeignNumber.rowCount.check($0, "a number of rows", in: place)
        })
      let name = fileName(fields[0])
      guard names.contains(name) else { continue }
      guard sizes.updateValue(size, forKey: name) == nil else {
        throw TarnError(.usage, "\(path) names \(name) twice")
      }
    }
    return try matched(sizes, path)
  }

  /// Digests from lines as `sha256sum` writes them.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - names: The shards; lines of others are ignored.
  /// - Returns: The digest of each shard that has a line.
  /// - Throws: ``TarnError`` `.usage` naming the line.
  package static func digests(path: String, names: Set<String>) throws -> [String: ContentDigest] {
    var digests: [String: ContentDigest] = [:]
    for (index, line) in try lines(path: path).enumerated() {
      let fields = line.split(maxSplits: 1, whereSeparator: \.isWhitespace)
      guard fields.count == 2, let digest = ContentDigest(hex: String(fields[0])) else {
        throw TarnError(.usage, "\(path), entry \(index + 1): '\(line.printable)' is not 'SHA256  NAME'")
      }
      let name = fileName(fields[1].drop { $0 == "*" || $0 == " " })
      guard names.contains(name) else { continue }
      guard digests.updateValue(digest, forKey: name) == nil else {
        throw TarnError(.usage, "\(path) names \(name) twice")
      }
    }
    return try matched(digests, path)
  }

  private static func fileName(_ path: Substring) -> String {
    path.split(separator: "/").last.map(String.init) ?? String(path)
  }

  private static func matched<Value>(_ facts: [String: Value], _ path: String) throws -> [String: Value] {
    guard !facts.isEmpty else {
      throw TarnError(
        .usage, "\(path) names none of the source's shards", hint: "its names must be the URLs' file names")
    }
    return facts
  }
}
