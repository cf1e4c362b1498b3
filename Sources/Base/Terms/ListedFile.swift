// Files as a listing names them: the one text that a listing's digest is of, and which
// names can be meant. Pure.

/// A file that a listing names.
package struct ListedFile: Sendable, Equatable {
  /// As the listing has it: a path from the place's root, or an address.
  package let path: String
  /// nil where the listing does not say, as the next.
  package let byteCount: Int?
  package let digest: ContentDigest?

  package init(path: String, byteCount: Int? = nil, digest: ContentDigest? = nil) {
    self.path = path
    self.byteCount = byteCount
    self.digest = digest
  }

  /// The SHA-256 of a listing: of a line `SHA256 BYTES PATH` for each file, in order, with
  /// `-` for what is not known.
  package static func digest(of files: [ListedFile]) -> ContentDigest {
    var hasher = Sha256()
    for file in files {
      let line = "\(file.digest?.hex ?? "-") \(file.byteCount.map(String.init) ?? "-") \(file.path)\n"
      hasher.update(Array(line.utf8).span.bytes)
    }
    return hasher.finalize()
  }

  /// Why a path of a listing can lead to no file below its place; nil for one that can.
  package static func fault(ofPath path: String) -> String? {
    if path.isEmpty { return "it is empty" }
    if path.utf8.count > 1_024 { return "it has \(path.utf8.count) bytes, more than 1024" }
    let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Substring($0) }
    if parts.contains(where: \.isEmpty) { return "it has a slash at an end, or two in a row" }
    if parts.contains(where: { $0 == "." || $0 == ".." }) { return "it leads elsewhere, by '.' or '..'" }
    if path.utf8.contains(UInt8(ascii: "\\")) { return "it has a backslash" }
    if path.unicodeScalars.contains(where: HiddenText.contains) { return "it has characters that are not seen" }
    return nil
  }
}
