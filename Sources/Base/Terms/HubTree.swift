// A page of a Hub's tree, as huggingface.co answers it: JSON that others wrote, read
// strictly. Pure.

/// Reads the pages of a Hub's tree.
///
/// - SeeAlso: https://huggingface.co/docs/hub/api
package enum HubTree {
  /// What a page says of one file.
  package struct Entry: Sendable, Equatable {
    package let path: String
    /// Bytes of the file; nil where it does not say.
    package let byteCount: Int?
    /// The object id in LFS, the SHA-256 of the content as text; nil of another file,
    /// whose `oid` is Git's and says nothing of the kind.
    package let objectID: String?
  }

  /// Why a text is no page.
  package struct Fault: Error, Sendable, Equatable {
    /// One line, without the page's address.
    package let message: String
  }

  /// The files of a page; directories are passed over.
  ///
  /// - Parameter bytes: The JSON.
  /// - Returns: The files, as they stand there.
  /// - Throws: ``Fault``.
  package static func entries(of bytes: [UInt8]) throws(Fault) -> [Entry] {
    let page: JSONValue
    do {
      page = try JSONValue(reading: bytes)
    } catch {
      throw Fault(message: "it is no JSON (\(error.message), byte \(error.offset))")
    }
    guard case .array(let values) = page else { throw Fault(message: "it is no array") }
    var entries: [Entry] = []
    for (number, value) in values.enumerated() {
      guard let type = value["type"]?.string, let path = value["path"]?.string else {
        throw Fault(message: "its entry \(number + 1) has no type and path")
      }
      guard type == "file" else { continue }
      func count(_ value: JSONValue?, _ what: String) throws(Fault) -> Int? {
        guard let value, value != .null else { return nil }
        guard let number = value.count, number >= 0 else {
          throw Fault(message: "the \(what) of \(path.printable) is no number of bytes")
        }
        return number
      }
      let own = try count(value["size"], "size")
      guard let stored = value["lfs"], stored != .null else {
        entries.append(Entry(path: path, byteCount: own, objectID: nil))
        continue
      }
      guard let objectID = stored["oid"]?.string else {
        throw Fault(message: "the lfs of \(path.printable) has no oid")
      }
      let byteCount = try count(stored["size"], "lfs size") ?? own
      entries.append(Entry(path: path, byteCount: byteCount, objectID: objectID))
    }
    return entries
  }

  /// The digest that an object id in LFS is; nil for a text that is none.
  package static func digest(ofObjectID text: String) -> ContentDigest? {
    ContentDigest(hex: text.hasPrefix("sha256:") ? String(text.dropFirst("sha256:".count)) : text)
  }

  /// The commit that a Hub says a branch or tag is.
  ///
  /// - Parameter bytes: Its answer.
  /// - Returns: 40 hexadecimal digits; nil when it says none.
  package static func commit(of bytes: [UInt8]) -> String? {
    guard let commit = (try? JSONValue(reading: bytes))?["sha"]?.string, isCommit(commit) else { return nil }
    return commit
  }

  /// Whether a revision is a commit itself.
  package static func isCommit(_ text: String) -> Bool {
    text.utf8.count == 40 && text.utf8.allSatisfy(\.isHexDigit)
  }
}
