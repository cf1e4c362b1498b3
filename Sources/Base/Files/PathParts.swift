// Parts of paths, told apart by bytes as the kernel does: a name that begins with a
// combining mark makes one character of itself and the slash before it.

extension String {
  /// The parts between slashes, in order, none of them empty.
  package var pathParts: [String] { utf8.split(separator: UInt8(ascii: "/")).compactMap { String($0) } }

  /// The last part; empty for a path of slashes alone.
  package var lastPathPart: String { pathParts.last ?? "" }

  /// The path without its last part: `/` for what lies there, empty for a name alone.
  package var parentPath: String {
    let slash = UInt8(ascii: "/")
    let bytes = Array(utf8)
    let end = bytes.lastIndex { $0 != slash } ?? -1
    guard end >= 0 else { return self }
    guard let last = bytes[...end].lastIndex(of: slash) else { return "" }
    let parent = bytes[..<last].lastIndex { $0 != slash }
    return parent.map { String(decoding: bytes[...$0], as: UTF8.self) } ?? "/"
  }

  /// A file's name without its extension, and the extension with its dot: empty
  /// where the only dot is the first byte or there is none.
  package var nameParts: (stem: String, ending: String) {
    guard let dot = utf8.lastIndex(of: UInt8(ascii: ".")), dot > startIndex, utf8.index(after: dot) < endIndex else {
      return (self, "")
    }
    return (String(decoding: utf8[..<dot], as: UTF8.self), String(decoding: utf8[dot...], as: UTF8.self))
  }
}
