// What things of a lake may be called: the one rule for shards, and the one for
// sources, trained indexes and versions. The schema has the same two as CHECKs and
// triggers; a test feeds odd names to both and to a file system.

/// Rules for names that become parts of paths in a lake.
package enum LakeName {
  /// The most bytes of a shard's name: what a file system takes as one component,
  /// less what paths in the lake add to it.
  package static let maximumShardByteCount = 200
  /// Endings of files that are not whole yet.
  private static let unfinished = [".part", ".resume", ".tmp", ".link"]

  /// Why a text cannot name a shard; nil for one that can.
  ///
  /// S5: a name that passes here can be registered, fetched, stored and shown.
  package static func fault(ofShard name: String) -> String? {
    let bytes = Array(name.utf8)
    let space = UInt8(ascii: " ")
    let dot = UInt8(ascii: ".")
    if bytes.isEmpty { return "it is empty" }
    if bytes.count > maximumShardByteCount {
      return "it has \(bytes.count) bytes, more than \(maximumShardByteCount)"
    }
    if bytes.first == dot { return "it begins with a dot, as hidden files do" }
    if bytes.first == UInt8(ascii: "-") { return "it begins with a dash, as options do" }
    if bytes.first == space || bytes.last == space { return "it begins or ends with a space" }
    if bytes.last == dot || zip(bytes, bytes.dropFirst()).contains(where: { $0 == dot && $1 == dot }) {
      return "it ends with a dot or has two in a row"
    }
    if bytes.contains(UInt8(ascii: "/")) || bytes.contains(UInt8(ascii: "\\")) { return "it has a slash" }
    if name.unicodeScalars.contains(where: HiddenText.contains) { return "it has characters that are not seen" }
    // What stands for bytes that were no text: a name with it is not the file's.
    if name.unicodeScalars.contains("\u{FFFD}") { return "it has U+FFFD in the place of bytes that are no UTF-8" }
    if let ending = unfinished.first(where: { bytes.suffix($0.utf8.count).elementsEqual($0.utf8) }) {
      return "it ends with \(ending), as files do that are not whole yet"
    }
    return nil
  }

  /// Whether a text can name a source, a trained index or a version.
  ///
  /// - Parameters:
  ///   - name: The text.
  ///   - isSource: Whether it names a source: paths of the catalog begin with it,
  ///     and none has two dots in a row.
  /// - Returns: Whether it can.
  package static func isValid(_ name: String, isSource: Bool = false) -> Bool {
    let bytes = Array(name.utf8)
    let marks = Array("._-".utf8)
    guard (1...64).contains(bytes.count), bytes[0] != UInt8(ascii: "."), bytes[0] != UInt8(ascii: "-") else {
      return false
    }
    let isOfLetters = bytes.allSatisfy { $0.isLetterOrDigit || marks.contains($0) }
    return isOfLetters && !(isSource && zip(bytes, bytes.dropFirst()).contains { $0 == marks[0] && $1 == marks[0] })
  }
}
